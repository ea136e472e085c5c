"""How many users does a workload have in each month?"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from upshift.model.quarter import Month
from upshift.planning import lifetime
from upshift.planning.draws import Array, Dice, Draws, Scale
from upshift.planning.outline import Row

_FEW = 2
_BLOCK = 64
_PIECE = 4
_TERMS = 16
_ONE_THREAD = 262_144
"""Products of matrices of so many multiplications are left to one thread by OpenBLAS; both of ours have one each."""
_MOST_SHORT = 1e18
"""What is held in single precision; a sum of some squares of it fits, too."""


class Path(NamedTuple):
    """Something of a workload by month: month `first` + m is `scale[m]` times the draws `profiles[which[m]]`.

    Where growth is exact, all months are multiples of one profile, which keeps a thousand workloads quick; else each
    month that it runs in has its own, in their order. Months in which it does not run have the scale 0, or are none of
    a path's.
    """

    profiles: Draws
    which: tuple[int, ...]
    scale: tuple[float, ...]
    first: int = 0
    most: float = math.inf
    """What no draw exceeds, where that is known."""

    def fitting(self, factor: Draws | float) -> Draws:
        """A factor in the precision that it can be multiplied with this path in; to do so once for all pieces."""
        short = self.profiles.dtype == np.float32 and self.most * float(np.max(factor)) < _MOST_SHORT
        return np.asarray(factor, np.float32 if short else np.float64)

    def times(self, factor: Draws | float) -> "Path":
        """Each month times the same factor."""
        return self._replace(profiles=self.profiles * factor, most=math.inf)

    @property
    def few(self) -> bool:
        """Whether its months are multiples of few profiles, so that sums of it are products of matrices."""
        return len(self.profiles) <= _FEW

    def pieces(self) -> Iterator["Path"]:
        """Some months after the other, where they have draws of their own: so many stay within a core's own cache."""
        if self.few:
            yield self
            return
        for at in range(0, len(self.profiles), _PIECE):
            profiles, scale = self.profiles[at : at + _PIECE], self.scale[at : at + _PIECE]
            yield Path(profiles, tuple(range(len(profiles))), scale, self.first + at, self.most)

    def widened(self, months: tuple[bool, ...], factor: Draws | float) -> "Path":
        """Some months times a factor; `months` from the horizon's first on."""
        wide = months[self.first : self.first + len(self.which)]
        if not any(wide):
            return self
        most = self.most * max(float(np.max(factor)), 1.0)
        if len(self.profiles) == 1:
            both = np.concatenate([self.profiles, self.profiles * factor])
            return self._replace(profiles=both, which=tuple(int(each) for each in wide), most=most)
        profiles = self.profiles.copy()
        profiles[[which for which, each in zip(self.which, wide, strict=True) if each]] *= factor
        return self._replace(profiles=profiles, most=most)

    def squared(self) -> "Path":
        """Each month's square."""
        return self._replace(profiles=np.square(self.profiles), scale=tuple(each**2 for each in self.scale))

    def summed(self) -> Array:
        """(draws) all months together."""
        weights = np.zeros(len(self.profiles))
        np.add.at(weights, list(self.which), self.scale)
        return np.asarray(weights.astype(self.profiles.dtype) @ self.profiles, np.float64)


class _Term(NamedTuple):
    profiles: Draws
    factor: Draws
    first: int
    squared: bool


class Sums:
    """(months, draws) sums of paths times factors. Memory stays what it is, however many are added.

    Many are added at a time, since the whole sum does not fit a fast cache and a part of it that some workloads are
    added to does.
    """

    def __init__(self, months: int, draws: int) -> None:
        self._totals = np.zeros((months, draws))
        self._profiles, self._scales = np.empty((_BLOCK, draws)), np.zeros((months, _BLOCK))
        self._waiting = 0
        self._terms: list[_Term] = []

    def add(self, path: Path, factor: Draws, *, squared: bool = False) -> None:
        """Adds each month of a path times a `fitting` factor, or the square of that, to the month's sum."""
        if path.few:
            product = path.times(factor)
            self._add_few(product.squared() if squared else product)
            return
        self._terms.append(_Term(path.profiles, factor, path.first, squared))
        if len(self._terms) == _TERMS:
            self._flush_terms()

    def include(self, other: "Sums") -> None:
        """Adds all of another's sums."""
        self._totals += other.totals

    @property
    def totals(self) -> Array:
        """(months, draws); to be read, not written."""
        self._flush_terms()
        self._flush_few()
        return self._totals

    def _add_few(self, path: Path) -> None:
        """Few profiles that all months are multiples of: a product of matrices."""
        for at, profile in enumerate(path.profiles):
            if self._waiting == _BLOCK:
                self._flush_few()
            self._profiles[self._waiting] = profile
            months = slice(path.first, path.first + len(path.which))
            self._scales[months, self._waiting] = np.where(np.asarray(path.which) == at, path.scale, 0.0)
            self._waiting += 1

    def _flush_few(self) -> None:
        scales, profiles = self._scales[:, : self._waiting], self._profiles[: self._waiting]
        months, draws = self._totals.shape
        width = _ONE_THREAD // (months * _BLOCK)
        for at in range(0, draws if self._waiting else 0, width):
            self._totals[:, at : at + width] += scales @ profiles[:, at : at + width]
        self._scales[:] = 0.0
        self._waiting = 0

    def _flush_terms(self) -> None:
        months, draws = self._totals.shape
        precision = np.result_type(np.float32, *(kind for each in self._terms for kind in (each.profiles, each.factor)))
        for at in range(0, months if self._terms else 0, _PIECE):
            part = np.zeros((min(_PIECE, months - at), draws), precision)
            for profiles, factor, first, squared in self._terms:
                begin, end = max(at - first, 0), at + len(part) - first
                if end <= 0 or begin >= len(profiles):
                    continue
                own = profiles[begin:end] * factor
                if squared:
                    np.square(own, out=own)
                part[begin + first - at :][: len(own)] += own
            self._totals[at : at + len(part)] += part
        self._terms.clear()


def users_by_month(row: Row, start: Month, months: int, dice: Dice) -> Path | None:
    """Users, each counted with the weight of its tier. None where the plan says no users.

    Growth sets in when the forecast begins, or when the workload ships where that is later.
    """
    if not row.audiences or row.estimate is None:
        return None
    total = np.zeros(dice.count)
    for audience in row.audiences:
        tier = audience.tier or ""
        users = dice.draw(audience.users, Scale.LOG, row.id, "users", tier)
        total += users * dice.draw(audience.weight, Scale.LOG, row.id, "weight", tier)
    calendar = [start.plus(each) for each in range(months)]
    running = [lifetime.runs(row, month) for month in calendar]
    ages = [lifetime.age(row, month, start) for month in calendar]
    rate = dice.draw(row.estimate.growth, Scale.LINEAR, row.id, "growth")
    if isinstance(rate, float) or not any(running):
        rate = float(np.mean(rate))
        scale = tuple((1.0 + rate) ** age if on else 0.0 for age, on in zip(ages, running, strict=True))
        return Path(total[None, :], (0,) * months, scale)
    return _grown(total, 1.0 + np.maximum(rate, -1.0), ages, running)


def _grown(users: Array, factor: Array, ages: Sequence[int], running: Sequence[bool]) -> Path:
    """Users who grow by a factor with each month of age; a workload runs without a break."""
    on = [age for age, runs in zip(ages, running, strict=True) if runs]
    most = float(users.max()) * max(float(factor.max()), 1.0) ** on[-1]
    profiles = np.empty((len(on), len(users)), np.float32 if most < _MOST_SHORT else np.float64)
    now = users * factor ** on[0] if on[0] else users
    for at, age in enumerate(on):
        if at and age > on[at - 1]:
            now = now * factor
        profiles[at] = now
    return Path(profiles, tuple(range(len(on))), (1.0,) * len(on), running.index(True), most)
