"""Which interfaces between agents are there, how do they stand against their contracts, and who switches them?"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.door import desk_of, holder_of, planner_of, responses
from upshift.admin.moments import past
from upshift.admin.shown import Shown
from upshift.model.contract import A2A, BROKEN_BECAUSE, TASK_FAILED, Activation, Direction, Interface
from upshift.model.ids import AgentId
from upshift.model.key import Role
from upshift.model.metered import Outcome
from upshift.model.span import MICROS, show_instant
from upshift.store.journal import Dimension
from upshift.traffic.drafting import draft
from upshift.traffic.interfaces import closed_because

_SWITCH = frozenset((Role.ADMIN, Role.ENGINEERING))
_LOOK_BACK = "7d"
MOST_SAMPLES = 10_000


class ExpectedView(Shown):
    """What a contract promises of one direction; null where it promises nothing."""

    payload: bool
    """Whether there is a schema for its data."""
    latency_seconds: float | None
    """The 95th percentile at most."""
    errors: float | None
    """The share, 0 to 1, that may fail."""
    quality: float | None
    """The mean score, 0 to 1, at least."""
    volume: str | None
    """Messages in a time at most, as a count and seconds."""


class InterfaceView(Shown):
    """One interface: its contract, whether calls pass, and what they came to."""

    name: str
    """Its name in the plan."""
    caller: str
    """The agent that speaks."""
    callee: str
    """The agent that is spoken to."""
    version: str | None
    """Of its contract; null where it has none."""
    enforcement: str
    """What happens to a payload that does not fit: reject or flag."""
    owner: str
    """Who answers for the contract."""
    escalation: str
    """Who is called when it is broken."""
    reviewed: str | None
    """When it was reviewed last."""
    overdue_days: int | None
    """Days since its review was due; null where none is."""
    lacks: tuple[str, ...]
    """What is missing before it may be activated."""
    active: bool
    """Whether calls pass."""
    closed_because: str
    """Why none does; empty where calls pass."""
    by: str
    """Who activated it."""
    at: str | None
    """When."""
    share: float
    """The share of sessions, 0 to 1, that the agent which is spoken to takes part in."""
    request: ExpectedView
    """What is promised of messages."""
    response: ExpectedView
    """What is promised of answers."""
    calls: int
    """Calls over it, refused ones included."""
    refused: int
    """Those that were not let through."""
    failed: int
    """Those that failed, or whose task did."""
    violations: int
    """Those with a payload that does not fit, whether refused or flagged."""
    p95_seconds: float | None
    """The 95th percentile of latency; null where there were none."""
    unkept: tuple[str, ...]
    """Promises of the answers that these calls did not keep."""


class InterfacesView(Shown):
    """The interfaces of the plan in force, and calls over them in a stretch of time."""

    since: str
    """From when on calls count."""
    until: str
    """Up to when."""
    interfaces: tuple[InterfaceView, ...]
    """By name."""
    elsewhere: int
    """Calls between agents that have no interface in the plan; all were refused."""


class SwitchedView(Shown):
    """What became of an interface or a share."""

    name: str
    """The interface, or the agent."""
    changed: bool
    """False where it was so before."""
    says: str
    """In words."""


class _Calls(msgspec.Struct):
    calls: int = 0
    refused: int = 0
    failed: int = 0
    violations: int = 0


def interfaces(desk: Desk, since: str = "") -> InterfacesView:
    """The view of the calls since then (7 days unless said). Raises ValueError and ActError."""
    now = desk.now()
    begin = past(since or _LOOK_BACK, now)
    found, standing = desk.need_snapshot(), desk.journal.standing()
    where = {Dimension.DIALECT: A2A}
    counted: dict[str, _Calls] = {}
    by = [Dimension.REQUESTED_MODEL, Dimension.OUTCOME, Dimension.REASON]
    for used in desk.journal.usage(by, begin, now + 1, where, latencies=False):
        name, outcome, reason = used.group
        each = counted.setdefault(name, _Calls())
        each.calls += used.calls
        each.refused += used.calls * (outcome == Outcome.REFUSED)
        each.failed += used.calls * (outcome == Outcome.UPSTREAM_ERROR or reason == TASK_FAILED)
        each.violations += used.calls * (reason == BROKEN_BECAUSE)
    p95 = {
        used.group[0]: used.p95_us for used in desk.journal.usage([Dimension.REQUESTED_MODEL], begin, now + 1, where)
    }
    views = [
        _view(
            desk, each, standing.active.get(each.name), standing.shares.get(each.callee, 1.0),
            counted.get(each.name, _Calls()), p95.get(each.name),
        )
        for each in found.interfaces.values()
    ]  # fmt: skip
    return InterfacesView(
        since=show_instant(begin),
        until=show_instant(now),
        interfaces=tuple(views),
        elsewhere=sum(each.calls for name, each in counted.items() if name not in found.interfaces),
    )


def _view(
    desk: Desk, each: Interface, activation: Activation | None, share: float, calls: _Calls, p95_us: int | None
) -> InterfaceView:
    closed = closed_because(each, activation)
    return InterfaceView(
        name=each.name,
        caller=each.caller,
        callee=each.callee,
        version=None if each.version is None else str(each.version),
        enforcement=each.enforcement.value,
        owner=each.owner,
        escalation=each.escalation,
        reviewed=None if each.reviewed is None else each.reviewed.isoformat(),
        overdue_days=each.overdue_days(desk.today()),
        lacks=each.lacks(),
        active=not closed,
        closed_because=closed,
        by="" if activation is None else activation.by,
        at=None if activation is None else show_instant(activation.at),
        share=share,
        request=_expected(each.request),
        response=_expected(each.response),
        calls=calls.calls,
        refused=calls.refused,
        failed=calls.failed,
        violations=calls.violations,
        p95_seconds=None if p95_us is None else p95_us / MICROS,
        unkept=tuple(_unkept(each.response, calls, p95_us)),
    )


def _unkept(promised: Direction, calls: _Calls, p95_us: int | None) -> Iterator[str]:
    if promised.latency_seconds is not None and p95_us is not None and p95_us / MICROS > promised.latency_seconds:
        yield f"the 95th percentile of latency is {p95_us / MICROS:.3g} s, beyond {promised.latency_seconds:g} s"
    answered = calls.calls - calls.refused
    if promised.errors is not None and answered and calls.failed / answered > promised.errors:
        yield f"{calls.failed / answered:.1%} failed, beyond {promised.errors:.1%}"


def _expected(each: Direction) -> ExpectedView:
    volume = each.volume
    return ExpectedView(
        payload=bool(each.payload),
        latency_seconds=each.latency_seconds,
        errors=each.errors,
        quality=each.quality,
        volume=None if volume is None else f"{volume.amount} in {volume.period // MICROS} s",
    )


def switcher_of(actor: Annotated[Actor, Depends(holder_of)]) -> Actor:
    """Whoever may switch interfaces. Raises ActError 403 for all others."""
    _may_switch(actor)
    return actor


def activate(desk: Desk, actor: Actor, name: str) -> SwitchedView:
    """Let calls pass over an interface with a complete contract, for its present major version. Raises ActError."""
    _may_switch(actor)
    each = _named(desk, name)
    lacks = each.lacks()
    if lacks or each.version is None:
        raise ActError(f"the contract of interface {name} is not complete; it lacks: {', '.join(lacks)}", 409)
    changed = desk.journal.activate_interface(
        Activation(
            interface=name,
            caller=each.caller,
            callee=each.callee,
            major=each.version.major,
            by=actor.name,
            at=desk.now(),
        )
    )
    says = f"{each.caller} may speak to {each.callee}, by contract {name} {each.version}"
    return SwitchedView(name=name, changed=changed, says=says)


def deactivate(desk: Desk, actor: Actor, name: str) -> SwitchedView:
    """Let no more calls pass over an interface, also one that the plan has no more. Raises ActError."""
    _may_switch(actor)
    changed = desk.journal.deactivate_interface(name, actor.name, desk.now())
    if not changed:
        _named(desk, name)
    return SwitchedView(name=name, changed=changed, says=f"no call passes over {name}")


def share_traffic(desk: Desk, actor: Actor, agent: str, share: float) -> SwitchedView:
    """Let an agent take part in a share of the sessions, 0 to 1, of those who speak to it. Raises ActError."""
    _may_switch(actor)
    if AgentId(agent) not in desk.need_snapshot().agents:
        raise ActError(f"the plan has no agent {agent!r}; it has {_listed(desk.need_snapshot().agents)}", 404)
    try:
        changed = desk.journal.share_traffic(AgentId(agent), share, actor.name, desk.now())
    except ValueError as error:
        raise ActError(str(error)) from None
    return SwitchedView(name=agent, changed=changed, says=f"{agent} takes part in {share:.0%} of the sessions")


def _may_switch(actor: Actor) -> None:
    if actor.role not in _SWITCH:
        raise ActError(f"only an admin or engineering may switch interfaces, not a key with the role {actor.role}", 403)


def _named(desk: Desk, name: str) -> Interface:
    found = desk.need_snapshot().interfaces
    if name not in found:
        raise ActError(f"the plan has no interface {name!r}; it has {_listed(found)}", 404)
    return found[name]


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"


# over HTTP -----------------------------------------------------------------------------------------------------------

router = APIRouter(prefix="/api/v1", responses=responses(401, 403, 429))
InDesk = Annotated[Desk, Depends(desk_of)]
Switcher = Annotated[Actor, Depends(switcher_of)]
WhichInterface = Annotated[str, Path(description="The interface, as the plan names it.")]
WhichAgent = Annotated[str, Path(description="The agent, as the plan names it.")]


class ShareAsked(BaseModel):
    """How many of the sessions an agent is to take part in."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    share: Annotated[float, Field(ge=0, le=1)]
    """From 0 to 1."""


@router.get("/interfaces", responses=responses(400, 409))
def interfaces_of_the_plan(
    desk: InDesk,
    _: Annotated[Actor, Depends(planner_of)],
    since: Annotated[str, Query(description="Like 7d or 2026-11-01; 7 days unless said.")] = "",
) -> InterfacesView:
    """Interfaces between agents: contracts, overdue reviews, whether calls pass, calls and violations."""
    return interfaces(desk, since)


@router.post("/interfaces/{name}/activate", responses=responses(404, 409))
def activate_interface(desk: InDesk, actor: Switcher, name: WhichInterface) -> SwitchedView:
    """Let calls pass over an interface whose contract is complete."""
    return activate(desk, actor, name)


@router.post("/interfaces/{name}/deactivate", responses=responses(404, 409))
def deactivate_interface(desk: InDesk, actor: Switcher, name: WhichInterface) -> SwitchedView:
    """Let no more calls pass over an interface."""
    return deactivate(desk, actor, name)


@router.post("/interfaces/draft", responses=responses(400))
def draft_schema(
    _: Annotated[Actor, Depends(planner_of)],
    samples: Annotated[Sequence[Any], Body(description="Payloads that were observed.", max_length=MOST_SAMPLES)],
) -> dict[str, Any]:
    """A JSON Schema that takes all of these payloads, for a person to review. Nothing applies it."""
    return draft(samples)


@router.put("/agents/{name}/share", responses=responses(400, 404, 409))
def share_of_traffic(desk: InDesk, actor: Switcher, name: WhichAgent, asked: ShareAsked) -> SwitchedView:
    """Let an agent take part in a share of the sessions of those who speak to it; a session never flips."""
    return share_traffic(desk, actor, name, asked.share)
