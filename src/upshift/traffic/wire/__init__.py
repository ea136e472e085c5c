"""One file per dialect: requests read and rewritten, answers and streams metered, refusals said in its words. Pure.

ask       the shapes all dialects share      openai_chat         OpenAI Chat Completions
body      sound JSON, spliced untouched      anthropic_messages  Anthropic Messages
sse       a byte stream cut into events      wires               the dialects by name
stream    events passed on and read at once  salvage             what is left of an odd answer
"""
