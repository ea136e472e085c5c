"""Do the promises of the ledger hold whatever happens, in whatever order, with crashes in between?"""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.conformance.ledger import NOW, PLAN, ceiling, record, turns

from upshift.model.budget import NOTHING, Amount, Balance, Bucket, BudgetKey
from upshift.model.entry import Grant
from upshift.model.ids import RequestId, TenantId, UserId, WorkloadId
from upshift.store.counting import CountingLedger
from upshift.store.ledger import Admit, Deny, Read, Rule, Ticket
from upshift.store.rows import held_from
from upshift.store.sqlite_journal import SqliteJournal
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import Verification, verify

LIMIT = 100
USERS = ("alice", "bob")

scopes = st.lists(st.sampled_from(USERS), min_size=1, max_size=2, unique=True)
counts = st.integers(1, 60)


class Place(Protocol):
    """Where the ledger is kept, and what is there."""

    async def open(self) -> CountingLedger: ...

    def verify(self) -> Verification: ...

    def balances(self) -> dict[BudgetKey, Balance]: ...

    def counted(self) -> dict[RequestId, int]:
        """The tokens that each closed request counted."""

    def held(self) -> set[str]:
        """Requests that ever held."""

    def leave(self) -> None: ...


class SqlitePlace:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "ledger.db"

    async def open(self) -> SqliteLedger:
        return await SqliteLedger.open(self.path, NOW)

    def verify(self) -> Verification:
        return verify(self.path)

    def balances(self) -> dict[BudgetKey, Balance]:
        journal = SqliteJournal(self.path)
        found = {account.key: account.balance for account in journal.balances()}
        journal.close()
        return found

    def counted(self) -> dict[RequestId, int]:
        journal = SqliteJournal(self.path)
        counted = {call.record.request: call.record.counted_tokens for call in journal.calls(limit=10_000)}
        journal.close()
        return counted

    def held(self) -> set[str]:
        db = sqlite3.connect(self.path)
        found: set[str] = {
            held.request for (document,) in db.execute("SELECT document FROM holds") for held in held_from(document)
        }
        db.close()
        return found

    def leave(self) -> None:
        shutil.rmtree(self.folder)


class Machine(RuleBasedStateMachine):
    def __init__(self, place: Callable[[], Place] = SqlitePlace) -> None:
        super().__init__()
        self.place = place()
        self.loop = asyncio.new_event_loop()
        self.ledger = self.loop.run_until_complete(self.place.open())
        self.number = 0
        self.period = 1
        self.tickets: list[Ticket] = []
        self.queued: list[asyncio.Task[tuple[Admit, Ticket] | Deny]] = []
        self.overrun: dict[BudgetKey, int] = {}
        self.acknowledged: set[str] = set()
        self.closed: dict[str, int] = {}

    def teardown(self) -> None:
        for task in self.queued:
            task.cancel()
        self.loop.run_until_complete(turns())
        for ticket in list(self.open_tickets()):
            self.close_ticket(ticket, 1)
        self.flush()
        for balance in self.place.balances().values():
            assert balance.held == NOTHING
        assert not self.ledger.open_requests()
        self.loop.run_until_complete(self.ledger.close())
        self.check_file(open_holds=0)
        self.loop.close()
        self.place.leave()

    # What the rules below are made of

    def keys(self, users: list[str]) -> tuple[BudgetKey, ...]:
        return tuple(
            BudgetKey(
                TenantId("acme"), UserId(user), WorkloadId("chat"), Bucket.INCLUDED, "month", f"2026-{self.period:02}"
            )
            for user in users
        )

    def new_request(self) -> RequestId:
        self.number += 1
        return RequestId(f"r{self.number}")

    def decide(
        self, users: list[str], count: int, patience_seconds: float
    ) -> asyncio.Task[tuple[Admit, Ticket] | Deny]:
        rule_: Rule = ceiling(Amount(count, count), LIMIT, *self.keys(users))
        task = self.loop.create_task(self.ledger.decide(self.new_request(), PLAN, lambda: NOW, rule_, patience_seconds))
        self.loop.run_until_complete(turns())
        return task

    def open_tickets(self) -> list[Ticket]:
        for task in [task for task in self.queued if task.done()]:
            self.queued.remove(task)
            answer = None if task.cancelled() else task.result()
            if isinstance(answer, tuple):
                self.tickets.append(answer[1])
        return self.tickets

    def close_ticket(self, ticket: Ticket, spent: int) -> int:
        for key in ticket.keys:
            self.overrun[key] = self.overrun.get(key, 0) + max(0, spent - ticket.held.tokens)
        self.tickets.remove(ticket)
        self.closed[ticket.request] = spent
        amount = Amount(spent, spent)
        mark = self.ledger.settle(ticket, NOW, amount, record(ticket.request, amount))
        again = self.ledger.settle(ticket, NOW, Amount(1000, 1000), record(ticket.request, Amount(1000, 1000)))
        assert again >= mark
        self.loop.run_until_complete(turns())
        return mark

    def flush(self) -> None:
        mark = self.ledger.note(record(self.new_request()), NOW)
        self.loop.run_until_complete(self.ledger.durable(mark))
        self.acknowledged |= set(self.closed)

    def check_file(self, open_holds: int) -> None:
        found = self.place.verify()
        assert found.ok, found.problems
        assert found.open_holds == open_holds
        counted = self.place.counted()
        for request in self.acknowledged:
            assert counted[RequestId(request)] == self.closed[request]

    # What may happen

    @rule(users=scopes, count=counts)
    def hold_or_not(self, users: list[str], count: int) -> None:
        fits = all(
            balance.settled.tokens + balance.held.tokens + count <= LIMIT + balance.granted.tokens
            for balance in map(self.ledger.balance, self.keys(users))
        )
        answer = self.decide(users, count, 0.0).result()
        assert isinstance(answer, tuple) == fits
        if isinstance(answer, tuple):
            self.tickets.append(answer[1])

    @rule(users=scopes, count=counts)
    def hold_or_wait(self, users: list[str], count: int) -> None:
        self.queued.append(self.decide(users, count, 3600.0))

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def leave_the_queue(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.queued)).cancel()
        self.loop.run_until_complete(turns())

    @precondition(lambda self: self.queued and self.tickets)
    @rule(data=st.data())
    def leave_the_queue_as_room_comes(self, data: st.DataObject) -> None:
        waiting = data.draw(st.sampled_from(self.queued))
        ticket = data.draw(st.sampled_from(self.tickets))
        self.tickets.remove(ticket)
        self.closed[ticket.request] = 0
        if data.draw(st.booleans()):
            waiting.cancel()
            self.ledger.release(ticket, NOW, record(ticket.request))
        else:
            self.ledger.release(ticket, NOW, record(ticket.request))
            waiting.cancel()
        self.loop.run_until_complete(turns())

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), wanted=counts)
    def extend(self, data: st.DataObject, wanted: int) -> None:
        ticket = data.draw(st.sampled_from(self.tickets))

        def more(read: Read) -> Amount:
            room = min(
                LIMIT + balance.granted.tokens - balance.settled.tokens - balance.held.tokens
                for balance in map(read, ticket.keys)
            )
            granted = max(0, min(wanted, room))
            return Amount(granted, granted)

        before = ticket.held
        granted = self.loop.run_until_complete(self.ledger.extend(ticket, more, NOW))
        assert ticket.held == before + granted

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), spent=st.integers(0, 80), wait=st.booleans())
    def settle(self, data: st.DataObject, spent: int, wait: bool) -> None:
        ticket = data.draw(st.sampled_from(self.tickets))
        mark = self.close_ticket(ticket, spent)
        if wait:
            self.loop.run_until_complete(self.ledger.durable(mark))
            self.acknowledged.add(ticket.request)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.tickets))
        self.tickets.remove(ticket)
        self.closed[ticket.request] = 0
        self.ledger.release(ticket, NOW, record(ticket.request))
        self.loop.run_until_complete(turns())

    @rule(user=st.sampled_from(USERS), count=counts)
    def grant(self, user: str, count: int) -> None:
        entry = Grant(f"g{self.new_request()}", NOW, self.keys([user]), Amount(count, count), "mia", "more")
        assert self.ledger.append(entry) is not None
        assert self.ledger.append(entry) is None
        self.loop.run_until_complete(turns())

    @rule()
    def next_period(self) -> None:
        self.period += 1

    @rule()
    def compare_memory_and_disk(self) -> None:
        self.flush()
        for key, balance in self.place.balances().items():
            assert self.ledger.balance(key) == balance
        self.check_file(open_holds=len(self.ledger.open_requests()))

    @rule(politely=st.booleans())
    def stop_and_start(self, politely: bool) -> None:
        for task in self.queued:
            task.cancel()
        self.loop.run_until_complete(turns())
        held = {ticket.request: ticket.held for ticket in self.open_tickets()}
        if politely:
            self.loop.run_until_complete(self.ledger.close())
            self.acknowledged |= set(self.closed)
        else:
            self.ledger.abandon()
            # How much reached the disk is a matter of timing; a new period keeps it out of what happens next.
            self.period += 1
        self.tickets, self.queued = [], []
        on_disk = self.place.held()
        self.ledger = self.loop.run_until_complete(self.place.open())
        recovered = set(self.ledger.recovered.requests)
        if politely:
            assert recovered == set(held)
        assert recovered <= on_disk
        assert not recovered & self.acknowledged
        # What was not acknowledged may have been lost, or have been counted at its hold.
        self.closed = {request: spent for request, spent in self.closed.items() if request in self.acknowledged}
        for balance in self.place.balances().values():
            assert balance.held == NOTHING
        self.check_file(open_holds=0)

    @invariant()
    def ceilings_hold(self) -> None:
        self.open_tickets()
        for key in self.keys(list(USERS)):
            balance = self.ledger.balance(key)
            most = LIMIT + balance.granted.tokens + self.overrun.get(key, 0)
            assert balance.settled.tokens + balance.held.tokens <= most
            assert balance.held.tokens >= 0

    @invariant()
    def holds_are_those_of_open_calls(self) -> None:
        for key in self.keys(list(USERS)):
            held = sum(ticket.held.tokens for ticket in self.open_tickets() if key in ticket.keys)
            assert self.ledger.balance(key).held.tokens == held

    @invariant()
    def nobody_waits_without_need(self) -> None:
        """When all that was held is returned, a queue holds nobody that would fit."""
        waiting = [task for task in self.queued if not task.done()]
        assert not waiting or self.ledger.open_requests()


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    derandomize=True,
)
