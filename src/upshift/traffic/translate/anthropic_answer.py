"""How is an answer in one piece put in the words of Anthropic Messages?"""

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers
from upshift.traffic.translate.words import (
    Asked,
    Loss,
    Part,
    Refusal,
    Reply,
    StopReason,
    Text,
    Thinking,
    ToolCall,
)
from upshift.traffic.wire.anthropic_answer import read_usage
from upshift.traffic.wire.salvage import salvage

NULL = msgspec.Raw(b"null")
_EMPTY = msgspec.Raw(b"[]")
NOTHING = msgspec.Raw()
_encode = msgspec.json.Encoder().encode

STOPS = {
    "end_turn": StopReason.END,
    "tool_use": StopReason.TOOLS,
    "max_tokens": StopReason.LENGTH,
    "stop_sequence": StopReason.SEQUENCE,
    "refusal": StopReason.FILTER,
    "pause_turn": StopReason.PAUSE,
    "model_context_window_exceeded": StopReason.CONTEXT,
}
SAID = {reason: said for said, reason in STOPS.items()}


class Block(msgspec.Struct, gc=False):
    """A content block, or what is new of one, or of the message around it."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = NOTHING
    partial_json: str | None = None
    citations: msgspec.Raw = NULL
    citation: msgspec.Raw = NULL
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Message(msgspec.Struct, gc=False):
    """A message, or the beginning of one."""

    id: str | None = None
    model: str | None = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: msgspec.Raw = NULL


_MESSAGE = msgspec.json.Decoder(Message)


def reply_in(body: bytes) -> Reply:
    """Read an answer in one piece. Raises ValueError where it is none."""
    try:
        said: Message | None = _MESSAGE.decode(body)
    except (ValueError, RecursionError):
        said = salvage(body, Message)
    if said is None or said.content is None:
        raise ValueError("no message")
    losses: dict[str, Loss] = {}
    parts: list[Part] = []
    for block in said.content:
        part = _part(block, losses)
        if part is not None:
            parts.append(part)
    return Reply(
        id=said.id or "",
        model=said.model or "",
        parts=parts,
        stop=STOPS.get(said.stop_reason or "", StopReason.END),
        stop_sequence=said.stop_sequence or "",
        usage=None if said.usage == NULL else read_usage(said.usage),
        losses=list(losses.values()),
    )


def _part(block: Block, losses: dict[str, Loss]) -> Part | None:
    match block.type:
        case "text":
            if block.citations not in (NULL, _EMPTY):
                losses["citations"] = Loss("content[].citations", "citations have no place in other dialects")
            return Text(block.text or "")
        case "tool_use":
            return ToolCall(block.id or "", block.name or "", bytes(block.input).decode("utf-8", "replace"))
        case "thinking":
            return Thinking(block.thinking or "", carriers.unseal(block.signature or "", Dialect.ANTHROPIC))
        case "redacted_thinking":
            return Thinking(signature=carriers.unseal(block.data or "", Dialect.ANTHROPIC), redacted=True)
        case other:
            losses[other] = Loss(f"content[].{other[:60]}", "what ran at Anthropic has no place in other dialects")
            return None


def reply_out(reply: Reply, model: str, asked: Asked) -> bytes:
    """Write an answer in one piece."""
    content: list[dict[str, object]] = []
    for part in reply.parts:
        match part:
            case Text() | Refusal():
                content.append({"type": "text", "text": part.text})
            case ToolCall():
                tool = asked.tools.get(part.name)
                arguments = carriers.wrap(part.arguments) if part.freeform else part.arguments
                content.append(
                    {
                        "type": "tool_use",
                        "id": ident_of(part.id, len(content)),
                        "name": part.name if tool is None else tool.name,
                        "input": carriers.as_object(arguments),
                    }
                )
            case Thinking():
                signature = "" if part.signature is None else carriers.seal(part.signature, Dialect.ANTHROPIC)
                if part.redacted:
                    content.append({"type": "redacted_thinking", "data": signature})
                else:
                    content.append({"type": "thinking", "thinking": part.text, "signature": signature})
            case _:
                continue
    return _encode(
        message_of(reply.id, model, content)
        | {
            "stop_reason": SAID[reply.stop],
            "stop_sequence": reply.stop_sequence or None,
            "usage": shown_usage(reply.usage or Usage()),
        }
    )


def ident_of(said: str, index: int) -> str:
    return carriers.fitted(said, 64) if said else f"toolu_{index}"


def message_of(ident: str, model: str, content: list[dict[str, object]]) -> dict[str, object]:
    return {
        "id": ident or "msg_0",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }


def shown_usage(usage: Usage) -> dict[str, object]:
    """Usage as this dialect says it: input without what was read from caches and written to them."""
    written = usage.cache_write_5m + usage.cache_write_1h
    figures: dict[str, object] = {
        "input_tokens": usage.input - usage.cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }
    if usage.cache_write_1h:
        figures["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
    if usage.reasoning:
        figures["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return figures
