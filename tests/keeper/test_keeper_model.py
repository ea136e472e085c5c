"""Do the promises hold for many gateways and one keeper, whatever dies, sleeps, is delayed or cut off, and when?"""

import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.keeper.world import LIMIT, USERS, DrivenLoop, Gateway, World, key_of, tokens

from upshift.model.budget import NOTHING
from upshift.model.metered import Outcome
from upshift.store.ledger import DuplicateRequestError
from upshift.store.verify import verify

T = TypeVar("T")

counts = st.integers(1, 60)
picks = st.integers(0, 9)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self.loop = DrivenLoop()
        self.world = World(self.loop)
        self.do(self.world.begin())

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        world = self.world
        self.do(world.rest())
        self.check_balances()
        assert world.office.ledger.open_requests() == ()
        assert not world.office.keeper.found
        for balance in world.on_disk().values():
            assert balance.held == NOTHING
        self.check_closings()
        self.check_room()
        self.do(world.end())
        self.loop.close()

    def gateway(self, pick: int) -> Gateway:
        return self.world.gateways[pick % len(self.world.gateways)]

    # Calls

    @rule(pick=picks, user=st.sampled_from(USERS), count=counts, patience=st.sampled_from((0.0, 0.0, 5.0, 60.0)))
    def ask(self, pick: int, user: str, count: int, patience: float) -> None:
        gateway = self.gateway(pick)
        if not gateway.paused:
            self.do(self.world.ask(gateway, user, count, patience))
            if count % 3:
                self.do(self.world.deliver())

    @rule(pick=picks, which=picks, share=st.integers(0, 100), released=st.booleans())
    def close(self, pick: int, which: int, share: int, released: bool) -> None:
        gateway = self.gateway(pick)
        calls = gateway.open()
        if calls and not gateway.paused:
            call = calls[which % len(calls)]
            assert call.ticket is not None
            self.do(self.world.close(gateway, call, None if released else call.ticket.held.tokens * share // 100))

    @rule(pick=picks, which=picks, count=st.integers(1, 30))
    def grow(self, pick: int, which: int, count: int) -> None:
        gateway = self.gateway(pick)
        calls = [call for call in gateway.open() if call.growing is None or call.growing.done()]
        if calls and not gateway.paused:
            self.do(self.world.grow(gateway, calls[which % len(calls)], count))

    @rule(pick=picks, which=picks)
    def leave(self, pick: int, which: int) -> None:
        gateway = self.gateway(pick)
        calls = gateway.asking()
        if calls and not gateway.paused:
            calls[which % len(calls)].task.cancel()
            self.do(self.world.settle_down())

    # Several things at once, which chance alone would seldom bring together

    @initialize(lot=st.lists(st.tuples(picks, st.sampled_from(USERS), st.integers(1, 40)), max_size=5))
    def begin_busy(self, lot: list[tuple[int, str, int]]) -> None:
        for pick, user, count in lot:
            self.do(self.world.ask(self.gateway(pick), user, count, 0.0))
        self.do(self.world.deliver())

    @precondition(lambda self: not self.world.office.dead)
    @rule(pick=picks, user=st.sampled_from(USERS), count=counts, heard=st.booleans(), back=st.booleans())
    def let_in_and_crash(self, pick: int, user: str, count: int, heard: bool, back: bool) -> None:
        """The hold has not reached the disk, and its gateway may not have heard of it."""
        gateway = self.gateway(pick)
        if gateway.connection is not None and not gateway.paused:
            self.do(self.world.ask_and_crash(gateway, user, count, heard=heard))
            if back:
                self.do(self.world.open_office())

    @precondition(lambda self: not self.world.office.dead)
    @rule(pick=picks, which=picks, share=st.integers(0, 100))
    def close_and_crash(self, pick: int, which: int, share: int) -> None:
        """The closing may or may not have reached the disk, and its gateway has not heard of it."""
        self.close(pick, which, share, released=False)
        connection = self.gateway(pick).connection
        if connection is not None:
            self.do(self.world.deliver_some(connection, 9, 0))
        self.do(self.world.crash_office(flushed=share % 2 == 0))
        self.do(self.world.open_office())

    @precondition(lambda self: not self.world.office.dead)
    @rule(pick=picks, which=picks, count=st.integers(1, 30))
    def grow_and_crash(self, pick: int, which: int, count: int) -> None:
        """A stream has been told that it may go on, and nothing of that is on disk."""
        gateway = self.gateway(pick)
        connection = gateway.connection
        calls = [call for call in gateway.open() if call.growing is None or call.growing.done()]
        if calls and connection is not None and not gateway.paused and not self.world.office.keeper.recovering:
            self.do(self.world.grow_and_crash(gateway, calls[which % len(calls)], count))
            self.do(self.world.open_office())

    @rule(pick=picks, user=st.sampled_from(USERS), count=counts, delivered=st.booleans())
    def ask_and_leave(self, pick: int, user: str, count: int, delivered: bool) -> None:
        """A client gives up while its call waits, or before the keeper has heard of it."""
        gateway = self.gateway(pick)
        if not gateway.paused:
            self.do(self.world.ask(gateway, user, count, 60.0))
            if delivered and gateway.connection is not None:
                self.do(self.world.deliver_some(gateway.connection, 9, 0))
            self.leave(pick, -1)

    @rule(pick=picks, seconds=st.sampled_from((2.0, 4.0, 8.0)), moment=st.integers(0, 3))
    def sleep(self, pick: int, seconds: float, moment: int) -> None:
        """A gateway sleeps for some time; the keeper may die meanwhile, or somebody else take its place."""
        gateway = self.gateway(pick)
        if moment == 3 and not gateway.paused and gateway.connection is not None:
            # It falls asleep with an answer that it has not read.
            self.do(self.world.ask(gateway, USERS[pick % 2], 10 + pick, 0.0))
            self.do(self.world.deliver_some(gateway.connection, 9, 0))
        gateway.paused = True
        if moment == 1 and not self.world.office.dead:
            self.do(self.world.crash_office(flushed=False))
            self.do(self.world.open_office())
        before = self.world.office
        if moment == 2:
            before.awake = False
        self.do(self.world.advance(seconds))
        if moment == 2 and self.world.loop.seconds >= before.keeper.until:
            self.do(self.world.take_over())
            # The first one wakes, and believes that it still is the keeper.
            before.awake = True
        gateway.paused = False
        if moment == 3:
            self.do(self.world.deliver())
        self.do(self.world.advance(0.25))

    # The network

    @rule()
    def deliver(self) -> None:
        self.do(self.world.deliver())

    @rule(pick=picks, up=st.integers(0, 3), down=st.integers(0, 3))
    def deliver_some(self, pick: int, up: int, down: int) -> None:
        connection = self.gateway(pick).connection
        if connection is not None:
            self.do(self.world.deliver_some(connection, up, down))

    @rule(pick=picks)
    def slow_down(self, pick: int) -> None:
        connection = self.gateway(pick).connection
        if connection is not None:
            connection.slow = not connection.slow

    @rule(pick=picks)
    def cut(self, pick: int) -> None:
        connection = self.gateway(pick).connection
        if connection is not None:
            connection.drop()
            self.do(self.world.settle_down())

    @rule(pick=picks)
    def connect(self, pick: int) -> None:
        gateway = self.gateway(pick)
        if not gateway.paused:
            self.do(self.world.connect(gateway))

    # Processes

    @rule(pick=picks)
    def pause(self, pick: int) -> None:
        self.gateway(pick).paused = not self.gateway(pick).paused

    @rule(pick=picks)
    def kill(self, pick: int) -> None:
        self.do(self.world.kill_gateway(self.gateway(pick)))
        self.do(self.world.add_gateway())

    @precondition(lambda self: not self.world.office.dead)
    @rule(flushed=st.booleans())
    def crash_the_keeper(self, flushed: bool) -> None:
        self.do(self.world.crash_office(flushed=flushed))

    @precondition(lambda self: self.world.office.dead)
    @rule()
    def restart_the_keeper(self) -> None:
        self.do(self.world.open_office())

    @precondition(lambda self: not self.world.office.dead)
    @rule()
    def pause_the_keeper(self) -> None:
        self.world.office.awake = not self.world.office.awake

    @precondition(lambda self: self.world.loop.seconds >= self.world.office.keeper.until)
    @rule()
    def take_over(self) -> None:
        self.do(self.world.take_over())

    @rule(seconds=st.sampled_from((0.25, 0.25, 1.0, 1.0, 4.0)))
    def advance(self, seconds: float) -> None:
        self.do(self.world.advance(seconds))

    # What has to be true

    @invariant()
    def check_balances(self) -> None:
        world = self.world
        late = world.adopted_late + (0 if world.office.dead else world.office.keeper.adopted_late.tokens)
        for balance in world.on_disk().values():
            assert balance.held.tokens >= 0
            assert balance.settled.tokens + balance.held.tokens <= LIMIT + late
        if not world.office.dead:
            for user in USERS:
                balance = world.office.ledger.balance(key_of(user))
                assert balance.held.tokens >= 0
                assert balance.settled.tokens + balance.held.tokens <= LIMIT + late

    def check_closings(self) -> None:
        """Every call that was sent is closed once, as its gateway said; or lost, and then what it said is told."""
        world = self.world
        found = verify(world.path)
        assert found.ok, found.problems
        assert found.open_holds == 0
        records, told = world.records(), world.late_closings()
        alive = {request for gateway in world.gateways for request in gateway.calls}
        for request, call in world.used.items():
            if request not in alive:
                continue
            assert call.on_disk is not None
            assert call.on_disk.done()
            assert not isinstance(call.on_disk.exception(), DuplicateRequestError)
            record = records[request]
            if record.outcome is not Outcome.LOST:
                assert record.counted_tokens == call.closed
            elif call.closed:
                assert told[request] == call.closed

    def check_room(self) -> None:
        """What is left can be had to the last token."""
        world = self.world
        gateway = world.gateways[0]
        for user in USERS:
            balance = world.office.ledger.balance(key_of(user))
            left = LIMIT - balance.settled.tokens
            if left > 0:
                self.do(world.ask(gateway, user, left, 0.0))
                self.do(world.deliver())
                (call,) = gateway.open()
                assert call.ticket is not None
                assert call.ticket.held == tokens(left)
                self.do(world.close(gateway, call, None))
                self.do(world.deliver())


TestKeeper = Machine.TestCase
TestKeeper.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
