"""Which values may a figure take, the same ones whenever the same figure of the same workload is asked for?"""

import math
from enum import Enum
from hashlib import blake2b
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from upshift.planning.outline import Spread

Array: TypeAlias = NDArray[np.float64]

Z90 = 1.2815515655446004
"""How many standard deviations above its middle a normal figure has its ninetieth percentile."""


class Scale(Enum):
    """On which scale a figure is normal; its tenth, fiftieth and ninetieth percentile are those of its spread."""

    LOG = "log"
    """Above zero, in proportions: lognormal, with a width of its own on each side of the median."""
    LOGIT = "logit"
    """Between 0 and 1: normal in its log odds."""
    LINEAR = "linear"
    """Anything, in differences."""


class Dice:
    """Draws by name. Names that a change of plan does not touch keep their draws, so that differences are its own.

    `together` is the correlation, 0 to 1, of the same figure of two workloads: one season, one product and one habit
    of estimating move them all, so that a total is less sure than if each were wrong by itself.
    """

    def __init__(self, seed: int, count: int, together: float = 0.0) -> None:
        if count < 1:
            raise ValueError(f"a forecast needs at least one draw, not {count}")
        if not 0 <= together <= 1:
            raise ValueError(f"a correlation is from 0 to 1, not {together:g}")
        self.seed, self.count, self.together = seed, count, together
        self._common: dict[str, Array] = {}

    def for_workload(self) -> "Dice":
        """The same dice, which keep what they drew for as long as they are held: some figures are asked for twice."""
        own = _Keeping(self.seed, self.count, self.together)
        own._common = self._common
        return own

    def normal(self, *name: str) -> Array:
        """(count) standard normal numbers of this name."""
        digest = blake2b("\0".join((str(self.seed), *name)).encode(), digest_size=8).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest))).standard_normal(self.count)

    def draw(self, spread: Spread, scale: Scale, *name: str) -> Array | float:
        """(count) values of a figure, in its unit; a plain number where there is no doubt. Names: whose, which."""
        return spread.mid if spread.exact else spread_over(spread, scale, self._deviates(*name))

    def _deviates(self, *name: str) -> Array:
        """(count) standard normal numbers of a workload's figure, correlated with those of others' same figure."""
        own = self.normal(*name)
        if not self.together:
            return own
        what = name[1]
        common = self._common.get(what)
        if common is None:
            shared = Dice(self.seed, self.count).normal("all", what)
            common = self._common[what] = math.sqrt(self.together) * shared
        found = math.sqrt(1 - self.together) * own
        found += common
        return found


class _Keeping(Dice):
    def __init__(self, seed: int, count: int, together: float = 0.0) -> None:
        super().__init__(seed, count, together)
        self._kept: dict[tuple[Spread, Scale, tuple[str, ...]], Array | float] = {}

    def draw(self, spread: Spread, scale: Scale, *name: str) -> Array | float:
        of = spread, scale, name
        found = self._kept.get(of)
        if found is None:
            found = self._kept[of] = super().draw(spread, scale, *name)
        return found


def spread_over(spread: Spread, scale: Scale, z: Array) -> Array:
    """The figure at standard normal deviates `z`: its low at -1.28, its mid at 0, its high at +1.28.

    Where the scale cannot hold the spread (a low of zero has no logarithm), it is linear and cut at the scale's ends.
    """
    if scale is Scale.LOG and spread.low > 0:
        low, mid, high = (math.log(each) for each in _each(spread))
        line = _line(low, mid, high, z)
        return np.exp(line, out=line)
    if scale is Scale.LOGIT and spread.low > 0 and spread.high < 1:
        low, mid, high = (math.log(each / (1 - each)) for each in _each(spread))
        return np.asarray(1 / (1 + np.exp(-_line(low, mid, high, z))))
    line = _line(spread.low, spread.mid, spread.high, z)
    match scale:
        case Scale.LOG:
            return np.asarray(np.maximum(line, 0.0))
        case Scale.LOGIT:
            return np.asarray(np.clip(line, 0.0, 1.0))
        case Scale.LINEAR:
            return line


def _each(spread: Spread) -> tuple[float, float, float]:
    return spread.low, spread.mid, spread.high


def _line(low: float, mid: float, high: float, z: Array) -> Array:
    """A line through three points with a bend at its middle, as a sum of its two halves."""
    above, below = (high - mid) / Z90, (mid - low) / Z90
    if math.isclose(above, below, rel_tol=1e-12):
        return np.asarray(mid + above * z)
    line, lower = np.maximum(z, 0.0), np.minimum(z, 0.0)
    line *= above
    line += mid
    lower *= below
    line += lower
    return line
