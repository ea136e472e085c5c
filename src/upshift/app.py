"""Where are the parts joined? Settings -> store -> gateway, and the admin process beside it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from upshift.admin.desk import ActError, Desk, in_force
from upshift.gateway.accounts import Accounts, Calendar
from upshift.gateway.call import Routes
from upshift.gateway.clock import Clock, SystemClock
from upshift.gateway.doors import Doors, refusal_of_bad_http
from upshift.gateway.flow import Flow
from upshift.gateway.regime import Regime
from upshift.http.exchange import Headers
from upshift.http.server import Server, ServerLimits, serve
from upshift.model.entry import Adjust, Grant
from upshift.settings import Settings
from upshift.store.journal import Journal
from upshift.store.ledger import Ledger
from upshift.store.sqlite_journal import SqliteJournal
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.traffic.snapshot import InForce

log = structlog.get_logger()


def open_journal(db: Path) -> Journal:
    """The journal of an installation, from any process."""
    return SqliteJournal(db)


def open_desk(db: Path, clock: Clock | None = None) -> Desk:
    """The acts of administrators on an installation."""
    return Desk(open_journal(db), (clock or SystemClock()).now)


class JournalSource:
    """What is in force, read from the journal. Its connection is its own, since it is used off the event loop."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def version(self) -> int:
        return self._journal.version()

    def load(self) -> InForce:
        return in_force(self._journal)


class Gateway:
    """A running gateway: socket, flow, ledger, and the watch over what is in force."""

    def __init__(
        self, server: Server, flow: Flow, ledger: SqliteLedger, journal: Journal, tasks: Sequence[asyncio.Task[None]]
    ) -> None:
        self.server = server
        self.flow = flow
        self.ledger = ledger
        self.journal = journal
        self._tasks = tasks

    @property
    def port(self) -> int:
        return self.server.port

    async def close(self, grace_seconds: float) -> None:
        """Finish what is in flight, write what is queued, and let go."""
        await self.server.shutdown(grace_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.flow.routes.close()
        await self.ledger.close()
        self.journal.close()


async def start_gateway(settings: Settings, clock: Clock | None = None) -> Gateway:
    """Open the ledger (recovering what a crash left), load what is in force, and listen."""
    clock = clock or SystemClock()
    ledger = await SqliteLedger.open(settings.db, clock.now())
    recovered = ledger.recovered
    if recovered.requests:
        log.warning(
            "ledger.recovered",
            calls=len(recovered.requests),
            tokens=recovered.amount.tokens,
            nano_dollars=recovered.amount.nano,
            note="in flight when the process ended; counted at what they held and marked lost",
        )
    journal = open_journal(settings.db)
    source = JournalSource(journal)
    try:
        version = source.version()
        first = source.load()
    except ActError:
        await ledger.close()
        journal.close()
        raise
    regime = Regime(source, first, version)
    routes = Routes(os.environ)
    for missing in routes.missing(first.snapshot):
        log.warning("provider.no_secret", provider=missing, note="its calls are refused until the variable is set")
    accounts = Accounts(Calendar())
    flow = Flow(regime=regime, ledger=ledger, routes=routes, accounts=accounts, clock=clock, strict=settings.strict)
    regime.on_change(accounts.forget)

    def take_in() -> None:
        """Grants and adjustments that other processes asked for become entries here, where the counters are."""
        for entry in journal.submitted():
            ledger.append(entry)
            log.info("ledger.taken_in", entry=entry.id)

    regime.on_change(take_in)
    take_in()

    def on_error(error: BaseException) -> None:
        log.error("gateway.bug", exc_info=error)

    def on_bad_request(status: int, reason: str, target: bytes | None, headers: Headers) -> tuple[Headers, bytes]:
        return refusal_of_bad_http(status, reason)

    server = await serve(
        Doors(flow),
        settings.host,
        settings.port,
        limits=ServerLimits(max_body_bytes=settings.max_body_bytes),
        on_error=on_error,
        on_bad_request=on_bad_request,
    )
    watch = asyncio.create_task(regime.watch(settings.reload_seconds))
    return Gateway(server, flow, ledger, journal, [watch])
