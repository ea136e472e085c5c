"""Is what a call is billed by, beside plain tokens at the usual rates, read from what it asks and what it is told?"""

import json
from typing import Any

import pytest

from upshift.model.refusal import BadRequest, Refused
from upshift.traffic.snapshot import Dialect
from upshift.traffic.wire.ask import PLAIN, SERVED_AS_USUAL, Extras
from upshift.traffic.wire.wires import WIRES

GENERATE = b"/v1beta/models/gemini-3.5-pro:generateContent"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
RESPONSES = {"model": "m", "input": "Hi"}
MESSAGES = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
PLAINLY: dict[Dialect, dict[str, Any]] = {
    Dialect.OPENAI: CHAT,
    Dialect.RESPONSES: RESPONSES,
    Dialect.ANTHROPIC: MESSAGES,
    Dialect.GEMINI: CONTENTS,
}


def asked(dialect: Dialect, **more: object) -> Extras:
    return WIRES[dialect].read(json.dumps(PLAINLY[dialect] | more).encode(), GENERATE).extras


@pytest.mark.parametrize("dialect", PLAINLY)
def test_nothing_said_is_nothing_beside_tokens(dialect: Dialect) -> None:
    assert asked(dialect) == PLAIN


@pytest.mark.parametrize(
    ("dialect", "more", "found"),
    [
        (Dialect.OPENAI, {"service_tier": "priority"}, Extras("priority")),
        (Dialect.OPENAI, {"service_tier": "auto"}, PLAIN),
        (Dialect.OPENAI, {"service_tier": "flex", "web_search_options": {}}, Extras("flex", 0, "web_search_options")),
        (Dialect.OPENAI, {"audio": {"voice": "alloy", "format": "wav"}}, Extras(unpriced="audio")),
        (Dialect.OPENAI, {"plugins": [{"id": "web"}]}, Extras(unpriced="plugins")),
        (Dialect.RESPONSES, {"service_tier": "flex"}, Extras("flex")),
        (Dialect.ANTHROPIC, {"speed": "fast"}, Extras("fast")),
        (Dialect.ANTHROPIC, {"service_tier": "auto"}, PLAIN),
        (Dialect.GEMINI, {"serviceTier": "PRIORITY"}, Extras("priority")),
        (Dialect.GEMINI, {"service_tier": "SERVICE_TIER_UNSPECIFIED"}, PLAIN),
    ],
)
def test_what_is_asked_for_beside_tokens(dialect: Dialect, more: dict[str, Any], found: Extras) -> None:
    assert asked(dialect, **more) == found


CHAT_USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
RESPONSES_USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
ANSWERS: list[tuple[Dialect, dict[str, Any], Extras]] = [
    (Dialect.OPENAI, {"choices": [], "usage": CHAT_USAGE}, PLAIN),
    (Dialect.OPENAI, {"choices": [], "usage": CHAT_USAGE, "service_tier": "default"}, SERVED_AS_USUAL),
    (Dialect.OPENAI, {"choices": [], "usage": CHAT_USAGE, "service_tier": "priority"}, Extras("priority", said=True)),
    (
        Dialect.OPENAI,
        {"choices": [], "usage": CHAT_USAGE | {"completion_tokens_details": {"audio_tokens": 3}}},
        Extras(unpriced="audio tokens"),
    ),
    (
        Dialect.RESPONSES,
        {
            "status": "completed",
            "service_tier": "flex",
            "usage": RESPONSES_USAGE,
            "output": [
                {"type": "web_search_call", "id": "1"},
                {"type": "web_search_call", "id": "2"},
                {"type": "message"},
            ],
        },
        Extras("flex", 2, said=True),
    ),
    (
        Dialect.RESPONSES,
        {"status": "completed", "usage": RESPONSES_USAGE, "output": [{"type": "code_interpreter_call", "code": "1"}]},
        Extras(unpriced="code_interpreter_call"),
    ),
    (
        Dialect.ANTHROPIC,
        {
            "content": [],
            "usage": {
                "input_tokens": 10,
                "output_tokens": 5,
                "service_tier": "standard",
                "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
            },
        },
        Extras("", 3, said=True),
    ),
    (
        Dialect.ANTHROPIC,
        {"content": [], "usage": {"input_tokens": 10, "output_tokens": 5, "service_tier": "standard", "speed": "fast"}},
        Extras("fast", said=True),
    ),
    (
        Dialect.ANTHROPIC,
        {"content": [], "usage": {"input_tokens": 10, "output_tokens": 5, "inference_geo": "us"}},
        Extras(unpriced="inference_geo"),
    ),
    (
        Dialect.ANTHROPIC,
        {
            "content": [{"type": "server_tool_use", "id": "s", "name": "bash_code_execution", "input": {}}],
            "usage": {"input_tokens": 10, "output_tokens": 5},
        },
        Extras(unpriced="code execution"),
    ),
    (
        Dialect.GEMINI,
        {
            "candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
        },
        Extras("", 2),
    ),
    (
        Dialect.GEMINI,
        {
            "candidates": [],
            "usageMetadata": {
                "promptTokenCount": 10,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 2},
                    {"modality": "AUDIO", "tokenCount": 8},
                ],
            },
        },
        Extras(unpriced="audio or picture tokens"),
    ),
    (
        Dialect.GEMINI,
        {
            "candidates": [],
            "usageMetadata": {
                "promptTokenCount": 10,
                "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 8}],
                "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 1}],
            },
        },
        PLAIN,
    ),
]


@pytest.mark.parametrize(("dialect", "body", "found"), ANSWERS)
def test_what_an_answer_is_billed_by(dialect: Dialect, body: dict[str, Any], found: Extras) -> None:
    assert WIRES[dialect].answer(json.dumps(body).encode()).extras == found


def streamed(dialect: Dialect, *events: dict[str, Any]) -> Extras:
    meter = WIRES[dialect].stream(keep_usage=True)
    for each in events:
        meter.feed(b"data: " + json.dumps(each).encode() + b"\n\n")
    meter.finish()
    return meter.extras


def test_a_stream_is_billed_as_an_answer_in_one_piece() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "a"}}], "service_tier": "priority"}
    last = {"choices": [], "usage": CHAT_USAGE | {"prompt_tokens_details": {"audio_tokens": 1}}}
    assert streamed(Dialect.OPENAI, chunk, last) == Extras("priority", 0, "audio tokens", said=True)

    item = {"type": "response.output_item.done", "output_index": 0, "item": {"type": "web_search_call"}}
    done = {"type": "response.completed", "response": {"id": "r", "service_tier": "default", "usage": RESPONSES_USAGE}}
    assert streamed(Dialect.RESPONSES, item, done) == Extras("", 1, said=True)

    block = {"type": "server_tool_use", "id": "s", "name": "code_execution", "input": {}}
    code = {"type": "content_block_start", "index": 0, "content_block": block}
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 9, "service_tier": "batch"}}}
    delta = {
        "type": "message_delta",
        "delta": {},
        "usage": {"output_tokens": 5, "server_tool_use": {"web_search_requests": 1}},
    }
    assert streamed(Dialect.ANTHROPIC, start, code, delta) == Extras("batch", 1, "code execution", said=True)

    used = {"promptTokenCount": 10, "candidatesTokenCount": 5, "serviceTier": "flex"}
    searched = {"groundingMetadata": {"webSearchQueries": ["a"]}, "finishReason": "STOP"}
    first = {"candidates": [{"groundingMetadata": {"webSearchQueries": ["a"]}}]}
    final = {"candidates": [searched], "usageMetadata": used}
    assert streamed(Dialect.GEMINI, first, final) == Extras("flex", 1, said=True)


@pytest.mark.parametrize(
    ("dialect", "more"),
    [
        (Dialect.OPENAI, {"models": ["other"]}),
        (Dialect.RESPONSES, {"models": ["other"]}),
        (Dialect.ANTHROPIC, {"fallbacks": [{"model": "other"}]}),
    ],
)
def test_models_to_fall_back_on_are_refused(dialect: Dialect, more: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        asked(dialect, **more)
    assert isinstance(refused.value.reason, BadRequest)
    assert refused.value.reason.where == next(iter(more))
    assert asked(dialect, **dict.fromkeys(more)) == PLAIN
    assert asked(dialect, **{name: [] for name in more}) == PLAIN


def thoughts(asked: int, budget: int, bound: int) -> dict[str, Any]:
    body = MESSAGES | {"max_tokens": asked, "thinking": {"type": "enabled", "budget_tokens": budget, "display": "full"}}
    data = json.dumps(body).encode()
    wire = WIRES[Dialect.ANTHROPIC]
    assert wire.read(data).least_output == 1_025
    return dict(json.loads(wire.rewrite(data, max_output=bound)))


@pytest.mark.parametrize(
    ("most", "budget", "bound", "left"),
    [
        (16_000, 10_000, 4_000, 2_500),
        (16_000, 2_000, 4_000, 2_000),
        (2_000, 1_999, 1_025, 1_024),
        (100, 5_000, 2_000, 1_999),
    ],
)
def test_a_budget_of_thoughts_stays_below_a_lower_bound(most: int, budget: int, bound: int, left: int) -> None:
    sent = thoughts(most, budget, bound)
    assert sent["max_tokens"] == bound
    assert sent["thinking"] == {"type": "enabled", "budget_tokens": left, "display": "full"}
    assert 1_024 <= sent["thinking"]["budget_tokens"] < bound


def test_thoughts_without_a_budget_stay_as_they_are() -> None:
    wire = WIRES[Dialect.ANTHROPIC]
    for thinking in ({"type": "adaptive"}, {"type": "disabled"}, None):
        data = json.dumps(MESSAGES | {"thinking": thinking}).encode()
        assert wire.read(data).least_output == 1
        assert json.loads(wire.rewrite(data, max_output=7))["thinking"] == thinking
    with pytest.raises(Refused):
        wire.read(b'{"model":"m","max_tokens":9,"messages":[{}],"thinking":{"type":"enabled","type":"disabled"}}')


def test_geminis_thoughts_leave_room_for_an_answer() -> None:
    wire = WIRES[Dialect.GEMINI]

    def sent(config: dict[str, Any], bound: int) -> dict[str, Any]:
        data = json.dumps(CONTENTS | {"generationConfig": config}).encode()
        wire.read(data, GENERATE)
        return dict(json.loads(wire.rewrite(data, max_output=bound))["generationConfig"])

    both = {"maxOutputTokens": 16_000, "thinkingConfig": {"thinkingBudget": 8_000, "includeThoughts": True}}
    assert sent(both, 4_000)["thinkingConfig"] == {"thinkingBudget": 2_000, "includeThoughts": True}
    assert sent(both, 9_000)["thinkingConfig"] == both["thinkingConfig"]
    snake = {"max_output_tokens": 4_000, "thinking_config": {"thinking_budget": 2_000}}
    assert sent(snake, 700) == {"max_output_tokens": 700, "thinking_config": {"thinking_budget": 512}}
    for left_open in ({"thinkingBudget": -1}, {"thinkingBudget": 0}, {"thinkingLevel": "high"}):
        assert sent({"thinkingConfig": left_open}, 50)["thinkingConfig"] == left_open
    # A field without a name is not the bound that nobody said.
    nameless: dict[str, Any] = {"thinkingConfig": {"thinkingBudget": 8_000}, "": [{}]}
    assert sent(nameless, 4_000)[""] == [{}]
