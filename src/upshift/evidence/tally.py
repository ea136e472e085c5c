"""What has been seen since a stage began, in a few sums that can be stored, reloaded and added to?"""

from typing import Generic, TypeVar

import msgspec
import numpy as np

from upshift.evidence.baseline import Baseline, rank, scores
from upshift.evidence.eprocess import Floats
from upshift.evidence.measurement import Observations
from upshift.evidence.pattern import HOUR, HOURS, hour_of
from upshift.model.span import Instant

R = TypeVar("R", float, Floats)


class Sums(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """What the tests need of observations, normalised by a baseline: numbers, or arrays with one row per look."""

    n: R
    total: R
    squares: R
    ranks: R
    """Sum of the ranks in the baseline's sample, each 0 to 1."""
    scores: R
    """Sum of the normal scores of those ranks."""
    above: R
    """How many are above the baseline's tail."""
    hours: Floats
    """How many in each hour of the baseline's day: (24,), or (looks, 24)."""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """The observations of a stage so far, against one baseline. Adding in any parts gives the same sums."""

    baseline: str
    """Its id: sums of one baseline mean nothing to another."""
    n: int = 0
    missing: int = 0
    total: float = 0.0
    squares: float = 0.0
    """Sum of squared distances from the baseline's mean, so that no digits are lost far from 0."""
    ranks: float = 0.0
    scores: float = 0.0
    above: int = 0
    hours: tuple[int, ...] = (0,) * HOURS
    seen: tuple[int, ...] = ()
    """The hours since 1970 in which there was a value, sorted."""
    last: Instant | None = None

    def sums(self) -> Sums[float]:
        return Sums(
            n=float(self.n),
            total=self.total,
            squares=self.squares,
            ranks=self.ranks,
            scores=self.scores,
            above=float(self.above),
            hours=np.array(self.hours, dtype=np.float64),
        )


def empty(baseline: Baseline) -> Tally:
    """Nothing seen yet."""
    return Tally(baseline=baseline.id)


def push(baseline: Baseline, tally: Tally, found: Observations) -> Tally:
    """The tally with more observations, one or many. Raises ValueError where it was begun for another baseline."""
    if tally.baseline != baseline.id:
        raise ValueError(f"the tally is of baseline {tally.baseline[:12]}, not {baseline.id[:12]}; begin a new one")
    if not len(found):
        return msgspec.structs.replace(tally, missing=tally.missing + found.missing)
    hours = hour_of(found.at, baseline.zone)
    level = found.values / baseline.shares()[hours]
    counts = np.bincount(hours, minlength=HOURS)
    ranks = rank(np.array(baseline.sample), level)
    newest = int(found.at[-1])
    return Tally(
        baseline=tally.baseline,
        n=tally.n + len(found),
        missing=tally.missing + found.missing,
        total=tally.total + float(np.sum(level)),
        squares=tally.squares + float(np.sum((level - baseline.mean) ** 2)),
        ranks=tally.ranks + float(np.sum(ranks)),
        scores=tally.scores + float(np.sum(scores(baseline, ranks))),
        above=tally.above + int(np.count_nonzero(level > baseline.tail)),
        hours=tuple(int(old + new) for old, new in zip(tally.hours, counts, strict=True)),
        seen=tuple(sorted({*tally.seen, *(int(one) for one in np.unique(found.at // HOUR))})),
        last=newest if tally.last is None else max(tally.last, newest),
    )
