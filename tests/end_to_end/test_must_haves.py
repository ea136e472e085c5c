"""Does the gateway answer as real clients were seen to need it, where the official SDKs alone would not tell?"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.end_to_end.probe import body_of, get, key, post
from tests.end_to_end.stack import PLAN, Stack, running
from tests.end_to_end.test_lengths import ALSO_GEMINI


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """An installation with a model of each vendor, and an alias with a slash in it."""
    plan = PLAN
    for old, new in ALSO_GEMINI:
        plan = plan.replace(old, new)
    plan = plan.replace("flash: {provider: google,", "flash: {provider: google, aliases: [team/fast],")
    async with running(tmp_path) as started:
        text = plan.replace("SIMULATED", started.simulated_url()).replace("LIMIT", "100M")
        await started.apply(text.replace("CANCEL_OR_DRAIN", "cancel"))
        yield started


async def test_who_tries_a_websocket_is_told_to_post_instead(stack: Stack) -> None:
    """Codex posts at once after 426; after 401, 404 or 503 it tries seven times, and after 400 it gives up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.gateway.port)
    head = f"GET /v1/responses HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {await key(stack)}\r\n"
    writer.write(head.encode() + b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 426 ")
    writer.close()


@pytest.mark.parametrize(
    ("header", "field", "name"),
    [("", "data", "id"), ("anthropic-version", "data", "id"), ("x-goog-api-key", "models", "name")],
)
async def test_models_are_listed_in_the_dialect_that_asks(stack: Stack, header: str, field: str, name: str) -> None:
    """Three dialects ask at the same path."""
    secret = await key(stack)
    said = {"anthropic-version": "2026-10-21"} if header == "anthropic-version" else {}
    if header == "x-goog-api-key":
        said = {"x-goog-api-key": secret}
    reply = await get(stack, "/v1/models", None if header == "x-goog-api-key" else secret, said)
    assert reply.status == 200
    listed = reply.json()
    assert "flash" in {each[name].removeprefix("models/") for each in listed[field]}
    assert ("has_more" in listed) == (header == "anthropic-version")
    assert ("object" in listed) == (header == "")


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_a_gemini_client_may_ask_for_a_name_with_a_slash(stack: Stack, version: str) -> None:
    body = json.dumps({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}).encode()
    path = f"/{version}/models/team/fast:streamGenerateContent?alt=sse"
    reply = await post(stack, path, body, await key(stack))
    assert reply.status == 200, reply.body
    assert reply.headers["x-upshift-served-model"] == "flash"
    # A comment in between breaks the stream of Gemini CLI and of the SDK in Python.
    assert all(not line or line.startswith(b"data: ") for line in reply.body.replace(b"\r", b"").split(b"\n"))


@pytest.mark.parametrize("asks", [False, True])
async def test_usage_goes_only_to_who_asked_for_it(stack: Stack, asks: bool) -> None:
    """A last chunk without choices breaks programs that did not ask for one."""
    body = body_of("openai", stream=True, max_tokens=20, stream_options={"include_usage": True} if asks else None)
    reply = await post(stack, "/v1/chat/completions", body, await key(stack))
    chunks = [json.loads(line[6:]) for line in reply.body.split(b"\n") if line.startswith(b"data: {")]
    assert any(not chunk["choices"] for chunk in chunks) == asks
    assert [chunk for chunk in chunks if chunk["choices"]][-1]["choices"][0]["finish_reason"]


async def test_a_long_answer_that_is_allowed_is_not_a_long_answer_that_is_held(stack: Stack) -> None:
    """Claude Code allows 128,000 tokens on every turn."""
    body = body_of("anthropic", max_tokens=128_000)
    reply = await post(stack, "/v1/messages", body, await key(stack), {"anthropic-version": "2026-10-21"})
    assert reply.status == 200, reply.body


async def test_a_look_whether_anybody_is_there_does_no_harm(stack: Stack) -> None:
    """Claude Code asks for HEAD /api/hello."""
    assert (await post(stack, "/api/hello", b"", None, method=b"HEAD")).status == 404
