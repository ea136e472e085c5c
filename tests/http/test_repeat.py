"""Is a head that is remembered taken for exactly what the parser would have made of it?"""

import asyncio
from dataclasses import dataclass, field

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.http.sockets import Answer, Caller, echo, origin, request_of, served, soon

from upshift.http.client import Response
from upshift.http.exchange import Exchange, Headers
from upshift.http.limits import ServerLimits
from upshift.http.repeat import Repeats

LIMIT = 64 * 1024
POST = b"POST /p?q HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello"
GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello"


@dataclass
class Parsed:
    """What the parser makes of some bytes: the headers and the body of each message that is complete."""

    messages: list[tuple[Headers, bytes]] = field(default_factory=list)
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def on_message_begin(self) -> None:
        self.headers, self.body = [], b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.messages.append((self.headers, self.body))


def parsed(data: bytes) -> list[tuple[Headers, bytes]] | None:
    """The complete messages; None when the parser objects."""
    seen = Parsed()
    try:
        httptools.HttpRequestParser(seen).feed_data(data)
    except httptools.HttpParserError:
        return None
    return seen.messages


def learned(data: bytes) -> Repeats:
    messages = parsed(data)
    assert messages is not None
    repeats = Repeats()
    headers, body = messages[-1]
    repeats.learn(data, headers, len(body), LIMIT)
    return repeats


@pytest.mark.parametrize("digits", [b"0", b"5", b"05", b"12", b"1000"])
def test_another_length_is_still_the_same_head(digits: bytes) -> None:
    repeats = learned(POST)
    before = repeats.headers.copy()
    body = b"x" * int(digits)
    assert repeats.body_of(POST[:-5].replace(b": 5", b": " + digits) + body) == body
    assert repeats.headers == [(b"host", b"x"), (b"content-length", digits), (b"x-a", b"1")]
    assert repeats.fields == dict(repeats.headers)
    assert before[1] == (b"content-length", b"5")
    assert repeats.body_of(POST) == b"hello"
    assert repeats.headers == before


def test_a_head_without_length_has_no_body() -> None:
    repeats = learned(GET)
    assert repeats.body_of(GET) == b""
    assert repeats.body_of(GET + b"x") is None
    assert repeats.body_of(GET[:-1]) is None


@pytest.mark.parametrize(
    "data",
    [
        POST + b"\r\n",
        POST + POST,
        GET + POST,
        GET + GET,
        b"\r\n" + POST,
        b"\n" + GET,
        POST[:-5] + b"\r\nabc\r\n",
        POST[:-5] + b"\r\n\r\na\r\n",
        POST.replace(b"hello", b"\r\n\r\nx") + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n",
        POST.replace(b"X-A: 1", b"X-A: " + b"a" * 9000),
    ],
)
def test_what_is_not_plainly_one_message_is_not_remembered(data: bytes) -> None:
    assert learned(data).body_of(data) is None


def test_a_head_that_could_grow_over_the_limit_is_not_remembered() -> None:
    headers, body = (parsed(POST) or [])[0]
    for longest, found in ((len(POST) - 5 + 10, b"hello"), (len(POST) - 5 + 9, None)):
        repeats = Repeats()
        repeats.learn(POST, headers, len(body), longest)
        assert repeats.body_of(POST) == found


def test_a_peer_that_never_repeats_itself_is_given_up() -> None:
    repeats = Repeats()
    learnt = 0
    while repeats.willing:
        headers, body = (parsed(POST) or [])[0]
        repeats.learn(POST, headers, len(body), LIMIT)
        learnt += 1
    assert learnt < 10
    assert repeats.body_of(POST) is None


def test_a_peer_that_repeats_itself_now_and_then_is_not_given_up() -> None:
    repeats = learned(POST)
    for n in range(50):
        other = POST.replace(b"/p", b"/%d" % n)
        headers, body = (parsed(other) or [])[0]
        assert repeats.body_of(other) is None
        repeats.learn(other, headers, len(body), LIMIT)
        assert repeats.body_of(other) == b"hello"


EDIT = st.tuples(
    st.integers(0, len(POST)),
    st.integers(0, 3),
    st.sampled_from([b"", b"5", b"0", b"12", b" ", b"\r\n", b"\r", b"\n", b":", b"+", b"a", b"\0", b"\xb2", POST, GET]),
)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([POST, GET]), st.lists(EDIT, min_size=1, max_size=3))
def test_whatever_is_taken_for_a_repetition_is_what_the_parser_says(
    message: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    repeats = learned(message)
    data = message
    for at, cut, put in edits:
        data = data[:at] + put + data[at + cut :]
    body = repeats.body_of(data)
    if body is not None:
        assert parsed(data) == [(repeats.headers, body)]


BODIES = st.sampled_from([b"", b"hello", b"world", b"x" * 9, b"x" * 10, b"y" * 10, b"z" * 100])


@given(st.lists(st.tuples(BODIES, st.none() | EDIT), max_size=8))
def test_what_was_asked_before_changes_no_answer(messages: list[tuple[bytes, tuple[int, int, bytes] | None]]) -> None:
    repeats = learned(POST)
    for body, edit in messages:
        data = POST[:-5].replace(b": 5", b": %d" % len(body)) + body
        if edit is not None:
            at, cut, put = edit
            data = data[:at] + put + data[at + cut :]
        alone = learned(POST)
        found = alone.body_of(data)
        for _ in range(2):
            assert repeats.body_of(data) == found
            if found is not None:
                assert (repeats.headers, repeats.fields) == (alone.headers, alone.fields)


# What may follow a POST on the connection that remembers it.
FOLLOWING = [
    POST,
    POST.replace(b": 5", b": 3"),
    POST.replace(b": 5", b": 7"),
    POST.replace(b": 5", b": 12") + b"abcdefg",
    POST.replace(b": 5", b": +5"),
    POST.replace(b": 5", b": -5"),
    POST.replace(b": 5", b":  5 "),
    POST.replace(b": 5", b": 05"),
    POST.replace(b": 5", b": 0x5"),
    POST.replace(b": 5", b": 5, 5"),
    POST.replace(b": 5", b": 5\n"),
    POST.replace(b": 5", b": 99999999999999999999"),
    POST.replace(b": 5", b": 200") + b"x" * 195,
    POST.replace(b": 5", b": 5\r\nContent-Length: 6"),
    POST.replace(b": 5", b": 5\r\nTransfer-Encoding: chunked"),
    POST.replace(b"X-A: 1", b"Connection: close"),
    POST.replace(b"X-A: 1", b"Upgrade: h2c\r\nConnection: Upgrade"),
    POST.replace(b"1.1", b"1.0"),
    POST + POST,
    POST + GET + POST,
    POST + b"\r\n",
    b"\r\n" + POST,
    POST[:-1],
    POST[:20],
    GET,
]


@pytest.mark.parametrize("following", FOLLOWING)
async def test_a_connection_that_remembers_serves_as_one_that_does_not(following: bytes) -> None:
    seen: list[tuple[bytes, bytes, Headers, bytes, bytes | None]] = []

    async def handler(exchange: Exchange) -> None:
        length = exchange.header(b"content-length")
        seen.append((exchange.method, exchange.target, list(exchange.headers), exchange.body, length))
        exchange.headers.clear()
        await echo(exchange)

    async with served(handler, ServerLimits(max_body_bytes=100)) as place:
        outcomes = []
        for remembered in (0, 2):
            caller = await place.call()
            for _ in range(remembered):
                caller.send(POST)
                assert (await caller.answer()).body == b"POST /p?q hello"
            seen.clear()
            caller.send(following)
            caller.writer.write_eof()
            outcomes.append((await caller.rest(), seen.copy()))
        assert outcomes[0] == outcomes[1]
        assert not place.errors


async def test_an_offer_to_upgrade_is_not_remembered_as_what_it_was_rewritten_to() -> None:
    offer = b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nconnection: Upgrade\r\n\r\n"
    rewritten = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    seen: list[bytes | None] = []

    async def handler(exchange: Exchange) -> None:
        seen.append(exchange.header(b"upgrade"))
        await echo(exchange)

    async with served(handler) as place:
        caller = await place.call()
        for data in (offer, rewritten, offer):
            caller.send(data)
            await caller.answer()
        caller.reset()
    assert seen == [b"h2c", None, b"h2c"]


async def test_http_1_0_is_not_remembered_as_if_it_were_1_1() -> None:
    async with served() as place:
        caller = await place.call()
        for _ in range(3):
            caller.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert (await caller.answer()).headers[b"connection"] == b"keep-alive"
        caller.reset()


async def test_bodies_of_many_lengths_arrive_whole() -> None:
    async with served() as place:
        caller = await place.call()
        for size in (5, 0, 70_000, 1, 9, 10, 99, 100, 300_000, 5):
            caller.send(POST[:-5].replace(b": 5", b": %d" % size) + b"x" * size)
            answer: Answer = await caller.answer()
            assert answer.body == b"POST /p?q " + b"x" * size
        caller.reset()


# What an origin may say after two ordinary answers, and what the client has to make of it.
@pytest.mark.parametrize(
    ("answer", "body", "reused"),
    [
        (OK, b"hello", True),
        (OK.replace(b": 5", b": 2").replace(b"hello", b"he"), b"he", True),
        (OK.replace(b": 5", b": 0").replace(b"hello", b""), b"", True),
        (OK + b"surplus", b"hello", False),
        (OK + OK, b"hello", False),
        (OK.replace(b"200 OK", b"503 No"), b"hello", True),
        (OK.replace(b"X-A: 1", b"Connection: close"), b"hello", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"hello", True),
    ],
)
async def test_an_origin_that_repeats_itself_and_then_does_not(answer: bytes, body: bytes, reused: bool) -> None:
    answers = [OK, OK, answer, OK]

    async def script(caller: Caller) -> None:
        while answers:
            await request_of(caller)
            caller.send(answers.pop(0))
        await caller.reader.read()

    async with origin(script) as (upstream, place):
        bodies = []
        for _ in range(4):
            response = await soon(upstream.send(b"POST", b"/", [], b"{}"))
            assert isinstance(response, Response)
            assert response.headers[0] == (b"content-length", response.header(b"content-length"))
            response.headers.clear()
            bodies.append((response.status, await soon(response.read(LIMIT))))
            # Surplus may come after the response it follows: the pool has seen it when the loop has turned.
            await asyncio.sleep(0)
        status = 503 if b"503" in answer else 200
        assert bodies == [(200, b"hello"), (200, b"hello"), (status, body), (200, b"hello")]
        assert place.talks == (1 if reused else 2)


@pytest.mark.parametrize("head", [OK, OK[:-5]], ids=["with body", "without"])
async def test_an_answer_to_head_is_not_taken_for_a_repetition(head: bytes) -> None:
    async def script(caller: Caller) -> None:
        for data in (OK, OK, head, OK):
            await request_of(caller)
            caller.send(data)
        await caller.reader.read()

    async with origin(script) as (upstream, _):
        for method, body in ((b"POST", b"hello"), (b"POST", b"hello"), (b"HEAD", b"")):
            response = await soon(upstream.send(method, b"/", [], b""))
            assert isinstance(response, Response)
            assert await soon(response.read(LIMIT)) == body
