"""What did a Responses answer or stream generate and use, and how is a stream ended?"""

from collections.abc import Iterable, Mapping

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.wire.ask import Answer, believable, extras, size
from upshift.traffic.wire.salvage import salvage
from upshift.traffic.wire.sse import event
from upshift.traffic.wire.stream import Meter, fault_text
from upshift.traffic.wire.unfinished import DELTAS, ENDS, PARTS, Unfinished, fields_of

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()


class _Lifetimes(msgspec.Struct, gc=False):
    ttl_12h_tokens: int | None = None


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: _Lifetimes | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int
    output_tokens: int
    total_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Kind(msgspec.Struct, gc=False):
    type: str | None = None


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct, gc=False):
    """What the model made: a message, a thought, a call."""

    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    code: str | None = None
    content: list[_Part] | None = None
    summary: list[_Part] | None = None


class _Response(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    service_tier: str | None = None
    output: list[msgspec.Raw] | None = None
    usage: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    sequence_number: int | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: str | None = None
    item: msgspec.Raw = _NOTHING
    part: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    message: str | None = None
    error: msgspec.Raw = _NULL


_RESPONSE = msgspec.json.Decoder(_Response)
_EVENT = msgspec.json.Decoder(_Event)
_ITEM = msgspec.json.Decoder(_Item)
_USAGE = msgspec.json.Decoder(_Usage)
_KIND = msgspec.json.Decoder(_Kind)
_BILLED = frozenset({"file_search_call", "code_interpreter_call", "image_generation_call"})
"""What a provider does by itself, at a price of its own; searches of the web have a listed one."""
_KNOWN_FAULTS = frozenset({"context_length_exceeded", "invalid_prompt", "rate_limit_exceeded", "server_error"})
_FOR_PERSONS = frozenset({"over_budget", "not_allowed", "invalid_request", "cannot_serve"})
_ENDED = frozenset({"completed", "incomplete", "failed", "cancelled"})


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """Usage in our terms; None where it is missing or cannot be true."""
    try:
        said = _USAGE.decode(raw)
    except (ValueError, RecursionError):
        return None
    read, output, total = said.input_tokens, said.output_tokens, said.total_tokens or 0
    details, made = said.input_tokens_details, said.output_tokens_details
    cached = written = long = reasoning = 0
    if details is not None:
        cached, written = details.cached_tokens or 0, details.cache_write_tokens or 0
        if (split := details.cache_write_tokens_details) is not None:
            long = split.ttl_12h_tokens or 0
    if made is not None:
        reasoning = made.reasoning_tokens or 0
    if not believable(read, output, total, cached, written, long, reasoning):
        return None
    # Some vendors leave reasoning out of output_tokens, and bill it all the same: the total tells.
    if total > read + output:
        output = total - read
    if cached + written > read or long > written or reasoning > output:
        return None
    return Usage(read, cached, written - long, long, output, reasoning)


def fault_code(code: str) -> str:
    """The code of a failure in this dialect.

    A client tries again after a server's error, at its full cost; after an invalid prompt it does not, and shows the
    message as it is. That is what is meant where only a person can change anything.
    """
    if code in _KNOWN_FAULTS:
        return code
    return "invalid_prompt" if code in _FOR_PERSONS else "server_error"


def _item_bytes(raw: msgspec.Raw) -> int:
    try:
        item: _Item | None = _ITEM.decode(raw)
    except (ValueError, RecursionError):
        item = salvage(bytes(raw), _Item)
    if item is None:
        return 0
    total = 0
    for text in (item.name, item.arguments, item.input, item.code):
        if text:
            total += size(text)
    for parts in (item.content, item.summary):
        for part in parts or ():
            if part.text:
                total += size(part.text)
            if part.refusal:
                total += size(part.refusal)
    return total


def _billed(items: Iterable[bytes | msgspec.Raw]) -> tuple[int, str]:
    """Searches of the web among the items of an answer, and what else of them has a price of its own."""
    searches, other = 0, ""
    for raw in items:
        try:
            kind = _KIND.decode(raw).type
        except (ValueError, RecursionError):
            continue
        if kind == "web_search_call":
            searches += 1
        elif kind in _BILLED:
            other = kind
    return searches, other


def _response(raw: bytes | msgspec.Raw) -> _Response | None:
    try:
        return _RESPONSE.decode(raw)
    except (ValueError, RecursionError):
        return salvage(bytes(raw), _Response)


def read_answer(body: bytes) -> Answer:
    """Read an answer that came in one piece. Never raises."""
    said = _response(body)
    if said is None:
        return Answer()
    return Answer(
        usage=read_usage(said.usage),
        model=said.model or "",
        upstream_id=said.id or "",
        complete=said.status in _ENDED,
        output_bytes=sum(map(_item_bytes, said.output or ())),
        extras=extras(said.service_tier, *_billed(said.output or ())),
    )


class ResponsesMeter(Meter):
    """Meter of one streamed response. It keeps what was streamed, since the last event has to say it all again."""

    __slots__ = ("_finished", "_head", "_heard", "_open", "_sequence")

    def __init__(self) -> None:
        super().__init__()
        self._head = b""
        """The response as its provider opened it."""
        self._sequence = -1
        self._open: dict[int, Unfinished] = {}
        self._finished: dict[int, bytes] = {}
        self._heard: dict[int, int] = {}
        """Bytes generated so far, by item."""

    def _take(self, data: bytes) -> bool:
        if not data:
            return True
        try:
            found: _Event | None = _EVENT.decode(data)
        except (ValueError, RecursionError):
            found = salvage(data, _Event)
        if found is None:
            return True
        if found.sequence_number is not None:
            self._sequence = found.sequence_number
        kind = found.type
        if kind in DELTAS:
            if found.delta is not None:
                self._hear(found.output_index, size(found.delta))
                self._of(found).add(kind, _index(found), found.delta)
        elif kind in ENDS:
            self._of(found).end_text(kind, _index(found))
        elif kind in PARTS:
            self._of(found).part(kind, _index(found), bytes(found.part))
        else:
            self._turn(found)
        return True

    def _turn(self, found: _Event) -> None:
        """An item or the whole response begins or ends."""
        match found.type:
            case "response.output_item.added":
                self._hear(found.output_index, _item_bytes(found.item))
                self._open[found.output_index] = Unfinished(bytes(found.item))
            case "response.output_item.done":
                # A provider may leave the deltas out; whatever did not come in one came with the whole item.
                self._hear(found.output_index, _item_bytes(found.item) - self._heard.get(found.output_index, 0))
                self._open.pop(found.output_index, None)
                self._finished[found.output_index] = bytes(found.item) or b"{}"
            case "response.created" | "response.queued" | "response.in_progress":
                self._begin(found.response)
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled":
                self._end(found)
            case "error":
                self._fail(found.message or fault_text(found.error) or "an error without a message")

    def _of(self, found: _Event) -> Unfinished:
        """The item that an event is about; one that was never opened is opened here, and none a second time."""
        item = self._open.get(found.output_index)
        if item is None:
            item = Unfinished(b"{}")
            if found.output_index not in self._finished:
                self._open[found.output_index] = item
        return item

    def _hear(self, index: int, generated: int) -> None:
        if generated > 0:
            self._heard[index] = self._heard.get(index, 0) + generated
            self._put(generated)

    def _begin(self, raw: msgspec.Raw) -> _Response | None:
        said = _response(raw)
        if said is not None:
            self._head = bytes(raw)
            self.upstream_id = self.upstream_id or said.id or ""
            self.model = self.model or said.model or ""
            if said.usage != _NULL:
                self.partial = read_usage(said.usage)
        return said

    def _end(self, found: _Event) -> None:
        self.complete = True
        said = self._begin(found.response)
        if said is not None and said.usage != _NULL:
            self._final = True
        if said is not None:
            self.extras = extras(said.service_tier, *_billed(said.output or self._finished.values()))
        if found.type == "response.failed":
            self._fail((fault_text(said.error) if said is not None else "") or "a failure without a message")
        elif said is not None and not self.output_bytes:
            for index, item in enumerate(said.output or ()):
                self._hear(index, _item_bytes(item))

    def _stop(self, note: Mapping[str, str], usage: Usage | None) -> bytes:
        told: dict[str, object] = {
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "error": None,
            # All three totals or none: a client that finds one of them missing repeats the whole call.
            "usage": shown_usage(usage or self.partial or Usage()),
        }
        return self._close("response.incomplete", told, {"upshift": note})

    def _fault(self, message: str, code: str) -> bytes:
        error = {"code": fault_code(code), "message": message}
        told: dict[str, object] = {"status": "failed", "error": error, "usage": None}
        return self._close("response.failed", told, {})

    def _close(self, kind: str, told: dict[str, object], more: dict[str, object]) -> bytes:
        """Events that open what was not opened, close what is open, and end the response."""
        ends: list[dict[str, object]] = []
        head: dict[str, object] = {
            "id": self.upstream_id or "resp_0",
            "object": "response",
            "created_at": 0,
            "model": self.model,
        }
        if self._head:
            head.update(fields_of(self._head))
        else:
            ends.append({"type": "response.created", "response": head | {"status": "in_progress", "output": []}})
        output: dict[int, object] = {index: msgspec.Raw(item) for index, item in self._finished.items()}
        for index, item in sorted(self._open.items()):
            more_events, whole = item.close(index)
            ends += more_events
            output[index] = whole
        response = head | told | {"output": [output[index] for index in sorted(output)]}
        ends.append({"type": kind, "response": response} | more)
        return b"".join(map(self._numbered, ends))

    def _numbered(self, said: dict[str, object]) -> bytes:
        self._sequence += 1
        # What a provider wrote over several lines has to fit on one; within JSON's strings there are no line ends.
        data = msgspec.json.encode(said | {"sequence_number": self._sequence}).replace(b"\r", b" ").replace(b"\n", b" ")
        return event(data, str(said["type"]).encode())


def _index(found: _Event) -> int:
    return found.summary_index if found.type.startswith("response.reasoning_summary") else found.content_index


def shown_usage(usage: Usage) -> dict[str, object]:
    """Usage as this dialect says it."""
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write_5m + usage.cache_write_1h,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }
