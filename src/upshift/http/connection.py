"""What happens on one client's connection: requests are parsed, queued, handed over and answered in order."""

import asyncio
import math
import socket
import struct
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol, cast

import httptools

from upshift.http import head
from upshift.http.answering import Asked, Refusal, SocketExchange, asked
from upshift.http.exchange import Headers, OnBadRequest, OnError
from upshift.http.limits import ServerLimits, object_to, path_of
from upshift.http.repeat import Repeats

_PIPELINED = 16
_PIECES = 256
_LINGER = 2.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Host(Protocol):
    """What a connection needs of its server."""

    limits: ServerLimits
    date: bytes
    closing: bool
    clock: Callable[[], float]
    on_error: OnError
    on_bad_request: OnBadRequest

    def joined(self, connection: "Connection") -> None: ...

    def left(self, connection: "Connection") -> None: ...

    def run(self, exchange: SocketExchange) -> None: ...


class _Reading(Enum):
    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
    # Refused or answered for the last time: what still comes is thrown away.
    DEAF = auto()


# Looking a member up on its class costs a tenth of a microsecond in Python 3.11, and a request needs a dozen.
_NOTHING, _HEAD, _BODY, _DEAF = _Reading
_NEVER = math.inf


class Connection(asyncio.Protocol):
    """One client's connection. `deadline` and `stalled_until` are seconds of the server's clock."""

    __slots__ = (
        "_again",
        "_arriving",
        "_body_bytes",
        "_bulk",
        "_carried",
        "_fault",
        "_fed",
        "_fresh",
        "_headers",
        "_last",
        "_owes_continue",
        "_paused",
        "_peer",
        "_pieces",
        "_queue",
        "_reading",
        "_repeats",
        "_target",
        "_upgrade",
        "_upgraded",
        "_waiters",
        "current",
        "deadline",
        "eof",
        "host",
        "parser",
        "stalled",
        "stalled_until",
        "transport",
    )

    def __init__(self, host: Host) -> None:
        self.host = host
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport
        self.current: SocketExchange | None = None
        self.deadline = _NEVER
        self.stalled = False
        self.stalled_until = _NEVER
        self._queue: deque[SocketExchange | Refusal] = deque()
        self._reading = _NOTHING
        self._repeats = Repeats()
        # By the head that is remembered there.
        self._again: Asked
        # The request that was parsed last; kept no longer than the read that ended it.
        self._last: SocketExchange | None = None
        self._arriving: SocketExchange | None = None
        self._target = b""
        self._headers: Headers = []
        self._pieces: list[bytes] = []
        self._bulk = bytearray()
        self._body_bytes = 0
        # Bytes of earlier reads that belong to the head, or to a body's framing, that has not ended yet.
        self._carried = 0
        self._fed = 0
        self._fresh = False
        self._fault: tuple[int, str] | None = None
        self._owes_continue = False
        self._upgrade = False
        self._upgraded: Headers | None = None
        self._paused = False
        self.eof = False
        self._waiters: list[asyncio.Future[None]] = []
        self._peer: str | None = None

    # --- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=self.host.limits.write_high_water)
        self.deadline = self.host.clock() + self.host.limits.keep_alive_timeout
        self.host.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._reading = _DEAF
        # It holds our methods: a ring that only the garbage collector would break, which seldom comes to what is old.
        del self.parser
        self._queue.clear()
        self._arriving = None
        self._wake()
        current, self.current = self.current, None
        if current is not None:
            current.leave()
        self.host.left(self)

    def eof_received(self) -> bool:
        # `printf ... | nc` closes its half and still wants its answer. TLS has no half-closed state.
        self.eof = True
        return self.current is not None and self.transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        self.stalled = True
        self.stalled_until = self.host.clock() + self.host.limits.write_timeout

    def resume_writing(self) -> None:
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self._reading is _NOTHING:
            repeats, host = self._repeats, self.host
            body = repeats.body_of(data)
            if body is not None and len(body) <= host.limits.max_body_bytes:
                exchange = SocketExchange(self, self._again, repeats.headers.copy(), repeats.fields.get, body)
                if self.current is None:
                    self.deadline = _NEVER
                    self.current = exchange
                    host.run(exchange)
                else:
                    self._hand_over(exchange)
                return
            self._feed(data)
            if self._reading is _NOTHING and self._last is not None and repeats.willing:
                self._remember(data, self._last)
            self._last = None
        elif self._reading is not _DEAF:
            self._feed(data)
            self._last = None

    # --- called by the parser

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = []
        self._pieces = []
        self._body_bytes = 0
        self._carried = 0
        self._fresh = True
        self._reading = _HEAD
        self.deadline = self.host.clock() + self.host.limits.header_timeout

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        headers = self._headers
        # Reversed so that the first value of a repeated header is the one found.
        fields = dict(reversed(headers))
        keep = parser.should_keep_alive()
        version = "1.1" if keep and b"connection" not in fields else parser.get_http_version()
        method = parser.get_method()
        objection = object_to(
            method, version, self._target, headers, fields, self._carried + self._fed, self.host.limits
        )
        if objection is not None:
            raise self._refused(*objection)
        if parser.should_upgrade():
            self._upgrade = True
            return
        if self._upgraded is not None:
            headers, self._upgraded = self._upgraded, None
            fields = dict(reversed(headers))
        target = path_of(method, self._target)
        if target is None:
            raise self._refused(400, "the target is neither a path nor a URL")
        self._arriving = SocketExchange(self, asked(method, target, keep, version != "1.1"), headers, fields.get)
        if b"transfer-encoding" in fields:
            # Trailers would land among the headers, where a handler would trust them.
            self._headers = []
        if b"expect" in fields and version == "1.1":
            self._owes_continue = fields[b"expect"].lower() == b"100-continue"
        self._carried = 0
        self._fresh = True
        self._reading = _BODY

    def on_body(self, piece: bytes) -> None:
        self._fresh = True
        self._carried = 0
        self._body_bytes += len(piece)
        if self._body_bytes > self.host.limits.max_body_bytes:
            raise self._refused(413, f"a body may have {self.host.limits.max_body_bytes} bytes")
        self._pieces.append(piece)
        if len(self._pieces) == _PIECES:
            # Many tiny objects would take far more memory than the bytes that were allowed.
            self._bulk += b"".join(self._pieces)
            self._pieces.clear()

    def on_message_complete(self) -> None:
        if self._upgrade:
            return
        exchange = self._arriving
        assert exchange is not None
        self._arriving = None
        self._owes_continue = False
        self._reading = _NOTHING
        if self._bulk:
            exchange.body = bytes(self._bulk) + b"".join(self._pieces)
            self._bulk = bytearray()
        elif self._pieces:
            exchange.body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        if not exchange.keep:
            self._reading = _DEAF
        self._last = exchange
        self._hand_over(exchange)

    # --- called by the exchange

    def ends(self) -> bool:
        """Whether the connection ends with the answer that is given now, though its client would keep it."""
        return self.host.closing or (self.eof and not self._queue)

    def write(self, data: bytes) -> None:
        """Send, or drop when nobody is there any more."""
        # A transport that has failed or was cut is closed before the loop says so, and uvloop then raises on write.
        if not self.transport.is_closing():
            self.transport.write(data)

    def finish(self, data: bytes, last: bool) -> None:
        """Send the end of an answer, and on to the next request."""
        self.current = None
        transport = self.transport
        # As in `write`.
        if transport.is_closing():
            return
        if data:
            transport.write(data)
        if last:
            self.close()
        elif self._queue:
            if transport.is_closing():
                return
            following = self._queue.popleft()
            if self._paused and len(self._queue) < _PIPELINED:
                self._paused = False
                transport.resume_reading()
            if isinstance(following, Refusal):
                self._say_no(following)
            else:
                self.current = following
                self.host.run(following)
        elif self._reading is _NOTHING:
            host = self.host
            self.deadline = host.clock() + host.limits.keep_alive_timeout
        elif self._owes_continue:
            self._continue()

    def cut(self) -> None:
        """End the connection such that a client cannot take what it has for complete."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def complain(self, error: BaseException) -> None:
        """Tell of a bug that must not end the connection."""
        self.host.on_error(error)

    def words(self, refusal: Refusal) -> tuple[Headers, bytes]:
        """Headers and body of a refusal; empty ones when the words cannot be had."""
        try:
            headers, body = self.host.on_bad_request(refusal.status, refusal.reason, refusal.target, refusal.headers)
            head.answer_head(refusal.status, self.host.date, headers)
        except Exception as error:  # noqa: BLE001 - runs in the sweep too, where a bug would end all timeouts
            self.host.on_error(error)
            return [], b""
        return headers, body

    def peer(self) -> str:
        """The client's address, without port."""
        if self._peer is None:
            name = self.transport.get_extra_info("peername")
            self._peer = str(name[0]) if isinstance(name, tuple) else ""
        return self._peer

    async def writable(self) -> None:
        """Until the client reads again, or has left."""
        if self.stalled:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    # --- called by the server

    @property
    def idle(self) -> bool:
        """Nothing asked, nothing owed."""
        return self.current is None and self._reading is _NOTHING

    def close(self) -> None:
        """End the connection after what has been written."""
        self._reading = _DEAF
        self.deadline = self.host.clock() + self.host.limits.write_timeout
        self.transport.close()

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed."""
        if self.stalled_until <= now:
            self.transport.abort()
        elif self.deadline <= now:
            self.deadline = _NEVER
            match self._reading:
                case _Reading.NOTHING:
                    self.close()
                case _Reading.HEAD:
                    self._refuse(408, f"headers took more than {self.host.limits.header_timeout:g} seconds")
                case _Reading.BODY:
                    self._refuse(408, f"no more of the body for {self.host.limits.body_timeout:g} seconds")
                case _Reading.DEAF:
                    self.transport.abort()

    # --- inside

    def _feed(self, data: bytes) -> None:
        self._fed = len(data)
        self._fresh = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._misfed(error)
            return
        if self._reading is not _NOTHING:
            self._incomplete()

    def _hand_over(self, exchange: SocketExchange) -> None:
        self.deadline = _NEVER
        if self.current is None:
            self.current = exchange
            self.host.run(exchange)
        else:
            self._enqueue(exchange)

    def _remember(self, data: bytes, exchange: SocketExchange) -> None:
        """Take a request that came in one read for the pattern of those that follow."""
        again = exchange.asked
        if again.keep and not again.old and exchange.header(b"transfer-encoding") is None:
            self._again = again
            self._repeats.learn(data, exchange.headers, len(exchange.body), self.host.limits.max_header_bytes)

    def _refused(self, status: int, reason: str) -> ValueError:
        self._fault = (status, reason)
        return ValueError(reason)

    def _misfed(self, error: httptools.HttpParserError) -> None:
        if self._reading is _DEAF:
            # Surplus after a request that said it was the last: never looked at.
            return
        if self._fault is not None:
            self._refuse(*self._fault)
        elif isinstance(error, httptools.HttpParserCallbackError):
            self.host.on_error(error)
            self._refuse(500, "internal error")
        else:
            self._refuse(400, str(error))

    def _incomplete(self) -> None:
        """A message goes on after this read: bound its head, or the framing of its body, and its patience."""
        if self._reading is _DEAF:
            return
        if not self._fresh:
            # The parser keeps an unfinished header, and a trailer, to itself: count what it was given.
            self._carried += self._fed
            if self._carried > self.host.limits.max_header_bytes:
                self._refuse(431, f"more than {self.host.limits.max_header_bytes} bytes of headers")
                return
        if self._reading is _BODY:
            self.deadline = self.host.clock() + self.host.limits.body_timeout
            if self._owes_continue and self.current is None:
                self._continue()

    def _continue(self) -> None:
        self._owes_continue = False
        self.write(head.CONTINUE)

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read a request that offers an upgrade as if it did not: some clients offer one with their first POST."""
        self._upgrade = False
        parser, headers = self.parser, self._headers
        top = head.without_upgrade(parser.get_method(), self._target, parser.get_http_version(), headers)
        self._upgraded = headers
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(top + rest)

    def _enqueue(self, item: SocketExchange | Refusal) -> None:
        self._queue.append(item)
        if len(self._queue) >= _PIPELINED and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _refuse(self, status: int, reason: str) -> None:
        """Answer a request that will not reach the handler, after those that came before it."""
        known = self._reading is not _NOTHING and self._target
        refusal = Refusal(status, reason, self._target if known else None, self._headers if known else [])
        self._reading = _DEAF
        self.deadline = _NEVER
        if self.current is None:
            self._say_no(refusal)
        else:
            self._enqueue(refusal)

    def _say_no(self, refusal: Refusal) -> None:
        headers, body = self.words(refusal)
        top = head.answer_head(refusal.status, self.host.date, headers)
        framing = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.write(top + framing + body)
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            # Closing while bytes are unread sends a reset, which can overtake the answer: linger instead.
            self.transport.write_eof()
            self.deadline = self.host.clock() + _LINGER
        else:
            self.close()

    def _wake(self) -> None:
        self.stalled = False
        self.stalled_until = _NEVER
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
