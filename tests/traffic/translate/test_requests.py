"""What of a request reaches a provider that speaks the other of Chat Completions and Messages, and how?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.translate.fidelity_table import DIALECTS, MODELS
from tests.traffic.translate.vectors import dumped, requests

from upshift.model.refusal import BadRequest, CannotServe, Refused
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.translate import Sent, Translation, understand
from upshift.traffic.translate.words import Asked

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = SCHEMA | {"additionalProperties": False}


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "alias", "messages": [{"role": "user", "content": "Hello!"}]} | fields


def messages(**fields: Any) -> dict[str, Any]:
    return {"model": "alias", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello!"}]} | fields


def sent(client: Dialect, provider: Dialect, body: dict[str, Any], model: str, most: int | None = None) -> Sent:
    return Translation(client, provider).request(understand(client, dumped(body)), model, most)


def to_anthropic(body: dict[str, Any], model: str = "claude-sonnet-4-6", most: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sent(Dialect.OPENAI, Dialect.ANTHROPIC, body, model, most).body)
    return found


def to_chat(body: dict[str, Any], model: str = "a-model", most: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sent(Dialect.ANTHROPIC, Dialect.OPENAI, body, model, most).body)
    return found


def lost(client: Dialect, body: dict[str, Any], model: str) -> set[str]:
    provider = Dialect.ANTHROPIC if client is Dialect.OPENAI else Dialect.OPENAI
    return {loss.field for loss in sent(client, provider, body, model).losses}


def test_a_whole_chat_request() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Bern"}'}}
    other = {"id": "call|2", "type": "function", "function": {"name": "f", "arguments": ""}}
    body = chat(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "", "tool_calls": [call, other]},
            {"role": "tool", "tool_call_id": "call_1", "content": "18 C"},
            {"role": "tool", "tool_call_id": "call|2", "content": [{"type": "text", "text": "none"}]},
            {"role": "user", "content": "Thanks"},
        ],
        tools=[{"type": "function", "function": {"name": "f", "description": "Weather", "parameters": SCHEMA}}],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=700,
        stream=True,
        user="ann",
    )
    made = to_anthropic(body, most=500)
    ident = made["messages"][1]["content"][1]["id"]
    assert ident != "call|2"
    assert made == {
        "model": "claude-sonnet-4-6",
        "max_tokens": 500,
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        "messages": [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "call_1", "name": "f", "input": {"city": "Bern"}},
                    {"type": "tool_use", "id": ident, "name": "f", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "18 C"},
                    {"type": "tool_result", "tool_use_id": ident, "content": "none"},
                    {"type": "text", "text": "Thanks"},
                ],
            },
        ],
        "stream": True,
        "tools": [{"name": "f", "description": "Weather", "input_schema": SCHEMA}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "metadata": {"user_id": "ann"},
    }


def test_a_whole_messages_request() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    body = messages(
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [image, {"type": "text", "text": "Where?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Bern"}},
                    {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": [image]},
                    {"type": "text", "text": "Go on"},
                ],
            },
        ],
        tools=[{"name": "f", "input_schema": SCHEMA}],
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        stop_sequences=["END"],
        stream=True,
        metadata={"user_id": "u" * 100},
    )
    made = to_chat(body)
    user = made.pop("user")
    assert len(user) == 64
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert made == {
        "model": "a-model",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": [picture, {"type": "text", "text": "Where?"}]},
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [
                    {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"city":"Bern"}'}},
                    {"id": "toolu_2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "toolu_1", "content": "Error: no"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": "(see the attachment below)"},
            {"role": "user", "content": [picture, {"type": "text", "text": "Go on"}]},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 1000,
        "stop": ["END"],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
        "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    }


def test_the_field_that_bounds_an_answer_is_the_providers() -> None:
    translation = Translation(Dialect.ANTHROPIC, Dialect.OPENAI, limit_field="max_tokens")
    made = json.loads(translation.request(understand(Dialect.ANTHROPIC, dumped(messages())), "a-model", 900).body)
    assert made["max_tokens"] == 900
    assert "max_completion_tokens" not in made


@pytest.mark.parametrize(
    ("asked", "given", "expected"), [(None, None, 8192), (None, 7, 7), (9, 7, 7), (5, 7, 5), (5, None, 5)]
)
def test_bounds(asked: int | None, given: int | None, expected: int) -> None:
    assert to_anthropic(chat(max_tokens=asked), most=given)["max_tokens"] == expected


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        (
            "claude-opus-4-8",
            {"reasoning_effort": "high"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        (
            "claude-sonnet-4-6",
            {"reasoning_effort": "xhigh"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        (
            "claude-opus-5-5",
            {"reasoning_effort": "max"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        ),
        ("claude-opus-5-5", {"reasoning_effort": "none"}, {"output_config": {"effort": "low"}}),
        ("claude-opus-5", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "minimal"},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
        ("claude-sonnet-4-5", {"reasoning_effort": "high"}, {"thinking": {"type": "enabled", "budget_tokens": 16384}}),
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "high", "max_tokens": 4000},
            {"thinking": {"type": "enabled", "budget_tokens": 3999}},
        ),
        ("claude-sonnet-4-5", {"reasoning_effort": "high", "max_tokens": 1000}, {}),
        (
            "claude-sonnet-4-5",
            {
                "reasoning_effort": "high",
                "tools": [{"type": "function", "function": {"name": "f"}}],
                "tool_choice": "required",
            },
            {},
        ),
        ("claude-3-5-haiku-20241022", {"reasoning_effort": "high"}, {}),
        ("qwen3", {"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("claude-sonnet-4-5", {"temperature": 1.7, "top_p": 0.5}, {"temperature": 1.0}),
        ("claude-opus-4-0", {"temperature": 0.7, "top_p": 0.5}, {"temperature": 0.7, "top_p": 0.5}),
        ("claude-opus-4-7", {"temperature": 0.7, "top_p": 0.5}, {}),
        (
            "claude-sonnet-4-6",
            {"temperature": 0.7, "reasoning_effort": "low"},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        ),
    ],
)
def test_what_a_claude_takes(model: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    made = to_anthropic(chat(**{"max_tokens": 30000} | asked), model)
    fields = ("thinking", "output_config", "temperature", "top_p")
    assert {name: made[name] for name in fields if name in made} == expected


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        ("gpt-4o", {"output_config": {"effort": "high"}, "temperature": 0.3}, {"temperature": 0.3}),
        ("gpt-5", {"output_config": {"effort": "max"}, "temperature": 0.3}, {"reasoning_effort": "high"}),
        ("gpt-5.4", {"output_config": {"effort": "max"}, "temperature": 1}, {"reasoning_effort": "xhigh"}),
        ("gpt-6.1-sol", {"output_config": {"effort": "max"}}, {"reasoning_effort": "max"}),
        (
            "gpt-5.4",
            {"thinking": {"type": "disabled"}, "temperature": 0.3},
            {"reasoning_effort": "none", "temperature": 0.3},
        ),
        ("gpt-5", {"thinking": {"type": "disabled"}}, {"reasoning_effort": "minimal"}),
        ("o3", {"thinking": {"type": "enabled", "budget_tokens": 20000}}, {"reasoning_effort": "high"}),
        (
            "qwen3",
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
            {"reasoning_effort": "high"},
        ),
    ],
)
def test_what_a_gpt_takes(model: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    made = to_chat(messages(**asked), model)
    assert {name: made[name] for name in ("reasoning_effort", "temperature") if name in made} == expected


def test_a_forced_tool_is_refused_where_a_model_always_thinks() -> None:
    body = chat(tools=[{"type": "function", "function": {"name": "f"}}], tool_choice="required")
    with pytest.raises(Refused) as refused:
        to_anthropic(body, "claude-opus-5-5")
    assert isinstance(refused.value.reason, CannotServe)
    assert refused.value.reason.needs == ("tool_choice",)


def test_a_turn_whose_thoughts_did_not_come_back_goes_on_without() -> None:
    """Anthropic refuses a turn of tool calls that does not begin with thoughts, where thoughts have a budget."""
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    thought = {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1"}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "ok"}
    hello = {"role": "user", "content": "Hello!"}
    body = chat(messages=[hello, turn, result], reasoning_effort="low", max_tokens=9000)
    assert "thinking" not in to_anthropic(body, "claude-sonnet-4-5")
    assert "reasoning_effort" in lost(Dialect.OPENAI, body, "claude-sonnet-4-5")
    body["messages"] = [hello, turn | {"reasoning_details": [thought]}, result]
    made = to_anthropic(body, "claude-sonnet-4-5")
    assert made["thinking"]["budget_tokens"] == 2048
    assert made["messages"][1]["content"][0] == {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    body["messages"] = [hello, turn, result, {"role": "assistant", "content": "Done."}, hello]
    assert "thinking" in to_anthropic(body, "claude-sonnet-4-5")


@pytest.mark.parametrize(
    ("model", "role"), [("claude-opus-4-8", "system"), ("claude-opus-4-7", "user"), ("llama", "user")]
)
def test_what_the_system_says_in_between(model: str, role: str) -> None:
    body = chat(
        messages=[
            {"role": "user", "content": "Hello!"},
            {"role": "system", "content": "Be long."},
            {"role": "assistant", "content": "Hi."},
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Go on"},
        ]
    )
    made = to_anthropic(body, model)["messages"]
    if role == "system":
        assert made[1] == {"role": "system", "content": "Be long."}
    else:
        assert made[0]["content"][1]["text"] == "<system-reminder>\nBe long.\n</system-reminder>"
    assert [turn["role"] for turn in made[-2:]] == ["assistant", "user"]
    assert made[-1]["content"][0]["text"] == "<system-reminder>\nBe short.\n</system-reminder>"


def test_a_schema_is_kept_to_or_refused() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": CLOSED, "strict": True}}
    made = to_anthropic(chat(response_format=form), "claude-sonnet-4-5")
    assert made["output_config"] == {"format": {"type": "json_schema", "schema": CLOSED}}
    with pytest.raises(Refused):
        to_anthropic(chat(response_format=form), "claude-3-7-sonnet-latest")
    back = to_chat(messages(output_config={"format": {"type": "json_schema", "schema": CLOSED}}))
    assert back["response_format"]["json_schema"] == {"name": "answer", "schema": CLOSED, "strict": True}
    old = to_chat(messages(output_format={"type": "json_schema", "schema": SCHEMA}))
    assert old["response_format"]["json_schema"]["strict"] is False


def test_long_and_odd_names_of_tools_find_back() -> None:
    name = "mcp__a_server_with_a_long_name__" + "x" * 60
    body = messages(
        tools=[{"name": name, "input_schema": SCHEMA}, {"name": "short", "input_schema": SCHEMA}],
        tool_choice={"type": "tool", "name": name},
    )
    made = sent(Dialect.ANTHROPIC, Dialect.OPENAI, body, "a-model")
    told = json.loads(made.body)
    wire = told["tools"][0]["function"]["name"]
    assert len(wire) == 64
    assert told["tool_choice"]["function"]["name"] == wire
    assert list(made.asked.tools) == [wire]
    call = {"id": "call_1", "type": "function", "function": {"name": wire, "arguments": "{}"}}
    answer = {"id": "c", "choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    reply, _ = Translation(Dialect.ANTHROPIC, Dialect.OPENAI).reply(dumped(answer), "alias", made.asked)
    assert json.loads(reply)["content"][0]["name"] == name
    stream = Translation(Dialect.ANTHROPIC, Dialect.OPENAI).stream("alias", made.asked)
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [call | {"index": 0}]}}]}
    assert name.encode() in stream.feed(b"data: " + dumped(chunk) + b"\n\n")


def test_free_text_for_a_tool_travels_in_an_object() -> None:
    body = chat(
        messages=[
            {"role": "user", "content": "Run it"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "run", "input": "print(1)"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
        ],
        tools=[
            {
                "type": "custom",
                "custom": {
                    "name": "run",
                    "description": "Runs it.",
                    "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}},
                },
            }
        ],
    )
    made = sent(Dialect.OPENAI, Dialect.ANTHROPIC, body, "claude-sonnet-4-6")
    told = json.loads(made.body)
    assert told["messages"][1]["content"][0]["input"] == {"input": "print(1)"}
    assert told["tools"][0]["description"] == "Runs it.\n\nThe input has to match this grammar:\nstart: x"
    use = {"type": "tool_use", "id": "toolu_1", "name": "run", "input": {"input": "print(2)"}}
    answer = {"id": "m", "content": [use], "stop_reason": "tool_use"}
    reply, _ = Translation(Dialect.OPENAI, Dialect.ANTHROPIC).reply(dumped(answer), "alias", made.asked)
    call = json.loads(reply)["choices"][0]["message"]["tool_calls"][0]
    assert call == {"id": "toolu_1", "type": "custom", "custom": {"name": "run", "input": "print(2)"}}
    stream = Translation(Dialect.OPENAI, Dialect.ANTHROPIC).stream("alias", made.asked)
    out = stream.feed(
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"run"}}\n\n'
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\\"inp"}}\n\n'
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"ut\\":\\"x\\"}"}}\n\n'
        b'data: {"type":"content_block_stop","index":0}\n\n'
    )
    assert b'"custom":{"name":"run","input":""}' in out
    assert b'"custom":{"input":"x"}' in out


@pytest.mark.parametrize("dialect", DIALECTS)
@given(data=st.data())
def test_nothing_but_a_refusal_escapes(dialect: Dialect, data: st.DataObject) -> None:
    """Requests with fields of any shape are refused or translated, to every dialect."""
    vector = data.draw(st.sampled_from(requests(dialect)))
    body = json.loads(vector.body)
    values = st.recursive(
        st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=5,
    )
    for _ in range(data.draw(st.integers(0, 3))):
        _meddle(body, data, values)
    raw = dumped(body)
    if data.draw(st.integers(0, 9)) == 0:
        at = data.draw(st.integers(0, len(raw)))
        raw = raw[:at] + data.draw(st.binary(max_size=4)) + raw[at:]
    try:
        understood = understand(dialect, raw, vector.target)
        for provider in DIALECTS:
            if provider is not dialect:
                made = Translation(dialect, provider).request(understood, MODELS[provider], 100)
                json.loads(made.body)
                assert isinstance(made.asked, Asked)
    except Refused as refused:
        kind = type(refused.reason)
    else:
        kind = BadRequest
    assert kind in {BadRequest, CannotServe}


def test_bytes_that_are_no_text_are_refused_wherever_they_stand() -> None:
    tool = {"type": "function", "name": "f", "description": "AB", "parameters": {"type": "object", "title": "AB"}}
    body = dumped(
        {"model": "a-model", "input": "Hello!", "tools": [{"type": "namespace", "name": "n", "tools": [tool]}]}
    )
    with pytest.raises(Refused, match="UTF-8"):
        understand(Dialect.RESPONSES, body.replace(b"AB", b"A\x80"))


def _meddle(value: Any, data: st.DataObject, values: st.SearchStrategy[Any]) -> None:
    """Put something else somewhere."""
    while isinstance(value, dict | list) and value:
        key = data.draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        if not isinstance(value[key], dict | list) or data.draw(st.booleans()):
            value[key] = data.draw(values)
            return
        value = value[key]
