"""What is drawn: options for ECharts, which the page's script colours for light and dark?"""

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any

from upshift.admin.burn import BurnView
from upshift.model.metered import Outcome
from upshift.model.money import NANO_PER_DOLLAR

REST = "others"
_TONES: Mapping[str, int] = MappingProxyType({Outcome.SERVED: 0, Outcome.REFUSED: 2, Outcome.UPSTREAM_ERROR: 4})


def daily_spend(rows: Sequence[tuple[str, str, int]], most: int) -> str:
    """Stacked bars of (day, series, nano-dollars): the largest `most` series, the rest together. '' for no spend."""
    return _daily(rows, most, NANO_PER_DOLLAR, "money")


def daily_tokens(rows: Sequence[tuple[str, str, int]], most: int) -> str:
    """The same of (day, series, tokens)."""
    return _daily(rows, most, 1, "tokens")


def _daily(rows: Sequence[tuple[str, str, int]], most: int, per: int, unit: str) -> str:
    days = sorted({day for day, _, _ in rows})
    totals: dict[str, int] = defaultdict(int)
    cells: dict[tuple[str, str], int] = defaultdict(int)
    for _, name, nano in rows:
        totals[name] += nano
    largest = sorted((name for name in totals if totals[name] > 0), key=lambda name: -totals[name])
    kept = largest[:most]
    for day, name, nano in rows:
        cells[day, name if name in kept else REST] += nano
    names = [*kept, *([REST] if len(largest) > most else [])]
    if not names:
        return ""
    series = [
        {
            "name": name,
            "type": "bar",
            "stack": "spend",
            "data": [round(cells[day, name] / per, 6) for day in days],
        }
        for name in names
    ]
    axis = {"type": "category", "data": days, "days": True}
    return drawn({"xAxis": axis, "yAxis": {"type": "value"}, "series": series}, unit)


def burn(view: BurnView, since: str, until: str) -> str:
    """Spend so far, added up, and where it goes until the year ends, against the budget."""
    first, last = date.fromisoformat(since), date.fromisoformat(until)
    spent = [round(total / NANO_PER_DOLLAR, 2) for total in itertools.accumulate(view.days)]
    yesterday = (first + timedelta(days=len(spent) - 1)).isoformat()
    lived = [[(first + timedelta(days=at)).isoformat(), amount] for at, amount in enumerate(spent)]
    begin = [yesterday, spent[-1]] if spent else [since, 0]
    ends = {"projected": view.projected_nano, "P10": view.low_nano, "P90": view.high_nano}
    series: list[dict[str, Any]] = [
        {"name": "spent", "type": "line", "data": lived, "showSymbol": False, "areaStyle": {"opacity": 0.15}},
        *(
            {
                "name": name,
                "type": "line",
                "data": [begin, [until, round(nano / NANO_PER_DOLLAR, 2)]],
                "showSymbol": False,
                "lineStyle": {"type": "dashed" if name == "projected" else "dotted", "width": 1.5},
            }
            for name, nano in ends.items()
        ),
    ]
    if view.budget_nano is not None:
        budget = round(view.budget_nano / NANO_PER_DOLLAR, 2)
        series.append(
            {
                "name": "budget",
                "type": "line",
                "data": [[since, budget], [until, budget]],
                "showSymbol": False,
                "lineStyle": {"width": 1.5},
            }
        )
    axis = {"type": "time", "min": since, "max": last.isoformat()}
    return drawn({"xAxis": axis, "yAxis": {"type": "value"}, "series": series}, "money")


def calls_by_outcome(rows: Sequence[tuple[str, str, int]]) -> str:
    """Stacked bars of (day, outcome, calls). '' for no calls."""
    days = sorted({day for day, _, _ in rows})
    outcomes = sorted({outcome for _, outcome, calls in rows if calls}, key=lambda each: (each != Outcome.SERVED, each))
    cells = {(day, outcome): calls for day, outcome, calls in rows}
    series = [
        {
            "name": outcome.replace("_", " "),
            "type": "bar",
            "stack": "calls",
            "tone": _TONES.get(outcome, 6),
            "data": [cells.get((day, outcome), 0) for day in days],
        }
        for outcome in outcomes
    ]
    if not series:
        return ""
    axis = {"type": "category", "data": days, "days": True}
    return drawn({"xAxis": axis, "yAxis": {"type": "value"}, "series": series}, "count")


def drawn(option: dict[str, Any], unit: str) -> str:
    """An option as text; `unit` (money, tokens, count, share or ms) says how the script writes its figures."""
    return json.dumps({**option, "unit": unit}, separators=(",", ":"))
