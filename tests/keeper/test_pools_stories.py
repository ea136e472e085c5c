"""What becomes of places in capacity pools when a connection breaks, a gateway dies, or the keeper does?"""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from tests.keeper.world import RESUME, DrivenLoop, Gateway, World

from upshift.model.ids import RequestId, TenantId, UserId, WorkloadId
from upshift.model.pool import Limits, Place, Pool, Rate, Scarce, Shortage

LIMITS = Limits(2)
POOL = Pool(id="p", total=LIMITS, common=LIMITS, queue=4, wait_seconds=10.0)

Answer = asyncio.Future[Shortage | None]


class Scene:
    """Two gateways and a keeper."""

    def __init__(self) -> None:
        self.loop = DrivenLoop()
        self.world = World(self.loop)
        self.do(self.world.begin())
        self.first, self.second = self.world.gateways
        for gateway in (self.first, self.second):
            gateway.ledger.pools.know([POOL])
        self.deliver()

    def do(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self.loop.run_until_complete(coroutine)

    def deliver(self) -> None:
        self.do(self.world.settle_down())
        self.do(self.world.deliver())

    def enter(self, gateway: Gateway, name: str, pool: Pool = POOL) -> Answer:
        place = Place(RequestId(name), WorkloadId("chat"), TenantId("acme"), UserId("alice"), 10)
        answer: Answer = gateway.ledger.pools.enter(pool, place)
        self.deliver()
        return answer

    def leave(self, gateway: Gateway, name: str) -> None:
        gateway.ledger.pools.leave(POOL, RequestId(name), 5)

    def uses(self) -> list[tuple[int, int, int]]:
        return [(use.in_use, use.waiting, use.refused) for use in self.world.office.keeper.pools.uses()]


@pytest.fixture
def scene() -> Iterator[Scene]:
    found = Scene()
    yield found
    found.do(found.world.end())
    found.loop.close()


def test_the_limit_is_that_of_all_gateways_and_the_queue_one(scene: Scene) -> None:
    taken = [scene.enter(scene.first, "a"), scene.enter(scene.second, "b")]
    assert [each.result() for each in taken] == [None, None]
    waiting = [scene.enter(scene.second, "c"), scene.enter(scene.first, "d")]
    scene.leave(scene.first, "a")
    scene.deliver()
    assert [each.done() for each in waiting] == [True, False]
    scene.do(scene.world.advance(11.0))
    told = waiting[1].result()
    assert told is not None
    assert (told.scarce, told.waited_seconds >= 10.0) == (Scarce.CONCURRENT, True)
    assert scene.uses() == [(2, 0, 1)]


def test_what_ended_while_the_connection_was_broken_is_free_after_it(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        scene.enter(scene.first, name)
    assert scene.uses() == [(2, 1, 0)]
    assert scene.first.connection is not None
    scene.first.connection.drop()
    scene.leave(scene.first, "a")
    scene.leave(scene.first, "c")
    scene.do(scene.world.advance(1.0))
    assert scene.uses() == [(1, 0, 0)]


def test_places_of_a_gateway_that_died_are_free_when_the_keeper_gives_it_up(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.enter(scene.first, name)
    waiting = scene.enter(scene.second, "c")
    scene.do(scene.world.kill_gateway(scene.first))
    scene.do(scene.world.advance(RESUME - 1.0))
    assert not waiting.done()
    scene.do(scene.world.advance(2.0))
    assert waiting.result() is None
    assert scene.uses() == [(1, 0, 0)]


def test_another_keeper_gives_no_place_out_twice(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.enter(scene.first, name)
    scene.do(scene.world.crash_office(flushed=True))
    waiting = scene.enter(scene.second, "c")
    scene.do(scene.world.open_office())
    scene.do(scene.world.advance(RESUME + 1.0))
    assert not waiting.done()
    assert scene.uses() == [(2, 1, 0)]
    scene.leave(scene.first, "b")
    scene.deliver()
    assert waiting.result() is None


def test_a_pool_that_has_left_the_plan_is_told_with_its_call(scene: Scene) -> None:
    old = Pool(id="old", total=Limits(1), common=Limits(1))
    assert scene.enter(scene.first, "a", old).result() is None
    told = scene.enter(scene.second, "b", old).result()
    assert told is not None
    assert told.limit == "1 calls at once"


def test_a_rate_lets_in_from_the_queue_by_itself(scene: Scene) -> None:
    slow = Pool(id="slow", total=Limits(), common=Limits(requests=Rate(1, 1_000_000, 1)), queue=4, wait_seconds=10.0)
    first, second = scene.enter(scene.first, "a", slow), scene.enter(scene.second, "b", slow)
    assert (first.result(), second.done()) == (None, False)
    scene.do(scene.world.advance(1.5))
    assert second.result() is None


def test_whoever_asks_is_told_how_full_they_are_over_all_gateways(scene: Scene) -> None:
    scene.enter(scene.first, "a")
    asking = scene.loop.create_task(scene.second.ledger.pools.uses())
    scene.deliver()
    assert [(use.id, use.in_use) for use in asking.result()] == [("p", 1)]
