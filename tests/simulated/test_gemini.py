"""Does Google's official client understand everything that the simulator says?"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from tests.simulated.conftest import Talk

from upshift.model.tokens import Usage
from upshift.simulated.serving import Running
from upshift.simulated.tokens import count_tokens

MODEL = "gemini-3.5-flash"
PLAIN = "gemini-2.0-flash"
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
TOOLS: list[Any] = [
    types.Tool(
        function_declarations=[
            types.FunctionDeclaration(name="weather", parameters_json_schema=WEATHER),
            types.FunctionDeclaration(name="clock", parameters=types.Schema(type=types.Type.OBJECT, properties={})),
        ]
    )
]
BOTH = pytest.mark.parametrize("streamed", [False, True])
VERSIONS = pytest.mark.parametrize("version", ["v1", "v1beta"])


def _client(port: int, version: str = "v1", key: str = "k") -> genai.Client:
    # Nothing here speaks TLS, and reading the certificates for each client takes longer than all the rest.
    plain: Any = {"verify": False}
    options = types.HttpOptions(
        base_url=f"http://127.0.0.1:{port}", api_version=version, client_args=plain, async_client_args=plain
    )
    return genai.Client(api_key=key, http_options=options)


@pytest.fixture
async def client(running: Running) -> AsyncIterator[genai.client.AsyncClient]:
    with _client(running.port) as client:
        async with client.aio as each:
            yield each


async def answered(client: genai.client.AsyncClient, streamed: bool, model: str, contents: Any, **config: Any) -> Any:
    """The answer as one: parts of a stream are put together."""
    asked = types.GenerateContentConfig(**config)
    if not streamed:
        return await client.models.generate_content(model=model, contents=contents, config=asked)
    parts: list[types.Part] = []
    last = None
    async for last in await client.models.generate_content_stream(model=model, contents=contents, config=asked):
        content = last.candidates[0].content if last.candidates else None
        parts += (content.parts or []) if content else []
    assert last is not None
    assert last.candidates
    last.candidates[0].content = types.Content(role="model", parts=parts)
    return last


def _text(answer: Any) -> str:
    parts = answer.candidates[0].content.parts
    return "".join(part.text for part in parts if part.text and not part.thought)


@VERSIONS
async def test_models(running: Running, version: str) -> None:
    with _client(running.port, version) as client:
        async with client.aio as each:
            names = [model.name async for model in await each.models.list()]
            assert f"models/{MODEL}" in names
            one = await each.models.get(model=MODEL)
            assert (one.display_name, one.output_token_limit) == (MODEL, 65_536)
            with pytest.raises(errors.ClientError, match="NOT_FOUND"):
                await each.models.get(model="gemini-0")


@BOTH
async def test_an_answer(client: genai.client.AsyncClient, running: Running, streamed: bool) -> None:
    answer = await answered(client, streamed, PLAIN, "Hello", system_instruction="Be brief.")
    await running.simulated.idle()
    (bill,) = running.simulated.billed
    used = answer.usage_metadata
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    assert used.candidates_token_count == count_tokens(_text(answer)) == bill.usage.output
    assert used.prompt_token_count == bill.usage.input
    assert used.total_token_count == bill.usage.total
    assert answer.model_version == PLAIN
    assert (bill.streamed, bill.completed, bill.dialect) == (streamed, True, "gemini")


def _sync(port: int) -> str:
    with _client(port, "v1beta") as client:
        pieces = client.models.generate_content_stream(model=PLAIN, contents="Hi [[simulate: output_tokens=33]]")
        return "".join(each.text or "" for each in pieces)


async def test_the_client_without_asyncio(running: Running) -> None:
    assert count_tokens(await asyncio.to_thread(_sync, running.port)) == 33


async def test_a_name_with_a_slash_and_wishes(client: genai.client.AsyncClient, running: Running) -> None:
    await client.models.generate_content(model="team/fast@output_tokens=7", contents="Hi")
    assert (running.simulated.billed[0].model, running.simulated.billed[0].usage.output) == ("team/fast", 7)


async def test_tokens_counted_beforehand_are_those_billed(
    client: genai.client.AsyncClient, running: Running, talk: Talk
) -> None:
    counted = await client.models.count_tokens(model=PLAIN, contents="How long is this?")
    await client.models.generate_content(model=PLAIN, contents="How long is this?")
    assert counted.total_tokens == running.simulated.billed[0].usage.input
    asked = {
        "contents": [{"role": "user", "parts": [{"text": "Use the tool"}]}],
        "systemInstruction": {"parts": {"text": "Be brief."}},
        "tools": [{"function_declarations": [{"name": "weather", "parametersJsonSchema": WEATHER}]}],
    }
    path = f"/v1beta/models/{PLAIN}"
    whole = await talk(running, f"{path}:countTokens", {"generateContentRequest": asked})
    answer = await talk(running, f"{path}:generateContent", asked)
    assert whole.json["totalTokens"] == answer.json["usageMetadata"]["promptTokenCount"]
    assert (await talk(running, f"{path}:countTokens", {"contents": []})).status == 400


@BOTH
@pytest.mark.parametrize(
    ("text", "choice", "names"),
    [
        ("Please use the tool", {"mode": "AUTO"}, ["weather"]),
        ("Use the tool clock", {"mode": "AUTO"}, ["clock"]),
        ("Use all tools", {"mode": "AUTO"}, ["weather", "clock"]),
        ("Hello", {"mode": "ANY"}, ["weather"]),
        ("Hello", {"mode": "ANY", "allowed_function_names": ["clock"]}, ["clock"]),
        ("Use the tool", {"mode": "NONE"}, []),
    ],
)
async def test_tools_and_the_way_back(
    client: genai.client.AsyncClient, running: Running, streamed: bool, text: str, choice: Any, names: list[str]
) -> None:
    config: Any = {
        "tools": TOOLS,
        "tool_config": {"function_calling_config": choice},
        "automatic_function_calling": {"disable": True},
    }
    answer = await answered(client, streamed, MODEL, text, **config)
    said = answer.candidates[0].content
    calls = [part.function_call for part in said.parts if part.function_call]
    assert [call.name for call in calls] == names
    for call in calls:
        assert set(call.args) == ({"city", "days"} if call.name == "weather" else set())
    used = answer.usage_metadata
    await running.simulated.idle()
    assert running.simulated.billed[0].usage.output == used.candidates_token_count + (used.thoughts_token_count or 0)
    if not calls:
        return
    results = [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "5"}))
        for call in calls
    ]
    asked = types.Content(role="user", parts=[types.Part(text=text)])
    back = types.Content(role="user", parts=results)
    final = await answered(client, streamed, MODEL, [asked, said, back], tools=TOOLS)
    assert _text(final)
    with pytest.raises(errors.ClientError, match="number of function response parts"):
        await answered(client, streamed, MODEL, [asked, said, types.Content(role="user", parts=[*results, *results])])
    for part in said.parts:
        part.thought_signature = None
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        await answered(client, streamed, MODEL, [asked, said, back])
    said.parts[0].thought_signature = b"made up"
    for part in said.parts:
        part.thought_signature = b"made up"
    with pytest.raises(errors.ClientError, match="Corrupted"):
        await answered(client, streamed, MODEL, [asked, said, back])
    assert _text(await answered(client, streamed, PLAIN, [asked, said, back]))


async def test_a_signature_for_calls_that_no_model_made(running: Running, talk: Talk) -> None:
    contents: list[Any] = [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "clock", "args": {}}, "thoughtSignature": "skip_thought_signature_validator"}
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"name": "clock", "response": {"output": "noon"}}}]},
    ]
    asked = {"contents": contents}
    assert (await talk(running, f"/v1beta/models/{MODEL}:generateContent", asked)).status == 200


@BOTH
@pytest.mark.parametrize(
    ("thinking", "share", "shown"),
    [
        (None, 0.4, False),
        ({"thinking_level": "LOW"}, 0.2, False),
        ({"thinking_level": "HIGH", "include_thoughts": True}, 0.6, True),
        ({"thinking_budget": 10, "include_thoughts": True}, 0.1, True),
        ({"thinking_budget": 0}, 0.0, False),
        ({"thinking_budget": -1}, 0.4, False),
    ],
)
async def test_thoughts(
    client: genai.client.AsyncClient, streamed: bool, thinking: Any, share: float, shown: bool
) -> None:
    answer = await answered(client, streamed, MODEL, "Hi [[simulate: output_tokens=100]]", thinking_config=thinking)
    thoughts = "".join(part.text for part in answer.candidates[0].content.parts if part.thought)
    used = answer.usage_metadata
    assert (used.thoughts_token_count or 0) == 100 * share
    assert used.candidates_token_count == 100 - 100 * share == count_tokens(_text(answer))
    assert count_tokens(thoughts) == (100 * share if shown else 0)
    signed = [part for part in answer.candidates[0].content.parts if part.thought_signature]
    assert len(signed) == (1 if share else 0)


@BOTH
async def test_json(client: genai.client.AsyncClient, streamed: bool) -> None:
    for form in (
        {},
        {"response_json_schema": WEATHER},
        {"response_schema": types.Schema.from_json_schema(json_schema=types.JSONSchema(**WEATHER))},
    ):
        answer = await answered(client, streamed, PLAIN, "Hi", response_mime_type="application/json", **form)
        names = {"city", "days"} if form else {"answer", "score", "sure"}
        assert set(json.loads(_text(answer))) == names
    with pytest.raises(errors.ClientError, match="application/json"):
        await answered(client, streamed, PLAIN, "Hi", response_json_schema=WEATHER)


@BOTH
async def test_a_bound_and_a_stop(client: genai.client.AsyncClient, streamed: bool) -> None:
    text = "Hi [[simulate: output_tokens=50]]"
    short = await answered(client, streamed, PLAIN, text, max_output_tokens=9)
    assert short.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    assert short.usage_metadata.candidates_token_count == 9
    stopped = await answered(client, streamed, PLAIN, text, stop_sequences=["a", "e", "o"])
    assert stopped.candidates[0].finish_reason is types.FinishReason.STOP
    assert stopped.usage_metadata.candidates_token_count < 9
    assert not set("aeo") & set(_text(stopped))


async def test_cut_calls_are_left_out(client: genai.client.AsyncClient, running: Running) -> None:
    answer = await answered(client, True, PLAIN, "Use the tool", tools=TOOLS, max_output_tokens=2)
    assert answer.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    assert not any(part.function_call for part in answer.candidates[0].content.parts)
    await running.simulated.idle()
    assert running.simulated.billed[0].usage.output == answer.usage_metadata.candidates_token_count == 2


@BOTH
async def test_many_candidates(client: genai.client.AsyncClient, streamed: bool, running: Running) -> None:
    config = types.GenerateContentConfig(candidate_count=3)
    if streamed:
        stream = await client.models.generate_content_stream(model=PLAIN, contents="Hi", config=config)
        chunks = [chunk async for chunk in stream]
    else:
        chunks = [await client.models.generate_content(model=PLAIN, contents="Hi", config=config)]
    found = [each for chunk in chunks for each in chunk.candidates or ()]
    assert {each.index or 0 for each in found} == {0, 1, 2}
    assert sum(each.finish_reason is types.FinishReason.STOP for each in found) == 3
    used = chunks[-1].usage_metadata
    await running.simulated.idle()
    assert used is not None
    assert used.candidates_token_count == running.simulated.billed[0].usage.output


async def test_usage_is_a_running_total(client: genai.client.AsyncClient) -> None:
    stream = await client.models.generate_content_stream(model=MODEL, contents="Hi [[simulate: output_tokens=40]]")
    totals = []
    async for chunk in stream:
        assert chunk.usage_metadata is not None
        totals.append(chunk.usage_metadata.total_token_count)
    assert totals == sorted(totals, key=lambda total: total or 0)
    assert len(set(totals)) > 4


async def test_images_and_caching(client: genai.client.AsyncClient, running: Running) -> None:
    picture = types.Part.from_bytes(data=b"png", mime_type="image/png")
    question = types.Content(role="user", parts=[picture, types.Part.from_text(text="What is it?")])
    await client.models.generate_content(model=PLAIN, contents=question)
    assert running.simulated.billed[0].images == 1
    long = "word " * 3000
    first = await client.models.generate_content(model=PLAIN, contents=long)
    second = await client.models.generate_content(model=PLAIN, contents=long)
    assert first.usage_metadata is not None
    assert second.usage_metadata is not None
    assert (first.usage_metadata.cached_content_token_count or 0) == 0
    assert (second.usage_metadata.cached_content_token_count or 0) > 2000


@VERSIONS
async def test_embeddings(running: Running, version: str) -> None:
    with _client(running.port, version) as client:
        async with client.aio as each:
            texts = [types.Content(parts=[types.Part.from_text(text=text)]) for text in ("one", "two", "one")]
            found = await each.models.embed_content(model="gemini-embedding-001", contents=texts)
    assert found.embeddings is not None
    one, two, again = (vector.values for vector in found.embeddings)
    assert one == again != two
    assert one is not None
    assert sum(value * value for value in one) == pytest.approx(1.0, abs=1e-4)
    (bill,) = running.simulated.billed
    assert bill.usage == Usage(input=3)


async def test_one_embedding_and_what_is_not_one(running: Running, talk: Talk) -> None:
    path = "/v1beta/models/gemini-embedding-001"
    content = {"content": {"parts": [{"text": "one"}]}, "output_dimensionality": 8}
    assert len((await talk(running, f"{path}:embedContent", content)).json["embedding"]["values"]) == 8
    assert (await talk(running, f"{path}:batchEmbedContents", {})).status == 400
    assert (await talk(running, f"{path}:predict", {})).status == 404


@pytest.mark.parametrize(
    ("directive", "message"),
    [("status=429", "simulated error 429"), ("status=503", "simulated error 503"), ("frobnicate", "no directive")],
)
@BOTH
async def test_refusals(client: genai.client.AsyncClient, streamed: bool, directive: str, message: str) -> None:
    with pytest.raises(errors.APIError, match=message):
        await answered(client, streamed, PLAIN, f"Hi [[simulate: {directive}]]")


async def test_an_error_in_a_stream(client: genai.client.AsyncClient) -> None:
    with pytest.raises(errors.ServerError, match="mid-stream"):
        await answered(client, True, PLAIN, "Hi [[simulate: error_event_after=2]]")


async def test_faults(client: genai.client.AsyncClient) -> None:
    unfinished = await answered(client, True, PLAIN, "Hi [[simulate: no_finish]]")
    assert unfinished.candidates[0].finish_reason is None
    silent = await answered(client, True, PLAIN, "Hi [[simulate: no_usage]]")
    assert silent.usage_metadata is None
    with pytest.raises(errors.UnknownApiResponseError):
        await answered(client, True, PLAIN, "Hi [[simulate: garbage]]")
    with pytest.raises(errors.UnknownApiResponseError):
        await answered(client, True, PLAIN, "Hi [[simulate: keepalive_comments]]")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (b"{", "Invalid JSON"),
        ({}, "contents is not specified"),
        ({"contents": [{"role": "system", "parts": [{"text": "a"}]}]}, "valid role"),
        ({"contents": [{"role": "user"}]}, "must not be empty"),
        ({"contents": ["Hi"]}, "expected an object"),
        ({"contents": {"parts": {"text": "a"}}, "generationConfig": {"maxOutputTokens": 0}}, "at least 1"),
        ({"contents": {"parts": {"text": "a"}}, "generation_config": {"max_output_tokens": "x"}}, "TYPE_INT32"),
        ({"contents": {"parts": {"text": "a"}}, "generationConfig": {"candidateCount": 9}}, "from 1 to 8"),
        (
            {"contents": {"parts": {"text": "a"}}, "generationConfig": {"thinkingConfig": {"thinkingBudget": 99}}},
            "not supported",
        ),
    ],
    ids=repr,
)
async def test_what_is_not_taken(running: Running, talk: Talk, asked: Any, message: str) -> None:
    heard = await talk(running, f"/v1beta/models/{PLAIN}:generateContent", asked)
    assert heard.status == 400
    assert heard.json["error"]["status"] == "INVALID_ARGUMENT"
    assert message in heard.json["error"]["message"]


async def test_streams_are_events(running: Running, talk: Talk) -> None:
    asked = {"contents": {"parts": {"text": "a"}}}
    heard = await talk(running, f"/v1beta/models/{PLAIN}:streamGenerateContent", asked)
    assert (heard.status, "alt=sse" in heard.json["error"]["message"]) == (400, True)
    heard = await talk(running, f"/v1beta/models/{PLAIN}:streamGenerateContent?alt=sse&key=k", asked)
    assert (heard.status, len(heard.events) > 1) == (200, True)


async def test_keys(start: Callable[..., Awaitable[Running]], talk: Talk) -> None:
    running = await start(api_key="right")
    asked = {"contents": {"parts": {"text": "a"}}}
    path = f"/v1beta/models/{PLAIN}:generateContent"
    for more, status in (({}, 401), ({"x_goog_api_key": "wrong"}, 401), ({"x_goog_api_key": "right"}, 200)):
        assert (await talk(running, path, asked, **more)).status == status
    assert (await talk(running, f"{path}?key=right", asked)).status == 200
    assert (await talk(running, "/v1beta/models", method="GET")).json["error"]["status"] == "UNAUTHENTICATED"
