"""How often do rules that watch a rollout cry wolf, how soon do they see what is there, and what of real series?

`python -m bench.regression [--quick] [--json] [--series FOLDER]`: simulated stages of 48 hours with a look every five
minutes, and labelled series (see bench/regression_series.py). `ours` is `upshift.evidence` as it judges; `mean E`,
`rank E` and `error E` are its parts alone, `by UTC` is it where nobody says by whose clocks people live; the others are
what is in use elsewhere.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.signal import lfilter

from bench.kayenta import classify
from bench.looks import at_looks, running
from bench.regression_series import SERIES, Found, watch_series
from upshift.evidence.baseline import Baseline, Needs, Structure, freeze, rank
from upshift.evidence.eprocess import Floats, mean_evidence, rank_evidence, rate_evidence
from upshift.evidence.measurement import Kind, Metric, Observations, Scope
from upshift.evidence.pattern import HOUR, HOURS
from upshift.evidence.weigh import Rules, compare, is_worse, seen_side, snapshot_side
from upshift.model.ids import PlanHash

RESULTS = Path(__file__).parent / "results" / "regression.json"
WINDOW_HOURS, LOOKS_PER_HOUR = 48, 12
LOOKS = WINDOW_HOURS * LOOKS_PER_HOUR
ZONE = "Europe/Berlin"
SUMMER, WINTER = 492_985 * HOUR, 498_025 * HOUR
"""When its clocks were put forward and back in 2026: at 01:00 UTC on 29 March and 25 October."""
CV = 0.95
_ALPHA = 0.05
_BURN_IN = 50
_STRUCTURE = Structure((), (), PlanHash("bench"))
_VALUE = Metric(name="latency", kind=Kind.VALUE)
_RATE = Metric(name="error-rate", kind=Kind.RATE, floor=0.1, margin=0.5)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of stage. `effect` is what the new agent adds, `drift` what the environment adds to all traffic."""

    traffic: str
    per_hour: int
    n0: int
    effect: float = 0.0
    memory: float = 0.0
    """Autoregression from task to task."""
    swing: float = 0.0
    drift: float = 0.0
    control: bool = False
    errors: bool = False
    """A rate of 1 % rather than amounts."""
    clocks: bool = False
    """The clocks that people live by change within the first six hours of the window, where that does most harm."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one rule in one case. `median_hours` to the alarm, None where fewer than half of the runs alarm."""

    rule: str
    traffic: str
    effect: float
    alarm_rate: float
    median_hours: float | None
    runs: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """All that was run."""

    seed: int
    quick: bool
    seconds: float
    rows: tuple[Row, ...]
    series: tuple[Found, ...]


def cases() -> tuple[Case, ...]:
    """Every case, in the order of the table."""
    high, low = {"traffic": "high", "per_hour": 240, "n0": 10_000}, {"traffic": "low", "per_hour": 24, "n0": 2_000}

    def case(base: dict[str, object], **more: object) -> Case:
        return msgspec.convert(base | more, Case)

    return (
        *(case(base, effect=effect) for effect in (0.0, 0.1, 0.2) for base in (high, low)),
        *(
            case(base, effect=effect, errors=True, traffic=f"{base['traffic']}, errors")
            for effect in (0.0, 1.0)
            for base in (high, low)
        ),
        *(case(high, effect=effect, memory=0.6, traffic="high, AR(0.6)") for effect in (0.0, 0.2)),
        *(
            case(base, swing=0.15, effect=effect, traffic=f"{base['traffic']}, 15 % swing")
            for effect in (0.0, 0.1)
            for base in (high, low)
        ),
        *(
            case(high, drift=0.1, control=True, effect=effect, traffic="high, 10 % drift, control")
            for effect in (0.0, 0.1)
        ),
        case(high, n0=200, traffic="high, n0 = 200"),
        case(low, n0=200, traffic="low, n0 = 200"),
        *(
            case(
                base,
                n0=14 * HOURS * per_hour,
                swing=swing,
                effect=effect,
                clocks=True,
                traffic=f"{base['traffic']}, {100 * swing:.0f} % swing, DST",
            )
            for base, per_hour, swing, effect in (
                (high, 240, 0.15, 0.0),
                (high, 240, 0.5, 0.0),
                (low, 24, 0.5, 0.0),
                (high, 240, 0.15, 0.1),
            )
        ),
    )


class Stage(msgspec.Struct, frozen=True):
    """One simulated run."""

    case: Case
    before: Observations
    stage: Observations
    control: Observations | None


def draw(case: Case, seed: int) -> Stage:
    """A baseline, and a stage right after it."""
    random = np.random.default_rng(seed)
    step = HOUR // case.per_hour
    morning = int(random.integers(HOURS)) * HOUR
    if case.clocks:
        change = SUMMER if seed % 2 else WINTER
        morning = change - int(random.integers(6)) * HOUR - case.n0 * step

    def values(first: int, n: int, level: float) -> Observations:
        at = morning + (first + np.arange(n, dtype=np.int64)) * step
        if case.errors:
            return Observations(at, (random.random(n) < 0.01 * level).astype(np.float64))
        sigma = np.sqrt(np.log(1 + CV**2))
        noise = random.standard_normal(n)
        if case.memory:
            noise = np.asarray(lfilter([1.0], [1.0, -case.memory], noise * np.sqrt(1 - case.memory**2)))
        local = at + HOUR * (1 + ((at >= SUMMER) & (at < WINTER))) if case.clocks else at
        day = 1 + case.swing * np.sin(2 * np.pi * local / (HOURS * HOUR))
        return Observations(at, np.exp(sigma * noise - sigma**2 / 2) * day * level)

    n = WINDOW_HOURS * case.per_hour
    level = 1 + case.drift
    return Stage(
        case,
        values(0, case.n0, 1.0),
        values(case.n0, n, level * (1 + case.effect)),
        values(case.n0, n, level) if case.control else None,
    )


# Rules: each gives, for every look, whether it alarms ---------------------------------------------------------------

Alarms = NDArray[np.bool_]


def ours(run: Stage) -> Alarms:
    """The verdict `regressed` of `upshift.evidence.regression`, at every look."""
    return _ours(run, ZONE if run.case.clocks else "UTC")


def ours_by_utc(run: Stage) -> Alarms:
    """The same, where nobody has said whose clocks people live by."""
    return _ours(run, "UTC")


def _ours(run: Stage, zone: str) -> Alarms:
    case, rules = run.case, Rules(alpha=_ALPHA, burn_in=_BURN_IN)
    metric = _RATE if case.errors else _VALUE
    baseline = freeze(metric, Scope(), _STRUCTURE, run.before, Needs(days=0, values=100), zone)
    assert isinstance(baseline, Baseline), baseline
    per_look = case.per_hour // LOOKS_PER_HOUR
    seen = running(baseline, run.stage, per_look)
    side = seen_side(baseline, seen)
    worse = is_worse(compare(metric, baseline, side, snapshot_side(baseline, seen.hours)), rules, rules.alarm) > 0
    if run.control is not None:
        untouched = seen_side(baseline, running(baseline, run.control, per_look))
        worse &= is_worse(compare(metric, baseline, side, untouched), rules, rules.alarm_beside) > 0
    return np.asarray(worse)


class Plain(msgspec.Struct, frozen=True):
    """What the simple rules know at every look: counts, means, variances and ranks in the whole baseline."""

    n: Floats
    mean: Floats
    variance: Floats
    rank: Floats
    n0: int
    mean0: float
    variance0: float


def plain(run: Stage) -> Plain:
    """The same figures for the rules that know no hours, batches or controls."""
    per_look = run.case.per_hour // LOOKS_PER_HOUR
    before, values = np.sort(run.before.values), run.stage.values
    n = at_looks(np.ones(len(values)), per_look)
    mean = at_looks(values, per_look) / n
    variance = (at_looks(values**2, per_look) - n * mean**2) / np.maximum(n - 1, 1)
    ranks = at_looks(rank(before, values), per_look) / n
    return Plain(n, mean, variance, ranks, len(before), float(np.mean(before)), float(np.var(before, ddof=1)))


def mann_whitney(run: Stage) -> Alarms:
    """Two-sided p < .05, either way, at every look from the burn-in on (normal approximation)."""
    seen = plain(run)
    z = (seen.rank - 0.5) / np.sqrt((seen.n + seen.n0 + 1) / (12 * seen.n * seen.n0))
    return np.asarray((np.abs(z) > 1.96) & (seen.n >= _BURN_IN))


def threshold(run: Stage) -> Alarms:
    """The mean of an hour above 1.25 times the baseline's, looked at as each hour ends."""
    hourly = run.stage.values.reshape(WINDOW_HOURS, run.case.per_hour).mean(axis=1)
    alarms = np.zeros(LOOKS, dtype=np.bool_)
    alarms[LOOKS_PER_HOUR - 1 :: LOOKS_PER_HOUR] = hourly > 1.25 * float(np.mean(run.before.values))
    return alarms


def kayenta(run: Stage) -> Alarms:
    """Kayenta on means of five minutes, against the baseline's; judged every hour of a growing window, as it is run."""
    per_look = run.case.per_hour // LOOKS_PER_HOUR

    def means(found: Observations) -> Floats:
        whole = len(found) // per_look * per_look
        return np.asarray(found.values[:whole].reshape(-1, per_look).mean(axis=1))

    before, after = means(run.before), means(run.stage)
    alarms = np.zeros(LOOKS, dtype=np.bool_)
    for look in range(LOOKS_PER_HOUR, LOOKS + 1, LOOKS_PER_HOUR):
        if classify(before, after[:look]) > 0:
            alarms[look - 1 :] = True
            break
    return alarms


def mean_e(run: Stage) -> Alarms:
    """The mean mixture alone, margin 0."""
    seen = plain(run)
    e = mean_evidence(seen.mean, seen.variance / seen.n, seen.mean0, seen.variance0 / seen.n0)
    return np.asarray((e >= -np.log(_ALPHA)) & (seen.n >= _BURN_IN))


def rank_e(run: Stage) -> Alarms:
    """The rank mixture alone."""
    seen = plain(run)
    return np.asarray((rank_evidence(seen.rank, seen.n, seen.n0) >= -np.log(_ALPHA)) & (seen.n >= _BURN_IN))


def error_e(run: Stage) -> Alarms:
    """The beta-binomial mixture alone."""
    seen = plain(run)
    e = rate_evidence(seen.mean * seen.n, seen.n, seen.mean0 * seen.n0, seen.n0)
    return np.asarray(e >= -np.log(_ALPHA))


Rule = Callable[[Stage], Alarms]
AMOUNTS: dict[str, Rule] = {
    "mann-whitney": mann_whitney,
    "threshold 1.25x": threshold,
    "kayenta": kayenta,
    "mean E": mean_e,
    "rank E": rank_e,
    "ours": ours,
}
CLOCKS: dict[str, Rule] = {"by UTC": ours_by_utc, "ours": ours}
ERRORS: dict[str, Rule] = {"error E": error_e, "ours": ours}
_SLOW = {"kayenta": 10}
"""Rules that are run on one of so many runs."""
_LEAST, _LONG = 60, 4
"""Cases with a baseline of two weeks are run one in so many times, and at least so often."""


def simulate(case: Case, runs: int, seed: int) -> Iterator[Row]:
    """Every rule on the same runs of one case."""
    rules = ERRORS if case.errors else CLOCKS if case.clocks else AMOUNTS
    hours: dict[str, list[float]] = {rule: [] for rule in rules}
    tried = dict.fromkeys(rules, 0)
    for number in range(min(runs, max(_LEAST, runs // _LONG)) if case.clocks else runs):
        run = draw(case, seed + number)
        for name, rule in rules.items():
            if number % _SLOW.get(name, 1):
                continue
            tried[name] += 1
            alarms = rule(run)
            if alarms.any():
                hours[name].append((int(np.argmax(alarms)) + 1) / LOOKS_PER_HOUR)
    for name, when in hours.items():
        ended = sorted(when)
        yield Row(
            rule=name,
            traffic=case.traffic,
            effect=case.effect,
            alarm_rate=round(len(when) / tried[name], 4),
            median_hours=round(ended[(tried[name] - 1) // 2], 2) if 2 * len(when) >= tried[name] else None,
            runs=tried[name],
        )


def show(result: Result) -> None:
    """The tables for people."""
    console = Console()
    table = Table("rule", "traffic", "effect", "alarmed", "median hours", "runs")
    for row in result.rows:
        when = "–" if row.median_hours is None else f"{row.median_hours:g}"
        table.add_row(row.rule, row.traffic, f"{row.effect:+.0%}", f"{row.alarm_rate:.1%}", when, str(row.runs))
    console.print(table)
    series = Table("rule", "series", "incidents", "found", "quiet windows", "false alarms")
    for one in result.series:
        series.add_row(one.rule, one.series, str(one.incidents), str(one.found), str(one.quiet), str(one.false_alarms))
    console.print(series)


def main(words: Sequence[str]) -> int:
    """Runs what is asked for and writes the results file, where it is the whole of it on the series that ship."""
    parser = argparse.ArgumentParser(prog="python -m bench.regression", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, and no results file")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--series", type=Path, default=SERIES, help="a folder of labelled series")
    parser.add_argument("--runs", type=int, help="runs of each case, and no results file")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(words)
    runs = asked.runs or (60 if asked.quick else 600)
    began, seeds = time.monotonic(), count(asked.seed * 1_000_000, 10_000)
    rows = tuple(row for case in cases() for row in simulate(case, runs, next(seeds)))
    # Every seventh is still some of each kind.
    found = tuple(watch_series(asked.series, 7 if asked.quick and asked.series == SERIES else 1))
    seconds = round(time.monotonic() - began, 1)
    result = Result(seed=asked.seed, quick=asked.quick, seconds=seconds, rows=rows, series=found)
    told = msgspec.json.format(msgspec.json.encode(result), indent=2)
    if not asked.quick and asked.runs is None and asked.series == SERIES:
        RESULTS.write_bytes(told + b"\n")
    if asked.json:
        sys.stdout.write(told.decode() + "\n")
    else:
        show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
