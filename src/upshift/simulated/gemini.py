"""How does Google's Gemini API put a request, an answer and an error?"""

import base64
import math
from collections.abc import Iterator
from hashlib import blake2b
from itertools import zip_longest
from random import Random
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from upshift.model.tokens import Usage
from upshift.simulated.asked import Asked, UnreadableError, encoded
from upshift.simulated.compose import Choice, Finish
from upshift.simulated.dialect import Frame, Said
from upshift.simulated.gemini_request import SIGNED, counted, decoded, field, read, text_of
from upshift.simulated.tokens import count_tokens
from upshift.simulated.wishes import split_model

_DIMENSIONS = 768
_BATCH = "batchEmbedContents"
_FINISH = {
    Finish.STOP: "STOP",
    Finish.LENGTH: "MAX_TOKENS",
    Finish.TOOLS: "STOP",
    Finish.STOP_SEQUENCE: "STOP",
}
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Place:
    """A model and what is asked of it, as its path names them; speaks the dialect for one call there."""

    NAME: str = "gemini"
    REQUEST_ID: bytes = b"x-request-id"

    def __init__(self, path: bytes, query: bytes = b"") -> None:
        name, _, self.verb = unquote(path.decode("latin-1")).partition("/models/")[2].rpartition(":")
        self.model = name
        self.streams = self.verb == "streamGenerateContent"
        self._events = b"alt=sse" in query.split(b"&")

    def read(self, body: bytes) -> Asked:
        """Reads a request. Raises UnreadableError."""
        if self.streams and not self._events:
            raise UnreadableError("the simulated provider streams events only: ask with ?alt=sse")
        return read(body, self.model, stream=self.streams)

    def whole(self, choices: list[Choice], said: Said) -> bytes:
        """The body of an answer that is not streamed."""
        answer = _head(said)
        answer["candidates"] = [
            _candidate(index, _parts(choice, said), _FINISH[choice.finish] if said.finished else None)
            for index, choice in enumerate(choices)
        ]
        if said.usage is not None:
            answer["usageMetadata"] = _usage(said.usage)
        return encoded(answer)

    def frames(self, asked: Asked, choices: list[Choice], said: Said, chunk: int) -> Iterator[Frame]:
        """The events of a streamed answer; the candidates take turns, and usage is a running total."""
        seen = thought = 0
        turns = zip_longest(*(_pieces(choice, said, chunk) for choice in choices))
        for turn in turns:
            for index, piece in enumerate(turn):
                if piece is None:
                    continue
                parts, tokens, thoughts, finish = piece
                seen, thought = seen + tokens, thought + thoughts
                if not parts:
                    yield Frame(b"", tokens)
                    continue
                event = _head(said) | {"candidates": [_candidate(index, parts, finish)]}
                if said.usage is not None:
                    running = said.usage
                    if finish is None or seen < running.output:
                        running = msgspec.structs.replace(running, output=seen, reasoning=thought)
                    event["usageMetadata"] = _usage(running)
                yield Frame(b"data: %b\r\n\r\n" % encoded(event), tokens)

    def error(self, status: int, message: str, ident: str) -> bytes:
        """The body of a refusal; Google names the request in a header only."""
        return error(status, message)

    def error_event(self, message: str, ident: str) -> bytes:
        """An event that breaks a stream off."""
        return b"data: %b\r\n\r\n" % error(500, message)


class Embedding(Place):
    """A request for embeddings of one content or of many."""

    NAME = "gemini-embeddings"

    def __init__(self, path: bytes) -> None:
        super().__init__(path)
        self._wanted: list[tuple[str, int]] = []

    def read(self, body: bytes) -> Asked:
        """Reads a request. Raises UnreadableError."""
        asked = decoded(body)
        requests = asked.get("requests") if self.verb == _BATCH else [asked]
        if not isinstance(requests, list) or not requests:
            raise UnreadableError("* BatchEmbedContentsRequest.requests: requests is not specified")
        self._wanted = [
            (text_of(request.get("content")), field(request, "outputDimensionality") or _DIMENSIONS)
            for request in requests
        ]
        name, directives = split_model(self.model)
        tokens = sum(count_tokens(text) for text, _ in self._wanted)
        return Asked(model=name, directives=directives, stream=False, prompt_tokens=tokens, max_tokens=0)

    def whole(self, choices: list[Choice], said: Said) -> bytes:
        """The body of a list of embeddings, or of one."""
        vectors = [{"values": _vector(text, dimensions)} for text, dimensions in self._wanted]
        answer: dict[str, Any] = {"embeddings": vectors} if self.verb == _BATCH else {"embedding": vectors[0]}
        if said.usage is not None:
            answer["usageMetadata"] = {"promptTokenCount": said.usage.input, "totalTokenCount": said.usage.input}
        return encoded(answer)


ANYWHERE: Final = Place(b"")
"""For what is refused before a model is named."""


def error(status: int, message: str) -> bytes:
    """The body of a refusal."""
    kind = _STATUS.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    return encoded({"error": {"code": status, "message": message, "status": kind}})


def _head(said: Said) -> dict[str, Any]:
    return {"modelVersion": said.model, "responseId": said.ident}


def _candidate(index: int, parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": index}
    if finish is not None:
        candidate["finishReason"] = finish
    return candidate


def _parts(choice: Choice, said: Said) -> list[dict[str, Any]]:
    """A candidate's parts in one piece: those of its stream, texts joined."""
    parts: list[dict[str, Any]] = []
    for new, _, _, _ in _pieces(choice, said, 1 << 40):
        parts += [part for part in new if part.get("text") != "" or "thoughtSignature" in part]
    if len(parts) > 1 and parts[-1].get("text") == "" and "text" in parts[-2] and "thought" not in parts[-2]:
        parts[-2:] = [parts[-2] | {"thoughtSignature": parts[-1]["thoughtSignature"]}]
    return parts


def _pieces(choice: Choice, said: Said, chunk: int) -> Iterator[tuple[list[dict[str, Any]], int, int, str | None]]:
    """New parts, their tokens, how many of those are thoughts, and why the candidate ends with them."""
    if choice.reasoning > len(choice.thinking):
        hidden = choice.reasoning - len(choice.thinking)
        yield [], hidden, hidden, None
    for at in range(0, len(choice.thinking), chunk):
        tokens = choice.thinking[at : at + chunk]
        yield [{"text": "".join(tokens), "thought": True}], len(tokens), len(tokens), None
    for at in range(0, len(choice.text), chunk):
        tokens = choice.text[at : at + chunk]
        yield [{"text": "".join(tokens)}], len(tokens), 0, None
    signature = {"thoughtSignature": _signature(said)} if choice.reasoning else {}
    last: dict[str, Any] = {"text": ""}
    for number, call in enumerate(choice.calls):
        arguments = _arguments("".join(call.arguments))
        if arguments is None:
            yield [], 1 + len(call.arguments), 0, None
            continue
        part: dict[str, Any] = {"functionCall": {"id": call.ident, "name": call.name, "args": arguments}}
        yield [part if number else part | signature], 1 + len(call.arguments), 0, None
    if not choice.calls:
        last |= signature
    if said.finished:
        yield [last], 0, 0, _FINISH[choice.finish]


def _arguments(text: str) -> object | None:
    try:
        return msgspec.json.decode(text, type=object)
    except msgspec.DecodeError:
        # Cut by the bound on output: a part cannot carry half a JSON object.
        return None


def _signature(said: Said) -> str:
    return base64.b64encode(SIGNED + blake2b(said.ident.encode(), digest_size=32).digest()).decode()


def _usage(usage: Usage) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "totalTokenCount": usage.total,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input}],
    }
    if usage.cached:
        figures["cachedContentTokenCount"] = usage.cached
        figures["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.cached}]
    if usage.reasoning:
        figures["thoughtsTokenCount"] = usage.reasoning
    return figures


def count(body: bytes) -> bytes:
    """The answer to a request that only asks how many tokens its prompt has. Raises UnreadableError."""
    tokens = counted(body)
    return encoded({"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]})


def _vector(text: str, dimensions: int) -> list[float]:
    """A direction that only the text decides."""
    draws = Random(int.from_bytes(blake2b(text.encode(), digest_size=8).digest()))
    values = [draws.gauss(0.0, 1.0) for _ in range(dimensions)]
    length = math.hypot(*values) or 1.0
    return [round(value / length, 8) for value in values]


def models(names: tuple[str, ...]) -> bytes:
    """The list of models."""
    return encoded({"models": [_model(name) for name in names]})


def one_model(name: str) -> bytes:
    """One model of the list."""
    return encoded(_model(name))


def _model(name: str) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "description": "A simulated model.",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
    }
