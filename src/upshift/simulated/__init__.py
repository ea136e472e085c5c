"""A model provider that thinks nothing: for the demonstration, for tests, and for rehearsing a plan.

serving      runs it on a socket           provider   one call from request to bill
wishes       faults and figures on demand  book       what was billed
asked        a request, read               compose    the answer, before a dialect words it
agent        files changed with a client's own tools
openai_chat  anthropic_messages            the two dialects, both of the shape in dialect
caching      prompt caches                 pace       how long a model takes
traces       the public trace that lengths and the demonstration's arrivals come from
tokens       the tokeniser                 schema     JSON that satisfies a schema
"""
