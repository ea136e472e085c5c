"""Do requests, answers and streams of OpenAI Responses survive the way into our words and back?"""

import json
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response
from tests.traffic.wire.responses_vectors import (
    ANSWER,
    BODY,
    LITE,
    SPARSE,
    STREAMS,
    TEXT,
    TEXT_EVENTS,
    TOOL_EVENTS,
    TOOLS,
    USAGE,
    USED,
    custom,
    events,
    function,
    message,
    reasoning,
    response,
)
from tests.traffic.wire.vectors import dumps

from upshift.model.refusal import BadRequest, Refused
from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.openai_responses import OpenAIResponses
from upshift.traffic.translate.translate import Translation, understand
from upshift.traffic.translate.words import (
    Asked,
    Audio,
    Event,
    Fault,
    File,
    Format,
    Image,
    Loss,
    Message,
    PartEnd,
    Reasoning,
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
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolChoice,
    ToolDelta,
    ToolResult,
    ToolStart,
    UsageSeen,
)

OWN = OpenAIResponses()
SEALED = Signature(Dialect.RESPONSES, "gAAAA")
SCHEMA = msgspec.Raw(b'{"type":"object","properties":{"city":{"type":"string"}}}')
SHELL = Tool("crm__shell", "?", freeform=True, namespace="crm", inner="shell")


def _in(**change: Any) -> tuple[Request, list[Loss]]:
    return OWN.request_in(dumps(BODY | change))


def _lost(losses: list[Loss]) -> dict[str, bool]:
    return {loss.field: loss.fatal for loss in losses}


def test_what_codex_sends_in_our_words() -> None:
    request, losses = OWN.request_in(dumps(BODY))
    assert _lost(losses) == {"client_metadata": False}
    system, user, assistant, result = request.messages
    assert system == Message(Role.SYSTEM, [Text("You are a coding agent.")])
    assert user.parts[0] == Text("Grüezi 😀")
    assert isinstance(user.parts[1], Image)
    assert user.parts[1].media_type == "image/png"
    assert assistant == Message(
        Role.ASSISTANT,
        [
            Thinking("", SEALED, redacted=True),
            ToolCall("call_1", "exec_command", '{"cmd":"ls"}'),
        ],
    )
    assert result == Message(Role.USER, [ToolResult("call_1", [Text("a.txt")], name="exec_command")])
    assert (request.max_output, request.parallel, request.stream) == (500, False, True)
    assert (request.reasoning, request.tool_choice) == (Reasoning(effort="medium", shown=True), ToolChoice("auto"))
    assert request.cache_key == "019a-session"
    assert request.tools == [Tool("exec_command", schema=msgspec.Raw(b'{"type":"object"}'), strict=False)]


def test_what_codex_sends_to_its_own_models() -> None:
    body = LITE | {
        "input": [
            {
                "type": "additional_tools",
                "role": "developer",
                "tools": [
                    {
                        "type": "namespace",
                        "name": "crm",
                        "tools": [{"type": "custom", "name": "shell", "description": "?"}],
                    }
                ],
            },
            *LITE["input"][1:],
        ]
    }
    request, losses = OWN.request_in(dumps(body))
    assert request.tools == [SHELL]
    assert request.reasoning == Reasoning(effort="low")
    assert request.messages == [Message(Role.USER, [Text("Hi")])]
    assert _lost(losses) == {"reasoning.context": False}


REQUEST = Request(
    model="m",
    messages=[
        Message(Role.SYSTEM, [Text("Be brief.")]),
        Message(Role.DEVELOPER, [Text("Very.")]),
        Message(
            Role.USER,
            [
                Text("look"),
                Image(url="https://example.org/a.png", detail="high"),
                Image(media_type="image/png", data="AAAA", detail="auto"),
                File(name="a.pdf", media_type="application/pdf", data="BBBB"),
                File(url="https://example.org/a.pdf"),
                Audio("CCCC", "audio/wav"),
            ],
        ),
        Message(
            Role.ASSISTANT,
            [
                Thinking("hm", SEALED),
                Text("let me see"),
                ToolCall("call_1", "weather", '{"city":"Bern"}'),
                ToolCall("call_2", "shell", "ls", freeform=True),
            ],
        ),
        Message(
            Role.USER,
            [
                ToolResult("call_1", [Text("sunny")], name="weather"),
                ToolResult(
                    "call_2",
                    [Text("a"), Image(media_type="image/png", data="AAAA", detail="auto")],
                    name="shell",
                    freeform=True,
                ),
            ],
        ),
        Message(Role.ASSISTANT, [Refusal("no")]),
        Message(Role.USER, [Text("Go on")]),
    ],
    stream=True,
    tools=[
        Tool("weather", "?", SCHEMA, strict=True),
        Tool(
            "shell",
            "?",
            freeform=True,
            grammar=msgspec.Raw(b'{"type":"grammar","syntax":"lark","definition":"start: WORD"}'),
        ),
    ],
    tool_choice=ToolChoice("any", ("weather", "shell")),
    parallel=True,
    format=Format("schema", SCHEMA, "answer", "?", strict=False),
    reasoning=Reasoning(effort="high", shown=True),
    max_output=500,
    user="alice",
    cache_key="k",
    service_tier="flex",
    verbosity="low",
)


def test_a_request_there_and_back() -> None:
    body, losses = OWN.request_out(REQUEST, "gpt-5", None, stream=True)
    assert losses == []
    back, more = OWN.request_in(body)
    assert more == []
    assert back == msgspec.structs.replace(REQUEST, model="gpt-5")
    assert json.loads(body)["store"] is False
    assert json.loads(body)["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize("choice", [ToolChoice("named", ("shell",)), ToolChoice("none"), ToolChoice("any")])
def test_choices_of_tools_there_and_back(choice: ToolChoice) -> None:
    request = msgspec.structs.replace(REQUEST, tool_choice=choice)
    assert OWN.request_in(OWN.request_out(request, "gpt-5", None, stream=False)[0])[0].tool_choice == choice


def test_the_smaller_bound_counts_and_none_is_too_small_for_openai() -> None:
    for own, given_bound, told in ((500, 100, 100), (500, None, 500), (None, 100, 100), (None, None, None), (1, 9, 16)):
        request = msgspec.structs.replace(REQUEST, max_output=own)
        body, losses = OWN.request_out(request, "gpt-5", given_bound, stream=False)
        assert json.loads(body).get("max_output_tokens") == told
        assert bool(losses) == (own == 1)


@pytest.mark.parametrize(
    ("change", "field", "fatal"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", True),
        ({"conversation": "conv_1"}, "conversation", True),
        ({"prompt": {"id": "p"}}, "prompt", True),
        ({"top_logprobs": 3}, "top_logprobs", True),
        ({"include": ["message.output_text.logprobs"]}, "include", True),
        ({"include": ["file_search_call.results"]}, "include", False),
        ({"moderation": {"model": "m"}}, "moderation", True),
        ({"store": True}, "store", False),
        ({"truncation": "auto"}, "truncation", False),
        ({"metadata": {"a": "b"}}, "metadata", False),
        ({"max_tool_calls": 3}, "max_tool_calls", False),
        ({"service_tier": "odd"}, "service_tier", False),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode", False),
        ({"brand_new": 1}, "brand_new", False),
        ({"tools": [{"type": "web_search"}]}, "tools[].web_search", False),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[].mcp", True),
        ({"tools": [{"type": "function", "name": "f", "brand_new": 1}]}, "tools[].brand_new", False),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice", True),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[].item_reference", True),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[].compaction", True),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[].web_search_call", False),
        (
            {"input": [{"role": "user", "content": "x", "internal_chat_message_metadata_passthrough": {}}]},
            "input[].internal_chat_message_metadata_passthrough",
            False,
        ),
        ({"input": [{"role": "assistant", "content": "x", "phase": "commentary"}]}, "input[].phase", False),
        ({"input": [{"role": "user", "content": [{"type": "odd"}]}]}, "input[].content[].odd", True),
        ({"background": True}, "background", True),
        ({"tools": [{"type": "function", "name": "f", "defer_loading": True}]}, "tools[].defer_loading", False),
        (
            {"tools": [{"type": "namespace", "name": "n", "description": "?", "tools": []}]},
            "tools[].description",
            False,
        ),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "shell"}]}]}, "tools[].shell", True),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "u", "detail": "low"}]}]},
            "input[].content[].detail",
            False,
        ),
        (
            {"input": [{"role": "assistant", "content": [{"type": "output_text", "annotations": [{}]}]}]},
            "input[].content[].annotations",
            False,
        ),
        (
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "prompt_cache_breakpoint": {"ttl": "12h"}}]}
                ]
            },
            "input[].content[].prompt_cache_breakpoint.ttl",
            False,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_carried_is_said(change: dict[str, Any], field: str, fatal: bool) -> None:
    assert _lost(_in(**change)[1]) == {"client_metadata": False, field: fatal}
    assert _in(**{name: None for name in change if name not in {"input", "tools"}})[1]


@pytest.mark.parametrize(
    ("change", "model", "field", "fatal"),
    [
        ({"stop": ["x"]}, "gpt-5", "stop", True),
        ({"temperature": 0.3}, "gpt-5", "temperature", False),
        ({"top_k": 3}, "local", "top_k", False),
        ({"seed": 3}, "local", "seed", False),
        ({"frequency_penalty": 1.0}, "local", "frequency_penalty", False),
        ({"reasoning": Reasoning(budget=5000)}, "gpt-5", "thinking.budget_tokens", False),
        ({"reasoning": Reasoning(effort="max")}, "gpt-5", "reasoning.effort", False),
        ({"reasoning": Reasoning(effort="high")}, "gpt-4o", "reasoning.effort", False),
        ({"cache": "5m"}, "gpt-5", "cache_control", False),
        ({"tools": [Tool("f", cache="5m")]}, "gpt-5", "tools[].cache_control", False),
        (
            {"messages": [Message(Role.USER, [File(text="plain", name="a.txt")])]},
            "gpt-5",
            "messages[].content[].source",
            False,
        ),
        (
            {"messages": [Message(Role.USER, [File(file_id="f")])]},
            "gpt-5",
            "messages[].content[].source.file_id",
            True,
        ),
        (
            {"messages": [Message(Role.ASSISTANT, [Thinking("x", Signature(Dialect.ANTHROPIC, "s"))])]},
            "gpt-5",
            "messages[].content[].thinking",
            False,
        ),
        (
            {"messages": [Message(Role.USER, [ToolResult("c", [Text("boom")], is_error=True)])]},
            "gpt-5",
            "messages[].content[].is_error",
            False,
        ),
        ({"messages": [Message(Role.USER, [Text("x", "1h")])]}, "gpt-5", "messages[].content[].cache_control", False),
        (
            {"messages": [Message(Role.USER, [Image(file_id="f")])]},
            "gpt-5",
            "messages[].content[].source.file_id",
            True,
        ),
        ({"messages": [Message(Role.ASSISTANT, [Image(url="x")])]}, "gpt-5", "messages[].content[]", True),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_this_dialect_cannot_say(change: dict[str, Any], model: str, field: str, fatal: bool) -> None:
    request = msgspec.structs.replace(REQUEST, **change)
    assert _lost(OWN.request_out(request, model, None, stream=False)[1]) == {field: fatal}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"reasoning": {"effort": "odd"}}, "reasoning.effort"),
        ({"tool_choice": "odd"}, "tool_choice"),
        ({"text": {"format": {"type": "odd"}}}, "text.format.type"),
        ({"input": [{"role": "odd", "content": "x"}]}, "input[0].role"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "refusal"}]}]},
            "input[0].output",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_openai_would_refuse_too(change: dict[str, Any], where: str) -> None:
    with pytest.raises(Refused) as caught:
        _in(**change)
    assert isinstance(caught.value.reason, BadRequest)
    assert caught.value.reason.where == where


def test_small_things_of_a_request() -> None:
    assert _in(input="Hi", instructions=None)[0].messages == [Message(Role.USER, [Text("Hi")])]
    assert _in(text={"format": {"type": "json_object"}, "verbosity": "low"})[0].format == Format("json")
    assert _in(text={"format": {"type": "text"}})[0].format is None
    assert OWN.tool_name("a.b") == OWN.tool_name("a.b") != "a.b"
    tools = [{"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "find"}]}]
    for choice in ({"type": "function", "name": "find"}, {"type": "function", "name": "find", "namespace": "crm"}):
        assert _in(tools=tools, tool_choice=choice)[0].tool_choice == ToolChoice("named", ("crm__find",))
    items = [{"role": "user", "content": [{"type": "input_text", "text": "x", "prompt_cache_breakpoint": {}}]}]
    assert _in(input=items)[0].messages[-1].parts == [Text("x", "5m")]


def test_small_things_of_a_request_to_openai() -> None:
    request = Request(
        model="m",
        messages=[Message(Role.USER, [ToolResult("c", [], is_error=True)])],
        tools=[Tool("shell", freeform=True, grammar=msgspec.Raw(b"5"))],
        tool_choice=ToolChoice("auto"),
        format=Format("json"),
        temperature=0.5,
        reasoning=Reasoning(effort="none"),
    )
    told = json.loads(OWN.request_out(request, "gpt-5.1", None, stream=False)[0])
    assert told["input"] == [{"type": "function_call_output", "call_id": "c", "output": "Error"}]
    assert told["tools"] == [{"type": "custom", "name": "shell"}]
    assert (told["text"], told["temperature"]) == ({"format": {"type": "json_object"}}, 0.5)
    grammar = b'{"type":"grammar","grammar":{"syntax":"regex","definition":"a+"}}'
    request.tools = [Tool("shell", freeform=True, grammar=msgspec.Raw(grammar))]
    told = json.loads(OWN.request_out(request, "gpt-5.1", None, stream=False)[0])
    assert told["tools"][0]["format"] == {"type": "grammar", "syntax": "regex", "definition": "a+"}


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "output", "tools", "image_url", "name", "format", "summary"]),
            inner | st.sampled_from(["message", "function", "namespace", "reasoning", "user", "input_text"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(BODY)) | st.text(max_size=4), JSON, max_size=5), JSON)
def test_any_body_is_read_or_refused(change: dict[str, Any], item: Any) -> None:
    for body in (BODY | change, BODY | {"input": [item]}, BODY | {"tools": [item]}, item):
        try:
            request, _ = OWN.request_in(dumps(body))
        except Refused:
            continue
        OWN.request_out(request, "gpt-5", None, stream=False)


def test_an_answer_there_and_back() -> None:
    reply = OWN.reply_in(ANSWER)
    assert reply == Reply(
        id="resp_1",
        model="gpt-5-2025-08-07",
        parts=[
            Thinking("hm hm", SEALED),
            Text("Héllo 😀"),
            ToolCall("call_1", "weather", '{"city":"Bern"}'),
            ToolCall("call_2", "weather", "{}"),
            ToolCall("call_9", "exec", "ls -l", freeform=True),
        ],
        stop=StopReason.TOOLS,
        usage=USED,
        created=1763700000,
    )
    again = OWN.reply_out(reply, reply.model)
    assert OWN.reply_in(again) == reply
    assert Response.model_validate(json.loads(again)).output_text == "Héllo 😀"


@pytest.mark.parametrize(
    ("stop", "parts", "status", "why"),
    [
        (StopReason.END, [Text("x")], "completed", None),
        (StopReason.LENGTH, [Text("x")], "incomplete", "max_output_tokens"),
        (StopReason.CONTEXT, [], "incomplete", "max_output_tokens"),
        (StopReason.FILTER, [Text("x")], "incomplete", "content_filter"),
        (StopReason.FILTER, [Refusal("no")], "completed", None),
        (StopReason.TOOLS, [ToolCall("c", "f", "")], "completed", None),
    ],
)
def test_why_an_answer_ended(stop: StopReason, parts: list[Any], status: str, why: str | None) -> None:
    said = json.loads(OWN.reply_out(Reply(id="r", model="m", parts=parts, stop=stop), "m"))
    assert (said["status"], (said["incomplete_details"] or {}).get("reason")) == (status, why)
    back = OWN.reply_in(dumps(said)).stop
    assert back is (StopReason.LENGTH if stop is StopReason.CONTEXT else stop)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", dumps(response("failed", [], error={"code": "server_error", "message": "boom"}))]
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"no response|boom"):
        OWN.reply_in(body)


def test_what_of_an_answer_has_no_word() -> None:
    cited = message("x")
    cited["content"][0]["annotations"] = [{"type": "url_citation"}]
    reply = OWN.reply_in(dumps(response("completed", [{"type": "web_search_call", "id": "ws"}, cited])))
    assert _lost(reply.losses) == {"output[].web_search_call": False, "output[].content[].annotations": False}


@given(JSON)
def test_any_answer_is_read_or_none(value: Any) -> None:
    for body in (value, {"output": value}, {"output": [value]}, {"output": [{"content": value}]}):
        try:
            OWN.reply_in(dumps(body))
        except ValueError:
            continue


def _heard(*chunks: bytes) -> list[Event]:
    stream = OWN.stream_in()
    return [event for chunk in chunks for event in stream.feed(chunk)] + stream.finish()


def test_the_events_of_a_text() -> None:
    assert _heard(TEXT) == [
        Start("resp_1", "gpt-5-2025-08-07", created=1763700000),
        ThinkingDelta("hm "),
        ThinkingDelta("hm"),
        Signed(SEALED),
        PartEnd(),
        TextDelta("Hé"),
        TextDelta("llo 😀"),
        PartEnd(),
        UsageSeen(USED),
        Stop(StopReason.END),
    ]


TOOLS_HEARD: list[Event] = [
    Start("resp_1", "gpt-5-2025-08-07", created=1763700000),
    ToolStart("call_1", "weather"),
    ToolDelta('{"city":'),
    ToolDelta('"Bern"}'),
    PartEnd(),
    ToolStart("call_2", "weather"),
    ToolDelta("{}"),
    PartEnd(),
    ToolStart("call_9", "exec", freeform=True),
    ToolDelta("ls "),
    ToolDelta("-l"),
    PartEnd(),
    UsageSeen(USED),
    Stop(StopReason.TOOLS),
]


def test_the_events_of_calls() -> None:
    assert _heard(TOOLS) == TOOLS_HEARD


def test_calls_that_are_streamed_at_once_come_one_after_the_other() -> None:
    order = [0, 1, 2, 7, 3, 8, 4, 5, 9, 10, 6, 11, *range(12, len(TOOL_EVENTS))]
    assert _heard(events(*(TOOL_EVENTS[at] for at in order))) == TOOLS_HEARD


def test_a_stream_without_deltas() -> None:
    assert _heard(SPARSE)[1:] == [TextDelta("Hi"), PartEnd(), UsageSeen(USED), Stop(StopReason.END)]
    items = [reasoning("hm"), function("{}"), custom("ls")]
    done = [
        {"type": "response.output_item.done", "output_index": index, "item": item} for index, item in enumerate(items)
    ]
    last = {"type": "response.completed", "response": response("completed", items, USAGE)}
    told: list[Event] = [
        ThinkingDelta("hm"),
        Signed(SEALED),
        PartEnd(),
        ToolStart("call_1", "weather"),
        ToolDelta("{}"),
        PartEnd(),
        ToolStart("call_9", "exec", freeform=True),
        ToolDelta("ls"),
        PartEnd(),
        UsageSeen(USED),
        Stop(StopReason.TOOLS),
    ]
    assert _heard(events(*done, last))[1:] == told
    assert _heard(events(last))[1:] == told


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (b"", [Fault("the provider ended the stream before it began")]),
        (
            events({"type": "error", "code": "rate_limit_exceeded", "message": "boom"}),
            [Fault("boom", "rate_limit_exceeded")],
        ),
        (
            events(
                {
                    "type": "response.failed",
                    "response": response("failed", [], USAGE, error={"code": "server_error", "message": "boom"}),
                }
            ),
            [UsageSeen(USED), Fault("boom", "server_error")],
        ),
        (events(*TEXT_EVENTS[:-1]), [PartEnd(), Stop(StopReason.END)]),
        (events(*TOOL_EVENTS[:4]), [ToolDelta('{"city":'), PartEnd(), Stop(StopReason.LENGTH)]),
        (
            events({"type": "response.refusal.delta", "delta": "no"}),
            [Start("", ""), RefusalDelta("no"), PartEnd(), Stop(StopReason.FILTER)],
        ),
        (
            events({"type": "response.incomplete", "response": response("incomplete", [])}),
            [Start("resp_1", "gpt-5-2025-08-07", created=1763700000), Stop(StopReason.LENGTH)],
        ),
    ],
)
def test_how_streams_end(stream: bytes, told: list[Event]) -> None:
    assert _heard(stream)[-len(told) :] == told


def test_odd_streams_of_one_item() -> None:
    said = _heard(
        events(
            {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": "a"},
            {"type": "response.reasoning_summary_text.delta", "summary_index": 1, "delta": "b"},
            {"type": "response.output_text.delta", "delta": "c"},
            {"type": "response.output_item.done", "item": reasoning("ab")},
            {"type": "response.output_text.delta", "delta": "late"},
            {"type": "response.output_item.done", "item": reasoning("again")},
            {"type": "response.custom_tool_call_input.delta", "output_index": 1, "delta": "nobody's"},
        )
    )
    assert said[1:-1] == [
        ThinkingDelta("a"),
        ThinkingDelta("\n\n"),
        ThinkingDelta("b"),
        PartEnd(),
        TextDelta("c"),
        PartEnd(),
    ]
    refused = message("")
    refused["content"] = [{"type": "refusal", "refusal": "no"}]
    last = {"type": "response.completed", "response": response("completed", [refused])}
    assert _heard(events(last))[1:] == [RefusalDelta("no"), PartEnd(), Stop(StopReason.FILTER)]
    opened = function("", status="in_progress")
    assert _heard(
        events(
            {"type": "response.output_item.added", "item": opened},
            {"type": "response.output_text.delta", "delta": "odd"},
            {"type": "response.output_item.done", "item": function("{}")},
        )
    )[1:-1] == [ToolStart("call_1", "weather"), ToolDelta("{}"), PartEnd()]
    assert _heard(TEXT[:-2])[-1] == Stop(StopReason.END)


def test_a_refusal_is_streamed_as_one() -> None:
    said = OWN.stream_out("m")
    heard: list[Event] = [RefusalDelta("n"), RefusalDelta("o"), ToolDelta("nobody's"), Stop(StopReason.FILTER)]
    last = _told(b"".join(map(said.say, heard)) + said.finish())[-1]
    assert last.response.status == "completed"
    assert last.response.output[0].content[0].refusal == "no"
    assert said.say(TextDelta("late")) == b""
    broken = OWN.stream_out("m")
    assert _told(broken.say(Fault("boom", "rate_limit_exceeded")))[-1].response.error.code == "rate_limit_exceeded"


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_splitting_changes_nothing(stream: bytes) -> None:
    whole = _heard(stream)
    assert _heard(*(stream[at : at + 1] for at in range(len(stream)))) == whole
    for at in range(0, len(stream), 3):
        assert _heard(stream[:at], stream[at:]) == whole


_ANY_EVENT: Any = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted({each["type"] for each in [*TEXT_EVENTS, *TOOL_EVENTS, {"type": "error"}]}))},
    optional={
        name: JSON | st.integers(0, 2) | st.text(max_size=3)
        for name in ("output_index", "content_index", "delta", "item", "part", "response", "error")
    },
)
_ITEM: Any = st.builds(
    lambda kind, index, item, delta: {"type": kind, "output_index": index, "item": item, "delta": delta},
    st.sampled_from(sorted({each["type"] for each in [*TEXT_EVENTS, *TOOL_EVENTS]} - {"response.completed"})),
    st.integers(0, 2),
    st.sampled_from([reasoning("hm"), message("x"), function("{}"), custom("y")]),
    st.text(max_size=2),
)


@given(st.lists(_ANY_EVENT | _ITEM | JSON, max_size=12))
def test_any_stream_is_heard_in_order(given_events: list[Any]) -> None:
    """Parts never interleave, whatever came; what is heard can be said, and is then heard again."""
    heard = _heard(b"".join(b"data: " + dumps(each) + b"\n\n" for each in given_events))
    part: str | None = None
    for at, event in enumerate(heard):
        match event:
            case Start():
                assert at == 0
            case PartEnd():
                assert part
                part = None
            case TextDelta() | RefusalDelta() | ThinkingDelta() | Signed():
                kind = "thinking" if isinstance(event, ThinkingDelta | Signed) else type(event).__name__
                assert part in {None, kind}
                part = kind
            case ToolStart():
                assert part is None
                part = "call"
            case ToolDelta():
                assert part == "call"
            case Stop() | Fault():
                assert event is heard[-1]
                assert part is None or isinstance(event, Fault)
    said = OWN.stream_out("m")
    again = _heard(b"".join(map(said.say, heard)) + said.finish())
    assert [type(event) for event in again if isinstance(event, ToolStart | Signed | Fault)] == [
        type(event) for event in heard if isinstance(event, ToolStart | Signed | Fault)
    ]


def _client(stream: bytes) -> openai.OpenAI:
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=stream))
    return openai.OpenAI(
        api_key="k", base_url="http://127.0.0.1/v1", http_client=httpx2.Client(transport=transport), max_retries=0
    )


def _told(stream: bytes) -> list[Any]:
    """What the official client's helper, which checks the order of events, makes of a stream."""
    with _client(stream) as client, client.responses.stream(model="m", input="x") as heard:
        return list(heard)


@pytest.mark.parametrize("stream", [TEXT, TOOLS], ids=["text", "tools"])
def test_a_stream_there_and_back(stream: bytes) -> None:
    heard = _heard(stream)
    said = OWN.stream_out("gpt-5-2025-08-07")
    out = b"".join([said.say(event) for event in heard]) + said.finish()
    assert _heard(out) == heard
    told = _told(out)
    assert [event.sequence_number for event in told] == list(range(len(told)))
    raw = [json.loads(line[6:]) for line in out.decode().split("\n") if line.startswith("data: ")]
    done = [event["item"] for event in raw if event["type"] == "response.output_item.done"]
    assert told[-1].type == raw[-1]["type"] == "response.completed"
    assert raw[-1]["response"]["output"] == done
    assert told[-1].response.usage.total_tokens == USED.total
    assert said.finish() == said.length_stop({}) == said.failure("x", "y") == b""


@pytest.mark.parametrize("stream", [TEXT, TOOLS], ids=["text", "tools"])
def test_a_stream_can_be_stopped_after_any_event(stream: bytes) -> None:
    heard = _heard(stream)
    for count in range(len(heard)):
        said = OWN.stream_out("m")
        out = b"".join([said.say(event) for event in heard[:count]])
        told = _told(out + said.length_stop({"reason": "r"}, Usage(input=5, output=3)))
        last = told[-1]
        assert last.type == "response.incomplete"
        assert (last.response.usage.total_tokens, last.model_extra["upshift"]) == (8, {"reason": "r"})
        running = {
            item.call_id
            for item in last.response.output
            if getattr(item, "status", "") == "incomplete" and "call" in item.type
        }
        announced = {
            event.item.call_id
            for event in told
            if event.type == "response.output_item.done" and "call" in event.item.type
        }
        assert not running & announced
        failing = OWN.stream_out("m")
        out = b"".join([failing.say(event) for event in heard[:count]])
        failed = _told(out + failing.failure("gone", "over_budget"))[-1]
        assert (failed.type, failed.response.error.code) == ("response.failed", "invalid_prompt")


def test_what_travels_for_others_comes_back() -> None:
    foreign = [
        Thinking("hm", Signature(Dialect.ANTHROPIC, "sig")),
        Thinking("", Signature(Dialect.ANTHROPIC, "blob"), redacted=True),
        Thinking("", Signature(Dialect.GEMINI, "thought")),
    ]
    reply = Reply(id="r", model="m", parts=[*foreign], stop=StopReason.END)
    items = json.loads(OWN.reply_out(reply, "m"))["output"]
    request, _ = OWN.request_in(dumps({"model": "m", "input": items}))
    assert request.messages == [Message(Role.ASSISTANT, [*foreign])]
    said = OWN.stream_out("m")
    out = b"".join(
        said.say(event)
        for event in (
            Start("r", "m"),
            ThinkingDelta("hm"),
            Signed(Signature(Dialect.ANTHROPIC, "sig")),
            PartEnd(),
            Signed(Signature(Dialect.ANTHROPIC, "blob"), redacted=True),
            PartEnd(),
            Signed(Signature(Dialect.GEMINI, "thought")),
            PartEnd(),
            Stop(StopReason.END),
        )
    )
    assert [item.to_dict() for item in _told(out + said.finish())[-1].response.output] == items


def test_a_free_tool_in_a_namespace_that_was_told_as_a_function() -> None:
    asked = Asked(tools={"crm__shell": SHELL})
    reply = Reply(id="r", model="m", parts=[ToolCall("c", "crm__shell", '{"input":"ls"}')], stop=StopReason.TOOLS)
    (item,) = json.loads(OWN.reply_out(reply, "m", asked))["output"]
    assert (item["type"], item["name"], item["namespace"], item["input"]) == ("custom_tool_call", "shell", "crm", "ls")
    said = OWN.stream_out("m", asked)
    told = b"".join(
        said.say(event)
        for event in (
            Start("r", "m"),
            ToolStart("c", "crm__shell"),
            ToolDelta('{"inp'),
            ToolDelta('ut":"ls"}'),
            PartEnd(),
            Stop(StopReason.TOOLS),
        )
    )
    last = _told(told + said.finish())[-1]
    assert [each.to_dict() for each in last.response.output] == [item]
    back, _ = OWN.request_in(dumps({"model": "m", "input": [item]}))
    assert back.messages == [Message(Role.ASSISTANT, [ToolCall("c", "crm__shell", "ls", freeform=True)])]


@pytest.mark.parametrize("provider", [Dialect.ANTHROPIC, Dialect.OPENAI])
def test_what_codex_sends_reaches_others(provider: Dialect) -> None:
    understood = understand(Dialect.RESPONSES, dumps(BODY))
    sent = Translation(Dialect.RESPONSES, provider).request(understood, "local", 300)
    assert not any(loss.fatal for loss in sent.losses)
    told = json.loads(sent.body)
    assert told["messages"]
    assert len(told["tools"]) == 1


def test_a_chat_of_another_dialect_reaches_a_responses_provider() -> None:
    body = dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50})
    for client in (Dialect.OPENAI, Dialect.ANTHROPIC):
        way = Translation(client, Dialect.RESPONSES)
        sent = way.request(understand(client, body), "gpt-5", None)
        assert json.loads(sent.body)["input"] == [{"type": "message", "role": "user", "content": "Hi"}]
        answer, _ = way.reply(ANSWER, "m", sent.asked)
        assert b"H\xc3\xa9llo" in answer
        stream = way.stream("m", sent.asked)
        assert "llo 😀".encode() in stream.feed(TEXT) + stream.finish()
