"""Where does each run of a playbook stand and why, what was done in it, and what may people do about it?"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from upshift.admin import playbooks as admin
from upshift.admin.desk import ActError
from upshift.admin.moments import future
from upshift.admin.playbook_views import UNREADABLE, RunView, book_view, explain_view, gate_of, listed
from upshift.console.door import InDesk, Seat, allowed, genuine
from upshift.console.frame import InFrame, TableAsked, gone_to
from upshift.console.playbook_charts import drawings, known
from upshift.console.prose import prose
from upshift.console.roles import May
from upshift.console.table import Column, Kind, Table
from upshift.model.span import MICROS, Instant
from upshift.plan_file import PlanError
from upshift.plan_file.books import read_book, shipped
from upshift.playbook.advance import gate
from upshift.playbook.book import Answer, Book, Criterion, Phase, Value, hours
from upshift.playbook.notices import notices
from upshift.playbook.run import (
    Aborted,
    Asked,
    Entered,
    Extended,
    Finding,
    Finished,
    Overridden,
    Record,
    RolledBack,
    Run,
    Signed,
    State,
    Visit,
    fold,
    name_of,
)
from upshift.playbook.story import post_mortem, timeline

router = APIRouter(dependencies=[Depends(allowed(May.SEE_PLAN))])

_OVER = (State.FINISHED, State.STOPPED, State.ROLLED_BACK, State.ABORTED)
_INPUT = "input."
_MOST_LINES = 300


class Row(msgspec.Struct, frozen=True):
    """A run, in the list."""

    view: RunView
    phase: str
    """As people call it."""
    asked: bool
    """Whether its phase asked a person."""


class Stage(msgspec.Struct, frozen=True):
    """A phase on the way: done, now, ended, to come or never; seconds where its window runs."""

    phase: Phase
    state: str
    at: Instant | None = None
    lasted: float | None = None
    left: float | None = None
    share: float | None = None
    extended: str = ""
    window: str = ""


class Gate(msgspec.Struct, frozen=True):
    """One criterion of the present gate, and what was found about it."""

    finding: Finding
    criterion: Criterion
    title: str
    """The phase whose it is."""
    terms: str
    """The parameters of its check: what it is held against."""


class Moment(msgspec.Struct, frozen=True):
    """One line of the timeline."""

    at: Instant
    what: str
    by: str
    detail: tuple[str, ...]
    tone: str


_TONES: Mapping[type, str] = MappingProxyType(
    {
        Entered: "phase", Finished: "phase", Signed: "signed", Asked: "asked", Extended: "asked",
        Overridden: "override", RolledBack: "stopped", Aborted: "stopped",
    }
)  # fmt: skip


def place(run: str) -> str:
    """Where a run's page is."""
    return f"/console/playbooks/{quote(run, safe='')}"


COLUMNS = (
    Column[Row]("run", "Run", lambda row: row.view.run, link=lambda row: place(row.view.run)),
    Column[Row]("state", "State", lambda row: row.view.state, Kind.STATE),
    Column[Row]("phase", "Phase", lambda row: row.phase),
    Column[Row](
        "window_ends", "Window ends", lambda row: row.view.window_ends, Kind.TIME,
        wide=True, hint="At the earliest, and only if the evidence is good",
    ),
    Column[Row]("needs", "Needs", lambda row: "; ".join(row.view.needs), wide=True),
    Column[Row](
        "overrides", "Overrides", lambda row: row.view.overrides, Kind.COUNT, wide=True, hint="Ever, in this run"
    ),
    Column[Row]("started", "Started", lambda row: row.view.started, Kind.TIME, wide=True),
    Column[Row]("by", "By", lambda row: row.view.by, wide=True),
)  # fmt: skip


@router.get("/playbooks")
def playbooks(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    asked: TableAsked,
) -> Response:
    """Every run, and the playbooks that can be started."""
    now = desk.now()
    rows = [_row(each, now) for each in admin.every_run(desk.journal)]
    found = {
        "books": [(book, book_view(book)) for book in (admin.book_of(name) for name in shipped())],
        "states": {state.value: sum(row.view.state == state.value for row in rows) for state in State},
        "asking": sum(row.asked for row in rows if row.view.state == State.RUNNING.value),
        "unreadable": sum(row.view.state == UNREADABLE for row in rows),
    }
    return frame.listing(request, seat, "playbooks.html", Table(COLUMNS, rows, asked), found)


def _row(run: Run | admin.Unreadable, now: Instant) -> Row:
    view = listed(run, now)
    if isinstance(run, admin.Unreadable):
        return Row(view, "", asked=False)
    phase = run.visit.phase
    return Row(view, phase.title or phase.name, bool(run.visit.asked))


async def _fields(request: Request) -> Sequence[tuple[str, str]]:
    form = await request.form()
    return [(name, value) for name, value in form.multi_items() if not isinstance(value, UploadFile)]


@router.post("/playbooks")
def start(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    _: Annotated[Seat, Depends(allowed(May.RUN))],
    fields: Annotated[Sequence[tuple[str, str]], Depends(_fields)],
) -> Response:
    """Start a run: of a playbook that ships, by its name, or of one's own, as YAML with its inputs line by line."""
    given = dict(fields)
    text = given.get("text", "").replace("\r\n", "\n")
    inputs = {name.removeprefix(_INPUT): value for name, value in fields if name.startswith(_INPUT)}
    tell = given.get("tell", "").replace(",", " ").split()
    if text.strip():
        book = _own(text)
        inputs |= _lines(given.get("inputs", ""))
    else:
        book = admin.book_of(given.get("book", ""))
    return gone_to(request, place(admin.start(desk, seat.actor, book, inputs, tell).id))


def _own(text: str) -> Book:
    try:
        return read_book(text)
    except PlanError as error:
        said = [f"line {each.line}: {each.what}. {each.remedy}".strip() for each in error.problems]
        raise ActError("\n".join(said)) from None


def _lines(text: str) -> dict[str, str]:
    parts = [line.partition("=") for line in text.splitlines() if line.strip()]
    wrong = [name for name, sign, _ in parts if not sign]
    if wrong:
        raise ActError(f"{wrong[0]!r} is no input: write one on each line, as NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in parts}


@router.get("/playbooks/{run}")
def one(
    request: Request, desk: InDesk, seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))], frame: InFrame, run: str
) -> Response:
    """One run, whole."""
    records = admin.records(desk.journal, run)
    found = fold(records)
    gates = _gates(found, desk.now())
    told = {
        **_now(found, records, desk.now()),
        **_story(found, records, desk.now()),
        "to_sign": [each for each in gates if _signs(seat, each)],
        "to_override": [each for each in gates if each.criterion.check and _lacks(each)],
        "may_run": seat.may(May.RUN),
    }
    return frame.page(request, seat, "playbook.html", told)


@router.get("/playbooks/{run}/now")
def present(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    run: str,
    seen: Annotated[str, Query(max_length=400)] = "",
    step: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """The part of a run's page that counts down. Where more is found than was `seen`, the rest is told to follow; in
    another `step` than the page's, its forms are of no use any more, and it is loaded anew.
    """
    records = admin.records(desk.journal, run)
    found = fold(records)
    if step != _step(found):
        return Response(status_code=204, headers={"hx-refresh": "true"})
    told = _now(found, records, desk.now())
    answer = frame.page(request, seat, "_playbook_now.html", told)
    if told["seen"] != seen:
        answer.headers["hx-trigger"] = "moved"
    return answer


@router.get("/playbooks/{run}/story")
def story(
    request: Request, desk: InDesk, seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))], frame: InFrame, run: str
) -> Response:
    """The part of a run's page that grows: evidence over time, and what happened."""
    records = admin.records(desk.journal, run)
    return frame.page(request, seat, "_playbook_story.html", _story(fold(records), records, desk.now()))


@router.get("/playbooks/{run}/post-mortem.md")
def markdown(desk: InDesk, run: str) -> Response:
    """The post-mortem as a file."""
    text = post_mortem(admin.records(desk.journal, run))
    return Response(text, media_type="text/markdown; charset=utf-8")


@router.post("/playbooks/{run}/sign-offs")
def sign(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    run: str,
    criterion: Annotated[str, Form(max_length=200)] = "",
    note: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Sign off for one's role; whose it is the playbook says."""
    admin.sign(desk, seat.actor, run, criterion, note)
    return gone_to(request, place(run))


@router.post("/playbooks/{run}/overrides")
def override(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    _: Annotated[Seat, Depends(allowed(May.RUN))],
    run: str,
    criterion: Annotated[str, Form(max_length=200)] = "",
    reason: Annotated[str, Form(max_length=1000)] = "",
    owner: Annotated[str, Form(max_length=200)] = "",
    until: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Let a check pass without evidence until it expires."""
    expires = future(until.strip(), desk.now())
    admin.override(desk, seat.actor, run, criterion, reason=reason, owner=owner, expires=expires)
    return gone_to(request, place(run))


@router.post("/playbooks/{run}/abort")
def abort(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    _: Annotated[Seat, Depends(allowed(May.RUN))],
    run: str,
    reason: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """End a run; everything is made as it was before it."""
    admin.abort(desk, seat.actor, run, reason)
    return gone_to(request, place(run))


# what is shown ----------------------------------------------------------------------------------------------------


def _step(run: Run) -> str:
    return f"{run.visit.step}-{run.state.value}"


def _now(run: Run, records: Sequence[Record], now: Instant) -> dict[str, Any]:
    answers = "".join(each.answer.value[0] for each in gate_of(run, now))
    return {
        "run": run,
        "place": place(run.id),
        "over": run.state in _OVER,
        "stages": list(_stages(run, now)),
        "seen": f"{len(records)}{answers}",
        "step": _step(run),
    }


def _story(run: Run, records: Sequence[Record], now: Instant) -> dict[str, Any]:
    by_id = {name_of(each): each for each in records}
    lines = [
        Moment(each.at, each.what, each.by, each.detail, _TONES.get(type(by_id[each.id]), ""))
        for each in reversed(timeline(records))
    ]
    shown = explain_view(run, now)
    return {
        "run": run,
        "place": place(run.id),
        "over": run.state in _OVER,
        "gates": _gates(run, now),
        "looked": shown.looked,
        "asked": shown.asked,
        "can_tell": shown.can_tell,
        "overrides": shown.overrides,
        "known": known,
        "drawings": drawings(run, records),
        "lines": lines[:_MOST_LINES],
        "left_out": max(0, len(lines) - _MOST_LINES),
        "told": list(reversed(notices(records))),
        "prose": prose(post_mortem(records)),
    }


def _stages(run: Run, now: Instant) -> Iterator[Stage]:
    visits = {visit.phase.name: visit for visit in run.visits}
    end = run.ending.at if run.ending is not None else now
    for phase in run.book.phases:
        window = hours(phase.window) if phase.window else ""
        visit = visits.get(phase.name)
        if visit is None:
            yield Stage(phase, "to come" if run.ending is None else "never", window=window)
        elif visit is run.visit:
            yield _present(run, visit, now, end, window)
        else:
            left = run.visits[visit.step + 1].at
            yield Stage(phase, "done", visit.at, (left - visit.at) / MICROS, window=window, extended=_grown(visit))


def _present(run: Run, visit: Visit, now: Instant, end: Instant, window: str) -> Stage:
    state = "done" if run.state is State.FINISHED else "now" if run.ending is None else "ended"
    lasted = (end - visit.at) / MICROS
    if state != "now" or not visit.phase.window:
        return Stage(visit.phase, state, visit.at, lasted, window=window, extended=_grown(visit))
    whole = visit.due - visit.since
    left = max(0, visit.due - now)
    share = min(1.0, max(0.0, 1 - left / whole))
    return Stage(visit.phase, state, visit.at, lasted, left / MICROS, share, _grown(visit), window)


def _grown(visit: Visit) -> str:
    return hours(visit.extended) if visit.extended else ""


def _gates(run: Run, now: Instant) -> list[Gate]:
    by_key = {(phase, each.name): each for phase, each in gate(run)} if run.visit.phase.next else {}
    titles = {phase.name: phase.title or phase.name for phase in run.book.phases}
    return [
        Gate(each, criterion, titles.get(each.phase, each.phase), _terms(criterion.parameters))
        for each in gate_of(run, now)
        if (criterion := by_key.get((each.phase, each.criterion))) is not None
    ]


def _terms(parameters: Mapping[str, Value]) -> str:
    return "; ".join(f"{name} {_said(value)}" for name, value in parameters.items() if name != "metrics")


def _said(value: Value) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _signs(seat: Seat, gate: Gate) -> bool:
    mine = gate.criterion.signer == seat.actor.role.value and bool(seat.actor.person)
    return mine and gate.finding.answer is not Answer.PASS


def _lacks(gate: Gate) -> bool:
    return gate.finding.answer not in (Answer.PASS, Answer.FAIL)
