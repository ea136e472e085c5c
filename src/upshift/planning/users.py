"""How many users does a workload have in each month?"""

from typing import NamedTuple

import numpy as np

from upshift.model.quarter import Month
from upshift.planning import lifetime
from upshift.planning.draws import Array, Dice, Scale
from upshift.planning.outline import Row

_FEW = 2
_BLOCK = 64


class Path(NamedTuple):
    """Something of a workload by month: month m is `scale[m]` times the draws `profiles[which[m]]`.

    Where growth is exact, all months are multiples of one profile, which keeps a thousand workloads quick; else each
    month has its own. Months in which it does not run have the scale 0.
    """

    profiles: Array
    which: tuple[int, ...]
    scale: tuple[float, ...]

    def times(self, factor: Array | float) -> "Path":
        """Each month times the same factor."""
        return Path(self.profiles * factor, self.which, self.scale)

    @property
    def few(self) -> bool:
        """Whether its months are multiples of few profiles, so that sums of it are products of matrices."""
        return len(self.profiles) <= _FEW

    def month(self, month: int, factor: Array | float) -> Array:
        """(draws) one month times a factor."""
        found: Array = self.profiles[self.which[month]] * factor
        if self.scale[month] != 1.0:
            found *= self.scale[month]
        return found

    def widened(self, months: tuple[bool, ...], factor: Array | float) -> "Path":
        """Some months times a factor."""
        if not any(months):
            return self
        if len(self.profiles) == 1:
            both = np.concatenate([self.profiles, self.profiles * factor])
            return Path(both, tuple(int(each) for each in months), self.scale)
        profiles = self.profiles.copy()
        profiles[list(months)] *= factor
        return Path(profiles, self.which, self.scale)

    def summed(self) -> Array:
        """(draws) all months together."""
        weights = np.zeros(len(self.profiles))
        np.add.at(weights, list(self.which), self.scale)
        return np.asarray(weights @ self.profiles)


class Sums:
    """(months, draws) sums of paths. Memory stays what it is, however many are added."""

    def __init__(self, months: int, draws: int) -> None:
        self._totals = np.zeros((months, draws))
        self._profiles: list[Array] = []
        self._scales: list[Array] = []

    def add(self, path: Path) -> None:
        """Adds each month of a path to the month's sum."""
        if not path.few:
            self.add_scaled(path, 1.0)
            return
        # Few profiles that all months are multiples of: a product of matrices, many workloads at a time.
        for at, profile in enumerate(path.profiles):
            self._profiles.append(profile)
            self._scales.append(np.where(np.asarray(path.which) == at, path.scale, 0.0))
        if len(self._profiles) >= _BLOCK:
            self._flush()

    def add_scaled(self, path: Path, factor: Array | float) -> None:
        """Adds a path times a factor, month by month where it has many profiles: a month's draws fit a fast cache."""
        if path.few:
            self.add(path.times(factor))
            return
        for month, scale in enumerate(path.scale):
            if scale:
                self.add_month(month, path.month(month, factor))

    def add_squares(self, path: Path, factor: Array | float) -> None:
        """Adds the squares of a path times a factor."""
        if path.few:
            self.add(Path(np.square(path.profiles * factor), path.which, tuple(each**2 for each in path.scale)))
            return
        for month, scale in enumerate(path.scale):
            if scale:
                own = path.month(month, factor)
                self.add_month(month, np.square(own, out=own))

    def add_month(self, month: int, draws: Array) -> None:
        """Adds (draws) of one month."""
        self._totals[month] += draws

    def include(self, other: "Sums") -> None:
        """Adds all of another's sums."""
        self._totals += other.totals

    @property
    def totals(self) -> Array:
        """(months, draws); to be read, not written."""
        self._flush()
        return self._totals

    def _flush(self) -> None:
        if self._profiles:
            self._totals += np.stack(self._scales, axis=1) @ np.stack(self._profiles)
            self._profiles, self._scales = [], []


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
    growth = row.estimate.growth
    if growth.exact:
        scale = tuple((1.0 + growth.mid) ** age if on else 0.0 for age, on in zip(ages, running, strict=True))
        return Path(total[None, :], (0,) * months, scale)
    rate = 1.0 + np.maximum(dice.draw(growth, Scale.LINEAR, row.id, "growth"), -1.0)
    grown = np.empty((months, dice.count))
    grown[0] = total
    for month in range(1, months):
        np.multiply(grown[month - 1], rate if ages[month] > ages[month - 1] else 1.0, out=grown[month])
    return Path(grown, tuple(range(months)), tuple(float(each) for each in running))
