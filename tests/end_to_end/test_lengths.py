"""Is what a client is told of a request's length what its provider bills for it?"""

import base64
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.probe import Reply, key, post
from tests.end_to_end.stack import PLAN, Stack, running

WORDS = [
    "the",
    "ledger",
    "holds,",
    "übersetzt",
    "東京",
    "every",
    "ceiling",
    "of",
    "{a:",
    "[1,",
    "2]}",
    "until",
    "its",
    "period",
    "ends;",
    "see",
    "日本語の文章は空白なしで続く。",
    "for(i=0;i<n;i++){",
    "    return self._x[",
    "https://a.example/x?y=1",
]
ALSO_GEMINI = (
    ("models:\n", '  google: {dialect: gemini, base_url: "SIMULATED"}\nmodels:\n  flash: {provider: google, context: 1M,'
     " max_output: 32k, price: {input: $1, output: $5}}\n"),
    ("premium: [big, sonnet]", "premium: [big, sonnet, flash]"),
    ("pro: {month: LIMIT}}, ask", "pro: {month: 100M}}, ask"),
)  # fmt: skip


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    """An installation with a provider of each dialect that counts."""
    plan = PLAN
    for old, new in ALSO_GEMINI:
        plan = plan.replace(old, new)
    async with running(tmp_path) as started:
        text = plan.replace("SIMULATED", started.simulated_url()).replace("LIMIT", "100M")
        await started.apply(text.replace("CANCEL_OR_DRAIN", "cancel"))
        yield started


def said(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.choice((1, 8, 60, 400))))


def messages(draw: random.Random) -> dict[str, Any]:
    """A request of Anthropic's, with whatever requests have."""
    turns: list[dict[str, Any]] = []
    for _ in range(draw.choice((0, 0, 1, 4))):
        turns += [{"role": "user", "content": said(draw)}, {"role": "assistant", "content": said(draw)}]
    last: list[dict[str, Any]] = [{"type": "text", "text": said(draw)}]
    if draw.random() < 0.3:
        data = base64.b64encode(draw.randbytes(3000)).decode()
        last.insert(0, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}})
    found: dict[str, Any] = {"model": "sonnet", "messages": [*turns, {"role": "user", "content": last}]}
    if draw.random() < 0.5:
        found["system"] = said(draw)
    if draw.random() < 0.5:
        shape = {"type": "object", "properties": {"where": {"type": "string", "description": said(draw)}}}
        found["tools"] = [{"name": "look", "description": said(draw), "input_schema": shape}]
    return found


def contents(draw: random.Random) -> dict[str, Any]:
    """A request of Gemini's."""
    turns: list[dict[str, Any]] = []
    for _ in range(draw.choice((0, 0, 1, 4))):
        turns += [{"role": each, "parts": [{"text": said(draw)}]} for each in ("user", "model")]
    last: list[dict[str, Any]] = [{"text": said(draw)}]
    if draw.random() < 0.3:
        last.insert(
            0, {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(draw.randbytes(3000)).decode()}}
        )
    found: dict[str, Any] = {"contents": [*turns, {"role": "user", "parts": last}]}
    if draw.random() < 0.5:
        found["systemInstruction"] = {"parts": [{"text": said(draw)}]}
    if draw.random() < 0.5:
        shape = {"type": "object", "properties": {"where": {"type": "string", "description": said(draw)}}}
        look = {"name": "look", "description": said(draw), "parameters": shape}
        found["tools"] = [{"functionDeclarations": [look]}]
    return found


def within(counted: int, billed: int) -> bool:
    return abs(counted - billed) <= 0.05 * billed


async def asked(stack: Stack, path: str, body: dict[str, Any]) -> Reply:
    reply = await post(stack, path, json.dumps(body).encode(), await key(stack), {"anthropic-version": "2023-06-01"})
    assert reply.status == 200, reply.body
    return reply


async def billed(stack: Stack) -> int:
    """Input tokens of the latest bill."""
    await stack.provider.simulated.idle()
    return stack.provider.simulated.billed[-1].usage.input


async def test_what_anthropic_counts_is_what_it_bills(stack: Stack) -> None:
    draw = random.Random(2026)
    for _ in range(40):
        body = messages(draw)
        counted = await asked(stack, "/v1/messages/count_tokens", body)
        assert counted.headers["x-upshift-counted-by"] == "provider"
        await asked(stack, "/v1/messages", body | {"max_tokens": 20})
        assert within(counted.json()["input_tokens"], await billed(stack))


async def test_what_gemini_counts_is_what_it_bills(stack: Stack) -> None:
    draw = random.Random(2026)
    for number in range(40):
        body = contents(draw)
        wrapped = {"generateContentRequest": {"model": "models/flash", **body}}
        counted = await asked(stack, "/v1beta/models/flash:countTokens", wrapped if number % 2 else body)
        assert counted.headers["x-upshift-counted-by"] == "provider"
        await asked(stack, "/v1beta/models/flash:generateContent", body | {"generationConfig": {"maxOutputTokens": 20}})
        assert within(counted.json()["totalTokens"], await billed(stack))


async def test_elsewhere_it_is_a_guess_that_says_so_and_learns(stack: Stack) -> None:
    """Of a model whose provider counts nothing: from the calls before, each with the same prompt and more to say."""
    draw = random.Random(2026)
    prompt = said(random.Random(8)) + " ".join(WORDS * 40)
    off: list[float] = []
    for number in range(60):
        body = {"model": "big", "system": prompt, "messages": [{"role": "user", "content": said(draw)}]}
        counted = await asked(stack, "/v1/messages/count_tokens", body)
        assert counted.headers["x-upshift-counted-by"].startswith("estimate; ")
        assert f"and {number} earlier calls" in counted.headers["x-upshift-counted-by"]
        await asked(stack, "/v1/messages", body | {"max_tokens": 20})
        tokens = await billed(stack)
        off.append(abs(counted.json()["input_tokens"] - tokens) / tokens)
    learnt = sorted(off[20:])
    assert learnt[len(learnt) // 2] <= 0.05, learnt
