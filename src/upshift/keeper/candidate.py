"""Who becomes the keeper of a database's ledger, and stops in time?

Whoever holds the seat decides and writes. It is renewed three times within its time; a keeper that could not renew it
falls silent before its time is over by its own clock, which also counts sleep, so that no two ever decide at once.
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
from upshift.store.backend import FencedError, StoreTroubleError
from upshift.store.keeper_seat import Seat
from upshift.store.postgres_ledger import PostgresLedger

log = structlog.get_logger()

SEAT_SECONDS = 3.0
_MARGIN = 0.2
"""The share of its time that a keeper leaves unused, for clocks that do not run alike."""
_RENEWALS = 3
_LOOK_SECONDS = 0.25


class Candidate:
    """A process that is the keeper whenever nobody else is."""

    def __init__(
        self, url: str, sock: socket.socket, now: Callable[[], Instant], seconds: float = SEAT_SECONDS
    ) -> None:
        """`sock` is bound to where gateways can reach this machine, and not listening yet."""
        self._url = url
        self._sock = sock
        self._now = now
        self._seconds = seconds
        host, port = sock.getsockname()[:2]
        self._where = tcp(host, port)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let somebody else be the keeper, as soon as what is queued is on disk."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            began, secret = elapsed(), secrets.token_hex(32)
            try:
                seat = await asyncio.to_thread(keeper_seat.take, self._url, self._where, secret, self._seconds)
                if seat is not None:
                    await self._keep(seat, began)
                    continue
            except (StoreTroubleError, FencedError, OSError) as error:
                log.warning("keeper.no_seat", problem=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _LOOK_SECONDS)

    async def _keep(self, seat: Seat, began: float) -> None:
        """Be the keeper until the seat is lost, the ledger cannot be written any more, or somebody says stop."""
        ledger = await PostgresLedger.open(self._url, seat, self._now(), keep_open=True)
        keeper = Keeper(ledger, self._now, elapsed, RESUME_SECONDS)
        keeper.until = began + self._seconds * (1 - _MARGIN)
        server = await serve_keeper(keeper, Address(self._where, seat.secret), self._sock.dup())
        log.info("keeper.begins", epoch=seat.epoch, address=self._where)
        ended = asyncio.ensure_future(ledger.ended())
        try:
            why = await self._hold_on(seat, keeper, ended)
        finally:
            ended.cancel()
        await self._step_down(seat, server, ledger, why)

    async def _hold_on(self, seat: Seat, keeper: Keeper, ended: "asyncio.Future[str]") -> str:
        """Renew the seat again and again; returns why that is over, empty when it was asked for."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                await asyncio.wait(
                    (ended, stopping), timeout=self._seconds / _RENEWALS, return_when=asyncio.FIRST_COMPLETED
                )
                if stopping.done():
                    return ""
                if ended.done():
                    return ended.result() or "the ledger has ended"
                began = elapsed()
                try:
                    if not await asyncio.to_thread(keeper_seat.renew, seat):
                        return "the seat is lost"
                    keeper.until = began + self._seconds * (1 - _MARGIN)
                except StoreTroubleError as error:
                    if not keeper.may_speak():
                        return f"the seat could not be renewed: {error}"
        finally:
            stopping.cancel()

    async def _step_down(self, seat: Seat, server: KeeperServer, ledger: PostgresLedger, why: str) -> None:
        if why:
            # Whatever is not on disk is said again by the gateways, to whoever is the keeper then.
            log.warning("keeper.ends", epoch=seat.epoch, why=why)
            server.close()
            ledger.abandon()
            return
        log.info("keeper.ends", epoch=seat.epoch)
        with contextlib.suppress(Exception):
            await ledger.flushed()
        server.close()
        ledger.abandon()
        with contextlib.suppress(StoreTroubleError):
            await asyncio.to_thread(keeper_seat.give_up, seat)
