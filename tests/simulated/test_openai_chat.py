"""Does the official OpenAI client understand everything that the simulator says?"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import openai
import pydantic
import pytest

from upshift.simulated.serving import Running
from upshift.simulated.tokens import count_tokens

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city", "days"],
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "description": "?", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}},
]


class Step(pydantic.BaseModel):
    name: str
    cost: float
    after: list[str]


def said(text: str) -> Any:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


@pytest.fixture
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"http://127.0.0.1:{running.port}/v1"
    # Nothing here speaks TLS, and reading the certificates for each client takes longer than all the rest.
    plain = openai.DefaultAsyncHttpxClient(verify=False)
    async with openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0, http_client=plain, timeout=60) as client:
        yield client


async def test_models(client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]
    assert "gpt-5-mini" in names
    assert (await client.models.retrieve("gpt-5")).owned_by == "simulated"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-0")


async def test_a_whole_answer(client: openai.AsyncOpenAI, running: Running) -> None:
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=said("Hello"))
    (bill,) = running.simulated.billed
    assert answer.usage is not None
    assert answer.usage.total_tokens == bill.usage.total
    assert answer.usage.completion_tokens == count_tokens(answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer._request_id == bill.request_id


def _sync(port: int) -> tuple[str, str]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="k", max_retries=0, timeout=60) as client:
        whole = client.chat.completions.create(model="gpt-4o-mini", messages=said("Hello"))
        request: Any = {"model": "gpt-4o-mini", "messages": said("Hello [[simulate: output_tokens=33]]")}
        stream = client.chat.completions.create(stream=True, **request)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    return whole.choices[0].message.content or "", streamed


async def test_the_client_without_asyncio(running: Running) -> None:
    whole, streamed = await asyncio.to_thread(_sync, running.port)
    assert whole
    assert count_tokens(streamed) == 33


@pytest.mark.parametrize("include_usage", [False, True])
async def test_a_stream(client: openai.AsyncOpenAI, running: Running, include_usage: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if include_usage else {}
    stream = await client.chat.completions.create(model="gpt-4o-mini", messages=said("Hi"), stream=True, **options)
    chunks = [chunk async for chunk in stream]
    await running.simulated.idle()
    (bill,) = running.simulated.billed
    assert bill.streamed
    assert bill.completed
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert count_tokens(text) == bill.usage.output
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert len(usages) == include_usage
    assert all(usage.completion_tokens == bill.usage.output for usage in usages)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


@pytest.mark.parametrize("streamed", [False, True])
async def test_choices(client: openai.AsyncOpenAI, running: Running, streamed: bool) -> None:
    request: Any = {"model": "gpt-4o-mini", "messages": said("Hi"), "n": 3}
    if streamed:
        async with client.chat.completions.stream(**request) as stream:
            answer: Any = await stream.get_final_completion()
    else:
        answer = await client.chat.completions.create(**request)
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) == 3
    await running.simulated.idle()
    assert running.simulated.billed[0].usage.output == sum(map(count_tokens, texts))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("text", "more", "names"),
    [
        ("Please use the tool", {}, ["weather"]),
        ("Use the tool clock", {}, ["clock"]),
        ("Use all tools", {}, ["weather", "clock"]),
        ("Use all tools", {"parallel_tool_calls": False}, ["weather"]),
        ("Hello", {"tool_choice": "required"}, ["weather"]),
        ("Hello", {"tool_choice": {"type": "function", "function": {"name": "clock"}}}, ["clock"]),
        ("Use the tool", {"tool_choice": "none"}, []),
        ("Hello", {}, []),
    ],
)
async def test_tools(
    client: openai.AsyncOpenAI, running: Running, streamed: bool, text: str, more: Any, names: list[str]
) -> None:
    request: Any = {"model": "gpt-4o-mini", "messages": said(text), "tools": TOOLS, **more}
    if streamed:
        async with client.chat.completions.stream(**request) as stream:
            answer: Any = await stream.get_final_completion()
    else:
        answer = await client.chat.completions.create(**request)
    (choice,) = answer.choices
    calls = choice.message.tool_calls or []
    assert [call.function.name for call in calls] == names
    assert choice.finish_reason == ("tool_calls" if names else "stop")
    assert len({call.id for call in calls}) == len(calls)
    for call in calls:
        arguments = json.loads(call.function.arguments)
        assert set(arguments) == ({"city", "days"} if call.function.name == "weather" else set())
    await running.simulated.idle()
    if names:
        size = sum(1 + count_tokens(call.function.arguments) for call in calls)
        assert running.simulated.billed[0].usage.output == size


async def test_a_tool_result_is_answered_in_prose(client: openai.AsyncOpenAI) -> None:
    messages = said("Use the tool")
    first = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=TOOLS)
    asked = first.choices[0].message
    assert asked.tool_calls
    messages += [asked, {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "sunny"}]
    second = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=TOOLS)
    assert second.choices[0].message.content
    assert not second.choices[0].message.tool_calls


async def test_a_tool_call_cut_by_max_tokens(client: openai.AsyncOpenAI, running: Running) -> None:
    answer = await client.chat.completions.create(
        model="gpt-4o-mini", messages=said("Use all tools"), tools=TOOLS, max_completion_tokens=5
    )
    assert answer.choices[0].finish_reason == "length"
    assert running.simulated.billed[0].usage.output == 5


async def test_json(client: openai.AsyncOpenAI) -> None:
    parsed = await client.chat.completions.parse(model="gpt-4o-mini", messages=said("x"), response_format=Step)
    assert isinstance(parsed.choices[0].message.parsed, Step)
    free = await client.chat.completions.create(
        model="gpt-4o-mini", messages=said("x"), response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(free.choices[0].message.content or ""), dict)


async def test_a_schema_without_end_is_refused(client: openai.AsyncOpenAI) -> None:
    schema: Any = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    with pytest.raises(openai.BadRequestError, match="without end"):
        await client.chat.completions.create(model="gpt-4o-mini", messages=said("x"), response_format=form)


@pytest.mark.parametrize(
    ("model", "more", "share"),
    [
        ("gpt-5", {}, 0.4),
        ("o3", {"reasoning_effort": "high"}, 0.6),
        ("gpt-5-mini", {"reasoning_effort": "none"}, 0.0),
        ("gpt-4o-mini", {"reasoning_effort": "low"}, 0.2),
        ("gpt-4o-mini", {}, 0.0),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_reasoning(
    client: openai.AsyncOpenAI, running: Running, model: str, more: Any, share: float, streamed: bool
) -> None:
    request: Any = {"model": model, "messages": said("[[simulate: output_tokens=100]]"), **more}
    if streamed:
        options: Any = {"include_usage": True}
        async with client.chat.completions.stream(stream_options=options, **request) as stream:
            answer: Any = await stream.get_final_completion()
    else:
        answer = await client.chat.completions.create(**request)
    details = answer.usage.completion_tokens_details
    assert (answer.usage.completion_tokens, details.reasoning_tokens) == (100, int(100 * share))
    assert count_tokens(answer.choices[0].message.content) == 100 - int(100 * share)
    await running.simulated.idle()
    assert running.simulated.billed[0].usage.reasoning == int(100 * share)


async def test_stop_sequences(client: openai.AsyncOpenAI, running: Running) -> None:
    request: Any = {"model": "gpt-4o-mini", "messages": said("[[simulate: output_tokens=500]]")}
    answer = await client.chat.completions.create(stop=["the", "zzz"], **request)
    text = answer.choices[0].message.content or ""
    assert "the" not in text
    assert answer.choices[0].finish_reason == "stop"
    assert running.simulated.billed[0].usage.output == count_tokens(text) < 500


async def test_images_are_counted(client: openai.AsyncOpenAI, running: Running) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
    content: Any = [{"type": "text", "text": "Look"}, image, image]
    await client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": content}])
    (bill,) = running.simulated.billed
    assert bill.images == 2
    assert 2 * 765 < bill.usage.input < 2 * 765 + 20


async def test_repeated_long_prompts_are_cached(client: openai.AsyncOpenAI) -> None:
    messages = said("word " * 2000)
    first, second = [await client.chat.completions.create(model="gpt-4o-mini", messages=messages) for _ in range(2)]
    for answer, cached in ((first, 0), (second, 1920)):
        assert answer.usage
        assert answer.usage.prompt_tokens_details
        assert answer.usage.prompt_tokens_details.cached_tokens == cached


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_errors(client: openai.AsyncOpenAI, status: int, kind: type[openai.APIStatusError]) -> None:
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model=f"gpt-5@status={status}", messages=said("x"))
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"] == f"simulated error {status}"
    assert caught.value.request_id


async def test_faults_as_the_client_sees_them(
    client: openai.AsyncOpenAI, start: Callable[..., Awaitable[Running]]
) -> None:
    async def streamed(directives: str) -> str:
        messages = said(f"[[simulate: output_tokens=40,{directives}]]")
        stream = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert count_tokens(await streamed("keepalive_comments")) == 40
    with pytest.raises(openai.APIError, match="mid-stream"):
        await streamed("error_event_after=3")
    with pytest.raises(json.JSONDecodeError):
        await streamed("garbage")
    with pytest.raises(openai.APIConnectionError):
        await client.chat.completions.create(model="gpt-4o-mini@reset", messages=said("x"))
