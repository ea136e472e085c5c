"""Who becomes the keeper of a database's ledger, and stops in time?

Whoever holds the seat decides and writes. It is renewed again and again within its time; a keeper that could not renew
it falls silent before its time is over by its own clock, which also counts sleep, so that no two ever decide at once.

A keeper that is to serve on while the database is away takes its seat for so long, so that nobody else does meanwhile.
Only whoever has its log may take the seat over sooner: that its process is dead is what having the log means.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable

import structlog

from upshift.keeper.address import Address, tcp
from upshift.keeper.clock import elapsed
from upshift.keeper.keeper import RESUME_SECONDS, Keeper
from upshift.keeper.server import KeeperServer, serve_keeper
from upshift.model.span import Instant
from upshift.store import keeper_seat
from upshift.store.away_log import AwayLog, Sat
from upshift.store.backend import FencedError, StoreTroubleError
from upshift.store.keeper_seat import Seat
from upshift.store.postgres_ledger import PostgresLedger

log = structlog.get_logger()

SEAT_SECONDS = 3.0
_MARGIN = 0.2
"""The share of its time that a keeper leaves unused, for clocks that do not run alike."""
_RENEWALS = 3
_RENEW_SECONDS = SEAT_SECONDS / _RENEWALS
"""So often at least, so that a seat of a long time has nearly all of it left when the database goes away."""
_LOOK_SECONDS = 0.25
_MAKES_WAY = "somebody else has a log to tell"
_AFTER_YOU_SECONDS = 2.0
"""How long a keeper that made way for somebody else leaves the seat to it."""


class Candidate:
    """A process that is the keeper whenever nobody else is."""

    def __init__(
        self,
        url: str,
        sock: socket.socket,
        now: Callable[[], Instant],
        away_log: AwayLog | None = None,
        away_seconds: float = 0.0,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        """`sock` is bound to where gateways can reach this machine, and not listening yet.

        `clock` is in seconds, and goes on while the machine sleeps.

        What is in `away_log` is told to the database first of all. With `away_seconds` the keeper goes on with it for
        so long while the database is away.
        """
        self._url = url
        self._log = away_log
        self._serve_on = away_seconds > 0
        self._asking: keeper_seat.Asking | None = None
        self._sock = sock
        self._now = now
        self._clock = clock
        self._seconds = max(SEAT_SECONDS, away_seconds / (1 - _MARGIN))
        host, port = sock.getsockname()[:2]
        self._where = tcp(host, port)
        self.ledger: PostgresLedger | None = None
        """What it keeps, while it is the keeper."""
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let somebody else be the keeper, as soon as what is queued is on disk."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            began, pause = self._clock(), _LOOK_SECONDS
            try:
                seat = await asyncio.to_thread(self._take)
                if seat is not None:
                    pause = await self._keep(seat, began)
            except (StoreTroubleError, FencedError, OSError) as error:
                log.warning("keeper.no_seat", problem=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        self._ask_no_more()

    def _take(self) -> Seat | None:
        away_log = self._log
        former = away_log.seats[-1].secret if away_log is not None and away_log.seats else None
        seat = keeper_seat.take(self._url, self._where, secrets.token_hex(32), self._seconds, former)
        if seat is None:
            if away_log is not None and away_log.entries and self._asking is None:
                log.warning("keeper.asks_for_the_seat", entries=len(away_log.entries), log=str(away_log.path))
                self._asking = keeper_seat.Asking(self._url)
        else:
            self._ask_no_more()
            if away_log is not None and (self._serve_on or away_log.entries):
                try:
                    away_log.sit(Sat(seat.epoch, seat.secret))
                except StoreTroubleError as error:
                    log.warning("keeper.log_not_written", problem=str(error))
        return seat

    def _ask_no_more(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.close()

    async def _keep(self, seat: Seat, began: float) -> float:
        """Be the keeper until the seat is lost, the ledger cannot be written any more, or somebody says stop.

        Returns for how many seconds the seat is left to others.
        """
        ledger = await PostgresLedger.open(
            self._url, seat, self._now(), keep_open=True, log=self._log, serve_on=self._serve_on
        )
        keeper = Keeper(ledger, self._now, self._clock, RESUME_SECONDS)
        keeper.until = began + self._seconds * (1 - _MARGIN)
        server = await serve_keeper(keeper, Address(self._where, seat.secret), self._sock.dup())
        log.info("keeper.begins", epoch=seat.epoch, address=self._where)
        ended = asyncio.ensure_future(ledger.ended())
        self.ledger = ledger
        try:
            why = await self._hold_on(seat, keeper, ended)
        finally:
            self.ledger = None
            ended.cancel()
        await self._step_down(seat, server, ledger, why)
        return _AFTER_YOU_SECONDS if why == _MAKES_WAY else 0.0

    async def _hold_on(self, seat: Seat, keeper: Keeper, ended: "asyncio.Future[str]") -> str:
        """Renew the seat again and again; returns why that is over, empty when it was asked for."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                await asyncio.wait((ended, stopping), timeout=_RENEW_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    return ""
                if ended.done():
                    return ended.result() or "the ledger has ended"
                began = self._clock()
                try:
                    if not await asyncio.to_thread(keeper_seat.renew, seat):
                        return "the seat is lost"
                    keeper.until = began + self._seconds * (1 - _MARGIN)
                    if not keeper.ledger.owes and await asyncio.to_thread(keeper_seat.asked, self._url):
                        return _MAKES_WAY
                except StoreTroubleError as error:
                    if not keeper.may_speak():
                        return f"the seat could not be renewed: {error}"
        finally:
            stopping.cancel()

    async def _step_down(self, seat: Seat, server: KeeperServer, ledger: PostgresLedger, why: str) -> None:
        if why and why != _MAKES_WAY:
            # Whatever is not on disk is said again by the gateways, to whoever is the keeper then.
            log.warning("keeper.ends", epoch=seat.epoch, why=why)
            server.close()
            ledger.abandon()
            return
        log.info("keeper.ends", epoch=seat.epoch, why=why)
        with contextlib.suppress(Exception):
            await ledger.flushed()
        server.close()
        owes = ledger.owes
        ledger.abandon()
        if owes:
            # Nobody may decide without what is in the log only: for its time the seat is for whoever has that.
            log.warning("keeper.owes", epoch=seat.epoch, note="its log has entries that the database does not have yet")
            return
        with contextlib.suppress(StoreTroubleError):
            await asyncio.to_thread(keeper_seat.give_up, seat)
