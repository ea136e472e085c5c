"""Has a stage made a metric worse, is it healthy, or is it too early to say?"""

from enum import StrEnum
from math import exp, isfinite
from typing import assert_never

import msgspec
import numpy as np

from upshift.evidence.baseline import Baseline
from upshift.evidence.eprocess import MEAN_SPREAD, RANK_SPREAD, half_width
from upshift.evidence.measurement import Kind, Metric, Scope, Span, Worse
from upshift.evidence.pattern import HOUR, HOURS, hour_of
from upshift.evidence.tally import Tally
from upshift.evidence.weigh import Rules, Side, compare, is_worse, rescaled, seen_side, snapshot_side
from upshift.model.span import Instant


class Outcome(StrEnum):
    """What a look at a metric comes to. Only `NON_INFERIOR` is healthy."""

    REGRESSED = "regressed"
    NON_INFERIOR = "non-inferior"
    UNDECIDED = "undecided"
    INSUFFICIENT = "insufficient"
    DRIFT = "environment-drift"
    """The untouched traffic moved too: pause and find out, since neither yes nor no can be said of the stage."""


class Against(StrEnum):
    """What a stage is compared with."""

    SNAPSHOT = "snapshot"
    CONTROL = "control"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison in figures. E is given as its logarithm; `estimate` is the change to the worse, relative to the
    reference (for ranks: of the mean rank), `low` and `high` hold the true one at all looks together.
    """

    against: Against
    statistic: str
    log_e: float
    threshold: float
    """Log of m/α, against the control of 2m/α."""
    log_e_healthy: float
    threshold_healthy: float
    n: int
    worth: float
    """Independent values that the smaller side is worth."""
    reference_n: int
    value: float
    reference: float
    estimate: float
    low: float
    high: float
    worse: bool
    healthy: bool


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One look. `because` says why in sentences, the most important first."""

    outcome: Outcome
    metric: Metric
    scope: Scope
    baseline: str
    span: Span
    at: Instant
    rules: Rules
    n: int
    missing: int
    comparisons: tuple[Comparison, ...]
    drift: float | None
    """Log E that the control itself left the snapshot, either way; None without a control."""
    because: tuple[str, ...]


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """A metric under watch during a stage: what was seen of it, and the alarm once there was one.

    `control` is None where nothing is left untouched; `share` is the share of the baseline's traffic that the stage
    is given, from which silence is told.
    """

    start: Instant
    stage: Tally
    control: Tally | None = None
    share: float = 1.0
    alarm: Verdict | None = None


def look(
    baseline: Baseline, watch: Watch, now: Instant, rules: Rules, control_baseline: Baseline | None = None
) -> tuple[Watch, Verdict]:
    """One look at a metric: its verdict, and the watch that remembers an alarm.

    Once regressed, a stage stays regressed: no later look overwrites the alarm. `control_baseline` is the control's own
    where the control is not of the same kind; otherwise both are held against `baseline`. Raises ValueError for tallies
    of another baseline.
    """
    own = control_baseline or baseline
    for tally, wanted in ((watch.stage, baseline), (watch.control, own)):
        if tally is not None and tally.baseline != wanted.id:
            raise ValueError(f"the tally is of baseline {tally.baseline[:12]}, not {wanted.id[:12]}; begin a new one")
    verdict = _judge(baseline, watch, now, rules, own)
    if watch.alarm is not None:
        since = ("it regressed at an earlier look, and that stands", *watch.alarm.because)
        return watch, msgspec.structs.replace(verdict, outcome=Outcome.REGRESSED, because=since)
    if verdict.outcome is Outcome.REGRESSED:
        watch = msgspec.structs.replace(watch, alarm=verdict)
    return watch, verdict


def _judge(baseline: Baseline, watch: Watch, now: Instant, rules: Rules, own: Baseline) -> Verdict:
    metric, stage = baseline.metric, watch.stage
    seen = seen_side(baseline, stage.sums())
    snapshot = snapshot_side(baseline, stage.sums().hours)
    comparisons = [_compared(Against.SNAPSHOT, baseline, seen, snapshot, rules)]
    drift = None
    if watch.control is not None:
        untouched = seen_side(own, watch.control.sums())
        beside = untouched if own is baseline else rescaled(untouched, own, baseline)
        comparisons.append(_compared(Against.CONTROL, baseline, seen, beside, rules))
        drift = _drift(own, untouched, snapshot_side(own, watch.control.sums().hours), rules)
    gaps = _gaps(baseline, watch, now, rules)
    outcome = _outcome(comparisons, drift, gaps, rules)
    return Verdict(
        outcome=outcome,
        metric=metric,
        scope=baseline.scope,
        baseline=baseline.id,
        span=Span(watch.start, now),
        at=now,
        rules=rules,
        n=stage.n,
        missing=stage.missing,
        comparisons=tuple(comparisons),
        drift=drift,
        because=_because(outcome, metric, comparisons, gaps, rules),
    )


def _outcome(comparisons: list[Comparison], drift: float | None, gaps: tuple[str, ...], rules: Rules) -> Outcome:
    if all(one.worse for one in comparisons):
        return Outcome.REGRESSED
    # Either way is drift: E of two sides is their average, so each has half of the stake.
    if drift is not None and drift >= rules.alarm:
        return Outcome.DRIFT
    if gaps or any(one.worth < rules.burn_in for one in comparisons):
        return Outcome.INSUFFICIENT
    if all(one.healthy for one in comparisons):
        return Outcome.NON_INFERIOR
    return Outcome.UNDECIDED


def _drift(own: Baseline, control: Side, snapshot: Side, rules: Rules) -> float | None:
    """Log E that the control moved, up or down; None before there is enough of it."""
    metric = own.metric
    up = compare(metric, own, control, snapshot)
    if float(up.enough) < rules.burn_in:
        return None
    if metric.kind in (Kind.RATE, Kind.P95):
        return float(up.worse)
    other = Worse.UP if metric.worse is Worse.DOWN else Worse.DOWN
    down = compare(msgspec.structs.replace(metric, worse=other), own, control, snapshot)
    return float(np.logaddexp(up.worse, down.worse) - np.log(2))


def _compared(against: Against, baseline: Baseline, stage: Side, reference: Side, rules: Rules) -> Comparison:
    metric = baseline.metric
    reading = compare(metric, baseline, stage, reference)
    threshold = rules.alarm if against is Against.SNAPSHOT else rules.alarm_beside
    worse = bool(is_worse(reading, rules, threshold)) and float(stage.n) > 0 and float(reference.n) > 0
    enough = float(reading.enough) if float(stage.n) > 0 and float(reference.n) > 0 else 0.0
    value, level, width = _interval(metric, stage, reference, rules.alpha)
    change = float(reading.change)
    return Comparison(
        against=against,
        statistic=_STATISTICS[metric.kind],
        log_e=_finite(float(reading.worse)),
        threshold=threshold,
        log_e_healthy=_finite(float(reading.healthy)),
        threshold_healthy=rules.pass_mark,
        n=int(stage.n),
        worth=enough,
        reference_n=int(reference.n),
        value=value,
        reference=level,
        estimate=_finite(change),
        low=_finite(change - width),
        high=_finite(change + width),
        worse=worse,
        healthy=float(reading.healthy) >= rules.pass_mark and enough >= rules.burn_in,
    )


def _interval(metric: Metric, stage: Side, reference: Side, alpha: float) -> tuple[float, float, float]:
    """The value, its reference, and half the width of the interval of the change."""
    match metric.kind:
        case Kind.VALUE | Kind.MEAN:
            value, level = float(stage.mean), float(reference.mean)
            variance = stage.variance / stage.of_mean + reference.variance / reference.of_mean
            size = max(abs(level), 1e-300)
            return value, level, float(half_width(variance, MEAN_SPREAD * size, alpha)) / size
        case Kind.RANK:
            variance = (1 / np.asarray(stage.of_rank) + 1 / np.asarray(reference.of_rank)) / 12
            return float(stage.rank), float(reference.rank), float(half_width(variance, RANK_SPREAD, alpha))
        case Kind.RATE:
            shares = (float(stage.mean), float(stage.of_mean), float(reference.mean), float(reference.of_mean))
        case Kind.P95:
            shares = (float(stage.above), float(stage.of_tail), float(reference.above), float(reference.of_tail))
        case _:
            assert_never(metric.kind)
    share, n, share0, n0 = shares
    # Half an event more on each side, so that none seen is not taken for none possible.
    p, p0 = (share * n + 0.5) / (n + 1), (share0 * n0 + 0.5) / (n0 + 1)
    variance = p * (1 - p) / n + (p / p0) ** 2 * p0 * (1 - p0) / n0
    return share, share0, float(half_width(variance, p0, alpha)) / p0


def _finite(number: float) -> float:
    # A record is JSON, which has no infinities.
    return number if isfinite(number) else (1e300 if number > 0 else -1e300)


_STATISTICS = {
    Kind.VALUE: "normal scores and mean, normal mixtures",
    Kind.MEAN: "mean, normal mixture",
    Kind.RANK: "rank, normal mixture",
    Kind.RATE: "rate, beta-binomial mixture",
    Kind.P95: "share above the baseline's p95, beta-binomial mixture",
}


def _gaps(baseline: Baseline, watch: Watch, now: Instant, rules: Rules) -> tuple[str, ...]:
    """What is missing, in sentences. Expected is what the baseline had in the same hours of the day."""
    gaps = []
    days = max(baseline.span.hours / HOURS, 1.0)
    # Whole hours only; the one that runs may be empty yet.
    whole = range(-(-watch.start // HOUR), now // HOUR)
    clocks = hour_of(np.array(whole, dtype=np.int64) * HOUR, baseline.zone)
    usual = np.array(baseline.hour_counts)[clocks] / days * watch.share
    sides = [("the stage", watch.stage, usual)]
    if (control := watch.control) is not None:
        # How much is left untouched is nobody's plan: what is expected is what came in the hours that had any.
        sides.append(("the control", control, np.full(len(whole), control.n / max(len(control.seen), 1))))
    for name, tally, rate in sides:
        if not tally.n:
            gaps.append(f"{name} has no value at all")
            continue
        records = tally.n + tally.missing
        if tally.missing > (1 - rules.coverage) * records:
            gaps.append(f"{tally.missing} of {records} records of {name} have no value")
        chance = 1 - np.exp(-rate)
        due = float(np.sum(chance))
        spare = 3 * float(np.sqrt(np.sum(chance * (1 - chance))))
        present = len(set(tally.seen) & set(whole))
        if present < rules.coverage * due - spare:
            gaps.append(f"{name} has values in {present} of about {due:.0f} hours that should have some")
        silent = (now - (tally.last or watch.start)) / HOUR
        awaited = float(np.sum(rate[max(0, len(rate) - int(silent)) :]))
        if silent >= rules.silence_hours and awaited >= 20:
            gaps.append(
                f"{name} has been silent for {silent:.1f} h, in which about {awaited:.0f} values were to be expected"
            )
    return tuple(gaps)


def _because(
    outcome: Outcome, metric: Metric, comparisons: list[Comparison], gaps: tuple[str, ...], rules: Rules
) -> tuple[str, ...]:
    said = tuple(_sentence(metric, one) for one in comparisons)
    match outcome:
        case Outcome.REGRESSED:
            return said
        case Outcome.DRIFT:
            return (
                "the untouched traffic moved too, so the stage is not to blame yet: pause, and find what changed",
                *said,
            )
        case Outcome.INSUFFICIENT:
            few = tuple(
                f"against the {one.against}: worth {one.worth:.0f} independent values, {rules.burn_in} are needed"
                for one in comparisons
                if one.worth < rules.burn_in
            )
            return (*gaps, *few, *said)
        case Outcome.NON_INFERIOR | Outcome.UNDECIDED:
            return said
    assert_never(outcome)


def _sentence(metric: Metric, one: Comparison) -> str:
    unit = f" {metric.unit}" if metric.unit and metric.kind in (Kind.VALUE, Kind.MEAN) else ""
    way = (
        f"worse than the {one.against}"
        if one.worse
        else (
            f"within {metric.margin:.0%} of the {one.against}"
            if one.healthy
            else f"not told from the {one.against} yet"
        )
    )
    return (
        f"{metric.name} {one.value:.4g}{unit} against {one.reference:.4g}{unit}: {one.estimate:+.1%} to the worse "
        f"({one.low:+.1%} to {one.high:+.1%}), {way}; E {_power(one.log_e)} of {exp(one.threshold):.0f}, "
        f"n {one.n} and {one.reference_n}"
    )


def _power(log_e: float) -> str:
    return f"{exp(log_e):.3g}" if log_e < 20 else f"10^{log_e / np.log(10):.0f}"
