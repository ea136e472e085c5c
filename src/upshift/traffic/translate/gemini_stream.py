"""How is a stream put in the words of Gemini?"""

from collections.abc import Mapping

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.gemini_answer import FINISHES, Reader, call_out, first, read_reply, signed
from upshift.traffic.translate.words import (
    Asked,
    Event,
    Fault,
    Part,
    PartEnd,
    RefusalDelta,
    Signature,
    Signed,
    Start,
    Stop,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolStart,
    UsageSeen,
)
from upshift.traffic.wire.gemini_answer import data_of, error_body, read_usage, said_usage
from upshift.traffic.wire.salvage import salvage
from upshift.traffic.wire.sse import Splitter, event
from upshift.traffic.wire.stream import fault_text

_NULL = msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode


class _Error(msgspec.Struct, gc=False):
    status: str | None = None


class GeminiStreamIn:
    """Reads one streamed answer; of several candidates, the first."""

    __slots__ = ("_dead", "_open", "_reader", "_shown", "_splitter", "_started", "_stopped", "_usage", "losses")

    def __init__(self) -> None:
        self._splitter = Splitter()
        self._reader = Reader()
        self.losses = self._reader.losses
        self._started = self._stopped = self._dead = self._shown = False
        self._open: type[Part] | None = None
        self._usage: Usage | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that are whole now."""
        found: list[Event] = []
        for each in self._splitter.cut(chunk):
            if data := data_of(each):
                self._take(data, found)
        return found

    def finish(self) -> list[Event]:
        """The provider ended the stream: what was held back, open parts ended, and a Stop if none was said."""
        found: list[Event] = []
        if rest := data_of(self._splitter.rest()):
            self._take(rest, found)
        if self._dead:
            return found
        if not self._started:
            self._dead = True
            return [Fault("the provider ended the stream before it began")]
        if not self._stopped:
            self._stop(StopReason.TOOLS if self._reader.calls else StopReason.END, found)
        return found

    def _take(self, data: bytes, found: list[Event]) -> None:
        said = read_reply(data)
        if said is None or self._dead:
            return
        if said.error != _NULL:
            self._dead = True
            status = (salvage(bytes(said.error), _Error) or _Error()).status or "provider_error"
            found.append(Fault(fault_text(said.error) or "an error without a message", status[:100]))
            return
        if not self._started:
            self._started = True
            self._reader.begin(said.response_id or "")
            found.append(Start(said.response_id or "", said.model_version or ""))
        candidate = first(said.candidates)
        if candidate is not None and not self._stopped:
            for part in self._reader.parts(candidate):
                self._part(part, found)
        if said.usage_metadata != _NULL:
            usage = read_usage(said.usage_metadata)
            if usage is not None and usage != self._usage:
                self._usage = usage
                found.append(UsageSeen(usage))
        if self._stopped:
            return
        if candidate is not None and candidate.finish_reason:
            self._stop(self._reader.stop(candidate.finish_reason), found)
        elif said.prompt_feedback is not None and said.prompt_feedback.block_reason:
            self._stop(StopReason.FILTER, found)

    def _part(self, part: Part, found: list[Event]) -> None:
        match part:
            case Text():
                self._into(Text, found)
                found.append(TextDelta(part.text))
            case ToolCall():
                self._close(found)
                found += (ToolStart(part.id, part.name), ToolDelta(part.arguments), PartEnd())
            case Thinking() if part.signature is not None and part.signature.of is not Dialect.GEMINI:
                self._carried(part, part.signature, found)
            case Thinking() if part.text:
                self._shown = True
                self._into(Thinking, found)
                found.append(ThinkingDelta(part.text))
                if part.signature is not None:
                    found.append(Signed(part.signature))
                    self._close(found)
            case Thinking() if part.signature is not None:
                self._close(found)
                found += (Signed(part.signature), PartEnd())

    def _carried(self, part: Thinking, signature: Signature, found: list[Event]) -> None:
        """Another provider's thought, whose text may have come before on its own."""
        if self._open is not Thinking:
            self._close(found)
            self._open = Thinking
            if part.text and not self._shown:
                found.append(ThinkingDelta(part.text))
        found.append(Signed(signature, part.redacted))
        self._close(found)

    def _into(self, kind: type[Part], found: list[Event]) -> None:
        if self._open is not kind:
            self._close(found)
            self._open = kind

    def _close(self, found: list[Event]) -> None:
        if self._open is not None:
            self._open = None
            found.append(PartEnd())

    def _stop(self, reason: StopReason, found: list[Event]) -> None:
        self._close(found)
        self._stopped = True
        found.append(Stop(reason))


_HEAD = b'data: {"candidates":[{"content":{"parts":['


class GeminiStreamOut:
    """Writes one streamed answer. Its end is one event with reason and usage, so it waits until both are known."""

    __slots__ = (
        "_arguments",
        "_asked",
        "_call",
        "_done",
        "_ident",
        "_model",
        "_stop",
        "_tail",
        "_thought",
        "_usage",
        "_waiting",
    )

    def __init__(self, model: str, asked: Asked) -> None:
        self._model = model
        self._asked = asked
        self._ident = ""
        self._tail = self._ended()
        self._thought: list[str] = []
        self._waiting: list[Thinking] = []
        self._call: ToolStart | None = None
        self._arguments: list[str] = []
        self._usage: Usage | None = None
        self._stop: Stop | None = None
        self._done = False

    def say(self, said: Event) -> bytes:
        """Events that say this one."""
        if self._done:
            return b""
        match said:
            case TextDelta() | RefusalDelta():
                if self._waiting:
                    return self._part(signed({"text": said.text}, self._waiting))
                return b"".join((_HEAD, b'{"text":', _encode(said.text), b"}", self._tail))
            case ToolDelta():
                self._arguments.append(said.text)
                return b""
            case ThinkingDelta():
                self._thought.append(said.text)
                return b"".join((_HEAD, b'{"text":', _encode(said.text), b',"thought":true}', self._tail))
            case PartEnd():
                return self._part_end()
            case ToolStart():
                self._call = said
                self._arguments = []
                return b""
            case Signed():
                return self._sign(said)
            case UsageSeen():
                self._usage = said.usage
                return b"" if self._stop is None else self._closing()
            case Start():
                self._ident = said.id
                self._tail = self._ended()
                self._usage = self._usage or said.usage
                return b""
            case Stop():
                self._stop = said
                return self._part_end()
            case Fault():
                return self.failure(said.message, said.code)

    def finish(self) -> bytes:
        """The last event, unless it was said."""
        return b"" if self._done else self._part_end() + self._closing()

    def length_stop(self, note: Mapping[str, str], usage: Usage | None = None) -> bytes:
        """End the stream here as if a length limit had been reached; half a call is left out."""
        if self._done:
            return b""
        self._usage = usage or self._usage
        self._stop = self._stop or Stop(StopReason.LENGTH)
        return self._closing(note)

    def failure(self, message: str, code: str) -> bytes:
        """An error event."""
        if self._done:
            return b""
        self._done = True
        return event(error_body(402 if code == "over_budget" else 500, code, message))

    def _ended(self) -> bytes:
        names = _encode({"modelVersion": self._model, "responseId": self._ident})
        return b'],"role":"model"},"index":0}],' + names[1:] + b"\n\n"

    def _part(self, part: dict[str, object]) -> bytes:
        return _HEAD + _encode(part) + self._tail

    def _sign(self, said: Signed) -> bytes:
        text = "".join(self._thought)
        self._thought = []
        if said.signature.of is Dialect.GEMINI and text:
            return self._part({"text": "", "thought": True, "thoughtSignature": said.signature.value})
        self._waiting.append(Thinking(text, said.signature, said.redacted))
        return b""

    def _part_end(self) -> bytes:
        self._thought = []
        call, self._call = self._call, None
        if call is None:
            return b""
        part = ToolCall(call.id, call.name, "".join(self._arguments), call.freeform)
        return self._part(signed(call_out(part, self._asked), self._waiting))

    def _closing(self, note: Mapping[str, str] | None = None) -> bytes:
        self._done = True
        stop = self._stop or Stop(StopReason.END)
        end: dict[str, object] = {}
        if self._usage is not None:
            end["usageMetadata"] = said_usage(self._usage)
        end |= {"modelVersion": self._model, "responseId": self._ident}
        if note:
            end["upshift"] = note
        content = {"parts": [signed({"text": ""}, self._waiting)], "role": "model"}
        candidate = {"content": content, "finishReason": FINISHES[stop.reason], "index": 0}
        return event(_encode({"candidates": [candidate]} | end))
