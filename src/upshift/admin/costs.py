"""What does a change of plan do to what each workload costs a month, by the forecast?"""

from upshift.model.ids import WorkloadId
from upshift.model.money import Nano, show_money
from upshift.model.quarter import Month
from upshift.plan_file import Consequence, Kind
from upshift.planning.budgets import TokensForecast
from upshift.planning.forecast import forecast
from upshift.planning.outline import Outline

MONTHS = 12
_DRAWS = 1000
"""Enough for a median; both plans are drawn with the same numbers, so that only what differs shows."""


def costs_moved(before: Outline | None, after: Outline, start: Month) -> list[Consequence]:
    """One consequence per workload whose cost moves, and one for all: medians a month, over the next twelve.

    Workloads that are no more than candidates, or say no estimate, are in none of it; an unknown price is no zero.
    """
    was, now = (None if each is None else _forecast(each, start) for each in (before, after))
    one, other = _costs(was), _costs(now)
    found = [
        Consequence(Kind.COST, name, f"{name}: {_said(one, name)} -> {_said(other, name)} a month (P50)")
        for name in sorted(one.keys() | other.keys())
        if one.get(name, 0) != other.get(name, 0)
    ]
    if len(found) > 1 or (found and len(other) > 1):
        text = f"all workloads: {_total(was)} -> {_total(now)} a month (P50)"
        found.append(Consequence(Kind.COST, "all workloads", text))
    return found


def _forecast(outline: Outline, start: Month) -> TokensForecast:
    return forecast(outline, start=start, months=MONTHS, draws=_DRAWS).tokens


def _costs(told: TokensForecast | None) -> dict[WorkloadId, Nano | None]:
    """What each workload that was forecast costs a month; None where its price is not known."""
    if told is None:
        return {}
    return {
        each.workload: None if each.cost is None else round(each.cost.p50 / MONTHS)
        for each in told.workloads
        if each.tokens is not None
    }


def _said(costs: dict[WorkloadId, Nano | None], name: WorkloadId) -> str:
    return show_money(costs[name]) if name in costs else "nothing"


def _total(told: TokensForecast | None) -> str:
    if told is None:
        return "nothing"
    return ("at least " if told.at_least else "") + show_money(round(told.cost.p50 / MONTHS))
