"""One dialect in the words of another: words, a few files per dialect, and what joins two.

- words: requests, answers and streams in words that no dialect owns; and what a dialect's files provide
- carriers: signatures, names and free text that travel through a dialect which has no place of its own for them
- NAME, NAME_request (or _asked), NAME_answer, NAME_stream, NAME_shape: a dialect, in and out
- families: what some models of a vendor take and others refuse
- results_first: the order that some dialects ask for
- opening, asides: fields that nobody knows, and other losses
- translate: a client's dialect and a provider's, joined
- foreign: what a call that is not translated may not carry back to its provider
- fidelity: what survives between which dialects
"""
