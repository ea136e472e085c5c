"""How is one declared origin reached: which connection carries a request, and who waits for one?"""

import asyncio
import math
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from upshift.http.exchange import Headers
from upshift.http.head import RequestHeads
from upshift.http.link import Link, Response, Timeouts, Trouble

__all__ = ["Response", "Timeouts", "Trouble", "Upstream"]

_SWEEP_SECONDS = 0.25
_CROWD = 5
"""So many that wait for an origin without a byte to any of them do not all wait for something slow."""


class Client(Protocol):
    """For whom a request is sent."""

    @property
    def gone(self) -> bool: ...

    def on_gone(self, callback: Callable[[], None]) -> None: ...


class Upstream:
    """A keep-alive pool to one origin, bound to the loop that first sends through it."""

    def __init__(
        self,
        base_url: str,
        *,
        timeouts: Timeouts,
        max_connections: int = 1000,
        max_idle: int = 256,
        idle_seconds: float = 30.0,
        max_header_bytes: int = 64 * 1024,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`base_url` is http or https with an optional path prefix. Raises ValueError for any other.

        `clock`, in seconds, decides every timeout but that of connecting.
        """
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
            raise ValueError(f"{base_url!r}: expected http(s)://host[:port][/prefix]")
        self.timeouts = timeouts
        self.max_header_bytes = max_header_bytes
        self.clock = clock
        self._host = url.hostname
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._heads = RequestHeads(url.netloc.encode("ascii"))
        self._prefix = url.path.rstrip("/").encode()
        self._tls = (ssl_context or _default_context()) if url.scheme == "https" else None
        self._max_connections = max_connections
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self.heard = -math.inf
        self._links: set[Link] = set()
        self._idle: deque[Link] = deque()
        # Each waits for a link that got free, or for None: a place in which to connect.
        self._waiting: deque[tuple[float, asyncio.Future[Link | Trouble | None]]] = deque()
        # Places promised to waiters that have not run yet.
        self._promised = 0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._empty: asyncio.Future[None] | None = None

    @property
    def open_connections(self) -> int:
        """Connections that are open or being opened."""
        return len(self._links)

    @property
    def idle_connections(self) -> int:
        return len(self._idle)

    def send(
        self, method: bytes, target: bytes, headers: Headers, body: bytes, client: Client | None = None
    ) -> Coroutine[None, None, Response | Trouble]:
        """`carry` what `top` makes of method, target and headers, and raise as it does."""
        return self.carry(self._heads.top(method, self._prefix + target, headers), body, client)

    def top(self, method: bytes, target: bytes, headers: Headers) -> bytes:
        """What `carry` sends to prefix + `target`, before the body; may be kept and sent any number of times.

        Hop-by-hop headers, host and content-length in `headers` are replaced. Raises ValueError for names, values or
        a target that would not survive as one request.
        """
        return self._heads.top(method, self._prefix + target, headers)

    async def carry(self, top: bytes, body: bytes, client: Client | None = None) -> Response | Trouble:
        """Send a request; returns once the head of the response is there.

        Cancelling closes the connection, and so does `client`, for whom it is sent, by leaving.

        What an idle connection turns out not to have carried, because its origin had closed it, goes out once more on
        another one.
        """
        idle = self._idle
        while True:
            while idle:
                # The one used last, since it is the least likely to be closed by the origin meanwhile.
                link = idle.pop()
                if not link.forsaken():
                    reused = True
                    break
                link.abort()
            else:
                found = await self._acquire()
                if isinstance(found, Trouble):
                    return found
                link, reused = found, False
            if client is not None and client.gone:
                self.free(link)
                return Trouble("client-left", "it left before the request was sent", False)
            waiting = link.send(top, body)
            if client is not None:
                client.on_gone(partial(link.withdraw, waiting))
            try:
                answer = await waiting
            except asyncio.CancelledError:
                link.withdraw(waiting)
                if not waiting.cancelled() and isinstance(answer := waiting.result(), Response):
                    # It came in the same turn of the loop. Its connection may carry somebody else's request already.
                    answer.close()
                raise
            if isinstance(answer, Response) or not reused or answer.request_sent:
                return answer

    async def close(self) -> None:
        """Close every connection; what is in progress ends with trouble."""
        self._closed = True
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(_CLOSED)
        self._idle.clear()
        for link in tuple(self._links):
            link.abort()
        if self._links:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sweep(self) -> None:
        """Act on every timeout that has passed; a timer calls it while anything is open."""
        now = self.clock()
        # For all of them before the first is given up, and once: there may be thousands.
        silent = self._silent(now)
        for link in tuple(self._links):
            link.sweep(now, silent=silent)
        while self._idle and now - self._idle[0].idle_since >= self._idle_seconds:
            self._idle.popleft().abort()
        while self._waiting and self._waiting[0][0] <= now:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                detail = f"no free connection among {self._max_connections} for {self.timeouts.connect:g} seconds"
                waiter.set_result(Trouble("pool_timeout", detail, False))

    # --- called by links

    def free(self, link: Link) -> None:
        """A link may carry another request."""
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(link)
                return
        idle = self._idle
        if self._closed or len(idle) >= self._max_idle:
            link.abort()
            return
        link.idle_since = self.clock()
        idle.append(link)

    def lost(self, link: Link) -> None:
        """A connection has ended, or never began; what it counted for is somebody else's now."""
        if link not in self._links:
            return
        self._links.discard(link)
        if link in self._idle:
            self._idle.remove(link)
        self._offer_place()
        if self._empty is not None and not self._links and not self._empty.done():
            self._empty.set_result(None)

    # --- inside

    def _silent(self, now: float) -> bool:
        half_way = now - self.timeouts.first_byte / 2
        return self.heard <= half_way and sum(link.in_flight_since(half_way) for link in self._links) >= _CROWD

    async def _acquire(self) -> Link | Trouble:
        if self._closed:
            return _CLOSED
        self._start_timer()
        if self._waiting or len(self._links) + self._promised >= self._max_connections:
            found = await self._wait()
            if found is not None:
                if isinstance(found, Trouble) or not found.forsaken():
                    return found
                # It broke between being handed over and being used; the place it had is free again.
                found.abort()
                return await self._acquire()
        return await self._connect()

    async def _wait(self) -> Link | Trouble | None:
        waiter: asyncio.Future[Link | Trouble | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self.clock() + self.timeouts.connect, waiter))
        try:
            found = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # Handed over in the same turn of the loop: it is the next one's.
                given = waiter.result()
                if given is None:
                    self._promised -= 1
                    self._offer_place()
                elif isinstance(given, Link) and given.usable:
                    self.free(given)
            raise
        if found is None:
            self._promised -= 1
        return found

    async def _connect(self) -> Link | Trouble:
        link = Link(self)
        self._links.add(link)
        connected = False
        try:
            async with asyncio.timeout(self.timeouts.connect):
                await asyncio.get_running_loop().create_connection(
                    lambda: link,
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls is not None else None,
                )
            connected = True
        except TimeoutError:
            return Trouble("connect_timeout", f"no connection within {self.timeouts.connect:g} seconds", False)
        except ssl.SSLError as error:
            return Trouble("tls", str(error), False)
        except OSError as error:
            return Trouble("connect", str(error), False)
        finally:
            if not connected:
                link.abort()
                self.lost(link)
        if not link.usable:
            return Trouble("connect", "closed as soon as it was open", False)
        return link

    def _offer_place(self) -> None:
        while self._waiting and len(self._links) + self._promised < self._max_connections:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                self._promised += 1
                waiter.set_result(None)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.sweep()
        if (self._links or self._waiting) and not self._closed:
            self._start_timer()


_CLOSED = Trouble("connect", "the pool is closed", False)


def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
