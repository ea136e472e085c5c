"""Does the client deliver, reuse, time out, push back and report trouble as promised?"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.http.sockets import (
    PATIENCE,
    PATIENT,
    Caller,
    HandClock,
    Origin,
    origin,
    request_of,
    says,
    says_and_stays,
    soon,
    until,
)

from upshift.http.client import Response, Timeouts, Trouble, Upstream
from upshift.http.exchange import Headers

LIMIT = 1 << 20
FIN_WAIT2 = 5
"""The state of a TCP connection that we have ended, and the other side knows it."""
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\n\r\nhello"


async def post(upstream: Upstream, body: bytes = b"{}", headers: Headers | None = None) -> Response | Trouble:
    return await soon(upstream.send(b"POST", b"/chat", headers or [], body))


async def fine(upstream: Upstream, body: bytes = b"{}") -> tuple[Response, bytes]:
    response = await post(upstream, body)
    assert isinstance(response, Response), response
    whole = await soon(response.read(LIMIT))
    assert isinstance(whole, bytes), whole
    return response, whole


async def trouble(upstream: Upstream, on_body: Callable[[], None] = lambda: None) -> Trouble:
    """The trouble of a call, wherever it shows; `on_body` is told once the body has begun."""
    response = await post(upstream)
    if isinstance(response, Trouble):
        return response
    on_body()
    whole = await soon(response.read(LIMIT))
    assert isinstance(whole, Trouble), whole
    return whole


async def test_a_request_is_framed_here() -> None:
    seen: list[bytes] = []

    async def script(caller: Caller) -> None:
        seen.append(await request_of(caller))
        caller.send(HELLO)
        await caller.reader.read()

    async with origin(script) as (upstream, place):
        headers = [
            (b"x-mine", b"1"),
            (b"host", b"evil"),
            (b"content-length", b"99"),
            (b"transfer-encoding", b"chunked"),
            (b"connection", b"close, X-Nominated"),
            (b"x-nominated", b"2"),
            (b"keep-alive", b"timeout=5"),
            (b"proxy-authorization", b"secret"),
            (b"te", b"trailers"),
            (b"upgrade", b"h2c"),
        ]
        response = await post(upstream, b'{"a":1}', headers)
        assert isinstance(response, Response)
        assert (response.status, response.header(b"x-a"), response.header(b"x-b")) == (200, b"1", None)
        authority = place.url.removeprefix("http://").removesuffix("/v1").encode()
    assert seen == [
        b"POST /v1/chat HTTP/1.1\r\nhost: " + authority + b'\r\nx-mine: 1\r\ncontent-length: 7\r\n\r\n{"a":1}'
    ]


@pytest.mark.parametrize(
    ("method", "target", "header"),
    [
        (b"POST", b"/a", (b"x", b"a\r\nb: c")),
        (b"POST", b"/a", (b"x", b"a\nb")),
        (b"POST", b"/a", (b"x", b"a\0b")),
        (b"POST", b"/a", (b"x\r\ny", b"a")),
        (b"POST", b"/a", (b"x y", b"a")),
        (b"POST", b"/a", (b"Content-Length", b"7")),
        (b"POST", b"/a", (b"", b"a")),
        (b"POST", b"/a b", (b"x", b"a")),
        (b"POST", b"/a\r\nx: y", (b"x", b"a")),
        (b"PO ST", b"/a", (b"x", b"a")),
        (b"", b"/a", (b"x", b"a")),
    ],
)
async def test_injection_raises_before_anything_is_sent(
    method: bytes, target: bytes, header: tuple[bytes, bytes]
) -> None:
    async with origin(says(HELLO)) as (upstream, place):
        with pytest.raises(ValueError, match=r"."):
            await upstream.send(method, target, [header], b"")
        assert place.talks == 0


@pytest.mark.parametrize("url", ["ftp://x", "http://", "x", "http://u:p@x", "http://x/?q", "http://x/#f", "http://x:y"])
def test_odd_origins_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Upstream(url, timeouts=Timeouts())


@pytest.mark.parametrize("answer", [HELLO, STREAM], ids=["length", "chunked"])
async def test_a_connection_is_used_again_after_a_clean_end(answer: bytes) -> None:
    async with origin(says_and_stays(answer, answer, answer)) as (upstream, place):
        for _ in range(3):
            assert (await fine(upstream))[1] == b"hello"
            assert (upstream.open_connections, upstream.idle_connections) == (1, 1)
        assert place.talks == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (HELLO.replace(b"X-A: 1", b"Connection: close"), b"hello"),
        (HELLO.replace(b"1.1", b"1.0"), b"hello"),
        (HELLO + b"surplus", b"hello"),
        (HELLO + HELLO, b"hello"),
        (HELLO.replace(b"X-A: 1", b"Connection: close") + HELLO, b"hello"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    ],
)
async def test_no_connection_is_used_again_after_anything_odd(answer: bytes, body: bytes) -> None:
    async with origin(says_and_stays(answer)) as (upstream, place):
        assert (await fine(upstream))[1] == body
        await until(lambda: upstream.open_connections == 0)
        assert (await fine(upstream))[1] == body
        assert place.talks == 2


async def test_a_body_to_the_end_of_the_connection() -> None:
    async with origin(says(TO_THE_END)) as (upstream, place):
        assert (await fine(upstream))[1] == b"hello"
        assert (await fine(upstream))[1] == b"hello"
        assert place.talks == 2


async def test_bodiless_answers_leave_the_connection_usable() -> None:
    async with origin(says_and_stays(b"HTTP/1.1 204 No Content\r\n\r\n", HELLO)) as (upstream, place):
        assert (await fine(upstream))[0].status == 204
        assert (await fine(upstream))[1] == b"hello"
        assert place.talks == 1


async def test_head_has_no_body_whatever_its_length_says() -> None:
    async with origin(says_and_stays(HELLO[:-5])) as (upstream, _):
        response = await soon(upstream.send(b"HEAD", b"/", [], b""))
        assert isinstance(response, Response)
        assert await soon(response.read(LIMIT)) == b""


async def test_interim_answers_are_skipped() -> None:
    interim = b"HTTP/1.1 102 Processing\r\nX-Interim: 1\r\n\r\n" * 3
    async with origin(says_and_stays(interim + HELLO, interim + HELLO)) as (upstream, place):
        for _ in range(2):
            response, body = await fine(upstream)
            assert (response.status, response.header(b"x-interim"), body) == (200, None, b"hello")
        assert place.talks == 1


@pytest.mark.parametrize("answer", [HELLO, STREAM, TO_THE_END, b"HTTP/1.1 100 Continue\r\n\r\n" + STREAM])
async def test_an_answer_byte_by_byte_is_the_same(answer: bytes) -> None:
    async def script(caller: Caller) -> None:
        await request_of(caller)
        for at in range(len(answer)):
            caller.send(answer[at : at + 1])
            await caller.writer.drain()
            await asyncio.sleep(0)

    async with origin(script) as (upstream, _):
        assert (await fine(upstream))[1] == b"hello"


async def test_chunks_come_as_they_arrive_and_join_while_nobody_waits() -> None:
    more = asyncio.Event()

    async def script(caller: Caller) -> None:
        await request_of(caller)
        caller.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await more.wait()
        caller.send(b"3\r\ntwo\r\n5\r\nthree\r\n")
        caller.send(b"0\r\n\r\n")
        await caller.reader.read()

    async with origin(script) as (upstream, _):
        response = await post(upstream)
        assert isinstance(response, Response)
        assert await soon(response.chunk()) == b"one"
        more.set()
        await until(lambda: upstream.idle_connections == 1)
        assert await soon(response.chunk()) == b"twothree"
        assert await soon(response.chunk()) is None
        assert await soon(response.chunk()) is None


async def test_a_slow_reader_pushes_back() -> None:
    sent = 0
    piece = b"x" * 65536

    async def script(caller: Caller) -> None:
        nonlocal sent
        await request_of(caller)
        caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * 500))
        for _ in range(500):
            caller.send(piece)
            await caller.writer.drain()
            sent += 1
        await caller.reader.read()

    clock = HandClock()
    async with origin(script, clock=clock) as (upstream, _):
        response = await post(upstream)
        assert isinstance(response, Response)
        # As much as is taken in unread, and nothing more from then on.
        await until(lambda: response.waiting > 256 * 1024)
        taken_in, before = response.waiting, -1
        while before != sent:
            before = sent
            for _ in range(50):
                await asyncio.sleep(0.001)
        assert sent < 400
        assert response.waiting == taken_in
        # Waiting for our own reader is not the origin's silence.
        clock.now += 200
        upstream.sweep()
        total = 0
        while (taken := await soon(response.chunk())) is not None:
            assert isinstance(taken, bytes)
            total += len(taken)
        assert total == len(piece) * 500
        assert upstream.idle_connections == 1


async def test_a_large_request_is_written_whole() -> None:
    async def script(caller: Caller) -> None:
        got = await request_of(caller)
        caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n%07d" % got.count(b"y"))
        await caller.reader.read()

    async with origin(script) as (upstream, _):
        assert (await fine(upstream, b"y" * 5_000_000))[1] == b"5000000"


async def test_an_answer_before_the_request_is_written_ends_the_connection() -> None:
    async def script(caller: Caller) -> None:
        caller.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await caller.writer.drain()
        await asyncio.Event().wait()

    async with origin(script) as (upstream, _):
        response, body = await fine(upstream, b"y" * 50_000_000)
        assert (response.status, body) == (413, b"no")
        await until(lambda: upstream.open_connections == 0)


async def test_read_stops_at_its_limit() -> None:
    async with origin(says_and_stays(HELLO)) as (upstream, _):
        response = await post(upstream)
        assert isinstance(response, Response)
        found = await response.read(4)
        assert isinstance(found, Trouble)
        assert found.kind == "too_large"


GARBAGE = [
    b"garbage\r\n\r\n",
    b"HTTP/1.1 99999 OK\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nbytes",
    b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
]


@pytest.mark.parametrize("answer", GARBAGE)
async def test_garbage_is_trouble_and_ends_the_connection(answer: bytes) -> None:
    async with origin(says_and_stays(answer)) as (upstream, _):
        found = await trouble(upstream)
        assert (found.kind, found.request_sent) == ("protocol", True)
        await until(lambda: upstream.open_connections == 0)


@pytest.mark.parametrize("cut", [0, 10, len(HELLO) - 1])
async def test_an_answer_that_is_cut_short_is_a_reset(cut: int) -> None:
    async with origin(says(HELLO[:cut])) as (upstream, _):
        found = await trouble(upstream)
        assert (found.kind, found.request_sent) == ("reset", True)


async def test_what_arrived_before_the_cut_is_still_delivered() -> None:
    async with origin(says(STREAM[:-15])) as (upstream, _):
        response = await post(upstream)
        assert isinstance(response, Response)
        await until(lambda: upstream.open_connections == 0)
        assert await soon(response.chunk()) == b"hello"
        found = await soon(response.chunk())
        assert isinstance(found, Trouble)
        assert found.kind == "reset"


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300 + b"\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nX: ", b"a" * 150, b"a" * 150],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: ", b"a" * 150, b"a" * 150],
    ],
)
async def test_a_head_that_is_too_large_is_trouble(pieces: list[bytes]) -> None:
    async def script(caller: Caller) -> None:
        await request_of(caller)
        for piece in pieces:
            caller.send(piece)
            await asyncio.sleep(0.005)
        await caller.reader.read()

    async with origin(script, max_header_bytes=200) as (upstream, _):
        assert (await trouble(upstream)).kind == "too_large"


@pytest.mark.parametrize(
    ("answer", "seconds", "kind"),
    [
        (b"", 120.0, "first_byte_timeout"),
        (HELLO[:20], 120.0, "first_byte_timeout"),
        (HELLO[:-5], 120.0, "first_byte_timeout"),
        (HELLO[:-1], 60.0, "idle_timeout"),
    ],
)
async def test_silence_is_a_timeout(answer: bytes, seconds: float, kind: str) -> None:
    said, heard = asyncio.Event(), asyncio.Event()

    async def script(caller: Caller) -> None:
        await request_of(caller)
        caller.send(answer)
        await caller.writer.drain()
        said.set()
        await caller.reader.read()

    clock = HandClock()
    async with origin(script, clock=clock) as (upstream, _):
        call = asyncio.create_task(trouble(upstream, on_body=heard.set))
        await soon((heard if kind == "idle_timeout" else said).wait())
        clock.now += seconds - 0.1
        upstream.sweep()
        await asyncio.sleep(0)
        assert not call.done()
        clock.now += 0.2
        upstream.sweep()
        assert (await soon(call)).kind == kind
        await until(lambda: upstream.open_connections == 0)


@pytest.mark.parametrize(
    ("waiting", "late", "drips", "silent"),
    [(6, 0, False, 6), (4, 0, False, 0), (4, 6, False, 0), (6, 0, True, 0)],
    ids=["many wait in vain", "a few are slow", "others have only come", "somebody is answered"],
)
async def test_an_origin_that_answers_nobody_is_told_from_a_slow_answer(
    waiting: int, late: int, drips: bool, silent: int
) -> None:
    asked, drop = asyncio.Semaphore(0), asyncio.Event()

    async def script(caller: Caller) -> None:
        request = await request_of(caller)
        asked.release()
        if b"/drips" in request:
            caller.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            await drop.wait()
            caller.send(b"1\r\ny\r\n")
        await caller.reader.read()

    clock = HandClock()
    async with origin(script, clock=clock) as (upstream, _):
        dripping = await soon(upstream.send(b"POST", b"/drips", [], b"{}")) if drips else None
        if dripping is not None:
            assert isinstance(dripping, Response)
            assert await soon(dripping.chunk()) == b"x"
        calls = [asyncio.create_task(trouble(upstream)) for _ in range(waiting)]
        for _ in range(waiting + drips):
            await soon(asked.acquire())
        clock.now += 70.0
        drop.set()
        if dripping is not None:
            assert isinstance(dripping, Response)
            assert await soon(dripping.chunk()) == b"y"
        calls_later = [asyncio.create_task(trouble(upstream)) for _ in range(late)]
        for _ in range(late):
            await soon(asked.acquire())
        clock.now += 50.1
        upstream.sweep()
        found = [await soon(call) for call in calls]
        assert {each.kind for each in found} == {"first_byte_timeout"}
        assert sum(each.silent for each in found) == silent
        for call in calls_later:
            call.cancel()
        await asyncio.gather(*calls_later, return_exceptions=True)


async def test_a_drip_that_never_ends_meets_the_total_timeout() -> None:
    async def script(caller: Caller) -> None:
        await request_of(caller)
        caller.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            caller.send(b"1\r\nx\r\n")
            await caller.writer.drain()
            await asyncio.sleep(0.001)

    clock = HandClock()
    async with origin(script, clock=clock) as (upstream, _):
        response = await post(upstream)
        assert isinstance(response, Response)
        while isinstance(found := await soon(response.chunk()), bytes):
            clock.now += 50
            upstream.sweep()
        assert isinstance(found, Trouble)
        assert found.kind == "total_timeout"


async def test_nobody_there_is_a_connect_trouble() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        upstream = Upstream(f"http://127.0.0.1:{bound.getsockname()[1]}", timeouts=PATIENT)
        found = await post(upstream)
        assert isinstance(found, Trouble)
        assert (found.kind, found.request_sent) == ("connect", False)
        assert upstream.open_connections == 0
        await upstream.close()


async def test_a_listener_that_accepts_nobody_is_a_connect_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        upstream = Upstream(f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts=Timeouts(connect=0.05))
        found = await post(upstream)
        assert isinstance(found, Trouble)
        assert (found.kind, found.request_sent) == ("connect_timeout", False)
        assert upstream.open_connections == 0
        await upstream.close()
        for one in crowd:
            one.close()


async def test_plain_text_where_tls_is_expected_is_a_tls_trouble() -> None:
    async def script(caller: Caller) -> None:
        await caller.reader.read(100)
        caller.send(HELLO)
        await caller.reader.read()

    place = Origin(script)
    place.listener = await asyncio.start_server(place, "127.0.0.1", 0)
    upstream = Upstream(
        place.url.replace("http:", "https:"), timeouts=PATIENT, ssl_context=ssl.create_default_context()
    )
    found = await post(upstream)
    assert isinstance(found, Trouble)
    assert (found.kind, found.request_sent) == ("tls", False)
    await upstream.close()
    await place.stop()


async def test_callers_queue_for_connections_in_order() -> None:
    async with origin(says_and_stays(*[HELLO] * 5), max_connections=1) as (upstream, place):
        order: list[int] = []

        async def call(number: int) -> None:
            await fine(upstream)
            order.append(number)

        await soon(asyncio.gather(*(call(number) for number in range(5))))
        assert order == [0, 1, 2, 3, 4]
        assert place.talks == 1


async def test_a_place_that_gets_free_without_its_connection_is_taken_by_the_next() -> None:
    async with origin(says(TO_THE_END), max_connections=2) as (upstream, place):
        found = await soon(asyncio.gather(*(fine(upstream) for _ in range(6))))
        assert [body for _, body in found] == [b"hello"] * 6
        assert place.talks == 6
        await until(lambda: upstream.open_connections == 0)


async def test_waiting_too_long_for_a_connection_is_a_pool_timeout() -> None:
    clock = HandClock()
    async with origin(says_and_stays(HELLO[:-1]), clock=clock, max_connections=1) as (upstream, _):
        response = await post(upstream)
        assert isinstance(response, Response)
        waiting = asyncio.create_task(post(upstream))
        await asyncio.sleep(0)
        clock.now += PATIENCE + 0.1
        upstream.sweep()
        found = await soon(waiting)
        assert isinstance(found, Trouble)
        assert (found.kind, found.request_sent) == ("pool_timeout", False)


async def test_a_cancelled_waiter_gives_its_turn_to_the_next() -> None:
    async with origin(says_and_stays(*[HELLO] * 3), max_connections=1) as (upstream, _):
        response = await post(upstream)
        assert isinstance(response, Response)
        await until(lambda: upstream.idle_connections == 1)
        first = asyncio.create_task(post(upstream))
        await asyncio.sleep(0)
        second, third = asyncio.create_task(post(upstream)), asyncio.create_task(fine(upstream))
        await asyncio.sleep(0)
        second.cancel()
        assert isinstance(await soon(first), Response)
        assert (await soon(third))[1] == b"hello"


@pytest.mark.parametrize("answer", [HELLO, b""], ids=["connection", "place"])
async def test_what_was_handed_to_a_cancelled_waiter_is_handed_on(answer: bytes) -> None:
    first_talk = True

    async def script(caller: Caller) -> None:
        nonlocal first_talk
        mine, first_talk = answer if first_talk else HELLO, False
        await request_of(caller)
        caller.send(mine)
        if mine:
            await says_and_stays(HELLO)(caller)

    async with origin(script, max_connections=1) as (upstream, _):

        async def first() -> None:
            # Woken by the read that also frees the connection, and before the waiter it is handed to.
            await post(upstream)
            second.cancel()

        calls = asyncio.create_task(first())
        await asyncio.sleep(0)
        second, third = asyncio.create_task(post(upstream)), asyncio.create_task(fine(upstream))
        await soon(calls)
        with pytest.raises(asyncio.CancelledError):
            await second
        assert (await soon(third))[1] == b"hello"


async def test_cancelling_a_call_closes_its_connection() -> None:
    asked = asyncio.Event()

    async def script(caller: Caller) -> None:
        await request_of(caller)
        asked.set()
        await caller.reader.read()

    async with origin(script) as (upstream, _):
        call = asyncio.create_task(post(upstream))
        await soon(asked.wait())
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: upstream.open_connections == 0)


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("whole", [True, False])
async def test_cancelling_a_call_as_it_is_answered_ends_only_what_it_carries(whole: bool, late: bool) -> None:
    """Between the arrival of an answer and its reader's turn another may have taken the connection."""
    arrived: list[asyncio.Future[None]] = []
    seconds = HandClock()

    def clock() -> float:
        # Asked as the answer arrives, so that the second caller's turn comes before the first one's.
        if arrived and not arrived[0].done():
            arrived[0].set_result(None)
            if not late:
                first.cancel()
        return seconds()

    asked, go = asyncio.Event(), asyncio.Event()

    async def script(caller: Caller) -> None:
        await says(HELLO, HELLO)(caller)
        await request_of(caller)
        asked.set()
        await go.wait()
        caller.send(HELLO if whole else HELLO[:-1])
        await says(HELLO)(caller)
        await caller.reader.read()

    async with origin(script, clock=clock) as (upstream, place):
        for _ in range(2):
            await fine(upstream)
        first = asyncio.create_task(post(upstream))
        await soon(asked.wait())

        async def second() -> bytes:
            await arrived[0]
            if late:
                first.cancel()
            return (await fine(upstream))[1] if whole else b""

        arrived.append(asyncio.get_running_loop().create_future())
        following = asyncio.create_task(second())
        await asyncio.sleep(0)
        go.set()
        assert await soon(following) == (b"hello" if whole else b"")
        with pytest.raises(asyncio.CancelledError):
            await soon(first)
        assert place.talks == 1
        if not whole:
            await until(lambda: upstream.open_connections == 0)


async def test_cancelling_a_read_closes_its_connection() -> None:
    async with origin(says_and_stays(HELLO[:-5])) as (upstream, _):
        response = await post(upstream)
        assert isinstance(response, Response)
        reading = asyncio.create_task(response.chunk())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await until(lambda: upstream.open_connections == 0)


async def test_close_cuts_an_unfinished_body_and_spares_a_finished_one() -> None:
    async with origin(says_and_stays(HELLO, HELLO[:-1])) as (upstream, _):
        response, _body = await fine(upstream)
        response.close()
        assert upstream.idle_connections == 1
        unfinished = await post(upstream)
        assert isinstance(unfinished, Response)
        unfinished.close()
        unfinished.close()
        await until(lambda: upstream.open_connections == 0)
        assert await soon(unfinished.chunk()) in (b"hell", Trouble("reset", "closed by ourselves", True))


async def test_a_pooled_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async with origin(says(HELLO)) as (upstream, place):
        for _ in range(3):
            assert (await fine(upstream))[1] == b"hello"
            await until(lambda: upstream.idle_connections == 0)
        assert place.talks == 3


async def test_bytes_on_an_idle_connection_end_it() -> None:
    speak = asyncio.Event()

    async def script(caller: Caller) -> None:
        await request_of(caller)
        caller.send(HELLO)
        await speak.wait()
        caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await caller.reader.read()

    async with origin(script) as (upstream, place):
        assert (await fine(upstream))[1] == b"hello"
        speak.set()
        await until(lambda: upstream.open_connections == 0)
        assert (await fine(upstream))[1] == b"hello"
        assert place.talks == 2


async def test_idle_connections_do_not_stay_for_ever() -> None:
    clock = HandClock()
    async with origin(says_and_stays(HELLO), clock=clock) as (upstream, _):
        await fine(upstream)
        clock.now += 29.9
        upstream.sweep()
        assert upstream.idle_connections == 1
        clock.now += 0.2
        upstream.sweep()
        await until(lambda: upstream.open_connections == 0)


async def test_a_closed_pool_takes_no_calls_and_ends_those_it_has() -> None:
    async with origin(says_and_stays(HELLO[:-1]), max_connections=1) as (upstream, _):
        response = await post(upstream)
        assert isinstance(response, Response)
        waiting = asyncio.create_task(post(upstream))
        await asyncio.sleep(0)
        await soon(upstream.close())
        assert isinstance(await soon(response.read(LIMIT)), Trouble)
        assert isinstance(await soon(waiting), Trouble)
        found = await post(upstream)
        assert isinstance(found, Trouble)
        assert (found.kind, found.request_sent) == ("connect", False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([HELLO, STREAM, HELLO[:30], STREAM[:60]]), max_size=5))
def test_no_answer_hurts_the_next_call(pieces: list[bytes]) -> None:
    """Whatever an origin says, a call ends in an answer or in trouble, and nothing of it reaches the next call."""

    async def story() -> None:
        first = True

        async def script(caller: Caller) -> None:
            nonlocal first
            await request_of(caller)
            if first:
                first = False
                caller.send(b"".join(pieces))
                await caller.writer.drain()
                caller.writer.close()
            else:
                caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
                await caller.reader.read()

        async with origin(script) as (upstream, _):
            response = await post(upstream)
            if isinstance(response, Response):
                await soon(response.read(LIMIT))
            await until(lambda: upstream.open_connections == 0)
            assert (await fine(upstream))[1] == b"next"

    asyncio.run(story())


def _answered(listener: socket.socket) -> socket.socket:
    """Accept a connection and answer its request; a blocking origin, which the loop of the test knows nothing of."""
    link, _ = listener.accept()
    received = b""
    while not received.endswith(b"\r\n\r\n{}"):
        received += link.recv(65536)
    link.sendall(HELLO)
    return link


def hang_up(link: socket.socket) -> None:
    """Close it; the other side's kernel has the end when this returns, and has said so."""
    link.shutdown(socket.SHUT_WR)
    given_up = time.monotonic() + PATIENCE
    while link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != FIN_WAIT2:
        assert time.monotonic() < given_up
    link.close()


async def test_what_closed_before_we_wrote_is_found_out_before_we_write() -> None:
    """Even where the loop has had no time to read that the origin has gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = Upstream(f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts=PATIENT)
        try:
            accepting = asyncio.create_task(asyncio.to_thread(_answered, listener))
            assert (await fine(upstream))[1] == b"hello"
            first = await soon(accepting)
            second = asyncio.get_running_loop().run_in_executor(None, _answered, listener)
            assert upstream.idle_connections == 1
            hang_up(first)
            assert (await fine(upstream))[1] == b"hello"
            (await soon(second)).close()
        finally:
            await upstream.close()


async def test_a_request_that_never_left_in_full_was_not_sent() -> None:
    async def script(caller: Caller) -> None:
        await caller.reader.read(100)
        caller.reset()

    async with origin(script) as (upstream, _):
        found = await post(upstream, b"x" * 30_000_000)
        assert isinstance(found, Trouble)
        assert (found.kind, found.request_sent) == ("reset", False)
        found = await post(upstream)
        assert isinstance(found, Trouble)
        assert (found.kind, found.request_sent) == ("reset", True)


class Leaver:
    """Somebody for whom a request is sent, until he leaves."""

    def __init__(self) -> None:
        self.gone = False
        self._told: list[Callable[[], None]] = []

    def on_gone(self, callback: Callable[[], None]) -> None:
        self._told.append(callback)

    def leave(self) -> None:
        self.gone = True
        for callback in self._told:
            callback()


async def test_a_request_ends_when_nobody_waits_for_its_answer() -> None:
    asked = asyncio.Event()

    async def script(caller: Caller) -> None:
        await request_of(caller)
        asked.set()
        assert await caller.rest() == b""

    async with origin(script) as (upstream, _):
        client = Leaver()
        waiting = asyncio.create_task(soon(upstream.send(b"POST", b"/chat", [], b"{}", client)))
        await soon(asked.wait())
        client.leave()
        assert await waiting == Trouble("client-left", "nobody waits for the answer", True)
        await until(lambda: upstream.open_connections == 0)
        late = await soon(upstream.send(b"POST", b"/chat", [], b"{}", client))
        assert isinstance(late, Trouble)
        assert (late.kind, late.request_sent) == ("client-left", False)


async def test_who_leaves_after_his_answer_ends_nobody_elses() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def script(caller: Caller) -> None:
        await request_of(caller)
        caller.send(HELLO)
        await request_of(caller)
        asked.set()
        await left.wait()
        caller.send(HELLO)
        await caller.reader.read()

    async with origin(script) as (upstream, place):
        client = Leaver()
        response = await soon(upstream.send(b"POST", b"/chat", [], b"{}", client))
        assert isinstance(response, Response)
        next_one = asyncio.create_task(fine(upstream))
        await soon(asked.wait())
        client.leave()
        left.set()
        assert (await next_one)[1] == b"hello"
        assert place.talks == 1


async def test_waiting_for_more_loses_nothing() -> None:
    speak = asyncio.Event()

    async def script(caller: Caller) -> None:
        await request_of(caller)
        caller.send(HELLO[:-5])
        await speak.wait()
        caller.send(b"hello")
        await caller.reader.read()

    async with origin(script) as (upstream, _):
        response = await post(upstream)
        assert isinstance(response, Response)
        assert not await response.more(0.01)
        speak.set()
        assert await soon(response.more(PATIENCE))
        assert await soon(response.chunk()) == b"hello"
        assert await response.more(0.0)
        assert await response.chunk() is None
