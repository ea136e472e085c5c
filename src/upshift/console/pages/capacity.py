"""What will the plan need of tokens, machines and people, and what if its inputs were others?"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Form, Request
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response

from upshift.admin import portfolio
from upshift.admin.desk import ActError, Desk
from upshift.admin.portfolio_views import draw_view
from upshift.admin.signed import draws
from upshift.charts.amounts import change, said
from upshift.console import planning_charts
from upshift.console.door import InDesk, Seat, allowed, genuine
from upshift.console.forecasts import Forecasts
from upshift.console.frame import InFrame
from upshift.console.roles import May
from upshift.model.quarter import Month, Quarter, parse_quarter
from upshift.model.tokens import show_tokens
from upshift.planning.budgets import Forecast
from upshift.planning.buffer import Reserve, assumption
from upshift.planning.changes import ChangeError
from upshift.planning.outline import BudgetLine, Estimate, Outline, Row, Spread, Status
from upshift.planning.sign_offs import spread
from upshift.planning.tornado import Tornado
from upshift.planning.whatif import Unit, compare

router = APIRouter(dependencies=[Depends(allowed(May.SEE_PLAN))])

_UNITS = {BudgetLine.TOKENS: Unit.MONEY, BudgetLine.COMPUTE: Unit.SESSIONS, BudgetLine.OPS: Unit.HOURS}
_MOST_ROWS = 20
_MOST_CHANGES = 400
_LONGEST = 200
_IN_SHORT = 10_000
_SET = "set."
_SCALED = ("users", "price")


class Input(msgspec.Struct, frozen=True):
    """A figure of a workload that can be changed: how a what-if calls it, and how it stands in the plan."""

    target: str
    title: str
    now: str


class Compared(msgspec.Struct, frozen=True):
    """A figure before and after, in words."""

    what: str
    before: str
    after: str
    moved: str


@router.get("/capacity")
def capacity(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    candidates: bool = False,
) -> Response:
    """The three budgets and the buffer; what takes long to forecast follows after the page."""
    outline = desk.outline()
    if outline is None or not outline.rows:
        return frame.page(request, seat, "capacity.html", {"outline": None})
    start = _next(desk)
    forecasts: Forecasts = request.app.state.forecasts
    found: dict[str, Any] = {"outline": outline, "start": start, "last": start.plus(11), "candidates": candidates}
    found |= {"inputs": _inputs(outline, candidates=candidates), "told": None}
    if forecasts.has(desk, outline, start, candidates=candidates):
        found |= _told(desk, forecasts, outline, start, candidates=candidates)
    return frame.page(request, seat, "capacity.html", found)


@router.get("/capacity/forecast")
def forecast(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    candidates: bool = False,
) -> Response:
    """The part of the page that is forecast."""
    found = _told(desk, request.app.state.forecasts, desk.need_outline(), _next(desk), candidates=candidates)
    return frame.page(request, seat, "_forecast.html", found)


@router.get("/capacity/year")
def year(
    request: Request, desk: InDesk, seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))], frame: InFrame
) -> Response:
    """Whether the years' budgets suffice by the forecast alone, for where there is no pace yet."""
    told = request.app.state.forecasts.of(desk, desk.need_outline(), _next(desk))
    return frame.page(request, seat, "_year.html", {"tokens": told.tokens, "last": told.start.plus(told.months - 1)})


@router.get("/capacity/most")
def most(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    candidates: bool = False,
) -> Response:
    """Which inputs matter most, which takes longer than the forecast where there are many workloads."""
    forecasts: Forecasts = request.app.state.forecasts
    found = _most(forecasts, desk.need_outline(), _next(desk), candidates=candidates)
    return frame.page(request, seat, "_most.html", {"most": found, "candidates": candidates})


@router.post("/capacity/draws")
def draw(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    _: Annotated[Seat, Depends(allowed(May.DRAW))],
    budget: Annotated[BudgetLine, Form()] = BudgetLine.OPS,
    quarter: Annotated[str, Form(max_length=20)] = "",
    amount: Annotated[str, Form(max_length=40)] = "",
    workload: Annotated[str, Form(max_length=200)] = "",
    why: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Draw on the central buffer, or give back; kept with who did it and why."""
    outline = desk.need_outline()
    if workload:
        portfolio.row_of(outline, workload)
    when = parse_quarter(quarter) if quarter.strip() else Quarter.of(desk.today())
    taken = portfolio.amount_of(budget, amount)
    portfolio.draw(desk, seat.actor, budget=budget, quarter=when, amount=taken, workload=workload, why=why)
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"hx-refresh": "true"})
    return RedirectResponse("/console/capacity#buffer", 303)


async def _fields(request: Request) -> Sequence[tuple[str, str]]:
    form = await request.form()
    return [(name, value) for name, value in form.multi_items() if not isinstance(value, UploadFile)]


@router.post("/capacity/whatif")
def what_if(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    frame: InFrame,
    fields: Annotated[Sequence[tuple[str, str]], Depends(_fields)],
) -> Response:
    """All budgets before and after some changes; nothing of it is kept."""
    outline, start = desk.need_outline(), _next(desk)
    candidates = any(name == "candidates" and value for name, value in fields)
    changes = _changes(outline, fields, candidates=candidates)
    if len(changes) > _MOST_CHANGES or any(len(each) > _LONGEST for each in changes):
        raise ActError(f"at most {_MOST_CHANGES} changes of at most {_LONGEST} characters each")
    forecasts: Forecasts = request.app.state.forecasts
    before = forecasts.of(desk, outline, start, candidates=candidates)
    try:
        after = forecasts.of(desk, outline, start, changes, candidates=candidates)
    except ChangeError as error:
        return frame.page(request, seat, "_whatif.html", {"problems": error.problems, "changes": changes}, 422)
    both = compare(before, after)
    found = {
        "problems": (),
        "changes": changes,
        "cost": planning_charts.cost(after, before),
        "lines": [
            (line, [_compared(each.what, each.before, each.after, each.unit) for each in those])
            for line, those in groupby(both.lines, key=lambda each: each.line)
        ],
        "workloads": [_compared(each.what, each.before, each.after, each.unit) for each in both.workloads[:_MOST_ROWS]],
        "ceilings": [
            (each, _compared("", _fits(each.before), _fits(each.after), Unit.TOKENS))
            for each in both.ceilings[:_MOST_ROWS]
        ],
    }
    return frame.page(request, seat, "_whatif.html", found)


def _fits(ceiling: Any) -> float | None:
    return None if ceiling is None else float(ceiling.proposed_tokens)


def _compared(what: str, before: float | None, after: float | None, unit: Unit) -> Compared:
    return Compared(what, said(before, unit), said(after, unit), change(before, after, unit))


def _next(desk: Desk) -> Month:
    return Month.of(desk.today()).plus(1)


def _told(desk: Desk, forecasts: Forecasts, outline: Outline, start: Month, *, candidates: bool) -> dict[str, Any]:
    told = forecasts.of(desk, outline, start, candidates=candidates)
    ready = forecasts.has_tornados(outline, start, candidates=candidates)
    present = Quarter.of(desk.today())
    now = forecasts.of(desk, outline, present.months[0], candidates=candidates)
    highest = max(told.compute.months, key=lambda each: each.sized)
    fullest = max(told.ops.quarters, key=lambda each: each.hours.p50)
    return {
        "told": told,
        "cost": planning_charts.cost(told),
        "peaks": planning_charts.peaks(told),
        "hours": planning_charts.hours(told),
        "highest": highest,
        "fullest": fullest,
        "short": [each for each in told.ops.quarters if each.shortfall],
        "reserves": _reserves(now, told, present),
        "draws": [draw_view(each) for each in reversed(draws(desk.journal))],
        "rows": outline.rows,
        "share": outline.buffer,
        "why_buffer": assumption(outline.buffer),
        "most": _most(forecasts, outline, start, candidates=candidates) if ready else None,
        "candidates": candidates,
        "year": outline.year,
        "name": planning_charts.month_name,
        "staffing": {each.quarter: each for each in told.ops.staffing},
        "unit": Unit,
        "said": said,
    }  # fmt: skip


def _most(forecasts: Forecasts, outline: Outline, start: Month, *, candidates: bool) -> list[tuple[Tornado, str, str]]:
    """Each budget's, what is drawn of it, and what the budget comes to with all inputs at their medians."""
    found = forecasts.tornados(outline, start, candidates=candidates)
    return [(each, planning_charts.most(each), said(each.base, _UNITS[each.line])) for each in found]


def _reserves(now: Forecast, told: Forecast, present: Quarter) -> list[tuple[str, list[tuple[Reserve, list[str]]]]]:
    """By quarter, those that are forecast whole: the present one, and those to come."""
    whole = {each.quarter for each in told.buffer if each.quarter.months[0] >= told.start}
    whole = {each for each in whole if each.months[-1] <= told.start.plus(told.months - 1)}
    found = [each for each in now.buffer if each.quarter == present or each.quarter in whole]
    return [
        (str(quarter), [(each, _amounts(each)) for each in those])
        for quarter, those in groupby(found, key=lambda each: each.quarter)
    ]


def _amounts(of: Reserve) -> list[str]:
    return [said(each, _UNITS[of.line]) for each in (of.budget, of.held, of.drawn, of.left)]


# what can be changed ----------------------------------------------------------------------------------------------


def _inputs(outline: Outline, *, candidates: bool) -> list[tuple[Row, list[Input]]]:
    """The first workloads that are forecast, and their figures."""
    rows = [row for row in outline.rows if candidates or row.status is not Status.CANDIDATE]
    return [(row, list(_of_row(row))) for row in rows[:_MOST_ROWS]]


def _of_row(row: Row) -> Iterator[Input]:
    estimate = row.estimate or Estimate()
    users = sum(each.users.mid for each in row.audiences)
    yield Input(f"{row.id}.users", "users", f"{users:,.10g}" if row.audiences else "")
    yield Input(f"{row.id}.sessions", "sessions", _written(estimate.sessions))
    if estimate.turns is not None:
        yield Input(f"{row.id}.turns", "turns", _written(estimate.turns.turns))
    else:
        yield Input(f"{row.id}.tokens", "tokens", _written(estimate.tokens))
    yield Input(f"{row.id}.ops", "ops", _written(estimate.ops_hours))


def _written(figure: Spread | None) -> str:
    if figure is None:
        return ""
    if figure.mid < _IN_SHORT:
        return spread(figure)
    ends = (figure.mid,) if figure.exact else (figure.low, figure.mid, figure.high)
    return "..".join(show_tokens(round(each)) for each in ends)


def _changes(outline: Outline, fields: Sequence[tuple[str, str]], *, candidates: bool) -> list[str]:
    """What a form asks for, in the words that the command line takes as well."""
    given = dict(fields)
    rows = [row for row in outline.rows if candidates or row.status is not Status.CANDIDATE]
    only = given.get("only", "")
    rows = [row for row in rows if not only or row.id == only]
    made: list[str] = []
    for name in _SCALED:
        factor = given.get(name, "").strip()
        if factor and factor not in ("1", "1.0", "1.00"):
            made += [f"{row.id}.{name}*{factor}" for row in rows if _has(row, name)]
    growth = given.get("growth", "").strip()
    if growth:
        made += [f"{row.id}.growth={growth}" for row in rows if row.estimate is not None]
    figures = [(name.removeprefix(_SET), value.strip()) for name, value in fields if name.startswith(_SET)]
    made += [f"{target}={value}" for target, value in figures if value]
    made += [each.strip() for each in given.get("changes", "").splitlines() if each.strip()]
    return made


def _has(row: Row, name: str) -> bool:
    """Whether a workload says what is to be multiplied."""
    if name == "users":
        return bool(row.audiences)
    return bool(row.mix) and all(share.card is not None for share in row.mix)
