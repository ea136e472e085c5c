"""Do requests, answers and streams of Gemini survive the way into our words and back?"""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
from google import genai
from google.genai import errors, types
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.translate.gemini_cases import REPLIES, REQUESTS, STREAMS
from tests.traffic.translate.vectors import Vector, gathered
from tests.traffic.wire.gemini_vectors import BODY, SIGNATURE, STREAMED, TARGET
from tests.traffic.wire.vectors import PIXEL, dumps

from upshift.model.refusal import Refused
from upshift.model.tokens import Usage
from upshift.simulated.provider import Options
from upshift.simulated.serving import Running, serve_simulated
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.gemini import Gemini
from upshift.traffic.translate.gemini_schema import json_schema
from upshift.traffic.translate.gemini_thoughts import packed, restore, unpacked
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
    Part,
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
from upshift.traffic.wire.gemini import Gemini as Wire
from upshift.traffic.wire.sse import payload

OWN = Gemini()
MODEL = "gemini-3.5-flash"
USED = Usage(input=50, cached=10, output=7, reasoning=2)
NOTE = {"reason": "budget-reached:answer-ended", "request": "r1"}
BY_NAME: Any = lambda vector: vector.says  # noqa: E731 - ids of parameters


def _named(vectors: list[Vector], says: str) -> bytes:
    (found,) = [vector.body for vector in vectors if vector.says == says]
    return found


def _out(request: Request, model: str = MODEL, most: int | None = None) -> tuple[Any, list[Loss]]:
    body, losses = OWN.request_out(request, model, most, stream=False)
    Wire().read(body, TARGET)
    return json.loads(body), losses


def _request(*messages: Message, **more: Any) -> Request:
    return Request(model="m", messages=list(messages) or [Message(Role.USER, [Text("Hi")])], **more)


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def test_a_request_in_our_words() -> None:
    body = BODY | {
        "contents": [
            {"role": "user", "parts": [{"text": "Hi"}, {"inlineData": {"mimeType": "image/png", "data": PIXEL}}]},
            {
                "role": "model",
                "parts": [
                    {"text": "Hm.", "thought": True},
                    {"functionCall": {"name": "get", "args": {"a": 1}}, "thoughtSignature": SIGNATURE},
                    {"functionCall": {"id": "c2", "name": "get"}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "made-up", "name": "get", "response": {"output": "5"}}},
                    {"functionResponse": {"id": "c2", "name": "get", "response": {"error": "no"}}},
                ],
            },
        ],
        "tools": [{"functionDeclarations": [{"name": "get", "parametersJsonSchema": SCHEMA}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get"]}},
        "serviceTier": "FLEX",
    }
    request, losses = OWN.request_in(dumps(body), STREAMED)
    assert not losses
    assert request == Request(
        model=MODEL,
        stream=True,
        messages=[
            Message(Role.SYSTEM, [Text("Be brief.")]),
            Message(Role.USER, [Text("Hi"), Image(media_type="image/png", data=PIXEL)]),
            Message(
                Role.ASSISTANT,
                [
                    Thinking("Hm."),
                    Thinking(signature=Signature(Dialect.GEMINI, SIGNATURE)),
                    ToolCall("call_1", "get", '{"a":1}'),
                    ToolCall("c2", "get", "{}"),
                ],
            ),
            Message(
                Role.USER,
                [
                    ToolResult("call_1", [Text("5")], name="get"),
                    ToolResult("c2", [Text("no")], is_error=True, name="get"),
                ],
            ),
        ],
        tools=[Tool("get", schema=_raw(SCHEMA))],
        tool_choice=ToolChoice("named", ("get",)),
        reasoning=Reasoning(shown=True),
        max_output=32000,
        temperature=1,
        service_tier="flex",
    )


def test_results_without_ids_find_their_calls_in_turn() -> None:
    request, _ = OWN.request_in(_named(REQUESTS, "results without ids"), TARGET)
    calls = [part.id for message in request.messages for part in message.parts if isinstance(part, ToolCall)]
    results = [part.id for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
    assert calls == results == ["call_1", "call_2"]


@pytest.mark.parametrize(
    ("text", "is_error", "response"),
    [
        ("22 C", False, {"output": "22 C"}),
        ("", False, {"output": ""}),
        ("no", True, {"error": "no"}),
        ('{"a":1}', False, {"a": 1}),
        ('{"output":1}', False, {"output": '{"output":1}'}),
        ("{unsound", False, {"output": "{unsound"}),
        ("[1]", False, {"output": "[1]"}),
    ],
)
def test_what_a_tool_answers_is_an_object(text: str, is_error: bool, response: object) -> None:
    call = Message(Role.ASSISTANT, [ToolCall("c1", "get", "")])
    result = Message(Role.USER, [ToolResult("c1", [Text(text)] if text else [], is_error), Text("Go on")])
    out, _ = _out(_request(call, result))
    assert out["contents"][1:] == [
        {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "get", "response": response}}]},
        {"role": "user", "parts": [{"text": "Go on"}]},
    ]
    again, _ = OWN.request_in(dumps(out), TARGET)
    found = again.messages[1].parts[0]
    assert isinstance(found, ToolResult)
    assert (found.is_error, "".join(part.text for part in found.content if isinstance(part, Text))) == (is_error, text)


@pytest.mark.parametrize("vector", REQUESTS, ids=BY_NAME)
def test_requests_come_back_as_they_went(vector: Vector) -> None:
    said, losses = OWN.request_in(vector.body, vector.target)
    if any(loss.fatal for loss in losses):
        return
    body, more = OWN.request_out(said, MODEL, None, stream=said.stream)
    again, none = OWN.request_in(body, vector.target)
    assert not none
    if said.reasoning is not None and said.reasoning.adaptive:
        # That is as usual for a model which is told levels.
        said.reasoning = None
    if not more:
        said.tools = [msgspec.structs.replace(tool, schema=tool.schema or again.tools[0].schema) for tool in said.tools]
        assert again == said
    else:
        assert {loss.field for loss in more} <= {"messages[].content[].thinking", "reasoning_effort"}


@pytest.mark.parametrize(
    ("model", "asked", "config", "lost"),
    [
        (MODEL, Reasoning(effort="low"), {"thinkingLevel": "LOW"}, False),
        (MODEL, Reasoning(effort="max", shown=True), {"includeThoughts": True, "thinkingLevel": "HIGH"}, True),
        (MODEL, Reasoning(effort="none"), {"thinkingLevel": "MINIMAL"}, True),
        ("gemini-3.1-pro-preview", Reasoning(effort="minimal"), {"thinkingLevel": "LOW"}, True),
        (MODEL, Reasoning(budget=5000), {"thinkingBudget": 5000}, False),
        (MODEL, Reasoning(adaptive=True), None, False),
        ("gemini-2.5-flash", Reasoning(adaptive=True), {"thinkingBudget": -1}, False),
        ("gemini-2.5-flash", Reasoning(effort="none"), {"thinkingBudget": 0}, False),
        ("gemini-2.5-pro", Reasoning(effort="none"), {"thinkingBudget": 128}, True),
        ("gemini-2.5-flash", Reasoning(effort="medium"), {"thinkingBudget": 8192}, False),
        ("gemini-2.0-flash", Reasoning(effort="medium"), None, True),
        ("gemma-3", Reasoning(effort="none"), None, False),
        ("gemini-flash-latest", Reasoning(effort="low"), {"thinkingLevel": "LOW"}, False),
    ],
    ids=repr,
)
def test_how_hard_to_think(model: str, asked: Reasoning, config: Any, lost: bool) -> None:
    out, losses = _out(_request(reasoning=asked), model)
    assert out.get("generationConfig", {}).get("thinkingConfig") == config
    assert bool(losses) is lost


def test_a_request_out() -> None:
    out, losses = _out(
        _request(
            Message(Role.SYSTEM, [Text("Be brief.")]),
            Message(
                Role.USER, [Text("Hi"), Image(url="https://example.org/a.webp?x=1.png"), Audio("AA==", "audio/wav")]
            ),
            tools=[Tool("1 get", "Gets.", _raw(SCHEMA)), Tool("free", freeform=True)],
            tool_choice=ToolChoice("any", ("1 get",)),
            format=Format("schema", _raw(SCHEMA), "answer"),
            max_output=100,
            temperature=1.5,
            top_k=3,
            seed=4,
            stop=["a"],
            service_tier="default",
        ),
        most=50,
    )
    name = OWN.tool_name("1 get")
    assert name[0] == "_"
    assert not losses
    free = out["tools"][0]["functionDeclarations"].pop()
    assert set(free["parametersJsonSchema"]["properties"]) == {"input"}
    assert out == {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "Hi"},
                    {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.org/a.webp?x=1.png"}},
                    {"inlineData": {"mimeType": "audio/wav", "data": "AA=="}},
                ],
            }
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [
            {"functionDeclarations": [{"name": name, "description": "Gets.", "parametersJsonSchema": SCHEMA}]},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [name]}},
        "generationConfig": {
            "maxOutputTokens": 50,
            "temperature": 1.5,
            "topK": 3,
            "seed": 4,
            "stopSequences": ["a"],
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
        },
        "serviceTier": "standard",
    }


def test_what_has_no_field_is_declared() -> None:
    request = _request(
        Message(Role.USER, [Text("Hi", cache="5m"), Image(data=PIXEL, detail="low", cache="1h")]),
        Message(Role.ASSISTANT, [Text("Hm"), Thinking("a", Signature(Dialect.ANTHROPIC, "x"))]),
        Message(Role.DEVELOPER, [Text("Now be long.")]),
        Message(Role.USER, [File(name="a.txt", text="plain"), File(name="a.pdf", data="AA==")]),
        tools=[Tool("get", strict=True, cache="5m")],
        parallel=False,
        user="u",
        cache_key="k",
        verbosity="low",
        cache="5m",
        stop=list("abcdef"),
    )
    out, losses = _out(request)
    assert not any(loss.fatal for loss in losses)
    assert {loss.field for loss in losses} == {
        "messages[].content[].cache_control",
        "messages[].content[].image_url.detail",
        "messages[].content[].thinking",
        "messages[].content[].source",
        "messages[].content[].file.filename",
        "messages[].role",
        "tools[].strict",
        "tools[].cache_control",
        "parallel_tool_calls",
        "user",
        "prompt_cache_key",
        "verbosity",
        "cache_control",
        "stop",
    }
    assert [content["role"] for content in out["contents"]] == ["user", "model", "user", "user"]
    assert len(out["generationConfig"]["stopSequences"]) == 5


def test_what_cannot_be_said_is_refused() -> None:
    for part in (Image(file_id="f"), File(file_id="f"), ToolCall("c", "get", "{}")):
        _, losses = _out(_request(Message(Role.USER, [part, Text("Hi")])))
        assert [loss.fatal for loss in losses] == [True]
    _, losses = _out(_request(Message(Role.ASSISTANT, [Audio("AA==", "audio/wav"), Refusal("no")])))
    assert [loss.fatal for loss in losses] == [True]


def test_an_instruction_alone_is_a_question() -> None:
    out, losses = _out(_request(Message(Role.SYSTEM, [Text("Say hello.")])))
    assert out == {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}
    assert [loss.field for loss in losses] == ["messages[].role"]


def test_pictures_in_results() -> None:
    call = Message(Role.ASSISTANT, [ToolCall("c1", "see", "{}")])
    result = Message(Role.USER, [ToolResult("c1", [Text("this"), Image(media_type="image/png", data=PIXEL)])])
    inline = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
    out, losses = _out(_request(call, result))
    assert out["contents"][1]["parts"][0]["functionResponse"]["parts"] == [inline]
    assert not losses
    out, losses = _out(_request(call, result), "gemini-2.5-flash")
    assert out["contents"][1]["parts"][1] == inline
    assert [loss.field for loss in losses] == ["messages[].content[].content[]"]


def test_calls_of_other_models_are_signed_as_the_vendor_wants() -> None:
    calls: list[Part] = [ToolCall("c1", "a", "{}"), ToolCall("c2", "b", "{}")]
    request = _request(Message(Role.ASSISTANT, calls))
    parts = _out(request)[0]["contents"][0]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["skip_thought_signature_validator", None]
    parts = _out(request, "gemini-2.5-pro")[0]["contents"][0]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [None, None]
    own = Thinking(signature=Signature(Dialect.GEMINI, SIGNATURE))
    parts = _out(_request(Message(Role.ASSISTANT, [own, *calls])))[0]["contents"][0]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [SIGNATURE, None]
    parts = _out(_request(Message(Role.ASSISTANT, [Text("Hm."), own])))[0]["contents"][0]["parts"]
    assert parts == [{"text": "Hm."}, {"text": "", "thoughtSignature": SIGNATURE}]


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    st.lists(
        st.builds(
            Thinking, ANY_TEXT, st.builds(Signature, st.sampled_from([Dialect.ANTHROPIC, Dialect.OPENAI]), ANY_TEXT)
        ),
        min_size=1,
        max_size=3,
    )
)
def test_thoughts_travel_in_base64(thoughts: list[Thinking]) -> None:
    signature = packed(thoughts)
    assert unpacked(signature) == thoughts
    # Google's client for Python decodes signatures, and writes them in the alphabet for URLs.
    assert unpacked(base64.urlsafe_b64encode(base64.b64decode(signature)).decode()) == thoughts
    found: list[Part] = [Text("a"), Thinking("".join(each.text for each in thoughts))]
    restore(signature, found)
    assert [part for part in found if isinstance(part, Thinking) and part.signature is not None] == thoughts


@given(st.text(max_size=60))
def test_any_other_signature_is_the_vendors_own(text: str) -> None:
    assert unpacked(text) == [Thinking(signature=Signature(Dialect.GEMINI, text))]
    assert packed([]) == ""


def test_schemas_of_the_vendors_own_kind() -> None:
    own = {
        "type": "OBJECT",
        "nullable": True,
        "propertyOrdering": ["type"],
        "properties": {
            "type": {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True},
            "n": {"type": "INTEGER", "format": "int32", "minimum": 1, "example": 3},
            "l": {"type": "ARRAY", "items": {"any_of": [{"type": "NUMBER"}], "nullable": True}, "minItems": "1"},
            "x": {"type": "TYPE_UNSPECIFIED"},
        },
        "required": ["n"],
    }
    assert json.loads(bytes(json_schema(_raw(own)))) == {
        "type": ["object", "null"],
        "properties": {
            "type": {"type": ["string", "null"], "enum": ["a", None]},
            "n": {"type": "integer", "format": "int32", "minimum": 1, "examples": [3]},
            "l": {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}, "minItems": 1},
            "x": {},
        },
        "required": ["n"],
    }
    assert not json_schema(_raw({"minItems": "x"}))
    assert not json_schema(msgspec.Raw(b'{"items":' * 5000 + b"1" + b"}" * 5000))


@pytest.mark.parametrize("vector", REPLIES, ids=BY_NAME)
def test_answers_come_back_as_they_went(vector: Vector) -> None:
    reply = OWN.reply_in(vector.body)
    again = OWN.reply_in(OWN.reply_out(reply, reply.model))
    reply.losses = []
    assert again == reply


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"candidates":[]}', b'{"candidates":5}', b"<html>", b"\xff"])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError, match="no candidate"):
        OWN.reply_in(body)


def test_an_answer_of_another_provider() -> None:
    thought = Thinking("Hm.", Signature(Dialect.ANTHROPIC, "EqQB"))
    parts: list[Part] = [thought, Text("Hi"), ToolCall("toolu_1", "known_1", '{"input":"x"}'), Refusal("no")]
    reply = Reply(id="msg_1", model="claude", parts=parts, stop=StopReason.TOOLS, usage=USED)
    out = json.loads(OWN.reply_out(reply, "alias", Asked(tools={"known_1": Tool("known 1")})))
    assert out["usageMetadata"]["candidatesTokenCount"] == 5
    assert (out["modelVersion"], out["responseId"]) == ("alias", "msg_1")
    (candidate,) = out["candidates"]
    assert candidate["finishReason"] == "STOP"
    assert candidate["content"]["parts"] == [
        {"text": "Hm.", "thought": True},
        {"text": "Hi", "thoughtSignature": packed([thought])},
        {"functionCall": {"id": "toolu_1", "name": "known 1", "args": {"input": "x"}}},
        {"text": "no"},
    ]
    body = BODY | {"contents": [{"role": "user", "parts": [{"text": "a"}]}, candidate["content"]]}
    back, _ = OWN.request_in(dumps(body), TARGET)
    assert back.messages[2].parts[0] == thought
    stripped = [part for part in candidate["content"]["parts"] if not part.get("thought")]
    body = BODY | {"contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": stripped}]}
    assert OWN.request_in(dumps(body), TARGET)[0].messages[2].parts[0] == thought


def _events(*chunks: bytes) -> list[Event]:
    reader = OWN.stream_in()
    found = [event for chunk in chunks for event in reader.feed(chunk)]
    return found + reader.finish()


@pytest.mark.parametrize("vector", STREAMS, ids=BY_NAME)
def test_splitting_changes_nothing(vector: Vector) -> None:
    whole = _events(vector.body)
    assert _events(*(vector.body[at : at + 1] for at in range(len(vector.body)))) == whole
    for at in range(len(vector.body)):
        assert _events(vector.body[:at], vector.body[at:]) == whole


@pytest.mark.parametrize("vector", STREAMS, ids=BY_NAME)
def test_streams_come_back_as_they_went(vector: Vector) -> None:
    reply, fault = gathered(_events(vector.body))
    writer = OWN.stream_out(reply.model)
    text = b"".join(map(writer.say, _events(vector.body))) + writer.finish()
    again, same = gathered(_events(text))
    assert same == fault
    assert msgspec.structs.replace(again, stop=reply.stop) == reply if fault else again == reply


def test_a_stream_in_our_words() -> None:
    assert _events(_named(STREAMS, "signed thoughts and a call")) == [
        Start("tTCwacuEBMvnitYP06qsgQY", "gemini-3.1-flash-lite-preview"),
        ThinkingDelta("Hm."),
        PartEnd(),
        Signed(Signature(Dialect.GEMINI, SIGNATURE)),
        PartEnd(),
        ToolStart("c1", "weather"),
        ToolDelta('{"location": "Boston"}'),
        PartEnd(),
        UsageSeen(Usage(input=1, output=9)),
        Stop(StopReason.TOOLS),
    ]
    assert _events(b"") == [Fault("the provider ended the stream before it began")]
    bare = _events(_named(STREAMS, "a bare error in the middle"))
    assert bare[-1] == Fault("The model is overloaded.", "UNAVAILABLE")
    blocked = _events(_named(STREAMS, "a prompt that is blocked"))
    assert blocked[-1] == Stop(StopReason.FILTER)
    unfinished = _events(_named(STREAMS, "no finishReason"))
    assert unfinished[-2:] == [PartEnd(), Stop(StopReason.END)]


CLAUDE = Signature(Dialect.ANTHROPIC, "EqQB")
FOREIGN: list[Event] = [
    Start("msg_1", "claude", Usage(input=50)),
    ThinkingDelta("Hm. "),
    ThinkingDelta("So."),
    Signed(CLAUDE),
    PartEnd(),
    TextDelta("Grüe"),
    TextDelta("zi 😀"),
    PartEnd(),
    ToolStart("c1", "known_1"),
    ToolDelta('{"a":'),
    ToolDelta("1}"),
    PartEnd(),
    ToolStart("c2", "known_1"),
    PartEnd(),
    RefusalDelta("no"),
    PartEnd(),
    Signed(Signature(Dialect.ANTHROPIC, "secret"), redacted=True),
    PartEnd(),
    UsageSeen(USED),
    Stop(StopReason.TOOLS),
]
TOOLS = {"known_1": Tool("known 1")}


def _client(stream: bytes) -> genai.Client:
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    )
    options = types.HttpOptions(base_url="http://127.0.0.1", httpx_client=httpx2.Client(transport=transport))
    return genai.Client(api_key="k", http_options=options)


def _heard(stream: bytes) -> list[types.GenerateContentResponse]:
    with _client(stream) as client:
        return list(client.models.generate_content_stream(model="m", contents="Hi"))


def _parts(chunks: list[types.GenerateContentResponse]) -> list[types.Part]:
    contents = [each.content for chunk in chunks for each in chunk.candidates or ()]
    return [part for content in contents if content for part in content.parts or ()]


def test_the_client_takes_a_stream_of_another_provider() -> None:
    writer = OWN.stream_out("alias", Asked(tools=TOOLS))
    chunks = _heard(b"".join(map(writer.say, FOREIGN)) + writer.finish())
    parts = _parts(chunks)
    assert "".join(part.text or "" for part in parts if not part.thought) == "Grüezi 😀no"
    assert "".join(part.text or "" for part in parts if part.thought) == "Hm. So."
    calls = [part.function_call for part in parts if part.function_call]
    assert [(call.id, call.name, call.args) for call in calls] == [("c1", "known 1", {"a": 1}), ("c2", "known 1", {})]
    assert {chunk.model_version for chunk in chunks} == {"alias"}
    assert {chunk.response_id for chunk in chunks} == {"msg_1"}
    last = chunks[-1]
    assert last.candidates is not None
    assert last.candidates[0].finish_reason is types.FinishReason.STOP
    assert last.usage_metadata is not None
    assert last.usage_metadata.thoughts_token_count == 2
    # What the client sends back holds the thoughts as their provider wants them.
    contents = [types.Content(role="user", parts=[types.Part(text="a")]), types.Content(role="model", parts=parts)]
    sent = [content.model_dump(mode="json", exclude_none=True, by_alias=True) for content in contents]
    back, _ = OWN.request_in(dumps({"contents": sent}), TARGET)
    thoughts = [part for part in back.messages[1].parts if isinstance(part, Thinking)]
    assert thoughts == [
        Thinking("Hm. So.", CLAUDE),
        Thinking(signature=Signature(Dialect.ANTHROPIC, "secret"), redacted=True),
    ]
    chained, _ = gathered(_events(b"".join(map(OWN.stream_out("m").say, FOREIGN))))
    assert [part for part in chained.parts if isinstance(part, Thinking)] == thoughts[:1]


def test_the_client_takes_a_length_stop_after_any_event() -> None:
    for at in range(len(FOREIGN) - 1):
        writer = OWN.stream_out("alias")
        said = b"".join(map(writer.say, FOREIGN[:at]))
        chunks = _heard(said + writer.length_stop(NOTE, USED))
        reasons = [each.finish_reason for chunk in chunks for each in chunk.candidates or () if each.finish_reason]
        assert reasons == [types.FinishReason.MAX_TOKENS]
        assert chunks[-1].usage_metadata is not None
        assert chunks[-1].usage_metadata.candidates_token_count == 5
        assert writer.finish() == writer.length_stop(NOTE) == writer.failure("a", "b") == b""
        assert writer.say(TextDelta("late")) == b""
    stopped = OWN.stream_out("alias").length_stop(NOTE)
    assert json.loads(payload(stopped))["upshift"] == NOTE


def test_usage_that_follows_the_stop_still_counts() -> None:
    writer = OWN.stream_out("alias")
    said = [writer.say(event) for event in (Start("a", "m"), TextDelta("a"), PartEnd(), Stop(StopReason.LENGTH))]
    assert said[-1] == b""
    last = json.loads(payload(writer.say(UsageSeen(USED))))
    assert last["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert last["usageMetadata"]["promptTokenCount"] == 50
    assert writer.finish() == b""


def test_the_client_takes_a_failure() -> None:
    for code, kind in (("provider_failed", errors.ServerError), ("over_budget", errors.ClientError)):
        writer = OWN.stream_out("alias")
        stream = writer.say(Start("a", "m")) + writer.say(TextDelta("a")) + writer.failure("gone", code)
        with pytest.raises(kind, match="gone"):
            _heard(stream)
    assert b"overloaded" in OWN.stream_out("alias").say(Fault("overloaded"))


@given(st.binary(max_size=300), st.sampled_from(STREAMS), st.integers(0, 400))
def test_any_stream_is_read(noise: bytes, vector: Vector, at: int) -> None:
    stream = vector.body[:at] + noise + vector.body[at:]
    events = _events(stream)
    assert _events(*(stream[i : i + 5] for i in range(0, len(stream), 5))) == events
    gathered(events)
    writer = OWN.stream_out("m")
    for event in events:
        writer.say(event)
    writer.finish()


@given(data=st.data())
def test_any_request_that_the_wire_takes_is_read_or_refused(data: st.DataObject) -> None:
    vector = data.draw(st.sampled_from(REQUESTS))
    body = bytearray(vector.body)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 4))] = data.draw(
            st.sampled_from([b"null", b"[", b"{}", b"]", b'"', b"-1", b"1e9", b"1e999", b"\\u0000", b"\\ud800", b"_"])
        )
    try:
        Wire().read(bytes(body), vector.target)
        request, _ = OWN.request_in(bytes(body), vector.target)
    except Refused:
        return
    OWN.request_out(request, MODEL, 5, stream=False)


@given(st.binary(max_size=300) | st.builds(bytes.__add__, st.just(b'{"candidates":['), st.binary(max_size=60)))
def test_any_answer_is_read_or_is_none(body: bytes) -> None:
    try:
        reply = OWN.reply_in(body)
    except ValueError:
        return
    OWN.reply_out(reply, "m")


@pytest.fixture
async def provider() -> AsyncIterator[Running]:
    running = await serve_simulated("127.0.0.1", 0, Options())
    yield running
    await running.close()


CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
CLAUDE_TOOL = {"name": "weather", "input_schema": SCHEMA}


async def _asked(running: Running, client: Dialect, body: dict[str, Any], *, stream: bool) -> bytes:
    """What a client gets that asks a model of Gemini's, with its answer translated."""
    sides = Translation(client, Dialect.GEMINI)
    sent = sides.request(understand(client, dumps(body)), MODEL, 4096)
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    url = f"http://127.0.0.1:{running.port}/v1beta/models/{MODEL}:{verb}"
    async with httpx2.AsyncClient(verify=False) as http:
        heard = await http.post(url, content=sent.body)
    assert heard.status_code == 200, heard.text
    if not stream:
        return sides.reply(heard.content, "alias", sent.asked)[0]
    pipe = sides.stream("alias", sent.asked)
    return pipe.feed(heard.content) + pipe.finish()


@pytest.mark.parametrize("keeps", [True, False], ids=["client keeps thoughts", "client forgets thoughts"])
async def test_a_chat_client_calls_a_tool_of_a_strict_model(provider: Running, keeps: bool) -> None:
    asked: dict[str, Any] = {"model": "alias", "tools": [CHAT_TOOL], "reasoning_effort": "high"}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Use the tool"}]
    answer = json.loads(await _asked(provider, Dialect.OPENAI, asked | {"messages": messages}, stream=False))
    message = answer["choices"][0]["message"]
    (call,) = message["tool_calls"]
    if not keeps:
        message = {"role": "assistant", "tool_calls": [call]}
    messages += [message, {"role": "tool", "tool_call_id": call["id"], "content": "22 C"}]
    answer = json.loads(await _asked(provider, Dialect.OPENAI, asked | {"messages": messages}, stream=False))
    assert answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_anthropic_client_calls_tools_of_a_strict_model(provider: Running, stream: bool) -> None:
    asked: dict[str, Any] = {"model": "alias", "max_tokens": 4000, "tools": [CLAUDE_TOOL], "stream": stream}
    asked |= {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Use the tool"}]
    heard = await _asked(provider, Dialect.ANTHROPIC, asked | {"messages": messages}, stream=stream)
    content = _content(heard) if stream else json.loads(heard)["content"]
    (call,) = [block for block in content if block["type"] == "tool_use"]
    assert any(block["type"] == "thinking" for block in content)
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "22 C"}
    messages += [{"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    heard = await _asked(provider, Dialect.ANTHROPIC, asked | {"messages": messages}, stream=stream)
    assert b'"end_turn"' in heard


def _content(stream: bytes) -> list[dict[str, Any]]:
    """The blocks that a stream of Messages adds up to."""
    blocks: list[dict[str, Any]] = []
    partial: dict[int, str] = {}
    for each in stream.decode().split("\n\n"):
        event = json.loads(payload(each.encode()) or b"{}")
        match event.get("type"):
            case "content_block_start":
                blocks.append(event["content_block"])
            case "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                if delta["type"] == "input_json_delta":
                    partial[event["index"]] = partial.get(event["index"], "") + delta["partial_json"]
                else:
                    name = delta["type"].removesuffix("_delta")
                    block[name] += delta[name]
    for index, text in partial.items():
        blocks[index]["input"] = json.loads(text)
    return blocks


async def test_a_gemini_client_calls_tools_of_an_anthropic_model(provider: Running) -> None:
    declared = {"name": "weather", "parametersJsonSchema": SCHEMA}
    asked: dict[str, Any] = {"tools": [{"functionDeclarations": [declared]}]}
    asked |= {"generationConfig": {"thinkingConfig": {"thinkingBudget": 2000, "includeThoughts": True}}}
    contents: list[dict[str, Any]] = [{"role": "user", "parts": [{"text": "Use the tool"}]}]
    sides = Translation(Dialect.GEMINI, Dialect.ANTHROPIC)
    url = f"http://127.0.0.1:{provider.port}/v1/messages"
    async with httpx2.AsyncClient(verify=False) as http:
        understood = understand(Dialect.GEMINI, dumps(asked | {"contents": contents}), TARGET)
        sent = sides.request(understood, "claude-haiku-4-5", 4096)
        heard = await http.post(url, content=sent.body)
        assert heard.status_code == 200, heard.text
        reply = json.loads(sides.reply(heard.content, "alias", sent.asked)[0])
        said = reply["candidates"][0]["content"]
        (call,) = [part["functionCall"] for part in said["parts"] if "functionCall" in part]
        result = {"functionResponse": {"id": call["id"], "name": "weather", "response": {"output": "22 C"}}}
        contents += [said, {"role": "user", "parts": [result]}]
        understood = understand(Dialect.GEMINI, dumps(asked | {"contents": contents}), TARGET)
        sent = sides.request(understood, "claude-haiku-4-5", 4096)
        body = json.loads(sent.body)
        original = json.loads(heard.content)["content"]
        assert body["messages"][1]["content"] == original
        assert (await http.post(url, content=sent.body)).status_code == 200
