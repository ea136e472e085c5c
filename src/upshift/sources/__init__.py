"""What others know of the same calls: bytes of a provider's export to typed lines, or every line that is not one.

openai_usage     /v1/organization/usage/completions     openai_costs     /v1/organization/costs
anthropic_usage  /v1/organizations/usage_report/messages  anthropic_costs  /v1/organizations/cost_report
per_request      one line per call, CSV or JSON           recognise        which of these a file is
fields           what one value says                      pages            JSON pages of buckets
table            CSV with a header

Pure parsers. Each of the four is read as the vendor's API answers and as its console exports CSV.
"""
