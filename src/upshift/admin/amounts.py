"""Which amount does a person mean by 100k, $5 or -$5?"""

from collections.abc import Callable

from upshift.model.budget import Amount
from upshift.model.money import parse_money
from upshift.model.tokens import parse_tokens

MOST_TOKENS = 10**15
MOST_NANO = 10**18
"""A thousand million dollars, and well within 64 bits."""


def amount(tokens: str | int | None, money: str | None, *, signed: bool = False) -> Amount:
    """Tokens and money together; with `signed`, each may begin with a minus. Raises ValueError."""
    found = Amount(
        0 if tokens is None else _read(str(tokens), parse_tokens, signed=signed),
        0 if money is None else _read(money, parse_money, signed=signed),
    )
    if abs(found.tokens) > MOST_TOKENS or abs(found.nano) > MOST_NANO:
        raise ValueError("the amount is larger than can be counted")
    return found


def _read(text: str, parse: Callable[[str], int], *, signed: bool) -> int:
    plain = text.strip()
    if signed and plain.startswith("-"):
        return -parse(plain[1:])
    return parse(plain)
