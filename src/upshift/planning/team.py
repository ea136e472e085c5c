"""How sure can one be of a team's throughput, of what its next agent brings, and of where it breaks?"""

from collections.abc import Sequence
from enum import Enum
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.random import Generator
from scipy.special import chdtrc

from upshift.planning.measurements import Measured, uneven
from upshift.planning.usl import Array, Law, Topology, fit_many, peaks, speaks_of, throughputs

Cells: TypeAlias = list[list[tuple[Array, Array]]]
"""The measurements of each group at each team size: their throughputs, and the times they are weighted by."""

LEVEL = 0.95
"""How much of what is credible an interval holds."""

_ENDS = ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2)

DRAWS = 4_000

_REPEATS = 20
_REPEATS_IN_GROUP = 5
"""Fewer repeats of a size than this and a resample of them is too narrow; the scatter of all sizes is used instead."""

_OWN_SCATTER = 10
"""From this many degrees of freedom on, sizes scatter about their own means; with fewer, about the law."""

_FEW_AGENTS = 4
_FEW_SIZES = 4

_LEAST = 1e-3
"""A draw of less than this share of the mean is this share: throughput is above 0."""

_CONTRADICTED = 0.001
"""How improbable misses are at which the law is dropped."""

_REACH = 2
"""How far beyond the largest size measured the law is followed; a peak further off is a guess."""


class Interval(msgspec.Struct, frozen=True):
    """An estimate and the interval that holds 95 % of what is credible; infinite where nothing bounds it."""

    low: float
    mid: float
    high: float


class Place(Enum):
    """What is known of the breaking point."""

    MEASURED = "measured"
    """Its interval lies within the sizes measured."""

    EXTRAPOLATED = "extrapolated"
    """It is bounded, and it may lie beyond the sizes measured, where nothing shows that the law still holds."""

    UNKNOWN = "unknown"
    """Not enough sizes measured."""


class Breaking(msgspec.Struct, frozen=True):
    """The team size past which the next agent takes away more than it brings."""

    place: Place
    peak: Interval | None
    says: str


class Size(msgspec.Struct, frozen=True):
    """A team size that was measured."""

    agents: int
    throughput: Interval
    measurements: int


class Marginal(msgspec.Struct, frozen=True):
    """What one more agent brings: X(`agents` + 1) - X(`agents`), and how probable it is that it brings nothing."""

    agents: int
    gain: Interval
    p_none: float
    fitted: bool
    """From the law; else from the two sizes as they were measured."""


class Study(msgspec.Struct, frozen=True):
    """Throughputs by team size, the law they follow, and draws of both from what is credible."""

    agents: Array
    """The sizes measured (K,)."""
    means: Array
    counts: Array
    topology: Topology
    law: Law | None
    """None with fewer than three sizes."""
    seen: Array | None
    """Draws of the throughput at every size measured (D, K); None where nothing shows how much it varies."""
    laws: Array | None
    """The law of every draw (D, 3)."""
    fits: bool
    """The law is not contradicted by what was measured; where it is, only the sizes measured can be judged."""

    @property
    def largest(self) -> int:
        """The largest team that was measured."""
        return int(self.agents[-1])

    @property
    def places_peak(self) -> bool:
        """Whether there are sizes enough to follow the law beyond them."""
        return self.laws is not None and self.fits and len(self.agents) >= _FEW_SIZES and self.largest > _FEW_AGENTS

    @property
    def reach(self) -> int:
        """The largest team of which anything can be said."""
        if not self.places_peak:
            return self.largest
        bound = speaks_of(self.topology)
        return min(self.largest * _REACH, bound) if bound is not None else self.largest * _REACH


def study(measured: Sequence[Measured], topology: Topology, draws: Generator, number: int = DRAWS) -> Study:
    """What the measurements show. Where they are of several groups, throughput is the geometric mean over groups.

    Every size with twenty repeats, five in every group: these are resampled. Else the scatter of all sizes together
    says how much a mean may be off (Student's t): about the sizes' own means, as a share of them, where there are
    repeats enough; about the law, as least squares takes it, where there are not. So one row per size is enough.

    Raises ValueError without measurements, where groups were measured at different sizes, where no throughput is above
    0, or where a topology does not speak of a size.
    """
    if not measured:
        raise ValueError("nothing was measured")
    if wrong := uneven(measured):
        raise ValueError("; ".join(wrong))
    sizes = sorted({each.agents for each in measured})
    agents = np.array(sizes, dtype=float)
    cells = [[_cell(measured, group, size) for size in sizes] for group in sorted({each.group for each in measured})]
    levels = np.array([[_mean(*cell) for cell in group] for group in cells])
    for size, level in zip(sizes, levels.min(axis=0), strict=True):
        if level <= 0:
            raise ValueError(f"{size} agents got nothing done in all of their measurements; leave that size out")
    means = np.exp(np.log(levels).mean(axis=0))
    counts = np.array([sum(len(group[column][0]) for group in cells) for column in range(len(sizes))], dtype=float)
    enough = len(sizes) >= 3
    law = _one(fit_many(agents, means[None, :], topology, counts), topology) if enough else None
    seen = _resampled(cells, draws, number)
    if seen is None:
        seen = _scattered(cells, levels, agents, means, law, draws, number)
    laws = fit_many(agents, seen, topology, counts) if enough and seen is not None else None
    fits = law is not None and seen is not None and _fits(law, agents, means, seen)
    return Study(agents, means, counts, topology, law, seen, laws, fits)


def _fits(law: Law, agents: Array, means: Array, seen: Array) -> bool:
    """Whether scatter explains how far the law misses the means: chi-squared, K - 3 degrees of freedom."""
    freedom = len(agents) - 3
    if freedom < 1:
        return True
    off = means - throughputs(law.row(), law.topology, agents)[0]
    return float(chdtrc(freedom, np.sum(off**2 / seen.var(axis=0)))) >= _CONTRADICTED


def _one(found: Array, topology: Topology) -> Law:
    gamma, alpha, beta = (float(each) for each in found[0])
    return Law(gamma, alpha, beta, topology)


def _cell(measured: Sequence[Measured], group: str, agents: int) -> tuple[Array, Array]:
    """Throughputs and times of one group at one size."""
    of = [each for each in measured if each.group == group and each.agents == agents]
    return np.array([each.throughput for each in of]), np.array([each.time for each in of])


def _mean(throughput: Array, time: Array) -> float:
    return float(np.average(throughput, weights=time))


def _resampled(cells: Cells, draws: Generator, number: int) -> Array | None:
    """Draws (D, K) by resampling the measurements of every group and size; None where there are too few."""
    repeats = np.array([[len(throughput) for throughput, _ in group] for group in cells])
    if repeats.min() < _REPEATS_IN_GROUP or repeats.sum(axis=0).min() < _REPEATS:
        return None
    logs = np.zeros((number, len(cells[0])))
    for group in cells:
        for column, (throughput, time) in enumerate(group):
            taken = draws.integers(0, len(throughput), (number, len(throughput)))
            done = (throughput * time)[taken].sum(axis=1) / time[taken].sum(axis=1)
            logs[:, column] += np.log(np.maximum(done, np.finfo(float).tiny))
    seen: Array = np.exp(logs / len(cells))
    return seen


def _scattered(
    cells: Cells, levels: Array, agents: Array, means: Array, law: Law | None, draws: Generator, number: int
) -> Array | None:
    """Draws (D, K) from the scatter about the means of each size, or about the law; None without scatter.

    Groups are brought to one level first: what is left of a group at a size is scatter too.
    """
    counts = np.array([sum(len(group[column][0]) for group in cells) for column in range(len(means))])
    apart = int(counts.sum()) - (len(cells) - 1)
    own = law is None or apart - len(means) >= _OWN_SCATTER
    about = means if law is None or own else throughputs(law.row(), law.topology, agents)[0]
    freedom = apart - (len(means) if own else 3)
    if freedom < 1:
        return None
    # About the law the errors are those of least squares, the same at every size.
    units = means if own else np.ones_like(means)
    factors = np.exp(np.log(levels).mean(axis=1) - np.log(means).mean())
    left = np.concatenate(
        [
            (throughput / factor - about[column]) / units[column]
            for group, factor in zip(cells, factors, strict=True)
            for column, (throughput, _) in enumerate(group)
        ]
    )
    spread = np.sqrt(np.sum(left**2) / draws.chisquare(freedom, number))
    off = draws.normal(size=(number, len(means))) * spread[:, None] / np.sqrt(counts) * units
    seen: Array = np.maximum(means + off, means * _LEAST)
    return seen


# what a study says ------------------------------------------------------------------------------------------------


def interval(draws: Array, mid: float | None = None) -> Interval:
    """The interval of draws about an estimate, their median unless given; infinite draws make an infinite end."""
    ordered = np.sort(draws)
    # Draws themselves, never between two of them: between infinities there is nothing.
    low, median, high = (float(ordered[round(share * (len(ordered) - 1))]) for share in _ENDS)
    return Interval(low, median if mid is None else mid, high)


def sizes(found: Study) -> list[Size]:
    """The sizes measured, with the interval of their throughput; without one where nothing shows how much it varies."""
    shown: list[Size] = []
    for column, agents in enumerate(found.agents):
        mid = float(found.means[column])
        held = Interval(0.0, mid, float("inf")) if found.seen is None else interval(found.seen[:, column], mid)
        shown.append(Size(int(agents), held, int(found.counts[column])))
    return shown


def parameters(found: Study) -> dict[str, Interval]:
    """The intervals of gamma, alpha and beta; nothing where there is no law or nothing shows how sure it is."""
    if found.law is None or found.laws is None:
        return {}
    mids = found.law.row()[0]
    return {
        name: interval(found.laws[:, column], float(mids[column]))
        for column, name in enumerate(("gamma", "alpha", "beta"))
    }


def breaking(found: Study) -> Breaking:
    """Where the team breaks. A peak is never extrapolated from four or fewer agents, or from three or fewer sizes."""
    most = found.largest
    if found.law is None or found.laws is None or not found.fits:
        return Breaking(Place.UNKNOWN, None, f"not enough sizes measured: {what_to_measure(found)}")
    drawn = peaks(found.laws, found.topology)
    held = interval(drawn, found.law.peak)
    if not found.places_peak or np.isinf(held.high):
        # Below four agents a bounded interval is luck: other samples of the same team give an infinite one.
        open_ = Interval(held.low, held.mid, float("inf"))
        above = f"it lies above {held.low:.1f} as far as they show; " if held.low > 1 else ""
        return Breaking(Place.UNKNOWN, open_, f"not enough sizes measured: {above}{what_to_measure(found)}")
    said = f"about {held.mid:.1f} agents, between {held.low:.1f} and {held.high:.1f} at {LEVEL:.0%}"
    if held.high <= most:
        return Breaking(Place.MEASURED, held, said)
    return Breaking(
        Place.EXTRAPOLATED, held, f"{said} if the law holds beyond the {most} measured; measure larger teams to know"
    )


def what_to_measure(found: Study) -> str:
    """What would show the peak, or how sure one can be of it."""
    most = found.largest
    if found.laws is not None and not found.fits:
        return f"the law misses what was measured of up to {most} agents; measure sizes between and beyond them"
    if len(found.agents) >= _FEW_SIZES and most > _FEW_AGENTS and found.laws is None:
        return "measure each size more than once"
    if most <= _FEW_AGENTS:
        return f"up to {most} agents say nothing of a peak; measure teams of {most * 2} or more, small and large"
    if len(found.agents) < _FEW_SIZES:
        return f"{len(found.agents)} sizes cannot show one; measure at least {_FEW_SIZES}, also beyond {most}"
    return f"nothing bounds it with {most} agents or fewer; measure at {most * 2}, or each size more often"


def at(found: Study, agents: Sequence[float] | Array, *, fitted: bool) -> Array:
    """Draws of the throughput (D, N) at team sizes, from the law or as measured. Raises ValueError without them."""
    if fitted and found.laws is not None:
        return throughputs(found.laws, found.topology, np.array(agents, dtype=float))
    if fitted or found.seen is None:
        raise ValueError("nothing shows how much throughput varies; measure each size more than once")
    columns = {float(size): column for column, size in enumerate(found.agents)}
    if missing := [size for size in agents if size not in columns]:
        raise ValueError(f"{', '.join(f'{size:g}' for size in missing)} agents were not measured")
    return found.seen[:, [columns[size] for size in agents]]


def marginal(found: Study, agents: int, *, fitted: bool) -> Marginal:
    """What the next agent of a team of `agents` brings. Raises ValueError like `at`."""
    drawn = at(found, [agents, agents + 1], fitted=fitted)
    gains = drawn[:, 1] - drawn[:, 0]
    return Marginal(agents, interval(gains), float(np.mean(gains <= 0)), fitted)
