"""On what does a forecast rest, in sentences that a reviewer can disagree with?"""

from collections.abc import Mapping, Sequence

from upshift.model.ids import WorkloadId
from upshift.planning.budgets import Addition, WorkloadUse
from upshift.planning.compute import CHANCE
from upshift.planning.outline import Compute, Ops, Row, Spread

_NAMED = 5


def of_tokens(
    rows: Sequence[Row], uses: Sequence[WorkloadUse], first: Spread, sigma: float, together: float
) -> tuple[str, ...]:
    """Of the tokens budget."""
    said = [
        "Ranges are read as P10 to P90: lognormal figures, shares normal in their log odds; different figures are "
        f"independent, the same figure of two workloads is correlated by {together:g}."
    ]
    new = [row.id for row in rows if row.ships is not None]
    if first.exact and first.mid == 1.0:
        said.append("New workloads are taken to use what was estimated from their first day on.")
    elif new:
        said.append(
            f"In its first quarter a workload uses {first.low:g} to {first.high:g} times its estimate (median "
            f"{first.mid:g}): spend after a launch was seen to be under-sized by 30 to 60 %."
        )
    grown = [row.id for row in rows if row.estimate is not None and row.estimate.growth.mid]
    if grown:
        said.append(f"Users grow from the first month of the forecast, or of the workload, on: {_named(grown)}.")
    said.append(
        f"Proposed ceilings let 95 % of a tier's users work undisturbed; use differs between users with a standard "
        f"deviation of {sigma:g} in its logarithm."
    )
    said += [f"{use.workload} is not in the cost: {'; '.join(use.unknown)}." for use in uses if use.unknown]
    return tuple(said)


def of_compute(
    machines: Compute, rows: Sequence[Row], unsized: Mapping[WorkloadId, tuple[str, ...]]
) -> tuple[str, ...]:
    """Of the compute budget."""
    said = [
        "Busiest hours of all workloads coincide; within them sessions begin independently (Erlang), and worst minutes "
        "of different workloads are independent.",
        f"The peak is passed in {1 - CHANCE:.1%} of the moments of the busiest hour.",
        f"Sized at the P80 of the peak and {machines.headroom:.0%} of headroom (30 to 40 % is usual).",
    ]
    silent = [
        row.id for row in rows if row.id not in unsized and row.estimate is not None and row.estimate.turns is None
    ]
    if silent:
        said.append(f"Requests leave out those whose turns are not said: {_named(silent)}.")
    said += [f"{workload} is not counted: {'; '.join(why)}." for workload, why in unsized.items()]
    return tuple(said)


def of_ops(staffing: Ops, rows: Sequence[Row], additions: Mapping[WorkloadId, Addition]) -> tuple[str, ...]:
    """Of the ops budget."""
    first = staffing.first_quarter
    said = [
        f"A workload's first quarter takes {_hours(first)} a week on top of its stable hours; work across workloads "
        f"{_hours(staffing.platform)}.",
        f"One of a kind that is run already adds {_hours(staffing.homogeneous)}, one of another kind "
        f"{_hours(staffing.heterogeneous)}; kinds are told by shape, stakeholder and SLA.",
    ]
    running = [row.id for row in rows if row.ships is None]
    if running:
        said.append(f"No quarter of shipping is said, so these run already: {_named(running)}.")
    for each in additions.values():
        if each.nearest is not None and each.hours < each.usual * 0.75:
            unlike = f"{each.unlike:.0%} unlike {each.nearest}, the likest that runs by then"
            said.append(f"{each.workload} states {each.hours:g} h a week; {unlike}: {each.usual:g} h would be usual.")
    if staffing.hour is None or staffing.incident is None:
        said.append("What an hour costs, or what a missing one does, is not said, so no staffing is proposed.")
    return tuple(said)


def _hours(spread: Spread) -> str:
    return f"{spread.mid:g} h" if spread.exact else f"{spread.low:g} to {spread.high:g} h"


def _named(workloads: Sequence[WorkloadId]) -> str:
    more = len(workloads) - _NAMED
    return ", ".join(workloads[:_NAMED]) + (f" and {more} more" if more > 0 else "")
