"""Which agents speak to each other, by which contracts, how well are these kept, and who lets calls pass?"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import Response

from upshift.admin import interfaces as admin
from upshift.admin.desk import ActError, Desk
from upshift.admin.interfaces import InterfaceView
from upshift.admin.measured import metrics, scope
from upshift.console import charts
from upshift.console.door import InDesk, Seat, allowed, genuine
from upshift.console.frame import InFrame, TableAsked, gone_to
from upshift.console.graph import LONGEST, WIDTH, Box, Curve, Drawing, Line, layered
from upshift.console.roles import May
from upshift.console.shown import DASH
from upshift.console.table import Column, Kind, Table
from upshift.model.contract import A2A, Agent, Direction, Interface
from upshift.model.ids import AgentId
from upshift.model.share import parse_share
from upshift.model.span import MICROS, Window, period_of, to_datetime
from upshift.playbook.standing import ACTIVATED, DEACTIVATED, SHARED
from upshift.store.journal import Dimension
from upshift.traffic.drafting import draft, samples_in

router = APIRouter(dependencies=[Depends(allowed(May.SEE_PLAN))])

_MOST_DRAWN = 40
"""Agents; more of them are a table."""
_MOST_TEXT = 2_000_000
_DAYS = 30
_DECISIONS = 500
_SHOWN = 8
_METRICS = ("latency-p95", "error-rate", "contract-violations", "quality")


class Node(msgspec.Struct, frozen=True):
    """An agent in the picture."""

    box: Box
    title: str
    owner: str
    share: float | None


class Arrow(msgspec.Struct, frozen=True):
    """An interface in the picture."""

    curve: Curve
    view: InterfaceView
    title: str
    attention: str
    """What is wrong with it, in short."""


class Contract(msgspec.Struct, frozen=True):
    """What is agreed of one direction."""

    title: str
    schema: str
    """Indented; '' for none."""
    expects: tuple[tuple[str, str], ...]


def place(name: str) -> str:
    """Where an interface's page is."""
    return f"/console/interfaces/{quote(name, safe='')}"


def _review(row: InterfaceView) -> str:
    if row.overdue_days is None:
        return "ok" if row.reviewed else ""
    return "overdue"


def _p95(row: InterfaceView) -> float | None:
    return None if row.p95_seconds is None else 1000 * row.p95_seconds


COLUMNS = (
    Column[InterfaceView]("name", "Interface", lambda row: row.name, link=lambda row: place(row.name)),
    Column[InterfaceView]("caller", "Speaks", lambda row: row.caller, wide=True),
    Column[InterfaceView]("callee", "Is spoken to", lambda row: row.callee, wide=True),
    Column[InterfaceView]("state", "State", lambda row: "active" if row.active else "inactive", Kind.STATE),
    Column[InterfaceView]("version", "Contract", lambda row: row.version or "none", wide=True),
    Column[InterfaceView]("owner", "Owner", lambda row: row.owner, wide=True),
    Column[InterfaceView]("reviewed", "Reviewed", lambda row: row.reviewed, Kind.DAY, wide=True),
    Column[InterfaceView]("review", "Review", _review, Kind.STATE, wide=True),
    Column[InterfaceView]("calls", "Calls", lambda row: row.calls, Kind.COUNT, wide=True, hint="Of the last 7 days"),
    Column[InterfaceView]("refused", "Refused", lambda row: row.refused, Kind.COUNT, wide=True),
    Column[InterfaceView]("failed", "Failed", lambda row: row.failed, Kind.COUNT, wide=True),
    Column[InterfaceView](
        "violations", "Violations", lambda row: row.violations, Kind.COUNT, hint="Payloads that do not fit"
    ),
    Column[InterfaceView]("p95", "P95", _p95, Kind.MS, wide=True),
    Column[InterfaceView]("unkept", "Not kept", lambda row: "; ".join(row.unkept), taken_only=True),
)


@router.get("/interfaces")
def interfaces(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    asked: TableAsked,
) -> Response:
    """All agents and interfaces as a picture and a table, with the calls of the last seven days."""
    snapshot = desk.snapshot()
    if snapshot is None or not snapshot.agents:
        return frame.page(request, seat, "interfaces.html", {"table": None, "in_force": snapshot is not None})
    view = admin.interfaces(desk)
    rows = view.interfaces
    found = {
        "view": view,
        "agents": snapshot.agents,
        "active": sum(row.active for row in rows),
        "incomplete": sum(bool(row.lacks) for row in rows),
        "overdue": sum(row.overdue_days is not None for row in rows),
        "violations": sum(row.violations for row in rows),
        "calls": sum(row.calls for row in rows),
        "place": place,
        **_picture(desk, rows),
    }
    return frame.listing(request, seat, "interfaces.html", Table(COLUMNS, rows, asked), found)


def _picture(desk: Desk, rows: Sequence[InterfaceView]) -> dict[str, Any]:
    agents = desk.need_snapshot().agents
    if len(agents) > _MOST_DRAWN:
        return {"drawing": None, "most": _MOST_DRAWN}
    drawing: Drawing = layered(list(agents), [Line(row.name, row.caller, row.callee) for row in rows])
    by_name = {row.name: row for row in rows}
    shares = desk.journal.standing().shares
    return {
        "drawing": drawing,
        "box_width": WIDTH,
        "nodes": [_node(box, agents[AgentId(box.name)], shares) for box in drawing.boxes],
        "arrows": [
            Arrow(curve, by_name[curve.name], _cut(curve.name), _attention(by_name[curve.name]))
            for curve in drawing.curves
        ],
    }


def _node(box: Box, agent: Agent, shares: Mapping[AgentId, float]) -> Node:
    return Node(box, _cut(agent.id), _cut(agent.owner), shares.get(agent.id))


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _attention(row: InterfaceView) -> str:
    if row.violations:
        return f"{row.violations:,} violation{'' if row.violations == 1 else 's'}"
    if row.unkept:
        return "not kept"
    return "review overdue" if row.overdue_days is not None else ""


@router.get("/interfaces/{name}")
def interface(
    request: Request, desk: InDesk, seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))], frame: InFrame, name: str
) -> Response:
    """One interface: its contract, whether calls pass, and what these came to."""
    one = _one(desk, name)
    view = next(each for each in admin.interfaces(desk).interfaces if each.name == name)
    kinds = [ACTIVATED, DEACTIVATED, SHARED]
    decided = [each for each in desk.journal.decisions(kinds, _DECISIONS) if each.subject in (name, one.callee)]
    found = {
        "view": view,
        "place": place(name),
        "contracts": [_contract("Requests", one.request), _contract("Responses", one.response)],
        "text": one.text,
        "review_days": one.review_days,
        "decided": decided[:_SHOWN],
        "shared": SHARED,
        "days": charts.calls_by_outcome(_days(desk, name)),
        "p95": _p95(view),
        "review": _review(view),
    }
    return frame.page(request, seat, "interface.html", found)


def _one(desk: Desk, name: str) -> Interface:
    found = desk.need_snapshot().interfaces
    if name not in found:
        raise ActError(f"the plan has no interface {name!r}", 404)
    return found[name]


def _contract(title: str, each: Direction) -> Contract:
    volume = each.volume
    says: Mapping[str, str | None] = {
        "latency, P95": None if each.latency_seconds is None else f"at most {each.latency_seconds:g} s",
        "errors": None if each.errors is None else f"at most {each.errors:.1%}",
        "quality": None if each.quality is None else f"at least {each.quality:.0%}",
        "volume": None if volume is None else f"at most {volume.amount:,} in {_span(volume.period)}",
    }
    schema = json.dumps(json.loads(each.payload), indent=2, ensure_ascii=False) if each.payload else ""
    return Contract(title, schema, tuple((what, said) for what, said in says.items() if said is not None))


def _span(micros: int) -> str:
    seconds = micros // MICROS
    named = {1: "a second", 60: "a minute", 3600: "an hour", 86_400: "a day"}
    return named.get(seconds, f"{seconds:,} s")


def _days(desk: Desk, name: str) -> list[tuple[str, str, int]]:
    """(day, outcome, calls) of the last days, days without any included once."""
    now = desk.now()
    day = 86_400 * MICROS
    first = period_of(Window.DAY, "UTC", now - (_DAYS - 1) * day).start
    where = {Dimension.DIALECT: A2A, Dimension.REQUESTED_MODEL: name}
    rows = desk.journal.usage([Dimension.DAY, Dimension.OUTCOME], first, now + 1, where, latencies=False)
    days = [f"{to_datetime(first + each * day):%Y-%m-%d}" for each in range(_DAYS)]
    return [(each, "", 0) for each in days] + [(row.group[0], row.group[1], row.calls) for row in rows]


@router.get("/interfaces/{name}/measured")
def measured(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    name: str,
    since: Annotated[str, Query(max_length=40)] = "7d",
) -> Response:
    """What was measured, beside what the contract promises."""
    one = _one(desk, name)
    found = metrics(desk, seat.actor, scope(interface=name), since, names=_METRICS)
    promised = {
        "latency-p95": _promise(one, lambda each: each.latency_seconds, "at most {:g} s"),
        "error-rate": _promise(one, lambda each: each.errors, "at most {:.1%}"),
        "contract-violations": "none",
        "quality": _promise(one, lambda each: each.quality, "at least {:.0%}"),
    }
    return frame.page(request, seat, "_interface_measured.html", {"found": found, "promised": promised, "since": since})


def _promise(one: Interface, of: Callable[[Direction], float | None], form: str) -> str:
    """Of answers, else of requests."""
    value = of(one.request) if of(one.response) is None else of(one.response)
    return DASH if value is None else form.format(value)


@router.post("/interfaces/draft")
def drafted(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    _: Annotated[Seat, Depends(allowed(May.SEE_PLAN))],
    frame: InFrame,
    samples: Annotated[str, Form()] = "",
) -> Response:
    """A schema that takes all payloads that were pasted, one JSON value a line. Nothing is kept, nothing applies it."""
    if len(samples) > _MOST_TEXT:
        raise ActError("that is too much to paste; use: upshift interface draft payloads.jsonl", 413)
    seen = samples_in(samples.splitlines())
    if len(seen) > admin.MOST_SAMPLES:
        raise ActError(f"at most {admin.MOST_SAMPLES:,} payloads at a time", 413)
    text = json.dumps(draft(seen), indent=2, ensure_ascii=False)
    return frame.page(request, seat, "_drafted.html", {"schema": text, "count": len(seen)})


@router.post("/interfaces/{name}/activate")
def activate(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    _: Annotated[Seat, Depends(allowed(May.RUN))],
    name: str,
) -> Response:
    """Let calls pass."""
    admin.activate(desk, seat.actor, name)
    return gone_to(request, place(name))


@router.post("/interfaces/{name}/deactivate")
def deactivate(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    _: Annotated[Seat, Depends(allowed(May.RUN))],
    name: str,
) -> Response:
    """Let no more calls pass."""
    admin.deactivate(desk, seat.actor, name)
    return gone_to(request, place(name))


@router.post("/interfaces/{name}/share")
def share(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    _: Annotated[Seat, Depends(allowed(May.RUN))],
    name: str,
    share: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Let the agent that is spoken to take part in a share of the sessions of all who speak to it."""
    admin.share_traffic(desk, seat.actor, _one(desk, name).callee, parse_share(share))
    return gone_to(request, place(name))
