"""What does a call that goes out untranslated still carry of other providers' thoughts, and how does it go without?

A conversation may have been answered by a provider of another dialect before. What that one signed was handed to the
client in the client's dialect, and comes back in the history; a provider refuses a history with signatures not its own.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.carriers import MARK
from upshift.traffic.translate.gemini_thoughts import FOREIGN, SEALED
from upshift.traffic.translate.openai_chat_answer import FORMATS
from upshift.traffic.wire import body as bodies

_ANY = msgspec.json.Decoder(Any)
_encode = msgspec.json.Encoder().encode
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details")


def without_foreign(dialect: Dialect, body: bytes) -> bytes:
    """A request that the dialect's Wire accepted, without thoughts that another dialect's provider signed.

    The same object where there are none; else all top-level fields but the history stay byte for byte.
    """
    known = _KNOWN.get(dialect)
    # Not with `in`, for which bytes are first taken for a number, and which raises inside.
    if known is None or max(map(body.find, known[0])) < 0:
        return body
    _, field, clean = known
    fields = bodies.fields_of(body)
    try:
        history = _ANY.decode(fields.get(field, msgspec.Raw(b"null")))
    except (ValueError, RecursionError):
        return body
    if not isinstance(history, list):
        return body
    kept = [each for each in history if not isinstance(each, dict) or clean(each)]
    return bodies.splice(body, fields, {field: _encode(kept)})


def _chat(message: dict[str, Any]) -> bool:
    details = message.get("reasoning_details")
    if isinstance(details, list) and any(isinstance(each, dict) and each.get("format") in _FORMATS for each in details):
        for name in _THOUGHTS:
            message.pop(name, None)
    return True


def _messages(message: dict[str, Any]) -> bool:
    content = message.get("content")
    if not isinstance(content, list):
        return True
    message["content"] = [block for block in content if not _is_foreign(block)]
    return bool(message["content"]) or not content


def _is_foreign(block: object) -> bool:
    match block:
        case {"type": "thinking", "signature": str() as opaque} | {
            "type": "redacted_thinking",
            "data": str() as opaque,
        }:
            return opaque.startswith(MARK)
        case _:
            return False


def _responses(item: dict[str, Any]) -> bool:
    opaque = item.get("encrypted_content")
    return not (item.get("type") == "reasoning" and isinstance(opaque, str) and opaque.startswith(MARK))


def _gemini(content: dict[str, Any]) -> bool:
    parts = content.get("parts")
    for part in parts if isinstance(parts, list) else ():
        for name in ("thoughtSignature", "thought_signature") if isinstance(part, dict) else ():
            opaque = part.get(name)
            if isinstance(opaque, str) and opaque.startswith(SEALED):
                # Gemini wants a signature on calls, and has a word for those whose thoughts were not its own.
                if "functionCall" in part or "function_call" in part:
                    part[name] = FOREIGN
                else:
                    del part[name]
    return True


_FORMATS = tuple(FORMATS.values())
_SEALS = (MARK.encode(),)
_KNOWN: Mapping[Dialect, tuple[tuple[bytes, ...], str, Callable[[dict[str, Any]], bool]]] = MappingProxyType(
    {
        Dialect.OPENAI: (tuple(name.encode() for name in _FORMATS), "messages", _chat),
        Dialect.ANTHROPIC: (_SEALS, "messages", _messages),
        Dialect.RESPONSES: (_SEALS, "input", _responses),
        Dialect.GEMINI: ((SEALED.encode(),), "contents", _gemini),
    }
)
"""For each dialect: a mark of foreign thoughts, the field of its history, and what takes them out of one turn; false
where nothing is left of it."""
