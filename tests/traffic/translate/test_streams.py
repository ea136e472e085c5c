"""Does a translated stream say what the provider's said, however its bytes come?"""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.translate.fidelity_table import DIALECTS
from tests.traffic.translate.vectors import Vector, gathered, pairs, streams

from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers
from upshift.traffic.translate.fidelity import answered
from upshift.traffic.translate.translate import TRANSLATORS, Translation
from upshift.traffic.translate.words import (
    Asked,
    Event,
    Refusal,
    Reply,
    Stop,
    StopReason,
    StreamIn,
    Text,
    Thinking,
    ToolCall,
)
from upshift.traffic.wire.sse import Splitter, payload
from upshift.traffic.wire.wires import WIRES

ALL = [
    pytest.param(client, provider, vector, id=f"{client}-{provider}-{vector.says}")
    for client, provider in pairs(DIALECTS)
    for vector in streams(provider)
]
SAME = [
    pytest.param(dialect, vector, id=f"{dialect}-{vector.says}") for dialect in DIALECTS for vector in streams(dialect)
]


def read(reader: StreamIn, data: bytes, size: int = 0) -> list[Event]:
    """All events of a stream that comes in pieces of `size` bytes (0: whole)."""
    events: list[Event] = []
    for at in range(0, len(data), size or len(data) or 1):
        events += reader.feed(data[at : at + (size or len(data))])
    return events + reader.finish()


def translated(client: Dialect, provider: Dialect, data: bytes, size: int = 0) -> bytes:
    stream = Translation(client, provider).stream("the-alias", Asked())
    pieces = [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
    return b"".join(stream.feed(piece) for piece in pieces) + stream.finish()


def same(one: Reply, other: Reply) -> bool:
    """Whether both say the same, as far as every dialect can tell."""

    def told(reply: Reply) -> object:
        parts = [
            part
            for part in reply.parts
            if not (
                isinstance(part, Thinking) and not part.text and (part.signature is None or not part.signature.value)
            )
        ]
        for part in parts:
            if isinstance(part, Thinking) and part.signature is not None and not part.signature.value:
                part.signature = None
            if isinstance(part, ToolCall):
                part.arguments = bytes(carriers.as_object(part.arguments)).decode()
        parts = [Text(part.text) if isinstance(part, Refusal) else part for part in parts]
        return answered(msgspec.structs.replace(reply, parts=parts, stop_sequence="", usage=None))

    return told(one) == told(other)


@pytest.mark.parametrize(("dialect", "vector"), SAME)
def test_every_byte_boundary_gives_the_same_events(dialect: Dialect, vector: Vector) -> None:
    whole = read(TRANSLATORS[dialect].stream_in(), vector.body)
    gathered(whole)
    for size in (1, 7, 64):
        assert read(TRANSLATORS[dialect].stream_in(), vector.body, size) == whole
    cut = len(vector.body) // 2
    for at in range(cut - 40, cut + 40):
        reader = TRANSLATORS[dialect].stream_in()
        events = reader.feed(vector.body[:at]) + reader.feed(vector.body[at:]) + reader.finish()
        assert events == whole


@pytest.mark.parametrize(("client", "provider", "vector"), ALL)
def test_a_translated_stream_says_the_same(client: Dialect, provider: Dialect, vector: Vector) -> None:
    said, fault = gathered(read(TRANSLATORS[provider].stream_in(), vector.body))
    out = translated(client, provider, vector.body)
    assert translated(client, provider, vector.body, 1) == out
    heard, fault_heard = gathered(read(TRANSLATORS[client].stream_in(), out))
    assert fault_heard == fault
    if fault:
        return
    assert heard.stop is _STOPS.get((client, said.stop), said.stop)
    said.stop = heard.stop
    assert same(said, heard), (said, heard)
    if said.usage is not None:
        assert heard.usage is not None
        assert (heard.usage.input, heard.usage.cached, heard.usage.output) == (
            said.usage.input,
            said.usage.cached,
            said.usage.output,
        )


_STOPS = {
    (dialect, reason): instead
    for dialect in (Dialect.OPENAI, Dialect.RESPONSES, Dialect.GEMINI)
    for reason, instead in {
        StopReason.SEQUENCE: StopReason.END,
        StopReason.PAUSE: StopReason.END,
        StopReason.CONTEXT: StopReason.LENGTH,
    }.items()
}
"""Ends that a dialect has no word of its own for."""


@pytest.mark.parametrize(("client", "provider", "vector"), ALL)
def test_the_clients_own_meter_finds_it_complete(client: Dialect, provider: Dialect, vector: Vector) -> None:
    """What goes out is a stream by the client's dialect, as its meter reads it."""
    said, fault = gathered(read(TRANSLATORS[provider].stream_in(), vector.body))
    meter = WIRES[client].stream(keep_usage=True)
    meter.feed(translated(client, provider, vector.body))
    meter.finish()
    if fault:
        assert fault in meter.error
    else:
        assert meter.complete
        assert not meter.error
        assert meter.model == "the-alias"
        if said.usage is not None:
            assert meter.usage is not None
            assert meter.usage.total == said.usage.total


@pytest.mark.parametrize(("client", "provider", "vector"), ALL)
def test_a_stream_may_be_ended_after_any_event(client: Dialect, provider: Dialect, vector: Vector) -> None:
    pieces = Splitter().cut(vector.body)
    for end in range(len(pieces) + 1):
        stream = Translation(client, provider).stream("the-alias", Asked())
        out = b"".join(map(stream.feed, pieces[:end]))
        closing = stream.length_stop({"reason": "budget"}, Usage(input=5, output=7))
        assert stream.feed(b"".join(pieces[end:])) + stream.finish() == b""
        assert stream.length_stop({"reason": "budget"}) + stream.failure("x", "y") == b""
        reader = TRANSLATORS[client].stream_in()
        heard, fault = gathered(reader.feed(out + closing) + reader.finish())
        meter = WIRES[client].stream(keep_usage=True)
        meter.feed(out + closing)
        meter.finish()
        if not fault:
            assert meter.complete
            told = any(
                isinstance(event, Stop) for event in TRANSLATORS[provider].stream_in().feed(b"".join(pieces[:end]))
            )
            assert told or heard.stop is StopReason.LENGTH
            assert told or b'"upshift"' in closing


@pytest.mark.parametrize(("client", "provider"), list(pairs(DIALECTS)))
def test_a_failure_is_said_once_and_ends_all(client: Dialect, provider: Dialect) -> None:
    vector = streams(provider)[0]
    stream = Translation(client, provider).stream("the-alias", Asked())
    half = len(vector.body) // 2
    out = stream.feed(vector.body[:half]) + stream.failure("no more money", "over_budget")
    assert stream.feed(vector.body[half:]) + stream.finish() + stream.failure("x", "y") == b""
    meter = WIRES[client].stream(keep_usage=True)
    meter.feed(out)
    assert meter.error == "no more money"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_empty_stream_is_a_fault(dialect: Dialect) -> None:
    reader = TRANSLATORS[dialect].stream_in()
    _, fault = gathered(reader.feed(b": ping\n\n") + reader.finish())
    assert fault
    assert reader.finish() == []


@pytest.mark.parametrize("provider", DIALECTS)
@given(data=st.data())
def test_no_bytes_at_all_raise(provider: Dialect, data: st.DataObject) -> None:
    """Garbage among sound events: nothing is raised, and the order of events holds."""
    vector = data.draw(st.sampled_from(streams(provider)))
    events = Splitter().cut(vector.body)
    junk = st.one_of(
        st.binary(max_size=60),
        st.sampled_from(events),
        st.sampled_from(events).map(lambda event: event.replace(b'"', b"", 1)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=4),
        ).map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n"),
    )
    mixed = b"".join(data.draw(st.lists(junk, max_size=12)))
    for client in DIALECTS:
        if client is not provider:
            out = translated(client, provider, mixed)
            assert all(payload(event) for event in Splitter().cut(out))
    gathered(read(TRANSLATORS[provider].stream_in(), mixed))


_FIELDS = ["choices", "delta", "content", "tool_calls", "index", "id", "function", "name", "arguments", "type", "usage"]
_FIELDS += ["message", "content_block", "text", "error", "finish_reason", "candidates", "parts", "item", "response"]
