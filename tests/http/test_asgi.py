"""Do handlers behave the same under an ASGI server, and is our own server nowhere laxer than that one?"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from tests.http.sockets import Caller, echo, served, soon, statuses, until, words
from tests.http.test_server import CHUNKED, GET, POST, SMUGGLING

from upshift.http.asgi import AsgiApp
from upshift.http.exchange import Exchange, Handler
from upshift.http.head import lines


class Fallback:
    """A handler under uvicorn."""

    def __init__(self, port: int, errors: list[BaseException]) -> None:
        self.port = port
        self.errors = errors

    async def call(self) -> Caller:
        return Caller(*await soon(asyncio.open_connection("127.0.0.1", self.port)))


@asynccontextmanager
async def under_uvicorn(handler: Handler = echo) -> AsyncIterator[Fallback]:
    errors: list[BaseException] = []
    app = AsgiApp(handler, max_body_bytes=100_000, on_error=errors.append, on_bad_request=words)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, http="httptools", ws="none", lifespan="on", log_config=None, access_log=False, timeout_keep_alive=600
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server._serve([bound]))
        await until(lambda: server.started)
        try:
            yield Fallback(bound.getsockname()[1], errors)
        finally:
            server.should_exit = server.force_exit = True
            await soon(running)


async def talk(caller: Caller, data: bytes) -> list[int]:
    caller.send(data)
    caller.send(b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answers = await caller.rest()
    caller.reset()
    return statuses(answers)


async def test_an_exchange_has_what_was_sent() -> None:
    seen: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange)
        await echo(exchange)

    async with under_uvicorn(handler) as place:
        caller = await place.call()
        caller.send(POST.replace(b"/p", b"/p%20q?r=1"))
        answer = await caller.answer()
        assert (answer.status, answer.body) == (200, b"POST /p%20q?r=1 hello")
        assert answer.headers[b"x-path"] == b"/p%20q"
        caller.send(CHUNKED)
        assert (await caller.answer()).body == b"POST /p hello"
        caller.reset()
    assert seen[0].peer == "127.0.0.1"
    assert (seen[0].header(b"host"), seen[0].header(b"absent")) == (b"x", None)


async def test_headers_that_were_written_beforehand() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.respond(200, [(b"x-a", b"1")], b"hello", lines([(b"x-b", b"2: 3"), (b"x-c", b"")]))

    async with under_uvicorn(handler) as place:
        caller = await place.call()
        caller.send(GET)
        answer = await caller.answer()
        assert (answer.headers[b"x-a"], answer.headers[b"x-b"], answer.headers[b"x-c"]) == (b"1", b"2: 3", b"")
        assert answer.body == b"hello"
        caller.reset()


async def test_streams_and_head() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        for piece in (b"one", b"two"):
            exchange.write(piece)
            await exchange.drain()
        exchange.end()

    async with under_uvicorn(handler) as place:
        caller = await place.call()
        caller.send(GET)
        assert (await caller.answer()).body == b"onetwo"
        caller.send(GET.replace(b"GET", b"HEAD"))
        assert (await caller.answer(bodiless=True)).status == 200
        caller.reset()
        assert not place.errors


@pytest.mark.parametrize("started", [True, False])
async def test_a_handler_that_fails(started: bool) -> None:
    async def handler(exchange: Exchange) -> None:
        if started:
            exchange.start(200, [])
            exchange.write(b"half")
        raise ZeroDivisionError

    async with under_uvicorn(handler) as place:
        caller = await place.call()
        caller.send(GET)
        if started:
            assert not (await caller.rest()).endswith(b"0\r\n\r\n")
        else:
            assert (await caller.answer()).body == b"500 internal error /a?b=c"
        caller.reset()
        assert isinstance(place.errors[0], ZeroDivisionError)


async def test_a_handler_that_forgets_to_answer() -> None:
    async def handler(exchange: Exchange) -> None:
        del exchange

    async with under_uvicorn(handler) as place:
        caller = await place.call()
        caller.send(GET)
        assert (await caller.answer()).status == 500
        caller.reset()
        assert isinstance(place.errors[0], RuntimeError)


async def test_bodies_that_are_too_large() -> None:
    async with under_uvicorn() as place:
        caller = await place.call()
        caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000)
        assert (await caller.answer()).status == 413
        caller.reset()


async def test_a_client_that_leaves_is_noticed_and_the_handler_runs_on() -> None:
    told: list[str] = []
    begun, closed = asyncio.Event(), asyncio.Event()
    gone = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.on_gone(lambda: told.append("gone"))
        exchange.on_gone(gone.set)
        begun.set()
        await gone.wait()
        assert exchange.gone
        exchange.start(200, [])
        exchange.write(b"dropped")
        await exchange.drain()
        exchange.end()
        told.append("books closed")
        closed.set()

    async with under_uvicorn(handler) as place:
        caller = await place.call()
        caller.send(GET)
        await soon(begun.wait())
        caller.reset()
        await soon(closed.wait())
        assert told == ["gone", "books closed"]
        assert not place.errors


async def test_abort_cannot_be_taken_for_the_end() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"half")
        exchange.abort()
        exchange.write(b"dropped")

    async with under_uvicorn(handler) as place:
        caller = await place.call()
        caller.send(GET)
        assert not (await caller.rest()).endswith(b"0\r\n\r\n")
        assert not place.errors


async def test_misuse_raises() -> None:
    async def handler(exchange: Exchange) -> None:
        with pytest.raises(RuntimeError):
            exchange.write(b"x")
        with pytest.raises(RuntimeError):
            exchange.end()
        with pytest.raises(ValueError, match="CR"):
            exchange.start(200, [(b"x", b"\n")])
        await echo(exchange)
        with pytest.raises(RuntimeError):
            exchange.respond(200, [], b"")

    async with under_uvicorn(handler) as place:
        caller = await place.call()
        caller.send(GET)
        assert (await caller.answer()).status == 200
        caller.reset()
        assert not place.errors


ORDINARY = [
    b"",
    GET,
    POST,
    CHUNKED,
    GET * 3,
    POST + CHUNKED + GET,
    b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"OPTIONS /x HTTP/1.1\r\nhost: x\r\n\r\n",
    b"DELETE /x HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET http://x/y HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"GET /%ff%00 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nx: \xe9\r\n\r\n",
]
HOSTILE = [b"POST / HTTP/1.1\r\nHost: x\r\n" + rest for rest, _ in SMUGGLING] + [
    b"GET / HTTP/2.0\r\nhost: x\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    b"get / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01",
]


async def test_our_own_server_is_as_strict_as_uvicorn_or_stricter() -> None:
    async with served() as own, under_uvicorn() as other:
        for data in ORDINARY:
            assert await talk(await own.call(), data) == await talk(await other.call(), data), data
        for data in HOSTILE:
            ours = await talk(await own.call(), data)
            theirs = await talk(await other.call(), data)
            assert ours[-1] >= 400, data
            assert ours.count(200) <= theirs.count(200), data
