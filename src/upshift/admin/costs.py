"""What does a change of plan do to what each workload costs a month, by the forecast?"""

from collections.abc import Mapping

from upshift.model.ids import WorkloadId
from upshift.model.money import Nano, show_money
from upshift.model.quarter import Month
from upshift.plan_file import Consequence, Kind
from upshift.planning.lifetime import counted
from upshift.planning.outline import Outline, Row
from upshift.planning.spend import Spend, median, spends

MONTHS = 12
_DRAWS = 1000
"""Enough for a median; both plans are drawn with the same numbers, so that only what differs shows."""


def costs_moved(before: Outline | None, after: Outline, start: Month) -> list[Consequence]:
    """One consequence per workload whose cost moves, and one for all: medians a month, over the next twelve.

    Workloads that are no more than candidates, or say no estimate, are in none of it; an unknown price is no zero.
    """
    was = {} if before is None else {row.id: row for row in counted(before)}
    now = {row.id: row for row in counted(after)}
    earlier = _spends(was, start)
    # The draws of a row that did not change are the same ones.
    later = {name: earlier[name] for name, row in now.items() if name in earlier and was[name] == row}
    later |= _spends({name: row for name, row in now.items() if was.get(name) != row}, start)
    one, other = _costs(earlier), _costs(later)
    found = [
        Consequence(Kind.COST, name, f"{name}: {_said(one, name)} -> {_said(other, name)} a month (P50)")
        for name in sorted(one.keys() | other.keys())
        if one.get(name, 0) != other.get(name, 0)
    ]
    if len(found) > 1 or (found and len(other) > 1):
        text = f"all workloads: {_total(before, earlier, was)} -> {_total(after, later, now)} a month (P50)"
        found.append(Consequence(Kind.COST, "all workloads", text))
    return found


def _spends(rows: Mapping[WorkloadId, Row], start: Month) -> dict[WorkloadId, Spend]:
    return dict(spends(rows.values(), start=start, months=MONTHS, draws=_DRAWS))


def _costs(spent: Mapping[WorkloadId, Spend]) -> dict[WorkloadId, Nano | None]:
    """What each workload that was forecast costs a month; None where its price is not known."""
    return {name: None if (middle := each.median) is None else round(middle / MONTHS) for name, each in spent.items()}


def _said(costs: dict[WorkloadId, Nano | None], name: WorkloadId) -> str:
    return show_money(costs[name]) if name in costs else "nothing"


def _total(plan: Outline | None, spent: Mapping[WorkloadId, Spend], rows: Mapping[WorkloadId, Row]) -> str:
    if plan is None:
        return "nothing"
    known = [each.cost for each in spent.values() if each.cost is not None]
    least = len(known) < len(rows)
    whole = median(sum(known[1:], start=known[0])) if known else 0.0
    return ("at least " if least else "") + show_money(round(whole / MONTHS))
