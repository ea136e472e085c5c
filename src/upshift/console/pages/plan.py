"""Which plan is in force, what would another one change, and how is it put in force or taken back?"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any

import msgspec
import yaml
from fastapi import APIRouter, Depends, Form, Request, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from upshift.admin.costs import costs_moved
from upshift.admin.desk import ActError, Desk
from upshift.admin.portfolio import sign as sign_off
from upshift.admin.portfolio_views import to_approve
from upshift.admin.rolling_back import former, roll_back, rolled_back
from upshift.admin.signed import judged
from upshift.admin.views import AppliedView, applied_views
from upshift.console.door import InDesk, Seat, allowed, genuine
from upshift.console.frame import InFrame, TableAsked, gone_to
from upshift.console.roles import May
from upshift.console.table import Column, Kind, Table
from upshift.model.quarter import Month
from upshift.plan_file import Checked, Consequence, PlanError, Problem, Severity
from upshift.planning.completeness import lacking
from upshift.planning.outline import BudgetLine

router = APIRouter(dependencies=[Depends(allowed(May.SEE_PLAN))])

_MOST_TEXT = 1_000_000
"""Characters of a pasted plan; a file may have as many as a request."""
_AROUND = 120
_WORD = re.compile(r"[\s:,{}\[\]]")
_TITLES = {
    "served": "Workloads served", "stopped": "Workloads no longer served", "ceiling": "Ceilings",
    "overage": "At a ceiling", "route": "Routes", "access": "Access", "user": "Users", "tenant": "Tenants",
    "model": "Models", "price": "Prices", "provider": "Providers", "capacity": "Capacity", "status": "Statuses",
    "sign-off": "Sign-offs", "cost": "Costs",
}  # fmt: skip

COLUMNS = (
    Column[AppliedView]("number", "Number", lambda row: row.number),
    Column[AppliedView]("name", "Name", lambda row: row.name),
    Column[AppliedView]("at", "In force since", lambda row: row.at, Kind.TIME),
    Column[AppliedView]("by", "By", lambda row: row.by),
    Column[AppliedView](
        "restores", "Restores", lambda row: f"number {row.restores}" if row.restores else "", wide=True
    ),
    Column[AppliedView]("hash", "Hash", lambda row: row.hash[:12], Kind.CODE, wide=True),
)


class Found(msgspec.Struct, frozen=True):
    """A problem, and the line of the text that it is about."""

    problem: Problem
    before: str
    at: str
    """What was written there, else the word that begins there."""
    after: str


@router.get("/plan")
def plan(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    asked: TableAsked,
) -> Response:
    """The plan in force, a form for another one, and all that were in force."""
    rows = applied_views(desk.journal)
    found = {"applied": rows[0] if rows else None, "rows": rows}
    return frame.listing(request, seat, "plan.html", Table(COLUMNS, rows, asked), found)


@router.get("/plan/text/{number}")
def text(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    number: int,
) -> Response:
    """What one plan says, as YAML, with everything that it left to defaults."""
    kept = json.loads(former(desk, number).document)
    said = yaml.safe_dump(kept.get("plan", kept), sort_keys=False, allow_unicode=True, width=110)
    return frame.page(request, seat, "_plan_text.html", {"said": said, "number": number})


async def _said(text: Annotated[str, Form()] = "", file: UploadFile | None = None) -> str:
    """The plan that was sent: the file where there is one, else what was pasted. Raises ActError."""
    if file is not None and file.filename:
        try:
            return (await file.read()).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ActError("the file is not UTF-8 text") from None
    if len(text) > _MOST_TEXT:
        raise ActError("the pasted plan is too long; send it as a file", 413)
    # Forms send lines that end in two characters.
    return text.replace("\r\n", "\n")


Said = Annotated[str, Depends(_said)]


@router.post("/plan/check")
async def check(
    request: Request, desk: InDesk, seat: Annotated[Seat, Depends(genuine)], frame: InFrame, said: Said
) -> Response:
    """What is wrong with a plan, or what it would change."""
    found = await run_in_threadpool(_checked, desk, said, seat)
    return frame.page(request, seat, "_plan_checked.html", found, 422 if found.get("problems") else 200)


@router.post("/plan/apply")
async def apply(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    _: Annotated[Seat, Depends(allowed(May.APPLY))],
    frame: InFrame,
    said: Said,
    shown: Annotated[str, Form(max_length=200)] = "",
    instead_of: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Put a plan in force as it was shown: `shown` is its hash, `instead_of` that of the plan it was compared with."""

    def act() -> None:
        try:
            checked = desk.check(said)
        except PlanError as error:
            raise ActError(str(error), 422) from None
        if checked.snapshot.hash != shown:
            raise ActError("this is not the plan that was checked; check it again", 409)
        _only_instead_of(desk, instead_of)
        desk.apply(checked, seat.actor)

    await run_in_threadpool(act)
    return gone_to(request, "/console/plan")


@router.post("/plan/sign-offs")
async def sign(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    frame: InFrame,
    said: Said,
    workload: Annotated[str, Form(max_length=200)] = "",
    shown: Annotated[str, Form(max_length=200)] = "",
    note: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Sign all three budgets of a workload off as a plan to come has them; `shown` is that plan's hash."""

    def act() -> dict[str, Any]:
        try:
            checked = desk.check(said)
        except PlanError as error:
            raise ActError(str(error), 422) from None
        if checked.snapshot.hash != shown:
            raise ActError("this is not the plan that was checked; check it again", 409)
        sign_off(desk, seat.actor, checked.outline, workload=workload, budgets=tuple(BudgetLine), note=note)
        return _checked(desk, said, seat)

    return frame.page(request, seat, "_plan_checked.html", await run_in_threadpool(act))


@router.get("/plan/rollback/{number}")
def preview(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    number: int,
) -> Response:
    """What putting a former plan in force again would change."""
    found = former(desk, number)
    why, consequences = "", list[Consequence]()
    try:
        consequences = rolled_back(desk, found)
    except ActError as error:
        why = str(error)
    told = {"former": found, "why": why, "groups": _grouped(consequences), "in_force": _in_force(desk)}
    return frame.page(request, seat, "_plan_rollback.html", told)


@router.post("/plan/rollback/{number}")
def restore(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    _: Annotated[Seat, Depends(allowed(May.APPLY))],
    number: int,
    instead_of: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Put a former plan in force again."""
    _only_instead_of(desk, instead_of)
    roll_back(desk, former(desk, number), seat.actor)
    return gone_to(request, "/console/plan")


def _in_force(desk: Desk) -> str:
    found = desk.journal.plan_in_force()
    return "" if found is None else str(found.hash)


def _only_instead_of(desk: Desk, hash_: str) -> None:
    """Raises ActError where another plan came in between, for then other things would change than were shown."""
    if _in_force(desk) != hash_:
        raise ActError("another plan was put in force in the meantime; check again what would change", 409)


def _checked(desk: Desk, said: str, seat: Seat) -> dict[str, Any]:
    if not said.strip():
        raise ActError("paste a plan, or choose a file")
    try:
        checked = desk.check(said)
    except PlanError as error:
        placed = _placed(error.problems, said)
        errors = [each for each in placed if each.problem.severity is Severity.ERROR]
        return {"problems": errors, "warnings": [each for each in placed if each not in errors]}
    return {
        "problems": [],
        "said": said,
        "in_force": _in_force(desk),
        **_difference(desk, checked, said),
        "to_sign": _to_sign(desk, checked, seat),
    }


def _difference(desk: Desk, checked: Checked, said: str) -> dict[str, Any]:
    _, planned = desk.readable()
    consequences = [*desk.compare(checked), *costs_moved(planned, checked.outline, Month.of(desk.today()))]
    return {
        "hash": str(checked.snapshot.hash),
        "name": checked.snapshot.name,
        "groups": _grouped(consequences),
        "warnings": _placed(checked.warnings, said),
        "refusals": desk.refusals(checked.outline),
        "not_served": checked.not_served,
    }


def _to_sign(desk: Desk, checked: Checked, seat: Seat) -> list[tuple[str, Mapping[str, Mapping[str, str]]]]:
    """What the plan would need of the side that looks at it: workloads, and the figures of each budget left to sign."""
    if not seat.may(May.SIGN) or not checked.outline.sign_offs:
        return []
    found: list[tuple[str, Mapping[str, Mapping[str, str]]]] = []
    standings = judged(desk.journal, checked.outline, desk.today())
    for row, standing in zip(checked.outline.rows, standings, strict=True):
        left = [each.budget for each in standing.signatures if each.role is seat.actor.role and each.lacks is not None]
        if left and not lacking(row.audiences, row.estimate):
            found.append((row.id, to_approve(checked.outline, row, left)))
    return found


def _grouped(consequences: Sequence[Consequence]) -> list[tuple[str, list[Consequence]]]:
    ordered = sorted(consequences, key=lambda each: list(_TITLES).index(each.kind.value))
    return [(_TITLES[kind], list(each)) for kind, each in groupby(ordered, key=lambda each: each.kind.value)]


def _placed(problems: Sequence[Problem], said: str) -> list[Found]:
    lines = said.splitlines()
    found: list[Found] = []
    for each in problems:
        line = lines[each.line - 1] if 0 < each.line <= len(lines) else ""
        before, rest = line[: each.column - 1][-_AROUND:], line[each.column - 1 :][:_AROUND]
        at = each.value if each.value and rest.startswith(each.value) else _WORD.split(rest, maxsplit=1)[0]
        found.append(Found(each, before, at, rest[len(at) :]))
    return found
