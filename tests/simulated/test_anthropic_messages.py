"""Does the official Anthropic client understand everything that the simulator says?"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from upshift.model.tokens import Usage
from upshift.simulated.serving import Running
from upshift.simulated.tokens import count_tokens

MODEL = "claude-haiku-4-5"
TOOLS: Any = [
    {
        "name": "weather",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
    {"name": "clock", "input_schema": {"type": "object", "properties": {}}},
    {"type": "web_search_20250305", "name": "web_search"},
]


def request(text: str, **more: Any) -> Any:
    return {"model": MODEL, "max_tokens": 4096, "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture
async def client(running: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    url = f"http://127.0.0.1:{running.port}"
    # Nothing here speaks TLS, and reading the certificates for each client takes longer than all the rest.
    plain = anthropic.DefaultAsyncHttpxClient(verify=False)
    async with anthropic.AsyncAnthropic(
        base_url=url, api_key="k", max_retries=0, http_client=plain, timeout=60
    ) as client:
        yield client


async def answered(client: anthropic.AsyncAnthropic, streamed: bool, asked: Any) -> Any:
    if streamed:
        async with client.messages.stream(**asked) as stream:
            return await stream.get_final_message()
    return await client.messages.create(**asked)


BOTH = pytest.mark.parametrize("streamed", [False, True])


async def test_models(client: anthropic.AsyncAnthropic) -> None:
    names = [model.id async for model in client.models.list()]
    assert MODEL in names
    assert (await client.models.retrieve(MODEL)).display_name == MODEL
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("claude-0")


@BOTH
async def test_an_answer(client: anthropic.AsyncAnthropic, running: Running, streamed: bool) -> None:
    message = await answered(client, streamed, request("Hello", system="Be brief."))
    await running.simulated.idle()
    (bill,) = running.simulated.billed
    (block,) = message.content
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == count_tokens(block.text) == bill.usage.output
    assert message.usage.input_tokens == bill.usage.input
    assert (bill.streamed, bill.completed, bill.dialect) == (streamed, True, "anthropic")


def _sync(port: int) -> tuple[str, str | None]:
    with anthropic.Anthropic(base_url=f"http://127.0.0.1:{port}", api_key="k", max_retries=0, timeout=60) as client:
        message = client.messages.create(**request("Hello"))
        with client.messages.stream(**request("Hello [[simulate: output_tokens=33]]")) as stream:
            return "".join(stream.text_stream), message._request_id


async def test_the_client_without_asyncio(running: Running) -> None:
    text, ident = await asyncio.to_thread(_sync, running.port)
    assert count_tokens(text) == 33
    assert running.simulated.billed[0].request_id == ident


async def test_tokens_counted_beforehand_are_those_billed(client: anthropic.AsyncAnthropic, running: Running) -> None:
    asked = request("Use the tool", system="Be brief.", tools=TOOLS)
    counted = await client.messages.count_tokens(**{name: asked[name] for name in asked if name != "max_tokens"})
    await client.messages.create(**asked)
    assert counted.input_tokens == running.simulated.billed[0].usage.input
    with pytest.raises(anthropic.BadRequestError):
        await client.messages.count_tokens(model=MODEL, messages=[])


@BOTH
@pytest.mark.parametrize(
    ("text", "choice", "names"),
    [
        ("Please use the tool", {"type": "auto"}, ["weather"]),
        ("Use the tool clock", {"type": "auto"}, ["clock"]),
        ("Use all tools", {"type": "auto"}, ["weather", "clock"]),
        ("Use all tools", {"type": "auto", "disable_parallel_tool_use": True}, ["weather"]),
        ("Hello", {"type": "any"}, ["weather"]),
        ("Hello", {"type": "tool", "name": "clock"}, ["clock"]),
        ("Use the tool", {"type": "none"}, []),
    ],
)
async def test_tools(
    client: anthropic.AsyncAnthropic, running: Running, streamed: bool, text: str, choice: Any, names: list[str]
) -> None:
    message = await answered(client, streamed, request(text, tools=TOOLS, tool_choice=choice))
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.name for call in calls] == names
    assert message.stop_reason == ("tool_use" if names else "end_turn")
    for call in calls:
        assert set(call.input) == ({"city", "days"} if call.name == "weather" else set())
    await running.simulated.idle()
    assert running.simulated.billed[0].usage.output == message.usage.output_tokens


async def test_a_tool_result_is_answered_in_prose(client: anthropic.AsyncAnthropic) -> None:
    asked = request("Use the tool", tools=TOOLS)
    first = await client.messages.create(**asked)
    call = first.content[0]
    assert call.type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny"}]}
    asked["messages"] += [first.to_param(), {"role": "user", "content": [result]}]
    second = await client.messages.create(**asked)
    assert [block.type for block in second.content] == ["text"]
    assert second.usage.input_tokens > first.usage.input_tokens


@BOTH
async def test_a_tool_call_cut_by_max_tokens(
    client: anthropic.AsyncAnthropic, running: Running, streamed: bool
) -> None:
    asked = request("Use all tools", tools=TOOLS) | {"max_tokens": 5}
    if not streamed:
        assert (await client.messages.create(**asked)).stop_reason == "max_tokens"
    else:
        events = [event async for event in await client.messages.create(stream=True, **asked)]
        assert events[-2].delta.stop_reason == "max_tokens"
    await running.simulated.idle()
    assert running.simulated.billed[0].usage.output == 5


async def test_json(client: anthropic.AsyncAnthropic) -> None:
    form = {"type": "json_schema", "schema": TOOLS[0]["input_schema"]}
    message = await client.messages.create(**request("x", output_config={"format": form}))
    assert message.content[0].type == "text"
    assert set(json.loads(message.content[0].text)) == {"city", "days"}


@BOTH
@pytest.mark.parametrize(
    ("thinking", "tokens", "shown"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, 1024, True),
        ({"type": "enabled", "budget_tokens": 2048, "display": "omitted"}, 1200, False),
        ({"type": "adaptive"}, 1200, True),
        ({"type": "disabled"}, 0, False),
    ],
)
async def test_thinking(
    client: anthropic.AsyncAnthropic, running: Running, streamed: bool, thinking: Any, tokens: int, shown: bool
) -> None:
    asked = request("[[simulate: output_tokens=3000]]", thinking=thinking)
    message = await answered(client, streamed, asked)
    blocks = {block.type: block for block in message.content}
    assert list(blocks) == (["thinking", "text"] if tokens else ["text"])
    if tokens:
        assert blocks["thinking"].signature
        assert count_tokens(blocks["thinking"].thinking) == (tokens if shown else 0)
        assert message.usage.output_tokens_details.thinking_tokens == tokens
    assert count_tokens(blocks["text"].text) == 3000 - tokens
    assert message.usage.output_tokens == 3000
    await running.simulated.idle()
    assert running.simulated.billed[0].usage.reasoning == tokens


@BOTH
async def test_stop_sequences(client: anthropic.AsyncAnthropic, streamed: bool) -> None:
    asked = request("[[simulate: output_tokens=500]]", stop_sequences=["zzz", "the"])
    message = await answered(client, streamed, asked)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "the")
    assert "the" not in message.content[0].text


async def test_images_and_documents_are_counted(client: anthropic.AsyncAnthropic, running: Running) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 5000}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image, {"type": "text", "text": "a"}]}
    asked = request("x")
    asked["messages"][0]["content"] = [image, result, {"type": "text", "text": "Look"}]
    await client.messages.create(**asked)
    (bill,) = running.simulated.billed
    assert bill.images == 2
    assert 2 * 1568 < bill.usage.input < 2 * 1568 + 20


@BOTH
async def test_cache_figures(client: anthropic.AsyncAnthropic, running: Running, streamed: bool) -> None:
    system = [
        {"type": "text", "text": "rule " * 3000, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "word " * 500, "cache_control": {"type": "ephemeral"}},
    ]
    for turn in range(2):
        usage = (await answered(client, streamed, request("Hello", system=system))).usage
        written = 3500 + 2 if turn == 0 else 0
        assert usage.cache_creation_input_tokens == written
        assert usage.cache_read_input_tokens == 3502 - written
        assert usage.cache_creation.ephemeral_1h_input_tokens == (3001 if turn == 0 else 0)
        assert usage.cache_creation.ephemeral_5m_input_tokens == (501 if turn == 0 else 0)
        await running.simulated.idle()
        billed = running.simulated.billed[turn].usage
        assert usage.input_tokens == billed.input - 3502
    assert billed == Usage(input=billed.input, cached=3502, output=billed.output)
    other = await answered(client, streamed, request("Other", system=system, cache_control={"type": "ephemeral"}))
    assert other.usage.cache_read_input_tokens == 3502
    assert 0 < other.usage.cache_creation_input_tokens < 5


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.APIStatusError, "overloaded_error"),
    ],
)
async def test_errors(
    client: anthropic.AsyncAnthropic, status: int, kind: type[anthropic.APIStatusError], name: str
) -> None:
    with pytest.raises(kind) as caught:
        await client.messages.create(**request(f"[[simulate: status={status}]]"))
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["error"] == {"type": name, "message": f"simulated error {status}"}
    assert caught.value.body["request_id"] == caught.value.request_id


async def test_faults_as_the_client_sees_them(client: anthropic.AsyncAnthropic) -> None:
    async def streamed(directives: str) -> str:
        async with client.messages.stream(**request(f"[[simulate: output_tokens=40,{directives}]]")) as stream:
            return await stream.get_final_text()

    assert count_tokens(await streamed("keepalive_comments")) == 40
    with pytest.raises(anthropic.APIStatusError, match="mid-stream"):
        await streamed("error_event_after=3")
    with pytest.raises(anthropic.APIConnectionError):
        await streamed("reset")
