"""How many tokens a call used, of which kinds, and how sure we are."""

import re
from enum import StrEnum
from fractions import Fraction
from typing import Self

import msgspec

# A comma only before groups of three: a decimal comma (1,5M) is refused rather than read as tenfold.
_COUNT = re.compile(r"\s*((?:\d{1,3}(?:,\d{3})+|\d+(?:_\d+)*)(?:\.\d+)?)\s*([kKmMbB]?)\s*(?:tokens?)?\s*", re.ASCII)
_SCALE = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}


class Certainty(StrEnum):
    """How a usage figure is known."""

    EXACT = "exact"
    """The provider reported it at the end of a complete answer."""
    AT_LEAST = "at_least"
    """Counted from what was seen before the call was cut; the true figure may be larger."""
    UNKNOWN = "unknown"
    """Nobody said; the call counts at its hold."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call. Subsets, not additions: input contains cached and both writes; output contains reasoning."""

    input: int = 0
    cached: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output

    def __add__(self, other: Self) -> "Usage":
        return Usage(
            self.input + other.input,
            self.cached + other.cached,
            self.cache_write_5m + other.cache_write_5m,
            self.cache_write_1h + other.cache_write_1h,
            self.output + other.output,
            self.reasoning + other.reasoning,
        )


NO_USAGE = Usage()


def parse_tokens(text: str) -> int:
    """Tokens of '520k', '1.4M', '2_000' or '900 tokens'. Raises ValueError on anything else."""
    found = _COUNT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a number of tokens; write it like 520k, 1.4M or 200000")
    count = Fraction(found[1].replace(",", "").replace("_", "")) * _SCALE[found[2].lower()]
    if count.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of tokens")
    return int(count)


def show_tokens(count: int | None) -> str:
    """'1.4M', '520k', '900'; 'unknown' for None."""
    if count is None:
        return "unknown"
    for size, letter in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        units = count / size
        # From .9995 on, three digits round up to one of this unit (999,500 is 1M, not 1e+03k).
        if abs(count) * 2000 >= size * 1999:
            return f"{units:.3g}{letter}" if abs(units) < 999.5 else f"{units:,.0f}{letter}"
    return str(count)
