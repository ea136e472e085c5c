"""How money is counted (integers of nano-dollars) and how people write and read it."""

import re
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import TypeAlias

Nano: TypeAlias = int
"""An amount in nano-dollars: 1 US$ = 1_000_000_000."""

NANO_PER_DOLLAR = 1_000_000_000
_CENT = NANO_PER_DOLLAR // 100

# A comma only before groups of three: a decimal comma ($1,50) is refused rather than read as a hundredfold.
_MONEY = re.compile(
    r"\s*\$?\s*((?:\d{1,3}(?:,\d{3})+|\d+(?:_\d+)*)(?:\.\d+)?|\.\d+)\s*([kKmM]?)\s*(?:USD)?\s*", re.ASCII
)
_SCALE = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_money(text: str) -> Nano:
    """Nano-dollars of '$2.50', '2.5', '$1.2k' or '3M USD'. Raises ValueError on anything else, or finer than 1 nano."""
    found = _MONEY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an amount of money; write it like $2.50, $120 or $1.2k")
    amount = Fraction(found[1].replace(",", "").replace("_", "")) * _SCALE[found[2].lower()] * NANO_PER_DOLLAR
    if amount.denominator != 1:
        raise ValueError(f"{text!r} is finer than a nano-dollar")
    return int(amount)


def nano_from_dollars(dollars: Decimal) -> Nano:
    """Nearest nano-dollar, ties to even."""
    return int((dollars * NANO_PER_DOLLAR).to_integral_value(ROUND_HALF_EVEN))


def dollars(nano: Nano) -> Decimal:
    """Exact dollars of an amount."""
    return Decimal(nano) / NANO_PER_DOLLAR


def show_money(nano: Nano | None) -> str:
    """'$12.34', with as many digits as a small amount needs to be told from zero; 'unknown' for None."""
    if nano is None:
        return "unknown"
    sign, size = ("-", -nano) if nano < 0 else ("", nano)
    if size == 0 or size >= _CENT:
        # By hand, as Decimal rounds (a half to the even cent): every answer of the gateway shows amounts.
        cents, rest = divmod(size, _CENT)
        if rest > _CENT // 2 or (rest == _CENT // 2 and cents & 1):
            cents += 1
        return f"{sign}${cents // 100:,}.{cents % 100:02}"
    return f"{sign}${dollars(size):.{6 if size >= 1000 else 9}f}"
