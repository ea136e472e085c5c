"""Gateways, a network, keepers one after another and one file, all in one loop whose time only moves when told to.

Only sockets are left out: frames wait in queues until they are delivered, one message after another.
"""

import asyncio
import shutil
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from tests.conformance.ledger import NOW, PLAN, ceiling, growth, record, turns

from upshift.keeper.keeper import Keeper
from upshift.keeper.messages import Crowd, Filled, ToGateway, ToKeeper
from upshift.keeper.remote import RemoteLedger
from upshift.keeper.session import Session
from upshift.model.budget import Amount, Balance, Bucket, BudgetKey
from upshift.model.ids import RequestId, TenantId, UserId, WorkloadId
from upshift.model.metered import Metered
from upshift.store.ledger import Admit, Deny, LedgerUnavailableError, Ticket
from upshift.store.sqlite_journal import SqliteJournal
from upshift.store.sqlite_ledger import SqliteLedger

LIMIT = 100
RESUME = 3.0
SEAT = 2.0
STEP = 0.25
USERS = ("alice", "bob")


class DrivenLoop(asyncio.SelectorEventLoop):
    """Its time moves only when somebody moves it."""

    seconds = 1_000.0

    def time(self) -> float:
        return self.seconds


def key_of(user: str) -> BudgetKey:
    return BudgetKey(TenantId("acme"), UserId(user), WorkloadId("chat"), Bucket.INCLUDED, "month", "2026-11")


def tokens(count: int) -> Amount:
    return Amount(count, 0)


class Connection:
    """Two queues. The keeper's end may notice later than the gateway's that it is dead."""

    def __init__(self, office: "Office", gateway: "Gateway") -> None:
        self.office = office
        self.gateway = gateway
        self.heard_at = self.out_of_touch = 0.0
        self.to_keeper: deque[ToKeeper] = deque()
        self.to_gateway: deque[ToGateway] = deque()
        self.slow = False
        self.alive = True
        self.hung_up = False
        self.session: Session | None = None

    def meet(self) -> None:
        self.heard_at = self.office.world.loop.time()
        self.out_of_touch = self.heard_at - self.gateway.heard_at
        self.gateway.heard_at = self.heard_at
        self.session = self.office.keeper.meet(self.gateway.ledger.who, self._answer, self.hang_up)
        self.gateway.ledger.connected(self.to_keeper.extend, RESUME)

    def _answer(self, messages: Sequence[ToGateway]) -> None:
        for message in messages:
            self._check(message)
        self.to_gateway.extend(messages)

    def _check(self, message: ToGateway) -> None:
        """Nobody is refused while there is room, at the moment when it is said."""
        if isinstance(message, Crowd | Filled):
            call = self.gateway.calls[message.request]
            balance = self.office.ledger.balance(key_of(call.user))
            assert balance.settled.tokens + balance.held.tokens + call.count > LIMIT, (message, balance)

    def hang_up(self) -> None:
        """The keeper has ended it; what it had said before may still be read."""
        self.hung_up = True
        self.to_keeper.clear()

    def drop(self) -> None:
        """What was under way is gone, and the gateway hears of it."""
        if self.alive:
            self.alive = False
            self.to_keeper.clear()
            self.to_gateway.clear()
            if self.gateway.connection is self:
                self.gateway.connection = None
                self.gateway.ledger.lost()

    def deliver(self, up: int = 1_000, down: int = 1_000) -> bool:
        """So many messages each way, as far as both sides are awake; whether there were any."""
        moved = False
        while up and self.alive and not self.hung_up and self.to_keeper and self.office.awake:
            up, moved = up - 1, True
            if not self.office.keeper.may_speak():
                self.hang_up()
                return True
            assert self.session is not None
            late = self.office.keeper.adopted_late
            self.office.keeper.heard(self.session)
            self.session.hear((self.to_keeper.popleft(),))
            # Who is not the keeper any more has said nothing of use.
            assert self.office is self.office.world.office
            # The bound is met only where a gateway was out of touch for as long as it may be.
            assert late == self.office.keeper.adopted_late or self.out_of_touch >= RESUME * 0.75
        while down and self.alive and self.to_gateway and not self.gateway.paused:
            down, moved = down - 1, True
            self.heard_at = self.gateway.heard_at = self.office.world.loop.time()
            self.gateway.ledger.heard((self.to_gateway.popleft(),))
        if self.hung_up and self.alive and not self.to_gateway and not self.gateway.paused:
            self.drop()
        return moved


class Office:
    """A keeper and its ledger."""

    def __init__(self, world: "World", ledger: SqliteLedger) -> None:
        self.world = world
        self.ledger = ledger
        self.keeper = Keeper(ledger, world.now, world.loop.time, RESUME)
        self.keeper.until = world.loop.time() + SEAT
        self.awake = True
        self.dead = False

    def die(self) -> None:
        self.dead, self.awake = True, False
        self.ledger.abandon()


class Call:
    """What became of one call, as its gateway knows it."""

    def __init__(self, user: str, count: int) -> None:
        self.user = user
        self.count = count
        self.task: asyncio.Task[tuple[Admit, Ticket] | Deny]
        self.ticket: Ticket | None = None
        self.closed: int | None = None
        self.on_disk: asyncio.Future[None] | None = None
        self.growing: asyncio.Task[Amount] | None = None
        self.denied = False


class Gateway:
    """A process that serves calls."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.ledger = RemoteLedger(20.0, world.loop.time)
        self.connection: Connection | None = None
        self.met: Connection | None = None
        self.heard_at = world.loop.time()
        self.paused = False
        self.calls: dict[RequestId, Call] = {}

    async def tick(self) -> None:
        """What its line does now and then."""
        self.ledger.tick()
        connection = self.connection
        if connection is not None and self.world.loop.time() - connection.heard_at > RESUME / 2:
            connection.drop()
        await self.world.connect(self)

    def look(self) -> None:
        """See which of its calls have been let in."""
        for request, call in self.calls.items():
            if call.ticket is not None or call.denied or not call.task.done():
                continue
            if call.task.cancelled() or isinstance(call.task.exception(), LedgerUnavailableError):
                call.denied = True
                continue
            answer = call.task.result()
            if isinstance(answer, Deny):
                call.denied = True
            else:
                # Nobody has counted it as lost by now.
                assert not self.paused
                assert self.met is not None
                assert self.met.session is not None
                assert self.world.loop.time() - self.met.session.heard_at <= RESUME
                call.ticket = answer[1]
                self.world.used[request] = call

    def open(self) -> list[Call]:
        return [call for call in self.calls.values() if call.ticket is not None and call.closed is None]

    def asking(self) -> list[Call]:
        return [call for call in self.calls.values() if not call.task.done()]


class World:
    def __init__(self, loop: DrivenLoop) -> None:
        self.loop = loop
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "ledger.db"
        self.number = 0
        self.used: dict[RequestId, Call] = {}
        """Calls that a gateway was told that it may send."""
        self.adopted_late = 0
        self.connections: list[Connection] = []
        self.gateways: list[Gateway] = []
        self.graveyard: list[Gateway] = []
        self.offices: list[Office] = []

    async def begin(self) -> None:
        await self.open_office()
        for _ in range(2):
            await self.add_gateway()
        await self.advance(4.0)

    async def settle_down(self) -> None:
        """Let every task that is ready run."""
        await turns(4)
        for gateway in self.gateways:
            gateway.look()

    def now(self) -> int:
        return NOW + int(self.loop.seconds * 1_000_000)

    # Keepers

    @property
    def office(self) -> Office:
        """The latest; it may have died."""
        return self.offices[-1]

    async def open_office(self) -> None:
        self.offices.append(Office(self, await SqliteLedger.open(self.path, self.now(), keep_open=True)))

    async def crash_office(self, *, flushed: bool) -> None:
        office = self.office
        if flushed:
            await self.flush()
        self.adopted_late += office.keeper.adopted_late.tokens
        office.die()
        for connection in self.connections:
            if connection.office is office:
                connection.drop()
        await self.settle_down()

    async def ask_and_crash(self, gateway: Gateway, user: str, count: int, *, heard: bool) -> None:
        """A call is let in by a keeper that dies before its writer has so much as woken up."""
        await self.ask(gateway, user, count, 0.0)
        connection = gateway.connection
        assert connection is not None
        connection.deliver(down=0)
        if heard:
            connection.deliver(up=0)
        await self.crash_office(flushed=False)

    async def grow_and_crash(self, gateway: Gateway, call: Call, count: int) -> None:
        """A hold is extended by a keeper that dies before its writer has so much as woken up."""
        await self.grow(gateway, call, count)
        connection = gateway.connection
        assert connection is not None
        connection.deliver(down=0)
        connection.deliver(up=0)
        await self.crash_office(flushed=False)

    async def flush(self) -> None:
        """Wait until the file has all that the keeper has told it."""
        if not self.office.dead:
            await self.office.ledger.flushed()
            await self.settle_down()

    # Gateways

    async def add_gateway(self) -> None:
        self.gateways.append(Gateway(self))

    async def kill_gateway(self, gateway: Gateway) -> None:
        """It ends without a word."""
        self.gateways.remove(gateway)
        self.graveyard.append(gateway)
        if gateway.connection is not None:
            gateway.connection.drop()
        for call in gateway.calls.values():
            call.task.cancel()
        await self.settle_down()

    async def ask(self, gateway: Gateway, user: str, count: int, patience: float) -> None:
        self.number += 1
        request = RequestId(f"r{self.number}")
        call = gateway.calls[request] = Call(user, count)
        rule = ceiling(tokens(count), LIMIT, key_of(user))
        call.task = self.loop.create_task(gateway.ledger.decide(request, PLAN, self.now, rule, patience))
        await self.settle_down()

    async def close(self, gateway: Gateway, call: Call, spent: int | None) -> None:
        """None releases it."""
        assert call.ticket is not None
        request = call.ticket.request
        call.closed = spent or 0
        if spent is None:
            mark = gateway.ledger.release(call.ticket, self.now(), record(request))
        else:
            mark = gateway.ledger.settle(call.ticket, self.now(), tokens(spent), record(request, tokens(spent)))
        call.on_disk = gateway.ledger.durable(mark)
        await self.settle_down()

    async def grow(self, gateway: Gateway, call: Call, count: int) -> None:
        assert call.ticket is not None
        rule = growth(count, LIMIT, key_of(call.user))
        call.growing = self.loop.create_task(gateway.ledger.extend(call.ticket, rule, self.now()))
        await self.settle_down()

    # The network

    async def connect(self, gateway: Gateway) -> None:
        if gateway.connection is None and not self.office.dead and self.office.awake:
            connection = Connection(self.office, gateway)
            self.connections.append(connection)
            gateway.connection = gateway.met = connection
            connection.meet()
            await self.settle_down()

    async def deliver(self) -> None:
        """Everything that is under way on connections that are not slow, until nothing more comes."""
        moved = True
        while moved:
            moved = False
            for connection in self.connections:
                if not connection.slow:
                    moved |= connection.deliver()
            self.connections = [each for each in self.connections if each.alive]
            await self.settle_down()

    async def deliver_some(self, connection: Connection, up: int, down: int) -> None:
        """So many messages each way."""
        connection.deliver(up, down)
        await self.settle_down()

    # Time

    async def advance(self, seconds: float) -> None:
        for _ in range(int(seconds / STEP)):
            self.loop.seconds += STEP
            await self.settle_down()
            office, now = self.office, self.loop.seconds
            if office.awake:
                if now < office.keeper.until:
                    office.keeper.until = now + SEAT
                office.keeper.tick()
            for gateway in self.gateways:
                if not gateway.paused:
                    await gateway.tick()
            await self.deliver()

    async def rest(self) -> None:
        """No more faults: let everything come to its end."""
        for connection in self.connections:
            connection.slow = False
        for gateway in self.gateways:
            gateway.paused = False
        if self.office.dead or self.loop.seconds >= self.office.keeper.until:
            await self.take_over()
        self.office.awake = True
        await self.advance(2 * RESUME)
        # Whoever still waits is let in when others end, and ends in turn.
        while any(gateway.open() or gateway.asking() for gateway in self.gateways):
            for gateway in self.gateways:
                for call in gateway.open():
                    await self.close(gateway, call, 1)
            await self.advance(2.0)
        await self.flush()
        await self.advance(1.0)

    async def take_over(self) -> None:
        """Somebody else is the keeper; the one before can write no more, whatever it believes."""
        if not self.office.dead:
            before = self.office
            self.adopted_late += before.keeper.adopted_late.tokens
            before.dead = True
            before.ledger.abandon()
        await self.open_office()

    async def end(self) -> None:
        for gateway in self.gateways:
            for call in gateway.calls.values():
                call.task.cancel()
        await self.settle_down()
        if not self.office.dead:
            await self.office.ledger.close()
        shutil.rmtree(self.folder)

    # What there is to see

    def on_disk(self) -> dict[BudgetKey, Balance]:
        journal = SqliteJournal(self.path)
        found = {account.key: account.balance for account in journal.balances()}
        journal.close()
        return found

    def records(self) -> dict[RequestId, Metered]:
        journal = SqliteJournal(self.path)
        calls = [call.record for call in journal.calls(limit=100_000)]
        journal.close()
        assert len({each.request for each in calls}) == len(calls)
        return {each.request: each for each in calls}

    def late_closings(self) -> dict[str, int]:
        journal = SqliteJournal(self.path)
        told = journal.decisions(("late-closing", "duplicate-request"), limit=100_000)
        journal.close()
        return {each.subject: int(each.detail["tokens"] or 0) for each in told}
