"""How are connections reset, at a word, between processes that know nothing of it?

`python -m bench.resets PORT...` listens once for each of these local ports and passes bytes on; what it listens on is
one line of JSON on stdout. Each line on stdin is a word: `reset N` sends a RST to both ends of half the connections of
the N-th, `cut N` does so with all of them and with every new one, until `mend N`.
"""

import asyncio
import json
import random
import socket
import struct
import sys
from collections.abc import Sequence
from typing import cast

import uvloop

_RST = struct.pack("ii", 1, 0)
"""For SO_LINGER: close() at once, with a RST instead of a FIN."""


class _End(asyncio.Protocol):
    """One end of a connection. What comes before the other end is there waits."""

    def __init__(self, way: "_Way", other: "_End | None" = None) -> None:
        self._way = way
        self.other = other
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: those of uvloop are of no such class.
        self.transport = cast(asyncio.Transport, transport)
        self._way.ends.add(self)
        if self.other is None:
            self._way.meet(self)
        else:
            self.other.other = self
            self.other.pass_early()

    def pass_early(self) -> None:
        for data in self._early:
            self._pass(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self._pass(data)

    def _pass(self, data: bytes) -> None:
        transport = None if self.other is None else self.other.transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._way.ends.discard(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def reset(self) -> None:
        """Both ends, as if this process had died and its machine said so."""
        for end in (self, self.other):
            if end is not None:
                end.abort()

    def abort(self) -> None:
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            if sock is not None and not self.transport.is_closing():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            self.transport.abort()


class _Way:
    """From a port of ours to somebody else's."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.ends: set[_End] = set()
        self.cut = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> int:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _End(self), "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        return port

    def meet(self, end: _End) -> None:
        """Somebody has come."""
        if self.cut:
            end.reset()
            return
        task = asyncio.ensure_future(self._lead_on(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lead_on(self, end: _End) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: _End(self, end), "127.0.0.1", self._port)
        except OSError:
            # Nobody listens there: that is what the caller is to see.
            end.reset()

    def reset(self, share: float) -> None:
        for end in tuple(self.ends):
            if share >= 1 or random.random() < share:
                end.reset()


async def _obey(ports: Sequence[int]) -> None:
    ways = [_Way(port) for port in ports]
    print(json.dumps([await way.listen() for way in ways]), flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while word := await reader.readline():
        what, number = word.split()
        way = ways[int(number)]
        way.cut = what == b"cut"
        if what != b"mend":
            way.reset(0.5 if what == b"reset" else 1.0)


if __name__ == "__main__":
    uvloop.run(_obey([int(word) for word in sys.argv[1:]]))
