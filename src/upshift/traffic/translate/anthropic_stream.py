"""How is a streamed answer put in the words of Anthropic Messages?"""

from collections.abc import Mapping

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers
from upshift.traffic.translate.anthropic_answer import (
    NOTHING,
    NULL,
    SAID,
    STOPS,
    Block,
    Message,
    ident_of,
    message_of,
    shown_usage,
)
from upshift.traffic.translate.words import (
    Asked,
    Event,
    Fault,
    Loss,
    PartEnd,
    RefusalDelta,
    Signed,
    Start,
    Stop,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStart,
    UsageSeen,
)
from upshift.traffic.wire.anthropic_answer import read_usage
from upshift.traffic.wire.salvage import salvage
from upshift.traffic.wire.sse import Splitter, event, payload
from upshift.traffic.wire.stream import fault_text

_encode = msgspec.json.Encoder().encode


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: int = 0
    message: Message | None = None
    content_block: Block | None = None
    delta: Block | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


class _Error(msgspec.Struct, gc=False):
    type: str | None = None


_EVENT = msgspec.json.Decoder(_Event)
_INSIDE = frozenset(("content_block_start", "content_block_delta", "content_block_stop", "message_delta"))
_FIGURES = msgspec.json.Decoder(dict[str, msgspec.Raw])


class MessagesStreamIn:
    """Reads one streamed message."""

    __slots__ = (
        "_dead",
        "_figures",
        "_open",
        "_splitter",
        "_spoken",
        "_started",
        "_stopped",
        "_tools",
        "_whole",
        "losses",
    )

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self._splitter = Splitter()
        self._started = self._stopped = self._dead = self._tools = self._spoken = False
        self._open = ""
        self._whole = NOTHING
        self._figures: dict[str, msgspec.Raw] = {}

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
        if not self._started and not self._dead:
            self._dead = True
            return [Fault("the provider ended the stream before it began")]
        if not self._stopped and not self._dead:
            self._stopped = True
            broken = bool(self._open)
            self._close(found)
            reason = StopReason.TOOLS if self._tools else StopReason.END
            found.append(Stop(StopReason.LENGTH if broken else reason))
        return found

    def _take(self, data: bytes, found: list[Event]) -> None:
        try:
            said: _Event | None = _EVENT.decode(data)
        except (ValueError, RecursionError):
            said = salvage(data, _Event)
        if said is None or self._dead:
            return
        if not self._started and said.type in _INSIDE:
            self._started = True
            found.append(Start("", ""))
        match said.type:
            case "content_block_delta" if said.delta is not None:
                self._delta(said.delta, found)
            case "content_block_start" if said.content_block is not None:
                self._block(said.content_block, found)
            case "content_block_stop":
                self._close(found)
            case "message_start" if not self._started:
                message = said.message or Message()
                self._started = True
                found.append(Start(message.id or "", message.model or "", self._seen(message.usage)))
            case "message_delta":
                if (usage := self._seen(said.usage)) is not None:
                    found.append(UsageSeen(usage))
                if said.delta is not None and said.delta.stop_reason and not self._stopped:
                    self._close(found)
                    self._stopped = True
                    reason = STOPS.get(said.delta.stop_reason, StopReason.END)
                    found.append(Stop(reason, said.delta.stop_sequence or ""))
            case "error":
                self._dead = True
                kind = salvage(bytes(said.error), _Error) or _Error()
                found.append(Fault(fault_text(said.error) or "an error without a message", kind.type or "api_error"))

    def _seen(self, raw: msgspec.Raw) -> Usage | None:
        """Usage so far: the last word on each figure counts."""
        if raw == NULL:
            return None
        try:
            self._figures |= {name: value for name, value in _FIGURES.decode(raw).items() if value != NULL}
        except (ValueError, RecursionError):
            return None
        return read_usage(msgspec.Raw(_encode(self._figures)))

    def _block(self, block: Block, found: list[Event]) -> None:
        if self._stopped:
            return
        self._close(found)
        match block.type:
            case "text":
                self._open = block.type
                if block.text:
                    self._say(TextDelta(block.text), found)
            case "thinking":
                self._open = block.type
                if block.thinking:
                    self._say(ThinkingDelta(block.thinking), found)
                if block.signature:
                    self._say(Signed(carriers.unseal(block.signature, Dialect.ANTHROPIC)), found)
            case "redacted_thinking":
                self._open = block.type
                self._say(Signed(carriers.unseal(block.data or "", Dialect.ANTHROPIC), redacted=True), found)
            case "tool_use":
                self._open = block.type
                self._tools = True
                # The input comes in deltas; where none comes, it is here whole.
                self._whole = block.input if len(block.input) else _NO_INPUT
                self._say(ToolStart(block.id or "", block.name or ""), found)
            case other:
                self._lose(f"content[].{other[:60]}", "what ran at Anthropic has no place in other dialects")

    def _say(self, event: Event, found: list[Event]) -> None:
        self._spoken = True
        found.append(event)

    def _delta(self, delta: Block, found: list[Event]) -> None:
        match self._open, delta.type:
            case "text", "text_delta" if delta.text:
                self._say(TextDelta(delta.text), found)
            case "tool_use", "input_json_delta" if delta.partial_json:
                self._whole = NOTHING
                found.append(ToolDelta(delta.partial_json))
            case "thinking", "thinking_delta" if delta.thinking:
                self._say(ThinkingDelta(delta.thinking), found)
            case "thinking", "signature_delta" if delta.signature:
                self._say(Signed(carriers.unseal(delta.signature, Dialect.ANTHROPIC)), found)
            case _, "citations_delta":
                self._lose("content[].citations", "citations have no place in other dialects")

    def _close(self, found: list[Event]) -> None:
        """End the open block; one that said nothing is no part."""
        if self._open:
            if self._open == "tool_use" and len(self._whole):
                found.append(ToolDelta(bytes(self._whole).decode("utf-8", "replace")))
                self._whole = NOTHING
            self._open = ""
            if self._spoken:
                self._spoken = False
                found.append(PartEnd())

    def _lose(self, field: str, why: str) -> None:
        if all(loss.field != field for loss in self.losses):
            self.losses.append(Loss(field, why))


_NO_INPUT = msgspec.Raw(b"{}")
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":'


class MessagesStreamOut:
    """Writes one streamed message."""

    __slots__ = ("_asked", "_done", "_head", "_index", "_model", "_open", "_started", "_stop", "_unwrapped", "_usage")

    def __init__(self, model: str, asked: Asked) -> None:
        self._model = model
        self._asked = asked
        self._started = self._done = False
        self._open = ""
        self._index = 0
        self._head = b""
        self._usage: Usage | None = None
        self._stop: Stop | None = None
        self._unwrapped: list[str] | None = None

    def say(self, said: Event) -> bytes:
        """Events that say this one."""
        if self._done:
            return b""
        match said:
            case TextDelta() | RefusalDelta():
                opened = b"" if self._open == "text" else self._begin("text", {"type": "text", "text": ""})
                return b"".join((opened, self._head, b'"text_delta","text":', _encode(said.text), b"}}\n\n"))
            case ToolDelta():
                if self._unwrapped is not None:
                    self._unwrapped.append(said.text)
                    return b""
                return b"".join((self._head, b'"input_json_delta","partial_json":', _encode(said.text), b"}}\n\n"))
            case ThinkingDelta():
                opened = self._thinking()
                return b"".join((opened, self._head, b'"thinking_delta","thinking":', _encode(said.text), b"}}\n\n"))
            case PartEnd():
                return self._end()
            case ToolStart():
                tool = self._asked.tools.get(said.name)
                name = said.name if tool is None else tool.name
                self._unwrapped = [] if said.freeform else None
                ident = ident_of(said.id, self._index)
                return self._begin("tool", {"type": "tool_use", "id": ident, "name": name, "input": {}})
            case Signed():
                return self._signed(said)
            case UsageSeen():
                self._usage = said.usage
                return b"" if self._stop is None else self._closing()
            case Start():
                return self._start(said.id, said.usage)
            case Stop():
                self._stop = said
                return self._end()
            case Fault():
                return self.failure(said.message, said.code)

    def finish(self) -> bytes:
        """What has not been said of the end."""
        if self._done or not self._started:
            return b""
        return self._end() + self._closing()

    def length_stop(self, note: Mapping[str, str], usage: Usage | None = None) -> bytes:
        """End the stream here as if a length limit had been reached."""
        if self._done:
            return b""
        self._usage = usage or self._usage
        start = b"" if self._started else self._start("", Usage())
        if self._stop is None:
            self._stop = Stop(StopReason.LENGTH)
        return start + self._end() + self._closing(note)

    def failure(self, message: str, code: str) -> bytes:
        """An error event."""
        if self._done:
            return b""
        self._done = True
        kind = "billing_error" if code == "over_budget" else code if code in _KINDS else "api_error"
        return event(_encode({"type": "error", "error": {"type": kind, "message": message}}), b"error")

    def _start(self, ident: str, usage: Usage | None) -> bytes:
        self._started = True
        self._usage = self._usage or usage
        message = message_of(ident, self._model, []) | {"usage": shown_usage(usage or Usage()) | {"output_tokens": 0}}
        return event(_encode({"type": "message_start", "message": message}), b"message_start")

    def _begin(self, kind: str, block: dict[str, object]) -> bytes:
        ended = self._end()
        self._open = kind
        self._head = _DELTA % self._index
        said = {"type": "content_block_start", "index": self._index, "content_block": block}
        return ended + event(_encode(said), b"content_block_start")

    def _thinking(self) -> bytes:
        if self._open == "thinking":
            return b""
        return self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})

    def _signed(self, said: Signed) -> bytes:
        signature = carriers.seal(said.signature, Dialect.ANTHROPIC)
        if said.redacted:
            return self._begin("redacted", {"type": "redacted_thinking", "data": signature})
        opened = self._thinking()
        return b"".join((opened, self._head, b'"signature_delta","signature":', _encode(signature), b"}}\n\n"))

    def _end(self) -> bytes:
        """End the open block."""
        if not self._open:
            return b""
        rest = b""
        if self._unwrapped is not None:
            text = carriers.wrap("".join(self._unwrapped))
            rest = b"".join((self._head, b'"input_json_delta","partial_json":', _encode(text), b"}}\n\n"))
            self._unwrapped = None
        self._open = ""
        said = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index
        self._index += 1
        return rest + said

    def _closing(self, note: Mapping[str, str] | None = None) -> bytes:
        self._done = True
        stop = self._stop or Stop(StopReason.END)
        said: dict[str, object] = {
            "type": "message_delta",
            "delta": {"stop_reason": SAID[stop.reason], "stop_sequence": stop.sequence or None},
            "usage": shown_usage(self._usage or Usage()),
        }
        if note:
            said["upshift"] = note
        return event(_encode(said), b"message_delta") + event(b'{"type":"message_stop"}', b"message_stop")


_KINDS = frozenset(
    (
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "rate_limit_error",
        "timeout_error",
        "api_error",
        "overloaded_error",
    )
)
