"""Do the official SDKs read translated answers as if their own vendor had given them?"""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from tests.traffic.translate.fidelity_table import DIALECTS
from tests.traffic.translate.interpreter import Interpreter, interpreter
from tests.traffic.translate.vectors import Vector, gathered, pairs, replies, streams

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers
from upshift.traffic.translate.translate import TRANSLATORS
from upshift.traffic.translate.words import Refusal, Reply, Text, ToolCall

MODELS = {
    Dialect.OPENAI: "gpt-4o-mini",
    Dialect.RESPONSES: "gpt-4o-mini",
    Dialect.ANTHROPIC: "claude-test",
    Dialect.GEMINI: "gemini-2.5-flash",
}
WEATHER: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
HELLO = "Hello there [[simulate: output_tokens=40]]"
USE = "Use the tool weather"


class Told:
    """What an SDK made of an answer."""

    def __init__(self) -> None:
        self.text = ""
        self.calls: list[tuple[str, object]] = []
        self.usage: tuple[int, int] | None = None
        self.tokens = 0


async def by_chat(url: str, said: str, streamed: bool) -> Told:
    told = Told()
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}]
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, timeout=60) as client:
        asked: dict[str, Any] = {"model": "alias", "messages": [{"role": "user", "content": said}], "tools": tools}
        if streamed:
            try:
                async with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
                    answer: Any = await stream.get_final_completion()
            except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError) as cut:
                # The helper says so where tools were on offer and the answer did not end by itself.
                answer = cut.completion
        else:
            answer = await client.chat.completions.create(**asked)
    (choice,) = answer.choices
    told.text = (choice.message.content or "") + (choice.message.refusal or "")
    told.calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or ()]
    if answer.usage is not None:
        told.usage = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert answer.model == "alias"
    return told


async def by_responses(url: str, said: str, streamed: bool) -> Told:
    told = Told()
    tools: Any = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}]
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, timeout=60) as client:
        asked: dict[str, Any] = {"model": "alias", "input": said, "tools": tools}
        if streamed:
            async with client.responses.stream(**asked) as stream:
                answer: Any = None
                async for event in stream:
                    if event.type in {"response.completed", "response.incomplete"}:
                        answer = event.response
        else:
            answer = await client.responses.create(**asked)
    for item in answer.output:
        if item.type == "function_call":
            told.calls.append((item.name, json.loads(item.arguments)))
        elif item.type == "message":
            told.text += "".join(part.text if part.type == "output_text" else part.refusal for part in item.content)
    if answer.usage is not None:
        told.usage = (answer.usage.input_tokens, answer.usage.output_tokens)
    assert answer.model == "alias"
    return told


async def by_messages(url: str, said: str, streamed: bool) -> Told:
    told = Told()
    tools: Any = [{"name": "weather", "input_schema": WEATHER}]
    async with anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0, timeout=60) as client:
        asked: dict[str, Any] = {"model": "alias", "max_tokens": 4000, "messages": [{"role": "user", "content": said}]}
        if streamed:
            async with client.messages.stream(**asked, tools=tools) as stream:
                answer = await stream.get_final_message()
        else:
            answer = await client.messages.create(**asked, tools=tools)
    for block in answer.content:
        if block.type == "text":
            told.text += block.text
        elif block.type == "tool_use":
            told.calls.append((block.name, block.input))
    used = answer.usage
    cached = (used.cache_read_input_tokens or 0) + (used.cache_creation_input_tokens or 0)
    told.usage = (used.input_tokens + cached, used.output_tokens)
    assert answer.model == "alias"
    assert answer.stop_reason
    return told


async def by_genai(url: str, said: str, streamed: bool) -> Told:
    told = Told()
    declared = types.FunctionDeclaration(name="weather", parameters_json_schema=WEATHER)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    # Nothing here speaks TLS, and reading the certificates for each client takes longer than all the rest.
    plain: Any = {"verify": False}
    options = types.HttpOptions(base_url=url, client_args=plain, async_client_args=plain)
    with genai.Client(api_key="k", http_options=options) as client:
        async with client.aio as each:
            if streamed:
                stream = await each.models.generate_content_stream(model="alias", contents=said, config=config)
                answers = [answer async for answer in stream]
            else:
                answers = [await each.models.generate_content(model="alias", contents=said, config=config)]
    for answer in answers:
        for candidate in answer.candidates or ():
            for part in (candidate.content.parts if candidate.content is not None else None) or ():
                if part.function_call is not None:
                    told.calls.append((part.function_call.name or "", part.function_call.args))
                elif part.text and not part.thought:
                    told.text += part.text
        if (used := answer.usage_metadata) is not None:
            told.usage = (
                used.prompt_token_count or 0,
                (used.candidates_token_count or 0) + (used.thoughts_token_count or 0),
            )
    return told


SDKS = {
    Dialect.OPENAI: by_chat,
    Dialect.RESPONSES: by_responses,
    Dialect.ANTHROPIC: by_messages,
    Dialect.GEMINI: by_genai,
}
PAIRS = list(pairs(DIALECTS))
BOTH = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@contextlib.asynccontextmanager
async def met(client: Dialect, provider: Dialect) -> AsyncIterator[Interpreter]:
    async with interpreter(client, provider, MODELS[provider]) as found:
        yield found


@pytest.mark.parametrize(("client", "provider"), PAIRS)
@BOTH
async def test_an_answer_of_a_simulated_provider(client: Dialect, provider: Dialect, streamed: bool) -> None:
    async with met(client, provider) as found:
        told = await SDKS[client](found.url, HELLO, streamed)
        assert told.text
        assert told.usage is not None
        assert told.usage[1] == 40
        asked = await SDKS[client](found.url, USE, streamed)
    ((name, arguments),) = asked.calls
    assert name == "weather"
    assert isinstance(arguments, dict)
    assert set(arguments) == {"city"}


@pytest.mark.parametrize(("client", "provider"), PAIRS)
async def test_an_error_has_the_clients_own_form(client: Dialect, provider: Dialect) -> None:
    async with met(client, provider) as found:
        with pytest.raises(
            (openai.InternalServerError, anthropic.InternalServerError, genai.errors.ServerError)
        ) as error:
            await SDKS[client](found.url, "[[simulate: status=503]]", False)
    assert "503" in str(error.value)
    assert "simulate" in str(error.value).lower() or "overloaded" in str(error.value).lower()


def expected(reply: Reply) -> tuple[str, list[tuple[str, object]]]:
    text = "".join(part.text for part in reply.parts if isinstance(part, Text | Refusal))
    calls = [part for part in reply.parts if isinstance(part, ToolCall)]
    return text, [(call.name, json.loads(bytes(carriers.as_object(call.arguments)))) for call in calls]


@pytest.mark.parametrize(("client", "provider"), PAIRS)
async def test_answers_in_one_piece(client: Dialect, provider: Dialect) -> None:
    async with met(client, provider) as found:
        for vector in replies(provider):
            said = TRANSLATORS[provider].reply_in(vector.body)
            found.canned = vector.body
            told = await SDKS[client](found.url, "Hello!", False)
            assert (told.text, told.calls) == expected(said), vector.says
            assert said.usage is not None
            assert told.usage == (said.usage.input, said.usage.output), vector.says


@pytest.mark.parametrize(("client", "provider"), PAIRS)
async def test_streamed_answers(client: Dialect, provider: Dialect) -> None:
    async with met(client, provider) as found:
        for vector in streams(provider):
            said, fault = _gathered(provider, vector)
            if fault or any(
                isinstance(part, ToolCall) and carriers.sound(part.arguments) is None for part in said.parts
            ):
                continue
            found.canned = vector.body
            told = await SDKS[client](found.url, "Hello!", True)
            assert (told.text, told.calls) == expected(said), vector.says
            if said.usage is not None:
                assert told.usage == (said.usage.input, said.usage.output), vector.says


def _gathered(provider: Dialect, vector: Vector) -> tuple[Reply, str]:
    reader = TRANSLATORS[provider].stream_in()
    return gathered(reader.feed(vector.body) + reader.finish())
