"""What can a stage of so many hours, at this traffic, tell and not tell?"""

from collections.abc import Callable

import msgspec
import numpy as np

from upshift.evidence.baseline import Baseline, rank, scores
from upshift.evidence.measurement import Kind, Worse
from upshift.evidence.pattern import HOURS
from upshift.evidence.weigh import Reading, Rules, Side, compare, snapshot_side

_LUCK = 0.84
"""Standard errors that a result may fall short of what is to be expected and still be seen: four times in five."""
_SMALLEST, _LARGEST = 0.005, 4.0
_LONGEST = 90 * 24.0


class Detectable(msgspec.Struct, frozen=True, kw_only=True):
    """What can be told, four times in five. Changes are to the worse, relative; None is beyond what was looked for."""

    metric: str
    per_hour: float
    window_hours: float
    smallest: float | None
    """The smallest change that is called within the window; None when not even a fivefold one is."""
    hours_to: tuple[tuple[float, float | None], ...]
    """How many hours each of some changes takes; None beyond 90 days."""
    hours_to_healthy: float | None
    """How many hours it takes to say "healthy" when nothing has changed."""
    says: tuple[str, ...]


def detectable(
    baseline: Baseline,
    per_hour: float,
    window_hours: float,
    rules: Rules,
    control_per_hour: float | None = None,
    changes: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5),
) -> Detectable:
    """What a stage can tell, stated before it begins. `per_hour` is the traffic that the stage will be given.

    Raises ValueError for a window without length or traffic below 0.
    """
    if window_hours <= 0 or per_hour < 0 or (control_per_hour or 0) < 0:
        raise ValueError(
            f"{window_hours:g} hours at {per_hour:g} per hour: a window has a length, and traffic is not below 0"
        )

    def told(hours: float, change: float) -> bool:
        return _worse(baseline, per_hour * hours, hours, control_per_hour, change, rules)

    def healthy(hours: float) -> bool:
        return _healthy(baseline, per_hour * hours, hours, control_per_hour, rules)

    smallest = _least(lambda change: told(window_hours, change), max(_SMALLEST, baseline.metric.floor), _LARGEST)
    hours_to = tuple((change, _least(_after(told, change), 1 / 12, _LONGEST)) for change in changes)
    hours_to_healthy = _least(healthy, 1 / 12, _LONGEST)
    return Detectable(
        metric=baseline.metric.name,
        per_hour=per_hour,
        window_hours=window_hours,
        smallest=smallest,
        hours_to=hours_to,
        hours_to_healthy=hours_to_healthy,
        says=_words(baseline, per_hour, window_hours, smallest, hours_to, hours_to_healthy),
    )


def _after(told: Callable[[float, float], bool], change: float) -> Callable[[float], bool]:
    return lambda hours: told(hours, change)


def _least(holds: Callable[[float], bool], low: float, high: float) -> float | None:
    """The least value at which it holds, to 1 %, by bisection of its logarithm; None when not even at the most."""
    if holds(low):
        return low
    if not holds(high):
        return None
    while high / low > 1.01:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _expected(baseline: Baseline, n: float, change: float) -> Side:
    """A stage in which every value is worse by a share of itself, as it is to be expected."""
    metric, inflation = baseline.metric, baseline.inflation
    signed = -change if metric.worse is Worse.DOWN else change
    some = max(n, 1e-9)
    sample = np.array(baseline.sample) * (1 + signed)
    ranks = rank(np.array(baseline.sample), sample)
    above = float(np.mean(sample > baseline.tail))
    mean, variance = baseline.mean * (1 + signed), baseline.deviation**2 * (1 + signed) ** 2
    if metric.kind is Kind.RATE:
        mean = min(baseline.mean * (1 + signed), 1.0)
        variance = mean * (1 - mean)
    # p95 counts how often the old one is passed: a change of it is a change of that share.
    share = min(baseline.above / baseline.n * (1 + change), 1.0) if metric.kind is Kind.P95 else above
    return Side(
        n,
        some / inflation.mean,
        some / inflation.rank,
        some / inflation.tail,
        mean,
        variance,
        float(np.mean(ranks)),
        float(np.mean(scores(baseline, ranks))),
        share,
    )


def _moved(side: Side, other: Side, errors: float) -> Side:
    """The same, some standard errors of the difference further along."""

    def off(variance: float, n: object, n0: object) -> float:
        return errors * float(np.sqrt(variance / np.asarray(n) + variance / np.asarray(n0)))

    mean = float(side.mean) + off(float(side.variance), side.of_mean, other.of_mean)
    tail = float(side.above)
    return Side(
        side.n,
        side.of_mean,
        side.of_rank,
        side.of_tail,
        mean,
        side.variance,
        float(side.rank) + off(1 / 12, side.of_rank, other.of_rank),
        float(side.score) + off(1.0, side.of_rank, other.of_rank),
        min(1.0, max(0.0, tail + off(tail * (1 - tail), side.of_tail, other.of_tail))),
    )


def _readings(
    baseline: Baseline, n: float, hours: float, control_per_hour: float | None, change: float, luck: float
) -> list[Reading]:
    mix = np.array(baseline.hour_counts, dtype=np.float64)
    stage = _expected(baseline, n, change)
    references = [snapshot_side(baseline, mix)]
    if control_per_hour is not None:
        references.append(_expected(baseline, control_per_hour * hours, 0.0))
    sign = -1.0 if baseline.metric.worse is Worse.DOWN else 1.0
    made = []
    for reference in references:
        moved = _moved(stage, reference, luck * sign)
        if baseline.metric.kind is Kind.RATE:
            moved = msgspec.structs.replace(moved, mean=min(1.0, max(0.0, float(moved.mean))))
        made.append(compare(baseline.metric, baseline, moved, reference))
    return made


def _worse(
    baseline: Baseline, n: float, hours: float, control_per_hour: float | None, change: float, rules: Rules
) -> bool:
    readings = _readings(baseline, n, hours, control_per_hour, change, -_LUCK)
    thresholds = (rules.alarm, rules.alarm_beside)
    return all(
        float(one.worse) >= threshold and float(one.enough) >= rules.burn_in and change >= baseline.metric.floor
        for one, threshold in zip(readings, thresholds, strict=False)
    )


def _healthy(baseline: Baseline, n: float, hours: float, control_per_hour: float | None, rules: Rules) -> bool:
    readings = _readings(baseline, n, hours, control_per_hour, 0.0, _LUCK)
    return all(float(one.healthy) >= rules.pass_mark and float(one.enough) >= rules.burn_in for one in readings)


def _span(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.1f} h" if hours < 2 * HOURS else f"{hours / HOURS:.1f} days"


def _words(
    baseline: Baseline,
    per_hour: float,
    window: float,
    smallest: float | None,
    hours_to: tuple[tuple[float, float | None], ...],
    healthy: float | None,
) -> tuple[str, ...]:
    metric = baseline.metric
    said = []
    if smallest is None:
        said.append(
            f"{metric.name}: {window:g} h at {per_hour:g} per hour cannot tell any change: "
            "give the stage more traffic or time"
        )
    else:
        said.append(
            f"{metric.name}: {window:g} h at {per_hour:g} per hour tell a change of {smallest:.0%} to the worse, "
            "four times in five"
        )
    for change, hours in hours_to:
        when = "not within 90 days" if hours is None else f"after {_span(hours)}"
        said.append(f"a change of {change:.0%} is told {when}")
    if healthy is None or healthy > window:
        when = "more than 90 days" if healthy is None else f"about {_span(healthy)}"
        said.append(
            f"to say healthy (within {metric.margin:.0%}) takes {when} when nothing has changed: this window will end "
            "undecided; give it more traffic or time, or widen the margin"
        )
    else:
        said.append(
            f"to say healthy (within {metric.margin:.0%}) takes about {_span(healthy)} when nothing has changed"
        )
    return tuple(said)
