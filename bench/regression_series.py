"""Which labelled incidents of real series do rules find, and how often do they cry wolf where nothing happened?

A folder holds series as CSV, plain or gzipped, of three shapes: `timestamp,value` with labelled spans in a
`windows.json` of the folder or one above it; `TimeStamp,Value,Label`; and `starttime,VM_id,value`, the same work on
several machines where nothing was changed. An incident is a labelled stretch: it is found by a rule that is started at
its beginning and alarms, up or down, before its end. Quiet days of the same series, without a label, say how often a
rule alarms at nothing. Every rule sees the same windows and the same baseline: what came before, less what is labelled.
"""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.kayenta import classify
from bench.looks import running
from upshift.evidence.baseline import Baseline, Needs, Structure, freeze
from upshift.evidence.measurement import Kind, Metric, Observations, Scope, Worse
from upshift.evidence.pattern import HOUR, HOURS
from upshift.evidence.weigh import Rules, compare, is_worse, rescaled, seen_side, snapshot_side
from upshift.model.ids import PlanHash
from upshift.model.span import to_instant

SERIES = Path(__file__).parent / "data" / "regression-series"
_DAY = HOURS * HOUR
_LEAST = 72
"""Values a baseline has at least; what comes before is not judged."""
_PAST = 14 * _DAY
"""How far back a baseline reaches at most."""
_STRUCTURE = Structure((), (), PlanHash("series"))
_UP = Metric(name="value", kind=Kind.VALUE)
_DOWN = Metric(name="value", kind=Kind.VALUE, worse=Worse.DOWN)
_RUNS = 100
"""Values in a window of an A/A series."""

Flags = NDArray[np.bool_]


class Series(msgspec.Struct, frozen=True):
    """One series; `labels` says which values belong to an incident."""

    name: str
    found: Observations
    labels: Flags


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule made of one series, or of all series of one kind."""

    rule: str
    series: str
    incidents: int = 0
    found: int = 0
    quiet: int = 0
    false_alarms: int = 0
    unjudged: int = 0
    """Incidents without enough values before them to know what is usual."""

    @property
    def false_alarm_rate(self) -> float | None:
        return self.false_alarms / self.quiet if self.quiet else None


class Window(msgspec.Struct, frozen=True):
    """What a rule is shown: a baseline, a stage after it, and the same of machines beside it, where there are some."""

    before: Observations
    stage: Observations
    beside_before: Observations | None = None
    beside: Observations | None = None


def _rows(path: Path) -> list[dict[str, str]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return list(csv.DictReader(text.splitlines()))


def _instants(texts: list[str]) -> NDArray[np.int64]:
    moments = (datetime.fromisoformat(text) for text in texts)
    return np.array([to_instant(one if one.tzinfo else one.replace(tzinfo=UTC)) for one in moments], dtype=np.int64)


def _part(found: Observations, keep: Flags) -> Observations:
    return Observations(found.at[keep], found.values[keep])


def _spans(labels: Flags) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], labels, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def read(path: Path, root: Path, windows: dict[str, list[list[str]]]) -> Series | dict[str, Observations]:
    """One file: a labelled series, or the machines of an A/A series by name. Raises ValueError for other columns."""
    name = str(path.relative_to(root)).removesuffix(".gz").removesuffix(".csv")
    rows = _rows(path)
    columns = {column.lower(): column for column in rows[0]}
    value = columns.get("value")
    moment = next((columns[one] for one in ("timestamp", "starttime") if one in columns), None)
    if value is None or moment is None:
        raise ValueError(f"{path}: the columns are {', '.join(columns)}; a series has a timestamp and a value")
    # An empty value is a gap, not a zero.
    rows = [row for row in rows if row[value].strip()]
    at = _instants([row[moment] for row in rows])
    values = np.array([float(row[value]) for row in rows])
    if "vm_id" in columns:
        machine = np.array([row[columns["vm_id"]] for row in rows])
        return {f"{one}": Observations(at[machine == one], values[machine == one]) for one in np.unique(machine)}
    labels = np.zeros(len(rows), dtype=np.bool_)
    if "label" in columns:
        labels = np.array([row[columns["label"]].strip() == "1" for row in rows])
    for first, last in windows.get(f"{path.parent.name}/{path.name.removesuffix('.gz')}", []):
        low, high = _instants([first, last])
        labels |= (at >= low) & (at <= high)
    return Series(name, Observations(at, values), labels)


# Rules: is there an alarm in this window, up or down? ----------------------------------------------------------------


def ours(window: Window, burn_in: int = 50) -> bool:
    """`upshift.evidence`, both ways, corrected for two metrics; with the control where there is one."""
    rules = Rules(metrics=2, burn_in=burn_in)
    per_look = 1
    for metric in (_UP, _DOWN):
        needs = Needs(days=0, values=_LEAST)
        baseline = freeze(metric, Scope(), _STRUCTURE, window.before, needs)
        if not isinstance(baseline, Baseline):
            return False
        seen = running(baseline, window.stage, per_look)
        side = seen_side(baseline, seen)
        worse = is_worse(compare(metric, baseline, side, snapshot_side(baseline, seen.hours)), rules, rules.alarm) > 0
        if window.beside is not None and window.beside_before is not None:
            own = freeze(metric, Scope(), _STRUCTURE, window.beside_before, needs)
            assert isinstance(own, Baseline), own
            # The control at every look of the stage: what of it had been seen by then.
            upto = np.searchsorted(window.beside.at, window.stage.at, side="right")
            some = running(own, window.beside, 1)
            picked = {
                name: np.concatenate([np.zeros_like(getattr(some, name)[:1]), getattr(some, name)])[upto]
                for name in some.__struct_fields__
            }
            control = rescaled(seen_side(own, msgspec.structs.replace(some, **picked)), own, baseline)
            worse &= is_worse(compare(metric, baseline, side, control), rules, rules.alarm_beside) > 0
        if worse.any():
            return True
    return False


def alone(window: Window) -> bool:
    """Ours, without the control."""
    return ours(Window(window.before, window.stage))


def kayenta(window: Window) -> bool:
    """Kayenta on a growing window from ten values on; its control is the baseline, or what runs beside."""
    control = (window.beside or window.before).values
    values = window.stage.values
    steps = range(10, len(values) + 1, max(1, len(values) // 24)) if len(values) >= 10 else [len(values)]
    return any(classify(control, values[:upto]) for upto in steps)


def threshold(window: Window) -> bool:
    """The mean of an hour of values (one, where they are hourly) off by more than 25 % of the baseline's mean."""
    step = max(1, int(np.median(np.diff(window.before.at))))
    size = max(1, HOUR // step)
    if len(window.stage) < size:
        return False
    hourly = np.convolve(window.stage.values, np.ones(size) / size, mode="valid")
    level = float(np.mean(window.before.values))
    return bool(np.any(np.abs(hourly - level) > 0.25 * abs(level)))


RULES: dict[str, Callable[[Window], bool]] = {"ours": ours, "kayenta": kayenta, "threshold ±25 %": threshold}


# Windows -------------------------------------------------------------------------------------------------------------


def _before(series: Series, first: int) -> Observations | None:
    at = series.found.at
    keep = (np.arange(len(at)) < first) & ~series.labels & (at >= at[first] - _PAST)
    return _part(series.found, keep) if np.count_nonzero(keep) >= _LEAST else None


def labelled(series: Series) -> Iterator[tuple[bool, Window | None]]:
    """Every incident (True), and every quiet day (False), with what came before; None without enough of that."""
    at = series.found.at
    for first, last in _spans(series.labels):
        before = _before(series, first)
        stage = Observations(at[first:last], series.found.values[first:last])
        yield True, None if before is None else Window(before, stage)
    for start in range(int(at[0]), int(at[-1]) - _DAY + 1, _DAY):
        inside = (at >= start) & (at < start + _DAY)
        if not inside.any() or (inside & series.labels).any():
            continue
        before = _before(series, int(np.argmax(inside)))
        if before is not None:
            yield False, Window(before, _part(series.found, inside))


def quiet(machines: dict[str, Observations]) -> Iterator[Window]:
    """Windows of A/A series: each machine against its own past, the others beside it."""
    for name, mine in machines.items():
        others = [one for other, one in machines.items() if other != name]
        for first in range(2 * _RUNS, len(mine) - _RUNS + 1, _RUNS):
            begin, start, end = mine.at[first - 2 * _RUNS], mine.at[first], mine.at[first + _RUNS - 1]
            past, now = _pooled(others, begin, start), _pooled(others, start, end + 1)
            stage = Observations(mine.at[first : first + _RUNS], mine.values[first : first + _RUNS])
            before = Observations(mine.at[first - 2 * _RUNS : first], mine.values[first - 2 * _RUNS : first])
            enough = past is not None and now is not None and len(past) >= _LEAST
            yield Window(before, stage, past, now) if enough else Window(before, stage)


def _pooled(machines: list[Observations], start: int, end: int) -> Observations | None:
    parts = [_part(one, (one.at >= start) & (one.at < end)) for one in machines]
    at = np.concatenate([one.at for one in parts])
    return Observations(at, np.concatenate([one.values for one in parts])) if len(at) else None


def watch_series(folder: Path, every: int = 1) -> Iterator[Found]:
    """Every rule on one of `every` series of a folder, and the totals of each kind. Raises ValueError for no series."""
    files = sorted(path for path in folder.rglob("*") if path.name.endswith((".csv", ".csv.gz")))[::every]
    if not files:
        raise ValueError(f"{folder} has no series (*.csv or *.csv.gz)")
    totals: dict[tuple[str, str], Found] = {}
    for path in files:
        read_one = read(path, folder, _labels(path, folder))
        name = str(path.relative_to(folder)).removesuffix(".gz").removesuffix(".csv")
        rules = RULES | {"ours, no control": alone} if isinstance(read_one, dict) else RULES
        shown: list[tuple[bool, Window | None]] = (
            [(False, window) for window in quiet(read_one)] if isinstance(read_one, dict) else list(labelled(read_one))
        )
        for rule, judge in rules.items():
            one = _count(rule, name, shown, judge)
            yield one
            kind = f"all of {path.parent.relative_to(folder).parts[0] if path.parent != folder else '.'}"
            totals[kind, rule] = _sum(one, totals.get((kind, rule), Found(rule=rule, series=kind)), kind)
    yield from totals.values()


def _labels(path: Path, root: Path) -> dict[str, list[list[str]]]:
    for folder in (path.parent, *path.parent.parents):
        if (folder / "windows.json").is_file():
            told: dict[str, Any] = json.loads((folder / "windows.json").read_text())
            return told
        if folder == root:
            break
    return {}


def _count(rule: str, name: str, shown: list[tuple[bool, Window | None]], judge: Callable[[Window], bool]) -> Found:
    alarms = [(incident, judge(window)) for incident, window in shown if window is not None]
    return Found(
        rule=rule,
        series=name,
        incidents=sum(incident for incident, _ in alarms),
        found=sum(alarm for incident, alarm in alarms if incident),
        quiet=sum(not incident for incident, _ in alarms),
        false_alarms=sum(alarm for incident, alarm in alarms if not incident),
        unjudged=sum(window is None for _, window in shown),
    )


def _sum(one: Found, other: Found, name: str) -> Found:
    counts = ("incidents", "found", "quiet", "false_alarms", "unjudged")
    return Found(rule=one.rule, series=name, **{part: getattr(one, part) + getattr(other, part) for part in counts})
