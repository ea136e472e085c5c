"""What moves between two forecasts?"""

from collections.abc import Callable, Iterator
from enum import StrEnum

import msgspec

from upshift.model.ids import TierId, WorkloadId
from upshift.planning.budgets import Ceiling, Forecast, Quantiles
from upshift.planning.outline import BudgetLine


class Unit(StrEnum):
    """What a figure counts; money is in nano-dollars."""

    MONEY = "money"
    TOKENS = "tokens"
    SESSIONS = "sessions"
    HOURS = "hours"
    FTE = "fte"
    SHARE = "share"


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """One figure before and after; None where it is not known or there is none."""

    line: str
    what: str
    unit: Unit
    before: float | None
    after: float | None


class CeilingMoved(msgspec.Struct, frozen=True, kw_only=True):
    """A user's ceiling of tokens: the one the plan states and the one proposed, before and after."""

    workload: WorkloadId
    tier: TierId | None
    before: Ceiling | None
    after: Ceiling | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two forecasts of the same months. `workloads` holds the median cost of those whose cost moves."""

    before: Forecast
    after: Forecast
    lines: tuple[Moved, ...]
    workloads: tuple[Moved, ...]
    ceilings: tuple[CeilingMoved, ...]


def compare(before: Forecast, after: Forecast) -> Comparison:
    """All budgets, the buffer and the gates beside each other."""
    return Comparison(
        before=before,
        after=after,
        lines=tuple(_lines(before, after)),
        workloads=tuple(each for each in _workloads(before, after) if each.before != each.after),
        ceilings=_ceilings(before, after),
    )


_ABSENT = Quantiles(0.0, 0.0, 0.0)
"""What a workload costs that is not in the plan."""


def _lines(before: Forecast, after: Forecast) -> Iterator[Moved]:
    def both(line: str, what: str, unit: Unit, read: Callable[..., float | None], *arguments: object) -> Moved:
        return Moved(line=line, what=what, unit=unit, before=read(before, *arguments), after=read(after, *arguments))

    for field in ("p50", "p80", "p95"):
        yield both("tokens", f"cost, {field.upper()}", Unit.MONEY, _cost, field)
    yield both("tokens", "tokens, P50", Unit.TOKENS, lambda of: of.tokens.tokens.p50)
    for year in sorted({each.year for of in (before, after) for each in of.tokens.years if each.within is not None}):
        yield both("tokens", f"chance within the budget of {year}", Unit.SHARE, _within, year)
    for field in ("p50", "p80", "p95"):
        what = f"highest peak of sessions, {field.upper()}"
        yield both("compute", what, Unit.SESSIONS, _highest, field)
    yield both("compute", "sized with headroom", Unit.SESSIONS, lambda of: max(m.sized for m in of.compute.months))
    yield both("compute", "cost of units", Unit.MONEY, _machines)
    yield both("ops", "hours a week in the fullest quarter, P50", Unit.HOURS, _fullest, "p50")
    yield both("ops", "hours a week in the fullest quarter, P95", Unit.HOURS, _fullest, "p95")
    yield both("ops", "people in the fullest quarter", Unit.FTE, lambda of: max(q.fte for q in of.ops.quarters))
    yield both("ops", "hours above a ceiling", Unit.HOURS, lambda of: max(q.shortfall for q in of.ops.quarters))
    units = {BudgetLine.TOKENS: Unit.MONEY, BudgetLine.COMPUTE: Unit.SESSIONS, BudgetLine.OPS: Unit.HOURS}
    for line, unit in units.items():
        held = "held for all quarters" if line is BudgetLine.TOKENS else "held in the fullest quarter"
        yield both("buffer", f"{line}: {held}", unit, _held, line)
        yield both("buffer", f"{line}: least chance to suffice", Unit.SHARE, _enough, line)


def _cost(of: Forecast, field: str) -> float:
    return float(getattr(of.tokens.cost, field))


def _highest(of: Forecast, field: str) -> float:
    return max(float(getattr(month.peak, field)) for month in of.compute.months)


def _fullest(of: Forecast, field: str) -> float:
    return max(float(getattr(quarter.hours, field)) for quarter in of.ops.quarters)


def _within(of: Forecast, year: int) -> float | None:
    return next((each.within for each in of.tokens.years if each.year == year), None)


def _machines(of: Forecast) -> float | None:
    costs = [month.cost for month in of.compute.months]
    return None if None in costs else float(sum(cost for cost in costs if cost is not None))


def _held(of: Forecast, line: BudgetLine) -> float:
    held = [each.held for each in of.buffer if each.line is line]
    return sum(held) if line is BudgetLine.TOKENS else max(held)


def _enough(of: Forecast, line: BudgetLine) -> float:
    return min(each.enough for each in of.buffer if each.line is line)


def _workloads(before: Forecast, after: Forecast) -> Iterator[Moved]:
    costs: list[dict[WorkloadId, Quantiles | None]] = [
        {use.workload: use.cost for use in of.tokens.workloads} for of in (before, after)
    ]
    for workload in dict.fromkeys([*costs[0], *costs[1]]):
        was, is_ = (each.get(workload, _ABSENT) for each in costs)
        yield Moved(
            line="tokens",
            what=workload,
            unit=Unit.MONEY,
            before=None if was is None else was.p50,
            after=None if is_ is None else is_.p50,
        )


def _ceilings(before: Forecast, after: Forecast) -> tuple[CeilingMoved, ...]:
    was, is_ = ({(each.workload, each.tier): each for each in of.tokens.ceilings} for of in (before, after))
    return tuple(
        CeilingMoved(workload=key[0], tier=key[1], before=was.get(key), after=is_.get(key))
        for key in dict.fromkeys([*was, *is_])
        if was.get(key) != is_.get(key)
    )
