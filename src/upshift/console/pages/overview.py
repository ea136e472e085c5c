"""What has to be known first: spend and pace, what needs me, what is running?"""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from upshift.admin import playbooks, reports
from upshift.admin.burn import burns
from upshift.admin.calibrated import CalibrationView, calibrated
from upshift.admin.desk import Actor, Desk
from upshift.admin.kept import BeingComputedError
from upshift.admin.playbook_views import RunView, run_view
from upshift.admin.portfolio_views import quarters, standings
from upshift.console import charts, decided
from upshift.console.away import InAway
from upshift.console.door import InDesk, Seat, Seated
from upshift.console.frame import InFrame
from upshift.console.needs import needs
from upshift.console.roles import May
from upshift.model.quarter import Quarter
from upshift.model.span import MICROS, Instant, Window, period_of, to_datetime
from upshift.planning.outline import Outline
from upshift.store.journal import Dimension, Raised, Used

router = APIRouter()

_DAYS = 30
_HOUR = 3600 * MICROS
_LATEST = 8
_LATELY = 7 * 24 * _HOUR
"""How long a run that is over is shown beside those that are not."""
_MOST_SERIES = 6
_FIGURES = (
    "calls", "refused", "degraded", "overage", "failed", "lost", "usage", "cost", "unknown_cost", "counted",
    "counted_tokens",
)  # fmt: skip
_ON = frozenset({"running", "undoing"})


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
def overview(request: Request, desk: InDesk, seat: Seated, frame: InFrame, away: InAway) -> Response:
    """The first page."""
    actor, now = seat.actor, desk.now()
    month, today = period_of(Window.MONTH, "UTC", now), period_of(Window.DAY, "UTC", now)
    where = reports.own(desk, actor, {})
    journal = desk.journal
    applied = journal.plan_in_force()

    def by(*dimensions: Dimension) -> Sequence[Used]:
        return journal.usage(dimensions, month.start, now + 1, where, latencies=False)

    served = by(Dimension.WORKLOAD, Dimension.SERVED_MODEL)
    found: dict[str, Any] = {
        "month": _spend(_along(served)),
        "today": _spend(journal.usage([], today.start, now + 1, where, latencies=False)),
        "elapsed": month.elapsed(now),
        "daily": charts.daily_spend(_daily(desk, actor), _MOST_SERIES),
        "workloads": _largest(_along(served, 0)),
        "users": _largest(by(Dimension.TENANT, Dimension.USER)),
        "models": _largest(_of_models(_along(served, 1), desk)),
        "alerts": _alerts(desk, actor),
        "decisions": _decisions(desk, seat),
        "providers": journal.usage([Dimension.PROVIDER], now - _HOUR, now + 1, where),
        "runs": [],
        "ended": [],
        "linked": _links(seat),
        "applied": applied,
        "burns": None,
        "needs": [],
        "away": away,
    }
    if seat.may(May.SEE_PLAN):
        found["runs"], found["ended"] = _runs(desk)
    outline = desk.outline() if seat.may(May.SEE_PLAN) else None
    if outline is not None and outline.year is not None:
        year = burns(desk, outline)
        found["burns"], found["year"] = year, charts.burn(year.burns[0], year.since, year.until)
    if outline is not None:
        hours = quarters(outline, Quarter.of(desk.today()))
        found["needs"] = needs(
            actor.role, standings(desk, outline), hours, found["burns"], _calibrated(desk, outline), desk.snapshot(),
            desk.today(), found["runs"],
        )  # fmt: skip
    return frame.page(request, seat, "overview.html", found)


def _calibrated(desk: Desk, outline: Outline) -> tuple[CalibrationView, ...] | None:
    try:
        return calibrated(desk, outline)
    except BeingComputedError:
        return None


class Decided(msgspec.Struct, frozen=True):
    """A decision as it is listed."""

    title: str
    about: str
    link: str
    by: str
    at: int


def _decisions(desk: Desk, seat: Seat) -> list[Decided]:
    tenant = seat.actor.tenant
    found = desk.journal.decisions((), 200 if tenant else _LATEST * 8)
    return [
        Decided(
            decided.title(each), decided.named(each), decided.place(seat.actor.role, each.kind, each.subject),
            each.by, each.at,
        )
        for each in found if tenant in ("", each.tenant) and not decided.routine(each)
    ][:_LATEST]  # fmt: skip


def _runs(desk: Desk) -> tuple[list[RunView], list[tuple[RunView, Instant]]]:
    """Runs that are not over; and those that ended lately, with when; the latest first."""
    now = desk.now()
    running, ended = [], []
    for run in playbooks.runs(desk.journal):
        view = run_view(run, now)
        if view.state in _ON:
            running.append(view)
        elif run.ending is not None and run.ending.at >= now - _LATELY:
            ended.append((view, run.ending.at))
    return running, ended


def _links(seat: Seat) -> dict[str, Callable[[Used], str]]:
    """From a bar to what it is made of: a workload's page where the role may see it, else its calls."""
    workload = "/console/workloads/{}" if seat.may(May.SEE_PLAN) else "/console/traffic?workload={}"
    return {
        "workload": lambda row: workload.format(quote(row.group[-1], safe="")),
        "user": lambda row: f"/console/traffic?{urlencode({'tenant': row.group[0], 'user': row.group[1]})}",
        "model": lambda row: f"/console/traffic?{urlencode({'served_model': row.group[-1]})}",
    }


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
    where = reports.own(desk, actor, {})
    rows = desk.journal.usage([Dimension.DAY, Dimension.WORKLOAD], first, now + 1, where, latencies=False)
    days = [f"{to_datetime(first + day * 86_400 * MICROS):%Y-%m-%d}" for day in range(_DAYS)]
    return [(day, "", 0) for day in days] + [(row.group[0], row.group[1], row.cost) for row in rows]


def _of_models(rows: Sequence[Used], desk: Desk) -> list[Used]:
    """Without what agents answered each other: its record says which agent did, where others say which model."""
    snapshot = desk.snapshot()
    agents = frozenset(snapshot.agents) if snapshot is not None else frozenset()
    return [row for row in rows if row.group[-1] not in agents]


def _along(rows: Sequence[Used], *places: int) -> list[Used]:
    """The same totals by some of their dimensions only."""
    found: dict[tuple[str, ...], Used] = {}
    for row in rows:
        group = tuple(row.group[place] for place in places)
        known = found.get(group)
        figures = {} if known is None else {name: getattr(row, name) + getattr(known, name) for name in _FIGURES}
        found[group] = msgspec.structs.replace(row, group=group, **figures)
    return list(found.values())


def _largest(rows: Sequence[Used], most: int = 6) -> list[Used]:
    return sorted((row for row in rows if row.group[-1]), key=lambda row: (-row.cost, -row.calls))[:most]


def _alerts(desk: Desk, actor: Actor) -> list[Raised]:
    raised = desk.journal.alerts(1000 if actor.tenant else 6)
    return [each for each in raised if actor.tenant in ("", each.alert.key.tenant)][:6]
