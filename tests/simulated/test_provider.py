"""Does the provider do to each call what its directives and options say, and bill what it did?"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from upshift.model.tokens import Usage
from upshift.simulated.provider import Options, Simulated
from upshift.simulated.serving import Running
from upshift.simulated.tokens import count_tokens

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
PATHS = pytest.mark.parametrize("path", [CHAT, MESSAGES])

Start = Callable[..., Awaitable[Running]]


def ask(directives: str = "output_tokens=40", *, model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    text = f"Say something.\n[[simulate: {directives}]]"
    return {"model": model, "max_tokens": 4096, "messages": [{"role": "user", "content": text}], **more}


@PATHS
async def test_output_tokens_is_exact_and_billed(running: Running, talk: Any, path: str) -> None:
    heard = await talk(running, path, ask())
    (bill,) = running.simulated.billed
    assert heard.status == 200
    text = heard.json["choices"][0]["message"]["content"] if path == CHAT else heard.json["content"][0]["text"]
    assert count_tokens(text) == bill.usage.output == 40
    assert bill.completed
    assert not bill.streamed
    assert bill.cancelled_at is None
    assert bill.request_id == (heard.headers.get("x-request-id") or heard.headers["request-id"])


@PATHS
async def test_max_tokens_holds_against_every_wish(running: Running, talk: Any, path: str) -> None:
    heard = await talk(running, path, ask() | {"max_tokens": 10})
    reason = heard.json["choices"][0]["finish_reason"] if path == CHAT else heard.json["stop_reason"]
    assert reason == ("length" if path == CHAT else "max_tokens")
    assert running.simulated.billed[0].usage.output == 10


@PATHS
@pytest.mark.parametrize("place", ["header", "model", "message"])
async def test_directives_are_read_in_three_places(running: Running, talk: Any, path: str, place: str) -> None:
    wish = "status=429,retry_after=2"
    body = ask(wish if place == "message" else "", model="m@" + wish if place == "model" else "m")
    heard = await talk(running, path, body, **({"x_simulate": wish} if place == "header" else {}))
    assert heard.status == 429
    assert heard.headers["retry-after"] == "2"
    assert heard.json["error"]["type"] == ("requests" if path == CHAT else "rate_limit_error")
    assert running.simulated.billed == []
    assert running.simulated.stats().refused == {"429": 1}


@PATHS
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        {"model": "m"},
        {"model": "m", "messages": []},
        {"messages": [{"role": "user"}]},
        b"\xff",
    ],
)
async def test_requests_that_cannot_be_read_are_refused(running: Running, talk: Any, path: str, body: Any) -> None:
    heard = await talk(running, path, body)
    assert heard.status == 400
    assert heard.json["error"]["type"] == "invalid_request_error"
    assert heard.json["error"]["message"]


@PATHS
@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "user", "content": [7]}]},
        {"max_tokens": -1},
        {"messages": [{"role": "user", "content": "[[simulate: fly]]"}]},
    ],
)
async def test_requests_that_make_no_sense_are_refused(running: Running, talk: Any, path: str, more: Any) -> None:
    assert (await talk(running, path, ask() | more)).status == 400


@pytest.mark.parametrize(
    "more",
    [
        {"n": 0},
        {"reasoning_effort": "enormous"},
        {"tools": [], "tool_choice": {"type": "function", "function": {"name": "x"}}},
    ],
)
async def test_openai_only_nonsense_is_refused(running: Running, talk: Any, more: Any) -> None:
    assert (await talk(running, CHAT, ask() | more)).status == 400


async def test_anthropic_wants_max_tokens_and_a_real_thinking_budget(running: Running, talk: Any) -> None:
    body = ask()
    del body["max_tokens"]
    assert "max_tokens" in (await talk(running, MESSAGES, body)).json["error"]["message"]
    thinking = {"type": "enabled", "budget_tokens": 10}
    assert (await talk(running, MESSAGES, ask(thinking=thinking))).status == 400


@PATHS
async def test_unknown_paths_and_keys(start: Start, talk: Any, path: str) -> None:
    running = await start(api_key="real")
    headers = {"anthropic_version": "2023-06-01"} if path == MESSAGES else {}
    assert (await talk(running, "/v1/nothing", {}, **headers)).status == 404
    for wrong in ({}, {"authorization": "Bearer false"}, {"x_api_key": "false"}):
        assert (await talk(running, path, ask(), **wrong)).status == 401
        assert (await talk(running, "/v1/models", method="GET", **headers, **wrong)).status == 401
    assert (await talk(running, "/v1/messages/count_tokens", ask())).status == 401
    for right in ({"authorization": "Bearer real"}, {"x_api_key": "real"}):
        assert (await talk(running, path, ask(), **right)).status == 200


@PATHS
async def test_the_same_seed_gives_the_same_answers(start: Start, talk: Any, path: str) -> None:
    bodies = [
        {"model": "gpt-5", "max_tokens": 900, "messages": [{"role": "user", "content": f"q{n}"}]} for n in range(5)
    ]

    async def answers(**options: Any) -> list[Any]:
        running = await start(**options)
        heard = [(await talk(running, path, body)).json for body in [*bodies, *bodies]]
        return [(one["id"], one.get("choices") or one["content"], one["usage"]) for one in heard]

    first = await answers(seed=1)
    assert await answers(seed=1) == first
    assert await answers(seed=2) != first
    assert [one[1:] for one in first[:5]] == [one[1:] for one in first[5:]]
    varied = await answers(seed=1, vary=True)
    assert [one[1:] for one in varied[:5]] != [one[1:] for one in varied[5:]]
    assert await answers(seed=1, vary=True) == varied


@PATHS
async def test_reset_and_hang_never_answer(start: Start, talk: Any, path: str) -> None:
    running = await start()
    heard = await talk(running, path, ask("reset"))
    assert (heard.status, heard.cut) == (0, True)
    body = b'{"model":"m@hang","max_tokens":9,"messages":[{"role":"user","content":"x"}]}'
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body))
    writer.write(head + body)
    assert (await talk(running, path, ask())).status == 200
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)
    writer.close()
    assert len(running.simulated.billed) == 1


@PATHS
async def test_a_stream_cut_after_some_chunks_bills_what_was_sent(running: Running, talk: Any, path: str) -> None:
    heard = await talk(running, path, ask("close_after=3,output_tokens=40", stream=True))
    await running.simulated.idle()
    (bill,) = running.simulated.billed
    assert heard.cut
    assert (bill.completed, bill.cancelled_at, bill.usage.output) == (False, 12, 12)


@PATHS
async def test_a_whole_answer_is_cut_in_half(running: Running, talk: Any, path: str) -> None:
    heard = await talk(running, path, ask("close_after=0,output_tokens=40"))
    await running.simulated.idle()
    assert heard.cut
    assert running.simulated.billed[0].usage.output == 40
    assert not running.simulated.billed[0].completed


@PATHS
async def test_an_error_event_ends_the_stream(running: Running, talk: Any, path: str) -> None:
    heard = await talk(running, path, ask("error_event_after=2,output_tokens=40", stream=True))
    assert not heard.cut
    assert "error" in heard.events[-1]
    assert b"[DONE]" not in heard.body
    await running.simulated.idle()
    assert running.simulated.billed[0].cancelled_at == 8


@PATHS
async def test_half_an_event(running: Running, talk: Any, path: str) -> None:
    heard = await talk(running, path, ask("half_event,output_tokens=40", stream=True))
    assert not heard.cut
    assert not heard.body.endswith(b"\n\n")
    whole = await talk(running, path, ask("half_event"))
    with pytest.raises(json.JSONDecodeError):
        json.loads(whole.body)


@PATHS
async def test_garbage(running: Running, talk: Any, path: str) -> None:
    heard = await talk(running, path, ask("garbage,output_tokens=40", stream=True))
    assert b"this is not json" in heard.body
    assert heard.body.endswith(b"\n\n")
    assert (await talk(running, path, ask("garbage"))).body.startswith(b"<html>")


@PATHS
@pytest.mark.parametrize("stream", [False, True])
async def test_no_usage_and_lies(running: Running, talk: Any, path: str, stream: bool) -> None:
    more: dict[str, Any] = {"stream": stream, "stream_options": {"include_usage": True}} if stream else {}
    for wish in ("no_usage", "lie_usage", "lie_usage=huge"):
        heard = await talk(running, path, ask(f"{wish},output_tokens=8", **more))
        if wish == "no_usage":
            assert b'"usage"' not in heard.body
        else:
            assert (b'tokens":-7' in heard.body) == (wish == "lie_usage")
            assert (b'tokens":1000000000000' in heard.body) == (wish == "lie_usage=huge")
    await running.simulated.idle()
    assert [bill.usage.output for bill in running.simulated.billed] == [8, 8, 8]


@PATHS
@pytest.mark.parametrize("stream", [False, True])
async def test_another_model_and_no_finish(running: Running, talk: Any, path: str, stream: bool) -> None:
    heard = await talk(running, path, ask("wrong_model,no_finish,output_tokens=8", stream=stream))
    assert b'"some-other-model"' in heard.body
    for reason in (b'"stop"', b'"end_turn"'):
        assert reason not in heard.body
    await running.simulated.idle()
    assert running.simulated.billed[0].model == "gpt-4o-mini"


@PATHS
async def test_comments_and_slow_chunks(running: Running, waits: Any, talk: Any, path: str) -> None:
    wish = "keepalive_comments,slow_chunk=0.25,delay=2,output_tokens=40"
    heard = await talk(running, path, ask(wish, stream=True))
    assert heard.body.count(b": keep-alive\n\n") == 10
    assert waits.total == 2 + 10 * 0.25


@PATHS
async def test_input_figures_are_reported_and_billed(running: Running, talk: Any, path: str) -> None:
    heard = await talk(running, path, ask("input_tokens=5000,cached_tokens=4000,output_tokens=8"))
    assert running.simulated.billed[0].usage == Usage(input=5000, cached=4000, output=8)
    usage = heard.json["usage"]
    if path == CHAT:
        assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (5000, 4000)
    else:
        assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (1000, 4000)


@PATHS
@pytest.mark.parametrize("stream", [False, True])
async def test_waiting_is_scaled_by_speed_and_class(
    start: Start, waits: Any, talk: Any, path: str, stream: bool
) -> None:
    totals = {}
    for speed in (1.0, 10.0):
        for model in ("gpt-5-mini", "gpt-5"):
            running = await start(speed=speed)
            waits.seconds.clear()
            await talk(running, path, ask(model=model, stream=stream))
            await running.simulated.idle()
            totals[speed, model] = waits.total
    assert totals[1.0, "gpt-5"] > 3 * totals[1.0, "gpt-5-mini"] > 0.5
    assert totals[1.0, "gpt-5"] == pytest.approx(10 * totals[10.0, "gpt-5"], rel=0.01)


async def test_shares_of_errors_and_slow_calls(start: Start, waits: Any, talk: Any) -> None:
    running = await start(error_rate=0.3)
    statuses = [(await talk(running, CHAT, ask())).status for _ in range(200)]
    failed = [status for status in statuses if status != 200]
    assert 35 <= len(failed) <= 85
    assert set(failed) == {429, 500, 503}
    assert sum(running.simulated.stats().refused.values()) == len(failed)
    usual, slow = await start(speed=1.0), await start(speed=1.0, slow_rate=1.0)
    waits.seconds.clear()
    await talk(usual, CHAT, ask())
    quick = waits.total
    await talk(slow, CHAT, ask())
    assert waits.total - quick == pytest.approx(10 * quick)


@PATHS
async def test_a_client_that_leaves_pays_for_what_was_generated(start: Start, path: str) -> None:
    running = await start()
    body = b'{"model":"m","max_tokens":10000000,"stream":true,"messages":[{"role":"user","content":"x"}]}'
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    head = b"POST %b HTTP/1.1\r\nhost: x\r\nx-simulate: output_tokens=2000000\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % (path.encode(), len(body)) + body)
    await reader.readuntil(b"delta")
    writer.transport.abort()
    await running.simulated.idle()
    (bill,) = running.simulated.billed
    assert not bill.completed
    assert bill.cancelled_at == bill.usage.output
    assert 0 < bill.usage.output < 2_000_000
    assert running.simulated.stats().cancelled == 1
    assert running.simulated.stats().open == 0


async def test_the_book_can_be_read_and_cleared(running: Running, talk: Any) -> None:
    await talk(running, CHAT, ask())
    await talk(running, MESSAGES, ask("status=500"))
    bills = (await talk(running, "/simulated/bills", method="GET")).json
    assert [(bill["dialect"], bill["usage"]["output"]) for bill in bills] == [("openai", 40)]
    stats = (await talk(running, "/simulated/stats", method="GET")).json
    assert (stats["requests"], stats["answered"], stats["refused"]) == (2, 1, {"500": 1})
    assert stats["usage"] == bills[0]["usage"]
    assert (await talk(running, "/simulated/bills", method="DELETE")).status == 204
    assert (await talk(running, "/simulated/bills", method="GET")).json == []
    assert (await talk(running, "/simulated/stats", method="GET")).json["requests"] == 0


async def test_old_bills_make_room_but_stay_in_the_totals(start: Start, talk: Any) -> None:
    running = await start(keep_bills=4)
    for _ in range(10):
        await talk(running, CHAT, ask())
    assert 2 <= len(running.simulated.billed) <= 4
    assert running.simulated.stats().usage.output == 400


def test_options_are_what_a_provider_needs() -> None:
    assert Simulated(Options()).stats().requests == 0
