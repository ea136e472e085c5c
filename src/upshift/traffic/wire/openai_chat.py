"""How does OpenAI Chat Completions say a request, an answer, a stream and a refusal?"""

from collections.abc import Sequence

import msgspec

from upshift.traffic.snapshot import Ability, Dialect
from upshift.traffic.wire import body as bodies
from upshift.traffic.wire import openai_models
from upshift.traffic.wire.ask import PLAIN, Ask, Extras, ModelEntry, StreamMeter, asked_extras
from upshift.traffic.wire.openai_answer import ChatMeter, error_body, read_answer

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()
_NO_NEEDS: frozenset[Ability] = frozenset()
_NEEDS_TOOLS, _NEEDS_JSON = frozenset((Ability.TOOLS,)), frozenset((Ability.JSON,))
_NEEDS_IMAGES = frozenset((Ability.IMAGES,))
_DIALECT = Dialect.OPENAI
_OF_TOOLS = frozenset(("tool", "function"))
_JSON_FORMATS = frozenset(("json_object", "json_schema"))
_BILLED = ("web_search_options", "plugins", "audio")
_SELDOM = frozenset((*_BILLED, "service_tier", "models"))
"""Fields of which most requests have none."""
_MOST_CHOICES = 128
_FILE_BYTES_PER_IMAGE = 50_000
"""Base64 bytes of a file that may cost as many tokens as an image: about a scanned page."""
_SOUND_BYTES_PER_IMAGE = 500_000
"""Base64 bytes of a sound that may cost as many tokens as an image: minutes of narrow-band speech."""
_INLINE_SEEN_BY = 128
"""Bytes of an image's value within which a data URL has begun."""
_UNSEEN_FILE = 10
"""Images that a file counts as which the provider holds and we never see."""


class _Format(msgspec.Struct, gc=False):
    type: str = ""


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _Media(msgspec.Struct, gc=False):
    data: msgspec.Raw = _NOTHING
    file_data: msgspec.Raw = _NOTHING


class _Part(msgspec.Struct, gc=False):
    image_url: msgspec.Raw = _NOTHING
    input_audio: _Media | None = None
    file: _Media | None = None


class _Message(msgspec.Struct, gc=False):
    role: str = ""
    content: str | list[_Part] | None = None


class _Request(msgspec.Struct, gc=False):
    model: str = ""
    messages: list[_Message] = []
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None
    response_format: _Format | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    web_search_options: msgspec.Raw = _NULL
    plugins: msgspec.Raw = _NULL
    audio: msgspec.Raw = _NULL
    models: msgspec.Raw = _NULL


_REQUEST = msgspec.json.Decoder(_Request)
_OPTIONS = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


class OpenAIChat:
    """OpenAI Chat Completions."""

    __slots__ = ()

    def read(self, body: bytes, target: bytes = b"") -> Ask:
        """Understand a request. Raises Refused(BadRequest)."""
        request, fields = bodies.open_body(body, _REQUEST)
        messages = request.messages
        if not messages:
            bodies.refuse("messages", "found none, expected a list with at least one message")
        most = request.max_tokens
        if most is not None:
            most = bodies.bounded("max_tokens", most)
        if request.max_completion_tokens is not None:
            if most is not None:
                bodies.refuse("max_completion_tokens", "found max_tokens beside it, expected one of the two")
            most = bodies.bounded("max_completion_tokens", request.max_completion_tokens)
        if _SELDOM.isdisjoint(fields):
            extras = PLAIN
        else:
            bodies.no_fallbacks("models", request.models)
            extras = _extras(request)
        needs = _NEEDS_TOOLS if request.tools or request.functions else _NO_NEEDS
        if request.response_format is not None and request.response_format.type in _JSON_FORMATS:
            needs |= _NEEDS_JSON
        inline = images = 0
        for message in messages:
            if message.role in _OF_TOOLS:
                needs |= _NEEDS_TOOLS
            if isinstance(content := message.content, list):
                for part in content:
                    if len(part.image_url):
                        needs |= _NEEDS_IMAGES
                    elif part.input_audio is None and part.file is None:
                        # A text, as most parts are.
                        continue
                    data, cost = _media(part)
                    inline += data
                    images += cost
        options = request.stream_options
        return Ask(
            dialect=_DIALECT,
            model=bodies.named(request.model),
            stream=request.stream is True,
            max_output=most,
            choices=1 if request.n is None else bodies.bounded("n", request.n, _MOST_CHOICES) or 1,
            needs=needs,
            text_bytes=len(body) - inline,
            images=images,
            user_hint=request.safety_identifier or request.user or "",
            session_hint=request.prompt_cache_key or "",
            wants_usage=options is not None and options.include_usage is True,
            extras=extras,
        )

    def rewrite(
        self,
        body: bytes,
        *,
        model: str | None = None,
        max_output: int | None = None,
        limit_field: str = "max_completion_tokens",
        include_usage: bool = False,
    ) -> bytes:
        """Put top-level fields into a body that `read` accepted; the same object where nothing changes."""
        if model is None and max_output is None and not include_usage:
            return body
        fields = bodies.fields_of(body)
        changes: dict[str, bytes] = {}
        if model is not None:
            changes["model"] = msgspec.json.encode(model)
        if max_output is not None:
            own = [name for name in ("max_tokens", "max_completion_tokens") if fields.get(name, _NULL) != _NULL]
            for name in {*own, limit_field} if limit_field == "max_tokens" else own or [limit_field]:
                changes[name] = str(max_output).encode()
        if include_usage:
            options = _OPTIONS.decode(fields.get("stream_options", _NULL)) or {}
            if options.get("include_usage") != msgspec.Raw(b"true"):
                changes["stream_options"] = msgspec.json.encode(options | {"include_usage": msgspec.Raw(b"true")})
        return bodies.splice(body, fields, changes)

    answer = staticmethod(read_answer)
    """Read an answer that came in one piece. Never raises."""

    def stream(self, *, keep_usage: bool) -> StreamMeter:
        """A meter for one streamed answer. Without `keep_usage`, an event with nothing but usage is removed."""
        return ChatMeter(keep_usage=keep_usage)

    def refusal(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """The body of an error answer; the request id goes in a header alone, as OpenAI does it."""
        del request_id
        return error_body(status, code, message)

    def models(self, entries: Sequence[ModelEntry]) -> bytes:
        """The body of a list of models."""
        return openai_models.models(entries)

    def model(self, entry: ModelEntry) -> bytes:
        """The body that shows one model."""
        return openai_models.model(entry)


def _extras(request: _Request) -> Extras:
    """What a request asks for that is billed otherwise. What answers do not report counts as asked."""
    for name, raw in zip(_BILLED, (request.web_search_options, request.plugins, request.audio), strict=True):
        if raw != _NULL:
            return asked_extras(request.service_tier, name)
    return asked_extras(request.service_tier)


def _media(part: _Part) -> tuple[int, int]:
    """Bytes of inline data in a part of a message, and the images that it may cost as much as."""
    if len(part.image_url):
        inline = b"data:" in bytes(memoryview(part.image_url)[:_INLINE_SEEN_BY])
        return (len(part.image_url) if inline else 0), 1
    if part.input_audio is not None:
        data = len(part.input_audio.data)
        return data, 1 + data // _SOUND_BYTES_PER_IMAGE
    if part.file is not None:
        data = len(part.file.file_data)
        return data, 1 + data // _FILE_BYTES_PER_IMAGE if data else _UNSEEN_FILE
    return 0, 0
