"""How is a stream put in the words of OpenAI Responses?"""

from collections.abc import Mapping

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.translate import carriers
from upshift.traffic.translate.openai_responses_answer import (
    call_item,
    call_text,
    content_part,
    ended,
    head,
    message_item,
    sealed,
    thought_item,
)
from upshift.traffic.translate.words import (
    Asked,
    Event,
    Fault,
    PartEnd,
    Refusal,
    RefusalDelta,
    Signed,
    Start,
    Stop,
    StopReason,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolStart,
    UsageSeen,
)
from upshift.traffic.wire.responses_answer import fault_code, shown_usage
from upshift.traffic.wire.sse import event

_encode = msgspec.json.Encoder().encode
_KINDS = {
    TextDelta: "response.output_text",
    RefusalDelta: "response.refusal",
    ThinkingDelta: "response.reasoning_summary_text",
}


class _Open:
    """The item that is being said."""

    __slots__ = ("at", "delta", "free", "item", "kind", "pieces", "sealed", "unwrap")

    def __init__(self, kind: str, item: dict[str, object], index: int, place: str = "") -> None:
        self.kind = kind
        """What its deltas are called."""
        self.item = item
        self.at: dict[str, object] = {"item_id": item["id"], "output_index": index}
        if place:
            self.at[place] = 0
        name = f"{kind}.delta"
        extra = ',"logprobs":[]' if kind == "response.output_text" else ""
        fields = _encode({"type": name} | self.at)[:-1].decode() + extra
        self.delta = f'event: {name}\ndata: {fields},"sequence_number":'.encode()
        self.pieces: list[str] = []
        self.sealed = ""
        self.free = self.unwrap = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class ResponsesStreamOut:
    """Writes one streamed response. All that was said is kept, since the last event has to say it again."""

    __slots__ = ("_asked", "_done", "_head", "_model", "_open", "_output", "_refused", "_sequence", "_stop", "_usage")

    def __init__(self, model: str, asked: Asked) -> None:
        self._model = model
        self._asked = asked
        self._head: dict[str, object] = {}
        self._open: _Open | None = None
        self._output: list[dict[str, object]] = []
        self._sequence = -1
        self._stop: StopReason | None = None
        self._usage: Usage | None = None
        self._refused = self._done = False

    def say(self, said: Event) -> bytes:
        """Events that say this one. The last one waits for usage, which may follow."""
        if self._done:
            return b""
        match said:
            case TextDelta() | RefusalDelta() | ThinkingDelta():
                return self._delta(said)
            case ToolDelta():
                return self._tool_delta(said.text)
            case PartEnd():
                return self._close()
            case ToolStart():
                return self._tool_start(said)
            case Signed():
                opened = self._thinking()
                assert self._open is not None
                self._open.sealed = sealed(said.signature, redacted=said.redacted)
                return opened
            case UsageSeen():
                self._usage = said.usage
                return b""
            case Start():
                self._usage = said.usage or self._usage
                return self._begin(said.id, said.created)
            case Stop():
                self._stop = said.reason
                return self._close()
            case Fault():
                return self.failure(said.message, said.code)

    def finish(self) -> bytes:
        """The whole response again, with its usage: the end."""
        if self._done:
            return b""
        out = self._begin("", 0) + self._close()
        self._done = True
        how = ended(self._stop or StopReason.END, refused=self._refused)
        usage = None if self._usage is None else shown_usage(self._usage)
        return out + self._last(f"response.{how['status']}", how | {"usage": usage}, {})

    def length_stop(self, note: Mapping[str, str], usage: Usage | None = None) -> bytes:
        """End the stream here as if a length limit had been reached."""
        if self._done:
            return b""
        out = self._begin("", 0) + self._close(cut=True)
        self._done = True
        how = ended(StopReason.LENGTH, refused=False)
        # All three totals or none: a client that finds one of them missing repeats the whole call.
        told = how | {"usage": shown_usage(usage or self._usage or Usage())}
        return out + self._last("response.incomplete", told, {"upshift": note})

    def failure(self, message: str, code: str) -> bytes:
        """The end of a response that failed."""
        if self._done:
            return b""
        out = self._begin("", 0)
        self._done = True
        error = {"code": fault_code(code), "message": message}
        return out + self._last("response.failed", {"status": "failed", "error": error}, {})

    def _begin(self, ident: str, created: int) -> bytes:
        if self._head:
            return b""
        self._head = head(ident or "resp_0", self._model, created or self._asked.created)
        said: dict[str, object] = {"response": self._head}
        return self._event("response.created", said) + self._event("response.in_progress", said)

    def _last(self, kind: str, told: dict[str, object], more: dict[str, object]) -> bytes:
        return self._event(kind, {"response": self._head | told | {"output": self._output}} | more)

    def _event(self, kind: str, fields: dict[str, object]) -> bytes:
        self._sequence += 1
        return event(_encode({"type": kind} | fields | {"sequence_number": self._sequence}), kind.encode())

    def _ident(self) -> str:
        return f"{self._head['id']}_{len(self._output)}"

    def _delta(self, said: TextDelta | RefusalDelta | ThinkingDelta) -> bytes:
        kind = _KINDS[type(said)]
        out = b""
        if self._open is None or self._open.kind != kind:
            out = self._thinking() if isinstance(said, ThinkingDelta) else self._message(said)
        assert self._open is not None
        if isinstance(said, ThinkingDelta) and not self._open.pieces:
            part = {"type": "summary_text", "text": ""}
            out += self._event("response.reasoning_summary_part.added", self._open.at | {"part": part})
        self._open.pieces.append(said.text)
        return out + self._piece(self._open, said.text)

    def _piece(self, opened: _Open, text: str) -> bytes:
        self._sequence += 1
        return b'%b%d,"delta":%b}\n\n' % (opened.delta, self._sequence, _encode(text))

    def _message(self, said: TextDelta | RefusalDelta) -> bytes:
        out = self._begin("", 0) + self._close()
        refused = isinstance(said, RefusalDelta)
        self._refused = self._refused or refused
        item = message_item(self._ident(), "in_progress")
        self._open = _Open(_KINDS[type(said)], item, len(self._output), "content_index")
        part = content_part(Refusal("") if refused else Text(""))
        out += self._event("response.output_item.added", {"output_index": len(self._output), "item": item})
        return out + self._event("response.content_part.added", self._open.at | {"part": part})

    def _thinking(self) -> bytes:
        """Open thoughts, if they are not open."""
        kind = _KINDS[ThinkingDelta]
        if self._open is not None and self._open.kind == kind:
            return b""
        out = self._begin("", 0) + self._close()
        item = thought_item(self._ident(), "", "")
        self._open = _Open(kind, item, len(self._output), "summary_index")
        return out + self._event("response.output_item.added", {"output_index": len(self._output), "item": item})

    def _tool_start(self, said: ToolStart) -> bytes:
        out = self._begin("", 0) + self._close()
        tool = self._asked.tools.get(said.name)
        free = said.freeform or (tool is not None and tool.freeform)
        item = call_item(self._ident(), said.id, said.name, tool, free=free)
        kind = "response.custom_tool_call_input" if free else "response.function_call_arguments"
        self._open = opened = _Open(kind, item, len(self._output))
        opened.free = free
        # Free text that comes in an object is taken out once it is whole.
        opened.unwrap = free and not said.freeform
        shown = item | {"status": "in_progress"} | ({"input": ""} if free else {"arguments": ""})
        return out + self._event("response.output_item.added", {"output_index": len(self._output), "item": shown})

    def _tool_delta(self, text: str) -> bytes:
        opened = self._open
        if opened is None or "call" not in opened.kind:
            return b""
        opened.pieces.append(text)
        return b"" if opened.unwrap else self._piece(opened, text)

    def _close(self, *, cut: bool = False) -> bytes:
        """End the open item. A call that is cut is not announced as done: a client might run half of what was meant."""
        opened, self._open = self._open, None
        if opened is None:
            return b""
        match opened.kind:
            case "response.output_text" | "response.refusal":
                return self._close_message(opened, "incomplete" if cut else "completed")
            case "response.reasoning_summary_text":
                return self._close_thinking(opened)
            case _:
                return self._close_call(opened, cut=cut)

    def _close_message(self, opened: _Open, status: str) -> bytes:
        text = opened.text
        said: dict[str, object]
        if opened.kind == "response.refusal":
            part, said = content_part(Refusal(text)), {"refusal": text}
        else:
            part, said = content_part(Text(text)), {"text": text, "logprobs": []}
        out = self._event(f"{opened.kind}.done", opened.at | said)
        out += self._event("response.content_part.done", opened.at | {"part": part})
        return out + self._item_done(opened.item | {"status": status, "content": [part]})

    def _close_thinking(self, opened: _Open) -> bytes:
        text, out = opened.text, b""
        item = thought_item(self._ident(), text, opened.sealed)
        if opened.pieces:
            out = self._event(f"{opened.kind}.done", opened.at | {"text": text})
            part = {"type": "summary_text", "text": text}
            out += self._event("response.reasoning_summary_part.done", opened.at | {"part": part})
        return out + self._item_done(item)

    def _close_call(self, opened: _Open, *, cut: bool) -> bytes:
        text = opened.text
        if cut:
            self._output.append(opened.item | {"status": "incomplete"} | call_text(text, free=opened.free))
            return b""
        out = b""
        if opened.unwrap:
            text = carriers.unwrap(text)
            out = self._piece(opened, text)
        said = call_text(text, free=opened.free)
        return out + self._event(f"{opened.kind}.done", opened.at | said) + self._item_done(opened.item | said)

    def _item_done(self, item: dict[str, object]) -> bytes:
        index = len(self._output)
        self._output.append(item)
        return self._event("response.output_item.done", {"output_index": index, "item": item})
