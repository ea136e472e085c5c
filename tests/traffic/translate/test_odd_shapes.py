"""What becomes of the rarer things that Chat Completions and Messages can say?"""

import json
from typing import Any

import msgspec
import pytest
from tests.traffic.translate.test_requests import CLOSED, SCHEMA, chat, messages, sent
from tests.traffic.translate.vectors import dumped, gathered

from upshift.model.refusal import BadRequest, Refused
from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers, families
from upshift.traffic.translate.foreign import without_foreign
from upshift.traffic.translate.translate import TRANSLATORS, Translation, understand
from upshift.traffic.translate.words import (
    Asked,
    Audio,
    Event,
    File,
    Image,
    Message,
    Part,
    PartEnd,
    Refusal,
    RefusalDelta,
    Reply,
    Request,
    Role,
    Signature,
    Signed,
    Start,
    Stop,
    StopReason,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolDelta,
    ToolResult,
    ToolStart,
)
from upshift.traffic.wire.sse import event

DEEP = b'{"model":"m","messages":' + b"[" * 3000 + b"]" * 3000 + b"}"
TOOL = {"type": "function", "function": {"name": "f"}}


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def assistant(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi."} | fields]


@pytest.mark.parametrize(
    ("client", "body", "where"),
    [
        (Dialect.OPENAI, b"{", "body"),
        (Dialect.OPENAI, DEEP, "body"),
        (Dialect.OPENAI, DEEP.replace(b"[]", b'[{"x":1}]'), "body"),
        (Dialect.OPENAI, dumped(chat(messages=[{"role": "robot"}])), "messages[0].role"),
        (Dialect.OPENAI, dumped(chat(messages=[{"role": 5}])), "messages[0].role"),
        (Dialect.OPENAI, dumped(chat(messages=[{"role": 5, "strange": 1}])), "messages[0].role"),
        (Dialect.OPENAI, dumped(chat(tool_choice="often")), "tool_choice"),
        (Dialect.OPENAI, dumped(chat(tool_choice={"type": "function"})), "tool_choice"),
        (Dialect.OPENAI, dumped(chat(response_format={"type": "xml"})), "response_format.type"),
        (Dialect.OPENAI, dumped(chat(reasoning_effort="huge")), "reasoning_effort"),
        (Dialect.ANTHROPIC, dumped(messages(messages=[{"role": "tool"}])), "messages[0].role"),
        (Dialect.ANTHROPIC, dumped(messages(messages=user({"type": "image"}))), "messages[].content[].source"),
        (Dialect.ANTHROPIC, dumped(messages(messages=user({"type": "document"}))), "messages[].content[].source"),
        (Dialect.ANTHROPIC, dumped(messages(tool_choice={"type": "often"})), "tool_choice.type"),
        (Dialect.ANTHROPIC, dumped(messages(output_config={"effort": "huge"})), "output_config.effort"),
    ],
)
def test_what_cannot_be_read(client: Dialect, body: bytes, where: str) -> None:
    with pytest.raises(Refused) as refused:
        understand(client, body)
    assert isinstance(refused.value.reason, BadRequest)
    assert refused.value.reason.where == where


@pytest.mark.parametrize(
    ("fields", "lost", "fatal"),
    [
        ({"service_tier": "scale"}, "service_tier", False),
        ({"messages": assistant(audio={"id": "a"})}, "messages[].audio", False),
        ({"messages": assistant(function_call={"name": "f", "arguments": "{}"})}, "messages[].function_call", True),
        ({"messages": assistant(annotations=[{"type": "url_citation"}])}, "messages[].annotations", False),
        ({"messages": user({"type": "video_url"})}, "messages[].content[].video_url", True),
        ({"tools": [{"type": "web_search"}]}, "tools[].type", True),
        (
            {"messages": user({"type": "text", "text": "x", "prompt_cache_breakpoint": {"ttl": "12h"}})},
            "messages[].content[].prompt_cache_breakpoint.ttl",
            False,
        ),
    ],
)
def test_what_chat_says_that_nobody_else_does(fields: dict[str, Any], lost: str, fatal: bool) -> None:
    losses = understand(Dialect.OPENAI, dumped(chat(**fields))).losses
    assert [(loss.field, loss.fatal) for loss in losses] == [(lost, fatal)]


@pytest.mark.parametrize(
    ("fields", "lost", "fatal"),
    [
        ({"messages": user({"type": "text", "text": "x", "citations": [{}]})}, "messages[].content[].citations", False),
        ({"messages": user({"type": "tool_use", "toolset_name": "t"})}, "messages[].content[].toolset_name", True),
        (
            {"messages": user({"type": "image", "source": {"type": "url", "url": "u"}, "transformations": {"x": 1}})},
            "messages[].content[].transformations",
            False,
        ),
        ({"messages": user({"type": "server_tool_use"})}, "messages[].content[].server_tool_use", False),
        (
            {"messages": user({"type": "web_search_tool_result", "content": {"type": "error"}})},
            "messages[].content[].web_search_tool_result",
            False,
        ),
        (
            {"messages": user({"type": "document", "context": "c", "source": {"type": "text", "data": "d"}})},
            "messages[].content[].context",
            False,
        ),
        ({"tools": [{"name": "f", "eager_input_streaming": True}]}, "tools[].eager_input_streaming", False),
        ({"tools": [{"name": "f", "allowed_callers": ["code_execution_20260120"]}]}, "tools[].allowed_callers", False),
        ({"tools": [{"name": "f", "input_examples": [{}]}]}, "tools[].input_examples", False),
        ({"thinking": {"type": "between_tools"}}, "thinking.type", False),
    ],
)
def test_what_messages_say_that_nobody_else_does(fields: dict[str, Any], lost: str, fatal: bool) -> None:
    losses = understand(Dialect.ANTHROPIC, dumped(messages(**fields))).losses
    assert [(loss.field, loss.fatal) for loss in losses] == [(lost, fatal)]


def test_a_document_of_blocks_is_one_text() -> None:
    source = {"type": "content", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    understood = understand(Dialect.ANTHROPIC, dumped(messages(messages=user({"type": "document", "source": source}))))
    assert understood.request.messages[0].parts == [File(text="a\nb")]


def test_cache_marks_of_either_kind() -> None:
    marked = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    tool = TOOL | {"cache_control": {"type": "ephemeral"}}
    body = chat(
        messages=user(marked, {"type": "refusal", "refusal": "No."}), tools=[tool], response_format={"type": "text"}
    )
    request = understand(Dialect.OPENAI, dumped(body)).request
    assert request.messages[0].parts == [Text("x", "1h"), Refusal("No.")]
    assert request.tools[0].cache == "5m"
    made = json.loads(sent(Dialect.OPENAI, Dialect.ANTHROPIC, body, "claude-sonnet-4-6").body)
    assert made["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert made["tools"][0] == {
        "name": "f",
        "input_schema": {"type": "object", "properties": {}},
        "cache_control": {"type": "ephemeral"},
    }


def test_some_tools_may_be_called() -> None:
    """Anthropic allows all that it is told of, so it is told of no others."""
    custom = {"type": "custom", "custom": {"name": "g"}}
    unknown = {"type": "other"}
    allowed = {"mode": "required", "tools": [custom, unknown]}
    body = chat(tools=[TOOL, custom], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    made = json.loads(sent(Dialect.OPENAI, Dialect.ANTHROPIC, body, "claude-sonnet-4-6").body)
    assert [tool["name"] for tool in made["tools"]] == ["g"]
    assert made["tool_choice"] == {"type": "any"}


def outs(request: Request, model: str = "claude-sonnet-4-6") -> tuple[dict[str, Any], set[str]]:
    body, losses = TRANSLATORS[Dialect.ANTHROPIC].request_out(request, model, None, stream=False)
    return json.loads(body), {loss.field for loss in losses}


def test_the_rest_of_what_anthropic_is_told() -> None:
    request = Request(
        model="",
        messages=[
            Message(Role.USER, [Text("a"), ToolResult("t", [Text("r")])]),
            Message(Role.ASSISTANT, [Text(" "), ToolCall("t2", "f", "{}")]),
            Message(Role.USER, [ToolResult("t2", [])]),
        ],
        stop=[" ", "END"],
        tools=[Tool("f", strict=True, schema=carriers.FREEFORM_SCHEMA), Tool("g", strict=True)],
    )
    made, lost = outs(request)
    assert [block["type"] for block in made["messages"][0]["content"]] == ["tool_result", "text"]
    assert made["messages"][1]["content"] == [{"type": "tool_use", "id": "t2", "name": "f", "input": {}}]
    assert made["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "t2"}]
    assert made["stop_sequences"] == ["END"]
    assert [tool.get("strict") for tool in made["tools"]] == [True, None]
    assert lost == {"stop", "tools[].function.strict"}


@pytest.mark.parametrize(
    ("model", "stop", "fatal"), [("o3", ["END"], True), ("gpt-4o", list("abcde"), True), ("gpt-4o", ["END"], False)]
)
def test_stop_sequences(model: str, stop: list[str], fatal: bool) -> None:
    request = Request(model="", messages=[], stop=stop)
    _, losses = TRANSLATORS[Dialect.OPENAI].request_out(request, model, None, stream=False)
    assert any(loss.fatal for loss in losses) == fatal


@pytest.mark.parametrize(
    ("role", "part", "lost", "fatal"),
    [
        (Role.ASSISTANT, Text("x", "5m"), "messages[].content[].cache_control", False),
        (Role.ASSISTANT, ToolCall("i", "f", "{}", cache="5m"), "messages[].content[].cache_control", False),
        (Role.USER, ToolResult("i", [], cache="5m"), "messages[].content[].cache_control", False),
        (Role.ASSISTANT, Image(url="u"), "messages[].content[]", True),
        (Role.USER, ToolCall("i", "f", "{}"), "messages[].content[]", True),
        (Role.USER, Audio("d", "audio/mpeg"), "", False),
    ],
)
def test_parts_in_odd_places_of_chat(role: Role, part: Part, lost: str, fatal: bool) -> None:
    request = Request(model="", messages=[Message(role, [part])])
    _, losses = TRANSLATORS[Dialect.OPENAI].request_out(request, "m", None, stream=False)
    assert [(loss.field, loss.fatal) for loss in losses] == ([(lost, fatal)] if lost else [])


def test_thoughts_of_a_chat_provider_come_back_to_it() -> None:
    said: list[Part] = [
        Thinking("a", Signature(Dialect.OPENAI, "s")),
        Thinking("b", Signature(Dialect.OPENAI, "")),
        Text("Hi."),
    ]
    request = Request(model="", messages=[Message(Role.ASSISTANT, said)])
    body, losses = TRANSLATORS[Dialect.OPENAI].request_out(request, "deepseek-v4", None, stream=False)
    assert not losses
    (message,) = json.loads(body)["messages"]
    assert message["reasoning_content"] == "ab"
    assert message["reasoning_details"][0]["signature"] == "s"


@pytest.mark.parametrize("dialect", [Dialect.OPENAI, Dialect.ANTHROPIC])
@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"{}", b'{"choices":[]}', b"[" * 5000])
def test_what_is_no_answer(dialect: Dialect, body: bytes) -> None:
    with pytest.raises(ValueError, match="no "):
        TRANSLATORS[dialect].reply_in(body)


def test_odd_answers_of_chat_servers() -> None:
    message = {
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "g", "input": "x"}}],
        "function_call": {"name": "f", "arguments": "{}"},
        "audio": {"id": "a"},
    }
    reply = TRANSLATORS[Dialect.OPENAI].reply_in(dumped({"choices": [{"message": message, "finish_reason": "stop"}]}))
    assert reply.parts == [Text("ab"), ToolCall("c", "g", "x", freeform=True), ToolCall("", "f", "{}")]
    assert reply.stop is StopReason.TOOLS
    assert [loss.field for loss in reply.losses] == ["choices[].message.audio"]


def test_an_answer_that_is_not_quite_one() -> None:
    body = dumped({"id": 5, "content": [{"type": "text", "text": "a"}], "stop_reason": "new", "usage": {}})
    reply = TRANSLATORS[Dialect.ANTHROPIC].reply_in(body)
    assert (reply.parts, reply.stop, reply.usage) == ([Text("a")], StopReason.END, None)


@pytest.mark.parametrize("dialect", [Dialect.OPENAI, Dialect.ANTHROPIC])
def test_only_what_an_answer_can_say_is_said(dialect: Dialect) -> None:
    reply = Reply(id="", model="", parts=[Image(url="u"), ToolCall("", "g", "x", freeform=True)], stop=StopReason.TOOLS)
    own = TRANSLATORS[dialect]
    again = own.reply_in(own.reply_out(reply, "m"))
    (call,) = again.parts
    assert isinstance(call, ToolCall)
    assert (call.arguments if call.freeform else carriers.unwrap(call.arguments)) == "x"


def test_streams_that_say_odd_things() -> None:
    out = TRANSLATORS[Dialect.OPENAI].stream_out("m", Asked(wants_usage=False))
    refused: list[Event] = [Start("", ""), RefusalDelta("No."), PartEnd(), Stop(StopReason.FILTER)]
    said = b"".join(map(out.say, refused))
    assert b'"refusal":"No."' in said
    assert b'"usage"' not in said
    assert out.finish() == event(b"[DONE]")
    assert out.finish() == out.failure("x", "y") == b""
    out = TRANSLATORS[Dialect.ANTHROPIC].stream_out("m")
    events: list[Event] = [
        Start("", ""),
        Signed(Signature(Dialect.GEMINI, "s"), redacted=True),
        PartEnd(),
        ToolStart("", "g", freeform=True),
        ToolDelta("x"),
        PartEnd(),
    ]
    said = b"".join(map(out.say, events)) + out.failure("Too much", "rate_limit_error")
    assert b'{"type":"redacted_thinking","data":"upshift.gemini.s"}' in said
    assert b'"partial_json":"{\\"input\\":\\"x\\"}"' in said
    assert b'"type":"rate_limit_error"' in said
    assert TRANSLATORS[Dialect.ANTHROPIC].stream_out("m").finish() == b""


def test_a_message_stream_with_all_of_a_block_at_its_start() -> None:
    def said(**fields: Any) -> bytes:
        return event(dumped(fields))

    blocks: list[dict[str, Any]] = [
        {"type": "text", "text": "a"},
        {"type": "thinking", "thinking": "b", "signature": "c"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
    ]
    stream = b"".join(said(type="content_block_start", index=n, content_block=block) for n, block in enumerate(blocks))
    stream += said(type="content_block_delta", index=2, delta={"type": "citations_delta"})
    stream += said(type="message_delta", delta={"stop_reason": "tool_use"}, usage=[]) + b"data: 5\n\n"
    reader = TRANSLATORS[Dialect.ANTHROPIC].stream_in()
    events = reader.feed(stream) + reader.feed(said(type="content_block_start", content_block=blocks[0]))
    reply, fault = gathered(events + reader.feed(b'data: {"type":"ping"}') + reader.finish())
    assert not fault
    assert reply.parts == [
        Text("a"),
        Thinking("b", Signature(Dialect.ANTHROPIC, "c")),
        ToolCall("t", "f", '{"x":1}'),
    ]
    assert [loss.field for loss in reader.losses] == ["content[].citations"]


def test_a_stream_tells_what_it_lost() -> None:
    stream = Translation(Dialect.ANTHROPIC, Dialect.OPENAI).stream("alias", Asked())
    delta = {"content": "It rains.", "annotations": [{"type": "url_citation"}]}
    stream.feed(b"data: " + dumped({"choices": [{"index": 0, "delta": delta}]}))
    stream.finish()
    assert [loss.field for loss in stream.losses] == ["choices[].delta.annotations"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"Too big","type":"x"}}', "Too big"),
        (b'{"type":"error","error":{"type":"x","message":"Too big"}}', "Too big"),
        (b'[{"error":{"message":"Too big"}}]', "Too big"),
        (b'{"error":"Too big"}', "Too big"),
        (b'{"message":"Too big"}', "Too big"),
        (b"Too big", "Too big"),
        (b"[]", "the provider answered 400"),
        (b"[" * 5000, "[["),
    ],
)
def test_errors(body: bytes, message: str) -> None:
    found = json.loads(Translation(Dialect.ANTHROPIC, Dialect.OPENAI).error(400, body, "req_1"))
    assert message in found["error"]["message"]
    assert found["error"]["type"] == "invalid_request_error"
    assert found["request_id"] == "req_1"


@pytest.mark.parametrize("name", ["f", "a" * 64, "a" * 65, "a.b", "a b", "", "é" * 70, "\ud800"])
def test_names_that_fit(name: str) -> None:
    found = carriers.fitted(name, 64)
    assert found == carriers.fitted(name, 64)
    assert 0 < len(found) <= 64
    assert found.isascii()
    assert (found == name) == (name in {"f", "a" * 64})
    assert found != carriers.fitted(name + "!", 64)


@pytest.mark.parametrize("of", list(Dialect))
@pytest.mark.parametrize("own", list(Dialect))
def test_signatures_travel(of: Dialect, own: Dialect) -> None:
    signature = Signature(of, "a.b.c")
    assert carriers.unseal(carriers.seal(signature, own), own) == signature
    assert carriers.unseal("upshift.nobody.x", own) == Signature(own, "upshift.nobody.x")


@pytest.mark.parametrize(
    ("text", "free"), [('{"input":"x"}', "x"), ("{}", "{}"), ("x", "x"), ('{"input":5}', '{"input":5}')]
)
def test_free_text(text: str, free: str) -> None:
    assert carriers.unwrap(text) == free
    assert carriers.unwrap(carriers.wrap(text)) == text


@pytest.mark.parametrize(
    ("schema", "closed"),
    [
        (CLOSED, True),
        (SCHEMA, False),
        (CLOSED | {"required": []}, False),
        (CLOSED | {"required": "city"}, False),
        ({"type": "object"}, False),
        ({"anyOf": [CLOSED, {"type": "string"}]}, True),
        ({"anyOf": [CLOSED, {"properties": {}}]}, False),
    ],
)
def test_closed_schemas(schema: dict[str, Any], closed: bool) -> None:
    assert carriers.closed(msgspec.Raw(dumped(schema))) == closed
    assert not carriers.closed(msgspec.Raw(b"{"))


@pytest.mark.parametrize(("budget", "effort"), [(0, "none"), (1024, "low"), (8192, "medium"), (31999, "high")])
def test_budgets_as_efforts(budget: int, effort: str) -> None:
    assert families.effort_of(budget) == effort


@pytest.mark.parametrize(
    ("model", "sampling", "adaptive", "later"),
    [
        ("claude-3-5-sonnet-20241022", True, False, False),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", True, False, False),
        ("claude-opus-4-20250514", True, False, False),
        ("claude-opus-4-6", True, True, False),
        ("us.anthropic.claude-opus-4-7", False, True, False),
        ("claude-opus-4-8-20260528", False, True, True),
        ("claude-fable-5", False, True, True),
        ("claude-mythos-preview", False, True, True),
        ("claude-sonnet-latest", False, True, True),
        ("MiniMax-M3", True, False, False),
    ],
)
def test_claudes_by_name(model: str, sampling: bool, adaptive: bool, later: bool) -> None:
    found = families.claude(model)
    assert (found.sampling, found.adaptive, found.system_later) == (sampling, adaptive, later)


@pytest.mark.parametrize(
    ("model", "sampling", "best"),
    [
        ("gpt-4o-mini", True, None),
        ("gpt-4.1", True, None),
        ("openai/gpt-5", False, "high"),
        ("gpt-5.2-codex", False, "xhigh"),
        ("gpt-6.1-sol", False, "max"),
        ("o4-mini", False, "high"),
        ("ft:gpt-4o-mini:acme", True, None),
        ("qwen3-coder", True, "high"),
        ("gpt-oss:120b", True, "high"),
    ],
)
def test_gpts_by_name(model: str, sampling: bool, best: str | None) -> None:
    found = families.gpt(model)
    assert (found.sampling, families.nearest("max", found.efforts)) == (sampling, best)


def test_usage_is_said_by_each_dialects_own_count() -> None:
    usage = Usage(input=2000, cached=1500, cache_write_5m=100, cache_write_1h=200, output=50, reasoning=20)
    reply = Reply(id="", model="", parts=[Text("x")], stop=StopReason.END, usage=usage)
    chat_usage = json.loads(TRANSLATORS[Dialect.OPENAI].reply_out(reply, "m"))["usage"]
    assert chat_usage == {
        "prompt_tokens": 2000,
        "completion_tokens": 50,
        "total_tokens": 2050,
        "prompt_tokens_details": {"cached_tokens": 1500, "cache_write_tokens": 300},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    messages_usage = json.loads(TRANSLATORS[Dialect.ANTHROPIC].reply_out(reply, "m"))["usage"]
    assert messages_usage == {
        "input_tokens": 200,
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 1500,
        "output_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens_details": {"thinking_tokens": 20},
    }


@pytest.mark.parametrize("wrong", [[{}], [["city"]], {"a": 1}, "city"])
def test_a_schema_that_requires_no_names_is_not_strict(wrong: object) -> None:
    shape = {"type": "object", "properties": {"city": {}}, "required": wrong, "additionalProperties": False}
    assert not carriers.closed(msgspec.Raw(dumped(shape)))
    assert carriers.closed(msgspec.Raw(dumped(shape | {"required": ["city"]})))


def test_a_format_of_thoughts_that_is_no_name_stays_where_it_is() -> None:
    details = [{"type": "reasoning.text", "text": "Hm.", "format": ["anthropic-claude-v1"]}]
    body = dumped(chat(messages=assistant(reasoning_details=details)))
    assert json.loads(without_foreign(Dialect.OPENAI, body)) == json.loads(body)


def test_a_tool_gives_back_no_calls() -> None:
    call = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [call]}]},
    ]
    understood = understand(Dialect.ANTHROPIC, dumped(messages(messages=turns)))
    for provider in TRANSLATORS:
        with pytest.raises(Refused):
            Translation(Dialect.ANTHROPIC, provider).request(understood, "m", 100)
