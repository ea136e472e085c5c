"""How are forecasts, what-ifs and team sizes drawn?"""

from collections.abc import Mapping, Sequence
from typing import Any

from upshift.admin.portfolio_views import QuarterView
from upshift.console.charts import drawn
from upshift.model.money import NANO_PER_DOLLAR
from upshift.model.quarter import Month
from upshift.planning.budgets import Forecast, MonthUse, Quantiles
from upshift.planning.hardware import Payback
from upshift.planning.outline import BudgetLine
from upshift.planning.team import Study, at, interval, sizes
from upshift.planning.tornado import Tornado
from upshift.planning.usl import speaks_of

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MOST_SIZES = 240
_NAMES = 146
"""How wide names beside bars may be, in pixels."""
_ONE_LINE = 21
"""Letters that have room there."""


def month_name(month: Month) -> str:
    """'Dec 2026'."""
    return f"{_MONTHS[month.number - 1]} {month.year}"


def cost(of: Forecast, before: Forecast | None = None) -> str:
    """The cost of tokens by month as a fan; with another forecast, its median as well."""
    series = _fan([each.cost for each in of.tokens.months], NANO_PER_DOLLAR)
    if before is not None:
        values = [_scaled(each.cost, NANO_PER_DOLLAR, "p50") for each in before.tokens.months]
        series.append(_line("P50 before", values, tone=2, kind="dashed"))
    return _by_month([each.month for each in of.tokens.months], series, "money")


def peaks(of: Forecast) -> str:
    """Sessions open at the worst minute of each month, and what is sized for it."""
    months = of.compute.months
    series = _fan([each.peak for each in months], 1)
    series.append(_line("sized", [round(each.sized, 2) for each in months], tone=1, kind="dashed"))
    return _by_month([each.month for each in months], series, "count")


def hours(of: Forecast) -> str:
    """Hours of ops a week by quarter, by what they are for, against the ceilings."""
    quarters = of.ops.quarters
    series = [
        _bar("across workloads", [each.platform for each in quarters], tone=6),
        _bar("stable", [each.stable for each in quarters], tone=0),
        _bar("first quarter", [each.first_quarter for each in quarters], tone=2),
        _ticks("ceiling", [each.ceiling for each in quarters]),
    ]
    return _by_name([str(each.quarter) for each in quarters], series, "hours")


def commitments(quarters: Sequence[QuarterView]) -> str:
    """Hours of ops a week that are committed and planned, by quarter, against the ceilings."""
    series = [
        _bar("committed", [each.committed_hours for each in quarters], tone=0),
        _bar("planned", [round(each.planned_hours - each.committed_hours, 2) for each in quarters], tone=5),
        _ticks("ceiling", [each.ceiling for each in quarters]),
    ]
    return _by_name([each.quarter for each in quarters], series, "hours")


def most(of: Tornado) -> str:
    """What each input moves a budget by, at its low and at its high; the greatest on top. '' where nothing does."""
    if not of.bars:
        return ""
    scale, unit = {
        BudgetLine.TOKENS: (NANO_PER_DOLLAR, "money"),
        BudgetLine.COMPUTE: (1, "count"),
        BudgetLine.OPS: (1, "hours"),
    }[of.line]
    bars = list(reversed(of.bars))
    series = [
        {**_bar(name, [round((end - of.base) / scale, 4) for end in ends], tone=tone), "stack": "swing"}
        for name, tone, ends in (
            ("at its low", 0, [each.low for each in bars]),
            ("at its high", 2, [each.high for each in bars]),
        )
    ]
    names: dict[str, Any] = {"type": "category", "data": [_in_two(each.input) for each in bars]}
    label = {"width": _NAMES - 10, "overflow": "truncate", "hideOverlap": False, "fontSize": 11, "lineHeight": 13}
    names |= {"axisLabel": label}
    grid = {"left": _NAMES, "right": 18, "top": 36, "bottom": 26}
    values = {"type": "value", "splitNumber": 3}
    return drawn({"xAxis": values, "yAxis": names, "series": series, "grid": grid}, unit)


def actuals(foretold: Sequence[MonthUse], came: Mapping[str, float], months: Sequence[Month]) -> str:
    """Tokens of one workload: what was forecast of each month, and what came."""
    told = {each.month: each.tokens for each in foretold}
    series = _fan([told.get(each) for each in months], 1)
    series.append({**_bar("came", [came.get(str(each)) for each in months], tone=1), "stack": "came"})
    return _by_month(months, series, "tokens")


def team(found: Study, until: int) -> str:
    """Throughput by team size: what was measured, the law that fits, and where it lies with 95 %."""
    measured = {each.agents: each for each in sizes(found)}
    bound = speaks_of(found.topology)
    largest = min(max(found.largest, until), bound or _MOST_SIZES, _MOST_SIZES)
    along = sorted({*range(1, largest + 1), *measured})
    series: list[dict[str, Any]] = []
    if found.law is not None and found.laws is not None and found.fits:
        known = [size for size in along if bound is None or size <= bound]
        bands = [interval(each) for each in at(found, known, fitted=True).T]
        series += _band([each.low for each in bands], [each.high for each in bands], tone=0)
        series.append(_line("fitted", [_short(found.law.throughput(size)) for size in known], tone=0))
    points = [_short(measured[size].throughput.mid) if size in measured else None for size in along]
    series.append({"name": "measured", "type": "scatter", "tone": 2, "data": points, "symbolSize": 8})
    return _by_name([str(size) for size in along], series, "count")


def paid_back(found: Payback, price: int, life: int) -> str:
    """What a machine has saved in all after each month of its life, less its price."""
    assert found.net is not None
    months = list(range(life + 1))
    values = [round((month * found.net - price) / NANO_PER_DOLLAR, 2) for month in months]
    line = {**_line("saved less price", values, tone=0), "areaStyle": {"opacity": 0.12}}
    return _by_name([str(month) for month in months], [line], "money")


# the parts of a chart ---------------------------------------------------------------------------------------------


def _fan(values: Sequence[Quantiles | None], scale: float) -> list[dict[str, Any]]:
    """P50, P80 and P95, each an area from zero, so that a tooltip says the three figures themselves."""
    styles = (("P50", "p50", 2.2, 0.15, 1.0), ("P80", "p80", 1.2, 0.1, 0.65), ("P95", "p95", 1.0, 0.07, 0.4))
    return [
        {
            **_line(name, [_scaled(each, scale, field) for each in values], tone=0),
            "lineStyle": {"width": width, "opacity": ink},
            "areaStyle": {"opacity": opacity},
            "itemStyle": {"opacity": ink},
        }
        for name, field, width, opacity, ink in styles
    ]


def _band(low: Sequence[float], high: Sequence[float], *, tone: int) -> list[dict[str, Any]]:
    """What lies between two lines: an area on top of one that does not show."""
    hidden = {"type": "line", "stack": "band", "silent": True, "showSymbol": False, "tooltip": {"show": False}}
    hidden |= {"lineStyle": {"opacity": 0}, "tone": tone}
    between = [_short(above - below) for below, above in zip(low, high, strict=True)]
    return [
        {**hidden, "data": [_short(each) for each in low]},
        {**hidden, "data": between, "areaStyle": {"opacity": 0.18}},
    ]


def _line(name: str, values: Sequence[float | None], *, tone: int, kind: str = "solid") -> dict[str, Any]:
    style = {"width": 2, "type": kind}
    return {"name": name, "type": "line", "tone": tone, "data": values, "showSymbol": False, "lineStyle": style}


def _bar(name: str, values: Sequence[float | None], *, tone: int) -> dict[str, Any]:
    data = [None if each is None else round(each, 4) for each in values]
    return {"name": name, "type": "bar", "stack": "whole", "tone": tone, "data": data}


def _ticks(name: str, values: Sequence[float | None]) -> dict[str, Any]:
    """A short line across each bar."""
    return {
        "name": name, "type": "scatter", "tone": 4, "data": values, "symbol": "rect", "symbolSize": [44, 3], "z": 5
    }  # fmt: skip


def _scaled(of: Quantiles | None, scale: float, field: str) -> float | None:
    return None if of is None else _short(getattr(of, field) / scale)


def _in_two(name: str) -> str:
    """A long name on two lines: the workload's, and its input's."""
    return name.replace(".", ".\n", 1) if len(name) > _ONE_LINE else name


def _short(value: float) -> float:
    """Enough digits for a picture."""
    return float(f"{value:.5g}")


def _by_month(months: Sequence[Month], series: list[dict[str, Any]], unit: str) -> str:
    return _by_name([month_name(each) for each in months], series, unit)


def _by_name(names: Sequence[str], series: list[dict[str, Any]], unit: str) -> str:
    axis = {"type": "category", "data": list(names)}
    return drawn({"xAxis": axis, "yAxis": {"type": "value"}, "series": series}, unit)
