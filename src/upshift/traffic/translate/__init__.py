"""One dialect in the words of another: words, a file per dialect, and what joins two.

- words: requests, answers and streams in words that no dialect owns; what a dialect's file provides
- carriers: signatures, names and free text that travel through a dialect which has no place of its own for them
- openai_chat, openai_responses, anthropic, gemini: one dialect each, in and out
- translate: a client's dialect and a provider's, joined
- fidelity: what survives between which dialects
"""
