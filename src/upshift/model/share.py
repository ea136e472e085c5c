"""How do people write a share of something: 30%, or 0.3?"""

import re

_SHARE = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(%?)\s*", re.ASCII)


def parse_share(text: str) -> float:
    """'30%' or '0.3' as 0.3. Raises ValueError on anything else; 30 without a sign is refused, not guessed."""
    found = _SHARE.fullmatch(text)
    share = None if found is None else float(found[1]) / (100 if found[2] else 1)
    if share is None or not 0 <= share <= 1:
        raise ValueError(f"{text!r} is not a share; write it like 30% or 0.3")
    return share
