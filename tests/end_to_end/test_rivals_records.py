"""Is every call on record once, at its price, where other gateways were reported to lose, double or misprice them?"""

import asyncio
import contextlib
import gc
import json
import os
import tracemalloc
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.callers import Line
from tests.end_to_end.probe import (
    DIALECTS,
    MODELS,
    PATHS,
    Reply,
    ask,
    balance,
    body_of,
    closed,
    key,
    post,
    recording,
    spend,
)
from tests.end_to_end.stack import Stack, plan_text, running
from tests.end_to_end.turnstile import turnstile
from tests.http.sockets import Caller, Served, soon, until
from tests.http.sockets import HandClock as Seconds

from upshift.app import start_gateway
from upshift.gateway.clock import HandClock
from upshift.http.client import Timeouts, Trouble, Upstream
from upshift.model.metered import Outcome
from upshift.model.span import to_instant
from upshift.model.tokens import Certainty
from upshift.simulated.provider import Options
from upshift.simulated.tokens import count_tokens

SERVED_AS = "x-upshift-served-model"


async def restart(stack: Stack, grace_seconds: float) -> None:
    """Take the gateway down as an operator would, and start another on the same file."""
    await stack.gateway.close(grace_seconds)
    stack.gateway = await start_gateway(stack.settings, stack.clock)


async def leaving(stack: Stack, dialect: str, text: str) -> bytes:
    """Read the first hundred tokens or so of a stream, then leave; returns what was read."""
    secret = await key(stack)
    caller: Caller = await Served(stack.gateway.server, Seconds()).call()
    body = body_of(dialect, text, stream=True, max_tokens=4000)
    head = [f"POST {PATHS[dialect]} HTTP/1.1", "host: gateway", f"x-api-key: {secret}", f"content-length: {len(body)}"]
    caller.send("\r\n".join([*head, "", ""]).encode() + body)
    read = b""
    while len(read) < 6000:
        piece = await soon(caller.reader.read(2000))
        assert piece
        read += piece
    caller.reset()
    await stack.provider.simulated.idle()
    await stack.settled()
    return read


# once, and only once --------------------------------------------------------------------------------------------------


async def test_a_graceful_restart_drops_no_record(tmp_path: Path) -> None:
    """Restart, worker recycling or deadlock drops spend rows: litellm 38157, 34805, 34820, 27989; bifrost 3548."""
    async with turnstile() as stile, running(tmp_path) as stack:
        await stack.apply(plan_text(stile.url))
        text = "[[simulate: output_tokens=200,slow_chunk=1]]"
        alice = await key(stack)
        calls = [
            asyncio.create_task(ask(stack, f"{n} {text}", secret=alice, dialect=DIALECTS[n % 2], stream=True))
            for n in range(12)
        ]
        await stile.until(waiting=12)
        restarting = asyncio.create_task(restart(stack, grace_seconds=120))
        await asyncio.sleep(0)
        await stile.open()
        await restarting
        replies = await asyncio.gather(*calls)
        assert all(reply.status == 200 for reply in replies)
        records = await stack.records()
        assert [(record.outcome, record.usage.output) for record in records] == [(Outcome.SERVED, 200)] * 12
        assert balance(stack).settled.tokens == sum(record.counted_tokens for record in records)
        assert (
            (await ask(stack)).headers["x-upshift-budget"].split("=")[1].startswith(str(balance(stack).settled.tokens))
        )
        await closed(stack)


async def test_a_restart_that_cuts_calls_still_counts_them(tmp_path: Path) -> None:
    """Spend rows dropped with what was in flight: litellm 38157, 34820."""
    async with turnstile() as stile, running(tmp_path) as stack:
        await stack.apply(plan_text(stile.url))
        alice, pieces = await key(stack), Counter[int]()

        async def call(number: int) -> None:
            async with Line(stack.gateway.port, lambda: pieces.update([number])) as line:
                await line.call(alice, "[[simulate: output_tokens=2000,slow_chunk=1]]", stream=True)

        calls = [asyncio.create_task(call(number)) for number in range(5)]
        for _ in range(3):
            await stile.until(waiting=5)
            await stile.step()
        # The head of an answer, and something of it.
        await until(lambda: all(pieces[number] >= 3 for number in range(5)))
        await restart(stack, grace_seconds=0.1)
        for each in calls:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await each
        records = await stack.records()
        assert [record.outcome for record in records] == [Outcome.CLIENT_LEFT] * 5
        assert all(record.certainty is Certainty.AT_LEAST and record.cost for record in records)
        await closed(stack)


async def test_a_new_plan_keeps_what_was_used(tmp_path: Path) -> None:
    """Configuration reload zeroes usage: bifrost 5925."""
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack)
        assert (await spend(stack, alice, max_tokens=1000)).status == 402
        used = balance(stack).settled
        before = stack.gateway.flow.regime.in_force.snapshot.hash
        await stack.apply(plan_text(stack.simulated_url(), limit="6k"))
        assert balance(stack).settled == used
        reply = await ask(stack, secret=alice)
        assert reply.status == 200
        assert reply.headers["x-upshift-budget"].endswith("/6000")
        await stack.apply(plan_text(stack.simulated_url(), limit="3k"))
        assert (await ask(stack, secret=alice)).status == 402
        records = await stack.records()
        assert {record.plan for record in records} > {before}
        await closed(stack)


async def test_each_call_is_on_record_exactly_once(stack: Stack) -> None:
    """The same call logged twice, or not at all: litellm 15740, 36426."""
    alice = await key(stack)
    calls = [
        ask(stack, f"{n} [[simulate: output_tokens=9]]", secret=alice, dialect=DIALECTS[n % 2], stream=n % 4 > 1)
        for n in range(120)
    ]
    replies = await asyncio.gather(*calls)
    assert {reply.status for reply in replies} == {200}
    records = await stack.records()
    billed = {bill.request_id: bill for bill in stack.provider.simulated.billed}
    assert len(records) == len(billed) == 120
    assert {record.request for record in records} == {reply.headers["x-upshift-request"] for reply in replies}
    for record in records:
        bill = billed.pop(record.upstream_id)
        assert (record.usage, record.streamed, record.served_model) == (bill.usage, bill.streamed, bill.model)
    assert balance(stack).settled.tokens == sum(record.usage.total for record in records)
    await closed(stack)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_streams_are_priced_as_billed(stack: Stack, dialect: str) -> None:
    """Streamed calls priced at zero, 830 EUR billed and 1.47 USD shown: litellm 37923, 40100; otari 256."""
    text = "Tell me [[simulate: output_tokens=321]]"
    reply = await ask(stack, text, dialect=dialect, stream=True)
    assert count_tokens(reply.text()) == 321
    (record,) = await stack.records()
    (bill,) = stack.provider.simulated.billed
    assert (record.usage, record.certainty) == (bill.usage, Certainty.EXACT)
    rates = {"openai": (2_000, 10_000), "anthropic": (3_000, 15_000)}[dialect]
    assert record.cost == bill.usage.input * rates[0] + 321 * rates[1]
    assert balance(stack).settled.nano == record.cost


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_client_that_leaves_pays_for_what_was_produced(stack: Stack, dialect: str) -> None:
    """A client that disconnects loses its usage or is billed the maximum: litellm 14457, 37992; new-api 5235, 4168."""
    await leaving(stack, dialect, "[[simulate: output_tokens=3000,slow_chunk=0.0005]]")
    (record,) = await stack.records()
    (bill,) = stack.provider.simulated.billed
    assert bill.cancelled_at is not None
    assert bill.cancelled_at < 3000
    assert (record.outcome, record.certainty) == (Outcome.CLIENT_LEFT, Certainty.AT_LEAST)
    assert 50 < record.usage.output < 3000
    # Text is turned into tokens by an estimate that errs upwards.
    assert bill.cancelled_at * 0.5 <= record.usage.output <= bill.cancelled_at * 2
    assert record.cost == balance(stack).settled.nano > 0
    await closed(stack)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_drained_stream_is_known_exactly(tmp_path: Path, dialect: str) -> None:
    """A client that disconnects loses its usage: litellm 14457, 37992; new-api 5235, 4168."""
    async with running(tmp_path, on_disconnect="drain") as stack:
        await leaving(stack, dialect, "[[simulate: output_tokens=1500,slow_chunk=0.001]]")
        (record,) = await stack.records()
        (bill,) = stack.provider.simulated.billed
        assert (record.outcome, record.certainty) == (Outcome.CLIENT_LEFT, Certainty.EXACT)
        assert record.usage == bill.usage
        assert record.usage.output == 1500
        await closed(stack)


# at its price ---------------------------------------------------------------------------------------------------------


def cached(ttl: str | None, number: int) -> list[dict[str, Any]]:
    """A long system prompt that is to be cached."""
    control = {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})
    return [{"type": "text", "text": f"rule {number} " * 1200, "cache_control": control}]


@pytest.mark.parametrize(("ttl", "rate"), [(None, 3_750), ("5m", 3_750), ("1h", 6_000)])
async def test_cache_writes_are_counted_once_and_reads_at_their_own_price(
    stack: Stack, ttl: str | None, rate: int
) -> None:
    """Cached tokens at full price, cache writes counted twice: litellm 11364, 18988; bifrost 904, 3451, 5243."""
    for stream in (False, True):
        system = cached(ttl, int(stream))
        for _ in range(2):
            text = "Hello [[simulate: output_tokens=10]]"
            assert (await ask(stack, text, dialect="anthropic", system=system, stream=stream)).status == 200
    records = await stack.records()
    for write, read in (records[:2], records[2:]):
        written = write.usage.cache_write_1h if ttl == "1h" else write.usage.cache_write_5m
        assert written > 2000
        assert (write.usage.cached, write.usage.cache_write_5m + write.usage.cache_write_1h) == (0, written)
        assert write.cost == (write.usage.input - written) * 3_000 + written * rate + 10 * 15_000
        assert (read.usage.cached, read.usage.input) == (written, write.usage.input)
        assert read.cost == (read.usage.input - written) * 3_000 + written * 300 + 10 * 15_000
    assert [record.usage for record in records] == [bill.usage for bill in stack.provider.simulated.billed]
    await closed(stack)


@pytest.mark.parametrize("stream", [False, True])
async def test_cached_tokens_are_cheaper_in_the_openai_dialect_too(stack: Stack, stream: bool) -> None:
    """Cached tokens at full price: litellm 11364; bifrost 904."""
    text = "Hello [[simulate: input_tokens=3000,cached_tokens=2048,output_tokens=10]]"
    await ask(stack, text, stream=stream)
    (record,) = await stack.records()
    assert (record.usage.input, record.usage.cached) == (3000, 2048)
    assert record.cost == 952 * 2_000 + 2048 * 200 + 10 * 10_000


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_without_a_price_costs_unknown_and_not_nothing(tmp_path: Path, stream: bool) -> None:
    """Unpriced model = 0: litellm 18988; bifrost 3451, 5243."""
    unpriced = [("can: [json], price: {input: $0.20, output: $1}}", "can: [json]}")]
    async with running(tmp_path, extra=unpriced) as stack:
        await ask(stack, "Hello [[simulate: output_tokens=30]]", model="small", stream=stream)
        (record,) = await stack.records()
        assert (record.cost, record.certainty, record.usage.output) == (None, Certainty.EXACT, 30)
        assert record.counted_tokens == balance(stack).settled.tokens == record.usage.total
        (used,) = stack.desk.journal.usage([], 0, 2**62)
        assert (used.unknown_cost, used.cost) == (1, 0)


# by which model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_everyone_can_tell_which_model_served(tmp_path: Path, dialect: str, stream: bool) -> None:
    """Nobody can tell which model served the answer: litellm 28241, 31722, 35246, 25503; agentgateway 1361."""
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack, workload="soft")
        asked = {"openai": "premium", "anthropic": "claude-test"}[dialect]
        text = "Hi [[simulate: output_tokens=20]]"

        async def check(served: str) -> Reply:
            reply = await ask(stack, text, secret=alice, dialect=dialect, model=asked, stream=stream, max_tokens=50)
            assert (reply.headers["x-upshift-requested-model"], reply.headers[SERVED_AS]) == (asked, served)
            said = reply.events()[0] if stream else reply.json()
            assert said.get("message", said)["model"] == served
            record = (await stack.records())[-1]
            assert (record.requested_model, record.served_model) == (asked, served)
            return reply

        plain = await check(MODELS[dialect])
        assert "x-upshift-reason" not in plain.headers
        await spend(stack, alice, dialect=dialect, max_tokens=1000)
        degraded = await check({"openai": "small", "anthropic": "haiku"}[dialect])
        assert degraded.headers["x-upshift-reason"] == "budget-reached:degraded-to-budget-model-tier"


async def test_thresholds_speak_once_per_period(tmp_path: Path) -> None:
    """Fixed thresholds and repeated alerts: litellm 32597."""
    clock = HandClock(to_instant(datetime(2026, 11, 15, tzinfo=UTC)))
    async with running(tmp_path, limit="10k", clock=clock) as stack:
        alice = await key(stack)
        for month in (11, 12):
            for _ in range(30):
                await ask(stack, "[[simulate: output_tokens=500]]", secret=alice, max_tokens=500)
            await restart(stack, grace_seconds=1)
            for _ in range(3):
                await ask(stack, "[[simulate: output_tokens=500]]", secret=alice, max_tokens=500)
            await stack.settled()
            raised = [each.alert for each in stack.desk.journal.alerts() if each.alert.key.period == f"2026-{month}"]
            assert sorted(alert.threshold for alert in raised) == [70, 90, 100]
            clock.set(to_instant(datetime(2026, 12, 15, tzinfo=UTC)))
        await closed(stack)


# for a long time ------------------------------------------------------------------------------------------------------


async def test_memory_and_files_stay_flat_over_a_thousand_calls(tmp_path: Path) -> None:
    """Memory grows until the pod dies, connections run out: litellm 27954, 12685, 18708."""
    async with running(tmp_path, limit="1000M", options=Options(seed=7, keep_bills=100)) as stack:
        alice = await key(stack)
        headers = [(b"authorization", b"Bearer " + alice.encode())]
        link = Upstream(stack.base_url, timeouts=Timeouts(connect=60), max_connections=8)

        async def calls(count: int) -> None:
            for n in range(count):
                dialect = DIALECTS[n % 2]
                body = body_of(dialect, f"{n % 50} [[simulate: output_tokens=8]]", stream=n % 3 == 0)
                response = await link.send(b"POST", PATHS[dialect].encode(), headers, body)
                assert not isinstance(response, Trouble)
                assert response.status == 200
                assert isinstance(await response.read(1_000_000), bytes)

        await calls(200)
        await stack.settled()
        gc.collect()
        files = len(os.listdir("/dev/fd"))
        tracemalloc.start()
        try:
            await calls(200)
            await stack.settled()
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            await calls(600)
            await stack.settled()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(os.listdir("/dev/fd")) <= files + 2
        assert after - before < 600 * 512
        await link.close()
        assert len(await stack.records()) == 1000
        await closed(stack)


# unchanged ------------------------------------------------------------------------------------------------------------

THINKING = b"".join(
    b"event: %b\ndata: %b\n\n" % (json.loads(data)["type"].encode(), data)
    for data in (
        b'{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"sonnet-x",'
        b'"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1,'
        b'"service_tier":"standard","new_field":{"a":[1,2.50]}}}}',
        b'{"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "",'
        b' "signature": ""}}',
        b'{"type": "ping"}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me see \\u00e9"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB+/="}}',
        b'{"type":"content_block_stop","index":0}',
        b'{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f",'
        b'"input":{}}}',
        b'{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\": 1}"}}',
        b'{"type":"content_block_stop","index":1}',
        b'{"type":"brand_new_event","index":1}',
        b'{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":15}}',
        b'{"type":"message_stop"}',
    )
)


async def test_thinking_and_unknown_events_pass_byte_for_byte(stack: Stack) -> None:
    """Thinking deltas or message_start malformed: litellm 24176, 33224; bifrost 946."""
    async with recording() as provider:
        provider.headers, provider.body = [(b"content-type", b"text/event-stream")], THINKING
        await stack.apply(plan_text(provider.url))
        reply = await ask(stack, dialect="anthropic", stream=True)
        assert reply.body == THINKING
        (record,) = await stack.records()
        assert (record.usage.input, record.usage.output, record.certainty) == (25, 15, Certainty.EXACT)
        await closed(stack)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_unknown_fields_and_beta_headers_reach_the_provider_unchanged(stack: Stack, dialect: str) -> None:
    """Beta headers dropped, tool calls rewritten: litellm 14846, 15587; bifrost 946."""
    async with recording() as provider:
        provider.body = (
            b'{"id":"msg_1","type":"message","content":[],"usage":{"input_tokens":5,"output_tokens":1},"odd":[1.0]}'
            if dialect == "anthropic"
            else b'{"id":"c1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1},"odd":[1.0]}'
        )
        await stack.apply(plan_text(provider.url))
        sent = (
            b'{ "model" : "%b", "max_tokens": 50,\n "temperature": 1.0, "messages":[{"role":"user","content":'
            b'[{"type":"text","text":"h\\u00e9 \xc3\xa9"}],"x":1e2}],'
            b' "context_management":{"edits":[{"type":"t","keep":{"v":1.50}}]}, "zz_unknown": null }'
        ) % MODELS[dialect].encode()
        betas = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27"
        secret = await key(stack)
        reply = await post(
            stack,
            PATHS[dialect] + "?beta=true",
            sent,
            secret,
            {
                "anthropic-beta": betas,
                "anthropic-version": "2026-10-21",
                "x-new-header": "kept",
                "x-upshift-user": "alice",
                "cookie": "private=1",
            },
        )
        assert (reply.status, reply.body) == (200, provider.body)
        (seen,) = provider.seen
        assert seen.body == sent
        assert (seen.path, seen.query) == (PATHS[dialect].encode(), b"beta=true")
        assert seen.header(b"anthropic-beta") == betas.encode()
        assert seen.header(b"anthropic-version") == b"2026-10-21"
        assert seen.header(b"x-new-header") == b"kept"
        assert seen.header(b"cookie") is None
        assert secret.encode() not in b"".join(name + value for name, value in seen.headers)
        assert not [name for name, _ in seen.headers if name.startswith(b"x-upshift")]
        await closed(stack)


async def test_a_body_that_has_to_change_changes_in_that_place_alone(tmp_path: Path) -> None:
    """Unknown parts lost on the way to the provider: litellm 14846, 15587."""
    async with running(tmp_path) as stack, recording() as provider:
        provider.body = b'{"id":"c1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}'
        await stack.apply(plan_text(provider.url))
        messages = b'[{"role":"user","content":"h\\u00e9","x":1e2},   {"role":"system","content":"in the middle"}]'
        sent = b'{"model":"premium","messages":' + messages + b',"big_number":12345678901234567890.50}'
        assert (await post(stack, PATHS["openai"], sent, await key(stack))).status == 200
        (seen,) = provider.seen
        assert messages in seen.body
        assert b"12345678901234567890.50" in seen.body
        assert json.loads(seen.body) == json.loads(sent) | {"model": "big"}
