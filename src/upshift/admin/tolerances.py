"""Which tolerance does a person mean by 1%, $0.05 or tokens=0.1%, and which lines by project=proj_1?"""

import re
from collections.abc import Sequence

import msgspec

from upshift.model.money import parse_money
from upshift.reviews.findings import Tolerance
from upshift.reviews.reconcile import DIMENSIONS

LIKE = "1% or $0.05 of money, or tokens=0.1%"

_SHARE = re.compile(r"(\d{1,2}(?:\.\d{1,4})?)\s*%", re.ASCII)


def tolerance(texts: Sequence[str]) -> Tolerance:
    """The tolerance that is meant, the usual one where nothing is said. Raises ValueError."""
    found = Tolerance()
    for text in texts:
        kind, equals, value = text.partition("=")
        kind, value = (kind.strip(), value.strip()) if equals else ("money", text.strip())
        share = _SHARE.fullmatch(value)
        if kind == "tokens" and share is not None:
            found = msgspec.structs.replace(found, tokens_share=float(share[1]) / 100)
        elif kind == "money" and share is not None:
            found = msgspec.structs.replace(found, money_share=float(share[1]) / 100)
        elif kind == "money" and not share:
            found = msgspec.structs.replace(found, money=parse_money(value))
        else:
            raise ValueError(f"{text!r} is not a tolerance; write {LIKE}")
    return found


def narrowed(texts: Sequence[str]) -> dict[str, str]:
    """Conditions on the lines of a bill. Raises ValueError."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name.strip() not in DIMENSIONS or not value.strip():
            raise ValueError(f"{text!r} is not a condition; write one of {', '.join(DIMENSIONS)}, like project=proj_1")
        found[name.strip()] = value.strip()
    return found
