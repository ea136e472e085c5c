"""Is a call that is billed otherwise than by plain tokens held for, recorded as known or unknown, and never clamped into
a request that its provider refuses?"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.probe import Recorder, ask, balance, closed, recording
from tests.end_to_end.stack import plan_text, running

from upshift.gateway.clock import HandClock
from upshift.model.money import NANO_PER_DOLLAR
from upshift.model.span import MICROS
from upshift.model.tokens import Certainty

USED = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
PLAIN = 1_000 * 2_000 + 100 * 10_000
"""What that costs at $2 and $10."""
MONEY = ("pro: {month: 100k}", "pro: {month: $5}")


def chat(**more: object) -> bytes:
    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "c", "model": "big", "choices": [choice], "usage": USED} | more).encode()


def message(**usage: object) -> bytes:
    told = {"input_tokens": 1_000, "output_tokens": 100} | usage
    block = {"type": "text", "text": "Hi"}
    return json.dumps(
        {"id": "m", "type": "message", "content": [block], "stop_reason": "end_turn", "usage": told}
    ).encode()


@pytest.mark.parametrize(
    ("asked", "told", "known"),
    [
        ({}, {}, True),
        ({}, {"service_tier": "default"}, True),
        ({"service_tier": "priority"}, {"service_tier": "default"}, True),
        ({"service_tier": "priority"}, {"service_tier": "priority"}, False),
        ({"service_tier": "flex"}, {}, False),
        ({}, {"service_tier": "scale"}, False),
        ({"web_search_options": {}}, {}, False),
    ],
)
async def test_a_tier_without_a_price_in_the_plan_is_unknown_and_counts_at_its_hold(
    tmp_path: Path, asked: dict[str, Any], told: dict[str, Any], known: bool
) -> None:
    async with recording() as provider, running(tmp_path, plan=plan_text(provider.url, extra=[MONEY])) as stack:
        provider.body = chat(**told)
        reply = await ask(stack, max_tokens=1_000, **asked)
        assert reply.status == 200
        (record,) = await stack.records()
        assert record.certainty is Certainty.EXACT
        assert record.usage.total == record.counted_tokens == 1_100
        if known:
            assert record.cost == record.counted == PLAIN
        else:
            assert record.cost is None
            times = 3 if asked.get("service_tier") == "priority" else 1
            assert record.counted >= max(PLAIN, times * 1_000 * 10_000)
        assert balance(stack).settled.nano == record.counted
        await closed(stack)


async def test_searches_of_the_web_are_no_part_of_the_tokens(tmp_path: Path) -> None:
    async with recording() as provider, running(tmp_path, plan=plan_text(provider.url, extra=[MONEY])) as stack:
        provider.body = message(server_tool_use={"web_search_requests": 2})
        await ask(stack, dialect="anthropic")
        (record,) = await stack.records()
        assert record.cost is None, "the plan prices tokens, and no search"
        assert record.counted >= 1_000 * 3_000 + 100 * 15_000
        await closed(stack)


async def thinks(provider: Recorder, folder: Path, limit: int, **more: Any) -> tuple[int, Any]:
    """What comes of a call that may think for 10,000 tokens, where so many are left; and what the provider is sent."""
    async with running(folder, plan=plan_text(provider.url, limit=str(limit))) as stack:
        provider.body = message()
        thinking = {"type": "enabled", "budget_tokens": 10_000}
        reply = await ask(stack, dialect="anthropic", max_tokens=16_000, thinking=thinking, **more)
        await closed(stack)
        return reply.status, json.loads(provider.seen[-1].body) if provider.seen else reply.problem()


async def test_a_budget_of_thoughts_shrinks_with_the_answer_that_is_left(tmp_path: Path) -> None:
    async with recording() as provider:
        status, sent = await thinks(provider, tmp_path, 5_000)
        assert status == 200
        assert 4_500 < sent["max_tokens"] < 5_000
        assert 1_024 <= sent["thinking"]["budget_tokens"] == 10_000 * sent["max_tokens"] // 16_000


async def test_where_too_little_is_left_to_think_the_call_is_refused(tmp_path: Path) -> None:
    async with recording() as provider:
        status, problem = await thinks(provider, tmp_path, 1_030)
        assert status == 402
        assert "1,030" in problem or "1.03k" in problem
        assert not provider.seen


async def test_models_to_fall_back_on_are_never_sent_on(tmp_path: Path) -> None:
    async with recording() as provider, running(tmp_path, plan=plan_text(provider.url)) as stack:
        reply = await ask(stack, models=["dearer"])
        assert reply.status == 400
        assert "models to fall back on" in reply.problem()
        reply = await ask(stack, dialect="anthropic", fallbacks=[{"model": "dearer"}])
        assert reply.status == 400
        assert not provider.seen


async def test_a_listed_tier_costs_what_the_catalogue_says(tmp_path: Path) -> None:
    listed = ("context: 200k, max_output: 32k, price: {input: $2, output: $10, cached: $0.20}", "id: gpt-5")
    clock = HandClock(1_795_219_200 * MICROS)  # 2026-11-21
    async with (
        recording() as provider,
        running(tmp_path, plan=plan_text(provider.url, extra=[listed]), clock=clock) as stack,
    ):
        provider.body = chat(service_tier="priority")
        await ask(stack, service_tier="priority")
        (record,) = await stack.records()
        assert record.cost == (1_000 * 2_50 + 100 * 20_00) * NANO_PER_DOLLAR // 100_000_000
