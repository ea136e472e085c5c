"""May a plan be put in force today, by the calendar of the plan in force?"""

import secrets
from datetime import date

from upshift.model.entry import Decision
from upshift.model.ids import PlanHash
from upshift.model.span import Instant, Window, period_of
from upshift.planning.days import closed, opens
from upshift.planning.outline import Outline

OVERRIDDEN = "freeze-overridden"


def frozen(planned: Outline | None, now: Instant) -> tuple[str, ...]:
    """Why none is, and what to do; nothing where one may be. `planned` is the plan in force.

    The calendar of the plan that waits does not count: it could lift the freeze that keeps it out.
    """
    if planned is None:
        return ()
    calendar = planned.calendar
    today = date.fromisoformat(period_of(Window.DAY, calendar.zone, now).label)
    why = closed(calendar, today)
    if not why:
        return ()
    day = opens(calendar, today)
    wait = "Say" if day is None else f"Wait until {day}, or say"
    return (
        f"no plan is put in force today: {'; '.join(why)}",
        f"{wait} why it cannot wait, which is recorded: upshift plan apply --override 'REASON'",
    )


def overridden(plan: PlanHash, by: str, at: Instant, closed_by: str, why: str) -> Decision:
    """The record of a plan that could not wait."""
    id_ = f"{OVERRIDDEN}/{secrets.token_hex(8)}"
    return Decision(id_, at, OVERRIDDEN, "", plan, by, {"why": why, "because": closed_by})
