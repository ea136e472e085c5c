"""What must every ledger do, whatever it is kept in?

Subclass `LedgerConformance` in a test module and give it the fixture `place`: an object whose `open()` opens the ledger,
again and again, on the same store.
"""

import asyncio
from typing import Protocol

import pytest

from upshift.model.budget import EMPTY, NOTHING, Amount, Balance, Bucket, BudgetKey, Claim, Limit
from upshift.model.entry import Adjust, Decision, Grant
from upshift.model.ids import PlanHash, RequestId, TenantId, UserId, WorkloadId
from upshift.model.metered import Metered, Outcome
from upshift.model.refusal import Busy
from upshift.model.span import Period, Window
from upshift.store.ledger import (
    Admit,
    Deny,
    DuplicateRequestError,
    Ledger,
    LedgerUnavailableError,
    Read,
    Rule,
    Ticket,
    Wait,
)
from upshift.traffic.gate import Crowded, Fare, Fit, Full, Growth, Offer, admit
from upshift.traffic.price import PER

PLAN = PlanHash("0123456789abcdef")
NOW = 1_795_000_000_000_000
ALICE = BudgetKey(TenantId("acme"), UserId("alice"), WorkloadId("chat"), Bucket.INCLUDED, "month", "2026-11")
ALICE_TODAY = BudgetKey(TenantId("acme"), UserId("alice"), WorkloadId("chat"), Bucket.INCLUDED, "day", "2026-11-18")
BOB = BudgetKey(TenantId("acme"), UserId("bob"), WorkloadId("chat"), Bucket.INCLUDED, "month", "2026-11")


class Place(Protocol):
    """Where a ledger is kept between openings."""

    async def open(self) -> Ledger: ...


FOR_EVER = Period(Window.MONTH, "2026-11", "UTC", 0, 2 * NOW)


def at() -> int:
    return NOW


def tokens(count: int) -> Amount:
    return Amount(count, count * 1000)


def record(request: str, counted: Amount = NOTHING, outcome: Outcome = Outcome.SERVED) -> Metered:
    return Metered(
        request=RequestId(request),
        started=NOW,
        plan=PLAN,
        tenant="acme",
        user="alice",
        workload="chat",
        outcome=outcome,
        cost=counted.nano,
        counted=counted.nano,
        counted_tokens=counted.tokens,
    )


class Ceiling:
    """A rule that admits `amount` where it fits below `limit` tokens (plus grants) on every key, here or elsewhere."""

    def __init__(self, amount: Amount, limit: int, keys: tuple[BudgetKey, ...]) -> None:
        self.amount = amount
        self.keys = keys
        rate = amount.nano * PER // amount.tokens if amount.tokens else 0
        claims = tuple(Claim(key, Limit(tokens=limit), FOR_EVER) for key in keys)
        self.fare = Fare(claims, amount.tokens - 1, rate, rate, wanted=1, enough=1)

    def __call__(self, read: Read, may_wait: bool) -> Admit | Wait | Deny:
        verdict = admit((self.fare,), read, may_wait)
        return Wait(verdict.key) if may_wait and isinstance(verdict, Crowded) else self.told(verdict)

    def offer(self) -> Offer:
        return Offer((self.fare,), FOR_EVER.end)

    def told(self, verdict: Fit | Crowded | Full) -> Admit | Deny:
        if isinstance(verdict, Fit):
            return Admit(verdict.step, self.keys, verdict.amount)
        return Deny(Busy(self.keys[0], 0.0, 1))


def ceiling(amount: Amount, limit: int, *keys: BudgetKey) -> Ceiling:
    return Ceiling(amount, limit, keys)


def growth(count: int, limit: int | None = None, *keys: BudgetKey) -> Growth:
    """A rule that grants `count` tokens, as far as they fit below `limit` on every key."""
    return Growth(tuple(Claim(key, Limit(tokens=limit), FOR_EVER) for key in keys), 1000 * PER, count, 0)


async def let_in(ledger: Ledger, request: str, rule: Rule, patience_seconds: float = 0.0) -> Ticket:
    answer = await ledger.decide(RequestId(request), PLAN, at, rule, patience_seconds)
    assert not isinstance(answer, Deny)
    return answer[1]


async def settled(ledger: Ledger, ticket: Ticket, amount: Amount) -> None:
    await ledger.durable(ledger.settle(ticket, NOW, amount, record(ticket.request, amount)))


async def state(ledger: Ledger, key: BudgetKey) -> Balance:
    """A balance as the ledger has it now."""
    await ledger.refresh((key,))
    return ledger.balance(key)


async def turns(count: int = 5) -> None:
    """Let every task that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def quiet(ledger: Ledger) -> None:
    """Let every task that is ready run, and whoever keeps the ledger hear of it."""
    await turns()
    await ledger.refresh(())
    await turns()


class LedgerConformance:
    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError("give the suite a place to keep ledgers in")

    async def test_an_unknown_counter_is_empty(self, place: Place) -> None:
        ledger = await place.open()
        assert ledger.healthy
        assert await state(ledger, ALICE) == EMPTY
        await ledger.close()

    async def test_a_hold_then_its_settlement(self, place: Place) -> None:
        ledger = await place.open()
        ticket = await let_in(ledger, "r1", ceiling(tokens(100), 1000, ALICE, ALICE_TODAY))
        assert await state(ledger, ALICE) == await state(ledger, ALICE_TODAY) == Balance(held=tokens(100))
        assert ledger.open_requests() == ("r1",)
        await ledger.durable(ticket.mark)
        await settled(ledger, ticket, tokens(30))
        assert await state(ledger, ALICE) == await state(ledger, ALICE_TODAY) == Balance(settled=tokens(30))
        assert ledger.open_requests() == ()
        await ledger.close()
        again = await place.open()
        assert await state(again, ALICE) == Balance(settled=tokens(30))
        await again.close()

    async def test_a_release_returns_all(self, place: Place) -> None:
        ledger = await place.open()
        ticket = await let_in(ledger, "r1", ceiling(tokens(100), 1000, ALICE))
        await ledger.durable(ledger.release(ticket, NOW, record("r1", outcome=Outcome.UPSTREAM_ERROR)))
        assert await state(ledger, ALICE) == EMPTY
        await ledger.close()

    async def test_closing_twice_changes_nothing(self, place: Place) -> None:
        ledger = await place.open()
        ticket = await let_in(ledger, "r1", ceiling(tokens(100), 1000, ALICE))
        ledger.settle(ticket, NOW, tokens(30), record("r1", tokens(30)))
        ledger.settle(ticket, NOW, tokens(70), record("r1", tokens(70)))
        mark = ledger.release(ticket, NOW, record("r1"))
        await ledger.durable(mark)
        assert await state(ledger, ALICE) == Balance(settled=tokens(30))
        await ledger.close()

    async def test_a_request_id_is_used_once(self, place: Place) -> None:
        ledger = await place.open()
        rule = ceiling(tokens(10), 1000, ALICE)
        ticket = await let_in(ledger, "r1", rule)
        with pytest.raises(DuplicateRequestError):
            await let_in(ledger, "r1", rule)
        await settled(ledger, ticket, tokens(10))
        with pytest.raises(DuplicateRequestError):
            await let_in(ledger, "r1", rule)
        await ledger.close()

    async def test_an_id_of_an_earlier_run_counts_once(self, place: Place) -> None:
        ledger = await place.open()
        await settled(ledger, await let_in(ledger, "r1", ceiling(tokens(10), 1000, ALICE)), tokens(10))
        await ledger.close()
        again = await place.open()
        with pytest.raises(DuplicateRequestError):
            await settled(again, await let_in(again, "r1", ceiling(tokens(10), 1000, ALICE)), tokens(10))
        await quiet(again)
        assert await state(again, ALICE) == Balance(settled=tokens(10))
        assert again.healthy
        await again.close()

    async def test_a_denial_holds_nothing(self, place: Place) -> None:
        ledger = await place.open()
        answer = await ledger.decide(RequestId("r1"), PLAN, at, ceiling(tokens(101), 100, ALICE), 1.0)
        assert isinstance(answer, Deny)
        await ledger.durable(ledger.note(record("r1", outcome=Outcome.REFUSED), NOW))
        assert await state(ledger, ALICE) == EMPTY
        await ledger.close()

    async def test_a_hold_grows(self, place: Place) -> None:
        ledger = await place.open()
        ticket = await let_in(ledger, "r1", ceiling(tokens(10), 100, ALICE))
        assert await ledger.extend(ticket, growth(50, 100, ALICE), NOW) == tokens(50)
        assert ticket.held == tokens(60)
        assert await state(ledger, ALICE) == Balance(held=tokens(60))
        assert await ledger.extend(ticket, growth(0), NOW) == NOTHING
        await settled(ledger, ticket, tokens(55))
        assert await state(ledger, ALICE) == Balance(settled=tokens(55))
        assert await ledger.extend(ticket, growth(5), NOW) == NOTHING
        await ledger.close()

    async def test_who_waits_goes_on_when_room_is_returned(self, place: Place) -> None:
        ledger = await place.open()
        first = await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
        waiting = asyncio.create_task(let_in(ledger, "r2", ceiling(tokens(60), 100, ALICE), 30.0))
        await quiet(ledger)
        assert not waiting.done()
        ledger.settle(first, NOW, tokens(40), record("r1", tokens(40)))
        ticket = await waiting
        assert await state(ledger, ALICE) == Balance(settled=tokens(40), held=tokens(60))
        await settled(ledger, ticket, tokens(60))
        await ledger.close()

    async def test_a_grant_lets_the_queue_go_on(self, place: Place) -> None:
        ledger = await place.open()
        first = await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
        waiting = asyncio.create_task(let_in(ledger, "r2", ceiling(tokens(60), 100, ALICE), 30.0))
        await quiet(ledger)
        assert ledger.append(Grant("g1", NOW, (ALICE,), tokens(60), "mia", "quarter end")) is not None
        await settled(ledger, await waiting, tokens(1))
        await settled(ledger, first, tokens(1))
        await ledger.close()

    async def test_the_queue_is_first_come_first_served(self, place: Place) -> None:
        ledger = await place.open()
        first = await let_in(ledger, "r0", ceiling(tokens(100), 100, ALICE))
        order: list[str] = []

        async def call(name: str, amount: int) -> None:
            ticket = await let_in(ledger, name, ceiling(tokens(amount), 100, ALICE), 30.0)
            order.append(name)
            await settled(ledger, ticket, NOTHING)

        # The small one would fit at once beside the first, but it may not overtake the large one.
        tasks = [asyncio.create_task(call("large", 90)), asyncio.create_task(call("small", 20))]
        await quiet(ledger)
        await ledger.extend(first, growth(0), NOW)
        late = asyncio.create_task(call("late", 1))
        await quiet(ledger)
        ledger.settle(first, NOW, tokens(5), record("r0", tokens(5)))
        await asyncio.gather(*tasks, late)
        assert order == ["large", "small", "late"]
        await ledger.close()

    async def test_a_newcomer_does_not_overtake(self, place: Place) -> None:
        ledger = await place.open()
        first = await let_in(ledger, "r0", ceiling(tokens(50), 100, ALICE))
        large = asyncio.create_task(let_in(ledger, "large", ceiling(tokens(100), 100, ALICE), 30.0))
        await quiet(ledger)
        small = asyncio.create_task(let_in(ledger, "small", ceiling(tokens(10), 100, ALICE), 30.0))
        await quiet(ledger)
        assert not small.done()
        ledger.release(first, NOW, record("r0"))
        ledger.release(await large, NOW, record("large"))
        ledger.release(await small, NOW, record("small"))
        assert await state(ledger, ALICE) == EMPTY
        await ledger.close()

    async def test_queues_of_two_counters_do_not_lock_each_other(self, place: Place) -> None:
        ledger = await place.open()
        alice = await let_in(ledger, "a", ceiling(tokens(100), 100, ALICE))
        bob = await let_in(ledger, "b", ceiling(tokens(100), 100, BOB))

        async def call(name: str, *keys: BudgetKey) -> None:
            ledger.release(await let_in(ledger, name, ceiling(tokens(100), 100, *keys), 30.0), NOW, record(name))

        scopes = ((ALICE, BOB), (BOB, ALICE), (BOB,), (ALICE,), (ALICE, BOB))
        tasks = [asyncio.create_task(call(f"w{turn}", *keys)) for turn, keys in enumerate(scopes)]
        await quiet(ledger)
        ledger.release(bob, NOW, record("b"))
        ledger.release(alice, NOW, record("a"))
        await asyncio.gather(*tasks)
        assert await state(ledger, ALICE) == await state(ledger, BOB) == EMPTY
        await ledger.close()

    async def test_patience_ends(self, place: Place) -> None:
        ledger = await place.open()
        first = await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
        answer = await ledger.decide(RequestId("r2"), PLAN, at, ceiling(tokens(60), 100, ALICE), 0.01)
        assert isinstance(answer, Deny)
        await settled(ledger, first, tokens(100))
        await ledger.close()

    async def test_who_stood_behind_goes_on_when_the_head_leaves(self, place: Place) -> None:
        ledger = await place.open()
        first = await let_in(ledger, "r1", ceiling(tokens(50), 100, ALICE))
        head = asyncio.create_task(let_in(ledger, "large", ceiling(tokens(100), 100, ALICE), 30.0))
        await quiet(ledger)
        behind = asyncio.create_task(let_in(ledger, "small", ceiling(tokens(10), 100, ALICE), 30.0))
        await quiet(ledger)
        head.cancel()
        await settled(ledger, await behind, tokens(1))
        await settled(ledger, first, tokens(1))
        assert head.cancelled()
        assert await state(ledger, ALICE) == Balance(settled=tokens(2))
        await ledger.close()

    async def test_cancelled_in_the_queue_holds_nothing(self, place: Place) -> None:
        ledger = await place.open()
        first = await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
        waiting = asyncio.create_task(let_in(ledger, "r2", ceiling(tokens(60), 100, ALICE), 30.0))
        await quiet(ledger)
        waiting.cancel()
        # Room comes after the cancellation, and before the task could notice it.
        ledger.release(first, NOW, record("r1"))
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await state(ledger, ALICE) == EMPTY
        assert ledger.open_requests() == ()
        await ledger.close()

    async def test_cancelled_just_after_it_was_let_in_holds_nothing(self, place: Place) -> None:
        ledger = await place.open()
        first = await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
        waiting = asyncio.create_task(let_in(ledger, "r2", ceiling(tokens(60), 100, ALICE), 30.0))
        await quiet(ledger)
        ledger.release(first, NOW, record("r1"))
        assert ledger.balance(ALICE) == Balance(held=tokens(60))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await state(ledger, ALICE) == EMPTY
        assert ledger.open_requests() == ()
        await ledger.close()

    async def test_a_rule_that_fails_in_the_queue_fails_its_own_call(self, place: Place) -> None:
        ledger = await place.open()
        first = await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
        runs: list[bool] = []

        def broken(read: Read, may_wait: bool) -> Admit | Wait | Deny:
            runs.append(may_wait)
            if len(runs) == 1:
                return Wait(ALICE)
            raise ZeroDivisionError

        waiting = asyncio.create_task(let_in(ledger, "r2", broken, 30.0))
        behind = asyncio.create_task(let_in(ledger, "r3", ceiling(tokens(1), 100, ALICE), 30.0))
        await quiet(ledger)
        ledger.release(first, NOW, record("r1"))
        with pytest.raises(ZeroDivisionError):
            await waiting
        ledger.release(await behind, NOW, record("r3"))
        await ledger.close()

    async def test_adjust_grant_and_decision_happen_once(self, place: Place) -> None:
        ledger = await place.open()
        adjust = Adjust("a1", NOW, (ALICE,), Amount(-5, -5000), "mia", "credit note")
        grant = Grant("g1", NOW, (ALICE, BOB), tokens(50), "mia", "quarter end")
        decision = Decision("d1", NOW, "payg-opt-in", "acme", "chat", "mia", {"limit": 5})
        marks = [ledger.append(entry) for entry in (adjust, grant, decision)]
        assert None not in marks
        assert [ledger.append(entry) for entry in (adjust, grant, decision)] == [None] * 3
        assert await state(ledger, ALICE) == Balance(settled=Amount(-5, -5000), granted=tokens(50))
        await ledger.durable(marks[-1] or 0)
        await ledger.close()
        again = await place.open()
        assert [again.append(entry) for entry in (adjust, grant, decision)] == [None] * 3
        assert await state(again, BOB) == Balance(granted=tokens(50))
        await again.close()

    async def test_two_thousand_at_once_against_room_for_five_hundred(self, place: Place) -> None:
        """Each holds 4 and costs 1, so that the queue has to move; exactly 500 are served, in the order they came."""
        ledger = await place.open()
        served: list[int] = []
        denied: list[int] = []

        async def call(number: int) -> None:
            answer = await ledger.decide(
                RequestId(f"r{number:04}"), PLAN, at, ceiling(tokens(4), 503, ALICE, ALICE_TODAY), 60.0
            )
            if isinstance(answer, Deny):
                denied.append(number)
                return
            served.append(number)
            await settled(ledger, answer[1], tokens(1))

        await asyncio.gather(*(call(number) for number in range(2000)))
        assert served == list(range(500))
        assert len(denied) == 1500
        assert await state(ledger, ALICE) == await state(ledger, ALICE_TODAY) == Balance(settled=tokens(500))
        assert ledger.open_requests() == ()
        await ledger.close()

    async def test_closing_sends_the_queue_home(self, place: Place) -> None:
        ledger = await place.open()
        await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
        waiting = asyncio.create_task(let_in(ledger, "r2", ceiling(tokens(60), 100, ALICE), 30.0))
        await quiet(ledger)
        await ledger.close()
        with pytest.raises(LedgerUnavailableError):
            await waiting
        with pytest.raises(LedgerUnavailableError):
            await let_in(ledger, "r3", ceiling(tokens(1), 100, BOB))

    async def test_what_was_open_at_the_end_is_counted_at_its_hold(self, place: Place) -> None:
        ledger = await place.open()
        ticket = await let_in(ledger, "r1", ceiling(tokens(60), 100, ALICE, ALICE_TODAY))
        await ledger.extend(ticket, growth(7), NOW)
        await ledger.close()
        again = await place.open()
        assert await state(again, ALICE) == await state(again, ALICE_TODAY) == Balance(settled=tokens(67))
        await again.close()

    @pytest.mark.parametrize("count", [1, 1000])
    async def test_durable_waits_for_all_before_it(self, place: Place, count: int) -> None:
        ledger = await place.open()

        async def call(number: int) -> None:
            await ledger.durable(ledger.note(record(f"r{number}"), NOW))

        await asyncio.gather(*(call(number) for number in range(count)))
        await ledger.close()
