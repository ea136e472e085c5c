"""How many tokens does the simulated provider say a text has?"""

import re

_PIECE = re.compile(r" ?\w{1,4}| ?[^\w\s]{1,4}|\s+")


def pieces(text: str) -> list[str]:
    """The tokens of a text, in order; joined they are the text again."""
    return _PIECE.findall(text)


def count_tokens(text: str) -> int:
    """Tokens of a text: a run of up to four letters or signs with the blank before it, or a run of white space."""
    return len(_PIECE.findall(text))
