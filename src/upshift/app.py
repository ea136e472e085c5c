"""Where are the parts of the gateway's process joined? Settings -> store -> gateway."""

import asyncio
import gc
import importlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from upshift.admin.desk import Desk, in_force
from upshift.engine.notify import Channel, Mail, Webhook
from upshift.gateway.a2a import Agents
from upshift.gateway.accounts import Accounts, Calendar
from upshift.gateway.call import Routes
from upshift.gateway.clock import Clock, SystemClock
from upshift.gateway.doors import Doors, refusal_of_bad_http
from upshift.gateway.flow import Flow
from upshift.gateway.inbox import Inbox
from upshift.gateway.live import LivePort, Pulse, live, serve_live, upstreams
from upshift.gateway.orphan import watch_parent
from upshift.gateway.regime import Regime
from upshift.http.server import Server, ServerLimits, serve
from upshift.keeper.address import Address
from upshift.keeper.line import Find, reach
from upshift.keeper.remote import RemoteLedger
from upshift.model.live import Live
from upshift.settings import Settings
from upshift.store import engines
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Journal
from upshift.store.ledger import LedgerUnavailableError
from upshift.store.place import Place, PostgresUrl
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.traffic.snapshot import InForce, Snapshot

log = structlog.get_logger()

IDLE_SECONDS = 5.0
"""How long a worker that ends waits for a last request on connections that are idle."""


def open_journal(db: Place) -> Journal:
    """The journal of an installation, from any process."""
    return engines.open_journal(db)


def open_desk(db: Place, clock: Clock | None = None) -> Desk:
    """The acts of administrators on an installation."""
    return Desk(open_journal(db), (clock or SystemClock()).now)


def channels(settings: Settings) -> list[Channel]:
    """The ways out that alerts take. Raises ValueError for a URL that is none."""
    found: list[Channel] = []
    if settings.smtp_url:
        found.append(Mail(settings.smtp_url, settings.mail_from))
    if settings.webhook_url:
        found.append(Webhook(settings.webhook_url, settings.webhook_secret))
    return found


def keeper_of(url: PostgresUrl) -> Find:
    """Finds whoever is the keeper of a database. While that is away, whoever was: it knows how long it may speak."""
    seat = importlib.import_module("upshift.store.keeper_seat")
    last: list[Address] = []

    async def find() -> Address | None:
        try:
            found = await asyncio.to_thread(seat.who, url.url)
        except StoreTroubleError as error:
            if last:
                return last[0]
            raise OSError(str(error)) from error
        if found is None:
            return None
        last[:] = [Address(found.address, found.secret)]
        return last[0]

    return find


class JournalSource:
    """What is in force, read from the journal. A database that cannot be read for a moment is an OSError here."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def version(self) -> int:
        try:
            return self._journal.version()
        except StoreTroubleError as error:
            raise OSError(f"the journal cannot be read: {error}") from error

    def load(self, present: Snapshot | None = None) -> InForce:
        try:
            return in_force(self._journal, present)
        except StoreTroubleError as error:
            raise OSError(f"the journal cannot be read: {error}") from error


class Gateway:
    """A running gateway: socket, flow, ledger, and the watch over what is in force."""

    def __init__(
        self, server: Server, flow: Flow, agents: Agents, inbox: Inbox, ledger: SqliteLedger | RemoteLedger,
        journal: Journal, tasks: Sequence[asyncio.Task[None]],
    ) -> None:  # fmt: skip
        self.server = server
        self.flow = flow
        self.agents = agents
        self.inbox = inbox
        self.ledger = ledger
        self.journal = journal
        self._tasks = tasks

        self._live: tuple[Pulse, LivePort] | None = None

    @property
    def port(self) -> int:
        return self.server.port

    async def tell(self, folder: Path) -> None:
        """Say how it is doing to whoever asks at a socket in `folder`. Raises OSError."""
        flow, pulse, began = self.flow, Pulse(lambda: self.ledger, self.flow.clock.now), self.flow.clock.now()

        def look() -> Live:
            return msgspec.structs.replace(
                live("gateway", began, pulse),
                plan=flow.regime.in_force.snapshot.hash,
                in_flight=self.server.in_flight,
                connections=self.server.open_connections,
                upstreams=upstreams(flow.routes, flow.board, flow.clock.now()),
            )

        self._live = pulse, await serve_live(folder, look)

    async def close(self, grace_seconds: float, idle_seconds: float = 0.0) -> None:
        """Finish what is in flight, write what is queued, and let go."""
        await self.server.shutdown(grace_seconds, idle_seconds=idle_seconds)
        if self._live is not None:
            pulse, port = self._live
            pulse.stop()
            port.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.flow.routes.close()
        await self.agents.close()
        self.inbox.close()
        await self.ledger.close()
        self.journal.close()


async def start_gateway(
    settings: Settings, clock: Clock | None = None, find: Find | None = None, sock: socket.socket | None = None
) -> Gateway:
    """Open the ledger (recovering what a crash left), load what is in force, and listen.

    With `find` the ledger is that of the keeper which is found so. With `sock` it listens there.

    Raises ActError before the first plan, OSError when the address or the file cannot be had (also when another
    gateway has it), StoreVersionError, and sqlite3.Error.
    """
    clock = clock or SystemClock()
    if find is not None:
        remote = await reach(find)
        journal = open_journal(settings.db)
        return await _or_let_go(settings, clock, remote, journal, sock)
    if isinstance(settings.db, PostgresUrl):
        raise LedgerUnavailableError(
            f"the ledger at {settings.db} is kept by a keeper, which this gateway cannot reach"
        )
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
    return await _or_let_go(settings, clock, ledger, journal, sock)


async def _or_let_go(
    settings: Settings, clock: Clock, ledger: SqliteLedger | RemoteLedger, journal: Journal, sock: socket.socket | None
) -> Gateway:
    try:
        return await _join(settings, clock, ledger, journal, sock)
    except BaseException:
        await ledger.close()
        journal.close()
        raise


async def _join(
    settings: Settings, clock: Clock, ledger: SqliteLedger | RemoteLedger, journal: Journal, sock: socket.socket | None
) -> Gateway:
    source = JournalSource(journal)
    version = source.version()
    first = source.load()
    regime = Regime(source, first, version)
    routes = Routes(os.environ)
    for missing in routes.missing(first.snapshot):
        log.warning("provider.no_secret", provider=missing, note="its calls are refused until the variable is set")
    accounts = Accounts(Calendar())
    pools = ledger.pools if isinstance(ledger, RemoteLedger) else None
    flow = Flow(
        regime=regime, ledger=ledger, routes=routes, accounts=accounts, clock=clock, strict=settings.strict, pools=pools
    )
    regime.on_change(accounts.forget)
    regime.on_change(lambda: flow.board.keep(regime.in_force.snapshot.providers))

    agents = Agents(flow, os.environ)
    for missing in agents.links.missing(first.snapshot):
        log.warning("agent.no_secret", agent=missing, note="its calls fail until the variable is set")

    inbox = Inbox(lambda: open_journal(settings.db))

    def on_error(error: BaseException) -> None:
        log.error("gateway.bug", exc_info=error)

    server = await serve(
        Doors(flow, agents, inbox),
        settings.host,
        settings.port,
        limits=ServerLimits(max_body_bytes=settings.max_body_bytes),
        on_error=on_error,
        on_bad_request=refusal_of_bad_http,
        sock=sock,
    )
    watch = asyncio.create_task(regime.watch(settings.reload_seconds))
    return Gateway(server, flow, agents, inbox, ledger, journal, [watch])


def _settle_down() -> None:
    """Tune the interpreter for a long life of short calls.

    What is alive now stays alive, so the collector need not look at it at every turn.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def run_gateway(
    settings: Settings,
    ready: Callable[[Gateway], None],
    find: Find | None = None,
    sock: socket.socket | None = None,
    parent: int | None = None,
    told_in: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let calls in flight end; a second signal ends them at once.

    `ready` is called once the socket is open. `parent` is a pipe whose other end is closed when this has to stop too.
    `told_in` is the folder in which it says how it is doing. Raises what start_gateway raises.
    """
    stop, at_once = asyncio.Event(), asyncio.Event()
    if parent is not None:
        watch_parent(parent, stop)

    def asked_to_stop() -> None:
        (at_once if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, asked_to_stop)
    gateway = await start_gateway(settings, find=find, sock=sock)
    if told_in is not None:
        try:
            await gateway.tell(told_in)
        except OSError as error:
            log.warning("gateway.not_told_of", problem=str(error), note="the metrics say nothing of this process")
    _settle_down()
    ready(gateway)
    await stop.wait()
    log.info("gateway.stopping", in_flight=gateway.server.in_flight, grace_seconds=settings.grace_seconds)
    # Where others go on, clients are told with their next answer to come to those.
    idle_seconds = 0.0 if sock is None else min(IDLE_SECONDS, settings.grace_seconds)
    closing = asyncio.create_task(gateway.close(settings.grace_seconds, idle_seconds))
    impatient = asyncio.create_task(at_once.wait())
    await asyncio.wait({closing, impatient}, return_when=asyncio.FIRST_COMPLETED)
    impatient.cancel()
    if not closing.done():
        log.warning("gateway.cutting", in_flight=gateway.server.in_flight)
        await gateway.server.shutdown(0.0)
    await closing
