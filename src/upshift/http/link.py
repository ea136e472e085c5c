"""What happens on one connection to an origin: a request is written, its response arrives, and may it be used again?"""

import asyncio
import math
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import httptools

from upshift.http.exchange import Headers
from upshift.http.head import BODILESS, head_of
from upshift.http.repeat import Repeats

_HIGH_WATER = 256 * 1024
_COPIED = 32 * 1024
_NEVER = math.inf

Kind = Literal[
    "connect",
    "connect_timeout",
    "first_byte_timeout",
    "idle_timeout",
    "total_timeout",
    "reset",
    "protocol",
    "too_large",
    "pool_timeout",
    "tls",
    "unset",
    "client-left",
    "error-event",
    "incomplete",
]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `first_byte` is until the first byte of the body, `idle` between two reads after it."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 900.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no (complete) response. A request that was not sent is safe to send again."""

    kind: Kind
    detail: str
    request_sent: bool
    cut: bool = False
    """The connection ended before anything that was generated had come."""
    silent: bool = False
    """For the second half of the wait not a byte came from the origin to anybody, though others waited all along."""


class Pool(Protocol):
    """What a link needs of the pool it belongs to."""

    timeouts: Timeouts
    max_header_bytes: int
    clock: Callable[[], float]
    heard: float
    """When anything was last received, on any connection."""

    def free(self, link: "Link") -> None: ...

    def lost(self, link: "Link") -> None: ...


class Response:
    """The head of a response, and its body as it arrives. One reader at a time."""

    __slots__ = ("_ended", "_link", "_pieces", "_size", "_trouble", "_waiter", "headers", "status")

    def __init__(self, link: "Link | None", status: int, headers: Headers, whole: bytes = b"") -> None:
        """Without a link it is complete, and `whole` its body."""
        self.status = status
        self.headers = headers
        self._link = link
        self._pieces = [whole] if whole else []
        self._size = len(whole)
        self._ended = link is None
        self._trouble: Trouble | None = None
        self._waiter: asyncio.Future[None] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def arrived(self, limit: int) -> bytes | None:
        """The whole body where all of it is here; None where it has to be waited for, or is of more than `limit`."""
        if not self._ended or self._size > limit:
            return None
        pieces, self._pieces = self._pieces, []
        self._size = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read(self, limit: int) -> bytes | Trouble:
        """The whole body; Trouble("too_large") and a closed connection above `limit` bytes."""
        arrived = self.arrived(limit)
        if arrived is not None:
            return arrived
        piece = await self.chunk()
        if isinstance(piece, Trouble):
            return piece
        whole = bytearray()
        while piece is not None:
            whole += piece
            if len(whole) > limit:
                self.close()
                return Trouble("too_large", f"the body has more than {limit} bytes", True)
            piece = await self.chunk()
            if isinstance(piece, Trouble):
                return piece
        return bytes(whole)

    async def more(self, seconds: float) -> bool:
        """Wait until `chunk` has something to say, but not longer; nothing is lost where it has not."""
        if self._pieces or self._ended or self._trouble is not None:
            return True
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._waiter
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None
        return True

    async def chunk(self) -> bytes | Trouble | None:
        """What has arrived since the last call, at least one byte; None after the clean end."""
        while True:
            if self._pieces:
                return self._take()
            if self._ended:
                return None
            if self._trouble is not None:
                return self._trouble
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                self.close()
                raise
            finally:
                self._waiter = None

    def close(self) -> None:
        """Have no more of it. The connection is lost with what it still carries, unless the body has ended."""
        if self._link is not None:
            self._link.fail("reset", "closed by ourselves")

    # --- called by the link

    @property
    def waiting(self) -> int:
        """Bytes that wait to be read."""
        return self._size

    def add(self, piece: bytes) -> int:
        """One more piece of the body; bytes that wait to be read."""
        self._pieces.append(piece)
        self._size += len(piece)
        return self._size

    def finish(self, trouble: Trouble | None) -> None:
        """Nothing more will come."""
        self._link = None
        self._trouble = trouble
        self._ended = trouble is None
        self.wake()

    def wake(self) -> None:
        """Let the reader look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self) -> bytes:
        pieces = self._pieces
        taken = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        if self._link is not None:
            self._link.resume()
        return taken


class Link(asyncio.Protocol):
    """One connection; carries one request at a time. Times are seconds of the pool's clock."""

    __slots__ = (
        "_answer",
        "_asked_head",
        "_came",
        "_carried",
        "_complete",
        "_eof",
        "_fault",
        "_fed",
        "_fresh",
        "_headers",
        "_heard",
        "_keep",
        "_loop",
        "_parser",
        "_paused",
        "_poller",
        "_pool",
        "_repeats",
        "_response",
        "_sent_at",
        "_skipping",
        "_status",
        "_surplus",
        "_until_close",
        "_unwritten",
        "idle_since",
        "on_body",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._parser: httptools.HttpResponseParser
        self._repeats = Repeats()
        # Of the head that is remembered there.
        self._status = 0
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0.0
        self._poller: select.poll | None = None
        self._answer: asyncio.Future[Response | Trouble] | None = None
        self._response: Response | None = None
        self._asked_head = False
        self._sent_at = self._heard = _NEVER
        self._headers: Headers = []
        # Pieces of the body that the parser found in this read. It calls no code of Python for them: an answer that is
        # streamed has one for each of its events.
        self._came: list[bytes] = []
        self.on_body = self._came.append
        # Bytes of earlier reads that belong to a head, or to a body's framing, that has not ended yet.
        self._carried = 0
        self._fed = 0
        self._fresh = False
        self._skipping = False
        self._until_close = False
        self._keep = False
        self._complete = False
        self._surplus = False
        self._eof = False
        self._paused = False
        self._unwritten = False
        self._fault: tuple[Kind, str] | None = None

    @property
    def usable(self) -> bool:
        """Nothing is in progress and nothing says that the origin has gone."""
        return self.transport is not None and not self.transport.is_closing() and not self._eof

    def forsaken(self) -> bool:
        """Whether nothing can be sent on an idle connection: it is not usable, or something has come that the loop has
        not read yet, an end, or what nobody asked for. A request written now would be lost, and nobody could tell
        whether it was served."""
        transport, poller = self.transport, self._poller
        return transport is None or transport.is_closing() or self._eof or (poller is not None and bool(poller.poll(0)))

    def send(self, top: bytes, body: bytes) -> asyncio.Future[Response | Trouble]:
        """Write a request; the future has its response once the head is there. Only on a usable link."""
        transport = self.transport
        assert transport is not None
        self._answer = answer = self._loop.create_future()
        self._asked_head = top.startswith(b"HEAD ")
        self._fed = 0
        self._unwritten = False
        self._sent_at = self._pool.clock()
        self._heard = _NEVER
        size = len(body)
        if size < _COPIED:
            transport.write(head_of(top, size) + body)
        else:
            transport.writelines((head_of(top, size), body))
        if transport.is_closing():
            # Refused at once, and as a whole.
            self._unwritten = True
        return answer

    def withdraw(self, answer: asyncio.Future[Response | Trouble]) -> None:
        """Wait no longer for the head of this answer: whoever asked for it has left."""
        if self._answer is answer:
            self.fail("client-left", "nobody waits for the answer")

    def fail(self, kind: Kind, detail: str, *, silent: bool = False) -> None:
        """End what is in progress with trouble, and the connection with it."""
        response, self._response = self._response, None
        # Of a request that has not left in full the origin cannot have served anything, unless it answers all the same.
        sent = not self._unwritten or response is not None
        cut = kind == "reset" and self._heard == _NEVER
        trouble = Trouble(kind, detail, sent, cut, silent)
        answer, self._answer = self._answer, None
        if response is not None:
            response.finish(trouble)
        if answer is not None and not answer.done():
            answer.set_result(trouble)
        self.abort()

    def in_flight_since(self, moment: float) -> bool:
        """Whether it carries a request that was sent by then, and whose answer is not complete."""
        return self._sent_at <= moment and (self._answer is not None or self._response is not None)

    def abort(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def resume(self) -> None:
        """The reader has caught up."""
        if self._paused:
            self._paused = False
            self._heard = self._pool.clock()
            if self.usable and self.transport is not None:
                self.transport.resume_reading()

    def sweep(self, now: float, *, silent: bool) -> None:
        """Act on a timeout that has passed; `silent` says that the origin answers nobody, see Trouble."""
        if self._answer is None and self._response is None:
            return
        limits = self._pool.timeouts
        if now - self._sent_at >= limits.total:
            self.fail("total_timeout", f"not complete after {limits.total:g} seconds")
        elif self._heard == _NEVER:
            if now - self._sent_at >= limits.first_byte:
                detail = f"no byte of a body after {limits.first_byte:g} seconds"
                self.fail("first_byte_timeout", detail, silent=silent)
        elif not self._paused and now - self._heard >= limits.idle:
            self.fail("idle_timeout", f"nothing more for {limits.idle:g} seconds")

    # --- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            self._poller = select.poll()
            self._poller.register(raw.fileno(), select.POLLIN)
        # Then writing is paused exactly while part of a request has not left yet. TLS only knows of what it has not
        # encrypted yet, so there a request counts as sent.
        if transport.get_extra_info("sslcontext") is None:
            self.transport.set_write_buffer_limits(high=0)

    def pause_writing(self) -> None:
        self._unwritten = True

    def resume_writing(self) -> None:
        self._unwritten = False

    def eof_received(self) -> None:
        self._eof = True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._response is not None and self._until_close and self._eof and exc is None:
            response, self._response = self._response, None
            response.finish(None)
        else:
            self.fail("reset", str(exc) if exc else "the connection was closed before the response was complete")
        # It holds our methods: a ring that only the garbage collector would break, which seldom comes to what is old.
        del self._parser
        self._pool.lost(self)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None and self._response is None:
            # Nobody asked: whatever this is, it must not become the answer to the next request.
            self.abort()
            return
        pool = self._pool
        pool.heard = pool.clock()
        first = not self._fed
        self._fed = len(data)
        if first:
            body = None if self._asked_head else self._repeats.body_of(data)
            if body is not None:
                # The whole response has arrived at once, with a head that was parsed before.
                self._answer = None
                if answer is not None and not answer.done():
                    answer.set_result(Response(None, self._status, self._repeats.headers.copy(), body))
                self._release()
                return
            self._complete = self._surplus = self._until_close = self._skipping = False
            self._headers = []
            self._carried = 0
        elif self._heard != _NEVER:
            self._heard = self._pool.clock()
        self._fresh = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._surplus = True
            self._fault = ("protocol", "the origin changed the protocol")
        except httptools.HttpParserError as error:
            self._surplus = True
            if self._fault is None:
                self._fault = ("protocol", str(error))
        if self._came:
            self._take_in()
        if self._complete:
            if first and self._repeats.willing:
                self._remember(data)
            self._settle()
        elif self._fault is not None:
            self.fail(*self._fault)
        else:
            self._go_on()

    # --- called by the parser

    def on_message_begin(self) -> None:
        if self._complete:
            self._surplus = True
        self._fresh = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status, headers = self._parser.get_status_code(), self._headers
        if self._carried + self._fed > self._pool.max_header_bytes:
            size = sum(len(name) + len(value) + 4 for name, value in headers)
            if size > self._pool.max_header_bytes:
                raise self._bad("too_large", f"more than {self._pool.max_header_bytes} bytes of headers")
        if status < 200:
            if status == 101:
                raise self._bad("protocol", "the origin changed the protocol")
            self._skipping = True
            self._headers = []
            return
        coding = length = None
        for name, value in headers:
            if name == b"transfer-encoding":
                coding = value if coding is None else b"repeated"
            elif name == b"content-length":
                length = value
        if coding is not None and coding.lower() != b"chunked":
            raise self._bad("protocol", f"transfer-encoding {coding[:40]!r}")
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            # Cancelled in this turn of the loop. The body has no reader, and would hold the connection.
            raise self._bad("client-left", "nobody waits for the answer")
        # What comes now are trailers, which nobody gets to see.
        self._headers = []
        self._keep = self._parser.should_keep_alive()
        self._response = response = Response(self, status, headers)
        self._carried = 0
        self._fresh = True
        if self._asked_head or status in BODILESS:
            if self._asked_head or coding is not None or length is not None:
                # The parser would wait for a body that these lengths only describe.
                self._keep = False
                self._complete = True
        else:
            self._until_close = coding is None and length is None
        answer.set_result(response)

    def on_message_complete(self) -> None:
        if self._skipping:
            self._skipping = False
        elif self._complete:
            self._surplus = True
        else:
            if self._came:
                self._take_in()
            self._complete = True

    # --- inside

    def _bad(self, kind: Kind, detail: str) -> ValueError:
        self._fault = (kind, detail)
        return ValueError(detail)

    def _take_in(self) -> None:
        """Hand on what came of the body."""
        response, came = self._response, self._came
        if self._complete or response is None:
            self._surplus = True
        else:
            self._fresh = True
            self._carried = 0
            if self._heard == _NEVER:
                self._heard = self._pool.clock()
            waiting = response.add(came[0] if len(came) == 1 else b"".join(came))
            if waiting > _HIGH_WATER and not self._paused and self.transport is not None:
                self._paused = True
                self.transport.pause_reading()
        came.clear()

    def _go_on(self) -> None:
        """The response goes on after this read: bound its head, or the framing of its body; tell the reader."""
        if not self._fresh:
            self._carried += self._fed
            if self._carried > self._pool.max_header_bytes:
                self.fail("too_large", f"more than {self._pool.max_header_bytes} bytes of headers")
                return
        if self._response is not None:
            self._response.wake()

    def _settle(self) -> None:
        """The response is complete. Only a connection beyond doubt carries another."""
        response, self._response = self._response, None
        assert response is not None
        if self._keep and not self._surplus:
            if self._paused and self.usable and self.transport is not None:
                self._paused = False
                self.transport.resume_reading()
            self._release()
        else:
            self.abort()
        response.finish(None)

    def _remember(self, data: bytes) -> None:
        """Take a response that came in one read for the pattern of those that follow."""
        response = self._response
        assert response is not None
        # A connection that will not be used again forgets anyway.
        if response.header(b"content-length") is not None:
            self._status = response.status
            self._repeats.learn(data, response.headers, response.waiting, self._pool.max_header_bytes)

    def _release(self) -> None:
        """Let another request have the connection, unless this one is not quite gone."""
        transport = self.transport
        if transport is None or transport.is_closing() or self._eof or transport.get_write_buffer_size():
            self.abort()
        else:
            self._pool.free(self)
