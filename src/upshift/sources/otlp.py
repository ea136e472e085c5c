"""What do the traces of instrumented agents say of their work: OTLP/HTTP with the conventions for generative AI?

OTLP 1.x (opentelemetry.io/docs/specs/otlp), as JSON and as protobuf; semantic conventions gen_ai.*, of which the
current names and those before 1.37 are read. Text of prompts and answers is never looked at.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from upshift.model.feedback import Feedback, Operation, OperationKind, Origin, Quality, TaskEnded, TaskOutcome
from upshift.model.span import Instant
from upshift.sources.protobuf import Value, bytes_field, fields, signed, varint_field

MOST_SPANS = 10_000

_KINDS: Mapping[str, OperationKind] = {
    "invoke_agent": OperationKind.AGENT,
    "invoke_workflow": OperationKind.AGENT,
    "chat": OperationKind.MODEL,
    "text_completion": OperationKind.MODEL,
    "generate_content": OperationKind.MODEL,
    "embeddings": OperationKind.MODEL,
    "execute_tool": OperationKind.TOOL,
}
_OPERATION = "gen_ai.operation.name"
_AGENT = ("gen_ai.agent.name", "gen_ai.agent.id")
_SESSION = ("gen_ai.conversation.id", "session.id")
_INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_NAMES: Mapping[OperationKind, tuple[str, ...]] = {
    OperationKind.AGENT: (*_AGENT, "gen_ai.workflow.name"),
    OperationKind.MODEL: ("gen_ai.response.model", "gen_ai.request.model"),
    OperationKind.TOOL: ("gen_ai.tool.name",),
}
_ERROR = "error.type"
_OURS = ("upshift.workload", "upshift.pod", "upshift.interface")
_EVALUATION, _RUBRIC, _SCORE = "gen_ai.evaluation.result", "gen_ai.evaluation.name", "gen_ai.evaluation.score.value"
_READ = frozenset(
    (
        _OPERATION, _ERROR, _RUBRIC, _SCORE, "service.name", *_AGENT, *_SESSION, *_INPUT, *_OUTPUT, *_OURS,
        *(name for names in _NAMES.values() for name in names),
    )
)  # fmt: skip

_FAILED = 2
_LONGEST = 128
_MOST_TOKENS = 10**12
_MOST_ANCESTORS = 64
_MOST_REASONS = 5

Said = str | int | float | bool
Attributes = dict[str, Said]


class Event(msgspec.Struct, frozen=True):
    """Something that is told of within a span."""

    name: str
    nano: int
    attributes: Attributes


class Span(msgspec.Struct, frozen=True):
    """One span as it was sent; ids in hex, times in nanoseconds since the epoch. `attributes` are those we read."""

    trace: str
    id: str
    parent: str
    start: int
    end: int
    failed: bool
    attributes: Attributes
    resource: Attributes
    events: tuple[Event, ...] = ()


class Taken(msgspec.Struct, frozen=True):
    """What was made of spans. `ignored` say nothing of agents' work; `rejected` could not be read, and `why`."""

    records: tuple[Feedback, ...]
    ignored: int
    rejected: int
    why: tuple[str, ...]


class _RejectedError(ValueError):
    """One span that cannot be read."""


# reading --------------------------------------------------------------------------------------------------------------


def spans_of_json(body: bytes) -> list[Span | str]:
    """The spans of a request, each or why it is none. Raises ValueError for what is no such request."""
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"this is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise ValueError("expected an object with resourceSpans")
    found: list[Span | str] = []
    for part in _listed(request.get("resourceSpans"), "resourceSpans"):
        resource = part.get("resource")
        shared = _json_attributes(resource.get("attributes") if isinstance(resource, dict) else None)
        for scope in _listed(part.get("scopeSpans"), "scopeSpans"):
            found += (_either(_json_span, span, shared) for span in _listed(scope.get("spans"), "spans"))
    return found


def spans_of_protobuf(body: bytes) -> list[Span | str]:
    """The same of an ExportTraceServiceRequest."""
    found: list[Span | str] = []
    for part in _messages(body, 1):
        shared: Attributes = {}
        for resource in _messages(part, 1):
            shared |= _attributes(_messages(resource, 1))
        for scope in _messages(part, 2):
            found += (_either(_span, span, shared) for span in _messages(scope, 2))
    return found


def _either(read: Callable[..., Span], *arguments: object) -> Span | str:
    try:
        return read(*arguments)
    except _RejectedError as error:
        return str(error)


def _listed(found: object, name: str) -> list[dict[str, object]]:
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(f"expected {name} to be a list of objects")
    return found


def _json_span(span: dict[str, object], shared: Attributes) -> Span:
    status = span.get("status")
    code = status.get("code") if isinstance(status, dict) else None
    events = span.get("events")
    return _checked(
        Span(
            trace=str(span.get("traceId") or "").lower(),
            id=str(span.get("spanId") or "").lower(),
            parent=str(span.get("parentSpanId") or "").lower(),
            start=_json_integer(span.get("startTimeUnixNano")),
            end=_json_integer(span.get("endTimeUnixNano")),
            failed=code in (_FAILED, "STATUS_CODE_ERROR"),
            attributes=_json_attributes(span.get("attributes")),
            resource=shared,
            events=tuple(
                Event(_EVALUATION, _json_integer(event.get("timeUnixNano")), _json_attributes(event.get("attributes")))
                for event in (events if isinstance(events, list) else ())
                if isinstance(event, dict) and event.get("name") == _EVALUATION
            ),
        )
    )


def _json_integer(found: object) -> int:
    """64-bit numbers are texts in OTLP's JSON, and numbers in that of many senders."""
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    if isinstance(found, str) and len(found) <= 20 and found.isascii() and found.isdigit():
        return int(found)
    return -1


def _json_attributes(found: object) -> Attributes:
    said: Attributes = {}
    for each in found if isinstance(found, list) else ():
        key, value = (each.get("key"), each.get("value")) if isinstance(each, dict) else (None, None)
        if isinstance(key, str) and key in _READ and isinstance(value, dict):
            plain = value.get("stringValue", value.get("doubleValue", value.get("boolValue")))
            if "intValue" in value:
                plain = _json_integer(value["intValue"])
            if isinstance(plain, str | int | float):
                said[key] = plain
    return said


def _messages(data: bytes, number: int) -> Iterator[bytes]:
    return (value for found, value in fields(data) if found == number and isinstance(value, bytes))


def _span(data: bytes, shared: Attributes) -> Span:
    one: dict[int, Value] = {}
    attributes: list[bytes] = []
    events: list[Event] = []
    failed = False
    for number, value in fields(data):
        if number == 9 and isinstance(value, bytes):
            attributes.append(value)
        elif number == 11 and isinstance(value, bytes):
            events += _evaluation(value)
        elif number == 15 and isinstance(value, bytes):
            failed = (3, _FAILED) in fields(value)
        else:
            one[number] = value
    return _checked(
        Span(
            trace=_hex(one.get(1)), id=_hex(one.get(2)), parent=_hex(one.get(4)), start=_integer(one.get(7)),
            end=_integer(one.get(8)), failed=failed, attributes=_attributes(attributes), resource=shared,
            events=tuple(events),
        )
    )  # fmt: skip


def _evaluation(data: bytes) -> Iterator[Event]:
    whole = list(fields(data))
    if (2, _EVALUATION.encode()) in whole:
        attributes = _attributes(value for number, value in whole if number == 3 and isinstance(value, bytes))
        yield Event(_EVALUATION, _integer(dict(whole).get(1)), attributes)


def _attributes(pairs: Iterable[bytes]) -> Attributes:
    said: Attributes = {}
    for pair in pairs:
        found = dict(fields(pair))
        key, value = found.get(1), found.get(2)
        if isinstance(key, bytes) and isinstance(value, bytes) and (name := key.decode(errors="replace")) in _READ:
            for number, plain in fields(value):
                if number == 1 and isinstance(plain, bytes):
                    said[name] = plain.decode(errors="replace")
                elif number == 2 and isinstance(plain, int):
                    said[name] = bool(plain)
                elif number == 3 and isinstance(plain, int):
                    said[name] = signed(plain)
                elif number == 4 and isinstance(plain, int):
                    said[name] = struct.unpack("<d", plain.to_bytes(8, "little"))[0]
    return said


def _hex(found: Value | None) -> str:
    return found.hex() if isinstance(found, bytes) else ""


def _integer(found: Value | None) -> int:
    return found if isinstance(found, int) else -1


def _checked(span: Span) -> Span:
    if not (_is_id(span.trace, 32) and _is_id(span.id, 16)):
        raise _RejectedError("a span without a trace id of 16 bytes and a span id of 8")
    if not 0 < span.start <= span.end < 1 << 63:
        raise _RejectedError(f"span {span.id} does not begin before it ends")
    return span


def _is_id(text: str, digits: int) -> bool:
    return len(text) == digits and not set(text) - set("0123456789abcdef") and text.strip("0") != ""


# meaning --------------------------------------------------------------------------------------------------------------


def feedback_of(spans: Sequence[Span | str], latest: Instant, *, agent: str = "", tasks: bool = True) -> Taken:
    """What spans say of agents' work: one operation each, a task that ended per invocation of an agent, and scores.

    `agent` is whose own key sent them; without one, an agent is known by its span, the spans around it, or its service.
    Nothing may have ended after `latest`. Without `tasks`, invocations are not taken for tasks.
    """
    why = [each for each in spans if isinstance(each, str)]
    whole = [each for each in spans if isinstance(each, Span)]
    if len(whole) > MOST_SPANS:
        why += [f"more than {MOST_SPANS:,} spans in one request"] * (len(whole) - MOST_SPANS)
        whole = whole[:MOST_SPANS]
    known = {(span.trace, span.id): span for span in whole}
    records: list[Feedback] = []
    warnings: list[str] = []
    ignored = 0
    for span in whole:
        kind = _KINDS.get(str(span.attributes.get(_OPERATION)))
        if span.end // 1000 > latest:
            why.append(f"span {span.id} ends in the future by our clock")
            continue
        ignored += kind is None and not span.events
        line = list(_line(span, known))
        origin = _origin(line, agent)
        if kind is not None:
            operation = _operation(span, kind, origin)
            records.append(operation)
            if tasks and kind is OperationKind.AGENT:
                outcome = TaskOutcome.FAILED if operation.failed else TaskOutcome.DONE
                records.append(TaskEnded(operation.id, operation.at, origin, outcome, span.start // 1000))
        records += _scores(span, origin, latest, warnings)
    return Taken(tuple(records), ignored, len(why), tuple(dict.fromkeys([*why, *warnings])))


def _line(span: Span, known: Mapping[tuple[str, str], Span]) -> Iterator[Span]:
    """A span, and those around it as far as they are known: parents are often sent later than what they hold."""
    found: Span | None = span
    for _ in range(_MOST_ANCESTORS):
        if found is None:
            return
        yield found
        found = known.get((found.trace, found.parent))


def _origin(line: Sequence[Span], agent: str) -> Origin:
    span = line[0]
    service = _text(span.resource, ("service.name",))
    within = next((name for each in line if (name := _text(each.attributes, _AGENT))), "")
    session = next((name for each in line if (name := _text(each.attributes, _SESSION))), "")
    workload, pod, interface = (_text(span.attributes, (name,)) or _text(span.resource, (name,)) for name in _OURS)
    return Origin(
        session=session or _text(span.resource, _SESSION),
        agent=agent or within or ("" if service.startswith("unknown_service") else service),
        interface=interface,
        workload=workload,
        pod=pod,
        task=span.trace,
    )


def _operation(span: Span, kind: OperationKind, origin: Origin) -> Operation:
    said = span.attributes
    return Operation(
        id=f"{span.trace}/{span.id}",
        at=span.end // 1000,
        origin=origin,
        kind=kind,
        name=_text(said, _NAMES[kind]),
        latency_us=(span.end - span.start) // 1000,
        failed=span.failed or _ERROR in said,
        error=_text(said, (_ERROR,)),
        input_tokens=_count(said, _INPUT),
        output_tokens=_count(said, _OUTPUT),
    )


def _scores(span: Span, origin: Origin, latest: Instant, warnings: list[str]) -> Iterator[Quality]:
    for number, event in enumerate(span.events):
        score = event.attributes.get(_SCORE)
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            warnings.append("an evaluation without a score from 0 to 1 was left out")
            continue
        at = min(latest, event.nano // 1000) if event.nano > 0 else span.end // 1000
        rubric = _text(event.attributes, (_RUBRIC,))
        yield Quality(f"{span.trace}/{span.id}/{number}", at, origin, float(score), rubric=rubric)


def _text(said: Attributes, names: Sequence[str]) -> str:
    """The first of these that is said, in characters that may be shown anywhere."""
    found = next((each for name in names if isinstance(each := said.get(name), str) and each), "")
    return "".join(each if each.isprintable() else "\ufffd" for each in found[:_LONGEST]).strip()


def _count(said: Attributes, names: Sequence[str]) -> int | None:
    for name in names:
        found = said.get(name)
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= _MOST_TOKENS:
            return found
    return None


# answering ------------------------------------------------------------------------------------------------------------


def answer_in_json(taken: Taken) -> bytes:
    """An ExportTraceServiceResponse that says what was not taken."""
    if not taken.why:
        return b"{}"
    return msgspec.json.encode({"partialSuccess": {"rejectedSpans": str(taken.rejected), "errorMessage": _why(taken)}})


def answer_in_protobuf(taken: Taken) -> bytes:
    """The same as protobuf."""
    if not taken.why:
        return b""
    rejected = varint_field(1, taken.rejected) if taken.rejected else b""
    return bytes_field(1, rejected + bytes_field(2, _why(taken).encode()))


def refusal_in_json(message: str) -> bytes:
    """A google.rpc.Status with a message."""
    return msgspec.json.encode({"message": message})


def refusal_in_protobuf(message: str) -> bytes:
    """The same as protobuf."""
    return bytes_field(2, message.encode())


def _why(taken: Taken) -> str:
    more = f"; and {len(taken.why) - _MOST_REASONS} more" if len(taken.why) > _MOST_REASONS else ""
    return "; ".join(taken.why[:_MOST_REASONS]) + more
