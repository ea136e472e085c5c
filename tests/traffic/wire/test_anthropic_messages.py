"""Are Messages read, metered and answered as their clients and vendors do?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.wire.vectors import (
    CLAUDE_ANSWER,
    CLAUDE_BODY,
    CLAUDE_ERROR,
    CLAUDE_PARTIAL,
    CLAUDE_START,
    CLAUDE_STREAMS,
    CLAUDE_TEXT,
    CLAUDE_TEXT_BYTES,
    CLAUDE_USED,
    PIXEL,
    dumps,
    named,
)

from upshift.model.refusal import BadRequest, Refused
from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Ability, Dialect
from upshift.traffic.wire.anthropic_messages import AnthropicMessages
from upshift.traffic.wire.ask import Answer, Ask, ModelEntry, StreamMeter

WIRE = AnthropicMessages()


def _ask(**change: Any) -> Ask:
    return WIRE.read(dumps(CLAUDE_BODY | change))


def _user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


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
    body = dumps(CLAUDE_BODY)
    assert WIRE.read(body) == Ask(
        dialect=Dialect.ANTHROPIC,
        model="claude-opus-5-5",
        stream=True,
        max_output=32000,
        text_bytes=len(body),
        cache_write="5m",
        session_hint="s-42",
        wants_usage=True,
    )


@pytest.mark.parametrize(
    ("user_id", "hints"),
    [
        ("alice", ("alice", "")),
        ("", ("", "")),
        ('{"session_id": "s"}', ("", "s")),
        ('{"session_id": 5}', ('{"session_id": 5}', "")),
        ("{alice}", ("{alice}", "")),
        ("user_0af3_account__session_6b7c", ("", "6b7c")),
    ],
)
def test_who_and_which_session(user_id: str, hints: tuple[str, str]) -> None:
    ask = _ask(metadata={"user_id": user_id})
    assert (ask.user_hint, ask.session_hint) == hints
    assert _ask(metadata=None).user_hint == ""


@pytest.mark.parametrize(
    ("change", "needs"),
    [
        ({"tools": [{"name": "get", "input_schema": {"type": "object"}}]}, {Ability.TOOLS}),
        ({"tools": []}, set()),
        (_user({"type": "tool_result", "tool_use_id": "t", "content": "5"}), {Ability.TOOLS}),
        (_user({"type": "tool_use", "id": "t", "name": "get", "input": {}}), {Ability.TOOLS}),
        ({"output_config": {"effort": "high"}}, set()),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, {Ability.JSON}),
        ({"output_format": {"type": "json_schema", "schema": {}}}, {Ability.JSON}),
        (_user({"type": "image", "source": {"type": "url", "url": "https://example.org/a"}}), {Ability.IMAGES}),
        (_user({"type": "text", "text": '{"type":"image","cache_control":{"ttl":"1h"}}'}), set()),
    ],
    ids=repr,
)
def test_what_a_request_needs(change: dict[str, Any], needs: set[Ability]) -> None:
    assert _ask(**change).needs == needs


EPHEMERAL, HOUR = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("change", "write"),
    [
        ({"system": "plain"}, ""),
        ({"system": "plain", "cache_control": EPHEMERAL}, "5m"),
        ({"system": "plain", "tools": [{"name": "a", "cache_control": HOUR}, {"name": "b"}]}, "1h"),
        ({"system": "plain"} | _user({"type": "text", "text": "a", "cache_control": HOUR}), "1h"),
        ({"system": "plain"} | _user({"type": "text", "text": "a", "cache_control": None}), ""),
        (_user({"type": "text", "text": "a", "cache_control": HOUR}), "1h"),
        (
            {"system": "plain"}
            | _user({"type": "tool_result", "content": [{"type": "text", "text": "a", "cache_control": EPHEMERAL}]}),
            "5m",
        ),
    ],
    ids=repr,
)
def test_the_dearest_cache_that_is_asked_for(change: dict[str, Any], write: str) -> None:
    assert _ask(**change).cache_write == write


def test_inline_media_are_no_text() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL * 2000}}
    paper = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 120_000}}
    linked = {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello " * 200}}
    ask = _ask(**_user({"type": "tool_result", "content": [image]}, image, paper, linked, plain, {"type": "image"}))
    assert ask.needs == {Ability.IMAGES, Ability.TOOLS}
    assert ask.images == 1 + 1 + 3 + 10 + 0 + 1
    assert 1200 < ask.text_bytes < 2500


def test_a_wrong_tool_or_block_is_named() -> None:
    for change, where in (
        ({"tools": [{}, 5]}, "tools[1]"),
        ({"system": [{"type": 5}]}, "system[0].type"),
        (_user({"type": "text"}, {"type": "tool_result", "content": 5}), "messages[0].content[1].content"),
    ):
        with pytest.raises(Refused) as caught:
            _ask(**change)
        assert isinstance(caught.value.reason, BadRequest)
        assert caught.value.reason.where == where


def test_results_within_results_are_left_alone() -> None:
    inner = {"type": "tool_result", "content": [{"type": "image"}]}
    assert _ask(**_user({"type": "tool_result", "content": [inner]})).images == 0


def test_the_bound_has_one_place() -> None:
    body = b'{"model":"m","messages":[]}'
    out = WIRE.rewrite(body, max_output=5, limit_field="max_completion_tokens", include_usage=True)
    assert out == b'{"model":"m","messages":[],"max_tokens":5}'


def test_an_answer() -> None:
    assert WIRE.answer(CLAUDE_ANSWER) == Answer(
        usage=Usage(input=100, cached=40, cache_write_5m=50, output=7),
        model="claude-opus-5-5",
        upstream_id="msg_1",
        complete=True,
        output_bytes=len('Hm.Grüeziget{"a":1}'.encode()),
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"usage":5}', b"[" * 100_000, b"\xff"])
def test_garbage_is_an_answer_about_which_nothing_is_known(body: bytes) -> None:
    assert WIRE.answer(body) == Answer()


def test_an_odd_answer_still_tells_its_usage() -> None:
    odd = dumps({"id": 7, "model": "m", "content": "text", "usage": {"input_tokens": 3, "output_tokens": 2}})
    assert WIRE.answer(odd) == Answer(usage=Usage(input=3, output=2), model="m")


@pytest.mark.parametrize(
    "change",
    [
        {"input_tokens": -1},
        {"input_tokens": None},
        {"input_tokens": "12"},
        {"output_tokens": 1.5},
        {"output_tokens": 10**10},
        {"output_tokens": None},
        {"cache_read_input_tokens": -4},
        {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 6}},
        {"cache_creation": 5},
        {"output_tokens_details": {"thinking_tokens": 8}},
    ],
    ids=repr,
)
def test_figures_that_cannot_be_true_are_no_usage(change: dict[str, Any]) -> None:
    usage = {"input_tokens": 10, "output_tokens": 7} | change
    assert WIRE.answer(dumps({"usage": usage})).usage is None
    stream = named({"type": "message_start", "message": {"usage": usage}}, {"type": "message_delta", "usage": usage})
    assert _fed(stream)[0].usage is None


def test_the_split_of_cache_writes() -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 1,
        "cache_creation": {"ephemeral_1h_input_tokens": 6, "ephemeral_5m_input_tokens": 2},
    }
    assert WIRE.answer(dumps({"usage": usage})).usage == Usage(input=9, cache_write_5m=2, cache_write_1h=6, output=1)


def test_a_stream() -> None:
    meter, out = _fed(CLAUDE_TEXT)
    assert out == CLAUDE_TEXT
    assert _state(meter) == (
        CLAUDE_USED,
        CLAUDE_USED,
        "claude-opus-5-5",
        "msg_01A",
        CLAUDE_TEXT_BYTES,
        4,
        True,
        "",
    )


def test_a_cut_stream_has_but_partial_usage() -> None:
    meter = _fed(CLAUDE_TEXT[: CLAUDE_TEXT.index(b"event: message_delta")])[0]
    assert (meter.usage, meter.partial, meter.complete) == (None, CLAUDE_PARTIAL, False)


def test_the_last_word_on_each_field_counts() -> None:
    first = {"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}}
    last = {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 9, "output_tokens": 4}}
    assert _fed(named(first, last))[0].usage == Usage(input=9, output=4)
    assert _fed(named(first, {"type": "message_delta", "usage": {"input_tokens": 9}}))[0].usage is None
    wrong = {"type": "message_delta", "usage": {"output_tokens": "4"}}
    assert _fed(named(first, wrong, last))[0].usage is None


def test_an_error_inside_a_stream_is_seen_and_passed_on() -> None:
    meter, out = _fed(CLAUDE_ERROR)
    assert (meter.error, meter.complete, out) == ("Overloaded", False, CLAUDE_ERROR)
    assert _fed(b'data: {"type":"error"}\n\n')[0].error == "an error without a message"


@pytest.mark.parametrize("stream", CLAUDE_STREAMS.values(), ids=CLAUDE_STREAMS.keys())
def test_splitting_changes_nothing(stream: bytes) -> None:
    whole, out = _fed(stream)
    assert out == stream
    single, shredded = _fed(*(stream[at : at + 1] for at in range(len(stream))))
    assert (_state(single), shredded) == (_state(whole), out)
    for at in range(len(stream)):
        meter, pieces = _fed(stream[:at], stream[at:])
        assert (_state(meter), pieces) == (_state(whole), out)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_any_stream_goes_through(noise: bytes, cuts: list[int]) -> None:
    stream = CLAUDE_TEXT[:700] + noise + CLAUDE_TEXT[700:]
    ends = sorted(cuts)
    pieces = [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]
    meter, out = _fed(*pieces)
    assert out == stream
    assert _state(meter) == _state(_fed(stream)[0])


def test_odd_events_are_read_as_far_as_they_go() -> None:
    events: list[dict[str, Any]] = [
        {"type": "message_start"},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_delta", "index": 0},
        {"type": "message_delta"},
    ]
    assert _state(_fed(named(*events))[0]) == (None, None, "", "", 0, 0, False, "")
    meter = _fed(
        b": only a comment\n\n"
        + b'data: {"type":"message_stop","index":"x"}\n\ndata: {"type":"novel","delta":5}\n\ndata: 5\n\n'
    )[0]
    assert meter.complete


def _events(out: bytes) -> list[Any]:
    found = []
    for each in out.decode().removesuffix("\n\n").split("\n\n"):
        name, data = each.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        found.append(value)
    return found


def test_a_length_stop_closes_what_is_open() -> None:
    meter = WIRE.stream(keep_usage=True)
    meter.feed(CLAUDE_TEXT[: CLAUDE_TEXT.index(b"Gr")])
    block, delta, stop = _events(meter.length_stop({"reason": "r"}, Usage(input=9, cached=4, output=3)))
    assert block == {"type": "content_block_stop", "index": 1}
    assert delta["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert (delta["usage"]["input_tokens"], delta["usage"]["output_tokens"]) == (5, 3)
    assert delta["upshift"] == {"reason": "r"}
    assert stop == {"type": "message_stop"}


def test_a_length_stop_before_anything_came_is_a_whole_message() -> None:
    kinds = [each["type"] for each in _events(WIRE.stream(keep_usage=True).length_stop({}))]
    assert kinds == ["message_start", "message_delta", "message_stop"]


def test_a_length_stop_of_what_has_ended_says_no_more_than_the_end() -> None:
    meter = WIRE.stream(keep_usage=True)
    meter.feed(CLAUDE_TEXT[: CLAUDE_TEXT.index(b"event: message_stop")])
    assert _events(meter.length_stop({"reason": "r"})) == [{"type": "message_stop", "upshift": {"reason": "r"}}]
    meter.feed(named({"type": "message_stop"}))
    assert meter.length_stop({"reason": "r"}) == b""


def test_a_failure_is_an_error_event() -> None:
    meter = WIRE.stream(keep_usage=True)
    meter.feed(named(CLAUDE_START) + b"event: half")
    error = {"type": "error", "error": {"type": "api_error", "message": "gone"}}
    assert _events(meter.failure("gone", "provider_failed")) == [error]
    assert meter.finish() == b""
    assert _events(meter.failure("spent", "over_budget"))[0]["error"]["type"] == "billing_error"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (402, "over_budget", "billing_error"),
        (400, "invalid_request", "invalid_request_error"),
        (401, "invalid_key", "authentication_error"),
        (403, "not_allowed", "permission_error"),
        (404, "unknown_model", "not_found_error"),
        (413, "request_too_large", "request_too_large"),
        (418, "teapot", "invalid_request_error"),
        (429, "budget_busy", "rate_limit_error"),
        (502, "provider_failed", "api_error"),
        (503, "stopping", "overloaded_error"),
    ],
)
def test_refusals(status: int, code: str, kind: str) -> None:
    said = json.loads(WIRE.refusal(status, code, "no", "r1"))
    assert said == {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "r1"}


def test_models() -> None:
    entries = [ModelEntry("claude-opus-5-5", "anthropic", 1763700000), ModelEntry("claude-haiku", "anthropic")]
    said = json.loads(WIRE.models(entries))
    assert (said["first_id"], said["last_id"], said["has_more"]) == ("claude-opus-5-5", "claude-haiku", False)
    assert [each["created_at"] for each in said["data"]] == ["2025-11-21T04:40:00Z", "1970-01-01T00:00:00Z"]
    assert json.loads(WIRE.model(entries[0])) == said["data"][0]
    assert json.loads(WIRE.models([])) == {"data": [], "has_more": False, "first_id": None, "last_id": None}
