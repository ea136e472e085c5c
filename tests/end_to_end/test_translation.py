"""Is a client of one vendor served by a model of another, in its own words, metered and recorded as what it was?"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio
from tests.end_to_end.probe import ask
from tests.end_to_end.stack import Stack, running

from upshift.model.metered import Outcome

WEATHER_OPENAI = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}
WEATHER_ANTHROPIC = {
    "name": "weather",
    "description": "The weather of a town",
    "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
}


@pytest_asyncio.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with running(tmp_path, limit="1M") as found:
        yield found


async def test_an_openai_client_is_served_by_an_anthropic_model(stack: Stack) -> None:
    client: openai.AsyncOpenAI = await stack.openai()
    whole = await client.chat.completions.create(
        model="sonnet", max_tokens=200, messages=[{"role": "user", "content": "Hi [[simulate: output_tokens=30]]"}]
    )
    assert whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage
    assert whole.usage.completion_tokens == 30
    pieces, usage = [], None
    async for chunk in await client.chat.completions.create(
        model="sonnet",
        max_tokens=200,
        stream=True,
        stream_options={"include_usage": True},
        messages=[{"role": "user", "content": "Hi [[simulate: output_tokens=50]]"}],
    ):
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        usage = chunk.usage or usage
    assert len(pieces) > 3
    assert usage
    assert usage.completion_tokens == 50
    records = await stack.records()
    assert [(each.provider, each.served_model, each.dialect) for each in records] == [
        ("anthropic", "sonnet", "openai")
    ] * 2
    assert [each.usage.output for each in records] == [30, 50]
    assert all(each.outcome is Outcome.SERVED and each.cost for each in records)
    assert [bill.dialect for bill in stack.provider.simulated.billed] == ["anthropic"] * 2
    await stack.verified()


async def test_an_anthropic_client_is_served_by_an_openai_model(stack: Stack) -> None:
    client: anthropic.AsyncAnthropic = await stack.anthropic()
    whole = await client.messages.create(
        model="big", max_tokens=200, messages=[{"role": "user", "content": "Hi [[simulate: output_tokens=30]]"}]
    )
    assert whole.stop_reason == "end_turn"
    assert whole.usage.output_tokens == 30
    async with client.messages.stream(
        model="big", max_tokens=200, messages=[{"role": "user", "content": "Hi [[simulate: output_tokens=50]]"}]
    ) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text
    assert final.usage.output_tokens == 50
    assert [bill.dialect for bill in stack.provider.simulated.billed] == ["openai"] * 2
    await stack.verified()


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_cross_both_ways(stack: Stack, streamed: bool) -> None:
    chat: Any = await stack.openai()
    messages: Any = await stack.anthropic()
    asked = [{"role": "user", "content": "What is the weather in Oslo?"}]
    if streamed:
        async with messages.messages.stream(
            model="big",
            max_tokens=500,
            messages=asked,
            tools=[WEATHER_ANTHROPIC],
            tool_choice={"type": "any"},
        ) as stream:
            use = next(block for block in (await stream.get_final_message()).content if block.type == "tool_use")
        async with chat.chat.completions.stream(
            model="sonnet",
            max_tokens=500,
            messages=asked,
            tools=[WEATHER_OPENAI],
            tool_choice="required",
        ) as events:
            calls = (await events.get_final_completion()).choices[0].message.tool_calls
    else:
        told = await messages.messages.create(
            model="big",
            max_tokens=500,
            messages=asked,
            tools=[WEATHER_ANTHROPIC],
            tool_choice={"type": "any"},
        )
        use = next(block for block in told.content if block.type == "tool_use")
        said = await chat.chat.completions.create(
            model="sonnet",
            max_tokens=500,
            messages=asked,
            tools=[WEATHER_OPENAI],
            tool_choice="required",
        )
        calls = said.choices[0].message.tool_calls
    assert use.name == "weather"
    assert isinstance(use.input, dict)
    assert calls
    assert calls[0].type == "function"
    assert calls[0].function.name == "weather"
    await stack.verified()


async def test_what_is_not_carried_is_said(stack: Stack) -> None:
    reply = await ask(stack, model="sonnet", seed=7, max_tokens=50)
    assert reply.status == 200
    assert "seed" in reply.headers["x-upshift-not-carried"]


async def test_a_provider_error_comes_in_the_clients_words(stack: Stack) -> None:
    reply = await ask(stack, "[[simulate: status=429, retry_after=3]]", model="sonnet", max_tokens=50)
    assert reply.status == 429
    assert reply.json()["error"]["message"]
    assert reply.headers["retry-after"] == "3"
    reply = await ask(stack, "[[simulate: status=400]]", dialect="anthropic", model="big", max_tokens=50)
    assert reply.status == 400
    assert reply.json()["type"] == "error"


async def test_a_ceiling_cuts_a_translated_stream_in_the_clients_words(tmp_path: Path) -> None:
    async with running(tmp_path, limit="2k") as stack:
        client = await stack.anthropic()
        async with client.messages.stream(
            model="big",
            max_tokens=8000,
            messages=[{"role": "user", "content": "[[simulate: output_tokens=6000]]"}],
        ) as stream:
            final = await stream.get_final_message()
        assert final.stop_reason == "max_tokens"
        record = (await stack.records())[-1]
        assert record.counted_tokens <= 2000
        await stack.verified()
