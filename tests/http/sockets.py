"""How do the tests here speak raw HTTP to a server of ours, and script an origin for our client?"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from upshift.http.client import Timeouts, Upstream
from upshift.http.exchange import Exchange, Handler, Headers
from upshift.http.limits import ServerLimits
from upshift.http.server import Server, serve

PATIENCE = 60.0
PATIENT = Timeouts(connect=PATIENCE)
T = TypeVar("T")


async def soon(awaitable: Awaitable[T]) -> T:
    """The result, or a failed test instead of one that hangs."""
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something has happened."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - sockets have no event to wait for from outside
            await asyncio.sleep(0.001)


class HandClock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Answer:
    """One answer as it was on the wire."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Caller:
    """A client that sends exactly the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """The next answer."""
        top = await soon(self.reader.readuntil(b"\r\n\r\n"))
        line, *lines = top[:-4].split(b"\r\n")
        status = int(line.split(b" ")[1])
        headers = dict(part.split(b": ", 1) for part in lines)
        if bodiless or status < 200 or status in (204, 304):
            return Answer(status, headers, b"")
        if b"content-length" in headers:
            return Answer(status, headers, await soon(self.reader.readexactly(int(headers[b"content-length"]))))
        if b"transfer-encoding" not in headers:
            return Answer(status, headers, await soon(self.reader.read()))
        body = b""
        while size := int(await soon(self.reader.readline()), 16):
            body += (await soon(self.reader.readexactly(size + 2)))[:-2]
        assert await soon(self.reader.readline()) == b"\r\n"
        return Answer(status, headers, body)

    async def rest(self) -> bytes:
        """Everything until the connection ends, however it ends."""
        gathered = b""
        try:
            while piece := await soon(self.reader.read(65536)):
                gathered += piece
        except ConnectionError:
            pass
        return gathered

    async def closed(self) -> bool:
        """The server has ended the connection and sent nothing more."""
        return await self.rest() == b""

    def reset(self) -> None:
        """Leave without a word."""
        self.writer.transport.abort()


@dataclass
class Served:
    """A running server, what it complained of, and its clock."""

    server: Server
    clock: HandClock
    errors: list[BaseException] = field(default_factory=list)

    async def call(self) -> Caller:
        return Caller(*await soon(asyncio.open_connection("127.0.0.1", self.server.port)))

    async def talk(self, data: bytes) -> list[int]:
        """Send once, close our half, and return the status of each answer."""
        caller = await self.call()
        caller.send(data)
        caller.writer.write_eof()
        answers = await caller.rest()
        caller.reset()
        return statuses(answers)

    def pass_seconds(self, seconds: float) -> None:
        self.clock.now += seconds
        self.server.sweep()


def statuses(answers: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def words(status: int, reason: str, target: bytes | None, headers: Headers) -> tuple[Headers, bytes]:
    said = f"{status} {reason} {(target or b'-').decode('latin-1')}"
    return [(b"content-type", b"text/plain")], said.encode()


async def echo(exchange: Exchange) -> None:
    """Says what it was asked."""
    exchange.respond(200, [(b"x-path", exchange.path)], exchange.method + b" " + exchange.target + b" " + exchange.body)


@asynccontextmanager
async def served(handler: Handler = echo, limits: ServerLimits | None = None) -> AsyncIterator[Served]:
    """A server on an ephemeral port whose timeouts pass only by hand."""
    clock = HandClock()
    errors: list[BaseException] = []
    server = await serve(
        handler,
        "127.0.0.1",
        0,
        limits=limits or ServerLimits(),
        on_error=errors.append,
        on_bad_request=words,
        clock=clock,
    )
    try:
        yield Served(server, clock, errors)
    finally:
        await server.shutdown(0.0)


class Origin:
    """A provider that follows a script; `talks` counts connections."""

    def __init__(self, script: Callable[[Caller], Awaitable[None]]) -> None:
        self._script = script
        self.talks = 0
        self._running: set[asyncio.Task[None]] = set()
        self.listener: asyncio.Server

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.talks += 1
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await self._script(Caller(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._running.discard(task)
            writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.sockets[0].getsockname()[1]}/v1"

    async def stop(self) -> None:
        self.listener.close()
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


async def request_of(caller: Caller) -> bytes:
    """Read one request with a content-length; returns its bytes."""
    top = await caller.reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", top)
    return top + (await caller.reader.readexactly(int(found[1])) if found else b"")


def says(*answers: bytes) -> Callable[[Caller], Awaitable[None]]:
    """A script: one answer for each request of a connection, then the end."""

    async def script(caller: Caller) -> None:
        for answer in answers:
            await request_of(caller)
            caller.send(answer)
        await caller.writer.drain()

    return script


def says_and_stays(*answers: bytes) -> Callable[[Caller], Awaitable[None]]:
    """As `says`, but the connection stays until the client ends it."""

    async def script(caller: Caller) -> None:
        await says(*answers)(caller)
        await caller.reader.read()

    return script


@asynccontextmanager
async def origin(
    script: Callable[[Caller], Awaitable[None]],
    *,
    timeouts: Timeouts | None = None,
    clock: Callable[[], float] | None = None,
    max_connections: int = 10,
    max_header_bytes: int = 64 * 1024,
) -> AsyncIterator[tuple[Upstream, Origin]]:
    """A scripted origin and a pool that reaches it."""
    place = Origin(script)
    place.listener = await asyncio.start_server(place, "127.0.0.1", 0)
    upstream = Upstream(
        place.url,
        timeouts=timeouts or PATIENT,
        max_connections=max_connections,
        max_header_bytes=max_header_bytes,
        clock=clock or HandClock(),
    )
    try:
        yield upstream, place
    finally:
        await soon(upstream.close())
        await place.stop()
