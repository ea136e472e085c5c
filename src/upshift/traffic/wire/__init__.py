"""One dialect per pair of files: requests read and rewritten, answers and streams metered, refusals in its words. Pure.

ask       the shapes all dialects share      openai_chat, openai_answer            OpenAI Chat Completions
body      sound JSON, spliced untouched      anthropic_messages, anthropic_answer  Anthropic Messages
sse       a byte stream cut into events      salvage                               what is left of an odd answer
stream    events passed on and read at once  wires                                 the dialects by name
"""
