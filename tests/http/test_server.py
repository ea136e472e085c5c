"""Does the server parse, order, refuse, time out and shut down as promised?"""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.http.sockets import PATIENCE, Answer, Caller, Served, echo, served, soon, statuses, until

from upshift.http.exchange import Exchange, Headers
from upshift.http.head import lines
from upshift.http.limits import ServerLimits

GET = b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
LONGER = POST.replace(b"5", b"11") + b" world"
CHUNKED = (
    b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\nX-Trailer: evil\r\n\r\n"
)


class Gate:
    """A handler that waits until it is let go; `seen` has its exchanges."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.seen: list[Exchange] = []

    async def __call__(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        await self.open.wait()
        await echo(exchange)


async def test_an_exchange_has_what_was_sent() -> None:
    seen: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange)
        await echo(exchange)

    async with served(handler) as place:
        caller = await place.call()
        caller.send(b"POST /p%20q?r=1&s HTTP/1.1\r\nHost: x\r\nX-Two: 1\r\nX-TWO: 2\r\nX-None:\r\n")
        caller.send(b"Content-Length: 5\r\n\r\nhello")
        answer = await caller.answer()
        assert answer.body == b"POST /p%20q?r=1&s hello"
        assert answer.headers[b"x-path"] == b"/p%20q"
        assert b"date" in answer.headers
        caller.reset()
    exchange = seen[0]
    assert (exchange.query, exchange.peer) == (b"r=1&s", "127.0.0.1")
    assert exchange.header(b"x-two") == b"1"
    assert exchange.header(b"x-none") == b""
    assert exchange.header(b"x-absent") is None
    assert exchange.headers[1:3] == [(b"x-two", b"1"), (b"x-two", b"2")]


async def test_connections_are_kept_and_answers_stay_in_order() -> None:
    gate = Gate()
    async with served(gate) as place:
        caller = await place.call()
        # More than the server queues before it stops reading.
        caller.send(b"".join(GET.replace(b"/a", b"/%d" % n) for n in range(50)))
        await until(lambda: len(gate.seen) == 1)
        gate.open.set()
        for n in range(50):
            assert (await caller.answer()).body == b"GET /%d?b=c " % n
        caller.send(POST)
        assert (await caller.answer()).body == b"POST /p hello"
        assert place.server.open_connections == 1
        caller.reset()


async def test_a_later_pipelined_request_is_not_begun_before_the_earlier_is_answered() -> None:
    gate = Gate()
    async with served(gate) as place:
        caller = await place.call()
        caller.send(GET + POST)
        await until(lambda: len(gate.seen) == 1)
        assert place.server.in_flight == 1
        gate.open.set()
        assert [(await caller.answer()).status for _ in range(2)] == [200, 200]
        caller.reset()


async def test_chunked_bodies_are_joined_and_trailers_dropped() -> None:
    seen: list[Exchange] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange)
        await echo(exchange)

    async with served(handler) as place:
        caller = await place.call()
        for at in range(len(CHUNKED)):
            caller.send(CHUNKED[at : at + 1])
            await caller.writer.drain()
        assert (await caller.answer()).body == b"POST /p hello"
        caller.send(CHUNKED + POST)
        assert (await caller.answer()).body == b"POST /p hello"
        assert (await caller.answer()).body == b"POST /p hello"
        caller.reset()
    assert all(exchange.header(b"x-trailer") is None for exchange in seen)
    assert all(name != b"x-trailer" for exchange in seen for name, _ in exchange.headers)


async def test_a_body_of_many_tiny_chunks_arrives_whole() -> None:
    async with served() as place:
        caller = await place.call()
        caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + b"2\r\nab\r\n" * 1000)
        caller.send(b"0\r\n\r\n")
        assert (await caller.answer()).body == b"POST / " + b"ab" * 1000
        caller.reset()


async def test_streamed_answers_are_chunked_and_the_connection_is_kept() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.start(201, [(b"content-type", b"text/event-stream"), (b"content-length", b"7")])
        for piece in (b"one", b"", b"two" * 10):
            exchange.write(piece)
            await exchange.drain()
        exchange.end()

    async with served(handler) as place:
        caller = await place.call()
        for _ in range(2):
            caller.send(GET)
            answer = await caller.answer()
            assert (answer.status, answer.body) == (201, b"one" + b"two" * 10)
            assert b"content-length" not in answer.headers
        caller.reset()


@pytest.mark.parametrize("streamed", [True, False])
async def test_head_has_no_body(streamed: bool) -> None:
    async def handler(exchange: Exchange) -> None:
        if streamed:
            exchange.start(200, [])
            exchange.write(b"never seen")
            exchange.end()
        else:
            exchange.respond(200, [], b"12345")

    async with served(handler) as place:
        caller = await place.call()
        caller.send(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n" * 2)
        for _ in range(2):
            answer = await caller.answer(bodiless=True)
            assert answer.headers.get(b"content-length", b"5") == b"5"
        caller.reset()
        assert not place.errors


async def test_bodiless_statuses_have_neither_body_nor_length() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.respond(204, [], b"not sent")

    async with served(handler) as place:
        caller = await place.call()
        caller.send(GET * 2)
        for _ in range(2):
            assert b"content-length" not in (await caller.answer()).headers
        caller.reset()


async def test_http_1_0_closes_unless_asked_to_stay() -> None:
    async with served() as place:
        caller = await place.call()
        caller.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await caller.answer()).headers[b"connection"] == b"keep-alive"
        caller.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await caller.answer()).headers[b"connection"] == b"close"
        assert await caller.closed()


async def test_http_1_0_streams_end_by_closing() -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"one")
        exchange.write(b"two")
        exchange.end()

    async with served(handler) as place:
        caller = await place.call()
        caller.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = await caller.answer()
        assert (answer.body, answer.headers[b"connection"]) == (b"onetwo", b"close")
        assert b"transfer-encoding" not in answer.headers


async def test_connection_close_ends_after_the_answer_and_surplus_is_not_looked_at() -> None:
    async with served() as place:
        caller = await place.call()
        caller.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" + GET)
        assert (await caller.answer()).headers[b"connection"] == b"close"
        assert await caller.closed()


async def test_expect_is_answered_only_when_the_body_is_missing() -> None:
    top = POST[:-5].replace(b"host", b"Expect: 100-continue\r\nhost")
    async with served() as place:
        caller = await place.call()
        caller.send(top)
        assert (await caller.answer()).status == 100
        caller.send(b"hello")
        assert (await caller.answer()).body == b"POST /p hello"
        caller.send(top + b"hello")
        assert (await caller.answer()).status == 200
        caller.reset()


async def test_a_pipelined_expect_waits_its_turn() -> None:
    gate = Gate()
    async with served(gate) as place:
        caller = await place.call()
        caller.send(GET + POST[:-5].replace(b"host", b"Expect: 100-continue\r\nhost"))
        await until(lambda: len(gate.seen) == 1)
        gate.open.set()
        assert (await caller.answer()).status == 200
        assert (await caller.answer()).status == 100
        caller.send(b"hello")
        assert (await caller.answer()).status == 200
        caller.reset()


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n", b"GET / "),
        (POST.replace(b"host", b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhost"), b"POST /p hello"),
        (
            CHUNKED.replace(b"Host", b"connection: Upgrade\r\nupgrade: h2c\r\nHost"),
            b"POST /p hello",
        ),
    ],
)
async def test_offers_to_upgrade_are_ordinary_requests(request_bytes: bytes, body: bytes) -> None:
    seen: list[bytes | None] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange.header(b"upgrade"))
        await echo(exchange)

    async with served(handler) as place:
        caller = await place.call()
        caller.send(request_bytes + GET)
        assert (await caller.answer()).body == body
        assert (await caller.answer()).body == b"GET /a?b=c "
        caller.reset()
    assert seen[0] is not None
    assert seen[1] is None


# One line per trick of request smuggling, and what it is answered with; nothing after it may be served.
SMUGGLING = [
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    (b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    (b"Content-Length: 5, 6\r\n\r\nhello", 400),
    (b"Content-Length: +5\r\n\r\nhello", 400),
    (b"Content-Length: -5\r\n\r\nhello", 400),
    (b"Content-Length: 0x5\r\n\r\nhello", 400),
    (b"Content-Length: \r\n\r\nhello", 400),
    (b"Content-Length : 5\r\n\r\nhello", 400),
    (b"Content-Length: 99999999999999999999\r\n\r\nhello", 400),
    (b"X: a\r\n folded\r\n\r\n", 400),
    (b"X: a\0b\r\n\r\n", 400),
    (b"X\0: a\r\n\r\n", 400),
    (b"X: a\rb\r\n\r\n", 400),
    (b"X: a\x0bb\r\n\r\n", 400),
    (b": a\r\n\r\n", 400),
    (b"X\r\n\r\n", 400),
    (b"X Y: a\r\n\r\n", 400),
    (b"X: a\n\r\n", 400),
    (b"X: a\r\n\n", 400),
    (b"Host: y\r\n\r\n", 400),
    (b"Transfer-Encoding: gzip\r\n\r\n", 501),
    (b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    (b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    (b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    (b"Transfer-Encoding: identity\r\n\r\n", 501),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    (b"Transfer-Encoding: chunked\r\n\r\n5x\r\nhello\r\n0\r\n\r\n", 400),
    (b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 400),
    (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n", 400),
    (b"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", 400),
    (b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400),
    (b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", 400),
    (b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n", 400),
]


@pytest.mark.parametrize(("rest", "status"), SMUGGLING)
async def test_smuggling_is_refused_and_the_connection_closed(rest: bytes, status: int) -> None:
    async with served() as place:
        for prefix in (b"", GET):
            got = await place.talk(prefix + b"POST / HTTP/1.1\r\nHost: x\r\n" + rest + GET)
            assert got == ([200] if prefix else []) + [status]
        assert not place.errors


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET /", 505),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.2", 400),
        (b"GET / HTTP/0.9", 505),
        (b"GET\t/ HTTP/1.1", 400),
        (b"get / HTTP/1.1", 400),
        (b"CONNECT x:443 HTTP/1.1", 501),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET x HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET /\xff HTTP/1.1", 400),
        (b"PRI * HTTP/2.0", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"OPTIONS * HTTP/1.1", 200),
        (b"\r\n\r\nGET / HTTP/1.1", 200),
    ],
)
async def test_request_lines(start: bytes, status: int) -> None:
    async with served() as place:
        assert await place.talk(start + b"\r\nhost: x\r\nconnection: close\r\n\r\n") == [status]


async def test_a_whole_url_as_target_is_taken_for_its_path() -> None:
    async with served() as place:
        caller = await place.call()
        caller.send(b"GET http://x:8/a/b?c HTTP/1.1\r\nhost: x\r\n\r\n" + b"GET http://x HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await caller.answer()).body == b"GET /a/b?c "
        assert (await caller.answer()).body == b"GET / "
        caller.reset()


async def test_http_1_1_needs_a_host() -> None:
    async with served() as place:
        assert await place.talk(b"GET / HTTP/1.1\r\n\r\n") == [400]


async def test_http_1_0_has_no_transfer_encoding() -> None:
    async with served() as place:
        assert await place.talk(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == [400]


async def test_refusals_are_in_the_words_of_the_owner() -> None:
    async with served(limits=ServerLimits(max_body_bytes=4)) as place:
        caller = await place.call()
        caller.send(POST)
        answer = await caller.answer()
        assert answer == Answer(413, answer.headers, b"413 a body may have 4 bytes /p")
        assert answer.headers[b"connection"] == b"close"
        assert await caller.closed()


@pytest.mark.parametrize("where", ["length", "chunks"])
async def test_bodies_that_are_too_large_are_refused_early(where: str) -> None:
    async with served(limits=ServerLimits(max_body_bytes=100)) as place:
        caller = await place.call()
        if where == "length":
            caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 101\r\n\r\n")
        else:
            caller.send(
                b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + b"a\r\n0123456789\r\n" * 11
            )
        assert (await caller.answer()).status == 413
        # What the client still sends is swallowed, so that the answer is not lost to a reset.
        caller.send(b"x" * 100_000)
        assert await caller.closed()


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nhost: x\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 300 + b"\r\n\r\n"],
        [b"GET / HTTP/1.1\r\nhost: x\r\nx: ", b"a" * 150, b"a" * 150],
        [b"GET / HTTP/1.1\r\nhost: x\r\n", *[b"x: a\r\n"] * 60],
        [b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;", b"a" * 150, b"a" * 150],
        [b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ", b"a" * 150, b"a" * 150],
        [b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: a\r\n" * 10 + b"\r\n"],
    ],
)
async def test_heads_that_are_too_large_are_refused(pieces: list[bytes]) -> None:
    async with served(limits=ServerLimits(max_header_bytes=200, max_headers=10)) as place:
        caller = await place.call()
        for piece in pieces:
            caller.send(piece)
            await asyncio.sleep(0.001)
        assert (await caller.answer()).status == 431
        caller.reset()


async def test_a_large_head_within_the_limit_is_served_after_a_large_body() -> None:
    async with served(limits=ServerLimits(max_header_bytes=2000)) as place:
        body = b"x" * 100_000
        caller = await place.call()
        caller.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n" + body)
        caller.send(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 1900 + b"\r\n\r\n")
        assert (await caller.answer()).body == b"POST / " + body
        assert (await caller.answer()).status == 200
        caller.reset()


async def sent(place: Served, data: bytes) -> Caller:
    """A connection whose bytes the server has certainly read: a whole request before them was answered."""
    caller = await place.call()
    caller.send(GET)
    await caller.answer()
    caller.send(data)
    # The server reads connections in turn, so an answer on another shows that this one was read.
    for _ in range(3):
        await place.talk(GET)
    return caller


@pytest.mark.parametrize(
    ("begun", "patience"),
    [
        (b"G", 15.0),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: ", 15.0),
        (POST[:-2], 30.0),
        (POST[:-5], 30.0),
    ],
)
async def test_slow_requests_get_408(begun: bytes, patience: float) -> None:
    async with served() as place:
        caller = await sent(place, begun)
        place.pass_seconds(patience - 0.1)
        assert place.server.open_connections == 1
        place.pass_seconds(0.2)
        assert (await caller.answer()).status == 408
        assert await caller.closed()


async def test_dribbling_headers_does_not_extend_their_time() -> None:
    async with served() as place:
        caller = await sent(place, b"GET / HTTP/1.1\r\n")
        for _ in range(3):
            place.pass_seconds(4.9)
            caller.send(b"x: a\r\n")
            await place.talk(GET)
        place.pass_seconds(0.5)
        assert (await caller.answer()).status == 408
        caller.reset()


async def test_idle_connections_are_closed_in_silence() -> None:
    async with served() as place:
        fresh, used = await place.call(), await sent(place, b"\r\n")
        place.pass_seconds(74.9)
        assert place.server.open_connections == 2
        place.pass_seconds(0.2)
        assert await fresh.closed()
        assert await used.closed()


async def test_refused_clients_that_linger_are_cut() -> None:
    async with served() as place:
        caller = await place.call()
        caller.send(b"garbage\r\n\r\n")
        assert (await caller.answer()).status == 400
        assert place.server.open_connections == 1
        place.pass_seconds(2.1)
        await until(lambda: place.server.open_connections == 0)
        caller.reset()


async def test_a_running_exchange_has_no_deadline() -> None:
    gate = Gate()
    async with served(gate) as place:
        caller = await place.call()
        caller.send(GET)
        await until(lambda: len(gate.seen) == 1)
        place.pass_seconds(10_000)
        gate.open.set()
        assert (await caller.answer()).status == 200
        caller.reset()


async def test_drain_waits_for_a_client_that_does_not_read_and_gives_up_with_it() -> None:
    written = 0
    finished = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        nonlocal written
        exchange.start(200, [])
        while not exchange.gone:
            exchange.write(b"x" * 65536)
            await exchange.drain()
            written += 1
        exchange.end()
        finished.set()

    async with served(handler) as place:
        caller = await place.call()
        caller.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stub types it as write-only
        caller.send(GET)
        before = -1
        while before != written:
            before = written
            for _ in range(20):
                await place.talk(b"garbage\r\n\r\n")
        assert 0 < written < 1000
        place.pass_seconds(60.1)
        await soon(finished.wait())
        caller.reset()
        assert not place.errors


async def test_a_client_that_leaves_is_noticed_and_the_handler_runs_on() -> None:
    told: list[str] = []
    gate = Gate()

    def broken() -> None:
        told.append("broken")
        raise ZeroDivisionError

    async def handler(exchange: Exchange) -> None:
        exchange.on_gone(broken)
        exchange.on_gone(lambda: told.append("second"))
        gate.seen.append(exchange)
        await gate.open.wait()
        exchange.end()
        told.append("books closed")

    async with served(handler) as place:
        caller = await place.call()
        caller.send(GET)
        await until(lambda: len(gate.seen) == 1)
        assert not gate.seen[0].gone
        caller.writer.transport.abort()
        # A half-closed socket may still want its answer, so only an attempt to write tells.
        gate.seen[0].start(200, [])
        async with asyncio.timeout(PATIENCE):
            while not told:
                gate.seen[0].write(b"x")
                await asyncio.sleep(0)
        assert told == ["broken", "second"]
        gate.seen[0].on_gone(lambda: told.append("late"))
        assert told == ["broken", "second", "late"]
        assert place.server.in_flight == 1
        gate.open.set()
        await until(lambda: place.server.in_flight == 0)
        assert told[-1] == "books closed"
    assert [type(error) for error in place.errors] == [ZeroDivisionError]


async def test_gone_after_the_end_is_nobodys_business() -> None:
    told: list[str] = []

    async def handler(exchange: Exchange) -> None:
        exchange.on_gone(lambda: told.append("gone"))
        await echo(exchange)
        seen.append(exchange)

    seen: list[Exchange] = []
    async with served(handler) as place:
        caller = await place.call()
        caller.send(GET)
        await caller.answer()
        caller.reset()
        await until(lambda: place.server.open_connections == 0)
        assert not told
        assert not seen[0].gone


async def test_half_closed_clients_get_their_answers() -> None:
    gate = Gate()
    async with served(gate) as place:
        caller = await place.call()
        caller.send(GET + POST)
        caller.writer.write_eof()
        await until(lambda: len(gate.seen) == 1)
        await place.call()
        assert not gate.seen[0].gone
        gate.open.set()
        assert statuses(await caller.rest()) == [200, 200]


@pytest.mark.parametrize("started", [True, False])
async def test_a_handler_that_fails(started: bool) -> None:
    async def handler(exchange: Exchange) -> None:
        if started:
            exchange.start(200, [])
            exchange.write(b"half")
        raise ZeroDivisionError

    async with served(handler) as place:
        caller = await place.call()
        caller.send(GET)
        if started:
            assert not (await caller.rest()).endswith(b"0\r\n\r\n")
        else:
            assert (await caller.answer()).body == b"500 internal error /a?b=c"
            caller.send(GET)
            assert (await caller.answer()).status == 500
            caller.reset()
        assert isinstance(place.errors[0], ZeroDivisionError)


@pytest.mark.parametrize("started", [True, False])
async def test_a_handler_that_forgets_to_answer(started: bool) -> None:
    async def handler(exchange: Exchange) -> None:
        if started:
            exchange.start(200, [])

    async with served(handler) as place:
        caller = await place.call()
        caller.send(GET)
        if started:
            assert not (await caller.rest()).endswith(b"0\r\n\r\n")
        else:
            assert (await caller.answer()).status == 500
            caller.reset()
        assert isinstance(place.errors[0], RuntimeError)


async def test_words_that_cannot_be_had_leave_the_status() -> None:
    def speechless(status: int, reason: str, target: bytes | None, headers: Headers) -> tuple[Headers, bytes]:
        return [(b"x", f"{status} {reason} {target!r} {headers}\n".encode())], b"body"

    async with served() as place:
        place.server.on_bad_request = speechless
        caller = await place.call()
        caller.send(b"garbage\r\n\r\n")
        assert (await caller.answer()).body == b""
        caller.reset()
        assert isinstance(place.errors[0], ValueError)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_abort_cannot_be_taken_for_the_end(version: bytes) -> None:
    cutting = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"half")
        await cutting.wait()
        exchange.abort()
        exchange.write(b"dropped")
        exchange.end()
        exchange.respond(200, [], b"dropped")

    async with served(handler) as place:
        caller = await place.call()
        caller.send(b"GET / HTTP/%b\r\nhost: x\r\n\r\n" % version)
        assert (await soon(caller.reader.readuntil(b"half"))).startswith(b"HTTP/1.1 200")
        cutting.set()
        with pytest.raises(ConnectionResetError):
            await soon(caller.reader.read())
        assert not place.errors


@pytest.mark.parametrize("header", [(b"x", b"a\r\nb: c"), (b"x\n", b"a"), (b"x", b"\0")])
async def test_injected_headers_become_500(header: tuple[bytes, bytes]) -> None:
    async def handler(exchange: Exchange) -> None:
        exchange.respond(200, [header], b"")

    async with served(handler) as place:
        caller = await place.call()
        caller.send(GET)
        assert (await caller.answer()).status == 500
        caller.reset()
        assert isinstance(place.errors[0], ValueError)


async def test_misuse_raises() -> None:
    async def handler(exchange: Exchange) -> None:
        with pytest.raises(RuntimeError):
            exchange.write(b"x")
        with pytest.raises(RuntimeError):
            exchange.end()
        with pytest.raises(ValueError, match="final"):
            exchange.respond(100, [], b"")
        await echo(exchange)
        with pytest.raises(RuntimeError):
            exchange.respond(200, [], b"")
        with pytest.raises(RuntimeError):
            exchange.start(200, [])

    async with served(handler) as place:
        assert await place.talk(GET) == [200]
        assert not place.errors


async def test_shutdown_lets_running_exchanges_finish_and_closes_idle_ones() -> None:
    gate = Gate()
    async with served(gate) as place:
        idle, busy = await place.call(), await place.call()
        busy.send(GET)
        await until(lambda: len(gate.seen) == 1 and place.server.open_connections == 2)
        stopping = asyncio.create_task(place.server.shutdown(30.0))
        assert await idle.closed()
        with pytest.raises(ConnectionRefusedError):
            await place.call()
        assert not stopping.done()
        gate.open.set()
        assert (await busy.answer()).headers[b"connection"] == b"close"
        await soon(stopping)
        assert (place.server.in_flight, place.server.open_connections) == (0, 0)


async def test_shutdown_cuts_after_the_grace_and_lets_books_be_closed() -> None:
    closed: list[str] = []
    gone = asyncio.Event()
    begun = asyncio.Event()

    async def handler(exchange: Exchange) -> None:
        exchange.on_gone(gone.set)
        begun.set()
        await gone.wait()
        closed.append("books")

    async with served(handler) as place:
        caller = await place.call()
        caller.send(GET)
        await soon(begun.wait())
        await soon(place.server.shutdown(0.0))
        assert closed == ["books"]
        assert await caller.closed()


async def test_shutdown_cancels_what_never_ends() -> None:
    gate = Gate()
    async with served(gate) as place:
        caller = await place.call()
        caller.send(GET)
        await until(lambda: len(gate.seen) == 1)
        await soon(place.server.shutdown(0.0, 0.0))
        assert place.server.in_flight == 0
        assert await caller.closed()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=80) | st.sampled_from([GET, POST, CHUNKED, CHUNKED[:70]]), max_size=6))
def test_no_bytes_hurt_the_next_connection(pieces: list[bytes]) -> None:
    async def story() -> None:
        async with served() as place:
            got = await place.talk(b"".join(pieces))
            assert all(status in (200, 400, 413, 431, 501, 505) for status in got)
            assert await place.talk(GET) == [200]
            assert not place.errors

    asyncio.run(story())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_request_split_anywhere_is_the_same(data: st.DataObject) -> None:
    stream = b"".join(data.draw(st.lists(st.sampled_from([GET, POST, CHUNKED]), min_size=1, max_size=3)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    async def exchanges_of(sent: list[bytes]) -> list[tuple[bytes, bytes, bytes, object]]:
        seen: list[tuple[bytes, bytes, bytes, object]] = []

        async def handler(exchange: Exchange) -> None:
            seen.append((exchange.method, exchange.target, exchange.body, exchange.headers))
            await echo(exchange)

        async with served(handler) as place:
            caller = await place.call()
            for piece in sent:
                caller.send(piece)
                await asyncio.sleep(0)
            caller.writer.write_eof()
            await caller.rest()
            caller.reset()
        return seen

    async def story() -> None:
        assert await exchanges_of(pieces) == await exchanges_of([stream])

    asyncio.run(story())


async def test_what_is_known_from_a_head_is_kept_for_requests_that_repeat_it() -> None:
    seen: list[dict[object, object]] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange.known)
        exchange.respond(200, [], b"")

    other = POST.replace(b"host: x", b"host: y")
    assert other != POST
    async with served(handler) as place:
        callers = [await place.call(), await place.call()]
        for caller, data in ((0, POST), (0, POST), (0, LONGER), (0, other), (0, other), (0, POST), (1, POST)):
            callers[caller].send(data)
            assert (await callers[caller].answer()).status == 200
    numbers = [id(known) for known in seen]
    assert numbers[0] == numbers[1] == numbers[2]
    assert numbers[3] == numbers[4]
    assert len(set(numbers)) == 4


async def test_headers_that_were_written_beforehand() -> None:
    more = lines([(b"x-b", b"2"), (b"content-length", b"9")])

    async def handler(exchange: Exchange) -> None:
        if exchange.method == b"POST":
            exchange.respond(200, [(b"x-a", b"1")], b"hello", more)
        else:
            exchange.start(200, [(b"x-a", b"1")], more)
            exchange.end()

    async with served(handler) as place:
        caller = await place.call()
        for data, length in ((POST, b"5"), (GET, None)):
            caller.send(data)
            headers = (await caller.answer()).headers
            assert (headers[b"x-a"], headers[b"x-b"], headers.get(b"content-length")) == (b"1", b"2", length)
