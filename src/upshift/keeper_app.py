"""Where are the parts of the keeper's process joined? Settings -> ledger -> keeper -> socket."""

import asyncio
import importlib
import signal
import socket
from pathlib import Path

import structlog

from upshift.gateway.clock import SystemClock
from upshift.gateway.orphan import watch_parent
from upshift.keeper.address import Address
from upshift.keeper.clock import elapsed
from upshift.keeper.keeper import RESUME_SECONDS, Keeper
from upshift.keeper.server import serve_keeper
from upshift.settings import Settings
from upshift.store.place import PostgresUrl
from upshift.store.sqlite_ledger import SqliteLedger

log = structlog.get_logger()

_LAST_WORDS_SECONDS = 60.0
"""How long a keeper whose parent has died waits for its gateways to end."""


async def run_keeper(settings: Settings, parent: int, where: str = "", secret: str = "") -> None:
    """Keep the ledger until SIGTERM, or until whoever has the other end of the descriptor `parent` is gone.

    A file is kept for the gateways of one machine, at the address `where` for those who know `secret`. For a database
    server this process is a candidate among others, and says itself where it is. Raises OSError when the address
    cannot be had, LedgerInUseError, StoreVersionError and StoreTroubleError.
    """
    stop, orphaned = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    watch_parent(parent, orphaned)
    if isinstance(settings.db, PostgresUrl):
        await _compete(settings, settings.db, stop, orphaned)
    else:
        await _keep_file(settings.db, Address(where, secret), settings.workers, stop, orphaned)


async def _keep_file(path: Path, address: Address, gateways: int, stop: asyncio.Event, orphaned: asyncio.Event) -> None:
    now = SystemClock().now
    ledger = await SqliteLedger.open(path, now(), keep_open=True)
    try:
        keeper = Keeper(ledger, now, elapsed, RESUME_SECONDS, gateways)
        server = await serve_keeper(keeper, address)
        try:
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


async def _compete(settings: Settings, db: PostgresUrl, stop: asyncio.Event, orphaned: asyncio.Event) -> None:
    host = settings.keeper_host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, settings.keeper_port))
        # By name: the database's driver takes a fifth of a second to import, which gateways of a file need not pay for.
        candidate = importlib.import_module("upshift.keeper.candidate").Candidate(db.url, sock, SystemClock().now)
        running = asyncio.create_task(candidate.run())
        waiting = asyncio.create_task(_first(stop, orphaned))
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
