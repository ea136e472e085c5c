"""How does OpenAI Chat Completions say a request, an answer, a stream and a refusal?"""

from collections.abc import Mapping, Sequence

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
_MOST_CHOICES = 128
_FILE_BYTES_PER_IMAGE = 50_000
"""Base64 bytes of a file that may cost as many tokens as an image: about a scanned page."""
_SOUND_BYTES_PER_IMAGE = 500_000
"""Base64 bytes of a sound that may cost as many tokens as an image: minutes of narrow-band speech."""
_INLINE_SEEN_BY = 128
"""Bytes of an image's value within which a data URL has begun."""
_UNSEEN_FILE = 10
"""Images that a file counts as which the provider holds and we never see."""


# Requests ---------------------------------------------------------------------------------------------------------


class _Message(msgspec.Struct, gc=False):
    role: str = ""
    content: msgspec.Raw = _NOTHING


class _Format(msgspec.Struct, gc=False):
    type: str = ""


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


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


class _Media(msgspec.Struct, gc=False):
    data: msgspec.Raw = _NOTHING
    file_data: msgspec.Raw = _NOTHING


class _Part(msgspec.Struct, gc=False):
    image_url: msgspec.Raw = _NOTHING
    input_audio: _Media | None = None
    file: _Media | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_PARTS = msgspec.json.Decoder(list[_Part])
_OPTIONS = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


# Answers ----------------------------------------------------------------------------------------------------------


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    function: _Function | None = None
    custom: msgspec.Raw = _NOTHING


class _Said(msgspec.Struct, gc=False):
    """A message, or what is new of it in a stream."""

    content: str | list[msgspec.Raw] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None


class _Reply(msgspec.Struct, gc=False):
    """An answer, or one event of a stream."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL


_REPLY = msgspec.json.Decoder(_Reply)
_USAGE = msgspec.json.Decoder(_Usage)


def _usage(raw: msgspec.Raw) -> Usage | None:
    """Usage in our terms; None where it is missing or cannot be true."""
    try:
        said = _USAGE.decode(raw)
    except (ValueError, RecursionError):
        return None
    details, made = said.prompt_tokens_details, said.completion_tokens_details
    cached = (details.cached_tokens if details is not None else None) or said.prompt_cache_hit_tokens or 0
    written = (details.cache_write_tokens if details is not None else None) or 0
    reasoning = (made.reasoning_tokens if made is not None else None) or 0
    output, total = said.completion_tokens, said.total_tokens or 0
    if not believable(said.prompt_tokens, output, total, cached, written, reasoning):
        return None
    # Some vendors leave reasoning out of completion_tokens, and bill it all the same: the total tells.
    if total > said.prompt_tokens + output:
        output = total - said.prompt_tokens
    if cached + written > said.prompt_tokens or reasoning > output:
        return None
    return Usage(said.prompt_tokens, cached, written, 0, output, reasoning)


def _said_bytes(said: _Said | None) -> int:
    if said is None:
        return 0
    total = 0
    content = said.content
    if isinstance(content, str):
        total = size(content)
    elif content is not None:
        total = sum(map(len, content))
    for text in (said.refusal, said.reasoning_content or said.reasoning):
        if text is not None:
            total += size(text)
    if said.function_call is not None:
        total += _call_bytes(said.function_call)
    if said.tool_calls is not None:
        for call in said.tool_calls:
            total += len(call.custom) + (0 if call.function is None else _call_bytes(call.function))
    return total


def _call_bytes(call: _Function) -> int:
    return size(call.name or "") + size(call.arguments or "")


def _reply(data: bytes) -> _Reply | None:
    try:
        return _REPLY.decode(data)
    except (ValueError, RecursionError):
        return salvage(data, _Reply)


class ChatMeter(Meter):
    """Meter of one streamed chat completion."""

    __slots__ = ("_created", "_finished", "_keep_usage", "_open")

    def __init__(self, *, keep_usage: bool) -> None:
        super().__init__()
        self._keep_usage = keep_usage
        self._created = 0
        self._open: set[int] = set()
        self._finished: set[int] = set()

    def _take(self, data: bytes) -> bool:
        if not data:
            return True
        reply = _reply(data)
        if reply is None:
            if data.strip() == b"[DONE]":
                self.complete = True
            return True
        if reply.id and not self.upstream_id:
            self.upstream_id = reply.id
        if reply.model and not self.model:
            self.model = reply.model
        if reply.created:
            self._created = reply.created
        if reply.error != _NULL:
            self._fail(fault_text(reply.error))
        choices = reply.choices
        if choices:
            generated = 0
            for choice in choices:
                generated += _said_bytes(choice.delta)
                if choice.finish_reason:
                    self._finished.add(choice.index)
                    self._open.discard(choice.index)
                elif choice.index not in self._finished:
                    self._open.add(choice.index)
            self._put(generated)
        if reply.usage == _NULL:
            return True
        self.partial = _usage(reply.usage)
        # A running figure comes with every event; the whole answer's with the last choice to end, or on its own.
        self._final = not choices or not self._open
        return self._keep_usage or choices != [] or reply.error != _NULL

    def _ended(self) -> None:
        if self._finished and not self._open:
            self.complete = True

    def _stop(self, note: Mapping[str, str], usage: Usage | None) -> bytes:
        head = {
            "id": self.upstream_id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self.model,
        }
        open_choices = sorted(self._open) if self._open or self._finished else [0]
        chunks: list[dict[str, object]] = [
            head
            | {"choices": [{"index": index, "delta": {}, "logprobs": None, "finish_reason": "length"}]}
            | ({"upshift": note} if index == open_choices[-1] else {})
            for index in open_choices
        ]
        if self._keep_usage and usage is not None:
            last: dict[str, object] = head | {"choices": [], "usage": _said_usage(usage)}
            chunks.append(last if open_choices else last | {"upshift": note})
        return b"".join(event(msgspec.json.encode(chunk)) for chunk in chunks) + event(b"[DONE]")

    def _fault(self, message: str, code: str) -> bytes:
        return event(_error(500, code, message))


def _said_usage(usage: Usage) -> dict[str, object]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


# Refusals ---------------------------------------------------------------------------------------------------------

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
_CODES = {
    "over_budget": "insufficient_quota",
    "invalid_key": "invalid_api_key",
    "unknown_model": "model_not_found",
    "budget_busy": "rate_limit_exceeded",
}
"""Codes that clients know; every other goes out as it is."""


def _error(status: int, code: str, message: str) -> bytes:
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    if code == "over_budget":
        kind = "insufficient_quota"
    return msgspec.json.encode(
        {"error": {"message": message, "type": kind, "param": None, "code": _CODES.get(code, code)}}
    )


def _listed(entry: ModelEntry) -> dict[str, object]:
    return {"id": entry.name, "object": "model", "created": entry.created, "owned_by": entry.owner}


# The dialect ------------------------------------------------------------------------------------------------------


class OpenAIChat:
    """OpenAI Chat Completions."""

    __slots__ = ()

    def read(self, body: bytes) -> Ask:
        """Understand a request. Raises Refused(BadRequest)."""
        request = bodies.open_body(body, _REQUEST)
        if not request.messages:
            bodies.refuse("messages", "found none, expected a list with at least one message")
        bodies.bounded("max_tokens", request.max_tokens)
        bodies.bounded("max_completion_tokens", request.max_completion_tokens)
        asked, options = request.response_format, request.stream_options
        needs: set[Ability] = set()
        if request.tools or request.functions:
            needs.add(Ability.TOOLS)
        if asked is not None and asked.type in {"json_object", "json_schema"}:
            needs.add(Ability.JSON)
        inline = images = 0
        for index, message in enumerate(request.messages):
            if message.role in {"tool", "function"}:
                needs.add(Ability.TOOLS)
            for part in bodies.items(f"messages[{index}].content", message.content, _PARTS):
                if len(part.image_url):
                    needs.add(Ability.IMAGES)
                data, cost = _media(part)
                inline += data
                images += cost
        return Ask(
            dialect=Dialect.OPENAI,
            model=bodies.named(request.model),
            stream=bool(request.stream),
            max_output=request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens,
            choices=bodies.bounded("n", request.n, _MOST_CHOICES) or 1,
            needs=frozenset(needs),
            text_bytes=len(body) - inline,
            images=images,
            user_hint=request.safety_identifier or request.user or "",
            session_hint=request.prompt_cache_key or "",
            wants_usage=options is not None and bool(options.include_usage),
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
            for name in own or [limit_field]:
                changes[name] = str(max_output).encode()
        if include_usage:
            options = _OPTIONS.decode(fields.get("stream_options", _NULL)) or {}
            if options.get("include_usage") != msgspec.Raw(b"true"):
                changes["stream_options"] = msgspec.json.encode(options | {"include_usage": msgspec.Raw(b"true")})
        return bodies.splice(body, fields, changes)

    def answer(self, body: bytes) -> Answer:
        """Read an answer that came in one piece. Never raises."""
        reply = _reply(body)
        if reply is None:
            return Answer()
        choices = reply.choices or []
        return Answer(
            usage=_usage(reply.usage),
            model=reply.model or "",
            upstream_id=reply.id or "",
            complete=bool(choices) and all(choice.finish_reason for choice in choices),
            output_bytes=sum(_said_bytes(choice.message) for choice in choices),
        )

    def stream(self, *, keep_usage: bool) -> StreamMeter:
        """A meter for one streamed answer. Without `keep_usage`, an event with nothing but usage is removed."""
        return ChatMeter(keep_usage=keep_usage)

    def refusal(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """The body of an error answer; the request id goes in a header alone, as OpenAI does it."""
        del request_id
        return _error(status, code, message)

    def models(self, entries: Sequence[ModelEntry]) -> bytes:
        """The body of a list of models."""
        return msgspec.json.encode({"object": "list", "data": [_listed(entry) for entry in entries]})

    def model(self, entry: ModelEntry) -> bytes:
        """The body that shows one model."""
        return msgspec.json.encode(_listed(entry))


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
