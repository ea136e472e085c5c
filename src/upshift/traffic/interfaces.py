"""Which agent speaks, and may it speak to that one: is there an active interface, and is the session part of it?"""

from collections.abc import Callable

import msgspec

from upshift.model.contract import A2A, BROKEN_BECAUSE, TASK_FAILED, Activation, Agent, Interface
from upshift.model.feedback import Delivery, Origin
from upshift.model.ids import AgentId, WorkloadId
from upshift.model.metered import Metered, Outcome
from upshift.model.refusal import BadRequest, InterfaceClosed, NoRoute, NotAllowed, Refused
from upshift.traffic.identify import Caller
from upshift.traffic.snapshot import InForce, Snapshot, Workload
from upshift.traffic.staged import takes_part

AGENT_HEADER = b"x-upshift-agent"
SESSION_HEADER = b"x-upshift-session"


class Passage(msgspec.Struct, frozen=True):
    """One agent may speak to another. `workload` is the one that the call counts for."""

    interface: Interface
    callee: Agent
    workload: Workload


def speaker(in_force: InForce, caller: Caller, header: Callable[[bytes], bytes | None]) -> Agent:
    """The agent that calls: the key's own, else the one that is named by header. Raises Refused.

    A key that is kept to workloads may only name agents of these.
    """
    named = (header(AGENT_HEADER) or b"").decode("utf-8", "replace").strip()
    if caller.key.agent:
        if named and named != caller.key.agent:
            what = f"calls as agent {named[:64]!r} with the key of agent {caller.key.agent!r}"
            raise Refused(NotAllowed(what=what, allowed=(caller.key.agent,)))
        named = caller.key.agent
    if not named:
        what = "this key is not an agent's own; name the agent that calls in this header"
        raise Refused(BadRequest(where=AGENT_HEADER.decode(), what=what))
    found = in_force.snapshot.agents.get(AgentId(named))
    if found is None or not _open(in_force.snapshot, found, caller, scoped=True):
        raise Refused(NotAllowed(what=f"calls as agent {named[:64]!r}", allowed=()))
    return found


def spoken_to(snapshot: Snapshot, caller: Caller, name: str, path: str) -> Agent:
    """The agent that is called. Raises Refused(NoRoute) for one that the plan does not have, that is not reached by
    A2A, or that is not open to the tenant: which of these it is, is nobody else's business."""
    found = snapshot.agents.get(AgentId(name))
    if found is None or not found.url or not _open(snapshot, found, caller, scoped=False):
        raise Refused(NoRoute(method="POST", path=path[:200], served=("POST /a2a/{agent}",)))
    return found


def passage(in_force: InForce, caller: Agent, callee: Agent, session: str, *, begins: bool) -> Passage:
    """The interface that a call goes over. `begins`: it is a message, rather than a question about a task.

    Raises Refused(InterfaceClosed).
    """
    snapshot = in_force.snapshot
    interface = next(
        (each for each in snapshot.interfaces.values() if (each.caller, each.callee) == (caller.id, callee.id)), None
    )
    if interface is None:
        why = "the plan has no interface between them; add one under 'interfaces:'"
        raise Refused(InterfaceClosed(caller.id, callee.id, "", why))
    why = closed_because(interface, in_force.activations.get(interface.name))
    if not why and begins:
        share = in_force.shares.get(callee.id, 1.0)
        if share < 1.0 and not takes_part(session, callee.id, share):
            whose = f"session {session[:64]!r} is not among them" if session else "a call without a session never is"
            why = f"agent {callee.id} takes part in {share:.0%} of the sessions at present, and {whose}"
    if why:
        raise Refused(InterfaceClosed(caller.id, callee.id, interface.name, why))
    return Passage(interface, callee, _counted_for(snapshot, caller, callee))


def closed_because(interface: Interface, activation: Activation | None) -> str:
    """Why no call may pass over an interface; empty where calls may."""
    if interface.version is None:
        return "it has no contract; say its version and schemas in the plan"
    if activation is None:
        return "it is not active; activate it with: upshift interface activate"
    if (activation.caller or interface.caller, activation.callee or interface.callee) != (
        interface.caller,
        interface.callee,
    ):
        return f"it was activated between {activation.caller} and {activation.callee}; activate it anew"
    if activation.major is not None and activation.major != interface.version.major:
        return f"it was activated for version {activation.major} of its contract, which is {interface.version} now"
    return ""


def _open(snapshot: Snapshot, agent: Agent, caller: Caller, *, scoped: bool) -> bool:
    """Whether an agent is open to a caller's tenant; with `scoped`, also to the workloads that its key is kept to."""
    workload = snapshot.workloads.get(agent.workload or WorkloadId(""))
    if workload is None:
        # An agent without a workload only speaks: its calls count for the one that answers.
        return agent.workload is None and not agent.url
    within = not scoped or not caller.key.workloads or workload.id in caller.key.workloads
    return caller.tenant.id in workload.tenants and within


def _counted_for(snapshot: Snapshot, caller: Agent, callee: Agent) -> Workload:
    """The workload of the agent that speaks, or of the one that answers where it has none."""
    found = snapshot.workloads.get(caller.workload or WorkloadId(""))
    return found if found is not None else snapshot.workloads[callee.workload or WorkloadId("")]


def delivery_of(record: Metered) -> Delivery | None:
    """What the record of a call between agents says of its interface; None for any other record.

    A call that was refused because of its payload counts as a violation and not as a failure of the agent. One that was
    refused for another reason never was a message over the interface.
    """
    if record.dialect != A2A:
        return None
    broken = record.reason == BROKEN_BECAUSE
    if record.outcome is Outcome.REFUSED and not broken:
        return None
    return Delivery(
        id=record.request,
        at=record.started,
        origin=Origin(
            tenant=record.tenant,
            session=record.session,
            agent=record.agent,
            interface=record.requested_model,
            workload=record.workload,
            pod=record.pod,
        ),
        latency_us=record.latency_us,
        failed=record.outcome in (Outcome.UPSTREAM_ERROR, Outcome.LOST) or record.reason == TASK_FAILED,
        violations=("payload",) if broken else (),
    )
