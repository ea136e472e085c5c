"""Does the second route of each model serve, tried with calls of our own while all traffic stays where it is?"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never
from urllib.parse import quote

import msgspec

from upshift.engine.reach import Answered, Reach
from upshift.http.client import Trouble
from upshift.model.ids import ProviderId
from upshift.traffic.drills import Second, Sent
from upshift.traffic.price import cost_of
from upshift.traffic.snapshot import Dialect, Model
from upshift.traffic.wire.wires import WIRES

PROMPT = "This is a drill. Answer with the word ready."
SECONDS = 60.0
LEAST_TOKENS = 16
"""Some providers refuse a lower bound for an answer."""

_MOST_AT_ONCE = 4


async def failover(
    seconds: Sequence[Second],
    environment: Mapping[str, str],
    output_tokens: int,
    *,
    patience: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> list[Sent]:
    """Send one small call, bounded to `output_tokens`, through every second route; a few at a time, in order."""
    reaches: dict[ProviderId, Reach | str] = {}
    for each in seconds:
        if each.route.provider.id not in reaches:
            reaches[each.route.provider.id] = _reach(each.route, environment, patience)
    places = asyncio.Semaphore(_MOST_AT_ONCE)

    async def one(second: Second) -> Sent:
        reach = reaches[second.route.provider.id]
        if isinstance(reach, str):
            return Sent(second, reach, 0, 0.0)
        async with places:
            began = clock()
            found = await reach.post(*shadow(second.route, max(LEAST_TOKENS, output_tokens)))
            return _judged(second, found, clock() - began)

    try:
        return list(await asyncio.gather(*(one(each) for each in seconds)))
    finally:
        for reach in reaches.values():
            if isinstance(reach, Reach):
                await reach.close()


def shadow(model: Model, output_tokens: int) -> tuple[bytes, bytes]:
    """Where a call to `model` goes at its provider, and its body."""
    name = model.upstream_id
    turn = {"role": "user", "content": PROMPT}
    target: str
    body: dict[str, Any]
    match model.provider.dialect:
        case Dialect.OPENAI:
            target = "/chat/completions"
            body = {"model": name, "messages": [turn], model.provider.limit_field: output_tokens}
        case Dialect.RESPONSES:
            target = "/responses"
            body = {"model": name, "input": PROMPT, "max_output_tokens": output_tokens, "store": False}
        case Dialect.EMBEDDINGS:
            target, body = "/embeddings", {"model": name, "input": PROMPT}
        case Dialect.ANTHROPIC:
            target, body = "/v1/messages", {"model": name, "messages": [turn], "max_tokens": output_tokens}
        case Dialect.GEMINI:
            target = f"/v1beta/models/{quote(name, safe='/')}:generateContent"
            body = {
                "contents": [{"role": "user", "parts": [{"text": PROMPT}]}],
                "generationConfig": {"maxOutputTokens": output_tokens},
            }
        case other:
            assert_never(other)
    return target.encode(), msgspec.json.encode(body)


def _reach(model: Model, environment: Mapping[str, str], patience: float) -> Reach | str:
    try:
        return Reach(model.provider, environment, patience)
    except ValueError as error:
        return str(error)


def _judged(second: Second, found: Answered | Trouble, took: float) -> Sent:
    if isinstance(found, Trouble):
        # What was sent and not answered may have been billed.
        return Sent(second, f"{found.kind}: {found.detail}", 0, took, cost=None if found.request_sent else 0)
    if not 200 <= found.status < 300:
        return Sent(second, f"status {found.status}: {_first_words(found.body)}", found.status, took)
    answer = WIRES[second.route.provider.dialect].answer(found.body)
    if answer.usage is None:
        problem = "" if answer.complete else f"not an answer: {_first_words(found.body)}"
        return Sent(second, problem, found.status, took, cost=None)
    card = second.route.card
    spent = None if card is None else cost_of(card, answer.usage)
    return Sent(second, "", found.status, took, answer.usage, spent)


def _first_words(body: bytes) -> str:
    return " ".join(body[:300].decode("utf-8", "replace").split())[:200]
