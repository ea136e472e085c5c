"""Which workloads are there, how far has each come and what is missing, and how does one of them do?"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from upshift.admin import portfolio
from upshift.admin.calibrated import calibrated
from upshift.admin.desk import ActError, Desk
from upshift.admin.portfolio_views import SignatureView, StandingView, quarters, standings, to_approve
from upshift.console import charts, planning_charts
from upshift.console.door import InDesk, Seat, allowed, genuine
from upshift.console.forecasts import Forecasts
from upshift.console.frame import InFrame, TableAsked
from upshift.console.roles import May
from upshift.console.shown import DASH
from upshift.console.table import Column, Kind, Table
from upshift.model.key import Role
from upshift.model.quarter import Quarter, parse_quarter
from upshift.model.span import MICROS, Window, period_of, to_datetime, to_instant
from upshift.planning import tokens
from upshift.planning.budgets import Forecast, WorkloadUse
from upshift.planning.ops import Medians
from upshift.planning.outline import BudgetLine, Outline, Row, Spread
from upshift.planning.sign_offs import fingerprint
from upshift.store.journal import Dimension, Raised, Used

router = APIRouter(dependencies=[Depends(allowed(May.SEE_PLAN))])

_UNSIGNED = "Unsigned"
_DAYS = 30
_MOST_SERIES = 6
_MONTHS_BACK = 3
_MOST_ALERTS = 1_000
_SHOWN = 8


class Line(msgspec.Struct, frozen=True):
    """A workload of the plan, and how far it has come."""

    row: Row
    standing: StandingView
    per_user: float | None
    """Tokens of one user in a month, at the medians of the estimate; None where it does not say."""

    @property
    def users(self) -> float | None:
        """Of all tiers, at their medians."""
        return sum(each.users.mid for each in self.row.audiences) if self.row.audiences else None

    @property
    def signed(self) -> int:
        """How many of the six sign-offs stand."""
        return sum(each.stands for each in self.standing.signatures)

    @property
    def needs(self) -> tuple[str, ...]:
        """What is missing for what it is, else for the next step; sign-offs that nobody gave in one line a side."""
        reasons = self.standing.lacks or self.standing.missing
        said = [each.text for each in reasons if each.kind != _UNSIGNED]
        if any(each.kind == _UNSIGNED for each in reasons):
            sides: dict[str, list[str]] = {}
            for each in self.standing.signatures:
                if not each.by:
                    sides.setdefault(each.role, []).append(each.budget)
            said += [f"{side} has not signed {', '.join(budgets)}" for side, budgets in sides.items()]
        return tuple(said)

    @property
    def answer(self) -> str:
        """Whether it may take its next step, in a word."""
        if not self.standing.covered:
            return "not covered"
        return "" if self.standing.next is None else self.standing.answer


def _models(row: Row) -> str:
    parts = [str(each) for each in (row.primary, row.degrade_to) if each]
    return " \N{RIGHTWARDS ARROW} ".join(parts)


def _mid(spread: Spread | None) -> float | None:
    return None if spread is None else spread.mid


def _hours(line: Line) -> float | None:
    return None if line.row.estimate is None else _mid(line.row.estimate.ops_hours)


def _sessions(line: Line) -> float | None:
    return None if line.row.estimate is None else _mid(line.row.estimate.sessions)


def place(workload: str) -> str:
    """Where a workload's page is."""
    return f"/console/workloads/{quote(workload, safe='')}"


COLUMNS = (
    Column[Line]("name", "Workload", lambda each: each.row.name or each.row.id, link=lambda each: place(each.row.id)),
    Column[Line]("status", "Status", lambda each: each.standing.status, Kind.STATE),
    Column[Line]("may", "Next step", lambda each: each.answer, Kind.STATE, hint="Whether it may take its next step"),
    Column[Line](
        "signed", "Signed", lambda each: each.signed, Kind.COUNT, wide=True, hint="Of six sign-offs, those that stand"
    ),
    Column[Line]("ships", "Ships", lambda each: each.standing.ships, wide=True),
    Column[Line]("owner", "Owner", lambda each: each.row.owner, wide=True),
    Column[Line]("users", "Users", lambda each: each.users, Kind.COUNT, wide=True),
    Column[Line](
        "tokens_per_user", "Tokens/user", lambda each: each.per_user, Kind.TOKENS, wide=True, hint="Per month",
        missing=DASH,
    ),
    Column[Line]("ops_hours", "Ops h/week", _hours, Kind.COUNT, wide=True, hint="Once it is stable"),
    Column[Line]("gate", "Gate", lambda each: each.row.gate or "", wide=True),
    Column[Line]("models", "Models", lambda each: _models(each.row), wide=True),
    Column[Line]("sessions", "Sessions", _sessions, Kind.COUNT, hint="Per user and month", taken_only=True),
    Column[Line]("workload", "Id", lambda each: each.row.id, Kind.CODE, taken_only=True),
    Column[Line]("missing", "Missing", lambda each: "; ".join(each.needs), taken_only=True),
)  # fmt: skip


@router.get("/workloads")
def workloads(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    asked: TableAsked,
) -> Response:
    """The plan's table, what may be approved and why not, and the quarters."""
    outline = desk.outline()
    if outline is None:
        return frame.page(request, seat, "workloads.html", {"table": None})
    lines = list(_lines(outline, standings(desk, outline)))
    present = Quarter.of(desk.today())
    hours = quarters(outline, present)
    told = {
        "outline": outline,
        "present": str(present),
        "hours": hours,
        "statuses": {name: sum(each.standing.status == name for each in lines) for name in _STATUSES},
        "answers": {name: sum(each.answer == name for each in lines) for name in _ANSWERS},
        "waiting": [each for each in lines if each.needs or each.answer == "may move"],
        "quarters": planning_charts.commitments(hours),
        "calibrated": [each for each in calibrated(desk, outline) if each.off is not None],
        "place": place,
    }
    return frame.listing(request, seat, "workloads.html", Table(COLUMNS, lines, asked), told)


_STATUSES = ("committed", "planned", "candidate")
_ANSWERS = ("may move", "to sign", "not yet", "not covered")


def _lines(outline: Outline, found: Sequence[StandingView]) -> Iterator[Line]:
    for row, standing in zip(outline.rows, found, strict=True):
        one = tokens.per_user(row, Medians())
        yield Line(row, standing, None if one is None else float(_first(one.tokens)))


def _first(value: Any) -> Any:
    return value if isinstance(value, float) else value[0]


@router.get("/workloads/{id}")
def workload(
    request: Request, desk: InDesk, seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))], frame: InFrame, id: str
) -> Response:
    """One workload: what it spends, how it is held, how far it has come, and its forecast against what came."""
    outline = desk.need_outline()
    row = portfolio.row_of(outline, id)
    now = desk.now()
    month = period_of(Window.MONTH, "UTC", now)
    where = {Dimension.WORKLOAD: id}
    forecasts: Forecasts = request.app.state.forecasts
    start = Quarter.of(desk.today()).months[0]
    told = forecasts.of(desk, outline, start, candidates=True, only=row.id)
    use = next((each for each in told.tokens.workloads if each.workload == row.id), None)

    def by(*dimensions: Dimension) -> Sequence[Used]:
        return desk.journal.usage(dimensions, month.start, now + 1, where, latencies=False)

    totals, users = desk.journal.usage([], month.start, now + 1, where), by(Dimension.TENANT, Dimension.USER)
    found: dict[str, Any] = {
        "total": totals[0] if totals else None,
        "users": _largest(users),
        "user_count": len(users),
        "models": _largest([each for each in by(Dimension.SERVED_MODEL) if each.counted_tokens]),
        "reasons": sorted((each for each in by(Dimension.REASON) if each.group[0]), key=lambda each: -each.calls),
        "days": charts.daily_spend(_daily(desk, id), _MOST_SERIES),
        "actual": _actual(desk, id, told, use),
        "use": use,
        "ceilings": [each for each in told.tokens.ceilings if each.workload == row.id],
        "ceiling_of": _stated(row),
        "alerts": _alerts(desk, id),
        "calibration": next((each for each in calibrated(desk, outline) if each.workload == id), None),
        "row": row,
        "models_said": _models(row),
        **_standing(desk, seat, outline, row),
    }
    return frame.page(request, seat, "workload.html", found)


def _stated(row: Row) -> Mapping[str, tuple[int | None, int | None]]:
    return {tier: (most, nano) for tier, most, nano in row.ceilings}


def _daily(desk: Desk, workload: str) -> list[tuple[str, str, int]]:
    """(day, model, nano-dollars) of the last days, days without any included once."""
    now = desk.now()
    day = 86_400 * MICROS
    first = period_of(Window.DAY, "UTC", now - (_DAYS - 1) * day).start
    where = {Dimension.WORKLOAD: workload}
    rows = desk.journal.usage([Dimension.DAY, Dimension.SERVED_MODEL], first, now + 1, where, latencies=False)
    days = [f"{to_datetime(first + each * day):%Y-%m-%d}" for each in range(_DAYS)]
    return [(each, "", 0) for each in days] + [(row.group[0], row.group[1], row.cost) for row in rows]


def _actual(desk: Desk, workload: str, told: Forecast, use: WorkloadUse | None) -> str:
    """Months that are forecast, and those that went before, with what came; '' where nothing of either is known."""
    first = told.start.plus(-_MONTHS_BACK)
    begin = to_instant(datetime.combine(first.first, time(), UTC))
    where = {Dimension.WORKLOAD: workload}
    rows = desk.journal.usage([Dimension.MONTH], begin, desk.now() + 1, where, latencies=False)
    came = {row.group[0]: float(row.usage.total) for row in rows}
    foretold = use.months if use is not None else ()
    if not came and not foretold:
        return ""
    return planning_charts.actuals(foretold, came, [first.plus(each) for each in range(_MONTHS_BACK + told.months)])


def _largest(rows: Sequence[Used]) -> list[Used]:
    return sorted((row for row in rows if row.group[-1]), key=lambda row: (-row.cost, -row.calls))[:6]


def _alerts(desk: Desk, workload: str) -> list[Raised]:
    return [each for each in desk.journal.alerts(_MOST_ALERTS) if each.alert.key.workload == workload][:_SHOWN]


# sign-offs --------------------------------------------------------------------------------------------------------


class Approval(msgspec.Struct, frozen=True):
    """One budget, ready to be signed: what exactly would be approved, and both sides' signatures."""

    budget: BudgetLine
    content: Mapping[str, str]
    hash: str
    signatures: tuple[SignatureView, ...]

    def stands_for(self, role: Role) -> bool:
        """Whether a side has signed it as it is."""
        return any(each.role == role.value and each.stands for each in self.signatures)


def _standing(desk: Desk, seat: Seat, outline: Outline, row: Row) -> dict[str, Any]:
    standing = next(each for each in standings(desk, outline) if each.workload == row.id)
    approvals = [
        Approval(
            BudgetLine(budget),
            content,
            fingerprint(content),
            tuple(each for each in standing.signatures if each.budget == budget),
        )
        for budget, content in to_approve(outline, row, BudgetLine).items()
    ]
    side = seat.actor.role if seat.may(May.SIGN) else None
    before = side is not None and any(each.role == side.value and each.by for each in standing.signatures)
    return {
        "standing": standing,
        "needs": Line(row, standing, None).needs,
        "approvals": approvals,
        "side": side,
        "signed_before": before,
        "outline": outline,
        "row": row,
    }


@router.post("/workloads/{id}/sign-offs")
def sign(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    frame: InFrame,
    id: str,
    budget: Annotated[list[str] | None, Form()] = None,
    act: Annotated[str, Form(max_length=20)] = "sign",
    note: Annotated[str, Form(max_length=1000)] = "",
    until: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Sign budgets off as they were shown, or take a sign-off back. `budget` is a name and the hash that was shown."""
    outline = desk.need_outline()
    row = portfolio.row_of(outline, id)
    why, status = "", 200
    try:
        chosen = [each.partition(":") for each in budget or []]
        lines = [BudgetLine(name) for name, _, _ in chosen]
        if not lines:
            raise ActError("tick the budgets that are meant")
        if act == "withdraw":
            portfolio.withdraw(desk, seat.actor, workload=id, budgets=lines, note=note)
        else:
            _only_as_shown(outline, row, {BudgetLine(name): hash_ for name, _, hash_ in chosen})
            last = parse_quarter(until) if until.strip() else None
            portfolio.sign(desk, seat.actor, outline, workload=id, budgets=lines, note=note, until=last)
    except ActError as error:
        why, status = str(error), error.status
    except ValueError as error:
        why, status = str(error), 400
    if not request.headers.get("hx-request"):
        if why:
            raise ActError(why, status)
        return RedirectResponse(place(id), 303)
    found = {**_standing(desk, seat, outline, row), "why": why, "done": "" if why else act}
    return frame.page(request, seat, "_standing.html", found, status)


def _only_as_shown(outline: Outline, row: Row, shown: Mapping[BudgetLine, str]) -> None:
    now = to_approve(outline, row, shown)
    moved = [budget for budget, hash_ in shown.items() if fingerprint(now[budget.value]) != hash_]
    if moved:
        names = ", ".join(moved)
        raise ActError(f"another plan was put in force since this page was loaded: {names} would approve other figures."
                       " Read them below, then sign", 409)  # fmt: skip
