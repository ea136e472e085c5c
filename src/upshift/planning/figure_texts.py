"""What figure does a person mean by 6,000, 520k, 15%, 12m, 4h or 12..18..30?"""

import math
import re
from collections.abc import Sequence
from enum import Enum

from upshift.planning.outline import Spread, exactly

_ONE = re.compile(r"\s*(-?(?:\d{1,3}(?:,\d{3})+|\d+(?:_\d+)*)(?:\.\d+)?)\s*(%|[a-zA-Z]*)\s*", re.ASCII)
_AROUND = re.compile(r"(.+?)\s*(?:\+-|\+/-|±)\s*(\d+(?:\.\d+)?)\s*%\s*", re.DOTALL)
_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
_MINUTES = {"s": 1 / 60, "m": 1.0, "min": 1.0, "h": 60.0}
_HOURS = {"": 1.0, "h": 1.0, "m": 1 / 60, "min": 1 / 60}
_PARTS = {"": 1.0, "%": 0.01}


class Kind(Enum):
    """What a figure counts: its units, the least and the most it can be, and how it is written."""

    COUNT = (_COUNTS, 0.0, math.inf, "18, 4,200, 1.4M, 12..18..30 or 18 +-20%")
    SHARE = (_PARTS, 0.0, 1.0, "60% or 40%..70%")
    RATE = (_PARTS, -1.0, math.inf, "3%, -2% or 1%..3%..6%")
    MINUTES = (_MINUTES, 0.0, math.inf, "90s, 12m or 5m..12m..40m")
    HOURS = (_HOURS, 0.0, math.inf, "6h or 4h..6h..8h")

    @property
    def units(self) -> dict[str, float]:
        return self.value[0]

    @property
    def least(self) -> float:
        return self.value[1]

    @property
    def most(self) -> float:
        return self.value[2]

    @property
    def like(self) -> str:
        return self.value[3]


def parse_figure(text: str, kind: Kind = Kind.COUNT) -> Spread:
    """The figure, in ones, shares of one, minutes or hours.

    Of two bounds (P10 and P90) the median is their geometric mean, where both are above zero. Raises ValueError on
    anything else, and on what is out of bounds.
    """
    around = _AROUND.fullmatch(text)
    if around is not None:
        middle, part = _one(around[1], text, kind), float(around[2]) / 100
        if part > 1:
            raise ValueError(f"{text!r} takes away more than there is; write at most +-100%")
        low, high = sorted((middle * (1 - part), middle * (1 + part)))
        return _checked((low, middle, high), text, kind)
    values = [_one(each, text, kind) for each in text.split("..")]
    if len(values) > 3:
        raise ValueError(f"{text!r} is not a range; write it like {kind.like}")
    low, high = values[0], values[-1]
    if len(values) != 2:
        return _checked((low, values[len(values) // 2], high), text, kind)
    middle = math.sqrt(low * high) if 0 < low < high else (low + high) / 2
    return _checked((low, middle, high), text, kind)


def _checked(values: Sequence[float], text: str, kind: Kind) -> Spread:
    low, mid, high = values
    if not low <= mid <= high:
        raise ValueError(f"{text!r} does not rise; write low..high or low..middle..high")
    if low < kind.least or high > kind.most:
        raise ValueError(f"{text!r} is out of bounds; write it like {kind.like}")
    return exactly(low) if low == high else Spread(low, mid, high)


def _one(part: str, text: str, kind: Kind) -> float:
    found = _ONE.fullmatch(part)
    if found is None or found[2].lower() not in kind.units:
        raise ValueError(f"{text!r} is not a figure here; write it like {kind.like}")
    return float(found[1].replace(",", "").replace("_", "")) * kind.units[found[2].lower()]
