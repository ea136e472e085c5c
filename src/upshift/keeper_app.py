"""Where are the parts of the keeper's process joined? Settings -> ledger -> keeper -> socket."""

import asyncio
import contextlib
import importlib
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import structlog

from upshift.gateway.clock import SystemClock
from upshift.gateway.live import Books, Pulse, live, serve_live
from upshift.gateway.orphan import watch_parent
from upshift.keeper.address import Address
from upshift.keeper.clock import elapsed
from upshift.keeper.keeper import RESUME_SECONDS, Keeper
from upshift.keeper.server import serve_keeper
from upshift.settings import Settings
from upshift.store.away_log import AwayLog
from upshift.store.place import PostgresUrl
from upshift.store.sqlite_ledger import SqliteLedger

log = structlog.get_logger()

_LAST_WORDS_SECONDS = 60.0
"""How long a keeper whose parent has died waits for its gateways to end."""


async def run_keeper(
    settings: Settings, parent: int, where: str = "", secret: str = "", told_in: Path | None = None
) -> None:
    """Keep the ledger until SIGTERM, or until whoever has the other end of the descriptor `parent` is gone.

    A file is kept for the gateways of one machine, at the address `where` for those who know `secret`. For a database
    server this process is a candidate among others, and says itself where it is. `told_in` is the folder in which it
    says how it is doing. Raises OSError when the address cannot be had, LedgerInUseError, StoreVersionError
    and StoreTroubleError.
    """
    stop, orphaned = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    watch_parent(parent, orphaned)
    if isinstance(settings.db, PostgresUrl):
        await _compete(settings, settings.db, stop, orphaned, told_in)
    else:
        await _keep_file(settings.db, Address(where, secret), settings.workers, stop, orphaned, told_in)


@contextlib.asynccontextmanager
async def _telling(folder: Path | None, books: Callable[[], Books | None]) -> AsyncIterator[None]:
    """Meanwhile say in a folder, if there is one, how this process and what it keeps are doing."""
    if folder is None:
        yield
        return
    pulse, began = Pulse(books), SystemClock().now()
    try:
        port = await serve_live(folder, lambda: live("keeper", began, pulse))
    except OSError as error:
        log.warning("keeper.not_told_of", problem=str(error), note="the metrics say nothing of this process")
        port = None
    try:
        yield
    finally:
        pulse.stop()
        if port is not None:
            port.close()


async def _keep_file(
    path: Path, address: Address, gateways: int, stop: asyncio.Event, orphaned: asyncio.Event, told_in: Path | None
) -> None:
    now = SystemClock().now
    ledger = await SqliteLedger.open(path, now(), keep_open=True)
    try:
        keeper = Keeper(ledger, now, elapsed, RESUME_SECONDS, gateways)
        server = await serve_keeper(keeper, address)
        try:
            async with _telling(told_in, lambda: ledger):
                await _first(stop, orphaned)
            # Gateways that end as this one's parent did still have to close their books here.
            until = elapsed() + _LAST_WORDS_SECONDS
            while not stop.is_set() and keeper.gateways and elapsed() < until:  # noqa: ASYNC110 - seldom, and once
                await asyncio.sleep(0.1)
        finally:
            server.close()
            if not keeper.recovering:
                keeper.finish()
    finally:
        await ledger.close()


def _away_log(settings: Settings, *, wanted: bool) -> AwayLog | None:
    """The log of times without the database; what an earlier run left in it has to be told, whatever is wanted now."""
    path = Path(settings.away_log)
    if not wanted and not path.exists():
        return None
    found = AwayLog(path)
    if found.torn:
        log.warning("keeper.torn_log", log=str(path), bytes=found.torn, kept=f"{path}.torn")
    if found.entries:
        log.warning("keeper.log_to_tell", log=str(path), entries=len(found.entries))
    return found


async def _compete(
    settings: Settings, db: PostgresUrl, stop: asyncio.Event, orphaned: asyncio.Event, told_in: Path | None
) -> None:
    serve_on = settings.on_store_trouble == "serve-on"
    away_log = _away_log(settings, wanted=serve_on)
    try:
        await _compete_with(settings, db, away_log, stop, orphaned, told_in)
    finally:
        if away_log is not None:
            away_log.close()


async def _compete_with(
    settings: Settings,
    db: PostgresUrl,
    away_log: AwayLog | None,
    stop: asyncio.Event,
    orphaned: asyncio.Event,
    told_in: Path | None,
) -> None:
    serve_on = settings.on_store_trouble == "serve-on"
    host = settings.keeper_host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, settings.keeper_port))
        # By name: the database's driver takes a fifth of a second to import, which gateways of a file need not pay for.
        candidate = importlib.import_module("upshift.keeper.candidate").Candidate(
            db.url, sock, SystemClock().now, away_log, settings.away_seconds if serve_on else 0.0
        )
        running = asyncio.create_task(candidate.run())
        waiting = asyncio.create_task(_first(stop, orphaned))
        async with _telling(told_in, lambda: candidate.ledger):
            await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        candidate.stop()
        await running
        waiting.cancel()


async def _first(*events: asyncio.Event) -> None:
    """Until one of them is set."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
