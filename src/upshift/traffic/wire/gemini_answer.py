"""What did a Gemini answer or stream generate and use, and how is a stream ended?"""

from collections.abc import Mapping

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.wire.ask import PLAIN, Answer, Extras, believable, extras, size
from upshift.traffic.wire.salvage import salvage
from upshift.traffic.wire.sse import event, payload
from upshift.traffic.wire.stream import Meter, fault_text, latest

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()
_PICTURE_BYTES = 5_200
"""A generated picture counts as so many bytes of text: it costs about 1,300 tokens, whatever its file's size."""
_SOUND_BYTES_PER_BYTE = 500
"""Base64 bytes of generated speech that cost as many tokens as a byte of text: a second is 64 kB and 32 tokens."""


class _Modality(msgspec.Struct, gc=False, rename="camel"):
    modality: str | None = None
    token_count: int | None = None


class _Usage(msgspec.Struct, gc=False, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    total_token_count: int | None = None
    service_tier: str | None = None
    prompt_tokens_details: list[_Modality] | None = None
    candidates_tokens_details: list[_Modality] | None = None


class _Blob(msgspec.Struct, gc=False, rename="camel"):
    mime_type: str | None = None
    data: msgspec.Raw = _NOTHING


class _Part(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    function_call: msgspec.Raw = _NOTHING
    executable_code: msgspec.Raw = _NOTHING
    inline_data: _Blob | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Grounding(msgspec.Struct, gc=False, rename="camel"):
    web_search_queries: list[str] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    index: int = 0
    content: _Content | None = None
    finish_reason: str | None = None
    grounding_metadata: _Grounding | None = None


class _Feedback(msgspec.Struct, gc=False, rename="camel"):
    block_reason: str | None = None


class _Reply(msgspec.Struct, gc=False, rename="camel"):
    """An answer, or one event of a stream: they have the same shape."""

    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: msgspec.Raw = _NULL
    model_version: str | None = None
    response_id: str | None = None
    error: msgspec.Raw = _NULL


_REPLY = msgspec.json.Decoder(_Reply)
_USAGE = msgspec.json.Decoder(_Usage)
_SILENT = _Usage()


def _read(data: bytes) -> _Reply | None:
    try:
        return _REPLY.decode(data)
    except (ValueError, RecursionError):
        return salvage(data, _Reply)


def _said_usage(raw: msgspec.Raw) -> _Usage | None:
    """Usage as said, no field of it required; None where it has another shape."""
    try:
        return _USAGE.decode(raw)
    except (ValueError, RecursionError):
        return None


def _usage(said: _Usage | None) -> Usage | None:
    """Usage in our terms: what tools fetched is input, and thoughts are output, as the vendor bills them."""
    if said is None or said.prompt_token_count is None:
        return None
    cached, reasoning = said.cached_content_token_count or 0, said.thoughts_token_count or 0
    fetched, seen = said.tool_use_prompt_token_count or 0, said.candidates_token_count or 0
    total = said.total_token_count or 0
    read, output = said.prompt_token_count + fetched, seen + reasoning
    if not believable(said.prompt_token_count, fetched, read, cached, seen, reasoning, output, total):
        return None
    # Some models leave thoughts out of the parts, and bill them all the same: the total tells.
    if total > read + output:
        output = total - read
    if cached > read:
        return None
    return Usage(input=read, cached=cached, output=output, reasoning=reasoning)


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """Usage in our terms; None where it is missing or cannot be true."""
    return _usage(_said_usage(raw))


def _extras(said: _Usage | None, searches: int) -> Extras:
    """What an answer is billed by beside its tokens of text and of pictures that were read."""
    if said is None:
        return PLAIN if not searches else extras(None, searches)
    heard = {each.modality for each in said.prompt_tokens_details or () if each.token_count}
    made = {each.modality for each in said.candidates_tokens_details or () if each.token_count}
    dearer = "AUDIO" in heard or made - {"TEXT", "MODALITY_UNSPECIFIED", None}
    return extras(said.service_tier, searches, "audio or picture tokens" if dearer else "")


def _searches(candidate: _Candidate) -> int:
    found = candidate.grounding_metadata
    return 0 if found is None else len(found.web_search_queries or ())


def data_of(event: bytes) -> bytes:
    """What an event says, or a bare JSON text where an event should be: errors after the first byte come so."""
    return payload(event) or b"\n".join(line for line in event.splitlines() if line and line[:1] != b":")


def _whole_usage(usage: Usage | None, generated: int) -> Usage | None:
    """Usage of an ended answer: a figure that leaves out what was generated is none, though zeros may be left out."""
    return None if usage is not None and generated and not usage.output else usage


def _part_bytes(part: _Part) -> int:
    total = len(part.function_call) + len(part.executable_code)
    if part.text:
        total += size(part.text)
    if part.inline_data is not None:
        picture = (part.inline_data.mime_type or "").startswith("image/")
        total += _PICTURE_BYTES if picture else 1 + len(part.inline_data.data) // _SOUND_BYTES_PER_BYTE
    return total


def _candidate_bytes(candidate: _Candidate) -> int:
    content = candidate.content
    return 0 if content is None else sum(map(_part_bytes, content.parts or ()))


def _blocked(reply: _Reply) -> bool:
    """Whether the prompt was not let in: then there is no candidate, and that is the whole answer."""
    return reply.prompt_feedback is not None and bool(reply.prompt_feedback.block_reason)


def read_answer(body: bytes) -> Answer:
    """Read an answer that came in one piece. Never raises."""
    reply = _read(body)
    if reply is None:
        return Answer()
    candidates = reply.candidates or ()
    generated = sum(map(_candidate_bytes, candidates))
    said = _said_usage(reply.usage_metadata)
    return Answer(
        usage=_whole_usage(_usage(said), generated),
        model=reply.model_version or "",
        upstream_id=reply.response_id or "",
        complete=all(candidate.finish_reason for candidate in candidates) if candidates else _blocked(reply),
        output_bytes=generated,
        extras=_extras(said, sum(map(_searches, candidates))),
    )


_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
_DAY = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "86400s"}]
"""What keeps Gemini CLI from asking again for minutes, were a spent budget ever said with a 429."""


def error_body(status: int, code: str, message: str) -> bytes:
    """The body of an error answer, and the data of an error event. Clients know an event by its first field."""
    kind = _STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    fault: dict[str, object] = {"code": status, "message": message, "status": kind}
    if status == 429 and code == "over_budget":
        fault["details"] = _DAY
    return msgspec.json.encode({"error": fault})


class GeminiMeter(Meter):
    """Meter of one streamed answer.

    Comments are removed, and none is ever put in: Google's own clients take them for broken JSON.
    """

    __slots__ = ("_blocked", "_finished", "_open", "_said", "_searched")

    def __init__(self) -> None:
        super().__init__()
        self._said: _Usage | None = _Usage()
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self._blocked = False
        self._searched: dict[int, int] = {}
        """Searches of the web, by candidate: each event repeats those before it."""

    @property
    def usage(self) -> Usage | None:
        """Usage as reported for the whole answer; None until then, or where it cannot be true."""
        return _whole_usage(self.partial, self.output_bytes) if self._final else None

    _data = staticmethod(data_of)

    def _take(self, data: bytes) -> bool:
        if not data:
            return False
        reply = _read(data)
        if reply is None:
            return True
        if reply.response_id and not self.upstream_id:
            self.upstream_id = reply.response_id
        if reply.model_version and not self.model:
            self.model = reply.model_version
        if reply.error != _NULL:
            self._fail(fault_text(reply.error) or "an error without a message")
        if _blocked(reply):
            self._blocked = True
        generated = 0
        for candidate in reply.candidates or ():
            generated += _candidate_bytes(candidate)
            if candidate.grounding_metadata is not None:
                self._searched[candidate.index] = max(_searches(candidate), self._searched.get(candidate.index, 0))
            if candidate.finish_reason:
                self._finished.add(candidate.index)
                self._open.discard(candidate.index)
            elif candidate.index not in self._finished:
                self._open.add(candidate.index)
        self._put(generated)
        if self._report(reply.usage_metadata):
            self._final = self._ended_all()
            self.extras = _extras(self._said, sum(self._searched.values()))
        return True

    def _ended_all(self) -> bool:
        return self._blocked or (bool(self._finished) and not self._open)

    def _report(self, raw: msgspec.Raw) -> bool:
        """Take running totals: the last word on each field counts. True if tokens were among them.

        Figures of an impossible shape make all of them doubtful, for good.
        """
        if raw == _NULL:
            return False
        new = _said_usage(raw)
        if new is None or self._said is None:
            self._said = self.partial = None
            return True
        self._said = latest(new, self._said)
        self.partial = _usage(self._said)
        return new != _SILENT

    def _ended(self) -> None:
        # No event says that nothing follows: usage may still come after the last reason to finish.
        if self._ended_all():
            self.complete = True

    def _stop(self, note: Mapping[str, str], usage: Usage | None) -> bytes:
        open_candidates = sorted(self._open) if self._open or self._finished else [0]
        chunk: dict[str, object] = {}
        if open_candidates:
            chunk["candidates"] = [
                {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "MAX_TOKENS", "index": index}
                for index in open_candidates
            ]
        usage = usage or self.partial
        if usage is not None:
            chunk["usageMetadata"] = said_usage(usage)
        chunk |= {"modelVersion": self.model, "responseId": self.upstream_id, "upshift": note}
        return event(msgspec.json.encode(chunk))

    def _fault(self, message: str, code: str) -> bytes:
        return event(error_body(402 if code == "over_budget" else 500, code, message))


def said_usage(usage: Usage) -> dict[str, int]:
    """Usage in the vendor's terms, where thoughts are no part of the candidates."""
    said = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "totalTokenCount": usage.total,
    }
    if usage.cached:
        said["cachedContentTokenCount"] = usage.cached
    if usage.reasoning:
        said["thoughtsTokenCount"] = usage.reasoning
    return said
