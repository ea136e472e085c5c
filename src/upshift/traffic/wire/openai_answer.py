"""What did a Chat Completions answer or stream generate and use, and how is a stream ended?"""

from collections.abc import Mapping

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.wire.ask import MOST_TOKENS, Answer, extras, size
from upshift.traffic.wire.salvage import salvage
from upshift.traffic.wire.sse import event
from upshift.traffic.wire.stream import Meter, fault_text

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


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
    message: _Said | None = None
    finish_reason: str | None = None


class _Whole(msgspec.Struct, gc=False):
    """An answer in one piece."""

    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    service_tier: str | None = None


class _Delta(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Said | None = None
    finish_reason: str | None = None


class _Reply(msgspec.Struct, gc=False):
    """One event of a stream."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    choices: list[_Delta] | None = None
    usage: msgspec.Raw = _NULL
    service_tier: str | None = None
    error: msgspec.Raw = _NULL


_WHOLE = msgspec.json.Decoder(_Whole)
_REPLY = msgspec.json.Decoder(_Reply)
_USAGE = msgspec.json.Decoder(_Usage)


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """Usage in our terms; None where it is missing or cannot be true."""
    try:
        return _believed(_USAGE.decode(raw))
    except (ValueError, RecursionError):
        return None


def _believed(said: _Usage) -> Usage | None:
    """Usage in our terms; None where it cannot be true."""
    details, made = said.prompt_tokens_details, said.completion_tokens_details
    cached = said.prompt_cache_hit_tokens or 0
    written = reasoning = 0
    if details is not None:
        cached, written = details.cached_tokens or cached, details.cache_write_tokens or 0
    if made is not None:
        reasoning = made.reasoning_tokens or 0
    read, output, total = said.prompt_tokens, said.completion_tokens, said.total_tokens or 0
    if min(read, output, total, cached, written, reasoning) < 0 or max(read, output, total) > MOST_TOKENS:
        return None
    # Some vendors leave reasoning out of completion_tokens, and bill it all the same: the total tells.
    if total > read + output:
        output = total - read
    if cached + written > read or reasoning > output:
        return None
    return Usage(read, cached, written, 0, output, reasoning)


def _sounds(said: _Usage) -> str:
    """Whether some of the tokens are of sound, which cost more than those of text."""
    details, made = said.prompt_tokens_details, said.completion_tokens_details
    heard = (details is not None and details.audio_tokens) or (made is not None and made.audio_tokens)
    return "audio tokens" if heard else ""


def _said_bytes(said: _Said) -> int:
    content = said.content
    if isinstance(content, str):
        total = len(content) if content.isascii() else size(content)
    else:
        total = 0 if content is None else sum(map(len, content))
    if said.refusal is not None:
        total += size(said.refusal)
    if thought := said.reasoning_content or said.reasoning:
        total += size(thought)
    if said.function_call is not None:
        total += _call_bytes(said.function_call)
    if said.tool_calls is not None:
        for call in said.tool_calls:
            total += len(call.custom) + (0 if call.function is None else _call_bytes(call.function))
    return total


def _call_bytes(call: _Function) -> int:
    return size(call.name or "") + size(call.arguments or "")


def read_answer(body: bytes) -> Answer:
    """Read an answer that came in one piece. Never raises."""
    try:
        said = _WHOLE.decode(body)
    except (ValueError, RecursionError):
        found = salvage(body, _Whole)
        if found is None:
            return Answer()
        said = found
    choices, used = said.choices or (), said.usage
    complete, generated = bool(choices), 0
    for choice in choices:
        if choice.message is not None:
            generated += _said_bytes(choice.message)
        if not choice.finish_reason:
            complete = False
    return Answer(
        usage=None if used is None else _believed(used),
        model=said.model or "",
        upstream_id=said.id or "",
        complete=complete,
        output_bytes=generated,
        extras=extras(said.service_tier, 0, "" if used is None else _sounds(used)),
    )


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
    "pool_full": "rate_limit_exceeded",
}
"""Codes that clients know; every other goes out as it is."""


def error_body(status: int, code: str, message: str) -> bytes:
    """The body of an error answer, and the data of an error event."""
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    if code == "over_budget":
        kind = "insufficient_quota"
    return msgspec.json.encode(
        {"error": {"message": message, "type": kind, "param": None, "code": _CODES.get(code, code)}}
    )


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
        try:
            reply: _Reply | None = _REPLY.decode(data)
        except (ValueError, RecursionError):
            reply = salvage(data, _Reply)
        if reply is None:
            if data.strip() == b"[DONE]":
                self.complete = True
            return True
        if not self.upstream_id and reply.id:
            self.upstream_id = reply.id
        if not self.model and reply.model:
            self.model = reply.model
        if reply.created:
            self._created = reply.created
        if reply.service_tier and not self.extras.said:
            self.extras = extras(reply.service_tier)
        if reply.error != _NULL:
            self._fail(fault_text(reply.error))
        choices = reply.choices
        if choices:
            generated = 0
            for choice in choices:
                if choice.delta is not None:
                    generated += _said_bytes(choice.delta)
                if choice.finish_reason:
                    self._finished.add(choice.index)
                    self._open.discard(choice.index)
                elif choice.index not in self._open and choice.index not in self._finished:
                    self._open.add(choice.index)
            if generated:
                self.output_bytes += generated
                self.output_events += 1
        if reply.usage == _NULL:
            return True
        try:
            used: _Usage | None = _USAGE.decode(reply.usage)
        except (ValueError, RecursionError):
            used = None
        self.partial = None if used is None else _believed(used)
        if used is not None and (sounds := _sounds(used)):
            self.extras = msgspec.structs.replace(self.extras, unpriced=sounds)
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
        return event(error_body(500, code, message))


def _said_usage(usage: Usage) -> dict[str, object]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
