"""How much of every budget is used, at what pace, and who can lift it?"""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from upshift.admin import budgets as budgets_of
from upshift.admin import reports
from upshift.admin.amounts import amount
from upshift.admin.budgets import Line
from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.views import KeyState, key_view
from upshift.console import charts
from upshift.console.door import InDesk, Seat, Seated, genuine
from upshift.console.frame import InFrame, TableAsked
from upshift.console.shown import DASH, budget_path
from upshift.console.table import Column, Kind, Table
from upshift.model.budget import Bucket
from upshift.model.ids import TenantId
from upshift.model.key import Role
from upshift.model.span import MICROS, Window, period_of, to_datetime
from upshift.store.entries import EntryKind
from upshift.store.journal import Dimension
from upshift.traffic.ceilings import EVERYBODY

router = APIRouter()

_FULL = 0.995
_DAYS = 30
_MOST_SERIES = 5
_MOST_GRANTS = 500
_SHOWN = 10
_MOST_SHOWN = 100
"""Of everybody's budgets: those nearest to their ceilings come first, and a search finds the others."""


def _state(row: Line) -> str:
    bucket, share = row.claim.key.bucket, row.share
    if bucket is Bucket.OVERAGE:
        return "metered"
    if bucket is Bucket.DEGRADED:
        return "degraded"
    if share is None:
        return "unlimited"
    # As it is written: what stands at 100% is used up, since a call more would not fit.
    return "used up" if share >= _FULL else "nearly" if share >= 0.9 else "watch" if row.reached else "ok"


def _place(row: Line) -> str:
    key = row.claim.key
    return budget_path(key.tenant, key.workload, key.user)


def _user(row: Line) -> str:
    user = row.claim.key.user
    return user if user != EVERYBODY else "everybody together"


def _runs_out(row: Line) -> str | None:
    view = budgets_of.line_view(row)
    return view.tokens.runs_out or view.money.runs_out


COLUMNS = (
    Column[Line]("user", "User", _user, link=_place),
    Column[Line]("workload", "Workload", lambda row: row.claim.key.workload),
    Column[Line]("tenant", "Tenant", lambda row: row.claim.key.tenant, wide=True),
    Column[Line]("tier", "Tier", lambda row: row.tier, wide=True),
    Column[Line]("period", "Period", lambda row: row.claim.key.period, Kind.CODE, wide=True),
    Column[Line]("state", "State", _state, Kind.STATE),
    Column[Line](
        "share", "Used", lambda row: row.share, Kind.BAR, hint="Settled and held, of the ceiling that binds first"
    ),
    Column[Line]("tokens", "Tokens", lambda row: row.balance.settled.tokens, Kind.TOKENS, wide=True),
    Column[Line]("token_limit", "of", lambda row: row.limits[0], Kind.TOKENS, wide=True, missing=DASH),
    Column[Line]("money", "Money", lambda row: row.balance.settled.nano, Kind.MONEY, wide=True),
    Column[Line]("money_limit", "of", lambda row: row.limits[1], Kind.MONEY, wide=True, missing=DASH),
    Column[Line](
        "runs_out", "Runs out", _runs_out, Kind.DAY, wide=True, hint="At this period's pace, if before it ends"
    ),
)


@router.get("/budgets")
def budgets(request: Request, desk: InDesk, seat: Seated, frame: InFrame, asked: TableAsked) -> Response:
    """All budgets of the current periods."""
    rows = budgets_of.lines(desk, seat.actor)
    table = Table(COLUMNS, rows, asked, first="-share", most=_MOST_SHOWN)
    counted = Counter(map(_state, rows))
    states = {name: counted[name] for name in ("used up", "nearly", "watch", "degraded")}
    return frame.listing(request, seat, "budgets.html", table, {"states": states})


@router.get("/budgets/{tenant}/{workload}/{user:path}")
def budget(
    request: Request, desk: InDesk, seat: Seated, frame: InFrame, tenant: str, workload: str, user: str
) -> Response:
    """One user's budgets of one workload, with what was used by day, and who decided what about it."""
    # What a tenant agreed to pay for is everybody's together; nobody is called that.
    shared = user == EVERYBODY
    lines = budgets_of.budgets(desk, seat.actor, tenant, None if shared else user, workload)
    lines = [each for each in lines if each.user == user]
    if not lines:
        raise ActError(f"{tenant} has no budget of {workload} together", 404)
    now, day = desk.now(), 86_400 * MICROS
    first = period_of(Window.DAY, "UTC", now - (_DAYS - 1) * day).start
    where = {Dimension.TENANT: tenant, Dimension.WORKLOAD: workload}
    where |= {Dimension.BUCKET: Bucket.OVERAGE.value} if shared else {Dimension.USER: user}
    where = reports.own(desk, seat.actor, where)
    used = desk.journal.usage([Dimension.DAY, Dimension.SERVED_MODEL], first, now + 1, where, latencies=False)
    days = [f"{to_datetime(first + each * day):%Y-%m-%d}" for each in range(_DAYS)]
    grants = desk.journal.entries(frozenset({EntryKind.GRANT}), _MOST_GRANTS, tenant=tenant)
    snapshot = desk.need_snapshot()
    found = {
        "lines": lines,
        "tenant": tenant,
        "workload": workload,
        "user": user,
        "shared": shared,
        "history": charts.daily_tokens(
            [(each, "", 0) for each in days] + [(row.group[0], row.group[1], row.usage.total) for row in used],
            _MOST_SERIES,
        ),
        "grants": [each for each in grants if (each.workload, each.user) == (workload, user)][:_SHOWN],
        "calls": desk.journal.calls(where, 12),
        "windows": sorted({line.window for line in lines if line.bucket == "included"}),
        "lifters": [] if seat.actor.tenant else _lifters(desk),
        "owner": snapshot.tenants[TenantId(tenant)].owner,
        "consent": next(
            (each for each in desk.journal.consents() if (each.tenant, each.workload) == (tenant, workload)), None
        ),
    }
    return frame.page(request, seat, "budget.html", found)


def _lifters(desk: Desk) -> list[str]:
    """Whose keys may lift a ceiling now."""
    known = [key_view(each, desk.now()) for each in desk.keys(Actor("", Role.ADMIN))]
    return [each.name for each in known if each.role == Role.ADMIN and each.state is KeyState.LIVE]


@router.post("/budgets/{tenant}/{workload}/{user:path}")
def grant(
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    tenant: str,
    workload: str,
    user: str,
    reason: Annotated[str, Form(max_length=1000)] = "",
    window: Annotated[Window, Form()] = Window.MONTH,
    tokens: Annotated[str, Form(max_length=40)] = "",
    money: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Lift the ceiling for the present period."""
    lifted = amount(tokens or None, money or None)
    desk.grant(seat.actor, tenant=tenant, user=user, workload=workload, window=window, amount=lifted, reason=reason)
    return RedirectResponse(budget_path(tenant, workload, user), 303)
