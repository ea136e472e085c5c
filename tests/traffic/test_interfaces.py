"""Who speaks, to whom, and may they? Only over an active interface, and only who is part of it."""

import msgspec
import pytest
from tests.traffic.builders import NOW, SECRET, headers, in_force, key, snapshot, tenant, user, workload

from upshift.model.contract import Activation, Agent, Interface, Version
from upshift.model.ids import AgentId, RequestId, TenantId, WorkloadId
from upshift.model.key import Key
from upshift.model.metered import Metered, Outcome
from upshift.model.refusal import BadRequest, InterfaceClosed, NoRoute, NotAllowed, Reason, Refused
from upshift.traffic.identify import Caller
from upshift.traffic.interfaces import closed_because, delivery_of, passage, speaker, spoken_to
from upshift.traffic.snapshot import InForce

PLANNER, RESEARCHER, GUEST = AgentId("planner"), AgentId("researcher"), AgentId("guest")
AGENTS = {
    PLANNER: Agent(id=PLANNER, workload=WorkloadId("chat")),
    RESEARCHER: Agent(id=RESEARCHER, workload=WorkloadId("chat"), url="http://127.0.0.1:9/"),
    GUEST: Agent(id=GUEST),
}
INTERFACE = Interface(name="plan-research", caller=PLANNER, callee=RESEARCHER, version=Version(1, 2, 0))
ACTIVE = Activation(interface="plan-research", caller=PLANNER, callee=RESEARCHER, major=1, by="mia", at=NOW)


def rule(activation: Activation | None = ACTIVE, interface: Interface = INTERFACE, share: float = 1.0) -> InForce:
    chat = msgspec.structs.replace(workload("chat"), tenants=frozenset((TenantId("acme"),)))
    plan = msgspec.structs.replace(
        snapshot(), workloads={chat.id: chat}, agents=AGENTS, interfaces={interface.name: interface}
    )
    activations = {} if activation is None else {activation.interface: activation}
    return msgspec.structs.replace(in_force(), snapshot=plan, activations=activations, shares={RESEARCHER: share})


def caller(tenant_id: str = "acme", **more: object) -> Caller:
    made: Key = msgspec.structs.replace(key(), tenant=tenant_id, workloads=(), **more)
    return Caller(made, msgspec.structs.replace(tenant(), id=TenantId(tenant_id)), user())


def refused(act: object) -> Reason:
    with pytest.raises(Refused) as caught:
        act()  # type: ignore[operator]  # a function without arguments
    return caught.value.reason


def named(name: bytes) -> dict[bytes, bytes]:
    return {b"x-upshift-agent": name}


def test_an_agent_is_known_by_its_own_key_or_by_header() -> None:
    assert speaker(rule(), caller(), named(b"planner").get).id == PLANNER
    assert speaker(rule(), caller(agent="planner"), headers().get).id == PLANNER
    assert speaker(rule(), caller(agent="planner"), named(b"planner").get).id == PLANNER
    assert isinstance(refused(lambda: speaker(rule(), caller(), headers().get)), BadRequest)
    wrong = refused(lambda: speaker(rule(), caller(agent="planner"), named(b"researcher").get))
    assert isinstance(wrong, NotAllowed)
    assert isinstance(refused(lambda: speaker(rule(), caller(), named(b"nobody").get)), NotAllowed)
    assert SECRET  # the builders' key is a caller's


def test_a_key_names_only_agents_of_its_own_tenant_and_workloads() -> None:
    assert isinstance(refused(lambda: speaker(rule(), caller("globex"), named(b"planner").get)), NotAllowed)
    elsewhere = msgspec.structs.replace(caller(), key=msgspec.structs.replace(key(), workloads=("other",)))
    assert isinstance(refused(lambda: speaker(rule(), elsewhere, named(b"planner").get)), NotAllowed)
    assert speaker(rule(), caller("globex"), named(b"guest").get).id == GUEST


@pytest.mark.parametrize(("name", "tenant_id"), [("nobody", "acme"), ("planner", "acme"), ("researcher", "globex")])
def test_what_one_may_not_reach_looks_like_what_is_not_there(name: str, tenant_id: str) -> None:
    found = refused(lambda: spoken_to(rule().snapshot, caller(tenant_id), name, f"/a2a/{name}"))
    assert found == NoRoute(method="POST", path=f"/a2a/{name}", served=("POST /a2a/{agent}",))


@pytest.mark.parametrize(
    ("activation", "words"),
    [
        (None, "it is not active"),
        (ACTIVE, ""),
        (msgspec.structs.replace(ACTIVE, major=2), "activated for version 2 of its contract, which is 1.2.0 now"),
        (msgspec.structs.replace(ACTIVE, callee=GUEST), "activated between planner and guest"),
        (msgspec.structs.replace(ACTIVE, major=None, caller=None, callee=None), ""),
    ],
)
def test_an_interface_is_open_as_it_was_decided(activation: Activation | None, words: str) -> None:
    found = closed_because(INTERFACE, activation)
    assert (words in found) if words else (found == "")


def test_without_a_contract_no_call_passes() -> None:
    bare = msgspec.structs.replace(INTERFACE, version=None)
    assert "it has no contract" in closed_because(bare, ACTIVE)


def test_a_call_passes_one_way_only() -> None:
    found = passage(rule(), AGENTS[PLANNER], AGENTS[RESEARCHER], "s1", begins=True)
    assert (found.interface, found.workload.id) == (INTERFACE, "chat")
    back = refused(lambda: passage(rule(), AGENTS[RESEARCHER], AGENTS[PLANNER], "s1", begins=True))
    assert isinstance(back, InterfaceClosed)
    assert "no interface between them" in back.why


def test_a_call_of_an_agent_without_workload_counts_for_the_one_that_answers() -> None:
    own = msgspec.structs.replace(INTERFACE, caller=GUEST)
    activation = msgspec.structs.replace(ACTIVE, caller=GUEST)
    assert passage(rule(activation, own), AGENTS[GUEST], AGENTS[RESEARCHER], "", begins=True).workload.id == "chat"


def test_a_share_keeps_sessions_apart_and_lets_questions_about_tasks_through() -> None:
    half = rule(share=0.5)

    def passes(session: str, begins: bool = True) -> bool:
        try:
            passage(half, AGENTS[PLANNER], AGENTS[RESEARCHER], session, begins=begins)
        except Refused:
            return False
        return True

    let_in = {f"s{number}" for number in range(200) if passes(f"s{number}")}
    assert 60 < len(let_in) < 140
    assert not passes("")
    assert all(passes(f"s{number}", begins=False) for number in range(20))
    wider = rule(share=0.8)
    for session in let_in:
        passage(wider, AGENTS[PLANNER], AGENTS[RESEARCHER], session, begins=True)


def record(**more: object) -> Metered:
    made = Metered(
        request=RequestId("r1"), started=NOW, plan=snapshot().hash, dialect="a2a", agent="planner", session="s1",
        requested_model="plan-research", workload="chat", latency_us=1500,
    )  # fmt: skip
    return msgspec.structs.replace(made, **more)


def test_a_record_is_a_delivery_over_its_interface() -> None:
    plain = delivery_of(record())
    assert plain is not None
    assert (plain.origin.interface, plain.origin.agent, plain.latency_us) == ("plan-research", "planner", 1500)
    assert (plain.failed, plain.violations) == (False, ())
    assert delivery_of(record(dialect="openai")) is None
    assert delivery_of(record(outcome=Outcome.REFUSED, reason="interface_closed")) is None
    broken = delivery_of(record(outcome=Outcome.REFUSED, reason="contract_violation"))
    assert broken is not None
    assert (broken.failed, broken.violations) == (False, ("payload",))
    for failing in (record(outcome=Outcome.UPSTREAM_ERROR), record(reason="task_failed")):
        found = delivery_of(failing)
        assert found is not None
        assert found.failed
