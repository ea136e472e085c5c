"""What others know: bytes of a provider's export or of a report to typed lines, or every line that is not one.

openai_usage     /v1/organization/usage/completions     openai_costs     /v1/organization/costs
anthropic_usage  /v1/organizations/usage_report/messages  anthropic_costs  /v1/organizations/cost_report
per_request      one line per call, CSV or JSON           recognise        which of these a file is
fields           what one value says                      pages            JSON pages of buckets
table            CSV with a header
feedback         what people and agents report of finished work
otlp             what an agent's own instrumentation reports  protobuf       the encoding that most of them use

Pure parsers. Each of the four exports is read as the vendor's API answers and as its console exports CSV.
"""
