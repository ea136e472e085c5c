"""Are the traces of instrumented agents read alike in both encodings, and is no byte able to break the reading?"""

import json
from base64 import b64decode
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # has no stubs
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from upshift.model.feedback import Feedback, Operation, OperationKind, Origin, Quality, TaskEnded, TaskOutcome
from upshift.sources.otlp import (
    Taken,
    answer_in_json,
    answer_in_protobuf,
    feedback_of,
    spans_of_json,
    spans_of_protobuf,
)
from upshift.sources.protobuf import fields

START = 1_795_255_200 * 10**9
AT = START // 1000
TRACE, ROOT, CHAT, TOOL = bytes(range(1, 17)), b"\1" * 8, b"\2" * 8, b"\3" * 8


def attributes(**said: Any) -> list[KeyValue]:
    """Double underscores for dots."""
    return [KeyValue(key=key.replace("__", "."), value=value(each)) for key, each in said.items()]


def value(each: Any) -> AnyValue:
    match each:
        case bool():
            return AnyValue(bool_value=each)
        case int():
            return AnyValue(int_value=each)
        case float():
            return AnyValue(double_value=each)
        case list():
            return AnyValue(array_value=ArrayValue(values=map(value, each)))
        case _:
            return AnyValue(string_value=each)


def span(
    id_: bytes,
    operation: str,
    seconds: float = 1,
    parent: bytes = b"",
    code: Status.StatusCode.ValueType = Status.STATUS_CODE_UNSET,
    **said: Any,
) -> Span:
    return Span(
        trace_id=TRACE, span_id=id_, parent_span_id=parent, name="a name", kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=START, end_time_unix_nano=START + int(seconds * 10**9),
        attributes=attributes(gen_ai__operation__name=operation, **said), status=Status(code=code, message="m"),
    )  # fmt: skip


def request(*spans: Span, **resource: Any) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(resource=Resource(attributes=attributes(**resource)), scope_spans=[ScopeSpans(spans=spans)])
        ]
    )


def as_json(sent: ExportTraceServiceRequest) -> bytes:
    """OTLP's own JSON: ids in hex."""
    document = MessageToDict(sent, use_integers_for_enums=True)
    for part in document.get("resourceSpans", []):
        for each in (each for scope in part["scopeSpans"] for each in scope.get("spans", [])):
            for name in ("traceId", "spanId", "parentSpanId"):
                if name in each:
                    each[name] = b64decode(each[name]).hex()
    return json.dumps(document).encode()


def taken(sent: ExportTraceServiceRequest, **more: Any) -> Taken:
    """Read from both encodings, which have to say the same."""
    latest = AT + 60 * 10**6
    found = feedback_of(spans_of_protobuf(sent.SerializeToString()), latest, **more)
    assert feedback_of(spans_of_json(as_json(sent)), latest, **more) == found
    return found


def records(sent: ExportTraceServiceRequest, **more: Any) -> tuple[Feedback, ...]:
    found = taken(sent, **more)
    assert (found.rejected, found.why) == (0, ())
    return found.records


def test_an_invocation_its_model_call_and_its_tool() -> None:
    root = span(ROOT, "invoke_agent", 3, gen_ai__agent__name="ada", gen_ai__conversation__id="s1", other=[1, "x"])
    chat = span(CHAT, "chat", 2, ROOT, gen_ai__request__model="big", gen_ai__response__model="big-2026",
                gen_ai__usage__input_tokens=100, gen_ai__usage__output_tokens=7)  # fmt: skip
    tool = span(
        TOOL,
        "execute_tool",
        0.5,
        CHAT,
        code=Status.STATUS_CODE_ERROR,
        gen_ai__tool__name="search",
        error__type="timeout",
    )
    origin = Origin(session="s1", agent="ada", workload="chat", pod="pod-1", task=TRACE.hex())
    sent = request(tool, chat, root, service__name="svc", upshift__workload="chat", upshift__pod="pod-1")
    trace = TRACE.hex()
    assert records(sent) == (
        Operation(
            id=f"{trace}/{TOOL.hex()}", at=AT + 500_000, origin=origin, kind=OperationKind.TOOL, name="search",
            latency_us=500_000, failed=True, error="timeout",
        ),
        Operation(
            id=f"{trace}/{CHAT.hex()}", at=AT + 2_000_000, origin=origin, kind=OperationKind.MODEL, name="big-2026",
            latency_us=2_000_000, input_tokens=100, output_tokens=7,
        ),
        Operation(
            id=f"{trace}/{ROOT.hex()}", at=AT + 3_000_000, origin=origin, kind=OperationKind.AGENT, name="ada",
            latency_us=3_000_000,
        ),
        TaskEnded(f"{trace}/{ROOT.hex()}", AT + 3_000_000, origin, TaskOutcome.DONE, AT),
    )  # fmt: skip


def test_who_it_was_without_an_agent_span() -> None:
    alone = span(CHAT, "chat")
    assert records(request(alone, service__name="svc"))[0].origin.agent == "svc"
    assert records(request(alone, service__name="unknown_service:python"))[0].origin.agent == ""
    assert records(request(alone, service__name="svc"), agent="ada")[0].origin.agent == "ada"


def test_tasks_may_be_reported_in_another_way() -> None:
    sent = request(span(ROOT, "invoke_agent", code=Status.STATUS_CODE_ERROR))
    operation, task = records(sent)
    assert isinstance(operation, Operation)
    assert operation.failed
    assert isinstance(task, TaskEnded)
    assert task.outcome is TaskOutcome.FAILED
    assert records(sent, tasks=False) == (operation,)


def test_tokens_by_their_former_names_and_none_where_none_are_said() -> None:
    old = span(CHAT, "text_completion", gen_ai__usage__prompt_tokens=5, gen_ai__usage__completion_tokens=0)
    odd = span(TOOL, "chat", gen_ai__usage__input_tokens=-5, gen_ai__usage__output_tokens="many")
    first, second = records(request(old, odd))
    assert isinstance(first, Operation)
    assert isinstance(second, Operation)
    assert (first.input_tokens, first.output_tokens) == (5, 0)
    assert (second.input_tokens, second.output_tokens) == (None, None)


def test_evaluations_are_scores() -> None:
    root = span(ROOT, "invoke_agent", gen_ai__agent__name="ada")
    for score in (0.75, 4.0, 1, "good"):
        said = attributes(gen_ai__evaluation__name="Relevance", gen_ai__evaluation__score__value=score)
        root.events.add(name="gen_ai.evaluation.result", time_unix_nano=START + 10**9, attributes=said)
    root.events.add(name="exception", attributes=attributes(gen_ai__evaluation__score__value=0.1))
    found = taken(request(root), tasks=False)
    scores = [each for each in found.records if isinstance(each, Quality)]
    assert [(each.score, each.rubric, each.origin.agent) for each in scores] == [
        (0.75, "Relevance", "ada"), (1.0, "Relevance", "ada"),
    ]  # fmt: skip
    assert len({each.id for each in scores}) == 2
    assert (found.rejected, found.why) == (0, ("an evaluation without a score from 0 to 1 was left out",))


def test_what_says_nothing_of_agents_is_ignored_and_what_is_wrong_is_counted() -> None:
    web = Span(trace_id=TRACE, span_id=ROOT, start_time_unix_nano=START, end_time_unix_nano=START)
    bad = [span(CHAT, "chat"), span(CHAT, "chat"), span(CHAT, "chat"), span(CHAT, "chat", seconds=120)]
    bad[0].trace_id = b"short"
    bad[1].span_id = bytes(8)
    bad[2].end_time_unix_nano = START - 1
    found = feedback_of(spans_of_protobuf(request(web, *bad, span(TOOL, "plan")).SerializeToString()), AT + 60 * 10**6)
    assert (found.records, found.ignored, found.rejected) == ((), 2, 4)
    response = ExportTraceServiceResponse.FromString(answer_in_protobuf(found))
    assert response.partial_success.rejected_spans == 4
    assert "in the future" in response.partial_success.error_message
    said = json.loads(answer_in_json(found))["partialSuccess"]
    assert said == {"rejectedSpans": "4", "errorMessage": response.partial_success.error_message}


def test_nothing_is_said_when_all_is_taken() -> None:
    found = taken(request(span(CHAT, "chat")))
    assert (answer_in_json(found), answer_in_protobuf(found)) == (b"{}", b"")


def test_hostile_names_are_shortened_and_can_be_shown() -> None:
    (found,) = records(request(span(CHAT, "chat", gen_ai__agent__name="a\x00\u202e\n" + "x" * 10_000)))
    assert found.origin.agent == "a\ufffd\ufffd\ufffd" + "x" * 124


def test_spans_that_are_their_own_parents() -> None:
    one, two = span(CHAT, "chat", parent=TOOL), span(TOOL, "chat", parent=CHAT)
    assert [each.origin.agent for each in records(request(one, two, service__name="svc"))] == ["svc", "svc"]


def test_more_spans_than_are_taken_are_counted() -> None:
    one = span(CHAT, "chat").SerializeToString()
    spans = [Span.FromString(one) for _ in range(10_002)]
    for number, each in enumerate(spans, 1):
        each.span_id = number.to_bytes(8, "big")
    found = feedback_of(spans_of_protobuf(request(*spans).SerializeToString()), AT + 60 * 10**6)
    assert (len(found.records), found.rejected) == (10_000, 2)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"resourceSpans": {}}', b'{"resourceSpans": [1]}', b"[" * 9999])
def test_json_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|expected"):
        spans_of_json(body)


@pytest.mark.parametrize("body", [b"\x0a", b"\x0a\x05a", b"\x00", b"\x0b", b"\xff" * 11, b"\x09\x01"])
def test_bytes_that_are_no_message_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"field|message|number"):
        list(fields(body))


@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_read_or_refused(body: bytes) -> None:
    for read in (spans_of_protobuf, spans_of_json):
        try:
            found = read(body)
        except ValueError:
            continue
        feedback_of(found, AT)


_WHOLE = request(
    span(ROOT, "invoke_agent", gen_ai__agent__name="ada", gen_ai__conversation__id="s1"),
    span(CHAT, "chat", 2, ROOT, gen_ai__usage__input_tokens=100),
).SerializeToString()


@given(st.integers(0, len(_WHOLE) - 1), st.integers(0, 255))
def test_one_byte_that_is_wrong_breaks_nothing(place: int, byte: int) -> None:
    try:
        found = spans_of_protobuf(_WHOLE[:place] + bytes([byte]) + _WHOLE[place + 1 :])
    except ValueError:
        return
    feedback_of(found, AT)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["key", "value", "stringValue", "intValue", "doubleValue", "code", "name", "attributes"]), inner,
        max_size=3,
    ),
    max_leaves=9,
)  # fmt: skip
_SPANS = st.dictionaries(
    st.sampled_from(["traceId", "spanId", "parentSpanId", "startTimeUnixNano", "endTimeUnixNano", "attributes",
                     "events", "status"]),
    _VALUES | st.just("0af7651916cd43dd8448eb211c80319c") | st.just("b7ad6b7169203331") | st.just("1795255200000000000"),
)  # fmt: skip


@given(st.lists(_SPANS, max_size=3), _VALUES)
def test_whatever_json_comes_is_read_or_refused(spans: list[Any], resource: Any) -> None:
    document = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
    found = feedback_of(spans_of_json(json.dumps(document).encode()), AT + 60 * 10**6)
    assert found.ignored + found.rejected + len({each.id for each in found.records}) <= len(spans)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["chat", "invoke_agent", "execute_tool", "plan"]),
            st.text(max_size=20), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False),
            st.sampled_from(Status.StatusCode.values()),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_both_encodings_say_the_same(given_: list[tuple[str, str, int, float, Status.StatusCode.ValueType]]) -> None:
    spans = []
    for number, (operation, name, count, score, code) in enumerate(given_, 1):
        one = span(number.to_bytes(8, "big"), operation, 1, ROOT, code, gen_ai__agent__name=name,
                   gen_ai__usage__input_tokens=count)  # fmt: skip
        said = attributes(gen_ai__evaluation__name=name, gen_ai__evaluation__score__value=score)
        one.events.add(name="gen_ai.evaluation.result", attributes=said)
        spans.append(one)
    taken(request(*spans))
