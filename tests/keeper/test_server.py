"""Do gateways and keeper find, recognise and survive each other over real sockets?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from tests.conformance.ledger import ALICE, NOW, PLAN, at, ceiling, growth, let_in, record, settled, state, tokens
from tests.keeper.installation import LIMIT, SECRET, Installation, healthy

from upshift.keeper import proof
from upshift.keeper.address import Address
from upshift.keeper.line import reach
from upshift.keeper.messages import VERSION, Challenge, Frames, Hello, Ping, Welcome, frame, read_as_gateway
from upshift.keeper.remote import RemoteLedger
from upshift.model.budget import EMPTY, Balance
from upshift.model.ids import RequestId
from upshift.model.metered import Outcome
from upshift.store.ledger import Deny, LedgerUnavailableError, Ticket
from upshift.store.sqlite_journal import SqliteJournal


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.leave()


async def until_held(ledger: RemoteLedger, balance: Balance) -> None:
    """Wait for something that another process does in its own time."""
    async with asyncio.timeout(LIMIT):
        while True:
            # One that gives up soon may do so while it looks.
            with contextlib.suppress(LedgerUnavailableError):
                if await state(ledger, ALICE) == balance:
                    return
            await asyncio.sleep(0.001)


async def first_let_in(ledger: RemoteLedger) -> Ticket:
    """A call of a gateway that gives up soon, and may do so a few times."""
    async with asyncio.timeout(LIMIT):
        for number in count(1):
            with contextlib.suppress(LedgerUnavailableError):
                return await let_in(ledger, f"r1-{number}", ceiling(tokens(1), 100, ALICE))
    raise AssertionError


async def said(reader: asyncio.StreamReader) -> list[object]:
    length = int.from_bytes(await reader.readexactly(4), "big")
    return list(read_as_gateway(memoryview(await reader.readexactly(length))))


async def test_two_gateways_share_a_ceiling(installation: Installation) -> None:
    await installation.start()
    one, two = await installation.gateway(), await installation.gateway()
    ticket = await let_in(one, "r1", ceiling(tokens(60), 100, ALICE))
    assert isinstance(await two.decide(RequestId("r2"), PLAN, at, ceiling(tokens(60), 100, ALICE), 0.0), Deny)
    waiting = asyncio.create_task(let_in(two, "r3", ceiling(tokens(60), 100, ALICE), 30.0))
    await two.refresh((ALICE,))
    assert two.balance(ALICE) == Balance(held=tokens(60))
    await settled(one, ticket, tokens(40))
    await settled(two, await waiting, tokens(60))
    assert await state(one, ALICE) == Balance(settled=tokens(100))


async def test_calls_go_on_when_the_keeper_dies(installation: Installation) -> None:
    await installation.start()
    gateway = await installation.gateway()
    first = await let_in(gateway, "r1", ceiling(tokens(60), 100, ALICE))
    await gateway.durable(first.mark)
    assert await gateway.extend(first, growth(10, 100, ALICE), NOW) == tokens(10)
    waiting = asyncio.create_task(let_in(gateway, "r2", ceiling(tokens(60), 100, ALICE), 60.0))
    await gateway.refresh(())
    installation.crash()
    mark = gateway.settle(first, NOW, tokens(30), record("r1", tokens(30)))
    await installation.start(expected=1)
    async with asyncio.timeout(LIMIT):
        await gateway.durable(mark)
        await settled(gateway, await waiting, tokens(20))
    assert await state(gateway, ALICE) == Balance(settled=tokens(50))


async def test_a_gateway_that_dies_loses_its_calls_and_its_places(installation: Installation) -> None:
    seconds = [0.0]
    installation.clock = lambda: seconds[-1]
    await installation.start()
    one, two = await installation.gateway(), await installation.gateway()
    await let_in(one, "r1", ceiling(tokens(60), 100, ALICE))
    queued = asyncio.create_task(let_in(one, "r2", ceiling(tokens(100), 100, ALICE), 30.0))
    await one.refresh(())
    behind = asyncio.create_task(let_in(two, "r3", ceiling(tokens(40), 100, ALICE), 30.0))
    await two.refresh(())
    assert not behind.done()
    assert one.hang_up is not None
    one.hang_up()
    async with asyncio.timeout(LIMIT):
        while installation.keeper.gateways > 1:  # noqa: ASYNC110 - it is not told of its end
            await asyncio.sleep(0.001)
    for now in (20.0, 40.0, 60.0):
        seconds.append(now)
        await two.refresh(())
        installation.keeper.tick()
    assert not behind.done()
    seconds.append(61.0)
    installation.keeper.tick()
    async with asyncio.timeout(LIMIT):
        await settled(two, await behind, tokens(40))
    assert await state(two, ALICE) == Balance(settled=tokens(100))
    queued.cancel()
    journal = SqliteJournal(installation.path)
    outcomes = {call.record.request: call.record.outcome for call in journal.calls(limit=10)}
    (decision,) = journal.decisions(("recovery",))
    journal.close()
    assert outcomes[RequestId("r1")] is Outcome.LOST
    assert decision.detail["tokens"] == 60


async def test_a_goodbye_does_not_wait(installation: Installation) -> None:
    await installation.start(resume_seconds=60.0)
    one, two = await installation.gateway(), await installation.gateway()
    await let_in(one, "r1", ceiling(tokens(60), 100, ALICE))
    await one.close()
    await until_held(two, Balance(settled=tokens(60)))


async def test_nobody_is_let_in_without_the_secret(installation: Installation) -> None:
    await installation.start()

    async def find() -> Address | None:
        return Address(installation.address.where, "another secret")

    stranger = await reach(find, 0.5)
    installation.gateways.append(stranger)
    with pytest.raises(LedgerUnavailableError):
        await let_in(stranger, "r1", ceiling(tokens(1), 100, ALICE))
    assert installation.keeper.gateways == 0


async def test_a_gateway_does_not_believe_a_keeper_without_the_secret(installation: Installation) -> None:
    asked: list[bytes] = []

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame([Challenge(VERSION, proof.nonce())]))
        length = int.from_bytes(await reader.readexactly(4), "big")
        asked.append(await reader.readexactly(length))
        writer.write(frame([Welcome(proof.of_keeper("guessed", b"", b"", b""), 3.0)]))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(pretend, "127.0.0.1", 0) as server:
        installation.address = Address(f"tcp:127.0.0.1:{server.sockets[0].getsockname()[1]}", SECRET)
        gateway = await reach(installation.find, 0.5)
        with pytest.raises(LedgerUnavailableError):
            await let_in(gateway, "r1", ceiling(tokens(1), 100, ALICE))
        assert gateway.hang_up is not None
        gateway.hang_up()
    assert asked
    assert all(SECRET.encode() not in each for each in asked)
    await installation.start()


@pytest.mark.parametrize(
    "bytes_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\xc1",
        frame([Ping(0.0)]),
        frame([Hello(VERSION + 1, b"x", b"y", b"z")]),
        frame([Hello(VERSION, b"x", b"y", b"z")]),
    ],
)
async def test_whoever_does_not_greet_is_cut_off(installation: Installation, bytes_: bytes) -> None:
    await installation.start()
    reader, writer = await asyncio.open_connection(*installation.address.host_and_port)
    writer.write(bytes_)
    async with asyncio.timeout(LIMIT):
        assert isinstance((await said(reader))[0], Challenge)
        assert await reader.read() == b""
    writer.close()
    gateway = await installation.gateway()
    await settled(gateway, await let_in(gateway, "r1", ceiling(tokens(1), 100, ALICE)), tokens(1))


async def test_what_makes_no_sense_ends_the_connection_and_nothing_else(installation: Installation) -> None:
    await installation.start()
    gateway = await installation.gateway()
    ticket = await let_in(gateway, "r1", ceiling(tokens(1), 100, ALICE))
    # Its keeper has never heard of these claims: the connection is given up, and the next one begins anew.
    assert installation.server is not None
    (connection,) = installation.server.connections
    connection.data_received(b"\x00\x00\x00\x02\x91\x90")
    await settled(gateway, ticket, tokens(1))
    assert await state(gateway, ALICE) == Balance(settled=tokens(1))


async def test_a_unix_socket_is_for_its_owner_only(installation: Installation, tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text("left by a keeper that died")
    installation.address = Address(f"unix:{path}", "")
    await installation.start()
    assert path.stat().st_mode & 0o777 == 0o600
    gateway = await installation.gateway()
    assert await state(gateway, ALICE) == EMPTY
    await installation.stop()
    assert not path.exists()


async def test_nobody_waits_for_a_keeper_for_ever(installation: Installation) -> None:
    # It looks at the clock several times in the time that the keeper told it.
    await installation.start(resume_seconds=3.0)
    gateway = await installation.gateway(give_up_seconds=0.3)
    ticket = await first_let_in(gateway)
    installation.crash()
    with pytest.raises(LedgerUnavailableError):
        await settled(gateway, ticket, tokens(1))
    with pytest.raises(LedgerUnavailableError):
        await let_in(gateway, "r2", ceiling(tokens(1), 100, ALICE))
    with pytest.raises(LedgerUnavailableError):
        await gateway.refresh((ALICE,))
    assert not gateway.healthy
    # What was told is told again: its record is not lost.
    await installation.start(expected=1)
    await healthy(gateway)
    await until_held(gateway, Balance(settled=tokens(1)))


def test_frames_cut_anywhere_are_the_same() -> None:
    whole = frame([Ping(1.0)]) + frame([Ping(2.0), Ping(3.0)])
    expected = [bytes(body) for body in Frames().feed(whole)]
    for cut in range(len(whole) + 1):
        frames = Frames()
        got = [bytes(body) for part in (whole[:cut], whole[cut:]) for body in frames.feed(part)]
        assert got == expected
