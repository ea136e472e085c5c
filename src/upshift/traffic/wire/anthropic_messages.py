"""How does Anthropic Messages say a request, an answer, a stream and a refusal?"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Ability, Dialect
from upshift.traffic.wire import body as bodies
from upshift.traffic.wire.ask import Answer, Ask, ModelEntry, StreamMeter, believable, size
from upshift.traffic.wire.salvage import salvage
from upshift.traffic.wire.sse import event
from upshift.traffic.wire.stream import Meter, fault_text

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()
_FILE_BYTES_PER_IMAGE = 50_000
"""Base64 bytes of a document that may cost as many tokens as an image: about a scanned page."""
_UNSEEN_FILE = 10
"""Images that a document counts as which is only referred to."""
_OLD_SESSION = re.compile(r"^user_[0-9a-f]*_account_.*?_session_(.+)$")


# Requests ---------------------------------------------------------------------------------------------------------


class _Message(msgspec.Struct, gc=False):
    role: str = ""
    content: msgspec.Raw = _NOTHING


class _Cache(msgspec.Struct, gc=False):
    ttl: str | None = None


class _Tool(msgspec.Struct, gc=False):
    cache_control: _Cache | None = None


class _Metadata(msgspec.Struct, gc=False):
    user_id: str | None = None


class _OutputConfig(msgspec.Struct, gc=False):
    format: msgspec.Raw = _NULL


class _Request(msgspec.Struct, gc=False):
    model: str = ""
    messages: list[_Message] = []
    stream: bool | None = None
    max_tokens: int | None = None
    system: msgspec.Raw = _NOTHING
    tools: list[_Tool] | None = None
    cache_control: _Cache | None = None
    output_config: _OutputConfig | None = None
    output_format: msgspec.Raw = _NULL
    metadata: _Metadata | None = None


class _Source(msgspec.Struct, gc=False):
    type: str = ""
    data: msgspec.Raw = _NOTHING


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    source: msgspec.Raw = _NOTHING
    content: msgspec.Raw = _NOTHING
    cache_control: _Cache | None = None


class _Device(msgspec.Struct, gc=False):
    """What coding agents put into user_id: no person, but a session."""

    session_id: str = ""


class _Seen:
    """What the blocks of a request have in them."""

    __slots__ = ("cache_write", "images", "inline", "needs")

    def __init__(self) -> None:
        self.cache_write: Literal["", "5m", "1h"] = ""
        self.images = 0
        self.inline = 0
        self.needs: set[Ability] = set()

    def cache(self, asked: _Cache | None) -> None:
        """Keep the dearest cache that is asked for."""
        if asked is not None and self.cache_write != "1h":
            self.cache_write = "1h" if asked.ttl == "1h" else "5m"

    def blocks(self, where: str, raw: msgspec.Raw, *, nested: bool = False) -> None:
        """Look through a text or a list of blocks, and into tool results. Raises Refused(BadRequest)."""
        for index, block in enumerate(bodies.items(where, raw, _BLOCKS)):
            if block.cache_control is not None:
                self.cache(block.cache_control)
            match block.type:
                case "tool_use":
                    self.needs.add(Ability.TOOLS)
                case "image" | "document":
                    self._source(block)
                case "tool_result":
                    self.needs.add(Ability.TOOLS)
                    if not nested:
                        self.blocks(f"{where}[{index}].content", block.content, nested=True)

    def _source(self, block: _Block) -> None:
        source = salvage(bytes(block.source), _Source) or _Source()
        data = len(source.data) if source.type == "base64" else 0
        self.inline += data
        if block.type == "image":
            self.needs.add(Ability.IMAGES)
            self.images += 1
        elif source.type in {"url", "file"}:
            self.images += _UNSEEN_FILE
        elif data:
            self.images += 1 + data // _FILE_BYTES_PER_IMAGE


_REQUEST = msgspec.json.Decoder(_Request)
_BLOCKS = msgspec.json.Decoder(list[_Block])
_DEVICE = msgspec.json.Decoder(_Device)


# Answers ----------------------------------------------------------------------------------------------------------


class _Written(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Written | None = None
    output_tokens_details: _OutputDetails | None = None


class _Part(msgspec.Struct, gc=False):
    """A content block, or what is new of one."""

    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    input: msgspec.Raw = _NOTHING
    name: str | None = None
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
    split, details = said.cache_creation or _Written(), said.output_tokens_details
    hour = split.ephemeral_1h_input_tokens or 0
    written = said.cache_creation_input_tokens
    if written is None:
        written = hour + (split.ephemeral_5m_input_tokens or 0)
    cached = said.cache_read_input_tokens or 0
    reasoning = (details.thinking_tokens if details is not None else None) or 0
    whole = said.input_tokens + cached + written
    if not believable(said.input_tokens, cached, written, hour, written - hour, whole, said.output_tokens, reasoning):
        return None
    if reasoning > said.output_tokens:
        return None
    return Usage(whole, cached, written - hour, hour, said.output_tokens, reasoning)


def _part_bytes(part: _Part) -> int:
    total = len(part.input)
    for text in (part.text, part.thinking, part.partial_json, part.name):
        if text:
            total += size(text)
    return total


class MessagesMeter(Meter):
    """Meter of one streamed message."""

    __slots__ = ("_blocks", "_said", "_started", "_stopped")

    def __init__(self) -> None:
        super().__init__()
        self._said: _Usage | None = _Usage()
        self._blocks: set[int] = set()
        self._started = False
        self._stopped = False

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
        for name in _Usage.__struct_fields__:
            if getattr(new, name) is None:
                setattr(new, name, getattr(self._said, name))
        self._said, self.partial = new, _usage(new)
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


# Refusals ---------------------------------------------------------------------------------------------------------

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def _listed(entry: ModelEntry) -> dict[str, object]:
    return {
        "type": "model",
        "id": entry.name,
        "display_name": entry.name,
        "created_at": f"{datetime.fromtimestamp(entry.created, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "lifecycle": "active",
    }


# The dialect ------------------------------------------------------------------------------------------------------


class AnthropicMessages:
    """Anthropic Messages."""

    __slots__ = ()

    def read(self, body: bytes) -> Ask:
        """Understand a request. Raises Refused(BadRequest)."""
        request = bodies.open_body(body, _REQUEST)
        if not request.messages:
            bodies.refuse("messages", "found none, expected a list with at least one message")
        seen = _Seen()
        seen.cache(request.cache_control)
        for tool in request.tools or ():
            seen.needs.add(Ability.TOOLS)
            seen.cache(tool.cache_control)
        seen.blocks("system", request.system)
        for index, message in enumerate(request.messages):
            seen.blocks(f"messages[{index}].content", message.content)
        config = request.output_config
        if request.output_format != _NULL or (config is not None and config.format != _NULL):
            seen.needs.add(Ability.JSON)
        user, session = _hints(request.metadata)
        return Ask(
            dialect=Dialect.ANTHROPIC,
            model=bodies.named(request.model),
            stream=bool(request.stream),
            max_output=bodies.bounded("max_tokens", request.max_tokens),
            needs=frozenset(seen.needs),
            text_bytes=len(body) - seen.inline,
            images=seen.images,
            cache_write=seen.cache_write,
            user_hint=user,
            session_hint=session,
            wants_usage=True,
        )

    def rewrite(
        self,
        body: bytes,
        *,
        model: str | None = None,
        max_output: int | None = None,
        limit_field: str = "max_tokens",
        include_usage: bool = False,
    ) -> bytes:
        """Put top-level fields into a body that `read` accepted; the same object where nothing changes.

        This dialect has one bound, max_tokens, and always reports usage: the last two arguments change nothing.
        """
        del limit_field, include_usage
        changes: dict[str, bytes] = {}
        if model is not None:
            changes["model"] = msgspec.json.encode(model)
        if max_output is not None:
            changes["max_tokens"] = str(max_output).encode()
        return bodies.splice(body, bodies.fields_of(body), changes) if changes else body

    def answer(self, body: bytes) -> Answer:
        """Read an answer that came in one piece. Never raises."""
        try:
            reply: _Reply | None = _REPLY.decode(body)
        except (ValueError, RecursionError):
            reply = salvage(body, _Reply)
        if reply is None:
            return Answer()
        return Answer(
            usage=_usage(_said_usage(reply.usage)),
            model=reply.model or "",
            upstream_id=reply.id or "",
            complete=bool(reply.stop_reason),
            output_bytes=sum(map(_part_bytes, reply.content or ())),
        )

    def stream(self, *, keep_usage: bool) -> StreamMeter:
        """A meter for one streamed answer. Usage is part of events that clients need, so it always stays."""
        del keep_usage
        return MessagesMeter()

    def refusal(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """The body of an error answer."""
        kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        if code == "over_budget":
            kind = "billing_error"
        return msgspec.json.encode(
            {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
        )

    def models(self, entries: Sequence[ModelEntry]) -> bytes:
        """The body of a list of models."""
        return msgspec.json.encode(
            {
                "data": [_listed(entry) for entry in entries],
                "has_more": False,
                "first_id": entries[0].name if entries else None,
                "last_id": entries[-1].name if entries else None,
            }
        )

    def model(self, entry: ModelEntry) -> bytes:
        """The body that shows one model."""
        return msgspec.json.encode(_listed(entry))


def _hints(metadata: _Metadata | None) -> tuple[str, str]:
    """Who the caller says the user is, and which session this is."""
    said = metadata.user_id if metadata is not None else None
    if not said:
        return "", ""
    if said.startswith("{"):
        try:
            return "", _DEVICE.decode(said).session_id
        except (ValueError, RecursionError):
            return said, ""
    old = _OLD_SESSION.match(said)
    return (said, "") if old is None else ("", old[1])
