"""Does bad input, from clients and from providers, end in a clear error, the right record and closed books?"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.end_to_end.probe import DIALECTS, PATHS, ask, balance, body_of, closed, get, key, post
from tests.end_to_end.stack import ADMIN, Stack, plan_text, running
from tests.http.sockets import Answer, Caller, Served
from tests.http.sockets import HandClock as Seconds

from upshift.gateway.clock import HandClock
from upshift.gateway.doors import Doors, refusal_of_bad_http
from upshift.http.limits import ServerLimits
from upshift.http.server import serve
from upshift.model.budget import NOTHING
from upshift.model.metered import Outcome
from upshift.model.span import MICROS
from upshift.model.tokens import Certainty
from upshift.simulated.tokens import count_tokens

SILENCES = {"hang": "first_byte: 300ms, idle: 60s", "slow_chunk=2": "first_byte: 60s, idle: 300ms"}
"""How long a provider is given that is to be silent, before its answer or within it."""


@pytest.fixture
async def stack(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    """An installation; where a silence is to be timed out, one that gives its providers 300 ms for that."""
    fault = getattr(request.node, "callspec", None) and request.node.callspec.params.get("fault")
    patience = SILENCES.get(fault.wish) if fault else None
    extra = [("timeouts: {connect: 60s, first_byte: 10m, idle: 10m}", f"timeouts: {{connect: 60s, {patience}}}")]
    async with running(tmp_path, extra=extra if patience else ()) as found:
        yield found


def kind_of(reply_body: bytes, dialect: str) -> str:
    """The error's type, once its shape is found to be that of the dialect."""
    said = json.loads(reply_body)
    assert isinstance(said["error"]["message"], str)
    assert said["error"]["message"]
    if dialect == "anthropic":
        assert said["type"] == "error"
    else:
        assert "type" not in said
    return str(said["error"]["type"])


async def patient(stack: Stack) -> None:
    """From now on providers have all the time that a plan gives them unasked."""
    await stack.apply(plan_text(f"http://127.0.0.1:{stack.provider.port}"))


async def works(stack: Stack, dialect: str = "openai") -> None:
    """The next call is served, and afterwards nothing is held."""
    reply = await ask(stack, "and now?", dialect=dialect)
    assert reply.status == 200, reply.body
    await closed(stack)


# what clients send ----------------------------------------------------------------------------------------------------

CHAT: dict[str, Any] = {"model": "big", "messages": [{"role": "user", "content": "Hello"}]}
BODIES = {
    "nothing": (b"", "body"),
    "not JSON": (b"hello there", "body"),
    "half of it": (b'{"model": "big", "messages": [{"role": "us', "body"),
    "not an object": (b"[1, 2, 3]", "body"),
    "null": (b"null", "body"),
    "not UTF-8": (b'{"model": "big", "messages": "\xff\xfe"}', "body"),
    "a NaN": (b'{"model": "big", "messages": [], "temperature": NaN}', "body"),
    "far too deep": (b'{"model": "big", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    "a field twice": (b'{"model": "big", "model": "small", "messages": [{"role": "user", "content": "x"}]}', "model"),
    "no model": (json.dumps({"messages": CHAT["messages"]}).encode(), "model"),
    "model a number": (json.dumps(CHAT | {"model": 7}).encode(), "model"),
    "model without end": (json.dumps(CHAT | {"model": "m" * 5000}).encode(), "model"),
    "no messages": (json.dumps({"model": "big"}).encode(), "messages"),
    "messages a text": (json.dumps(CHAT | {"messages": "Hello"}).encode(), "messages"),
    "messages empty": (json.dumps(CHAT | {"messages": []}).encode(), "messages"),
    "message a number": (json.dumps(CHAT | {"messages": [1]}).encode(), "messages[0]"),
    "content a number": (json.dumps(CHAT | {"messages": [{"role": "user", "content": 7}]}).encode(), "messages[0]"),
    "stream a text": (json.dumps(CHAT | {"stream": "yes"}).encode(), "stream"),
    "max_tokens negative": (json.dumps(CHAT | {"max_tokens": -1}).encode(), "max_tokens"),
    "max_tokens zero": (json.dumps(CHAT | {"max_tokens": 0}).encode(), "max_tokens"),
    "max_tokens a text": (json.dumps(CHAT | {"max_tokens": "many"}).encode(), "max_tokens"),
    "max_tokens huge": (json.dumps(CHAT | {"max_tokens": 10**30}).encode(), "max_tokens"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_is_no_call_is_refused_with_the_place_where_it_goes_wrong(
    stack: Stack, name: str, dialect: str
) -> None:
    body, place = BODIES[name]
    reply = await post(stack, PATHS[dialect], body, await key(stack))
    assert reply.status == 400
    assert kind_of(reply.body, dialect) == "invalid_request_error"
    assert place in reply.problem()
    assert len(reply.body) < 2000
    assert reply.headers["x-should-retry"] == "false"
    assert stack.provider.simulated.stats().requests == 0
    await works(stack, dialect)


KEYS = {
    "missing": (None, "no key"),
    "unknown": ("upk_nobody-ever-had-this-one", "unknown"),
    "no ASCII": ("upk_schlüssel", "unknown"),
    "expired": ("", "expired since 2026-11-02"),
    "revoked": ("", "revoked since 2026-11-02"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", KEYS)
async def test_a_key_that_is_no_good_opens_nothing(tmp_path: Path, name: str, dialect: str) -> None:
    first = 1_793_491_200 * MICROS  # 2026-11-01
    clock = HandClock(first)
    async with running(tmp_path, clock=clock) as stack:
        secret, says = KEYS[name]
        if name in ("expired", "revoked"):
            ends = first + 86_400 * MICROS
            issued = stack.desk.issue(ADMIN, name="app", tenant="acme", user="alice", expires=ends)
            secret = issued.secret
            clock.advance(86_400)
            if name == "revoked":
                stack.desk.revoke(ADMIN, issued.key.id)
            await stack.gateway.flow.regime.refresh()
        headers = (
            {} if secret is None else {"x-api-key": secret.encode().decode("latin-1")} if name == "no ASCII" else {}
        )
        for path in (PATHS[dialect], "/v1/models", "/upshift/v1/budget"):
            body = body_of(dialect) if path == PATHS[dialect] else b""
            reply = await post(
                stack,
                path,
                body,
                None if headers else secret,
                headers | ({"anthropic-version": "2023-06-01"} if dialect == "anthropic" else {}),
                b"POST" if body else b"GET",
            )
            assert reply.status == 401
            assert says in reply.problem()
            assert kind_of(reply.body, dialect) in ("authentication_error", "invalid_request_error")
            assert secret is None or secret.encode() not in reply.body
        assert stack.provider.simulated.stats().requests == 0
        assert await stack.records() == []
        await works(stack, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_unknown_model_is_refused_with_those_that_are_known(stack: Stack, dialect: str) -> None:
    reply = await ask(stack, dialect=dialect, model="gpt-99")
    assert reply.status == 404
    assert "'gpt-99'" in reply.problem()
    assert {"openai": "big", "anthropic": "sonnet"}[dialect] in reply.problem()
    (record,) = await stack.records()
    assert (record.outcome, record.status, record.reason) == (Outcome.REFUSED, 404, "unknown_model")
    assert (record.tenant, record.user, record.requested_model) == ("acme", "alice", "gpt-99")
    assert (record.cost, record.counted, record.counted_tokens) == (0, 0, 0)
    await works(stack, dialect)


async def test_what_no_other_dialect_can_say_is_refused_and_holds_nothing(stack: Stack) -> None:
    reply = await ask(stack, model="sonnet", logprobs=True)
    assert reply.status == 400
    assert "logprobs" in reply.problem()
    assert stack.provider.simulated.stats().requests == 0
    await works(stack)


async def test_what_goes_on_from_a_state_of_a_provider_is_not_sent_to_one_without_it(stack: Stack) -> None:
    body = b'{"model": "big", "input": "and then?", "previous_response_id": "resp_1"}'
    reply = await post(stack, "/v1/responses", body, await key(stack))
    assert reply.status == 400
    assert "openai-responses" in reply.problem()
    assert stack.provider.simulated.stats().requests == 0


async def test_a_compressed_body_is_refused_in_words(stack: Stack) -> None:
    reply = await post(stack, PATHS["openai"], b"\x1f\x8b\x08", await key(stack), {"content-encoding": "gzip"})
    assert (reply.status, "content-encoding" in reply.problem()) == (400, True)
    await works(stack)


# bytes that are no request --------------------------------------------------------------------------------------------


async def raw(stack: Stack) -> Caller:
    served = Served(stack.gateway.server, Seconds())
    return await served.call()


def post_head(dialect: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {PATHS[dialect]} HTTP/1.1", "host: gateway", *lines, "", ""]).encode()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_oversized_body_is_refused_before_it_is_read(tmp_path: Path, dialect: str, chunked: bool) -> None:
    async with running(tmp_path) as stack:
        doors = Doors(stack.gateway.flow, stack.gateway.agents)
        errors: list[BaseException] = []
        server = await serve(
            doors,
            "127.0.0.1",
            0,
            limits=ServerLimits(max_body_bytes=1000),
            on_error=errors.append,
            on_bad_request=refusal_of_bad_http,
        )
        caller = await Served(server, Seconds()).call()
        if chunked:
            caller.send(post_head(dialect, "transfer-encoding: chunked") + b"7d0\r\n" + b"x" * 2000 + b"\r\n")
        else:
            caller.send(post_head(dialect, "content-length: 2000"))
        answer = await caller.answer()
        assert answer.status == 413
        assert kind_of(answer.body, dialect) in ("request_too_large", "invalid_request_error")
        assert b"1000 bytes" in answer.body
        caller.reset()
        await server.shutdown(0.0)
        assert errors == []
        await works(stack, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_ten_megabytes_of_headers_are_not_read(stack: Stack, dialect: str) -> None:
    caller = await raw(stack)
    caller.send(post_head(dialect)[:-2] + b"x-long: ")
    for _ in range(160):
        caller.send(b"x" * 65536)
    answer = await caller.answer()
    assert answer.status == 431
    kind_of(answer.body, "openai" if b'"param"' in answer.body else "anthropic")
    caller.reset()
    await works(stack, dialect)


@pytest.mark.parametrize(
    "lines",
    [
        b"HELLO\r\n\r\n",
        b"POST /v1/chat/completions HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_and_nobody_else_notices(stack: Stack, lines: bytes) -> None:
    caller = await raw(stack)
    caller.send(lines)
    answer = await caller.answer()
    assert 400 <= answer.status <= 505
    assert answer.headers[b"content-type"] == b"application/json"
    caller.reset()
    await works(stack)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stage", ["headers", "body"])
async def test_a_slow_loris_is_told_and_cut(stack: Stack, stage: str, dialect: str) -> None:
    clock, errors = Seconds(), list[BaseException]()
    server = await serve(
        Doors(stack.gateway.flow, stack.gateway.agents),
        "127.0.0.1",
        0,
        limits=ServerLimits(),
        on_error=errors.append,
        on_bad_request=refusal_of_bad_http,
        clock=clock,
    )
    served = Served(server, clock)
    slow = [await served.call() for _ in range(20)]
    for caller in slow:
        sent = post_head(dialect, "content-length: 100")
        caller.send(sent[:-2] if stage == "headers" else sent + b'{"model": ')
    # A whole request behind them is answered, by which time the slow ones have been read too.
    good = await post(stack, "/healthz", b"", None, method=b"GET", port=server.port)
    assert good.status == 200
    served.pass_seconds(31)
    answers: list[Answer] = [await caller.answer() for caller in slow]
    assert {answer.status for answer in answers} == {408}
    assert all(b"seconds" in answer.body for answer in answers)
    for caller in slow:
        caller.reset()
    await server.shutdown(0.0)
    assert errors == []
    await works(stack, dialect)


# what providers do ----------------------------------------------------------------------------------------------------


class Fault(NamedTuple):
    """A fault, what the client gets and what the record says; `counted`: 'nothing', 'hold', 'exact' or 'seen'."""

    wish: str
    status: int
    says: str
    outcome: Outcome
    certainty: Certainty
    reason: str
    counted: str


FAILED, SERVED = Outcome.UPSTREAM_ERROR, Outcome.SERVED
EXACT, AT_LEAST, UNKNOWN = Certainty.EXACT, Certainty.AT_LEAST, Certainty.UNKNOWN
WHOLE = [
    Fault("status=500", 500, "simulated error 500", FAILED, EXACT, "provider-status-500", "nothing"),
    Fault("status=503", 503, "simulated error 503", FAILED, EXACT, "provider-status-503", "nothing"),
    Fault("status=400", 400, "simulated error 400", FAILED, EXACT, "provider-status-400", "nothing"),
    Fault("status=429,retry_after=7", 429, "error 429", FAILED, EXACT, "provider-status-429", "nothing"),
    Fault("status=401", 502, "gateway's own credentials", FAILED, EXACT, "provider-status-401", "nothing"),
    Fault("status=403", 502, "gateway's own credentials", FAILED, EXACT, "provider-status-403", "nothing"),
    Fault("reset", 502, "reset", FAILED, UNKNOWN, "provider-reset", "hold"),
    Fault("hang", 504, "first_byte_timeout", FAILED, UNKNOWN, "provider-first_byte_timeout", "hold"),
    Fault("close_after=1", 502, "provider", FAILED, UNKNOWN, "provider-reset", "hold"),
    Fault("garbage", 502, "not an answer", FAILED, UNKNOWN, "provider-protocol", "hold"),
    Fault("half_event", 502, "not an answer", FAILED, UNKNOWN, "provider-protocol", "hold"),
    Fault("no_usage", 200, "", SERVED, UNKNOWN, "usage-not-reported", "hold"),
    Fault("lie_usage=negative", 200, "", SERVED, UNKNOWN, "usage-not-reported", "hold"),
    Fault("lie_usage=huge", 200, "", SERVED, UNKNOWN, "usage-not-reported", "hold"),
    Fault("wrong_model", 200, "", SERVED, EXACT, "", "exact"),
    Fault("no_finish", 200, "", SERVED, EXACT, "", "exact"),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fault", WHOLE, ids=[fault.wish for fault in WHOLE])
async def test_a_provider_that_fails_a_whole_answer(stack: Stack, fault: Fault, dialect: str) -> None:
    reply = await ask(stack, f"Hi [[simulate: output_tokens=20,{fault.wish}]]", dialect=dialect, max_tokens=1000)
    assert reply.status == fault.status, reply.body
    assert reply.headers["x-upshift-served-model"] in ("big", "sonnet")
    if fault.status >= 400:
        kind_of(reply.body, dialect)
        assert fault.says in reply.problem()
    if "retry_after" in fault.wish:
        assert reply.headers["retry-after"] == "7"
    (record,) = await stack.records()
    assert (record.outcome, record.certainty, record.reason) == (fault.outcome, fault.certainty, fault.reason)
    assert record.request == reply.headers["x-upshift-request"]
    assert record.served_model == reply.headers["x-upshift-served-model"]
    settled = balance(stack).settled
    assert (settled.tokens, settled.nano) == (record.counted_tokens, record.counted)
    match fault.counted:
        case "nothing":
            assert (settled, record.cost) == (NOTHING, 0)
        case "hold":
            # Nobody knows what it cost: the most that it can have is counted, and the cost is not called zero.
            assert record.cost is None
            assert settled.tokens >= 1000
        case _:
            assert record.cost == settled.nano
            assert record.usage.output == 20
    await patient(stack)
    await works(stack, dialect)


STREAMED = [
    Fault("status=500", 500, "simulated error 500", FAILED, EXACT, "provider-status-500", "nothing"),
    Fault("status=429,retry_after=7", 429, "error 429", FAILED, EXACT, "provider-status-429", "nothing"),
    Fault("status=401", 502, "gateway's own credentials", FAILED, EXACT, "provider-status-401", "nothing"),
    Fault("reset", 502, "reset", FAILED, UNKNOWN, "provider-reset", "hold"),
    Fault("hang", 504, "first_byte_timeout", FAILED, UNKNOWN, "provider-first_byte_timeout", "hold"),
    Fault("close_after=8", 200, "broke off", FAILED, AT_LEAST, "provider-reset", "seen"),
    Fault("close_after=0", 502, "reset", FAILED, UNKNOWN, "provider-reset", "hold"),
    Fault("half_event", 200, "broke off", FAILED, AT_LEAST, "provider-incomplete", "seen"),
    Fault("slow_chunk=2", 504, "idle_timeout", FAILED, UNKNOWN, "provider-idle_timeout", "hold"),
    Fault("error_event_after=8", 200, "in mid-stream", FAILED, AT_LEAST, "provider-error-event", "seen"),
    Fault("garbage", 200, "", SERVED, EXACT, "", "exact"),
    Fault("no_usage", 200, "", SERVED, AT_LEAST, "usage-not-reported", "seen"),
    Fault("lie_usage=negative", 200, "", SERVED, AT_LEAST, "usage-not-reported", "seen"),
    Fault("lie_usage=huge", 200, "", SERVED, AT_LEAST, "usage-not-reported", "seen"),
    Fault("wrong_model", 200, "", SERVED, EXACT, "", "exact"),
    Fault("keepalive_comments", 200, "", SERVED, EXACT, "", "exact"),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fault", STREAMED, ids=[fault.wish for fault in STREAMED])
async def test_a_provider_that_fails_a_streamed_answer(stack: Stack, fault: Fault, dialect: str) -> None:
    text = f"Hi [[simulate: output_tokens=80,{fault.wish}]]"
    reply = await ask(stack, text, dialect=dialect, max_tokens=1000, stream=True)
    assert reply.status == fault.status, reply.body
    if fault.status >= 400:
        kind_of(reply.body, dialect)
        assert fault.says in reply.problem()
    elif fault.says:
        last = reply.events()[-1]
        assert fault.says in last["error"]["message"]
        assert (last.get("type") == "error") is (dialect == "anthropic")
        assert b"[DONE]" not in reply.body
        assert b"message_stop" not in reply.body
    (record,) = await stack.records()
    assert (record.outcome, record.certainty, record.reason) == (fault.outcome, fault.certainty, fault.reason)
    assert record.streamed
    settled = balance(stack).settled
    assert (settled.tokens, settled.nano) == (record.counted_tokens, record.counted)
    match fault.counted:
        case "nothing":
            assert (settled, record.cost) == (NOTHING, 0)
        case "hold":
            assert record.cost is None
            assert settled.tokens >= 1000
        case "exact":
            (bill,) = stack.provider.simulated.billed
            assert record.usage == bill.usage
            assert record.cost == settled.nano
        case _:
            # What the client saw is never counted at less than it was.
            assert record.usage.output >= count_tokens(reply.text())
            assert record.usage.input >= 3
            assert record.cost == settled.nano > 0
    await patient(stack)
    await works(stack, dialect)


async def test_a_provider_that_is_not_there(stack: Stack) -> None:
    await stack.provider.close()
    for dialect in DIALECTS:
        reply = await ask(stack, dialect=dialect)
        assert reply.status == 502
        kind_of(reply.body, dialect)
        assert "connect" in reply.problem()
    records = await stack.records()
    assert [(record.reason, record.cost, record.counted) for record in records] == [("provider-connect", 0, 0)] * 2
    assert balance(stack).settled == NOTHING
    await closed(stack)
    assert (await get(stack, "/healthz", None)).status == 200
