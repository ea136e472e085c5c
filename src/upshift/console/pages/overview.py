"""What has to be known first: spend and pace, what needs me, what is running?"""

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from upshift.admin import reports
from upshift.admin.burn import burns
from upshift.admin.calibrated import calibrated
from upshift.admin.desk import Actor, Desk
from upshift.admin.portfolio_views import quarters, standings
from upshift.console import charts
from upshift.console.door import InDesk, Seated
from upshift.console.frame import InFrame
from upshift.console.needs import needs
from upshift.console.roles import May
from upshift.model.quarter import Quarter
from upshift.model.span import MICROS, Window, period_of, to_datetime
from upshift.store.journal import Dimension, Raised, Used

router = APIRouter()

_DAYS = 30
_MOST_SERIES = 6


class Spend(msgspec.Struct, frozen=True):
    """Totals of a stretch of time."""

    cost: int = 0
    calls: int = 0
    refused: int = 0
    degraded: int = 0
    overage: int = 0
    failed: int = 0
    unknown: int = 0
    tokens: int = 0


@router.get("/")
def overview(request: Request, desk: InDesk, seat: Seated, frame: InFrame) -> Response:
    """The first page."""
    actor, now = seat.actor, desk.now()
    month, today = period_of(Window.MONTH, "UTC", now), period_of(Window.DAY, "UTC", now)
    where = reports.own(desk, actor, {})
    journal = desk.journal
    applied = journal.plan_in_force()
    found: dict[str, Any] = {
        "month": _spend(journal.usage([], month.start, now + 1, where)),
        "today": _spend(journal.usage([], today.start, now + 1, where)),
        "elapsed": month.elapsed(now),
        "daily": charts.daily_spend(_daily(desk, actor), _MOST_SERIES),
        "workloads": _largest(journal.usage([Dimension.WORKLOAD], month.start, now + 1, where)),
        "users": _largest(journal.usage([Dimension.TENANT, Dimension.USER], month.start, now + 1, where)),
        "models": _largest(journal.usage([Dimension.SERVED_MODEL], month.start, now + 1, where)),
        "alerts": _alerts(desk, actor),
        "decisions": [
            each for each in journal.decisions((), 200 if actor.tenant else 8) if actor.tenant in ("", each.tenant)
        ][:8],
        "applied": applied,
        "burns": None,
        "needs": [],
    }
    outline = desk.outline() if seat.may(May.SEE_PLAN) else None
    if outline is not None and outline.year is not None:
        year = burns(desk, outline)
        found["burns"], found["year"] = year, charts.burn(year.burns[0], year.since, year.until)
    if outline is not None:
        hours = quarters(outline, Quarter.of(desk.today()))
        found["needs"] = needs(
            actor.role, standings(desk, outline), hours, found["burns"], calibrated(desk, outline), desk.snapshot(),
            desk.today(),
        )  # fmt: skip
    return frame.page(request, seat, "overview.html", found)


def _spend(rows: Sequence[Used]) -> Spend:
    if not rows:
        return Spend()
    row = rows[0]
    return Spend(
        cost=row.cost,
        calls=row.calls,
        refused=row.refused,
        degraded=row.degraded,
        overage=row.overage,
        failed=row.failed,
        unknown=row.unknown_cost,
        tokens=row.usage.total,
    )


def _daily(desk: Desk, actor: Actor) -> list[tuple[str, str, int]]:
    """(day, workload, nano-dollars) of the last days, days without any included once."""
    now = desk.now()
    first = period_of(Window.DAY, "UTC", now - (_DAYS - 1) * 86_400 * MICROS).start
    rows = desk.journal.usage([Dimension.DAY, Dimension.WORKLOAD], first, now + 1, reports.own(desk, actor, {}))
    days = [f"{to_datetime(first + day * 86_400 * MICROS):%Y-%m-%d}" for day in range(_DAYS)]
    return [(day, "", 0) for day in days] + [(row.group[0], row.group[1], row.cost) for row in rows]


def _largest(rows: Sequence[Used], most: int = 6) -> list[Used]:
    return sorted((row for row in rows if row.group[-1]), key=lambda row: (-row.cost, -row.calls))[:most]


def _alerts(desk: Desk, actor: Actor) -> list[Raised]:
    raised = desk.journal.alerts(1000 if actor.tenant else 6)
    return [each for each in raised if actor.tenant in ("", each.alert.key.tenant)][:6]
