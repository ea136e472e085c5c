"""How do the same handlers run under any ASGI server?"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from upshift.http import head
from upshift.http.exchange import Handler, Headers, OnBadRequest, OnError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class _CutError(Exception):
    """Raised into the ASGI server so that it drops a connection whose answer is not complete."""


class AsgiExchange:
    """An exchange under ASGI; see `Exchange`. Pieces wait here until the server has taken them."""

    def __init__(self, scope: Message, body: bytes) -> None:
        self.method: bytes = scope["method"].encode()
        self.path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.query: bytes = scope["query_string"]
        self.target = self.path + b"?" + self.query if self.query else self.path
        self.headers: Headers = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
        self.body = body
        client = scope.get("client")
        self.peer: str = str(client[0]) if client else ""
        self.gone = False
        self.started = False
        self.ended = False
        self.cut = False
        self.outbox: asyncio.Queue[Message | None] = asyncio.Queue()
        # Reversed so that the first value of a repeated header is the one found.
        self.header: Callable[[bytes], bytes | None] = dict(reversed(self.headers)).get
        self.known: dict[object, object] = {}
        self._callbacks: list[Callable[[], None]] = []

    def respond(self, status: int, headers: Headers, body: bytes, lines: bytes = b"") -> None:
        self.start(status, [*headers, (b"content-length", b"%d" % len(body))], lines)
        self.write(body)
        self.end()

    def start(self, status: int, headers: Headers, lines: bytes = b"") -> None:
        if self.cut:
            return
        if self.started:
            raise RuntimeError("this exchange has been answered already")
        for name, value in headers:
            if any(mark in name + value for mark in (b"\r", b"\n", b"\0")):
                raise ValueError("CR, LF or NUL in a header")
        self.started = True
        headers = [*headers, *head.headers_in(lines)]
        self._put({"type": "http.response.start", "status": status, "headers": headers})

    def write(self, chunk: bytes) -> None:
        if not self.started and not self.cut:
            raise RuntimeError("write and end come after start")
        if chunk and self.method != b"HEAD":
            self._put({"type": "http.response.body", "body": chunk, "more_body": True})

    async def drain(self) -> None:
        if not self.gone:
            await self.outbox.join()

    def end(self) -> None:
        if not self.started and not self.cut:
            raise RuntimeError("write and end come after start")
        self._put({"type": "http.response.body", "body": b"", "more_body": False})
        self.ended = True
        self.outbox.put_nowait(None)

    def abort(self) -> None:
        if not self.ended:
            self.cut = True
            self.outbox.put_nowait(None)

    def on_gone(self, callback: Callable[[], None]) -> None:
        if self.gone:
            callback()
        else:
            self._callbacks.append(callback)

    def leave(self, on_error: OnError) -> None:
        """The client has left."""
        if self.ended or self.cut or self.gone:
            return
        self.gone = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - one listener's bug must not keep the others from hearing
                on_error(error)
        self.outbox.put_nowait(None)

    def discard(self) -> None:
        """Nobody takes what is still here: let go of whoever waits in `drain`."""
        while not self.outbox.empty():
            self.outbox.get_nowait()
            self.outbox.task_done()

    def _put(self, message: Message) -> None:
        if not (self.gone or self.cut or self.ended):
            self.outbox.put_nowait(message)


class AsgiApp:
    """An ASGI application around a handler. The ASGI server has its own limits and refuses in its own words."""

    def __init__(
        self, handler: Handler, *, max_body_bytes: int, on_error: OnError, on_bad_request: OnBadRequest
    ) -> None:
        self._handler = handler
        self._max_body_bytes = max_body_bytes
        self._on_error = on_error
        self._on_bad_request = on_bad_request
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        match scope["type"]:
            case "http":
                await self._serve(scope, receive, send)
            case "lifespan":
                await _live(receive, send)
            case other:
                raise ValueError(f"no {other} here")

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        body = await self._body(receive)
        if body is None:
            return
        exchange = AsgiExchange(scope, body)
        if len(body) > self._max_body_bytes:
            self._refuse(exchange, 413, f"a body may have {self._max_body_bytes} bytes")
            await self._pump(exchange, send)
            return
        # Handlers outlive their client: they have books to close, so only the pump ends with the connection.
        handling = asyncio.get_running_loop().create_task(self._handle(exchange))
        self._running.add(handling)
        handling.add_done_callback(self._running.discard)
        watching = asyncio.get_running_loop().create_task(self._watch(exchange, receive))
        try:
            await self._pump(exchange, send)
        finally:
            watching.cancel()
            exchange.leave(self._on_error)
            exchange.discard()
        if exchange.cut:
            raise _CutError("the answer is not complete")

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body, or at least more of it than allowed; None when the client left meanwhile."""
        body = bytearray()
        while len(body) <= self._max_body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return bytes(body)

    async def _handle(self, exchange: AsgiExchange) -> None:
        try:
            await self._handler(exchange)
        except Exception as error:  # noqa: BLE001 - the outermost edge: one request's bug must not end the server
            self._on_error(error)
        else:
            if exchange.ended or exchange.cut or exchange.gone:
                return
            self._on_error(RuntimeError("a handler returned without a complete answer"))
        if exchange.started:
            exchange.abort()
        elif not (exchange.gone or exchange.cut):
            self._refuse(exchange, 500, "internal error")

    def _refuse(self, exchange: AsgiExchange, status: int, reason: str) -> None:
        headers, body = self._on_bad_request(status, reason, exchange.target, exchange.headers)
        exchange.respond(status, headers, body)

    async def _watch(self, exchange: AsgiExchange, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        exchange.leave(self._on_error)

    async def _pump(self, exchange: AsgiExchange, send: Send) -> None:
        while (message := await exchange.outbox.get()) is not None:
            try:
                await send(message)
            except OSError:
                exchange.leave(self._on_error)
            finally:
                exchange.outbox.task_done()
        exchange.outbox.task_done()


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
