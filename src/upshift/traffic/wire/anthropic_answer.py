"""What did a Messages answer or stream generate and use, and how is a stream ended?"""

from collections.abc import Mapping

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.wire.ask import PLAIN, Answer, Extras, believable, extras, service, size
from upshift.traffic.wire.salvage import salvage
from upshift.traffic.wire.sse import event
from upshift.traffic.wire.stream import Meter, fault_text, latest

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()


class _Written(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class _Served(msgspec.Struct, gc=False):
    """What the provider did by itself. What it fetched costs no more than its tokens."""

    web_search_requests: int | None = None
    web_fetch_requests: int | None = None
    tool_search_requests: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Written | None = None
    output_tokens_details: _OutputDetails | None = None
    server_tool_use: _Served | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None


class _Part(msgspec.Struct, gc=False):
    """A content block, or what is new of one."""

    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    input: msgspec.Raw = _NOTHING
    name: str | None = None
    type: str | None = None
    stop_reason: str | None = None


class _Reply(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    content: list[_Part] | None = None
    stop_reason: str | None = None
    usage: msgspec.Raw = _NULL


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: int = 0
    message: _Reply | None = None
    content_block: _Part | None = None
    delta: _Part | None = None
    usage: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


_REPLY = msgspec.json.Decoder(_Reply)
_EVENT = msgspec.json.Decoder(_Event)
_USAGE = msgspec.json.Decoder(_Usage)


def _said_usage(raw: msgspec.Raw) -> _Usage | None:
    """Usage as said, no field of it required; None where it has another shape."""
    try:
        return _USAGE.decode(raw)
    except (ValueError, RecursionError):
        return None


def _usage(said: _Usage | None) -> Usage | None:
    """Usage in our terms, where input contains what was read from and written to caches."""
    if said is None or said.input_tokens is None or said.output_tokens is None:
        return None
    split, details = said.cache_creation, said.output_tokens_details
    hour = (split.ephemeral_1h_input_tokens if split is not None else None) or 0
    written = said.cache_creation_input_tokens
    if written is None:
        written = hour + ((split.ephemeral_5m_input_tokens if split is not None else None) or 0)
    cached = said.cache_read_input_tokens or 0
    reasoning = (details.thinking_tokens if details is not None else None) or 0
    whole = said.input_tokens + cached + written
    if not believable(said.input_tokens, cached, written, hour, written - hour, whole, said.output_tokens, reasoning):
        return None
    if reasoning > said.output_tokens:
        return None
    return Usage(whole, cached, written - hour, hour, said.output_tokens, reasoning)


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """Usage in our terms; None where it is missing or cannot be true."""
    return _usage(_said_usage(raw))


def _extras(said: _Usage | None, ran_code: bool) -> Extras:
    """What a message is billed by beside its tokens: a search, code in a container, a place that costs more."""
    if said is None:
        return PLAIN
    searches = said.server_tool_use.web_search_requests if said.server_tool_use is not None else None
    near = said.inference_geo not in {None, "", "global", "not_available"}
    other = "code execution" if ran_code else "inference_geo" if near else ""
    tier = said.speed if service(said.speed) else said.service_tier
    return extras(tier, max(searches or 0, 0), other)


def _runs_code(part: _Part) -> bool:
    return part.type == "server_tool_use" and "code_execution" in (part.name or "")


def _part_bytes(part: _Part) -> int:
    total = len(part.input)
    if part.text:
        total += size(part.text)
    if part.thinking:
        total += size(part.thinking)
    if part.partial_json:
        total += size(part.partial_json)
    if part.name:
        total += size(part.name)
    return total


def read_answer(body: bytes) -> Answer:
    """Read an answer that came in one piece. Never raises."""
    try:
        reply: _Reply | None = _REPLY.decode(body)
    except (ValueError, RecursionError):
        reply = salvage(body, _Reply)
    if reply is None:
        return Answer()
    said = _said_usage(reply.usage)
    return Answer(
        usage=_usage(said),
        model=reply.model or "",
        upstream_id=reply.id or "",
        complete=bool(reply.stop_reason),
        output_bytes=sum(map(_part_bytes, reply.content or ())),
        extras=_extras(said, any(map(_runs_code, reply.content or ()))),
    )


class MessagesMeter(Meter):
    """Meter of one streamed message."""

    __slots__ = ("_blocks", "_ran_code", "_said", "_started", "_stopped")

    def __init__(self) -> None:
        super().__init__()
        self._said: _Usage | None = _Usage()
        self._blocks: set[int] = set()
        self._started = False
        self._stopped = False
        self._ran_code = False

    def _take(self, data: bytes) -> bool:
        if not data:
            return True
        try:
            found: _Event | None = _EVENT.decode(data)
        except (ValueError, RecursionError):
            found = salvage(data, _Event)
        if found is None:
            return True
        match found.type:
            case "content_block_delta":
                if found.delta is not None:
                    self._put(_part_bytes(found.delta))
            case "content_block_start":
                self._blocks.add(found.index)
                if found.content_block is not None:
                    # The input of a tool call comes in deltas; at its start it is an empty object.
                    found.content_block.input = _NOTHING
                    self._ran_code = self._ran_code or _runs_code(found.content_block)
                    self._put(_part_bytes(found.content_block))
            case "content_block_stop":
                self._blocks.discard(found.index)
            case "message_start":
                self._started = True
                if found.message is not None:
                    self.upstream_id = found.message.id or ""
                    self.model = found.message.model or ""
                    self._report(found.message.usage)
            case "message_delta":
                self._stopped = self._stopped or (found.delta is not None and bool(found.delta.stop_reason))
                if self._report(found.usage):
                    self._final = True
            case "message_stop":
                self.complete = True
            case "error":
                self._fail(fault_text(found.error) or "an error without a message")
        return True

    def _report(self, raw: msgspec.Raw) -> bool:
        """Merge figures into those reported before: the last word on each field counts. True if output was among them.

        Figures of an impossible shape make all of them doubtful, for good.
        """
        if raw == _NULL:
            return False
        new = _said_usage(raw)
        if new is None or self._said is None:
            self._said = self.partial = None
            return True
        about_output = new.output_tokens is not None
        self._said = said = latest(new, self._said)
        self.partial = _usage(said)
        self.extras = _extras(said, self._ran_code)
        return about_output

    def _stop(self, note: Mapping[str, str], usage: Usage | None) -> bytes:
        usage = usage or self.partial or Usage()
        events: list[dict[str, object]] = []
        if not self._started:
            message: dict[str, object] = {
                "id": self.upstream_id or "msg_0",
                "type": "message",
                "role": "assistant",
                "model": self.model,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": _shown(usage) | {"output_tokens": 0},
            }
            events.append({"type": "message_start", "message": message})
        events += [{"type": "content_block_stop", "index": index} for index in sorted(self._blocks)]
        if self._stopped:
            events.append({"type": "message_stop", "upshift": note})
        else:
            stop = {"stop_reason": "max_tokens", "stop_sequence": None}
            events.append({"type": "message_delta", "delta": stop, "usage": _shown(usage), "upshift": note})
            events.append({"type": "message_stop"})
        return b"".join(event(msgspec.json.encode(each), str(each["type"]).encode()) for each in events)

    def _fault(self, message: str, code: str) -> bytes:
        kind = "billing_error" if code == "over_budget" else "api_error"
        return event(
            msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}}),
            b"error",
        )


def _shown(usage: Usage) -> dict[str, int]:
    written = usage.cache_write_5m + usage.cache_write_1h
    return {
        "input_tokens": usage.input - usage.cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }
