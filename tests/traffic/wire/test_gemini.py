"""Is generateContent read, metered and answered as its clients and vendor do?"""

import json
from typing import Any

import httpx2
import msgspec
import pytest
from google import genai
from google.genai import errors, types
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.wire.gemini_vectors import (
    ANSWER,
    BARE_ERROR,
    BLOCKED,
    BODY,
    CALL,
    CALLS,
    CALLS_BYTES,
    DECLARED,
    ERROR,
    FIRST,
    LAST,
    STREAMED,
    STREAMS,
    TARGET,
    TEXT,
    TEXT_BYTES,
    TWO,
    USED,
    chunk,
)
from tests.traffic.wire.vectors import PIXEL, data, dumps

from upshift.model.refusal import BadRequest, Reason, Refused
from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Ability, Dialect
from upshift.traffic.wire.ask import Answer, Ask, ModelEntry, StreamMeter
from upshift.traffic.wire.gemini import Gemini

WIRE = Gemini()
NOTE = {"reason": "budget-reached:answer-ended", "request": "r1"}


def _ask(**change: Any) -> Ask:
    return WIRE.read(dumps(BODY | change), TARGET)


def _refusal(body: bytes, target: bytes = TARGET) -> BadRequest:
    with pytest.raises(Refused) as caught:
        WIRE.read(body, target)
    assert isinstance(caught.value.reason, BadRequest)
    assert len(caught.value.reason.what) < 300
    return caught.value.reason


def _user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}]}


def _state(meter: StreamMeter) -> tuple[object, ...]:
    return (
        meter.usage,
        meter.partial,
        meter.model,
        meter.upstream_id,
        meter.output_bytes,
        meter.output_events,
        meter.complete,
        meter.error,
    )


def _fed(*chunks: bytes) -> tuple[StreamMeter, bytes]:
    meter = WIRE.stream(keep_usage=False)
    out = b"".join([*map(meter.feed, chunks), meter.finish()])
    return meter, out


def test_a_request_in_our_words() -> None:
    body = dumps(BODY)
    assert WIRE.read(body, STREAMED) == Ask(
        dialect=Dialect.GEMINI,
        model="gemini-3.5-flash",
        stream=True,
        max_output=32000,
        text_bytes=len(body),
        wants_usage=True,
    )


@pytest.mark.parametrize(
    ("target", "model", "stream"),
    [
        (TARGET, "gemini-3.5-flash", False),
        (STREAMED, "gemini-3.5-flash", True),
        (b"/v1/models/team/fast:1:generateContent?key=k&alt=json&prettyPrint=false", "team/fast:1", False),
        (b"/v1beta/models/team%2Fgr%C3%BCn:streamGenerateContent?key=k&alt=sse", "team/grün", True),
    ],
)
def test_the_path_names_model_and_form(target: bytes, model: str, stream: bool) -> None:
    ask = WIRE.read(dumps(BODY), target)
    assert (ask.model, ask.stream) == (model, stream)


@pytest.mark.parametrize(
    ("target", "where"),
    [
        (b"", "path"),
        (b"/v1beta/models/:generateContent", "path"),
        (b"/v1beta/models/m:countTokens", "path"),
        (b"/v2/models/m:generateContent", "path"),
        (b"/v1beta/models/%ff:generateContent", "path"),
        (b"/v1beta/models/" + b"m" * 257 + b":generateContent", "model"),
        (b"/v1beta/models/m:streamGenerateContent", "query alt"),
        (b"/v1beta/models/m:streamGenerateContent?alt=json", "query alt"),
        (b"/v1beta/models/m:streamGenerateContent?alt=sse&alt=sse", "query alt"),
        (b"/v1beta/models/m:generateContent?alt=sse", "query alt"),
        (b"/v1beta/models/m:generateContent?alt=media", "query alt"),
        (b"/v1beta/models/m:generateContent?fields=candidates", "query fields"),
        (b"/v1beta/models/m:generateContent?%66ields=candidates", "query %66ields"),
        (b"/v1beta/models/m:generateContent?$alt=json%3Benum-encoding=int", "query $alt"),
        (b"/v1beta/models/m:generateContent?access_token=x", "query access_token"),
    ],
)
def test_other_places_are_refused(target: bytes, where: str) -> None:
    assert _refusal(dumps(BODY), target).where == where


@pytest.mark.parametrize(
    ("change", "needs"),
    [
        ({"tools": [DECLARED]}, {Ability.TOOLS}),
        ({"tools": DECLARED}, {Ability.TOOLS}),
        ({"tools": []}, set()),
        (_user({"functionCall": CALL}), {Ability.TOOLS}),
        (_user({"function_response": {"name": "get", "response": {}}}), {Ability.TOOLS}),
        (_user({"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/a"}}), {Ability.IMAGES}),
        (_user({"inline_data": {"mime_type": "image/png", "data": PIXEL}}), {Ability.IMAGES}),
        ({"generationConfig": {"responseMimeType": "application/json"}}, {Ability.JSON}),
        ({"generationConfig": {"responseMimeType": "text/plain"}}, set()),
        ({"generationConfig": {"responseJsonSchema": {}}}, {Ability.JSON}),
        ({"generationConfig": {"_responseJsonSchema": {}}}, {Ability.JSON}),
        ({"generationConfig": {"response_schema": {}}}, {Ability.JSON}),
        ({"generationConfig": None}, set()),
        (_user({"text": '{"inlineData":{"mimeType":"image/png"}}'}), set()),
    ],
    ids=repr,
)
def test_what_a_request_needs(change: dict[str, Any], needs: set[Ability]) -> None:
    assert _ask(**change).needs == needs


def test_names_in_snake_case_mean_the_same() -> None:
    body = dumps(
        {
            "contents": {"parts": {"text": "Hi"}},
            "system_instruction": {"parts": {"text": "Be brief."}},
            "generation_config": {"max_output_tokens": "77", "candidate_count": 2.0},
        }
    )
    ask = WIRE.read(body, TARGET)
    assert (ask.max_output, ask.choices) == (77, 2)
    out = json.loads(WIRE.rewrite(body, max_output=5))
    assert out["generation_config"] == {"max_output_tokens": 5, "candidate_count": 2.0}
    assert list(out) == ["contents", "system_instruction", "generation_config"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"contents":[],"generationConfig":{},"generation_config":{}}', "body"),
        (b'{"contents":[],"GenerationConfig":{}}', "body"),
        (b'{"contents":[],"generation_Config":{}}', "body"),
        (b'{"contents":[],"generationConfig":{},"generationConfig":{}}', "body"),
        (b'{"contents":[{}], "generationConfig": {"maxOutputTokens":9,"maxOutputTokens":9}}', "generationConfig"),
        (b'{"contents":[{}],"generationConfig":{"max_output_tokens":9,"maxOutputTokens":9}}', "generationConfig"),
        (b'{"contents":[{}],"generationConfig":{"MaxOutputTokens":9}}', "generationConfig"),
        (b'{"contents":[{}],"generationConfig":{"\\u006daxOutputTokens":9}}', "generationConfig"),
        (b'{"contents":[{}],"gener\\u0061tionConfig":{}}', "body"),
        (b'{"contents":[{}],"generationConfig":[]}', "generationConfig"),
        (b'{"contents":[{}],"model":"models/other"}', "model"),
        (b'{"contents":[{}],"model":5}', "model"),
        (b'{"contents":[{}],"tools":5}', "tools"),
        (b'{"contents":[{},5]}', "contents[1]"),
        (b'{"contents":[{"parts":[{"inlineData":5}]}]}', "contents[0].parts[0].inlineData"),
        (b'{"contents":[]}', "contents"),
        (b'{"contents":"Hi"}', "contents"),
        (b"{}", "contents"),
        (b"[]", "body"),
        (b"", "body"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "body"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_wrong_is_named(body: bytes, where: str) -> None:
    assert _refusal(body).where == where


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "x", "1e3", "", 10**10, 10**30, 1e300, [], {}], ids=repr)
def test_a_bound_that_is_none_is_refused(count: object) -> None:
    change = {"generationConfig": {"maxOutputTokens": count}}
    assert _refusal(dumps(BODY | change)).where == "generationConfig.maxOutputTokens"


def test_candidates_are_choices() -> None:
    assert _ask(generationConfig={"candidateCount": 8}).choices == 8
    assert _ask(generationConfig={"candidateCount": None}).choices == 1
    assert _refusal(dumps(BODY | {"generationConfig": {"candidateCount": 9}})).where.endswith("candidateCount")


def test_inline_media_are_no_text() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": PIXEL * 2000}}
    paper = {"inlineData": {"mimeType": "application/pdf", "data": "A" * 120_000}}
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "A" * 120_000}}
    linked = {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.org/a.pdf"}}
    film = {"fileData": {"fileUri": "https://www.youtube.com/watch?v=x"}}
    result = {"functionResponse": {"name": "get", "response": {}, "parts": [image]}}
    ask = _ask(**_user(image, paper, sound, linked, film, result), systemInstruction={"parts": [image]})
    assert ask.needs == {Ability.IMAGES, Ability.TOOLS}
    assert ask.images == 1 + 3 + 1 + 10 + 300 + 1 + 1
    assert 600 < ask.text_bytes < 1500


@pytest.mark.parametrize(
    ("change", "keeps"),
    [
        ({}, False),
        ({"cachedContent": "cachedContents/a"}, True),
        ({"continuation_token": "AbC="}, True),
        (_user({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}}), True),
        (_user({"fileData": {"fileUri": "https://example.org/a"}}), False),
    ],
    ids=repr,
)
def test_what_the_provider_keeps(change: dict[str, Any], keeps: bool) -> None:
    assert _ask(**change).keeps_state is keeps


def test_a_body_may_name_the_model_again() -> None:
    body = dumps({"model": "models/gemini-3.5-flash"} | BODY)
    assert WIRE.read(body, TARGET).model == "gemini-3.5-flash"
    assert json.loads(WIRE.rewrite(body, model="gemini-4")) == {"model": "models/gemini-4"} | BODY
    assert WIRE.rewrite(body, model="gemini-3.5-flash") is body


def test_the_bound_has_one_place() -> None:
    plain = b'{"contents":[{"role": "user"}],"x":1e2}'
    out = WIRE.rewrite(plain, max_output=5, limit_field="max_tokens", include_usage=True)
    assert out == b'{"contents":[{"role": "user"}],"x":1e2,"generationConfig":{"maxOutputTokens":5}}'
    empty = b'{"contents":[{}],"generationConfig":null}'
    assert WIRE.rewrite(empty, max_output=5) == b'{"contents":[{}],"generationConfig":{"maxOutputTokens":5}}'
    spaced = b'{"contents":[{ }], "generationConfig": {"topK": 1.0, "maxOutputTokens": "9"}}'
    assert WIRE.rewrite(spaced, max_output=5) == (
        b'{"contents":[{ }],"generationConfig":{"topK":1.0,"maxOutputTokens":5}}'
    )


def test_nothing_to_change_is_the_same_object() -> None:
    body = dumps(BODY)
    assert WIRE.rewrite(body) is body
    assert WIRE.rewrite(body, model="other", include_usage=True) is body
    assert WIRE.rewrite(body, max_output=32000) is body


@given(st.binary(max_size=200), st.binary(max_size=80))
def test_any_bytes_are_understood_or_refused(body: bytes, target: bytes) -> None:
    for asked, place in ((body, TARGET), (dumps(BODY), target), (dumps(BODY), TARGET + target)):
        _read_or_refuse(asked, place)
    WIRE.answer(body)


@given(data=st.data())
def test_any_change_to_a_body_is_understood_or_refused(data: st.DataObject) -> None:
    full = BODY | {
        "tools": [DECLARED],
        "contents": [{"parts": [{"functionCall": CALL}, {"inlineData": {"data": "a"}}]}],
    }
    body = bytearray(dumps(full))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 4))] = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b"null", b"[", b"{", b'"', b"-1", b"1e9", b"\\u0000"]))
        )
        if not body:
            return
    _read_or_refuse(bytes(body), STREAMED)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON, field=st.sampled_from([*BODY, "tools", "model", "generation_config", "maxOutputTokens"]))
def test_any_value_in_any_field_is_understood_or_refused(value: Any, field: str) -> None:
    _read_or_refuse(json.dumps(BODY | {field: value}).encode(), TARGET)
    config = {"generationConfig": {field: value, "maxOutputTokens": value}}
    _read_or_refuse(json.dumps(BODY | config).encode(), TARGET)


def _read_or_refuse(body: bytes, target: bytes) -> None:
    found: Ask | Reason
    try:
        found = WIRE.read(body, target)
    except Refused as refused:
        found = refused.reason
    if not isinstance(found, Ask):
        assert isinstance(found, BadRequest)
        return
    ask = found
    assert ask.model
    assert 0 <= ask.text_bytes <= len(body)
    again = WIRE.read(WIRE.rewrite(body, max_output=7, model=ask.model), target)
    assert again.max_output == 7
    assert msgspec.structs.replace(again, max_output=0, text_bytes=0) == msgspec.structs.replace(
        ask, max_output=0, text_bytes=0
    )


def test_an_answer() -> None:
    assert WIRE.answer(ANSWER) == Answer(
        usage=USED,
        model="gemini-3.5-flash",
        upstream_id="tTCwacuE",
        complete=True,
        output_bytes=len("Hm.Hé".encode()) + CALLS_BYTES // 2,
    )
    blocked = WIRE.answer(BLOCKED.removeprefix(b"data: "))
    assert blocked == Answer(usage=Usage(input=1117), complete=True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"usageMetadata":5}', b"[" * 100_000, b"\xff"])
def test_garbage_is_an_answer_about_which_nothing_is_known(body: bytes) -> None:
    assert WIRE.answer(body) == Answer()


def test_an_odd_answer_still_tells_its_usage() -> None:
    odd = dumps({"responseId": 7, "modelVersion": "m", "candidates": "text", "usageMetadata": LAST})
    assert WIRE.answer(odd) == Answer(usage=USED, model="m")


def test_pictures_and_speech_are_not_counted_by_their_size() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "A" * 10**6}}
    speech = {"inlineData": {"mimeType": "audio/L16", "data": "A" * 64_000}}
    assert 5000 < WIRE.answer(dumps(chunk(picture))).output_bytes < 6000
    assert 120 < WIRE.answer(dumps(chunk(speech))).output_bytes < 140


@pytest.mark.parametrize(
    "change",
    [
        {"promptTokenCount": -1},
        {"promptTokenCount": None},
        {"promptTokenCount": "12"},
        {"candidatesTokenCount": 1.5},
        {"candidatesTokenCount": 10**10},
        {"candidatesTokenCount": -7},
        {"thoughtsTokenCount": -7},
        {"cachedContentTokenCount": 11},
        {"totalTokenCount": -1},
        {"candidatesTokenCount": 0},
    ],
    ids=repr,
)
def test_figures_that_cannot_be_true_are_no_usage(change: dict[str, Any]) -> None:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 7} | change
    assert WIRE.answer(dumps(chunk({"text": "a"}, usage=usage))).usage is None
    assert _fed(data(chunk({"text": "a"}, usage=usage), chunk(usage=usage, finish="STOP")))[0].usage is None


def test_thoughts_that_only_the_total_tells_are_output() -> None:
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 7, "totalTokenCount": 30}
    assert WIRE.answer(dumps({"usageMetadata": usage})).usage == Usage(input=10, output=20)


def test_streams() -> None:
    meter, out = _fed(TEXT)
    assert out == TEXT
    assert _state(meter) == (USED, USED, "gemini-3.5-flash", "tTCwacuE", TEXT_BYTES, 3, True, "")
    meter, out = _fed(CALLS)
    assert (meter.output_bytes, meter.usage, meter.complete, out) == (CALLS_BYTES, USED, True, CALLS)
    meter, out = _fed(TWO)
    assert (meter.output_bytes, meter.usage, meter.complete, out) == (3, USED, True, TWO)
    meter, out = _fed(BLOCKED)
    assert (meter.usage, meter.complete, out) == (Usage(input=1117), True, BLOCKED)


def test_usage_after_the_end_still_counts() -> None:
    stream = data(chunk({"text": "a"}, finish="STOP"), {"usageMetadata": LAST})
    assert _fed(stream)[0].usage == USED
    meter = WIRE.stream(keep_usage=True)
    meter.feed(data(chunk({"text": "a"}, finish="STOP")))
    assert not meter.complete


def test_a_cut_stream_has_but_partial_usage() -> None:
    meter = _fed(TEXT[: TEXT.index(b'{"candidates":[{"content":{"parts":[{"text":""')])[0]
    assert (meter.usage, meter.partial, meter.complete) == (None, Usage(input=1117, output=1), False)
    meter = _fed(TWO[: TWO.rindex(b"data: ")])[0]
    assert (meter.usage, meter.partial, meter.complete) == (None, USED, False)


def test_a_figure_of_the_wrong_shape_makes_all_doubtful() -> None:
    wrong = chunk(usage={"candidatesTokenCount": "4"})
    assert _fed(data(wrong, chunk({"text": "a"}, usage=LAST, finish="STOP")))[0].usage is None


def test_errors_inside_a_stream_are_seen_and_passed_on() -> None:
    for stream in (ERROR, BARE_ERROR):
        meter, out = _fed(stream)
        assert (meter.error, meter.complete, out) == ("Overloaded", False, stream)
    assert _fed(data({"error": {}}))[0].error


def test_comments_are_removed() -> None:
    noisy = b": hello\n\n" + TEXT.replace(b"\r\n\r\n", b"\r\n\r\n: keep-alive\r\n\r\n")
    meter, out = _fed(noisy)
    assert (out, meter.usage) == (TEXT, USED)


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_splitting_changes_nothing(stream: bytes) -> None:
    whole, out = _fed(stream)
    assert out == stream
    single, shredded = _fed(*(stream[at : at + 1] for at in range(len(stream))))
    assert (_state(single), shredded) == (_state(whole), out)
    for at in range(len(stream)):
        meter, pieces = _fed(stream[:at], stream[at:])
        assert (_state(meter), pieces) == (_state(whole), out)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_any_stream_is_read(noise: bytes, cuts: list[int]) -> None:
    stream = TEXT[:700] + noise + TEXT[700:]
    ends = sorted(cuts)
    meter, out = _fed(*(stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)))
    whole, same = _fed(stream)
    assert (_state(meter), out) == (_state(whole), same)
    assert len(out) <= len(stream)


def _client(transport: httpx2.MockTransport) -> genai.Client:
    options = types.HttpOptions(base_url="http://127.0.0.1", httpx_client=httpx2.Client(transport=transport))
    return genai.Client(api_key="k", http_options=options)


def _transport(body: bytes, status: int = 200, kind: str = "text/event-stream") -> httpx2.MockTransport:
    return httpx2.MockTransport(lambda _: httpx2.Response(status, headers={"content-type": kind}, content=body))


def _heard(stream: bytes) -> list[types.GenerateContentResponse]:
    with _client(_transport(stream)) as client:
        return list(client.models.generate_content_stream(model="m", contents="Hi"))


def _reasons(chunks: list[types.GenerateContentResponse]) -> list[str]:
    found = [each.finish_reason for chunk in chunks for each in chunk.candidates or ()]
    return [reason.name for reason in found if reason is not None]


def test_the_client_takes_a_length_stop_after_any_byte() -> None:
    used = Usage(input=50, cached=10, output=7, reasoning=2)
    for stream in (TEXT, CALLS):
        for at in range(0, len(stream), 7):
            meter = WIRE.stream(keep_usage=True)
            sent = meter.feed(stream[:at])
            chunks = _heard(sent + meter.length_stop(NOTE, used))
            assert _reasons(chunks) == (["STOP"] if b"STOP" in sent else ["MAX_TOKENS"])
            last = chunks[-1].usage_metadata
            assert last is not None
            assert (last.prompt_token_count, last.candidates_token_count, last.thoughts_token_count) == (50, 5, 2)


def test_a_length_stop_tells_why() -> None:
    meter = WIRE.stream(keep_usage=True)
    meter.feed(data(chunk({"text": "a"}, usage=FIRST)))
    out = json.loads(meter.length_stop(NOTE).removeprefix(b"data: "))
    assert out["upshift"] == NOTE
    assert out["usageMetadata"] == FIRST | {"candidatesTokenCount": 0}
    assert (out["modelVersion"], out["responseId"]) == ("gemini-3.5-flash", "tTCwacuE")
    two = WIRE.stream(keep_usage=True)
    two.feed(TWO[: TWO.index(b'{"candidates":[{"finish')])
    stopped = json.loads(two.length_stop(NOTE).removeprefix(b"data: "))
    assert [each["index"] for each in stopped["candidates"]] == [0, 1]
    assert _fed(TEXT)[0].length_stop(NOTE) == b""
    fresh = json.loads(WIRE.stream(keep_usage=True).length_stop(NOTE).removeprefix(b"data: "))
    assert "usageMetadata" not in fresh


def test_the_client_takes_a_failure() -> None:
    meter = WIRE.stream(keep_usage=True)
    stream = meter.feed(data(chunk({"text": "a"})) + b"data: {") + meter.failure("gone", "provider_failed")
    with pytest.raises(errors.ServerError, match="gone"):
        _heard(stream)
    with pytest.raises(errors.ClientError, match="spent") as caught:
        _heard(WIRE.stream(keep_usage=True).failure("spent", "over_budget"))
    assert (caught.value.code, caught.value.status) == (402, "FAILED_PRECONDITION")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "INVALID_ARGUMENT"), (402, "FAILED_PRECONDITION"), (429, "RESOURCE_EXHAUSTED"), (418, "INVALID_ARGUMENT")],
)
def test_refusals_arrive_with_their_text(status: int, kind: str) -> None:
    body = WIRE.refusal(status, "over_budget", "Budget reached", "r1")
    with (
        _client(_transport(body, status, "application/json")) as client,
        pytest.raises(errors.ClientError) as caught,
    ):
        client.models.generate_content(model="m", contents="Hi")
    assert (caught.value.code, caught.value.status, caught.value.message) == (status, kind, "Budget reached")
    assert ("details" in json.loads(body)["error"]) is (status == 429)
    assert json.loads(WIRE.refusal(500, "x", "y", "r1"))["error"]["status"] == "INTERNAL"


def test_lists_of_models_are_read() -> None:
    entries = [ModelEntry("a", "one"), ModelEntry("team/b", "")]
    with _client(_transport(WIRE.models(entries), kind="application/json")) as client:
        assert [each.name for each in client.models.list()] == ["models/a", "models/team/b"]
    with _client(_transport(WIRE.model(entries[0]), kind="application/json")) as client:
        found = client.models.get(model="a")
        assert found.supported_actions is not None
        assert "generateContent" in found.supported_actions
