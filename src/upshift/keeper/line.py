"""How does a gateway find the keeper, and find it again when it has gone?"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import msgspec
import structlog

from upshift.keeper import proof
from upshift.keeper.address import Address
from upshift.keeper.messages import (
    LARGEST_FRAME,
    VERSION,
    Challenge,
    FrameError,
    Frames,
    Hello,
    ToKeeper,
    Welcome,
    frame,
    read_as_gateway,
)
from upshift.keeper.remote import GIVE_UP_SECONDS, RemoteLedger

log = structlog.get_logger()

Find = Callable[[], Awaitable[Address | None]]
"""Where the keeper is now; None for nobody. Raises OSError when that cannot be found out."""

_PATIENCE_SECONDS = 1.0
"""For a connection and its greetings."""
_FIRST_PAUSE, _LAST_PAUSE = 0.02, 0.25
_TICKS = 6
_UNTOLD_SECONDS = 0.5


class _Talk(asyncio.Protocol):
    """One connection to one keeper. `ended` is done when it is lost."""

    def __init__(self, ledger: RemoteLedger, secret: str) -> None:
        self.heard_at = 0.0
        self.resume_seconds = 0.0
        """0 until the keeper has been recognised."""
        loop = self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.greeted: asyncio.Future[None] = loop.create_future()
        self._ledger = ledger
        self._secret = secret
        self._frames = Frames()
        self._nonce = proof.nonce()
        self._expected: bytes | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: those of uvloop are of no such class.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.resume_seconds:
            self._ledger.lost()
        if not self.greeted.done():
            self.greeted.set_result(None)
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        try:
            for body in self._frames.feed(data):
                if self._transport is None or self._transport.is_closing():
                    return
                if self.resume_seconds:
                    self._ledger.heard(read_as_gateway(body))
                else:
                    self._greet(body)
        except (FrameError, LookupError, ValueError, msgspec.MsgspecError) as error:
            log.warning("keeper.not_understood", problem=repr(error))
            self.drop()

    def drop(self) -> None:
        """End it at once, if it has begun."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End it once what was said has been sent."""
        if self._transport is not None:
            self._transport.close()

    def _greet(self, body: memoryview) -> None:
        messages = read_as_gateway(body)
        first = messages[0] if len(messages) == 1 else None
        match first:
            case Challenge(version=version, nonce=keepers) if self._expected is None and version == VERSION:
                who, own = self._ledger.who, self._nonce
                self._expected = proof.of_keeper(self._secret, keepers, own, who)
                shown = proof.of_gateway(self._secret, keepers, own, who)
                self._write([Hello(VERSION, who, own, shown)])
            case Welcome() if self._expected is not None and proof.same(first.proof, self._expected):
                self._frames.largest = LARGEST_FRAME
                self.resume_seconds = first.resume_seconds
                self._ledger.connected(self._write, first.resume_seconds)
                self.greeted.set_result(None)
            case _:
                raise FrameError(f"no greeting of a keeper of version {VERSION} that knows the secret")

    def _write(self, messages: Sequence[ToKeeper]) -> None:
        if self._transport is not None:
            self._transport.write(frame(messages))


class Line:
    """Keeps a gateway's ledger connected to whoever is the keeper, until it is hung up."""

    def __init__(self, ledger: RemoteLedger, find: Find) -> None:
        self._ledger = ledger
        self._find = find
        self._loop = asyncio.get_running_loop()
        self._talk: _Talk | None = None
        self._task = self._loop.create_task(self._keep())
        self._timer = self._loop.call_later(_UNTOLD_SECONDS, self._tick)
        ledger.hang_up = self.hang_up

    def hang_up(self) -> None:
        """End it for good, once what was said has been sent."""
        self._task.cancel()
        self._timer.cancel()
        if self._talk is not None:
            self._talk.close()

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            talk = await self._connect()
            if talk is None:
                await asyncio.sleep(pause)
                pause = min(_LAST_PAUSE, pause * 2)
                continue
            log.info("keeper.reached")
            pause = _FIRST_PAUSE
            await talk.ended
            log.warning("keeper.lost_sight_of")
            await asyncio.sleep(_FIRST_PAUSE)

    async def _connect(self) -> _Talk | None:
        """A connection to a keeper that has been recognised; None when there is none to be had now."""
        talk: _Talk | None = None
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                address = await self._find()
                if address is None:
                    return None
                talk = self._talk = _Talk(self._ledger, address.secret)
                await self._open(talk, address)
                await talk.greeted
        except (OSError, ValueError) as error:
            log.debug("keeper.not_reached", problem=repr(error))
        if talk is not None and talk.resume_seconds:
            return talk
        if talk is not None:
            talk.drop()
        self._talk = None
        return None

    async def _open(self, talk: _Talk, address: Address) -> None:
        if address.path:
            await self._loop.create_unix_connection(lambda: talk, address.path)
        else:
            host, port = address.host_and_port
            await self._loop.create_connection(lambda: talk, host, port)

    def _tick(self) -> None:
        talk = self._talk
        seconds = talk.resume_seconds if talk is not None else 0.0
        self._timer = self._loop.call_later(seconds / _TICKS or _UNTOLD_SECONDS, self._tick)
        self._ledger.tick()
        if talk is not None and seconds and self._loop.time() - talk.heard_at > seconds / 2:
            # It may sleep, or somebody else may be the keeper: by now that one would have to be found.
            talk.drop()


async def reach(find: Find, give_up_seconds: float = GIVE_UP_SECONDS) -> RemoteLedger:
    """The ledger of whoever is the keeper, who need not be there yet."""
    ledger = RemoteLedger(give_up_seconds)
    Line(ledger, find)
    return ledger
