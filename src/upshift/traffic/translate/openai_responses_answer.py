"""How is an answer of OpenAI Responses, whole or streamed, put in words that no dialect owns, and a whole one back?"""

from collections.abc import Mapping

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers
from upshift.traffic.translate.asides import Losses
from upshift.traffic.translate.words import (
    Asked,
    Event,
    Fault,
    Loss,
    Part,
    PartEnd,
    Refusal,
    RefusalDelta,
    Reply,
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
    ToolDelta,
    ToolStart,
    UsageSeen,
)
from upshift.traffic.wire.responses_answer import read_usage, shown_usage
from upshift.traffic.wire.salvage import salvage
from upshift.traffic.wire.sse import Splitter, payload
from upshift.traffic.wire.stream import fault_text

_NULL = msgspec.Raw(b"null")
_EMPTY = msgspec.Raw(b"[]")
_NOTHING = msgspec.Raw()
_OWN = Dialect.RESPONSES
_encode = msgspec.json.Encoder().encode
_REDACTED = "!"
"""Before the value of a signature that stands for thoughts without a text; no vendor's begins with it."""


class _Part(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    annotations: msgspec.Raw = _NULL


class _Item(msgspec.Struct, gc=False):
    type: str | None = None
    call_id: str | None = None
    id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    encrypted_content: str | None = None


class _Details(msgspec.Struct, gc=False):
    reason: str | None = None


class _Error(msgspec.Struct, gc=False):
    code: str | None = None
    message: str | None = None


class _Response(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    created_at: float | None = None
    status: str | None = None
    output: list[msgspec.Raw] | None = None
    incomplete_details: _Details | None = None
    usage: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: str | None = None
    item: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    code: str | None = None
    message: str | None = None
    error: msgspec.Raw = _NULL


_EVENT = msgspec.json.Decoder(_Event)
_RESPONSE = msgspec.json.Decoder(_Response)
_ITEM = msgspec.json.Decoder(_Item)


def unsealed(text: str, opaque: str) -> Thinking:
    """Thoughts as this dialect says them: a text that may be shown, and something opaque that may be another's."""
    if not opaque:
        return Thinking(text)
    signature = carriers.unseal(opaque, _OWN)
    if signature.of is _OWN:
        return Thinking(text, signature, not text)
    redacted = signature.value.startswith(_REDACTED)
    return Thinking(text, Signature(signature.of, signature.value.removeprefix(_REDACTED)), redacted)


def sealed(signature: Signature, *, redacted: bool) -> str:
    """What a client of this dialect keeps for the provider that thought."""
    if redacted and signature.of is not _OWN:
        signature = Signature(signature.of, _REDACTED + signature.value)
    return carriers.seal(signature, _OWN)


def _item(raw: msgspec.Raw) -> _Item:
    try:
        return _ITEM.decode(raw)
    except (ValueError, RecursionError):
        return salvage(bytes(raw), _Item) or _Item()


def _response(raw: bytes | msgspec.Raw) -> _Response | None:
    try:
        return _RESPONSE.decode(raw)
    except (ValueError, RecursionError):
        return salvage(bytes(raw), _Response)


def _name(item: _Item) -> str:
    return f"{item.namespace}__{item.name}" if item.namespace else item.name or ""


def _parts(raw: msgspec.Raw, losses: Losses) -> list[Part]:
    """The parts of one item."""
    item = _item(raw)
    match item.type or "message":
        case "message":
            return [_said(part, losses) for part in item.content or ()]
        case "reasoning":
            text = "\n\n".join(part.text or "" for part in item.summary or item.content or ())
            return [unsealed(text, item.encrypted_content or "")]
        case "function_call":
            return [ToolCall(item.call_id or item.id or "", _name(item), item.arguments or "")]
        case "custom_tool_call":
            return [ToolCall(item.call_id or item.id or "", _name(item), item.input or "", freeform=True)]
        case other:
            losses.add(f"output[].{other[:40]}", "what ran at OpenAI is told by the text that follows")
            return []


def _said(part: _Part, losses: Losses) -> Part:
    if part.annotations not in (_NULL, _EMPTY):
        losses.add("output[].content[].annotations", "citations have no place in other dialects")
    return Refusal(part.refusal) if part.refusal is not None else Text(part.text or "")


def _stop(said: _Response | None, *, called: bool, refused: bool) -> StopReason:
    if said is not None and said.status == "incomplete":
        why = said.incomplete_details.reason if said.incomplete_details is not None else None
        return StopReason.FILTER if why == "content_filter" else StopReason.LENGTH
    if called:
        return StopReason.TOOLS
    return StopReason.FILTER if refused else StopReason.END


def reply_in(body: bytes) -> Reply:
    """Read an answer in one piece. Raises ValueError where it is none."""
    said = _response(body)
    if said is None or said.output is None:
        raise ValueError("no response")
    if said.status == "failed":
        raise ValueError(fault_text(said.error) or "a failure without a message")
    losses = Losses()
    parts = [part for raw in said.output for part in _parts(raw, losses)]
    called = any(isinstance(part, ToolCall) for part in parts)
    refused = any(isinstance(part, Refusal) for part in parts)
    return Reply(
        id=said.id or "",
        model=said.model or "",
        parts=parts,
        stop=_stop(said, called=called, refused=refused),
        usage=None if said.usage == _NULL else read_usage(said.usage),
        created=int(said.created_at or 0),
        losses=losses.all(),
    )


def reply_out(reply: Reply, model: str, asked: Asked) -> bytes:
    """Write an answer in one piece."""
    ident = reply.id or "resp_0"
    output: list[dict[str, object]] = []
    for part in reply.parts:
        at = f"{ident}_{len(output)}"
        match part:
            case Text() | Refusal():
                output.append(message_item(at, "completed", content_part(part)))
            case Thinking():
                opaque = "" if part.signature is None else sealed(part.signature, redacted=part.redacted)
                output.append(thought_item(at, part.text, opaque))
            case ToolCall():
                tool = asked.tools.get(part.name)
                free = part.freeform or (tool is not None and tool.freeform)
                text = carriers.unwrap(part.arguments) if free and not part.freeform else part.arguments
                output.append(call_item(at, part.id, part.name, tool, free=free) | call_text(text, free=free))
            case _:
                continue
    refused = any(isinstance(part, Refusal) for part in reply.parts)
    return _encode(
        head(ident, model, reply.created or asked.created)
        | ended(reply.stop, refused=refused)
        | {"output": output, "usage": None if reply.usage is None else shown_usage(reply.usage)}
    )


def head(ident: str, model: str, created: int) -> dict[str, object]:
    """What is the same in every response, and in each event that says it."""
    return {
        "id": ident,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
    }


def ended(stop: StopReason, *, refused: bool) -> dict[str, object]:
    """How a response says why it ended."""
    if stop in {StopReason.LENGTH, StopReason.CONTEXT}:
        return {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    if stop is StopReason.FILTER and not refused:
        return {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    return {"status": "completed", "incomplete_details": None}


def content_part(part: Text | Refusal) -> dict[str, object]:
    """A part of a message."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}


def message_item(ident: str, status: str, *content: dict[str, object]) -> dict[str, object]:
    """A message."""
    return {
        "id": f"msg_{ident}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(content),
    }


def thought_item(ident: str, text: str, opaque: str) -> dict[str, object]:
    """Thoughts, as text that may be shown and what their provider wants back."""
    summary = [{"type": "summary_text", "text": text}] if text else []
    item: dict[str, object] = {"id": f"rs_{ident}", "type": "reasoning", "summary": summary}
    return item | {"encrypted_content": opaque} if opaque else item


def call_item(ident: str, call: str, name: str, tool: Tool | None, *, free: bool) -> dict[str, object]:
    """A call of a tool without its arguments, by the name that the client gave it."""
    item: dict[str, object] = {
        "id": f"{'ctc' if free else 'fc'}_{ident}",
        "type": "custom_tool_call" if free else "function_call",
        "status": "completed",
        "call_id": call,
        "name": name if tool is None else tool.inner or tool.name,
    }
    return item | {"namespace": tool.namespace} if tool is not None and tool.namespace else item


def call_text(text: str, *, free: bool) -> dict[str, object]:
    """The arguments of a call."""
    return {"input": text} if free else {"arguments": text or "{}"}


_DELTAS: Mapping[str, type[TextDelta] | type[RefusalDelta] | type[ThinkingDelta] | type[ToolDelta]] = {
    "response.output_text.delta": TextDelta,
    "response.refusal.delta": RefusalDelta,
    "response.reasoning_text.delta": ThinkingDelta,
    "response.reasoning_summary_text.delta": ThinkingDelta,
    "response.function_call_arguments.delta": ToolDelta,
    "response.custom_tool_call_input.delta": ToolDelta,
}


class _Heard:
    """What came of one item: events that wait until the items before it have ended, if it is not its turn."""

    __slots__ = ("begun", "ended", "part", "said", "waiting")

    def __init__(self) -> None:
        self.waiting: list[Event] = []
        self.part: tuple[str, int] | None = None
        self.begun = False
        """A call has been announced."""
        self.said = False
        """Something of it came in a delta."""
        self.ended = False


class ResponsesStreamIn:
    """Reads one streamed response."""

    __slots__ = (
        "_called",
        "_dead",
        "_items",
        "_losses",
        "_refused",
        "_splitter",
        "_started",
        "_stopped",
        "_turn",
        "losses",
    )

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self._losses = Losses()
        self._splitter = Splitter()
        self._started = self._stopped = self._dead = self._called = self._refused = False
        self._items: dict[int, _Heard] = {}
        self._turn: int | None = None
        """The item whose events go out."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that are whole now."""
        found: list[Event] = []
        for each in self._splitter.cut(chunk):
            if data := payload(each):
                self._take(data, found)
        return found

    def finish(self) -> list[Event]:
        """The provider ended the stream: what was held back, open parts ended, and a Stop if none was said."""
        found: list[Event] = []
        if rest := payload(self._splitter.rest()):
            self._take(rest, found)
        if self._dead or self._stopped:
            return found
        if not self._started:
            self._dead = True
            return [*found, Fault("the provider ended the stream before it began")]
        broken = any(item.begun and not item.ended for item in self._items.values())
        self._flush(found)
        self._stopped = True
        reason = StopReason.LENGTH if broken else _stop(None, called=self._called, refused=self._refused)
        return [*found, Stop(reason)]

    def _take(self, data: bytes, found: list[Event]) -> None:
        try:
            said: _Event | None = _EVENT.decode(data)
        except (ValueError, RecursionError):
            said = salvage(data, _Event)
        if said is None or self._dead or self._stopped:
            return
        match said.type:
            case kind if kind in _DELTAS:
                self._begin(None, found)
                self._delta(said, found)
            case "response.output_item.added":
                self._begin(None, found)
                self._added(said.output_index, _item(said.item), found)
            case "response.output_item.done":
                self._begin(None, found)
                self._done(said.output_index, said.item, found)
            case "response.created" | "response.in_progress" | "response.queued":
                self._begin(_response(said.response), found)
            case "response.completed" | "response.incomplete":
                self._end(_response(said.response), found)
            case "response.failed" | "response.cancelled":
                self._fail(_response(said.response), found)
            case "error":
                self._dead = True
                error = salvage(bytes(said.error), _Error) or _Error()
                text = said.message or fault_text(said.error) or "an error without a message"
                found.append(Fault(text, said.code or error.code or "provider_error"))

    def _begin(self, said: _Response | None, found: list[Event]) -> None:
        if not self._started:
            self._started = True
            said = said or _Response()
            found.append(Start(said.id or "", said.model or "", created=int(said.created_at or 0)))

    def _fail(self, said: _Response | None, found: list[Event]) -> None:
        self._dead = True
        said = said or _Response()
        error = salvage(bytes(said.error), _Error) or _Error()
        if said.usage != _NULL and (usage := read_usage(said.usage)) is not None:
            found.append(UsageSeen(usage))
        found.append(Fault(error.message or "a failure without a message", error.code or "provider_error"))

    def _end(self, said: _Response | None, found: list[Event]) -> None:
        self._begin(said, found)
        if not self._items and said is not None:
            for index, raw in enumerate(said.output or ()):
                self._done(index, raw, found)
        self._flush(found)
        self._stopped = True
        if said is not None and said.usage != _NULL and (usage := read_usage(said.usage)) is not None:
            found.append(UsageSeen(usage))
        found.append(Stop(_stop(said, called=self._called, refused=self._refused)))

    def _at(self, index: int) -> _Heard:
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Heard()
            if self._turn is None:
                self._turn = index
        return item

    def _into(self, index: int, item: _Heard, found: list[Event]) -> list[Event]:
        """Where events of an item go: out, or behind the items before it."""
        return found if index == self._turn else item.waiting

    def _delta(self, said: _Event, found: list[Event]) -> None:
        item = self._at(said.output_index)
        if item.ended or not said.delta:
            return
        into = self._into(said.output_index, item, found)
        kind = _DELTAS[said.type]
        if kind is ToolDelta:
            if item.begun:
                item.said = True
                into.append(ToolDelta(said.delta))
            return
        if item.begun:
            return
        self._place(item, (said.type, said.content_index + said.summary_index), into)
        self._refused = self._refused or kind is RefusalDelta
        item.said = True
        into.append(kind(said.delta))

    def _place(self, item: _Heard, part: tuple[str, int], into: list[Event]) -> None:
        """Go on to a part: of thoughts, with an empty line; of a message, by ending the part before."""
        if item.part is not None and item.part != part:
            thinking = _DELTAS[part[0]] is _DELTAS[item.part[0]] is ThinkingDelta
            into.append(ThinkingDelta("\n\n") if thinking else PartEnd())
        item.part = part

    def _added(self, index: int, said: _Item, found: list[Event]) -> None:
        item = self._at(index)
        if said.type in {"function_call", "custom_tool_call"} and not item.begun and not item.ended and not item.said:
            self._call(item, said, self._into(index, item, found))

    def _call(self, item: _Heard, said: _Item, into: list[Event]) -> None:
        item.begun = self._called = True
        free = said.type == "custom_tool_call"
        into.append(ToolStart(said.call_id or said.id or "", _name(said), free))
        if text := (said.input if free else said.arguments):
            item.said = True
            into.append(ToolDelta(text))

    def _done(self, index: int, raw: msgspec.Raw, found: list[Event]) -> None:
        item = self._at(index)
        if item.ended:
            return
        into = self._into(index, item, found)
        said = _item(raw)
        if item.begun:
            if not item.said and (text := said.arguments or said.input):
                into.append(ToolDelta(text))
            into.append(PartEnd())
        elif said.type in {"function_call", "custom_tool_call"} and not item.said:
            self._call(item, said, into)
            into.append(PartEnd())
        else:
            self._whole(item, _parts(raw, self._losses), into)
            self.losses = self._losses.all()
        item.ended = True
        if index == self._turn:
            self._pass_on(found)

    def _whole(self, item: _Heard, parts: list[Part], into: list[Event]) -> None:
        """End a message or thoughts; without a delta, all of it is said now."""
        if item.said and item.part is None:
            return
        for part in parts:
            match part:
                case Thinking():
                    if item.part is not None and _DELTAS[item.part[0]] is not ThinkingDelta:
                        break
                    if part.text and not item.said:
                        into.append(ThinkingDelta(part.text))
                    if part.signature is not None:
                        into.append(Signed(part.signature, part.redacted))
                    if part.text or part.signature is not None or item.said:
                        into.append(PartEnd())
                    item.part = None
                    return
                case Text() if not item.said and part.text:
                    into += [TextDelta(part.text), PartEnd()]
                case Refusal() if not item.said and part.text:
                    self._refused = True
                    into += [RefusalDelta(part.text), PartEnd()]
        if item.part is not None:
            into.append(PartEnd())
            item.part = None

    def _pass_on(self, found: list[Event]) -> None:
        """The item whose turn it was has ended: the next ones, up to one that has not."""
        self._turn = None
        for index, item in self._items.items():
            if item.ended and not item.waiting:
                continue
            found += item.waiting
            item.waiting = []
            if not item.ended:
                self._turn = index
                return

    def _flush(self, found: list[Event]) -> None:
        """Nothing more comes: all items end here."""
        while self._turn is not None:
            item = self._items[self._turn]
            if item.begun or item.part is not None:
                found.append(PartEnd())
            item.ended, item.part = True, None
            self._pass_on(found)
