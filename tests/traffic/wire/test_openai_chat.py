"""Are Chat Completions read, metered and answered as their clients and vendors do?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.wire.vectors import (
    OPENAI_ANSWER,
    OPENAI_BODY,
    OPENAI_PARALLEL_TOOLS,
    OPENAI_PARALLEL_TOOLS_BYTES,
    OPENAI_RUNNING_USAGE,
    OPENAI_STREAMS,
    OPENAI_TEXT,
    OPENAI_TEXT_BYTES,
    OPENAI_TOOL,
    OPENAI_TWO_CHOICES,
    OPENAI_USAGE,
    OPENAI_USED,
    PIXEL,
    chunk,
    data,
    delta,
    dumps,
)

from upshift.model.refusal import Refused
from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Ability, Dialect
from upshift.traffic.wire.ask import Answer, Ask, ModelEntry, StreamMeter
from upshift.traffic.wire.openai_chat import OpenAIChat
from upshift.traffic.wire.sse import LARGEST_EVENT

WIRE = OpenAIChat()


def _ask(**change: Any) -> Ask:
    return WIRE.read(dumps(OPENAI_BODY | change))


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


def _fed(*chunks: bytes, keep: bool = True) -> tuple[StreamMeter, bytes]:
    meter = WIRE.stream(keep_usage=keep)
    out = b"".join([*map(meter.feed, chunks), meter.finish()])
    return meter, out


def test_a_request_in_our_words() -> None:
    body = dumps(OPENAI_BODY)
    assert WIRE.read(body) == Ask(
        dialect=Dialect.OPENAI,
        model="gpt-5-mini",
        stream=True,
        max_output=100,
        choices=2,
        text_bytes=len(body),
        user_hint="alice",
        session_hint="session-7",
        wants_usage=True,
    )


def test_the_smallest_request() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
    assert WIRE.read(body) == Ask(dialect=Dialect.OPENAI, model="m", text_bytes=len(body))


def test_either_bound_counts_and_the_newer_identifier_wins() -> None:
    ask = _ask(max_tokens=None, max_completion_tokens=7, safety_identifier="h-1")
    assert (ask.max_output, ask.user_hint) == (7, "h-1")
    assert _ask(max_tokens=None, stream_options=None).max_output is None


def test_two_bounds_or_a_name_in_another_case_are_refused() -> None:
    """A provider may read the other one, or take "Max_tokens" for "max_tokens": a way around a ceiling."""
    with pytest.raises(Refused, match="expected one of the two"):
        _ask(max_tokens=5, max_completion_tokens=7)
    with pytest.raises(Refused, match="lower case"):
        _ask(Max_tokens=30_000)


def test_a_provider_with_the_older_field_is_told_the_bound_in_it() -> None:
    asked = b'{"model":"m","messages":[],"max_completion_tokens":9}'
    told = json.loads(WIRE.rewrite(asked, max_output=7, limit_field="max_tokens"))
    assert (told["max_tokens"], told["max_completion_tokens"]) == (7, 7)


@pytest.mark.parametrize(
    ("change", "need"),
    [
        ({"tools": [OPENAI_TOOL]}, Ability.TOOLS),
        ({"functions": [OPENAI_TOOL["function"]]}, Ability.TOOLS),
        ({"messages": [{"role": "tool", "tool_call_id": "c", "content": "5"}]}, Ability.TOOLS),
        ({"response_format": {"type": "json_object"}}, Ability.JSON),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, Ability.JSON),
        ({"response_format": {"type": "text"}}, None),
        ({"tools": []}, None),
        ({"messages": [{"role": "user", "content": 'an "image_url" in words'}]}, None),
    ],
    ids=repr,
)
def test_what_a_request_needs(change: dict[str, Any], need: Ability | None) -> None:
    assert _ask(**change).needs == ({need} if need else frozenset())


def test_inline_media_are_no_text() -> None:
    url = "data:image/png;base64," + PIXEL * 2000
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 1_200_000, "format": "wav"}}
    paper = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64," + "A" * 120_000}}
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": url, "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        sound,
        paper,
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    ask = _ask(messages=[{"role": "user", "content": parts}])
    assert ask.needs == {Ability.IMAGES}
    assert ask.images == 1 + 1 + 3 + 3 + 10
    assert ask.text_bytes < 1500


def test_escapes_hide_no_image() -> None:
    part = '{"type":"image\\u005furl","im\\u0061ge_url":{"url":"https://example.org/a.png"}}'
    body = f'{{"model":"m","messages":[{{"role":"user","content":[{part}]}}]}}'.encode()
    assert WIRE.read(body).images == 1


def test_a_bound_goes_where_the_client_had_its_own() -> None:
    none = dumps({"model": "m", "messages": [], "max_tokens": None})
    assert json.loads(WIRE.rewrite(none, max_output=5))["max_completion_tokens"] == 5
    assert json.loads(WIRE.rewrite(none, max_output=5, limit_field="max_tokens"))["max_tokens"] == 5
    both = dumps({"model": "m", "max_tokens": 9, "max_completion_tokens": 8})
    assert WIRE.rewrite(both, max_output=5) == dumps({"model": "m", "max_tokens": 5, "max_completion_tokens": 5})


@pytest.mark.parametrize(
    ("options", "after"),
    [
        (None, {"include_usage": True}),
        ({"include_usage": False, "include_obfuscation": False}, {"include_usage": True, "include_obfuscation": False}),
        ({}, {"include_usage": True}),
    ],
)
def test_usage_is_asked_for(options: dict[str, bool] | None, after: dict[str, bool]) -> None:
    body = dumps({"model": "m", "stream_options": options})
    assert json.loads(WIRE.rewrite(body, include_usage=True))["stream_options"] == after
    assert json.loads(WIRE.rewrite(b'{"model":"m"}', include_usage=True))["stream_options"] == {"include_usage": True}


def test_an_answer() -> None:
    said = len('Grüeziget{"a":1}'.encode()) + len('{"name":"sh","input":"ls"}')
    assert WIRE.answer(OPENAI_ANSWER) == Answer(
        usage=OPENAI_USED,
        model="gpt-5-mini-2025-08-07",
        upstream_id="chatcmpl-1",
        complete=True,
        output_bytes=said,
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"usage":5}', b"[" * 100_000, b"\xff"])
def test_garbage_is_an_answer_about_which_nothing_is_known(body: bytes) -> None:
    assert WIRE.answer(body) == Answer()


def test_an_odd_answer_still_tells_its_usage() -> None:
    odd = dumps({"id": 7, "model": "m", "choices": {"no": "list"}, "created": 1.5, "usage": OPENAI_USAGE})
    assert WIRE.answer(odd) == Answer(usage=OPENAI_USED, model="m")


@pytest.mark.parametrize(
    "change",
    [
        {"prompt_tokens": -1},
        {"prompt_tokens": None},
        {"prompt_tokens": "12"},
        {"prompt_tokens": True},
        {"completion_tokens": 1.5},
        {"completion_tokens": 10**10},
        {"total_tokens": -5},
        {"prompt_tokens": 1000},
        {"completion_tokens_details": {"reasoning_tokens": 47}},
        {"prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens_details": 5},
    ],
    ids=repr,
)
def test_figures_that_cannot_be_true_are_no_usage(change: dict[str, Any]) -> None:
    usage = OPENAI_USAGE | {"total_tokens": 0} | change
    assert WIRE.answer(dumps({"usage": usage})).usage is None
    assert _fed(data(chunk(usage=OPENAI_USAGE), chunk(usage=usage), b"[DONE]"))[0].usage is None


def test_the_shapes_that_vendors_give_usage() -> None:
    def used(**usage: Any) -> Usage | None:
        return WIRE.answer(dumps({"usage": usage})).usage

    assert used(prompt_tokens=5, completion_tokens=2) == Usage(input=5, output=2)
    assert used(prompt_tokens=5, completion_tokens=2, prompt_tokens_details=None) == Usage(input=5, output=2)
    assert used(prompt_tokens=5, completion_tokens=2, prompt_cache_hit_tokens=4) == Usage(input=5, cached=4, output=2)
    assert used(
        prompt_tokens=9, completion_tokens=2, prompt_tokens_details={"cached_tokens": 4, "cache_write_tokens": 5}
    ) == Usage(input=9, cached=4, cache_write_5m=5, output=2)
    # Reasoning that a vendor leaves out of completion_tokens is part of the total, and of the bill.
    assert used(
        prompt_tokens=5, completion_tokens=2, total_tokens=107, completion_tokens_details={"reasoning_tokens": 100}
    ) == Usage(input=5, output=102, reasoning=100)


@pytest.mark.parametrize(
    ("stream", "said", "events"),
    [(OPENAI_TEXT, OPENAI_TEXT_BYTES, 2), (OPENAI_PARALLEL_TOOLS, OPENAI_PARALLEL_TOOLS_BYTES, 4)],
)
def test_a_stream(stream: bytes, said: int, events: int) -> None:
    meter, out = _fed(stream)
    assert out == stream
    assert _state(meter) == (
        OPENAI_USED,
        OPENAI_USED,
        "gpt-5-mini-2025-08-07",
        "chatcmpl-Bx1",
        said,
        events,
        True,
        "",
    )


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ({"content": "aé"}, 3),
        ({"content": [{"type": "text", "text": "a"}]}, len('{"type":"text","text":"a"}')),
        ({"refusal": "no"}, 2),
        ({"reasoning_content": "hm"}, 2),
        ({"reasoning": "hm", "content": None}, 2),
        ({"function_call": {"name": "f", "arguments": "{}"}}, 3),
        ({"tool_calls": [{"index": 0}]}, 0),
        ({}, 0),
    ],
    ids=repr,
)
def test_all_that_is_generated_counts(said: dict[str, Any], size: int) -> None:
    assert _fed(data(chunk(delta(**said))))[0].output_bytes == size
    assert WIRE.answer(dumps({"choices": [{"message": said}, {"message": None}]})).output_bytes == size


def test_what_comes_after_a_finish_reason_opens_nothing() -> None:
    meter = WIRE.stream(keep_usage=True)
    meter.feed(data(chunk(delta(finish="stop")), chunk(delta(content=""))))
    assert _events(meter.length_stop({})) == ["[DONE]"]


def test_the_usage_event_that_nobody_asked_for_is_removed() -> None:
    meter, out = _fed(OPENAI_TEXT, keep=False)
    assert meter.usage == OPENAI_USED
    assert out == OPENAI_TEXT.replace(data(chunk(usage=OPENAI_USAGE)), b"")


def test_an_event_without_choices_that_is_not_usage_stays() -> None:
    first = data(chunk(prompt_filter_results=[{"prompt_index": 0}]))
    assert _fed(first + OPENAI_RUNNING_USAGE, keep=False)[1] == first + OPENAI_RUNNING_USAGE


def test_the_last_of_running_figures_counts_once_the_answer_has_ended() -> None:
    events = OPENAI_RUNNING_USAGE.split(b"\n\n")
    meter = WIRE.stream(keep_usage=True)
    meter.feed(b"\n\n".join(events[:2]) + b"\n\n")
    assert (meter.usage, meter.partial) == (None, Usage(input=9, output=2))
    meter.feed(b"\n\n".join(events[2:]))
    assert meter.usage == Usage(input=9, output=3)


def test_finish_reasons_end_a_stream_without_done() -> None:
    assert _fed(OPENAI_TWO_CHOICES.removesuffix(b"data: [DONE]\n\n"))[0].complete
    cut = WIRE.stream(keep_usage=True)
    cut.feed(data(chunk(delta(0, content="a"), delta(1, content="b")), chunk(delta(1, finish="stop"))))
    cut.finish()
    assert not cut.complete


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("stream", OPENAI_STREAMS.values(), ids=OPENAI_STREAMS.keys())
def test_splitting_changes_nothing(stream: bytes, keep: bool) -> None:
    whole, out = _fed(stream, keep=keep)
    single, shredded = _fed(*(stream[at : at + 1] for at in range(len(stream))), keep=keep)
    assert (_state(single), shredded) == (_state(whole), out)
    for at in range(len(stream)):
        meter, pieces = _fed(stream[:at], stream[at:], keep=keep)
        assert (_state(meter), pieces) == (_state(whole), out)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_any_stream_goes_through(noise: bytes, cuts: list[int]) -> None:
    stream = OPENAI_TEXT[:400] + noise + OPENAI_TEXT[400:]
    ends = sorted(cuts)
    pieces = [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]
    meter, out = _fed(*pieces)
    assert out == stream
    assert _state(meter) == _state(_fed(stream)[0])


def test_whole_events_go_through_as_the_same_object() -> None:
    meter = WIRE.stream(keep_usage=False)
    events = data(chunk(delta(content="a")))
    assert meter.feed(events) is events
    assert meter.feed(OPENAI_RUNNING_USAGE) is OPENAI_RUNNING_USAGE


def test_a_stream_that_is_none_is_given_up() -> None:
    meter = WIRE.stream(keep_usage=True)
    assert meter.feed(data(chunk(delta(content="a"))) + b"x" * (LARGEST_EVENT + 1)) == data(chunk(delta(content="a")))
    assert "16,777,216" in meter.error
    assert meter.feed(OPENAI_TEXT) == b""
    assert not meter.complete


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"message": "boom"}, "boom"),
        ("boom", "boom"),
        ({"code": 5}, '{"code":5}'),
        ([1], "[1]"),
    ],
)
def test_an_error_inside_a_stream_is_seen_and_passed_on(error: object, said: str) -> None:
    stream = data({"error": error, "choices": [], "usage": OPENAI_USAGE})
    meter, out = _fed(stream, keep=False)
    assert (meter.error, out) == (said, stream)


def _events(out: bytes) -> list[Any]:
    return [
        line if line == "[DONE]" else json.loads(line)
        for line in (each.removeprefix("data: ") for each in out.decode().split("\n\n") if each)
    ]


def test_a_length_stop_ends_every_open_choice() -> None:
    meter = WIRE.stream(keep_usage=True)
    meter.feed(data(chunk(delta(0, content="a"), delta(1, content="b"), delta(2, content="c"))))
    meter.feed(data(chunk(delta(1, finish="stop"))) + b'data: {"half an ev')
    first, second, usage, done = _events(meter.length_stop({"reason": "r"}, Usage(input=5, output=3)))
    assert [each["choices"][0]["index"] for each in (first, second)] == [0, 2]
    assert {each["choices"][0]["finish_reason"] for each in (first, second)} == {"length"}
    assert (first["id"], first["model"], first["created"]) == ("chatcmpl-Bx1", "gpt-5-mini-2025-08-07", 1763700000)
    assert second["upshift"] == {"reason": "r"}
    assert "upshift" not in first
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 8, "[DONE]")


def test_a_length_stop_without_usage_for_those_who_did_not_ask() -> None:
    meter = WIRE.stream(keep_usage=False)
    stop, done = _events(meter.length_stop({"reason": "r"}, Usage(input=5, output=3)))
    assert (stop["choices"][0]["index"], done) == (0, "[DONE]")


def test_a_length_stop_of_what_has_ended_says_no_more_than_the_end() -> None:
    meter = WIRE.stream(keep_usage=True)
    meter.feed(data(chunk(delta(finish="stop"))))
    assert _events(meter.length_stop({"reason": "r"})) == ["[DONE]"]
    usage, done = _events(meter.length_stop({"reason": "r"}, Usage(input=1)))
    assert (usage["upshift"], done) == ({"reason": "r"}, "[DONE]")
    meter.feed(data(b"[DONE]"))
    assert meter.length_stop({"reason": "r"}) == b""


@pytest.mark.parametrize(
    ("status", "code", "kind", "shown"),
    [
        (402, "over_budget", "insufficient_quota", "insufficient_quota"),
        (400, "invalid_request", "invalid_request_error", "invalid_request"),
        (401, "invalid_key", "authentication_error", "invalid_api_key"),
        (403, "not_allowed", "permission_error", "not_allowed"),
        (404, "unknown_model", "not_found_error", "model_not_found"),
        (413, "request_too_large", "request_too_large", "request_too_large"),
        (429, "budget_busy", "rate_limit_error", "rate_limit_exceeded"),
        (418, "teapot", "invalid_request_error", "teapot"),
        (502, "provider_failed", "api_error", "provider_failed"),
        (503, "stopping", "overloaded_error", "stopping"),
    ],
)
def test_refusals(status: int, code: str, kind: str, shown: str) -> None:
    said = json.loads(WIRE.refusal(status, code, 'no "more"', "r1"))
    assert said == {"error": {"message": 'no "more"', "type": kind, "param": None, "code": shown}}


def test_models() -> None:
    entry = ModelEntry("gpt-5-mini", "openai", 1763700000)
    listed = {"id": "gpt-5-mini", "object": "model", "created": 1763700000, "owned_by": "openai"}
    assert json.loads(WIRE.models([entry])) == {"object": "list", "data": [listed]}
    assert json.loads(WIRE.model(entry)) == listed
