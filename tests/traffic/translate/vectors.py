"""Which requests, answers and streams are translated in tests? Those in tests/vectors, one file per dialect.

Vendors' published examples and what servers of the dialect are known to send, each with what it says in words.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.words import (
    Event,
    Fault,
    Part,
    PartEnd,
    Refusal,
    RefusalDelta,
    Reply,
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

_FOLDER = Path(__file__).parents[2] / "vectors"


class Vector(msgspec.Struct, frozen=True):
    """`says` is what it is about; `body` a whole body, or the text of a stream."""

    says: str
    body: bytes
    target: bytes = b""


@cache
def _file(dialect: Dialect) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_FOLDER / f"{dialect.value}.json").read_text())
    return found


def dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def requests(dialect: Dialect) -> list[Vector]:
    """All requests; each is the base of its file with some fields put in."""
    found = _file(dialect)
    return [
        Vector(each["says"], dumped(found["base"] | each["with"]), each.get("target", found.get("target", "")).encode())
        for each in found["requests"]
    ]


def replies(dialect: Dialect) -> list[Vector]:
    """All answers in one piece."""
    return [Vector(each["says"], dumped(each["body"])) for each in _file(dialect)["replies"]]


def streams(dialect: Dialect) -> list[Vector]:
    """All streamed answers."""
    return [Vector(each["says"], each["text"].encode()) for each in _file(dialect)["streams"]]


def gathered(events: list[Event]) -> tuple[Reply, str]:
    """The answer that a stream adds up to, and what its Fault says. Checks the order of events on the way."""
    reply = Reply(id="", model="", parts=[], stop=StopReason.END)
    fault = ""
    open_part: Part | None = None
    started = stopped = False
    for event in events:
        assert not fault, "nothing follows a Fault"
        assert started or isinstance(event, Start | Fault | UsageSeen)
        match event:
            case Start():
                assert not started
                started = True
                reply.id, reply.model, reply.usage, reply.created = event.id, event.model, event.usage, event.created
            case UsageSeen():
                reply.usage = event.usage
            case Fault():
                fault = event.message
            case Stop():
                assert not stopped
                assert open_part is None
                stopped = True
                reply.stop, reply.stop_sequence = event.reason, event.sequence
            case PartEnd():
                assert open_part is not None
                reply.parts.append(open_part)
                open_part = None
            case _:
                assert not stopped
                open_part = _grown(open_part, event)
    return reply, fault


def _grown(part: Part | None, event: Event) -> Part:
    match part, event:
        case None, ToolStart():
            return ToolCall(event.id, event.name, "", event.freeform)
        case None | Text(), TextDelta():
            return Text((part.text if part is not None else "") + event.text)
        case None | Refusal(), RefusalDelta():
            return Refusal((part.text if part is not None else "") + event.text)
        case None | Thinking(), ThinkingDelta():
            return Thinking((part.text if part is not None else "") + event.text)
        case None | Thinking(), Signed():
            return Thinking(part.text if part is not None else "", event.signature, event.redacted)
        case ToolCall(), ToolDelta():
            part.arguments += event.text
            return part
        case _:
            raise AssertionError(f"{event} while {part} is open")


def pairs(dialects: list[Dialect]) -> Iterator[tuple[Dialect, Dialect]]:
    """Each client's dialect with each other that a provider may speak."""
    return ((one, other) for one in dialects for other in dialects if one is not other)
