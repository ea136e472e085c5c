"""What must every journal do, whatever it is kept in?

Subclass `JournalConformance` in a test module and give it the fixture `place`: what opens journals and ledgers, again
and again, on the same store.
"""

from collections.abc import Iterator
from typing import Protocol

import msgspec
import pytest
from tests.conformance.ledger import ALICE, ALICE_TODAY, BOB, NOW, PLAN, ceiling, let_in, record, tokens

from upshift.model.budget import Balance, Bucket, BudgetKey
from upshift.model.contract import Activation, Standing
from upshift.model.entry import Alert, Decision, Grant
from upshift.model.feedback import (
    About,
    Escalation,
    Operation,
    OperationKind,
    Origin,
    Quality,
    Reported,
    Source,
    TaskEnded,
    TaskOutcome,
)
from upshift.model.feedback import (
    Delivery as Message,
)
from upshift.model.ids import AgentId, KeyId, PlanHash, RequestId, TenantId, UserId, WorkloadId
from upshift.model.key import Key, Role
from upshift.model.metered import Metered, Outcome
from upshift.model.span import MICROS
from upshift.model.tokens import Certainty, Usage
from upshift.store.entries import EntryKind, Kept
from upshift.store.journal import Account, Applied, Delivery, DeliveryState, Dimension, Journal, OptIn, UnknownKeyError
from upshift.store.ledger import Ledger
from upshift.store.verify import Verification

ACME, CHAT = TenantId("acme"), WorkloadId("chat")
HOUR = 3600 * MICROS


class Place(Protocol):
    """Where journals and ledgers meet."""

    def journal(self) -> Journal: ...

    async def ledger(self) -> Ledger: ...

    def verified(self) -> Verification: ...


def key(id_: str, **more: object) -> Key:
    made = Key(id=KeyId(id_), digest=f"digest of {id_}", hint="up_ab", role=Role.CALLER, name="a key", created=NOW)
    return msgspec.structs.replace(made, **more)


def call(request: str, started: int, **more: object) -> Metered:
    return msgspec.structs.replace(record(request), started=started, **more)


def activation(interface: str, major: int) -> Activation:
    return Activation(
        interface=interface, caller=AgentId("planner"), callee=AgentId("researcher"), major=major, by="mia", at=NOW
    )


class JournalConformance:
    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError("give the suite a place to keep journals in")

    @pytest.fixture
    def journal(self, place: Place) -> Iterator[Journal]:
        journal = place.journal()
        yield journal
        journal.close()
        found = place.verified()
        assert found.ok, found.problems

    def test_the_last_plan_is_in_force(self, journal: Journal) -> None:
        assert journal.plan_in_force() is None
        first, second = PlanHash("a" * 64), PlanHash("b" * 64)
        journal.apply_plan(first, b"one", "pilot", "mia", NOW)
        journal.apply_plan(first, b"one", "pilot", "tom", NOW + 1)
        journal.apply_plan(second, b"two", "pilot", "mia", NOW + 2)
        journal.apply_plan(first, b"one", "pilot", "tom", NOW + 3, restores=1)
        assert journal.plan_in_force() == Applied(3, first, b"one", "pilot", "tom", NOW + 3)
        assert [plan.hash for plan in journal.plans()] == [first, second, first]
        told = journal.decisions(["plan-applied"])
        assert [decision.subject for decision in told] == [first, second, first]
        assert [decision.detail.get("restores") for decision in told] == [1, None, None]

    def test_keys_are_issued_rotated_and_revoked(self, journal: Journal) -> None:
        old, new = key("k1", tenant="acme", workloads=("chat",), by="mia"), key("k2", replaces="k1")
        journal.add_key(old)
        journal.add_key(new)
        with pytest.raises(ValueError, match="known already"):
            journal.add_key(key("k1", digest="another"))
        journal.expire_key(KeyId("k1"), NOW + HOUR, "mia", NOW)
        journal.expire_key(KeyId("k1"), NOW + 2 * HOUR, "mia", NOW)
        journal.revoke_key(KeyId("k2"), NOW + 5, "tom")
        journal.revoke_key(KeyId("k2"), NOW + 9, "tom")
        assert journal.keys() == [
            msgspec.structs.replace(old, expires=NOW + HOUR),
            msgspec.structs.replace(new, revoked=NOW + 5),
        ]
        kinds = [decision.kind for decision in journal.decisions()]
        assert kinds == ["key-revoked", "key-expires", "key-issued", "key-issued"]
        with pytest.raises(UnknownKeyError):
            journal.revoke_key(KeyId("k9"), NOW, "tom")

    def test_consent_stands_until_it_is_withdrawn(self, journal: Journal) -> None:
        journal.opt_in(ACME, CHAT, None, "mia", NOW)
        journal.opt_in(ACME, CHAT, 5_000, "mia", NOW + 1)
        journal.opt_in(TenantId("other"), CHAT, None, "zoe", NOW + 2)
        assert journal.consents() == [
            OptIn(ACME, CHAT, 5_000, "mia", NOW + 1),
            OptIn(TenantId("other"), CHAT, None, "zoe", NOW + 2),
        ]
        journal.opt_out(ACME, CHAT, "mia", NOW + 3)
        assert [consent.tenant for consent in journal.consents()] == ["other"]

    def test_an_interface_is_active_until_it_is_deactivated(self, journal: Journal) -> None:
        first = activation("plan-research", 1)
        assert journal.standing() == Standing()
        assert journal.activate_interface(first)
        assert not journal.activate_interface(msgspec.structs.replace(first, by="tom", at=NOW + 1))
        assert journal.activate_interface(activation("plan-write", 3))
        assert journal.activate_interface(activation("plan-research", 2))
        standing = journal.standing()
        assert standing.active == {
            "plan-research": activation("plan-research", 2),
            "plan-write": activation("plan-write", 3),
        }
        assert journal.deactivate_interface("plan-research", "mia", NOW)
        assert not journal.deactivate_interface("plan-research", "mia", NOW)
        assert not journal.deactivate_interface("none", "mia", NOW)
        assert list(journal.standing().active) == ["plan-write"]
        # All at one reading of the clock: the last decision holds.
        assert journal.activate_interface(first)
        assert journal.standing().active["plan-research"] == first
        kinds = [decision.kind for decision in journal.decisions()]
        activated, deactivated = "interface-activated", "interface-deactivated"
        assert kinds == [activated, deactivated, activated, activated, activated]

    def test_an_agent_has_its_share_of_sessions(self, journal: Journal) -> None:
        researcher = AgentId("researcher")
        assert not journal.share_traffic(researcher, 1.0, "mia", NOW)
        assert journal.share_traffic(researcher, 0.1, "mia", NOW)
        assert not journal.share_traffic(researcher, 0.1, "mia", NOW)
        assert journal.standing().shares == {"researcher": 0.1}
        assert journal.share_traffic(researcher, 0.0, "mia", NOW)
        assert journal.standing().shares == {"researcher": 0.0}
        assert journal.share_traffic(researcher, 1.0, "mia", NOW)
        assert journal.standing() == Standing()
        for wrong in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match="from 0 to 1"):
                journal.share_traffic(researcher, wrong, "mia", NOW)

    def test_what_others_decide_of_interfaces_holds_too(self, journal: Journal) -> None:
        said: dict[str, str | int | bool | None] = {"phase": "staged"}
        journal.decide(Decision("run-1/3", NOW, "interface-activated", "", "plan-research", "playbook", said))
        journal.decide(Decision("run-1/4", NOW, "traffic-share", "", "researcher", "playbook", {"share": "0.25"}))
        standing = journal.standing()
        assert standing.active["plan-research"] == Activation(
            interface="plan-research", caller=None, callee=None, major=None, by="playbook", at=NOW
        )
        assert standing.shares == {"researcher": 0.25}
        journal.decide(Decision("run-1/5", NOW, "traffic-share", "", "researcher", "playbook", {"share": None}))
        assert journal.standing().shares == {}

    def test_a_decision_is_kept_once(self, journal: Journal) -> None:
        decision = Decision(
            "d1", NOW, "override", "acme", "gate 2", "mia", {"why": "board", "count": 3, "late": True, "x": None}
        )
        assert journal.decide(decision)
        assert not journal.decide(decision)
        assert journal.decisions(["override", "other"], limit=5) == [decision]
        assert journal.decisions(["other"]) == []

    def test_every_change_shows_in_the_version(self, journal: Journal, place: Place) -> None:
        other = place.journal()
        seen = [other.version()]
        journal.apply_plan(PLAN, b"", "p", "mia", NOW)
        seen.append(other.version())
        journal.add_key(key("k1"))
        seen.append(other.version())
        journal.opt_in(ACME, CHAT, None, "mia", NOW)
        seen.append(other.version())
        journal.activate_interface(activation("plan-research", 1))
        seen.append(other.version())
        assert len(set(seen)) == 5
        assert other.version() == seen[-1]
        other.close()

    async def test_usage_adds_up(self, journal: Journal, place: Place) -> None:
        ledger = await place.ledger()
        usage = Usage(input=100, cached=40, cache_write_5m=3, cache_write_1h=2, output=20, reasoning=5)
        for number in range(1, 101):
            ledger.note(call(f"a{number}", NOW, usage=usage, cost=10, latency_us=number, served_model="large"), NOW)
        ledger.note(call("b1", NOW, outcome=Outcome.REFUSED, cost=0, user="bob", served_model="large"), NOW)
        ledger.note(call("b2", NOW, bucket=Bucket.DEGRADED, served_model="small", latency_us=7), NOW)
        ledger.note(call("b3", NOW, cost=None, certainty=Certainty.UNKNOWN, served_model="small", latency_us=9), NOW)
        ledger.note(call("b4", NOW, outcome=Outcome.UPSTREAM_ERROR, served_model="small", latency_us=8), NOW)
        await ledger.durable(ledger.note(call("late", NOW + 30 * HOUR), NOW))
        await ledger.close()
        large, small = journal.usage([Dimension.SERVED_MODEL], NOW, NOW + HOUR)
        assert large.group == ("large",)
        assert (large.calls, large.refused, large.cost, large.unknown_cost) == (101, 1, 1000, 0)
        assert large.usage == Usage(10_000, 4_000, 300, 200, 2_000, 500)
        assert (large.p50_us, large.p95_us) == (50, 95)
        assert (small.calls, small.degraded, small.unknown_cost, small.failed) == (3, 1, 1, 1)
        assert (small.p50_us, small.p95_us) == (8, 9)
        (bob,) = journal.usage([Dimension.USER, Dimension.DAY], NOW, NOW + HOUR, {Dimension.USER: "bob"})
        assert bob.group == ("bob", "2026-11-18")
        assert bob.p50_us is None
        (total,) = journal.usage([], 0, NOW + 100 * HOUR)
        assert (total.group, total.calls) == ((), 105)
        assert journal.usage([], 0, 1) == []
        months = journal.usage([Dimension.MONTH], 0, NOW + 100 * HOUR)
        assert [month.group for month in months] == [("2026-11",)]

    async def test_calls_page_backwards(self, journal: Journal, place: Place) -> None:
        ledger = await place.ledger()
        full = Metered(
            request=RequestId("full"), started=NOW, plan=PLAN, tenant="acme", user="bob", tier="gold", workload="chat",
            pod="pod", project="project", session="s", agent="agent", key=KeyId("k"), dialect="openai", streamed=True,
            requested_model="large", served_model="small", provider="p", upstream_id="u", outcome=Outcome.CUT, status=200,
            bucket=Bucket.OVERAGE, reason="over_budget", certainty=Certainty.AT_LEAST, usage=Usage(1, 2, 3, 4, 5, 6),
            cost=7, latency_us=10, first_byte_us=11, overhead_us=12,
        )  # fmt: skip
        for number in range(10):
            ledger.note(call(f"r{number}", NOW), NOW)
        await ledger.durable(ledger.note(full, NOW))
        await ledger.close()
        found = journal.call(RequestId("full"))
        assert found is not None
        assert found.record == full
        assert journal.call(RequestId("none")) is None
        page = journal.calls({Dimension.USER: "alice"}, limit=4)
        assert [each.record.request for each in page] == ["r9", "r8", "r7", "r6"]
        page = journal.calls({Dimension.USER: "alice"}, limit=4, before=page[-1].seq)
        assert [each.record.request for each in page] == ["r5", "r4", "r3", "r2"]

    async def test_entries_page_backwards_whatever_they_are(self, journal: Journal, place: Place) -> None:
        assert journal.entries() == []
        ledger = await place.ledger()
        first = await let_in(ledger, "r1", ceiling(tokens(100), 1000, ALICE))
        ledger.settle(first, NOW + 1, tokens(30), call("r1", NOW, counted_tokens=30))
        second = await let_in(ledger, "r2", ceiling(tokens(50), 1000, BOB))
        ledger.release(second, NOW + 2, call("r2", NOW, user="bob", outcome=Outcome.UPSTREAM_ERROR))
        ledger.append(Grant("g1", NOW + HOUR, (BOB,), tokens(7), "mia", "the board asked"))
        ledger.note(call("r3", NOW, tenant="other", outcome=Outcome.REFUSED), NOW + HOUR + 1)
        await ledger.close()
        journal.decide(Decision("d1", NOW + 2 * HOUR, "override", "other", "gate 2", "zoe", {}))

        whole = journal.entries()
        kinds = ["decision", "note", "grant", "release", "hold", "settle", "hold"]
        assert sorted(each.kind for each in whole) == sorted(kinds)
        seqs = [each.seq for each in whole]
        assert seqs == sorted(seqs, reverse=True)
        assert len(set(seqs)) == len(seqs)
        for size in (1, 2, 3):
            paged: list[Kept] = []
            before = None
            while page := journal.entries(limit=size, before=before):
                assert len(page) <= size
                paged += page
                before = page[-1].seq
            assert paged == whole

        (grant,) = journal.entries([EntryKind.GRANT])
        assert (grant.tenant, grant.user, grant.by, grant.reason) == ("acme", "bob", "mia", "the board asked")
        assert (grant.tokens, grant.id) == (7, "g1")
        (settle,) = journal.entries([EntryKind.SETTLE])
        assert (settle.id, settle.tokens, settle.what) == ("r1", 30, "served")
        (decision,) = journal.entries([EntryKind.DECISION])
        assert (decision.what, decision.about, decision.by) == ("override", "gate 2", "zoe")
        held = journal.entries([EntryKind.HOLD])
        assert {(each.id, each.tokens) for each in held} == {("r1", 100), ("r2", 50)}
        assert {each.kind.value for each in journal.entries(tenant="other")} == {"decision", "note"}
        assert [each.kind.value for each in journal.entries(tenant="other", limit=1)] == ["decision"]
        assert journal.entries(until=NOW + 2 * HOUR)[0].id == "r3"
        assert "d1" in [each.id for each in journal.entries(until=NOW + 2 * HOUR + 1)]
        assert journal.entries(until=NOW) == []

    async def test_balances_of_a_tenant(self, journal: Journal, place: Place) -> None:
        ledger = await place.ledger()
        ticket = await let_in(ledger, "r1", ceiling(tokens(5), 100, ALICE, ALICE_TODAY))
        ledger.settle(ticket, NOW, tokens(3), record("r1", tokens(3)))
        past = BudgetKey(ACME, UserId("alice"), CHAT, Bucket.INCLUDED, "month", "2026-01")
        grant = Grant("g1", NOW, (BOB, past), tokens(9), "mia", "more")
        await ledger.durable(ledger.append(grant) or 0)
        await ledger.close()
        assert journal.balances("acme", "alice", "chat", NOW) == [
            Account(ALICE_TODAY, Balance(settled=tokens(3))),
            Account(ALICE, Balance(settled=tokens(3))),
        ]
        assert len(journal.balances()) == 4
        assert journal.balances(user="bob") == [Account(BOB, Balance(granted=tokens(9)))]
        assert journal.balances("other") == []

    async def test_an_alert_is_delivered_by_one(self, journal: Journal, place: Place) -> None:
        ledger = await place.ledger()
        alert = Alert("al1", NOW, ALICE, 70, "tokens", 71, 100, NOW + HOUR, PLAN)
        assert ledger.append(alert) is not None
        assert ledger.append(alert) is None
        await ledger.close()
        assert journal.claim_delivery("al1", "mail", NOW)
        assert not journal.claim_delivery("al1", "mail", NOW + 1)
        assert journal.claim_delivery("al1", "mail", NOW + 601 * MICROS)
        journal.delivery_failed("al1", "mail", NOW + 602 * MICROS, "refused")
        assert journal.claim_delivery("al1", "mail", NOW + 603 * MICROS)
        journal.delivery_done("al1", "mail", NOW + 604 * MICROS)
        assert not journal.claim_delivery("al1", "mail", NOW + 9000 * MICROS)
        assert journal.claim_delivery("al1", "hook", NOW)
        (raised,) = journal.alerts()
        assert raised.alert == alert
        assert raised.deliveries == (
            Delivery("hook", DeliveryState.CLAIMED, 1, NOW, ""),
            Delivery("mail", DeliveryState.DONE, 3, NOW + 604 * MICROS, "refused"),
        )
        assert raised.alert.runs_out == NOW + HOUR

    async def test_correction_and_grant_are_left_for_the_ledger(self, journal: Journal, place: Place) -> None:
        grant = Grant("g1", NOW, (BOB,), tokens(9), "mia", "more")
        assert journal.ask(grant)
        assert not journal.ask(grant)
        ledger = await place.ledger()
        assert ledger.append(Grant("g2", NOW, (BOB,), tokens(1), "mia", "more")) is not None
        await ledger.close()
        assert not journal.ask(Grant("g2", NOW, (BOB,), tokens(1), "mia", "more"))

    async def test_decisions_go_between_the_entries_of_a_running_ledger(self, journal: Journal, place: Place) -> None:
        ledger = await place.ledger()
        for number in range(20):
            mark = ledger.note(call(f"r{number}", NOW), NOW)
            assert journal.decide(Decision(f"d{number}", NOW, "override", "acme", "gate 2", "mia", {}))
            await ledger.durable(mark)
        await ledger.close()
        assert len(journal.decisions(limit=100)) == 20
        assert len(journal.calls()) == 20

    def test_what_is_reported_is_kept_once_and_found_again(self, journal: Journal, place: Place) -> None:
        where = Origin(session="s", agent="ada", interface="a-b", workload="chat", pod="p", request="r1", task="t1")
        records = (
            Quality("acme/1", NOW, where, 0.75, "judge", "tone"),
            Escalation("acme/1", NOW + 1, Origin(session="s'); --\n\u00e9\u2028"), "sam", "why\tnot"),
            TaskEnded("acme/1", NOW + 2, Origin(agent="ada"), TaskOutcome.FAILED, NOW - 9),
            Message("acme/1", NOW + 3, where, 5, True, ("payload",)),
            Operation(id="acme/1", at=NOW + 4, origin=where, kind=OperationKind.MODEL, latency_us=7, input_tokens=0),
        )
        reports = [Reported(record, "acme", "key_1", Source.CALLER, NOW + 9) for record in records]
        assert journal.add_feedback(reports) == 5
        assert journal.add_feedback(reports) == 0
        other = Reported(Quality("globex/1", NOW - 1, Origin(agent="ada"), 1.0), "globex", "mia", Source.ADMIN, NOW)
        changed = msgspec.structs.replace(reports[0], record=msgspec.structs.replace(records[0], score=0.0))
        assert journal.add_feedback([other, changed, other]) == 1
        again = place.journal()
        assert again.feedback() == [other, *reports]
        assert again.feedback({About.TENANT: "acme"}, NOW + 1, NOW + 3) == reports[1:3]
        assert again.feedback({About.KIND: "quality", About.AGENT: "ada"}) == [other, reports[0]]
        assert again.feedback({About.TASK: "t1", About.SOURCE: "caller"}, limit=2) == reports[3:]
        assert again.feedback({About.REQUEST: "r'1"}) == []
        assert again.add_feedback([]) == 0
        again.close()

    def test_ten_thousand_reports_at_once(self, journal: Journal) -> None:
        reports = [
            Reported(Quality(f"acme/{number}", NOW + number, Origin(agent="ada"), 0.5), "acme", "k", Source.CALLER, NOW)
            for number in range(10_000)
        ]
        assert journal.add_feedback(reports) == 10_000
        assert journal.add_feedback(reports[5_000:]) == 0
        assert journal.feedback(since=NOW + 9_998) == reports[9_998:]

    async def test_calls_are_known_by_their_requests(self, journal: Journal, place: Place) -> None:
        ledger = await place.ledger()
        for number in range(3):
            mark = ledger.note(call(f"r{number}", NOW + number * HOUR), NOW)
        await ledger.durable(mark)
        await ledger.close()
        asked = [RequestId(f"r{number}") for number in range(1, 1200)]
        found = journal.known_calls(asked)
        assert {id_: record.started for id_, record in found.items()} == {"r1": NOW + HOUR, "r2": NOW + 2 * HOUR}
        assert journal.known_calls([]) == {}

    def test_an_alert_nobody_raised_is_none(self, journal: Journal) -> None:
        assert journal.alerts() == []

    def test_one_at_a_time_holds_a_lease(self, journal: Journal, place: Place) -> None:
        other = place.journal()
        assert journal.lease("playbooks", "a", NOW, 60)
        assert not other.lease("playbooks", "b", NOW + 59 * MICROS, 60)
        assert other.lease("something else", "b", NOW, 60)
        assert journal.lease("playbooks", "a", NOW + 59 * MICROS, 60)
        assert not other.lease("playbooks", "b", NOW + 118 * MICROS, 60)
        assert other.lease("playbooks", "b", NOW + 119 * MICROS, 60)
        assert not journal.lease("playbooks", "a", NOW + 120 * MICROS, 60)
        other.close()

    def test_a_lease_of_a_clock_that_was_ahead_does_not_last(self, journal: Journal) -> None:
        assert journal.lease("playbooks", "a", NOW + 10 * HOUR, 60)
        assert journal.lease("playbooks", "b", NOW, 60)

    def test_a_lease_is_no_delivery_of_an_alert(self, journal: Journal) -> None:
        assert journal.lease("playbooks", "a", NOW, 60)
        assert journal.alerts() == []
