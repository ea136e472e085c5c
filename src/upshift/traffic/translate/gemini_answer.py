"""How is an answer put in the words of Gemini?"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers, gemini_thoughts
from upshift.traffic.translate.words import (
    Asked,
    Loss,
    Part,
    Refusal,
    Reply,
    Signature,
    StopReason,
    Text,
    Thinking,
    ToolCall,
)
from upshift.traffic.wire.gemini_answer import read_usage, said_usage
from upshift.traffic.wire.salvage import salvage

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()
_encode = msgspec.json.Encoder().encode

_STOPS: Mapping[str, StopReason] = MappingProxyType(
    {
        "STOP": StopReason.END,
        "MAX_TOKENS": StopReason.LENGTH,
        "CONTINUATION": StopReason.PAUSE,
    }
    | dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "ESCALATION",
            "MODEL_ARMOR",
            "PUP_LIMITED_DISABLED",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        StopReason.FILTER,
    )
)
FINISHES: Mapping[StopReason, str] = MappingProxyType(
    {
        StopReason.END: "STOP",
        StopReason.TOOLS: "STOP",
        StopReason.SEQUENCE: "STOP",
        StopReason.PAUSE: "STOP",
        StopReason.LENGTH: "MAX_TOKENS",
        StopReason.CONTEXT: "MAX_TOKENS",
        StopReason.FILTER: "SAFETY",
    }
)
_LOST: Mapping[str, str] = MappingProxyType(
    {
        "inlineData": "only text can be answered in other dialects",
        "executableCode": "what ran at Google has no place in other dialects",
        "codeExecutionResult": "what ran at Google has no place in other dialects",
        "toolCall": "what ran at Google has no place in other dialects",
        "toolResponse": "what ran at Google has no place in other dialects",
    }
)


class _Call(msgspec.Struct, gc=False):
    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = _NOTHING


class _Part(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _Call | None = None
    inline_data: msgspec.Raw = _NULL
    executable_code: msgspec.Raw = _NULL
    code_execution_result: msgspec.Raw = _NULL
    tool_call: msgspec.Raw = _NULL
    tool_response: msgspec.Raw = _NULL


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    index: int = 0
    content: _Content | None = None
    finish_reason: str | None = None
    citation_metadata: msgspec.Raw = _NULL
    grounding_metadata: msgspec.Raw = _NULL


class _Feedback(msgspec.Struct, gc=False, rename="camel"):
    block_reason: str | None = None


class ReplySaid(msgspec.Struct, gc=False, rename="camel"):
    """An answer, or one event of a stream."""

    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: msgspec.Raw = _NULL
    model_version: str | None = None
    response_id: str | None = None
    error: msgspec.Raw = _NULL


_REPLY = msgspec.json.Decoder(ReplySaid)


def read_reply(data: bytes) -> ReplySaid | None:
    """An answer, or one event of a stream, as far as it can be read."""
    try:
        return _REPLY.decode(data)
    except (ValueError, RecursionError):
        return salvage(data, ReplySaid)


class Reader:
    """Reads candidates, of several the first, and keeps what was met that has no word here."""

    __slots__ = ("calls", "losses", "prefix")

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self.calls = 0
        self.prefix = ""

    def parts(self, candidate: _Candidate) -> list[Part]:
        """The parts of a candidate; a signature on a text or a call is a thought without text before it."""
        for name, raw in (
            ("citationMetadata", candidate.citation_metadata),
            ("groundingMetadata", candidate.grounding_metadata),
        ):
            if raw != _NULL:
                self.lose(f"candidates[].{name}", "citations have no place in other dialects")
        found: list[Part] = []
        for part in (candidate.content.parts if candidate.content is not None else None) or ():
            signature = part.thought_signature
            if part.thought:
                signed = None if not signature else Signature(Dialect.GEMINI, signature)
                found.append(Thinking(part.text or "", signed))
                continue
            if signature:
                gemini_thoughts.restore(signature, found)
            if part.function_call is not None:
                found.append(self._call(part.function_call))
            elif part.text:
                found.append(Text(part.text))
            for name, raw in (
                ("inlineData", part.inline_data),
                ("executableCode", part.executable_code),
                ("codeExecutionResult", part.code_execution_result),
                ("toolCall", part.tool_call),
                ("toolResponse", part.tool_response),
            ):
                if raw != _NULL:
                    self.lose(f"candidates[].content.parts[].{name}", _LOST[name])
        return found

    def _call(self, call: _Call) -> ToolCall:
        ident = call.id or f"call_{self.prefix}{self.calls}"
        self.calls += 1
        arguments = "" if call.args in (_NULL, _NOTHING) else bytes(call.args).decode("utf-8", "replace")
        return ToolCall(ident, call.name or "", arguments or "{}")

    def begin(self, ident: str) -> None:
        """An id that is new to the whole conversation, for calls of a provider which gives them none."""
        self.prefix = f"{carriers.fitted(ident, 24)}_" if ident else ""

    def stop(self, said: str) -> StopReason:
        """Why the answer ended."""
        reason = _STOPS.get(said)
        if reason is None:
            self.lose("candidates[].finishReason", f"{said[:60]} is said as an ordinary end")
            reason = StopReason.END
        return StopReason.TOOLS if reason is StopReason.END and self.calls else reason

    def lose(self, field: str, why: str) -> None:
        """Keep a loss, each field once."""
        if all(loss.field != field for loss in self.losses):
            self.losses.append(Loss(field, why))


def first(candidates: list[_Candidate] | None) -> _Candidate | None:
    """Of several candidates, the first."""
    return next((each for each in candidates or () if each.index == 0), None)


def reply_in(body: bytes) -> Reply:
    """Read an answer in one piece. Raises ValueError where it is none."""
    said = read_reply(body)
    candidate = None if said is None else first(said.candidates)
    blocked = said is not None and said.prompt_feedback is not None and bool(said.prompt_feedback.block_reason)
    if said is None or (candidate is None and not blocked):
        raise ValueError("no candidate")
    reader = Reader()
    reader.begin(said.response_id or "")
    parts: list[Part] = []
    stop = StopReason.FILTER
    if candidate is not None:
        for part in reader.parts(candidate):
            last = parts[-1] if parts else None
            if isinstance(part, Text) and isinstance(last, Text):
                last.text += part.text
            elif isinstance(part, Thinking) and part.text and isinstance(last, Thinking) and last.signature is None:
                last.text += part.text
                last.signature = part.signature
            else:
                parts.append(part)
        stop = reader.stop(candidate.finish_reason or "STOP")
    return Reply(
        id=said.response_id or "",
        model=said.model_version or "",
        parts=parts,
        stop=stop,
        usage=None if said.usage_metadata == _NULL else read_usage(said.usage_metadata),
        losses=reader.losses,
    )


def reply_out(reply: Reply, model: str, asked: Asked) -> bytes:
    """Write an answer in one piece."""
    parts: list[dict[str, object]] = []
    waiting: list[Thinking] = []
    for part in reply.parts:
        match part:
            case Thinking():
                parts += thought_out(part, waiting)
            case Text() | Refusal():
                parts.append(signed({"text": part.text}, waiting))
            case ToolCall():
                parts.append(signed(call_out(part, asked), waiting))
            case _:
                continue
    if waiting:
        parts.append(signed({"text": ""}, waiting))
    content = {"parts": parts or [{"text": ""}], "role": "model"}
    answer: dict[str, object] = {
        "candidates": [{"content": content, "finishReason": FINISHES[reply.stop], "index": 0}],
        "modelVersion": model,
        "responseId": reply.id,
    }
    if reply.usage is not None:
        answer["usageMetadata"] = said_usage(reply.usage)
    return _encode(answer)


def thought_out(part: Thinking, waiting: list[Thinking]) -> list[dict[str, object]]:
    """A thought as a part that shows it, if there is something to show; what it is signed with may have to wait for
    the part after it."""
    if part.signature is not None and part.signature.of is Dialect.GEMINI and part.text:
        return [{"text": part.text, "thought": True, "thoughtSignature": part.signature.value}]
    if part.signature is not None:
        waiting.append(part)
    return [{"text": part.text, "thought": True}] if part.text else []


def signed(part: dict[str, object], waiting: list[Thinking]) -> dict[str, object]:
    """The part with the signature that waited for it."""
    if waiting:
        part["thoughtSignature"] = gemini_thoughts.packed(waiting)
        waiting.clear()
    return part


def call_out(part: ToolCall, asked: Asked) -> dict[str, object]:
    """A call as a part."""
    tool = asked.tools.get(part.name)
    arguments = carriers.wrap(part.arguments) if part.freeform else part.arguments
    name = part.name if tool is None else tool.name
    return {"functionCall": {"id": part.id, "name": name, "args": carriers.as_object(arguments)}}
