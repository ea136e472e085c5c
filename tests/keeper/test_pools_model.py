"""Do capacity pools hold over all gateways, whatever dies, sleeps, is delayed or cut off, and is no place ever lost?"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.keeper.world import RESUME, STEP, USERS, DrivenLoop, Gateway, World

from upshift.keeper.session import Session
from upshift.model.ids import RequestId, TenantId, UserId, WorkloadId
from upshift.model.pool import Limits, Place, Pool, Shortage
from upshift.store.ledger import LedgerUnavailableError

T = TypeVar("T")

MOST = 3
LIMITS = Limits(MOST)
POOL = Pool(id="p", total=LIMITS, common=LIMITS, queue=4, wait_seconds=5.0)
LEASE = RESUME * 0.75

picks = st.integers(0, 9)


class Machine(RuleBasedStateMachine):
    """The keepers, gateways and network of the ledger's own model; only pools are used."""

    def __init__(self) -> None:
        super().__init__()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self.loop = DrivenLoop()
        self.world = World(self.loop)
        self.asked: dict[Gateway, dict[RequestId, asyncio.Future[Shortage | None]]] = {}
        self.late: set[RequestId] = set()
        """Sent, and not counted by the keeper for some time since: the bound."""
        self.heard: dict[bytes, float] = {}
        """When the keeper last heard of each gateway, by its name."""
        self.number = 0
        self.do(self.world.begin())
        self.meet()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def meet(self) -> None:
        for gateway in self.world.gateways:
            if gateway not in self.asked:
                self.asked[gateway] = {}
                gateway.ledger.pools.know([POOL])

    def gateway(self, pick: int) -> Gateway:
        return self.world.gateways[pick % len(self.world.gateways)]

    def sent(self, gateway: Gateway) -> list[RequestId]:
        """Its calls that have a place, and may be upstream."""
        return [
            request
            for request, future in self.asked[gateway].items()
            if future.done() and future.exception() is None and future.result() is None
        ]

    def waiting(self, gateway: Gateway) -> list[RequestId]:
        return [request for request, future in self.asked[gateway].items() if not future.done()]

    def session(self, gateway: Gateway) -> Session | None:
        return self.world.office.keeper._sessions.get(gateway.ledger.who)

    def teardown(self) -> None:
        world = self.world
        self.do(world.rest())
        for _ in range(40):
            self.leave_what_failed()
            for gateway in world.gateways:
                for request in self.sent(gateway):
                    self.go(gateway, request, 1)
            self.do(world.advance(1.0))
        assert not any(self.waiting(gateway) for gateway in world.gateways)
        (use,) = world.office.keeper.pools.uses()
        assert (use.in_use, use.waiting) == (0, 0), "a place was lost"
        for _ in range(MOST):
            self.enter_now(world.gateways[0])
        assert len(self.sent(world.gateways[0])) == MOST
        self.do(world.end())
        self.loop.close()

    # Calls

    def ask(self, gateway: Gateway, user: str) -> RequestId:
        self.number += 1
        request = RequestId(f"r{self.number}")
        place = Place(request, WorkloadId("chat"), TenantId("acme"), UserId(user), 10)
        self.asked[gateway][request] = gateway.ledger.pools.enter(POOL, place)
        return request

    def go(self, gateway: Gateway, request: RequestId, used: int | None) -> None:
        del self.asked[gateway][request]
        self.late.discard(request)
        gateway.ledger.pools.leave(POOL, request, used)

    def leave_what_failed(self) -> None:
        """A call that was given up leaves, as every call does at its end."""
        for gateway in self.world.gateways:
            if not gateway.paused:
                for request, future in tuple(self.asked[gateway].items()):
                    if future.done() and future.exception() is not None:
                        assert isinstance(future.exception(), LedgerUnavailableError)
                        self.go(gateway, request, None)

    def enter_now(self, gateway: Gateway) -> None:
        self.ask(gateway, USERS[0])
        self.do(self.world.settle_down())
        self.do(self.world.deliver())

    @rule(pick=picks, user=st.sampled_from(USERS), delivered=st.booleans())
    def enter(self, pick: int, user: str, delivered: bool) -> None:
        gateway = self.gateway(pick)
        if not gateway.paused:
            self.ask(gateway, user)
            self.do(self.world.settle_down())
            if delivered:
                self.do(self.world.deliver())

    @rule(lot=st.lists(picks, min_size=2, max_size=6))
    def enter_many(self, lot: list[int]) -> None:
        for pick in lot:
            if not self.gateway(pick).paused:
                self.ask(self.gateway(pick), USERS[pick % 2])
        self.do(self.world.settle_down())
        self.do(self.world.deliver())

    @rule(pick=picks, which=picks, heard=st.booleans())
    def leave(self, pick: int, which: int, heard: bool) -> None:
        """A call ends, or gives up waiting; the keeper may not hear of it before the connection breaks."""
        gateway = self.gateway(pick)
        if (calls := self.sent(gateway) + self.waiting(gateway)) and not gateway.paused:
            request = calls[which % len(calls)]
            self.go(gateway, request, 1)
            if not heard:
                self.cut(pick)
            self.do(self.world.settle_down())

    # Network, processes, time

    @rule()
    def deliver(self) -> None:
        self.do(self.world.deliver())

    @rule(pick=picks, up=st.integers(0, 4), down=st.integers(0, 3))
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
    def pause(self, pick: int) -> None:
        self.gateway(pick).paused = not self.gateway(pick).paused

    @rule(pick=picks, seconds=st.sampled_from((2.0, 4.0)))
    def sleep_on_an_answer(self, pick: int, seconds: float) -> None:
        """A gateway falls asleep with an answer that it has not read, and reads it when it wakes."""
        gateway = self.gateway(pick)
        if not gateway.paused and gateway.connection is not None:
            self.ask(gateway, USERS[pick % 2])
            self.do(self.world.settle_down())
            self.do(self.world.deliver_some(gateway.connection, 9, 0))
            gateway.paused = True
            self.advance(seconds)
            gateway.paused = False
            self.do(self.world.deliver())

    @rule(pick=picks)
    def kill(self, pick: int) -> None:
        gateway = self.gateway(pick)
        self.late -= set(self.asked.pop(gateway))
        self.do(self.world.kill_gateway(gateway))
        self.do(self.world.add_gateway())
        self.meet()

    @precondition(lambda self: not self.world.office.dead)
    @rule(back=st.booleans())
    def crash_the_keeper(self, back: bool) -> None:
        self.do(self.world.crash_office(flushed=False))
        if back:
            self.do(self.world.open_office())

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

    @rule(seconds=st.sampled_from((0.25, 0.25, 1.0, 4.0, 6.0)))
    def advance(self, seconds: float) -> None:
        for _ in range(int(seconds / STEP)):
            self.do(self.world.advance(STEP))
            self.never_more_than_there_are()
            self.the_dead_keep_no_place()

    # What has to be true

    @invariant()
    def never_more_than_there_are(self) -> None:
        world = self.world
        office = world.office
        self.leave_what_failed()
        if not office.dead and not office.keeper.recovering:
            for gateway in world.gateways:
                session = self.session(gateway)
                if session is not None:
                    self.heard[gateway.ledger.who] = session.heard_at
                counted = session.seats if session is not None else {}
                lost = {request for request in self.sent(gateway) if request not in counted} - self.late
                if lost:
                    # Only a gateway that was out of touch for its whole lease is given up.
                    assert self.out_of_touch(gateway) >= LEASE, lost
                    self.late |= lost
        total = sum(len(self.sent(gateway)) for gateway in world.gateways)
        assert total <= MOST + len(self.late)

    def out_of_touch(self, gateway: Gateway) -> float:
        """Seconds in which the keeper has not heard of it, or it not of the keeper."""
        met = gateway.met.out_of_touch if gateway.met is not None else 0.0
        last = min(gateway.heard_at, self.heard.get(gateway.ledger.who, gateway.heard_at))
        return max(self.loop.seconds - last, met)

    def the_dead_keep_no_place(self) -> None:
        """As far as the keeper has looked around since it woke."""
        office = self.world.office
        if office.dead or not office.awake or office.keeper.recovering:
            return
        for session in office.keeper._sessions.values():
            if session.seats:
                assert self.loop.seconds - session.heard_at <= RESUME + STEP


TestPools = Machine.TestCase
TestPools.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
