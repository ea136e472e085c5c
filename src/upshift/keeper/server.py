"""How do gateways reach the keeper: sockets, greetings, frames?"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import structlog

from upshift.keeper import proof
from upshift.keeper.address import Address, tcp
from upshift.keeper.keeper import Keeper
from upshift.keeper.messages import (
    LARGEST_FRAME,
    VERSION,
    Challenge,
    FrameError,
    Frames,
    Hello,
    ToGateway,
    Welcome,
    frame,
    read_as_keeper,
)
from upshift.keeper.session import Session
from upshift.store.ledger import LedgerUnavailableError

log = structlog.get_logger()

_GREETING_SECONDS = 5.0
_MOST_UNREAD = 256 * 1024 * 1024
"""Bytes that a gateway may leave unread before it is dropped."""
_TICKS = 6
"""So often the keeper looks around in the time after which it forgets a silent gateway."""


class _Connection(asyncio.Protocol):
    """One gateway's connection."""

    def __init__(self, server: "KeeperServer") -> None:
        self._server = server
        self._keeper = server.keeper
        self._frames = Frames()
        self._nonce = proof.nonce()
        self._session: Session | None = None
        self._transport: asyncio.Transport
        self._late: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: those of uvloop are of no such class.
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self._late = asyncio.get_running_loop().call_later(_GREETING_SECONDS, self.drop)
        self._write([Challenge(VERSION, self._nonce)])

    def drop(self) -> None:
        """End it at once."""
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        self._server.connections.discard(self)
        if self._session is not None:
            self._session.parted(self.drop)

    def data_received(self, data: bytes) -> None:
        if not self._keeper.may_speak():
            self.drop()
            return
        try:
            for body in self._frames.feed(data):
                if self._transport.is_closing():
                    return
                if self._session is None:
                    self._greet(body)
                else:
                    self._keeper.heard(self._session)
                    self._session.hear(read_as_keeper(body))
        except (FrameError, LookupError, msgspec.MsgspecError) as error:
            log.warning("keeper.not_understood", problem=repr(error))
            self.drop()
        except LedgerUnavailableError as error:
            # It says all of it again, until the disk can be read.
            log.warning("keeper.disk", problem=str(error))
            self.drop()

    def _greet(self, body: memoryview) -> None:
        messages = read_as_keeper(body)
        hello = messages[0] if len(messages) == 1 else None
        if not isinstance(hello, Hello) or hello.version != VERSION:
            raise FrameError(f"no greeting of version {VERSION}")
        secret, who = self._server.address.secret, hello.who
        if not proof.same(hello.proof, proof.of_gateway(secret, self._nonce, hello.nonce, who)):
            raise FrameError("a proof of the secret that is wrong")
        self._late.cancel()
        self._frames.largest = LARGEST_FRAME
        shown = proof.of_keeper(secret, self._nonce, hello.nonce, who)
        self._write([Welcome(shown, self._keeper.resume_seconds)])
        self._session = self._keeper.meet(who, self._write, self.drop)

    def _write(self, messages: Sequence[ToGateway]) -> None:
        if self._transport.get_write_buffer_size() > _MOST_UNREAD:
            self.drop()
            return
        self._transport.write(frame(messages))


class KeeperServer:
    """The keeper's socket. Made by `serve_keeper`."""

    def __init__(self, keeper: Keeper, address: Address, listener: asyncio.Server) -> None:
        self.keeper = keeper
        self.address = address
        self.connections: set[_Connection] = set()
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle
        self._tick()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self.keeper.resume_seconds / _TICKS, self._tick)
        self.keeper.tick()

    def close(self) -> None:
        """Stop answering, at once. The ledger is somebody else's to close."""
        self._timer.cancel()
        self._listener.close()
        for connection in tuple(self.connections):
            connection.drop()
        if self.address.path:
            with contextlib.suppress(OSError):
                os.unlink(self.address.path)


async def serve_keeper(keeper: Keeper, address: Address, sock: socket.socket | None = None) -> KeeperServer:
    """Listen for gateways; port 0 takes a free one. With `sock`, it is what is bound to the address already.

    Raises OSError when the address cannot be had.
    """
    loop = asyncio.get_running_loop()
    made: list[KeeperServer] = []
    sock = sock or _listen(address)
    listener = await loop.create_server(lambda: _Connection(made[0]), sock=sock, start_serving=False)
    if not address.path:
        host, port = sock.getsockname()[:2]
        address = Address(tcp(host, port), address.secret)
    made.append(KeeperServer(keeper, address, listener))
    await listener.start_serving()
    return made[0]


def _listen(address: Address) -> socket.socket:
    if address.path:
        # What is left there is of a keeper that has died: whoever calls this holds the lock of the ledger.
        Path(address.path).unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(address.path)
        os.chmod(address.path, 0o600)
        return sock
    host, port = address.host_and_port
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
