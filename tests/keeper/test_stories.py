"""What becomes of one call when one thing goes wrong, at the worst moment for it?"""

import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import pytest
import structlog
from tests.keeper.world import LIMIT, RESUME, SEAT, Call, DrivenLoop, Gateway, World, key_of, tokens

from upshift.model.budget import Balance
from upshift.model.metered import Outcome
from upshift.store.ledger import LedgerUnavailableError

Tell: TypeAlias = Callable[[Callable[[World, Gateway], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def tell() -> Iterator[Tell]:
    """Runs a story in a world of its own, in which one gateway has found the keeper."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    loop = DrivenLoop()
    world = World(loop)

    def told(story: Callable[[World, Gateway], Coroutine[Any, Any, None]]) -> None:
        loop.run_until_complete(world.begin())
        loop.run_until_complete(story(world, world.gateways[0]))

    yield told
    loop.run_until_complete(world.end())
    loop.close()
    structlog.reset_defaults()


async def let_in(world: World, gateway: Gateway, count: int) -> Call:
    await world.ask(gateway, "alice", count, 0.0)
    await world.deliver()
    (call,) = gateway.open()
    return call


def balance(world: World) -> Balance:
    return world.office.ledger.balance(key_of("alice"))


def test_an_acknowledgement_that_got_lost_comes_again(tell: Tell) -> None:
    async def story(world: World, gateway: Gateway) -> None:
        call = await let_in(world, gateway, 60)
        assert gateway.connection is not None
        gateway.connection.slow = True
        await world.close(gateway, call, 40)
        await world.deliver_some(gateway.connection, 9, 0)
        await world.flush()
        gateway.connection.drop()
        await world.connect(gateway)
        await world.deliver()
        assert call.on_disk is not None
        assert call.on_disk.done()
        assert balance(world) == Balance(settled=tokens(40))

    tell(story)


def test_an_extension_that_was_not_written_is_held_by_the_next_keeper(tell: Tell) -> None:
    async def story(world: World, gateway: Gateway) -> None:
        call = await let_in(world, gateway, 50)
        await world.flush()
        await world.grow_and_crash(gateway, call, 30)
        assert call.ticket is not None
        assert call.ticket.held.tokens == 80
        await world.open_office()
        await world.advance(RESUME + 1)
        assert balance(world) == Balance(held=call.ticket.held)
        assert world.office.keeper.adopted_late == tokens(0)

    tell(story)


def test_a_hold_that_nobody_heard_of_is_handed_over_and_not_made_twice(tell: Tell) -> None:
    async def story(world: World, gateway: Gateway) -> None:
        await world.ask(gateway, "alice", 60, 0.0)
        assert gateway.connection is not None
        await world.deliver_some(gateway.connection, 9, 0)
        await world.crash_office(flushed=True)
        await world.open_office()
        await world.advance(RESUME + 1)
        (call,) = gateway.open()
        assert call.ticket is not None
        assert call.ticket.held == tokens(60)
        assert balance(world) == Balance(held=tokens(60))

    tell(story)


def test_a_call_that_two_keepers_ago_counted_as_lost_is_not_let_in_again(tell: Tell) -> None:
    async def story(world: World, gateway: Gateway) -> None:
        await world.ask(gateway, "alice", 60, 0.0)
        assert gateway.connection is not None
        await world.deliver_some(gateway.connection, 9, 0)
        await world.flush()
        gateway.paused = True
        for _ in range(2):
            await world.crash_office(flushed=True)
            await world.open_office()
            await world.advance(RESUME + 1)
        gateway.paused = False
        await world.advance(1.0)
        (call,) = gateway.calls.values()
        assert isinstance(call.task.exception(), LedgerUnavailableError)
        assert balance(world) == Balance(settled=tokens(60))

    tell(story)


def test_a_keeper_that_slept_through_its_seat_says_nothing_when_it_wakes(tell: Tell) -> None:
    async def story(world: World, gateway: Gateway) -> None:
        office, connection = world.office, gateway.connection
        assert connection is not None
        office.awake = False
        await world.ask(gateway, "alice", 60, 0.0)
        world.loop.seconds += SEAT + 0.5
        office.awake = True
        await world.deliver_some(connection, 9, 9)
        assert connection.hung_up
        assert not gateway.open()
        assert office.ledger.balance(key_of("alice")) == Balance()

    tell(story)


def test_a_closing_that_comes_too_late_is_told_once_whoever_dies_meanwhile(tell: Tell) -> None:
    async def story(world: World, gateway: Gateway) -> None:
        call = await let_in(world, gateway, 60)
        await world.close(gateway, call, 40)
        gateway.paused = True
        await world.crash_office(flushed=True)
        await world.open_office()
        await world.advance(2 * RESUME)
        assert balance(world) == Balance(settled=tokens(60))
        await world.flush()
        gateway.paused = False
        await world.advance(0.5)
        await world.crash_office(flushed=False)
        await world.open_office()
        await world.advance(RESUME + 1)
        await world.flush()
        await world.deliver()
        assert call.on_disk is not None
        assert call.on_disk.done()
        assert call.ticket is not None
        assert world.records()[call.ticket.request].outcome is Outcome.LOST
        assert world.late_closings() == {call.ticket.request: 40}
        assert balance(world) == Balance(settled=tokens(60))

    tell(story)


def test_nobody_overtakes_at_another_gateway(tell: Tell) -> None:
    async def story(world: World, gateway: Gateway) -> None:
        other = world.gateways[1]
        first = await let_in(world, gateway, LIMIT)
        await world.ask(gateway, "alice", LIMIT, 60.0)
        await world.deliver()
        await world.ask(other, "alice", 1, 60.0)
        await world.deliver()
        await world.close(gateway, first, None)
        await world.deliver()
        (large,) = gateway.open()
        assert not other.open()
        await world.close(gateway, large, 1)
        await world.deliver()
        assert other.open()

    tell(story)
