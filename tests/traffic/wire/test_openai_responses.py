"""Are Responses read, metered and answered as their clients and vendors do?"""

import json
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from tests.traffic.wire.responses_vectors import (
    ANSWER,
    BODY,
    LITE,
    SPARSE,
    STREAMS,
    TEXT,
    TEXT_BYTES,
    TEXT_EVENTS,
    TEXT_ITEMS,
    TOOL_EVENTS,
    TOOL_ITEMS,
    TOOLS,
    TOOLS_BYTES,
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
from upshift.traffic.snapshot import Ability, Dialect
from upshift.traffic.wire.ask import Answer, Ask, ModelEntry, StreamMeter
from upshift.traffic.wire.openai_responses import OpenAIResponses

WIRE = OpenAIResponses()
NOTE = {"reason": "budget-reached:answer-ended"}

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "content",
                    "output",
                    "tools",
                    "image_url",
                    "file_data",
                    "file_id",
                    "input_audio",
                    "result",
                    "format",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def _ask(**change: Any) -> Ask:
    return WIRE.read(dumps(BODY | change))


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


def _said(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in out.decode().split("\n") if line.startswith("data: ")]


def test_a_request_in_our_words() -> None:
    body = dumps(BODY)
    assert WIRE.read(body) == Ask(
        dialect=Dialect.RESPONSES,
        model="gpt-6.1-sol",
        stream=True,
        max_output=500,
        needs=frozenset({Ability.TOOLS, Ability.IMAGES}),
        text_bytes=len(body) - len(BODY["input"][0]["content"][1]["image_url"]) - 2,
        images=1,
        session_hint="019a-session",
        wants_usage=True,
        least_output=16,
    )


def test_the_smallest_request() -> None:
    body = b'{"model":"m","input":"x"}'
    assert WIRE.read(body) == Ask(
        dialect=Dialect.RESPONSES, model="m", text_bytes=len(body), wants_usage=True, least_output=16
    )


def test_tools_within_the_input_are_tools() -> None:
    assert WIRE.read(dumps(LITE)).needs == {Ability.TOOLS}


@pytest.mark.parametrize(
    ("change", "need"),
    [
        ({"tools": [{"type": "custom", "name": "exec"}]}, Ability.TOOLS),
        ({"input": [{"type": "custom_tool_call_output", "call_id": "c", "output": "5"}]}, Ability.TOOLS),
        ({"text": {"format": {"type": "json_object"}}}, Ability.JSON),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {}}}}, Ability.JSON),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, None),
        ({"text": None, "tools": []}, None),
        ({"input": [{"role": "user", "content": 'an "image_url" in words'}]}, None),
    ],
    ids=repr,
)
def test_what_a_request_needs(change: dict[str, Any], need: Ability | None) -> None:
    plain = {"model": "m", "input": "x"}
    assert WIRE.read(dumps(plain | change)).needs == ({need} if need else frozenset())


def test_inline_media_are_no_text() -> None:
    picture = "data:image/png;base64," + "A" * 100_000
    parts = [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": picture, "detail": "high"},
        {"type": "input_image", "image_url": "https://example.org/a.png"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64," + "A" * 120_000},
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "A" * 1_200_000, "format": "wav"}},
    ]
    items = [
        {"role": "user", "content": parts},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": picture}]},
        {
            "type": "computer_call_output",
            "call_id": "c",
            "output": {"type": "computer_screenshot", "image_url": picture},
        },
        {"type": "image_generation_call", "id": "ig_1", "result": "A" * 100_000, "status": "completed"},
    ]
    ask = _ask(input=items)
    assert ask.images == 1 + 1 + 3 + 10 + 3 + 1 + 1 + 1
    assert ask.text_bytes < 2500
    assert not ask.keeps_state


@pytest.mark.parametrize(
    "change",
    [
        {"previous_response_id": "resp_0"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
    ],
    ids=repr,
)
def test_what_only_its_provider_can_go_on_from(change: dict[str, Any]) -> None:
    plain = {"model": "m", "input": "x", "previous_response_id": None, "conversation": None, "prompt": None}
    assert not WIRE.read(dumps(plain)).keeps_state
    ask = WIRE.read(dumps(plain | change))
    assert ask.keeps_state
    assert ask.images
    assert WIRE.read(dumps({"model": "m", "previous_response_id": "resp_0"})).keeps_state


def test_hints() -> None:
    asked = {"model": "m", "input": "x", "user": "alice", "conversation": "conv_1"}
    ask = WIRE.read(dumps(asked))
    assert (ask.user_hint, ask.session_hint) == ("alice", "conv_1")
    ask = WIRE.read(dumps(asked | {"safety_identifier": "h-1", "prompt_cache_options": {"ttl": "12h"}}))
    assert (ask.user_hint, ask.cache_write) == ("h-1", "1h")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"background": True}, "background"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [5]}]}, "input[0].content[0]"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"model": ""}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"Max_output_tokens": 5}, "body"),
    ],
    ids=repr,
)
def test_what_is_refused(change: dict[str, Any], where: str) -> None:
    with pytest.raises(Refused) as caught:
        _ask(**change)
    assert isinstance(caught.value.reason, BadRequest)
    assert caught.value.reason.where == where


@given(st.dictionaries(st.sampled_from(sorted(BODY)) | st.text(max_size=4), JSON, max_size=5), JSON)
def test_a_body_is_understood_or_refused(change: dict[str, Any], item: Any) -> None:
    for body in (BODY | change, BODY | {"input": [item]}, BODY | {"input": [{"role": "user", "content": [item]}]}):
        try:
            assert WIRE.read(dumps(body)).text_bytes >= 0
        except Refused:
            continue


def test_rewriting() -> None:
    body = dumps(BODY)
    assert WIRE.rewrite(body) is body
    assert WIRE.rewrite(body, limit_field="max_tokens", include_usage=True) is body
    assert WIRE.rewrite(body, model="gpt-6.1-sol", max_output=500) is body
    assert WIRE.rewrite(body, model="b", max_output=9) == dumps(BODY | {"model": "b", "max_output_tokens": 9})
    assert json.loads(WIRE.rewrite(b'{"model":"m"}', max_output=5, limit_field="max_tokens")) == {
        "model": "m",
        "max_output_tokens": 5,
    }


def test_an_answer() -> None:
    assert WIRE.answer(ANSWER) == Answer(
        usage=USED,
        model="gpt-5-2025-08-07",
        upstream_id="resp_1",
        complete=True,
        output_bytes=TEXT_BYTES + TOOLS_BYTES,
    )
    assert WIRE.answer(dumps(response("incomplete", []))).complete
    assert not WIRE.answer(dumps(response("queued", []))).complete


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"usage":5}', b"[" * 100_000, b"\xff"])
def test_garbage_is_an_answer_about_which_nothing_is_known(body: bytes) -> None:
    assert WIRE.answer(body) == Answer()


@given(JSON | st.binary())
def test_any_answer_is_read(value: Any) -> None:
    if isinstance(value, bytes):
        assert WIRE.answer(value).usage is None
    else:
        for body in (value, {"output": value}, {"output": [value]}, {"output": [{"content": value}]}):
            WIRE.answer(dumps(body))


@pytest.mark.parametrize(
    "change",
    [
        {"input_tokens": -1},
        {"input_tokens": None},
        {"output_tokens": 10**10},
        {"output_tokens_details": {"reasoning_tokens": 47}},
        {"input_tokens_details": {"cached_tokens": 1118}},
        {"input_tokens_details": {"cache_write_tokens": 5, "cache_write_tokens_details": {"ttl_12h_tokens": 6}}},
        {"input_tokens_details": 5},
    ],
    ids=repr,
)
def test_figures_that_cannot_be_true_are_no_usage(change: dict[str, Any]) -> None:
    usage = USAGE | {"total_tokens": 0} | change
    assert WIRE.answer(dumps(response("completed", [], usage))).usage is None
    assert _fed(events({"type": "response.completed", "response": response("completed", [], usage)}))[0].usage is None


def test_the_shapes_that_vendors_give_usage() -> None:
    def used(**usage: Any) -> Usage | None:
        return WIRE.answer(dumps({"usage": usage})).usage

    assert used(input_tokens=5, output_tokens=2) == Usage(input=5, output=2)
    written = {"cached_tokens": 4, "cache_write_tokens": 5, "cache_write_tokens_details": {"ttl_12h_tokens": 2}}
    assert used(input_tokens=9, output_tokens=2, input_tokens_details=written) == Usage(
        input=9, cached=4, cache_write_5m=3, cache_write_1h=2, output=2
    )
    # Reasoning that a vendor leaves out of output_tokens is part of the total, and of the bill.
    assert used(
        input_tokens=5, output_tokens=2, total_tokens=107, output_tokens_details={"reasoning_tokens": 100}
    ) == Usage(input=5, output=102, reasoning=100)


@pytest.mark.parametrize(("stream", "said", "count"), [(TEXT, TEXT_BYTES, 4), (TOOLS, TOOLS_BYTES, 8)])
def test_a_stream(stream: bytes, said: int, count: int) -> None:
    meter, out = _fed(stream)
    assert out == stream
    assert _state(meter) == (USED, USED, "gpt-5-2025-08-07", "resp_1", said, count, True, "")


def test_a_stream_without_deltas_counts_whole_items() -> None:
    meter, out = _fed(SPARSE)
    assert (out, meter.usage, meter.output_bytes, meter.complete) == (SPARSE, USED, 2, True)
    whole = events({"type": "response.completed", "response": response("completed", TEXT_ITEMS, USAGE)})
    assert _fed(whole)[0].output_bytes == TEXT_BYTES


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_splitting_changes_nothing(stream: bytes) -> None:
    whole, out = _fed(stream)
    single, shredded = _fed(*(stream[at : at + 1] for at in range(len(stream))))
    assert (_state(single), shredded) == (_state(whole), out)
    stop = WIRE.stream(keep_usage=True)
    stop.feed(stream[: len(stream) // 2])
    ended = stop.length_stop(NOTE)
    for at in range(len(stream)):
        meter, pieces = _fed(stream[:at], stream[at:])
        assert (_state(meter), pieces) == (_state(whole), out)
        if at < len(stream) // 2:
            meter = WIRE.stream(keep_usage=True)
            meter.feed(stream[:at])
            meter.feed(stream[at : len(stream) // 2])
            assert meter.length_stop(NOTE) == ended


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_any_stream_goes_through(noise: bytes, cuts: list[int]) -> None:
    stream = TEXT[:1500] + noise + TEXT[1500:]
    ends = sorted(cuts)
    pieces = [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]
    meter, out = _fed(*pieces)
    assert out == stream
    assert _state(meter) == _state(_fed(stream)[0])


_ANY_EVENT: Any = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted({each["type"] for each in [*TEXT_EVENTS, *TOOL_EVENTS, {"type": "error"}]}))},
    optional={
        name: JSON | st.integers(0, 2) | st.text(max_size=3)
        for name in ("sequence_number", "output_index", "content_index", "delta", "item", "part", "response", "error")
    },
)


@given(st.lists(_ANY_EVENT | JSON, max_size=8))
def test_any_event_is_taken_and_the_stream_can_be_ended_after_it(given_events: list[Any]) -> None:
    stream = b"".join(b"data: " + dumps(each) + b"\n\n" for each in given_events)
    meter, out = _fed(stream)
    assert out == stream
    stop = meter.length_stop(NOTE, Usage(input=1))
    assert (stop == b"") == meter.complete
    for each in _said(stop) + _said(meter.failure("gone", "over_budget")):
        assert each["type"].startswith("response.")


def test_whole_events_go_through_as_the_same_object() -> None:
    meter = WIRE.stream(keep_usage=False)
    assert meter.feed(TEXT) is TEXT


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"type": "error", "code": "server_error", "message": "boom", "param": None}, "boom"),
        ({"type": "error", "error": {"message": "boom"}}, "boom"),
        ({"type": "error"}, "an error without a message"),
        (
            {"type": "response.failed", "response": response("failed", [], error={"code": "x", "message": "boom"})},
            "boom",
        ),
        ({"type": "response.failed", "response": None}, "a failure without a message"),
    ],
    ids=repr,
)
def test_an_error_inside_a_stream_is_seen_and_passed_on(event: dict[str, Any], said: str) -> None:
    stream = events(event)
    meter, out = _fed(stream)
    assert (meter.error, out, meter.usage) == (said, stream, None)


def test_a_failure_that_is_billed_says_so() -> None:
    failed = response("failed", [], USAGE, error={"code": "server_error", "message": "boom"})
    meter, _ = _fed(events({"type": "response.failed", "response": failed}))
    assert (meter.usage, meter.complete, meter.error) == (USED, True, "boom")


def _until(given_events: list[dict[str, Any]], count: int) -> StreamMeter:
    meter = WIRE.stream(keep_usage=True)
    meter.feed(events(*given_events)[:-1] if count < 0 else events(*given_events[:count]) + b'data: {"half an ev')
    return meter


def test_a_length_stop_closes_the_open_text() -> None:
    at = next(at for at, each in enumerate(TEXT_EVENTS) if each.get("delta") == "Hé")
    said = _said(_until(TEXT_EVENTS, at + 1).length_stop(NOTE, Usage(input=5, cached=2, output=3)))
    assert [each["type"] for each in said] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert [each["sequence_number"] for each in said] == list(range(at + 1, at + 5))
    text, part, item, last = said
    assert (text["text"], text["item_id"], text["output_index"], text["content_index"]) == ("Hé", "msg_1", 1, 0)
    assert part["part"]["text"] == "Hé"
    assert item["item"] == message("Hé", "incomplete")
    assert last["upshift"] == NOTE
    ended = last["response"]
    assert (ended["id"], ended["status"], ended["created_at"]) == ("resp_1", "incomplete", 1763700000)
    assert ended["incomplete_details"] == {"reason": "max_output_tokens"}
    assert ended["output"] == [reasoning("hm hm"), item["item"]]
    assert ended["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 8,
    }


def test_a_length_stop_closes_open_thoughts() -> None:
    at = next(at for at, each in enumerate(TEXT_EVENTS) if each.get("delta") == "hm ")
    *_, item, last = _said(_until(TEXT_EVENTS, at + 1).length_stop(NOTE))
    assert item["item"] == reasoning("hm ") | {"status": "incomplete"}
    assert last["response"]["usage"]["total_tokens"] == 0


def test_a_call_that_is_cut_is_never_announced_as_done() -> None:
    at = next(at for at, each in enumerate(TOOL_EVENTS) if each.get("delta") == "ls ")
    (last,) = _said(_until(TOOL_EVENTS, at + 1).length_stop(NOTE))
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"] == [*TOOL_ITEMS[:2], custom("ls ") | {"status": "incomplete"}]


def test_a_length_stop_of_what_has_not_begun_begins_it() -> None:
    begun, ended = _said(_until(TEXT_EVENTS, 0).length_stop(NOTE))
    assert (begun["type"], ended["type"]) == ("response.created", "response.incomplete")
    assert begun["response"]["id"] == ended["response"]["id"]


def test_a_length_stop_of_what_has_ended_says_nothing() -> None:
    meter, _ = _fed(TEXT)
    assert meter.length_stop(NOTE) == b""


def test_what_came_over_several_lines_goes_on_one() -> None:
    pretty = json.dumps({"type": "response.output_item.done", "item": message("Hi")}, indent=1)
    stream = b"".join(b"data: " + line.encode() + b"\n" for line in pretty.split("\n")) + b"\n"
    meter, out = _fed(stream)
    assert (out, meter.output_bytes) == (stream, 2)
    assert _said(meter.length_stop(NOTE))[-1]["response"]["output"] == [message("Hi")]


def test_odd_shapes_are_read_as_far_as_they_go() -> None:
    odd = {"type": "function_call", "name": "f", "arguments": {"no": "text"}}
    assert WIRE.answer(dumps(response("completed", [odd, 5]))).output_bytes == 1
    assert _ask(input=[{"type": "function_call_output", "call_id": "c", "output": 5}]).needs == {Ability.TOOLS}
    ended = {"type": "response.output_text.done", "output_index": 0, "text": "a"}
    stream = events(
        {"type": "response.output_item.added", "item": 5}, {"type": "response.output_text.delta", "delta": "a"}, ended
    )
    meter, _ = _fed(stream)
    assert _said(meter.length_stop(NOTE))[-1]["response"]["output"][0]["content"][0]["text"] == "a"
    meter = WIRE.stream(keep_usage=True)
    failed = _said(meter.failure("too long", "context_length_exceeded"))[-1]["response"]["error"]
    assert failed["code"] == "context_length_exceeded"


def test_deltas_of_items_that_nobody_opened() -> None:
    stream = events(
        {"type": "response.output_text.delta", "output_index": 3, "delta": "a"},
        {"type": "response.refusal.delta", "output_index": 3, "content_index": 1, "delta": "no"},
        {"type": "response.function_call_arguments.delta", "output_index": 4, "delta": "{"},
        {"type": "response.output_item.done", "output_index": 5, "item": function("{}")},
        {"type": "response.function_call_arguments.delta", "output_index": 5, "delta": "late"},
    )
    meter, _ = _fed(stream)
    output = _said(meter.length_stop(NOTE))[-1]["response"]["output"]
    assert [each["type"] for each in output] == ["message", "function_call", "function_call"]
    assert [part.get("text", part.get("refusal")) for part in output[0]["content"]] == ["a", "no"]
    assert [each["arguments"] for each in output[1:]] == ["{", "{}"]


def _client(stream: bytes) -> openai.OpenAI:
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=stream))
    return openai.OpenAI(
        api_key="k", base_url="http://127.0.0.1/v1", http_client=httpx2.Client(transport=transport), max_retries=0
    )


def _heard(stream: bytes) -> list[ResponseStreamEvent]:
    """What the official client's helper, which checks the order of events, makes of a stream."""
    with _client(stream) as client, client.responses.stream(model="m", input="x") as heard:
        return list(heard)


@pytest.mark.parametrize("stream", [TEXT, TOOLS], ids=["text", "tools"])
def test_the_official_client_takes_a_stop_after_any_byte(stream: bytes) -> None:
    for at in range(0, stream.index(b"event: response.completed"), 53):
        meter = WIRE.stream(keep_usage=True)
        last = _heard(meter.feed(stream[:at]) + meter.length_stop(NOTE, Usage(input=5, output=3)))[-1]
        assert last.type == "response.incomplete"
        assert last.response.usage
        assert last.response.usage.total_tokens == 8
        meter = WIRE.stream(keep_usage=True)
        failed = _heard(meter.feed(stream[:at]) + meter.failure("gone", "over_budget"))[-1]
        assert failed.type == "response.failed"
        assert failed.response.error
        assert (failed.response.error.code, failed.response.error.message) == ("invalid_prompt", "gone")


def test_a_failure_of_the_provider_may_be_tried_again() -> None:
    (failed,) = _said(_until(TEXT_EVENTS, 2).failure("gone", "provider_failed"))
    assert failed["response"]["error"] == {"code": "server_error", "message": "gone"}
    assert failed["response"]["usage"] is None


def test_refusals() -> None:
    error = json.loads(WIRE.refusal(402, "over_budget", 'no "more"', "r1"))["error"]
    assert error == {
        "message": 'no "more"',
        "type": "insufficient_quota",
        "param": None,
        "code": "insufficient_quota",
    }
    error = json.loads(WIRE.refusal(429, "over_budget", "no more", "r1"))["error"]
    assert (error["type"], error["message"]) == ("usage_limit_reached", "no more")
    error = json.loads(WIRE.refusal(429, "budget_busy", "later", "r1"))["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")


def test_models() -> None:
    entry = ModelEntry("gpt-5-mini", "openai", 1763700000)
    listed = {"id": "gpt-5-mini", "object": "model", "created": 1763700000, "owned_by": "openai"}
    assert json.loads(WIRE.models([entry])) == {"object": "list", "data": [listed]}
    assert json.loads(WIRE.model(entry)) == listed
