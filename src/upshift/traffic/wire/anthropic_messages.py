"""How does Anthropic Messages say a request, an answer, a stream and a refusal?"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from upshift.traffic.snapshot import Ability, Dialect
from upshift.traffic.wire import body as bodies
from upshift.traffic.wire.anthropic_answer import MessagesMeter, read_answer
from upshift.traffic.wire.ask import Ask, ModelEntry, StreamMeter, asked_extras
from upshift.traffic.wire.salvage import salvage

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()
_FILE_BYTES_PER_IMAGE = 50_000
"""Base64 bytes of a document that may cost as many tokens as an image: about a scanned page."""
_UNSEEN_FILE = 10
"""Images that a document counts as which is only referred to."""
_LEAST_THOUGHT = 1_024
"""No smaller budget of thoughts is accepted, and none that is not below max_tokens."""
_OLD_SESSION = re.compile(r"^user_[0-9a-f]*_account_.*?_session_(.+)$")


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
    thinking: msgspec.Raw = _NULL
    speed: str | None = None
    fallbacks: msgspec.Raw = _NULL


class _Thinking(msgspec.Struct, gc=False):
    type: str = ""
    budget_tokens: int | None = None


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
                case "text":
                    # What most blocks are.
                    pass
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
_THINKING = msgspec.json.Decoder(_Thinking)
_WHOLE = msgspec.json.Decoder(int | None)
_DEVICE = msgspec.json.Decoder(_Device)


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


class AnthropicMessages:
    """Anthropic Messages."""

    __slots__ = ()

    def read(self, body: bytes, target: bytes = b"") -> Ask:
        """Understand a request. Raises Refused(BadRequest)."""
        request, _ = bodies.open_body(body, _REQUEST)
        if not request.messages:
            bodies.refuse("messages", "found none, expected a list with at least one message")
        bodies.no_fallbacks("fallbacks", request.fallbacks)
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
            least_output=_LEAST_THOUGHT + 1 if _thought(request.thinking) else 1,
            extras=asked_extras(request.speed),
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

        This dialect has one bound, max_tokens, and always reports usage: the last two arguments change nothing. A
        budget of thoughts that no longer fits below the bound shrinks with it, for a provider refuses it otherwise.
        """
        del limit_field, include_usage
        if model is None and max_output is None:
            return body
        fields, changes = bodies.fields_of(body), dict[str, bytes]()
        if model is not None:
            changes["model"] = msgspec.json.encode(model)
        if max_output is not None:
            changes["max_tokens"] = str(max_output).encode()
            thinking = fields.get("thinking", _NULL)
            budget = _thought(thinking)
            if budget is not None and budget >= max_output:
                asked = _WHOLE.decode(fields.get("max_tokens", _NULL)) or 0
                less = max(_LEAST_THOUGHT, bodies.in_proportion(budget, max_output, asked))
                changes["thinking"] = bodies.splice(
                    bytes(thinking), bodies.object_at("thinking", thinking), {"budget_tokens": str(less).encode()}
                )
        return bodies.splice(body, fields, changes)

    answer = staticmethod(read_answer)
    """Read an answer that came in one piece. Never raises."""

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


def _thought(raw: msgspec.Raw) -> int | None:
    """The tokens that a request lets the model think for; None where it sets no budget."""
    if raw == _NULL or not bodies.object_at("thinking", raw):
        return None
    said = bodies.within("thinking", raw, _THINKING)
    return said.budget_tokens if said.type == "enabled" else None


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
