"""How are connections accepted, swept for lateness, counted and shut down?"""

import asyncio
import socket
import ssl as tls
import time
from collections.abc import Callable

from upshift.http import head
from upshift.http.answering import ENDED, SocketExchange
from upshift.http.connection import Connection
from upshift.http.exchange import Handler, OnBadRequest, OnError
from upshift.http.limits import ServerLimits

__all__ = ["Server", "ServerLimits", "serve"]

_SWEEP_SECONDS = 1.0


class Server:
    """A listening socket, its connections and the handlers that run for them. Made by `serve`."""

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits,
        on_error: OnError,
        on_bad_request: OnBadRequest,
        clock: Callable[[], float],
    ) -> None:
        self.limits = limits
        self.on_error = on_error
        self.on_bad_request = on_bad_request
        self.clock = clock
        self.closing = False
        self.port = 0
        """The port that was bound; stays 0 for a socket without ports."""
        self.date = head.date_line(time.time())
        self._handler = handler
        self._connections: set[Connection] = set()
        self._running: dict[SocketExchange, asyncio.Task[None]] = {}
        self._quiet = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._listener: asyncio.Server

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    @property
    def in_flight(self) -> int:
        """Handlers that have not returned; some may run on after their client left."""
        return len(self._running)

    async def listen(
        self,
        host: str | None,
        port: int,
        *,
        ssl: tls.SSLContext | None,
        sock: socket.socket | None,
        backlog: int,
        reuse_port: bool,
    ) -> None:
        """Accept connections from now on. Raises OSError when the address cannot be had."""
        if sock is not None:
            self._listener = await self._loop.create_server(
                lambda: Connection(self), sock=sock, ssl=ssl, backlog=backlog
            )
        else:
            self._listener = await self._loop.create_server(
                lambda: Connection(self),
                host,
                port,
                ssl=ssl,
                backlog=backlog,
                reuse_port=reuse_port or None,
            )
        name = self._listener.sockets[0].getsockname()
        if isinstance(name, tuple):
            self.port = int(name[1])
        self._tick()

    def sweep(self) -> None:
        """Renew the date and act on every deadline that has passed; a timer calls it each second."""
        self.date = head.date_line(time.time())
        now = self.clock()
        for connection in tuple(self._connections):
            connection.sweep(now)

    async def shutdown(self, grace_seconds: float, settle_seconds: float = 5.0, idle_seconds: float = 0.0) -> None:
        """Stop accepting, let running exchanges finish, cut those that have not after `grace_seconds`.

        Handlers whose client was cut have another `settle_seconds` to close their books; then they are cancelled.
        Idle connections are kept for `idle_seconds`: a request that is on its way on one is served, as its last.
        """
        self.closing = True
        self._listener.close()
        if idle_seconds:
            await self._is_quiet(idle_seconds)
        for connection in tuple(self._connections):
            if connection.idle:
                connection.close()
        if not await self._is_quiet(grace_seconds):
            for connection in tuple(self._connections):
                connection.cut()
            if not await self._is_quiet(settle_seconds):
                tasks = tuple(self._running.values())
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()

    # --- called by connections

    def joined(self, connection: Connection) -> None:
        self._connections.add(connection)

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._note_quiet()

    def run(self, exchange: SocketExchange) -> None:
        """Handle a request in a task of its own, which outlives its connection."""
        self._running[exchange] = self._loop.create_task(self._handle(exchange))

    async def _handle(self, exchange: SocketExchange) -> None:
        try:
            await self._handler(exchange)
        except asyncio.CancelledError:
            exchange.abort()
            raise
        except Exception as error:  # noqa: BLE001 - the outermost edge: one request's bug must not end the server
            self.on_error(error)
            exchange.settle()
        else:
            if exchange.state is not ENDED and not exchange.settle():
                self.on_error(RuntimeError("a handler returned without a complete answer"))
        finally:
            del self._running[exchange]
            if self.closing:
                self._note_quiet()

    def _note_quiet(self) -> None:
        if self.closing and not self._connections and not self._running:
            self._quiet.set()

    async def _is_quiet(self, seconds: float) -> bool:
        self._note_quiet()
        try:
            async with asyncio.timeout(seconds):
                await self._quiet.wait()
        except TimeoutError:
            return False
        return True

    def _tick(self) -> None:
        self.sweep()
        self._timer = self._loop.call_later(_SWEEP_SECONDS, self._tick)


async def serve(
    handler: Handler,
    host: str | None,
    port: int,
    *,
    limits: ServerLimits,
    on_error: OnError,
    on_bad_request: OnBadRequest,
    ssl: tls.SSLContext | None = None,
    sock: socket.socket | None = None,
    backlog: int = 2048,
    reuse_port: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Server:
    """Listen and hand every request to `handler`. With `sock`, host and port are not looked at.

    `clock` in seconds decides all timeouts. Raises OSError when the address cannot be had.
    """
    server = Server(handler, limits, on_error, on_bad_request, clock)
    await server.listen(host, port, ssl=ssl, sock=sock, backlog=backlog, reuse_port=reuse_port)
    return server
