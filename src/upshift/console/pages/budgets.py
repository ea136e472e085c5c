"""How much of every budget is used, at what pace, and who can lift it?"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from upshift.admin import budgets as budgets_of
from upshift.admin import reports
from upshift.admin.amounts import amount
from upshift.admin.budgets import BudgetView
from upshift.console.door import InDesk, Seat, Seated, genuine
from upshift.console.frame import InFrame, TableAsked
from upshift.console.shown import DASH
from upshift.console.table import Column, Kind, Table
from upshift.model.span import Window, period_of
from upshift.store.journal import Dimension

router = APIRouter()


def _share(row: BudgetView) -> float | None:
    shares = [each for each in (row.tokens.share, row.money.share) if each is not None]
    return max(shares, default=None)


def _state(row: BudgetView) -> str:
    share = _share(row)
    if row.bucket == "overage":
        return "metered"
    if row.bucket == "degraded":
        return "degraded"
    if share is None:
        return "unlimited"
    return "used up" if share >= 1 else "nearly" if share >= 0.9 else "watch" if row.notices else "ok"


def _place(row: BudgetView) -> str:
    return f"/console/budgets/{row.tenant}/{row.workload}/{row.user}"


COLUMNS = (
    Column[BudgetView]("user", "User", lambda row: row.user, link=_place),
    Column[BudgetView]("workload", "Workload", lambda row: row.workload),
    Column[BudgetView]("tenant", "Tenant", lambda row: row.tenant, wide=True),
    Column[BudgetView]("tier", "Tier", lambda row: row.tier, wide=True),
    Column[BudgetView]("period", "Period", lambda row: row.period, Kind.CODE, wide=True),
    Column[BudgetView]("state", "State", _state, Kind.STATE),
    Column[BudgetView]("share", "Used", _share, Kind.BAR, hint="Settled and held, of the ceiling that binds first"),
    Column[BudgetView]("tokens", "Tokens", lambda row: row.tokens.used, Kind.TOKENS, wide=True),
    Column[BudgetView]("token_limit", "of", lambda row: row.tokens.limit, Kind.TOKENS, wide=True, missing=DASH),
    Column[BudgetView]("money", "Money", lambda row: row.money.used, Kind.MONEY, wide=True),
    Column[BudgetView]("money_limit", "of", lambda row: row.money.limit, Kind.MONEY, wide=True, missing=DASH),
    Column[BudgetView](
        "runs_out", "Runs out", lambda row: row.tokens.runs_out or row.money.runs_out, Kind.DAY, wide=True,
        hint="At this period's pace, if before it ends",
    ),
)  # fmt: skip


@router.get("/budgets")
def budgets(request: Request, desk: InDesk, seat: Seated, frame: InFrame, asked: TableAsked) -> Response:
    """All budgets of the current periods."""
    rows = budgets_of.budgets(desk, seat.actor)
    table = Table(COLUMNS, rows, asked, first="-share")
    states = {name: sum(_state(row) == name for row in rows) for name in ("used up", "nearly", "watch", "degraded")}
    return frame.listing(request, seat, "budgets.html", table, {"states": states})


@router.get("/budgets/{tenant}/{workload}/{user:path}")
def budget(
    request: Request, desk: InDesk, seat: Seated, frame: InFrame, tenant: str, workload: str, user: str
) -> Response:
    """One user's budgets of one workload, with what was used by day, and who decided what about it."""
    lines = budgets_of.budgets(desk, seat.actor, tenant, user, workload)
    now = desk.now()
    month = period_of(Window.MONTH, "UTC", now)
    where = reports.own(
        desk,
        seat.actor,
        {Dimension.TENANT: tenant, Dimension.WORKLOAD: workload, Dimension.USER: user},
    )
    found = {
        "lines": lines,
        "tenant": tenant,
        "workload": workload,
        "user": user,
        "days": desk.journal.usage([Dimension.DAY], month.start, now + 1, where),
        "models": desk.journal.usage([Dimension.SERVED_MODEL], month.start, now + 1, where),
        "calls": desk.journal.calls(where, 12),
        "windows": sorted({line.window for line in lines if line.bucket == "included"}),
        "gate": desk.need_snapshot().workloads,
        "consent": next(
            (each for each in desk.journal.consents() if (each.tenant, each.workload) == (tenant, workload)), None
        ),
    }
    return frame.page(request, seat, "budget.html", found)


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
    return RedirectResponse(f"/console/budgets/{tenant}/{workload}/{user}?granted=1", 303)
