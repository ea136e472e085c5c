"""How is the evidence of a playbook drawn: what is measured beside what is usual, and how sure that is, over time?"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import floor, log10
from types import MappingProxyType
from typing import Any

import msgspec

from upshift.console.charts import drawn
from upshift.evidence.measurement import Kind, Metric
from upshift.evidence.metrics import METRICS
from upshift.model.span import MICROS, Instant
from upshift.playbook.facts import Figure
from upshift.playbook.run import Entered, Finding, Finished, Looked, Record, RolledBack, Run

_AGAINST = " against the "
_SNAPSHOT, _CONTROL = "snapshot", "control"
_REFERENCES: Mapping[str, tuple[str, int]] = MappingProxyType({_SNAPSHOT: ("baseline", 6), _CONTROL: ("control", 2)})
_BANDS: Mapping[str, int] = MappingProxyType({_SNAPSHOT: 0, _CONTROL: 2})
_METRICS: Mapping[str, Metric] = MappingProxyType({each.name: each for each in METRICS})
_FEWEST = 2
_MS = 1000


class Point(msgspec.Struct, frozen=True):
    """One figure of one look."""

    at: Instant
    figure: Figure


class Trail(msgspec.Struct, frozen=True):
    """A metric over the looks of one phase, by what it was held against: the snapshot, the control, or nothing ('')."""

    phase: str
    title: str
    metric: str
    points: Mapping[str, tuple[Point, ...]]


class Drawing(msgspec.Struct, frozen=True):
    """A metric's two pictures; '' where there is too little for one."""

    phase: str
    title: str
    metric: str
    values: str
    change: str
    margin: float | None
    """Below it a change to the worse is called healthy; None where nothing is held against a reference."""


def trails(run: Run, records: Iterable[Record]) -> list[Trail]:
    """What was found in each phase that takes time, look by look; left out where there was one look alone."""
    found: dict[tuple[str, str], dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    steps = {visit.step: visit.phase.name for visit in run.visits if visit.phase.window}
    for record in records:
        if isinstance(record, Looked):
            _noted(found, record.at, steps.get(record.step, ""), record.findings)
        elif isinstance(record, Entered | RolledBack | Finished):
            # What ended a phase was found in the one before it.
            _noted(found, record.at, steps.get(record.step - 1, ""), record.findings)
    titles = {phase.name: phase.title for phase in run.book.phases}
    return [
        Trail(phase, titles.get(phase, phase), metric, {against: tuple(line) for against, line in lines.items()})
        for (phase, metric), lines in found.items()
        if max(map(len, lines.values())) >= _FEWEST
    ]


def known(figure: Figure) -> bool:
    """Whether anything was observed: of no values there is no mean, and none is not zero."""
    return figure.value is not None and (figure.reference is None or bool(figure.n))


def _noted(
    found: dict[tuple[str, str], dict[str, list[Point]]], at: Instant, phase: str, findings: Sequence[Finding]
) -> None:
    for finding in findings:
        for figure in finding.figures:
            metric, _, against = figure.what.partition(_AGAINST)
            if known(figure) and finding.phase == phase:
                line = found[phase, metric][against]
                if not line or line[-1].at < at:
                    line.append(Point(at, figure))


def drawings(run: Run, records: Iterable[Record]) -> list[Drawing]:
    """All that can be drawn, the latest phase first."""
    made = [
        Drawing(each.phase, each.title, each.metric, _values(each), _change(each), _margin(each))
        for each in trails(run, records)
    ]
    order = [visit.phase.name for visit in reversed(run.visits)]
    return sorted(made, key=lambda each: order.index(each.phase))


def _margin(trail: Trail) -> float | None:
    metric = _METRICS.get(trail.metric)
    return metric.margin if metric is not None and any(trail.points.get(each) for each in _REFERENCES) else None


def _values(trail: Trail) -> str:
    """What the stage came to at each look, beside the baseline and the control."""
    unit, scale = _unit(trail.metric)
    now = trail.points.get(_SNAPSHOT) or next(iter(trail.points.values()))
    series = [_line("now", [(each.at, each.figure.value) for each in now], scale, tone=0)]
    for against, (name, tone) in _REFERENCES.items():
        points = [(each.at, each.figure.reference) for each in trail.points.get(against, ())]
        if any(value is not None for _, value in points):
            series.append(_line(name, points, scale, tone=tone, kind="dashed"))
    return _over_time(series, {"type": "value", "scale": True, "splitNumber": 3}, unit)


def _change(trail: Trail) -> str:
    """The interval of the change to the worse at each look, against the margin below which it is healthy."""
    series: list[dict[str, Any]] = []
    ends: list[float] = []
    first, last = None, None
    for against, tone in _BANDS.items():
        spans = [
            (each.at, each.figure.low, each.figure.high)
            for each in trail.points.get(against, ())
            if each.figure.low is not None and each.figure.high is not None
        ]
        if not spans:
            continue
        series += _band(_REFERENCES[against][0], against, spans, tone)
        ends += [abs(spans[-1][1]), abs(spans[-1][2])]
        first, last = min(spans[0][0], first or spans[0][0]), max(spans[-1][0], last or 0)
    margin = _margin(trail)
    if not series or margin is None or first is None or last is None:
        return ""
    series.append(_line("healthy below", [(first, margin), (last, margin)], 1, tone=1, kind="dashed"))
    # The first looks know next to nothing: their intervals would make all others flat.
    most = _round(max(1.5 * max(ends), 2 * margin))
    return _over_time(series, {"type": "value", "min": -most, "max": most, "splitNumber": 2}, "change")


def _unit(metric: str) -> tuple[str, float]:
    """How the script writes figures of a metric, and by what they are multiplied for it."""
    found = _METRICS.get(metric)
    if found is None:
        return "exact", 1
    if found.kind in (Kind.RATE, Kind.P95):
        return "rate", 1
    return ("ms", _MS) if found.unit == "s" else ("exact", 1)


def _band(name: str, stack: str, spans: Sequence[tuple[Instant, float, float]], tone: int) -> list[dict[str, Any]]:
    hidden = {"type": "line", "stack": stack, "stackStrategy": "all", "showSymbol": False, "tooltip": {"show": False}}
    hidden |= {"lineStyle": {"opacity": 0}, "tone": tone, "silent": True}
    return [
        {**hidden, "data": [[_ms(at), _short(low)] for at, low, _ in spans]},
        {**hidden, "data": [[_ms(at), _short(high - low)] for at, low, high in spans], "areaStyle": {"opacity": 0.2}},
        # The interval is as wide to both sides of the estimate.
        _line(name, [(at, (low + high) / 2) for at, low, high in spans], 1, tone=tone),
    ]


def _line(
    name: str, points: Sequence[tuple[Instant, float | None]], scale: float, *, tone: int, kind: str = "solid"
) -> dict[str, Any]:
    data = [[_ms(at), None if value is None else _short(value * scale)] for at, value in points]
    style = {"width": 1.5, "type": kind}
    return {"name": name, "type": "line", "tone": tone, "data": data, "showSymbol": False, "lineStyle": style}


def _over_time(series: list[dict[str, Any]], axis: dict[str, Any], unit: str) -> str:
    return drawn({"xAxis": {"type": "time", "splitNumber": 4}, "yAxis": axis, "series": series}, unit)


def _ms(at: Instant) -> int:
    return at * _MS // MICROS


def _round(value: float) -> float:
    """The next 1, 2 or 5 of its power of ten, for the ends of an axis."""
    power = 10.0 ** floor(log10(value))
    return _short(next(each * power for each in (1, 2, 5, 10) if each * power >= value))


def _short(value: float) -> float:
    return float(f"{value:.5g}")
