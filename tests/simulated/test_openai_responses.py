"""Does the official OpenAI client understand everything that the simulator says in responses and embeddings?"""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pydantic
import pytest
from tests.simulated.conftest import Talk

from upshift.simulated.serving import Running
from upshift.simulated.tokens import count_tokens

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: Any = [
    {"type": "function", "name": "weather", "description": "?", "parameters": WEATHER, "strict": True},
    {"type": "custom", "name": "shell", "description": "?"},
    {
        "type": "namespace",
        "name": "crm",
        "description": "?",
        "tools": [{"type": "function", "name": "lookup", "parameters": WEATHER}],
    },
    {"type": "web_search"},
]


class Step(pydantic.BaseModel):
    name: str
    cost: float
    after: list[str]


@pytest.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"http://127.0.0.1:{running.port}/v1"
    plain = openai.DefaultAsyncHttpxClient(verify=False)
    async with openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0, http_client=plain, timeout=60) as client:
        yield client


async def _answer(client: openai.AsyncOpenAI, streamed: bool, **request: Any) -> Any:
    if not streamed:
        return await client.responses.create(**request)
    async with client.responses.stream(**request) as stream:
        return await stream.get_final_response()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_text(client: openai.AsyncOpenAI, running: Running, streamed: bool) -> None:
    answer = await _answer(client, streamed, model="gpt-4o-mini", input="Hello [[simulate: output_tokens=33]]")
    await running.simulated.idle()
    (bill,) = running.simulated.billed
    assert (bill.dialect, bill.completed) == ("openai-responses", True)
    assert (answer.status, count_tokens(answer.output_text)) == ("completed", 33)
    assert (answer.usage.total_tokens, answer.usage.output_tokens) == (bill.usage.total, 33)


async def test_the_order_of_events(client: openai.AsyncOpenAI) -> None:
    text = "Use the tool weather [[simulate: output_tokens=60]]"
    stream = await client.responses.create(
        model="gpt-5", input=text, tools=TOOLS, reasoning={"summary": "auto"}, stream=True
    )
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    order = [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]
    assert order == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert events[-1].type == "response.completed"
    assert events[-1].response.output == done


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("text", "more", "names"),
    [
        ("Please use the tool", {}, ["weather"]),
        ("Use the tool shell", {}, ["shell"]),
        ("Use the tool lookup", {}, ["lookup"]),
        ("Use all tools", {}, ["weather", "shell", "lookup"]),
        ("Use all tools", {"parallel_tool_calls": False}, ["weather"]),
        ("Hello", {"tool_choice": "required"}, ["weather"]),
        ("Hello", {"tool_choice": {"type": "custom", "name": "shell"}}, ["shell"]),
        (
            "Use all tools",
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "custom", "name": "shell"}],
                }
            },
            ["shell"],
        ),
        ("Use the tool", {"tool_choice": "none"}, []),
    ],
)
async def test_tools(
    client: openai.AsyncOpenAI, running: Running, streamed: bool, text: str, more: Any, names: list[str]
) -> None:
    answer = await _answer(client, streamed, model="gpt-4o-mini", input=text, tools=TOOLS, **more)
    calls = [item for item in answer.output if item.type in ("function_call", "custom_tool_call")]
    assert [call.name for call in calls] == names
    for call in calls:
        if call.name == "shell":
            assert call.type == "custom_tool_call"
            assert call.input
        else:
            assert set(json.loads(call.arguments)) == {"city", "days"}
            assert call.namespace == ("crm" if call.name == "lookup" else None)
    await running.simulated.idle()
    if names:
        said = [getattr(call, "arguments", None) or call.input for call in calls]
        assert running.simulated.billed[0].usage.output == sum(1 + count_tokens(each) for each in said)


async def test_tools_that_come_with_the_input(client: openai.AsyncOpenAI) -> None:
    given: Any = [
        {"type": "additional_tools", "role": "developer", "tools": TOOLS},
        {"role": "user", "content": [{"type": "input_text", "text": "Use the tool shell"}]},
    ]
    answer = await client.responses.create(model="gpt-4o-mini", input=given)
    (call,) = answer.output
    assert call.type == "custom_tool_call"
    given += [call, {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "done"}]
    assert (await client.responses.create(model="gpt-4o-mini", input=given)).output_text


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_limit(client: openai.AsyncOpenAI, running: Running, streamed: bool) -> None:
    request: Any = {"model": "gpt-4o-mini", "input": "[[simulate: output_tokens=99]]", "max_output_tokens": 20}
    if streamed:
        events = [event async for event in await client.responses.create(stream=True, **request)]
        assert events[-1].type == "response.incomplete"
        answer = events[-1].response
    else:
        answer = await client.responses.create(**request)
    assert answer.status == "incomplete"
    assert answer.incomplete_details
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert count_tokens(answer.output_text) == 20
    await running.simulated.idle()
    assert running.simulated.billed[0].usage.output == 20


@pytest.mark.parametrize("streamed", [False, True])
async def test_json(client: openai.AsyncOpenAI, streamed: bool) -> None:
    if streamed:
        async with client.responses.stream(model="gpt-4o-mini", input="x", text_format=Step) as stream:
            parsed = await stream.get_final_response()
    else:
        parsed = await client.responses.parse(model="gpt-4o-mini", input="x", text_format=Step)
    assert isinstance(parsed.output_parsed, Step)
    free = await client.responses.create(model="gpt-4o-mini", input="x", text={"format": {"type": "json_object"}})
    assert isinstance(json.loads(free.output_text), dict)


async def test_reasoning_is_billed_and_shown_on_request(client: openai.AsyncOpenAI, running: Running) -> None:
    text = "[[simulate: output_tokens=100]]"
    hidden = await client.responses.create(model="gpt-5", input=text, reasoning={"effort": "high"})
    shown = await client.responses.create(model="gpt-5", input=text, reasoning={"effort": "high", "summary": "auto"})
    for answer, told in ((hidden, 0), (shown, 60)):
        assert answer.usage
        assert answer.usage.output_tokens_details.reasoning_tokens == 60
        thought = answer.output[0]
        assert thought.type == "reasoning"
        assert sum(count_tokens(each.text) for each in thought.summary) == told
        assert thought.encrypted_content
    assert [bill.usage.reasoning for bill in running.simulated.billed] == [60, 60]


async def test_going_on_from_what_was_kept(client: openai.AsyncOpenAI) -> None:
    first = await client.responses.create(model="gpt-4o-mini", input="word " * 500)
    second = await client.responses.create(model="gpt-4o-mini", input="And?", previous_response_id=first.id)
    assert first.usage
    assert second.usage
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens
    dropped = await client.responses.create(model="gpt-4o-mini", input="x", store=False)
    with pytest.raises(openai.BadRequestError, match="not found"):
        await client.responses.create(model="gpt-4o-mini", input="x", previous_response_id=dropped.id)


async def test_images_are_counted_and_long_prompts_cached(client: openai.AsyncOpenAI, running: Running) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 5000}
    given: Any = [{"role": "user", "content": [{"type": "input_text", "text": "word " * 2000}, image]}]
    answers = [await client.responses.create(model="gpt-4o-mini", input=given, store=False) for _ in range(2)]
    assert [answer.usage.input_tokens_details.cached_tokens for answer in answers if answer.usage] == [0, 1920]
    assert running.simulated.billed[0].images == 1


@pytest.mark.parametrize("text", ["[[simulate: status=500]]", "[[simulate: error_event_after=2]]"])
async def test_errors(client: openai.AsyncOpenAI, text: str) -> None:
    if "status" in text:
        with pytest.raises(openai.InternalServerError, match="simulated error 500"):
            await client.responses.create(model="gpt-4o-mini", input=text)
    else:
        stream = await client.responses.create(model="gpt-4o-mini", input=text, stream=True)
        last = [event async for event in stream][-1]
        assert last.type == "error"
        assert "mid-stream" in last.message


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        {"model": "m"},
        {"model": "m", "input": []},
        {"model": "m", "input": "x", "max_output_tokens": 3},
        {"model": "m", "input": "x", "background": True},
        {"model": "m", "input": "x", "reasoning": {"effort": "odd"}},
    ],
    ids=repr,
)
async def test_what_is_refused(running: Running, talk: Talk, body: Any) -> None:
    heard = await talk(running, "/v1/responses", body)
    assert heard.status == 400
    assert heard.json["error"]["message"]


async def test_embeddings(client: openai.AsyncOpenAI, running: Running) -> None:
    answer = await client.embeddings.create(model="text-embedding-3-small", input=["a b", "c", "a b"], dimensions=64)
    first, other, again = (each.embedding for each in answer.data)
    assert (len(first), first == again, first == other) == (64, True, False)
    assert sum(number * number for number in first) == pytest.approx(1)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 5
    (bill,) = running.simulated.billed
    assert (bill.dialect, bill.usage.input, bill.usage.output) == ("openai-embeddings", 5, 0)
    plain = await client.embeddings.create(
        model="text-embedding-3-small", input="a b", dimensions=64, encoding_format="float"
    )
    assert plain.data[0].embedding == pytest.approx(first)
    tokens = await client.embeddings.create(model="text-embedding-3-small", input=[[1, 2, 3], [4]])
    assert (len(tokens.data), tokens.usage.prompt_tokens, len(tokens.data[0].embedding)) == (2, 4, 1536)
    assert len((await client.embeddings.create(model="m", input=[1, 2])).data) == 1


async def test_embeddings_are_refused(client: openai.AsyncOpenAI, running: Running, talk: Talk) -> None:
    given: Any
    for given in ([], ["a", 1], {}):
        assert (await talk(running, "/v1/embeddings", {"model": "m", "input": given})).status == 400
    assert (await talk(running, "/v1/embeddings", {"model": "m", "input": "x", "dimensions": 0})).status == 400
    with pytest.raises(openai.RateLimitError):
        await client.embeddings.create(model="m@status=429", input="x")
