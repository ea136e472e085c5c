"""Is it known how the processes of a machine are doing, also of those that hang or were killed?"""

import asyncio
import os
import socket
from pathlib import Path

import msgspec

from upshift.engine.processes import Processes
from upshift.gateway.live import Pulse, live, serve_live
from upshift.model.ids import RequestId
from upshift.model.live import Live

LONG = 60.0
NOW = 1_795_255_200_000_000


def said(process: str, pid: int, tasks: int = 1) -> Live:
    return Live(
        process=process, pid=pid, started=0, memory_bytes=None, open_fds=None, tasks=tasks, lag_seconds=0.0
    )  # fmt: skip


async def test_everybody_who_listens_is_heard(tmp_path: Path) -> None:
    ports = [await serve_live(tmp_path, lambda each=each: said(*each)) for each in (("keeper", 7), ("gateway", 8))]  # type: ignore[misc]
    seen = await Processes(tmp_path, lambda: said("admin", 9), LONG).look()
    assert [(each.process, each.pid) for each in seen.processes] == [("admin", 9), ("gateway", 8), ("keeper", 7)]
    assert seen.silent == ()
    for port in ports:
        port.close()
    assert os.listdir(tmp_path) == []


async def test_whoever_was_killed_is_forgotten_and_whoever_hangs_is_not(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "gateway-1"))
    seen = await Processes(tmp_path, lambda: said("admin", 9), LONG).look()
    assert (seen.silent, os.listdir(tmp_path)) == ((), [])
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "gateway-2"))
        hanging.listen()
        seen = await Processes(tmp_path, lambda: said("admin", 9), 0.05).look()
    assert [each.pid for each in seen.processes] == [9]
    assert seen.silent == (("gateway", 2),)
    assert os.listdir(tmp_path) == ["gateway-2"]


async def test_nobody_is_asked_more_than_once_a_second(tmp_path: Path) -> None:
    asked, now = [0], [0.0]

    def look() -> Live:
        asked[0] += 1
        return said("gateway", 1, asked[0])

    port = await serve_live(tmp_path, look)
    asked[0] = 0
    processes = Processes(tmp_path, lambda: said("admin", 9), LONG, lambda: now[0])
    await asyncio.gather(*(processes.look() for _ in range(5)))
    assert asked[0] == 1
    now[0] = 1.0
    seen = await processes.look()
    assert (asked[0], seen.processes[1].tasks) == (2, 2)
    port.close()


async def test_a_process_knows_itself() -> None:
    pulse = Pulse()
    found = live("admin", 5, pulse)
    pulse.stop()
    assert (found.process, found.pid, found.started) == ("admin", os.getpid(), 5)
    assert found.tasks >= 1
    assert found.lag_seconds >= 0
    assert found.memory_bytes is None or found.memory_bytes > 1_000_000
    assert found.open_fds is None or found.open_fds > 2
    assert msgspec.json.decode(msgspec.json.encode(found), type=Live) == found


class Away:
    """A ledger whose database comes and goes."""

    healthy = True
    mark = unwritten = owed = 0
    away = ""

    def open_requests(self) -> tuple[RequestId, ...]:
        return ()


async def test_since_when_the_database_is_away_and_when_it_was_told() -> None:
    ledger, now = Away(), [NOW]
    pulse = Pulse(lambda: ledger, lambda: now[0])
    pulse.stop()

    def seen() -> tuple[bool, int | None, int, int | None]:
        books = pulse.books()
        assert books is not None
        return books.away, books.away_since, books.owed, books.told

    assert seen() == (False, None, 0, None)
    ledger.away, ledger.owed = "the server is gone", 3
    assert seen() == (True, NOW, 3, None)
    now[0] += 5
    ledger.owed = 8
    assert seen() == (True, NOW, 8, None)
    ledger.away = ""
    assert seen() == (False, None, 8, None)
    now[0] += 5
    ledger.owed = 0
    assert seen() == (False, None, 0, NOW + 10)
    now[0] += 5
    assert seen() == (False, None, 0, NOW + 10)
    # A time without the database in which nothing was let in owes nothing.
    ledger.away = "again"
    assert seen() == (True, NOW + 15, 0, NOW + 10)
