"""What do the observations of a stage say against a snapshot and against concurrent traffic: for worse, for healthy?"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from upshift.evidence.baseline import Baseline, shift
from upshift.evidence.eprocess import (
    BETTER_RATIOS,
    RANK_SPREAD,
    RATE_RATIOS,
    TAIL_RATIOS,
    Floats,
    Real,
    mean_evidence,
    normal_evidence,
    rank_evidence,
    rate_evidence,
    score_evidence,
)
from upshift.evidence.measurement import Kind, Metric, Worse
from upshift.evidence.pattern import leverage
from upshift.evidence.tally import Sums

_SHARE_OF_SCORES = 0.9
"""Of the stake, in a test by scores and mean together; a weighted average of two e-values is one. Most changes show in
the scores in half the time; the rest is for those that only a few large values make, which the mean alone sees."""


class Side(msgspec.Struct, frozen=True):
    """One side of a comparison: the snapshot, the stage or the control. Numbers or arrays of one shape."""

    n: Real
    """Values as they were counted."""
    of_mean: Real
    """Independent values that they are worth: for the mean, the rank and the tail."""
    of_rank: Real
    of_tail: Real
    mean: Real
    variance: Real
    """Of one value."""
    rank: Real
    score: Real
    above: Real
    """Share above the baseline's tail."""


class Reading(msgspec.Struct, frozen=True):
    """One comparison: log E for worse and for healthy, and the change that it saw, to the worse, relative."""

    worse: Floats
    healthy: Floats
    change: Floats
    enough: Floats
    """Independent values that the smaller side is worth."""
    beyond_floor: Floats
    """1 where the change is one worth speaking of."""


def snapshot_side(baseline: Baseline, mix: Floats) -> Side:
    """The snapshot, as the mix of hours that it is compared with would have been."""
    counts = np.array(baseline.hour_counts, dtype=np.float64)
    times = leverage(counts, baseline.frequencies, mix)
    mean: Real = baseline.mean
    if baseline.metric.kind is Kind.RATE and baseline.frequencies:
        usual = np.clip(np.array(baseline.hours), 0.5 / baseline.n, 1.0)
        mean = np.asarray(mix @ usual / np.maximum(np.sum(mix, axis=-1), 1.0))
    inflation, n = baseline.inflation, baseline.n / times
    return Side(
        baseline.n,
        n / inflation.mean,
        n / inflation.rank,
        n / inflation.tail,
        mean,
        baseline.deviation**2,
        0.5,
        0.0,
        baseline.above / baseline.n,
    )


def seen_side(baseline: Baseline, sums: Sums[float] | Sums[Floats]) -> Side:
    """What was seen, in terms of the baseline that it was normalised by."""
    inflation, some = baseline.inflation, np.maximum(sums.n, 1.0)
    mean = np.asarray(sums.total / some)
    spread = sums.squares - sums.n * (mean - baseline.mean) ** 2
    return Side(
        sums.n,
        some / inflation.mean,
        some / inflation.rank,
        some / inflation.tail,
        mean,
        np.maximum(spread, 0.0) / np.maximum(some - 1, 1.0),
        np.asarray(sums.ranks / some),
        np.asarray(sums.scores / some),
        np.asarray(sums.above / some),
    )


def rescaled(control: Side, own: Baseline, to: Baseline) -> Side:
    """Traffic with a baseline of its own, as multiples of that: what it would have been at the level of another.

    The uncertainty of both levels is added to its own, so that it counts for fewer values.
    """
    scale = to.mean / own.mean if own.mean else 1.0
    levels = own.inflation.mean / own.n * _relative(own) + to.inflation.mean / to.n * _relative(to)
    ranks = own.inflation.rank / own.n + to.inflation.rank / to.n
    tails = own.inflation.tail / own.n + to.inflation.tail / to.n
    variance = np.asarray(control.variance) * scale**2
    mean = np.asarray(control.mean) * scale
    of_mean = variance / np.maximum(variance / control.of_mean + mean**2 * levels, 1e-300)
    return Side(
        control.n,
        # Before two values there is no variance, and nothing is worth anything.
        np.clip(of_mean, 1e-9, control.of_mean),
        1 / (1 / np.asarray(control.of_rank) + ranks),
        1 / (1 / np.asarray(control.of_tail) + tails),
        mean,
        variance,
        control.rank,
        control.score,
        control.above,
    )


def _relative(baseline: Baseline) -> float:
    return (baseline.deviation / baseline.mean) ** 2 if baseline.mean else 0.0


def _both(by_mean: Floats, by_scores: Floats) -> Floats:
    stakes = np.log(1 - _SHARE_OF_SCORES), np.log(_SHARE_OF_SCORES)
    return np.asarray(np.logaddexp(stakes[0] + by_mean, stakes[1] + by_scores))


def compare(metric: Metric, baseline: Baseline, stage: Side, reference: Side) -> Reading:
    """The stage against the snapshot or the control."""
    sign = -1.0 if metric.worse is Worse.DOWN else 1.0
    kind, margin = metric.kind, metric.margin
    lean = sign * (np.asarray(stage.rank) - np.asarray(reference.rank))
    level = np.asarray(reference.mean)
    size = np.maximum(np.abs(level), 1e-300)
    moved = np.asarray(sign * (np.asarray(stage.mean) - level) / size)
    if kind in (Kind.RATE, Kind.P95):
        return _compare_rates(metric, stage, reference)
    means = (np.asarray(stage.variance) / stage.of_mean, np.asarray(reference.variance) / reference.of_mean)
    # A skewed sample that is low by chance is tame by chance too: its own variance would make it sure of being low.
    wary = np.maximum(stage.variance, reference.variance) / stage.of_mean
    for_worse, for_healthy = (means[0], wary) if metric.worse is Worse.UP else (wary, means[0])
    by_mean = mean_evidence(sign * np.asarray(stage.mean), for_worse, sign * level, means[1])
    by_rank = rank_evidence(lean, stage.of_rank, reference.of_rank, 0.0)
    near = sign * shift(baseline, sign * metric.floor)
    if kind is Kind.RANK:
        within = sign * shift(baseline, sign * margin)
        spare = (1 / np.asarray(stage.of_rank) + 1 / np.asarray(reference.of_rank)) / 12
        healthy = normal_evidence(within - lean, spare, RANK_SPREAD)
        return _reading(by_rank, healthy, lean, stage.of_rank, reference.of_rank, lean >= near)
    healthy = mean_evidence(-sign * np.asarray(stage.mean), for_healthy, -sign * level, means[1], -margin)
    if kind is Kind.MEAN:
        return _reading(by_mean, healthy, moved, stage.of_mean, reference.of_mean, moved >= metric.floor)
    by_scores = score_evidence(
        sign * (np.asarray(stage.score) - np.asarray(reference.score)), stage.of_rank, reference.of_rank
    )
    speaks = (moved >= metric.floor) | (lean >= near)
    return _reading(_both(by_mean, by_scores), healthy, moved, stage.of_mean, reference.of_mean, speaks)


def _compare_rates(metric: Metric, stage: Side, reference: Side) -> Reading:
    n, n0, share, share0, ratios = stage.of_mean, reference.of_mean, stage.mean, reference.mean, RATE_RATIOS
    if metric.kind is Kind.P95:
        n, n0, share, share0 = stage.of_tail, reference.of_tail, stage.above, reference.above
        ratios = TAIL_RATIOS
    k, k0 = np.asarray(share) * n, np.asarray(share0) * n0
    change = np.asarray(share) / ((k0 + 0.5) / (np.asarray(n0) + 1)) - 1
    worse = rate_evidence(k, n, k0, n0, ratios)
    healthy = rate_evidence(k, n, k0, n0, BETTER_RATIOS, 1 + metric.margin)
    return _reading(worse, healthy, change, n, n0, change >= metric.floor)


def _reading(
    worse: Floats, healthy: Floats, change: Real, n: Real, n0: Real, beyond: Real | NDArray[np.bool_]
) -> Reading:
    return Reading(
        worse,
        healthy,
        np.asarray(change, dtype=np.float64),
        np.asarray(np.minimum(n, n0), dtype=np.float64),
        np.asarray(beyond, dtype=np.float64),
    )


class Rules(msgspec.Struct, frozen=True):
    """How sure is sure: `alpha` over the whole window and all `metrics` together, and the least of values.

    `burn_in` counts values that are worth an independent one each: below it means are not near enough to normal.
    """

    alpha: float = 0.05
    metrics: int = 1
    burn_in: int = 50
    coverage: float = 0.9
    """Share of the hours in which a value was to be expected that have to have one."""
    silence_hours: float = 1.0
    """A silence of so long, where at least twenty values were to be expected, is missing data."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or self.metrics < 1 or self.burn_in < 2:
            raise ValueError(
                f"alpha {self.alpha:g} has to be between 0 and 1, metrics {self.metrics} at least 1, "
                f"burn_in {self.burn_in} at least 2"
            )

    @property
    def alarm(self) -> float:
        """Log of the threshold m/α for worse than the snapshot."""
        return float(np.log(self.metrics / self.alpha))

    @property
    def alarm_beside(self) -> float:
        """The same for worse than the control, 2m/α: when the environment drifts, that comparison stands alone."""
        return self.alarm + float(np.log(2))

    @property
    def pass_mark(self) -> float:
        """Log of the threshold 1/α for healthy: all metrics have to pass, so none is given a second chance."""
        return float(np.log(1 / self.alpha))


def is_worse(reading: Reading, rules: Rules, threshold: float) -> Floats:
    """1 where a comparison says worse. `threshold` is one of the two alarms of the rules."""
    sure = (reading.worse >= threshold) & (reading.enough >= rules.burn_in)
    return np.asarray(np.where(sure, reading.beyond_floor, 0.0))
