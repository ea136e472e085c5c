"""Which values may a figure take, the same ones whenever the same figure of the same workload is asked for?"""

import math
from enum import Enum
from hashlib import blake2b
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from upshift.planning.outline import Spread

Array: TypeAlias = NDArray[np.float64]
Draws: TypeAlias = NDArray[np.floating]
"""In single precision where it is much: seven digits of a quantile are enough."""

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

    Deviates come in pairs of both signs (antithetic variates): half as many are made, and since what is forecast rises
    or falls with each figure alone, no quantile is less sure for it. One is not to be used by two threads at once.
    """

    def __init__(self, seed: int, count: int, together: float = 0.0) -> None:
        if count < 1:
            raise ValueError(f"a forecast needs at least one draw, not {count}")
        if not 0 <= together <= 1:
            raise ValueError(f"a correlation is from 0 to 1, not {together:g}")
        self.seed, self.count, self.together = seed, count, together
        self._common: dict[str, Array] = {}
        self._bits = np.random.SFC64(0)
        self._numbers = np.random.Generator(self._bits)

    def for_workload(self) -> "Dice":
        """The same dice, which keep what they drew for as long as they are held: some figures are asked for twice."""
        own = _Keeping(self.seed, self.count, self.together)
        own._common = self._common
        return own

    def normal(self, *name: str) -> Array:
        """(count) standard normal numbers of this name; the second half is the first with other signs."""
        digest = blake2b("\0".join((str(self.seed), *name)).encode(), digest_size=32).digest()
        # A state is set in a fifth of the time that a new generator takes, and a digest needs no more mixing.
        self._bits.state = {
            "bit_generator": "SFC64",
            "state": {"state": np.frombuffer(digest, dtype=np.uint64)},
            "has_uint32": 0,
            "uinteger": 0,
        }
        half = (self.count + 1) // 2
        found = np.empty(self.count)
        self._numbers.standard_normal(out=found[:half])
        np.negative(found[: self.count - half], out=found[half:])
        return found

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
        own *= math.sqrt(1 - self.together)
        own += common
        return own


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
        line = _line(-low, -mid, -high, z)
        np.exp(line, out=line)
        line += 1.0
        return np.divide(1.0, line, out=line)
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
    """A line through three points with a bend at its middle: its mean slope, and by how much |z| bends it."""
    above, below = (high - mid) / Z90, (mid - low) / Z90
    line = z * ((above + below) / 2)
    if not math.isclose(above, below, rel_tol=1e-12):
        bend = np.abs(z)
        bend *= (above - below) / 2
        line += bend
    line += mid
    return line


def at_rank(draws: Array, share: float) -> float:
    """A quantile of (draws), by rank."""
    at = rank(share, len(draws))
    return float(np.partition(draws, at)[at])


def rank(share: float, count: int) -> int:
    """Which of so many draws in ascending order is the quantile, so that one draw is its own."""
    return max(math.ceil(share * count) - 1, 0)
