"""How is a streamed answer put in the words of OpenAI Chat Completions?"""

from collections.abc import Mapping

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers
from upshift.traffic.translate.openai_chat_answer import (
    EMPTY,
    FINISHES,
    NULL,
    Call,
    Function,
    Said,
    detail_of,
    read,
    shown_usage,
    stop_of,
    text_of,
    thoughts,
)
from upshift.traffic.translate.words import (
    Asked,
    Event,
    Fault,
    Loss,
    PartEnd,
    RefusalDelta,
    Signature,
    Signed,
    Start,
    Stop,
    StopReason,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolDelta,
    ToolStart,
    UsageSeen,
)
from upshift.traffic.wire.openai_answer import error_body, read_usage
from upshift.traffic.wire.salvage import salvage
from upshift.traffic.wire.sse import Splitter, event, payload
from upshift.traffic.wire.stream import fault_text

_encode = msgspec.json.Encoder().encode
_TEXT, _THOUGHT, _REFUSAL = -1, -2, -3
"""Lanes of a stream beside those of tool calls, which have their index."""


class _Error(msgspec.Struct, gc=False):
    code: str | int | None = None
    type: str | None = None


class ChatStreamIn:
    """Reads one streamed chat completion; of several choices, the first."""

    __slots__ = (
        "_arguments",
        "_bare",
        "_called",
        "_calls",
        "_dead",
        "_held",
        "_lane",
        "_next",
        "_refused",
        "_splitter",
        "_started",
        "_stopped",
        "losses",
    )

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self._splitter = Splitter()
        self._started = self._stopped = self._dead = self._called = self._refused = self._bare = False
        self._lane: int | None = None
        self._arguments: list[str] = []
        self._held: dict[int, list[Event]] = {}
        self._calls: dict[int, tuple[int, str]] = {}
        self._next = 0

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
            broken = self._lane is not None and self._lane >= 0 and not self._whole()
            self._end(found)
            self._stopped = True
            found.append(
                Stop(StopReason.LENGTH if broken else stop_of(None, called=self._called, refused=self._refused))
            )
        return found

    def _take(self, data: bytes, found: list[Event]) -> None:
        said = read(data)
        if said is None or self._dead:
            return
        if said.error != NULL:
            self._dead = True
            found.append(Fault(fault_text(said.error), _fault_code(said.error)))
            return
        if not self._started:
            self._started = True
            found.append(Start(said.id or "", said.model or "", created=said.created or 0))
        for choice in said.choices or ():
            if choice.index == 0 and not self._stopped:
                if choice.delta is not None:
                    self._said(choice.delta, found)
                if choice.finish_reason:
                    self._end(found)
                    self._stopped = True
                    found.append(Stop(stop_of(choice.finish_reason, called=self._called, refused=self._refused)))
        if said.usage != NULL and (usage := read_usage(said.usage)) is not None:
            found.append(UsageSeen(usage))

    def _said(self, delta: Said, found: list[Event]) -> None:
        if delta.reasoning_details:
            for thought in thoughts(delta.reasoning_details):
                self._thought(thought, found)
        elif thinking := delta.reasoning_content or delta.reasoning:
            self._into(_THOUGHT, found).append(ThinkingDelta(thinking))
        if text := text_of(delta.content):
            self._into(_TEXT, found).append(TextDelta(text))
        if delta.refusal:
            self._refused = True
            self._into(_REFUSAL, found).append(RefusalDelta(delta.refusal))
        for position, call in enumerate(delta.tool_calls or ()):
            self._call(call, position, found)
        if delta.annotations not in (NULL, EMPTY) and not self.losses:
            self.losses.append(Loss("choices[].delta.annotations", "citations have no place in other dialects"))

    def _thought(self, thought: Thinking, found: list[Event]) -> None:
        if thought.text:
            self._into(_THOUGHT, found).append(ThinkingDelta(thought.text))
        if thought.signature is not None and thought.signature.value:
            into = self._into(_THOUGHT, found)
            into.append(Signed(thought.signature, thought.redacted))
            if into is found:
                found.append(PartEnd())
                self._lane = None

    def _call(self, call: Call, position: int, found: list[Event]) -> None:
        index = position if call.index is None else call.index
        function, custom = call.function or Function(), call.custom
        name = (function.name if custom is None else custom.name) or ""
        known = self._calls.get(index)
        # Some servers number every call 0; a new id beside a name is a new call all the same.
        if known is None or (call.id and name and call.id != known[1]):
            known = self._calls[index] = (self._next, call.id or "")
            self._next += 1
            self._called = True
            into = self._into(known[0], found)
            into.append(ToolStart(call.id or f"call_{known[0]}", name, custom is not None))
            self._bare = custom is None if into is found else self._bare
        text = (function.arguments if custom is None else custom.input) or ""
        if not text or (known[0] != self._lane and known[0] not in self._held):
            return
        into = self._into(known[0], found)
        into.append(ToolDelta(text))
        if into is found:
            self._bare = False
            self._arguments.append(text)

    def _into(self, lane: int, found: list[Event]) -> list[Event]:
        """Where events of a lane go: out, or behind a call whose arguments are not whole yet."""
        if lane == self._lane:
            return found
        if self._held or (self._lane is not None and self._lane >= 0 and not self._whole()):
            return self._held.setdefault(lane, [])
        self._close(found)
        self._lane = lane
        return found

    def _whole(self) -> bool:
        """Whether the open call's arguments can be all there is."""
        text = "".join(self._arguments)
        return text.rstrip().endswith("}") and carriers.sound(text) is not None

    def _close(self, found: list[Event]) -> None:
        """End the open part."""
        if self._lane is not None:
            if self._bare:
                found.append(ToolDelta("{}"))
                self._bare = False
            if self._lane == _THOUGHT:
                # A mark without a value: whose thoughts these are, so that they find back.
                found.append(Signed(Signature(Dialect.OPENAI, "")))
            found.append(PartEnd())
            self._lane = None
            self._arguments = []

    def _end(self, found: list[Event]) -> None:
        """End the open part and all that waited for it."""
        self._close(found)
        for lane, events in self._held.items():
            found += events
            self._lane = lane
            self._bare = isinstance(last := events[-1], ToolStart) and not last.freeform
            self._close(found)
        self._held = {}


def _fault_code(raw: msgspec.Raw) -> str:
    said = salvage(bytes(raw), _Error) or _Error()
    return str(said.code or said.type or "provider_error")[:100]


class ChatStreamOut:
    """Writes one streamed chat completion."""

    __slots__ = (
        "_asked",
        "_call",
        "_calls",
        "_done",
        "_head",
        "_model",
        "_stopped",
        "_tail",
        "_thoughts",
        "_usage",
        "_wrapped",
    )

    def __init__(self, model: str, asked: Asked) -> None:
        self._model = model
        self._asked = asked
        self._tail = b'},"logprobs":null,"finish_reason":null}]' + (b',"usage":null' if asked.wants_usage else b"")
        self._tail += b"}\n\n"
        self._usage: Usage | None = None
        self._calls = self._thoughts = 0
        self._call = b""
        self._wrapped: list[str] | None = None
        self._stopped = self._done = False
        self._head = b""
        self._begin("", 0)

    def say(self, said: Event) -> bytes:
        """Chunks that say this event."""
        if self._done:
            return b""
        match said:
            case TextDelta():
                return self._delta(b'"content":', said.text)
            case ToolDelta():
                if self._wrapped is not None:
                    self._wrapped.append(said.text)
                    return b""
                return self._delta(self._call, said.text, b"}}]")
            case ThinkingDelta():
                return self._delta(b'"reasoning_content":', said.text)
            case PartEnd():
                return self._part_end()
            case ToolStart():
                return self._tool_start(said)
            case UsageSeen():
                self._usage = said.usage
                return b""
            case RefusalDelta():
                return self._delta(b'"refusal":', said.text)
            case Signed():
                return self._signed(said)
            case Start():
                self._begin(said.id, said.created)
                self._usage = said.usage or self._usage
                return self._head + b'"role":"assistant","content":"","refusal":null' + self._tail
            case Stop():
                self._stopped = True
                return self._finished(FINISHES[said.reason], {})
            case Fault():
                return self.failure(said.message, said.code)

    def finish(self) -> bytes:
        """Usage for those who want it, and the end."""
        if self._done:
            return b""
        self._done = True
        return self._last(self._usage, {})

    def length_stop(self, note: Mapping[str, str], usage: Usage | None = None) -> bytes:
        """End the stream here as if a length limit had been reached."""
        if self._done:
            return b""
        self._done = True
        if self._stopped:
            return self._last(usage or self._usage, note)
        return self._finished("length", note) + self._last(usage or self._usage, {})

    def failure(self, message: str, code: str) -> bytes:
        """An error event."""
        if self._done:
            return b""
        self._done = True
        return event(error_body(500, code, message))

    def _begin(self, ident: str, created: int) -> None:
        self._head = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[{"index":0,"delta":{'
            % (
                _encode(ident or "chatcmpl-0"),
                created or self._asked.created,
                _encode(self._model),
            )
        )

    def _delta(self, field: bytes, text: str, end: bytes = b"") -> bytes:
        return b"".join((self._head, field, _encode(text), end, self._tail))

    def _raw(self, delta: dict[str, object]) -> bytes:
        return b"".join((self._head, _encode(delta)[1:-1], self._tail))

    def _tool_start(self, said: ToolStart) -> bytes:
        tool = self._asked.tools.get(said.name)
        name = said.name if tool is None else tool.name
        index, self._calls = self._calls, self._calls + 1
        call: dict[str, object] = {"index": index, "id": said.id}
        if said.freeform or (tool is not None and tool.freeform):
            # Free text that comes in an object is taken out once it is whole.
            self._wrapped = None if said.freeform else []
            self._call = b'"tool_calls":[{"index":%d,"custom":{"input":' % index
            call |= {"type": "custom", "custom": {"name": name, "input": ""}}
        else:
            self._call = b'"tool_calls":[{"index":%d,"function":{"arguments":' % index
            call |= {"type": "function", "function": {"name": name, "arguments": ""}}
        return self._raw({"tool_calls": [call]})

    def _part_end(self) -> bytes:
        if self._wrapped is None:
            return b""
        text, self._wrapped = carriers.unwrap("".join(self._wrapped)), None
        return self._delta(self._call, text, b"}}]")

    def _signed(self, said: Signed) -> bytes:
        if not said.signature.value:
            return b""
        index, self._thoughts = self._thoughts, self._thoughts + 1
        return self._raw({"reasoning_details": [detail_of("", said.signature, said.redacted, index)]})

    def _finished(self, reason: str, note: Mapping[str, str]) -> bytes:
        end = b'},"logprobs":null,"finish_reason":"%b"}]' % reason.encode()
        if self._asked.wants_usage:
            end += b',"usage":null'
        if note:
            end += b',"upshift":' + _encode(note)
        return self._head + end + b"}\n\n"

    def _last(self, usage: Usage | None, note: Mapping[str, str]) -> bytes:
        if not self._asked.wants_usage or usage is None:
            return event(b"[DONE]")
        start = self._head.removesuffix(b'{"index":0,"delta":{')
        end = b',"upshift":' + _encode(note) if note else b""
        return start + b'],"usage":' + _encode(shown_usage(usage)) + end + b"}\n\n" + event(b"[DONE]")
