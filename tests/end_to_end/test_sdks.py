"""Do the official SDKs work unchanged but for base URL and key?"""

import anthropic
import openai
from openai.types.chat import ChatCompletionFunctionToolParam
from tests.end_to_end.stack import Stack

from upshift.model.metered import Outcome
from upshift.model.tokens import Certainty

HELLO = "Hello there [[simulate: output_tokens=40]]"


async def test_openai_whole(stack: Stack) -> None:
    async with await stack.openai() as client:
        answer = await client.chat.completions.create(model="big", messages=[{"role": "user", "content": HELLO}])
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 40
    (record,) = await stack.records()
    assert (record.usage.input, record.usage.output) == (answer.usage.prompt_tokens, 40)
    assert (record.tenant, record.user, record.workload, record.served_model) == ("acme", "alice", "chat", "big")
    assert record.certainty is Certainty.EXACT
    assert record.cost == record.usage.input * 2_000 + 40 * 10_000
    assert record.plan == stack.gateway.flow.regime.in_force.snapshot.hash
    await stack.verified()


async def test_openai_stream_without_asking_for_usage(stack: Stack) -> None:
    """Usage is asked for upstream and taken out again, so that the client sees only what it asked for."""
    async with await stack.openai() as client:
        stream = await client.chat.completions.create(
            model="big", messages=[{"role": "user", "content": HELLO}], stream=True
        )
        chunks = [chunk async for chunk in stream]
    assert all(chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    (record,) = await stack.records()
    assert (record.usage.output, record.certainty, record.streamed) == (40, Certainty.EXACT, True)


async def test_openai_stream_with_usage(stack: Stack) -> None:
    async with await stack.openai() as client:
        stream = await client.chat.completions.create(
            model="big",
            messages=[{"role": "user", "content": HELLO}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 40


async def test_anthropic_whole_and_streamed(stack: Stack) -> None:
    async with await stack.anthropic() as client:
        whole = await client.messages.create(
            model="claude-test", max_tokens=500, messages=[{"role": "user", "content": HELLO}]
        )
        async with client.messages.stream(
            model="sonnet", max_tokens=500, messages=[{"role": "user", "content": HELLO}]
        ) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
    assert text
    assert whole.usage.output_tokens == final.usage.output_tokens == 40
    first, second = await stack.records()
    assert first.usage.output == second.usage.output == 40
    assert (first.requested_model, first.served_model) == ("claude-test", "sonnet")
    await stack.verified()


def test_sync_clients(stack_in_thread: tuple[str, str]) -> None:
    base_url, secret = stack_in_thread
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key=secret, max_retries=0, timeout=60) as client:
        said = client.chat.completions.create(model="big", messages=[{"role": "user", "content": HELLO}])
        assert said.choices[0].message.content
        chunks = list(
            client.chat.completions.create(model="big", messages=[{"role": "user", "content": HELLO}], stream=True)
        )
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert "big" in [model.id for model in client.models.list()]
    with anthropic.Anthropic(base_url=base_url, api_key=secret, max_retries=0, timeout=60) as client2:
        message = client2.messages.create(model="sonnet", max_tokens=99, messages=[{"role": "user", "content": HELLO}])
        assert message.usage.output_tokens == 40
        assert "sonnet" in [model.id for model in client2.models.list()]


async def test_tools_in_both_dialects(stack: Stack) -> None:
    schema: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    async with await stack.openai() as client:
        tool: ChatCompletionFunctionToolParam = {
            "type": "function",
            "function": {"name": "weather", "parameters": schema},
        }
        stream = await client.chat.completions.create(
            model="big", messages=[{"role": "user", "content": "use the tool"}], tools=[tool], stream=True
        )
        arguments = ""
        async for chunk in stream:
            for call in chunk.choices[0].delta.tool_calls or []:
                arguments += (call.function.arguments or "") if call.function else ""
    assert "city" in arguments
    async with await stack.anthropic() as client2:
        message = await client2.messages.create(
            model="sonnet",
            max_tokens=500,
            messages=[{"role": "user", "content": "use the tool"}],
            tools=[{"name": "weather", "input_schema": schema}],
        )
    assert any(block.type == "tool_use" for block in message.content)
    assert all(record.outcome is Outcome.SERVED for record in await stack.records())
    await stack.verified()
