"""Do gateways go on while the database is away, and who may be the keeper after that?"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conformance.ledger import ALICE, NOW, PLAN, at, ceiling, let_in, record, settled, tokens
from tests.postgres import Server
from tests.store.postgres_place import PostgresPlace

from upshift.app import keeper_of
from upshift.keeper.candidate import Candidate
from upshift.keeper.clock import elapsed
from upshift.keeper.line import reach
from upshift.model.entry import Hold, Settle
from upshift.model.ids import RequestId
from upshift.model.metered import Outcome
from upshift.store import keeper_seat
from upshift.store.away_log import AwayLog, Sat
from upshift.store.ledger import Deny
from upshift.store.place import PostgresUrl

LIMIT = 60.0
AWAY = RequestId("away")


@pytest.fixture
def place(postgres: Server) -> Iterator[PostgresPlace]:
    place = PostgresPlace(postgres)
    yield place
    place.leave()


class Ahead:
    """What a keeper takes for the time that has passed: `seconds` more than has."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return elapsed() + self.seconds


@asynccontextmanager
async def candidate(
    place: PostgresPlace, path: Path, away_seconds: float = 600.0, clock: Callable[[], float] = elapsed
) -> AsyncIterator[AwayLog]:
    """Told to stop in the end."""
    log = AwayLog(path)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        made = Candidate(place.url, sock, at, log, away_seconds, clock)
        running = asyncio.create_task(made.run())
        try:
            yield log
        finally:
            made.stop()
            await running
            log.close()


async def until(true: Callable[[], object]) -> None:
    """Wait for something that others do in their own time."""
    async with asyncio.timeout(LIMIT):
        while not true():  # noqa: ASYNC110 - asked for again and again, as a health check does
            await asyncio.sleep(0.01)


async def test_who_has_the_log_is_the_keeper_next(place: PostgresPlace, tmp_path: Path) -> None:
    path = tmp_path / "upshift.away"
    try:
        async with candidate(place, path):
            gateway = await reach(keeper_of(PostgresUrl(place.url, place.url)))
            await until(lambda: gateway.healthy)
            before = await let_in(gateway, "before", ceiling(tokens(5), 12, ALICE), 20.0)
            await gateway.durable(before.mark)
            await asyncio.to_thread(place.server.stop)
            await settled(gateway, before, tokens(4))
            ticket = await let_in(gateway, "away", ceiling(tokens(5), 12, ALICE), 20.0)
            await settled(gateway, ticket, tokens(5))
            rule = ceiling(tokens(5), 12, ALICE)
            assert isinstance(await gateway.decide(RequestId("more"), PLAN, at, rule, 0.0), Deny)
            await until(lambda: gateway.away)
            assert gateway.hang_up is not None
            gateway.hang_up()
    finally:
        await asyncio.to_thread(place.server.start)
    # Nobody without the log may be the keeper before the seat's time is over: much was decided in it.
    assert keeper_seat.take(place.url, "elsewhere:1", "other", 3.0) is None
    async with candidate(place, path):
        await until(lambda: len(place.records()) == 2)
    assert place.counted() == {"before": 4, "away": 5}
    assert {each.outcome for each in place.records().values()} == {Outcome.SERVED}


async def test_it_goes_on_until_the_time_is_over_and_not_longer(place: PostgresPlace, tmp_path: Path) -> None:
    path, clock, rule = tmp_path / "upshift.away", Ahead(), ceiling(tokens(5), 100, ALICE)
    try:
        async with candidate(place, path, 6_000.0, clock):
            gateway = await reach(keeper_of(PostgresUrl(place.url, place.url)))
            await until(lambda: gateway.healthy)
            await asyncio.to_thread(place.server.stop)
            for passed in (0.0, 5_000.0):
                clock.seconds = passed
                ticket = await let_in(gateway, f"after {passed:g}", rule, LIMIT)
                await settled(gateway, ticket, tokens(4))
            clock.seconds = 6_001.0
            asking = asyncio.ensure_future(gateway.decide(RequestId("too late"), PLAN, at, rule, LIMIT))
            await until(lambda: not gateway.healthy)
            assert not asking.done()
            asking.cancel()
            assert gateway.hang_up is not None
            gateway.hang_up()
    finally:
        await asyncio.to_thread(place.server.start)
    async with candidate(place, path):
        await until(lambda: len(place.records()) == 2)
    assert place.counted() == {"after 0": 4, "after 5000": 4}


async def test_who_has_a_log_to_tell_gets_the_seat_from_whoever_has_it(place: PostgresPlace, tmp_path: Path) -> None:
    log = AwayLog(tmp_path / "one")
    log.sit(Sat(1, "long gone"))
    spent = Settle(AWAY, NOW, (ALICE,), tokens(5), tokens(5), record("away", tokens(5)))
    log.append([Hold(AWAY, NOW, PLAN, (ALICE,), tokens(5), record("away")), spent])
    log.close()
    async with candidate(place, tmp_path / "other"):
        await until(lambda: keeper_seat.who(place.url))
        async with candidate(place, tmp_path / "one") as one:
            await until(place.records)
            await until(lambda: not one.entries)
    assert place.counted() == {"away": 5}
