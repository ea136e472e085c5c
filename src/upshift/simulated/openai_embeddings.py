"""How does OpenAI's embeddings API put a request, an answer and an error?"""

import struct
from base64 import b64encode
from collections.abc import Iterator
from hashlib import shake_256

import msgspec

from upshift.simulated import openai_chat
from upshift.simulated.asked import Asked, UnreadableError, encoded
from upshift.simulated.compose import Choice
from upshift.simulated.dialect import Frame, Said
from upshift.simulated.tokens import pieces
from upshift.simulated.wishes import split_model

_DIMENSIONS = 1536
_MOST_INPUTS = 2048


class _Request(msgspec.Struct):
    model: str
    input: str | list[str | int | list[int]]
    dimensions: int = _DIMENSIONS
    encoding_format: str = "float"


_decode = msgspec.json.Decoder(_Request).decode


class Embeddings:
    """One request for embeddings, and what it asks for in the answer."""

    NAME: str = "openai-embeddings"
    REQUEST_ID: bytes = b"x-request-id"

    def __init__(self) -> None:
        self._dimensions = _DIMENSIONS
        self._base64 = False
        self._inputs: list[str | list[int]] = []

    def read(self, body: bytes) -> Asked:
        """Reads an embeddings request. Raises UnreadableError."""
        try:
            request = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as trouble:
            raise UnreadableError(f"We could not parse the JSON body of your request. ({trouble})") from None
        if not 1 <= request.dimensions <= 2 * _DIMENSIONS:
            raise UnreadableError(f"Invalid 'dimensions': expected a value from 1 to {2 * _DIMENSIONS}.")
        self._dimensions, self._base64 = request.dimensions, request.encoding_format == "base64"
        self._inputs = _inputs(request.input)
        if not 1 <= len(self._inputs) <= _MOST_INPUTS:
            raise UnreadableError(f"Invalid 'input': expected 1 to {_MOST_INPUTS} inputs.")
        name, directives = split_model(request.model)
        return Asked(
            model=name,
            directives=directives,
            stream=False,
            prompt_tokens=sum(len(pieces(each) if isinstance(each, str) else each) for each in self._inputs),
            max_tokens=0,
        )

    def whole(self, choices: list[Choice], said: Said) -> bytes:
        """The body of a list of embeddings."""
        answer: dict[str, object] = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": self._vector(each)}
                for index, each in enumerate(self._inputs)
            ],
            "model": said.model,
        }
        if said.usage is not None:
            answer["usage"] = {"prompt_tokens": said.usage.input, "total_tokens": said.usage.input}
        return encoded(answer)

    def _vector(self, text: str | list[int]) -> list[float] | str:
        """A direction that depends on nothing but the input; equal inputs are equal vectors."""
        drawn = shake_256(encoded(text)).digest(2 * self._dimensions)
        raw = [number + 0.5 for number in struct.unpack(f"<{self._dimensions}h", drawn)]
        length = sum(number * number for number in raw) ** 0.5
        packed = struct.pack(f"<{self._dimensions}f", *(number / length for number in raw))
        return b64encode(packed).decode() if self._base64 else list(struct.unpack(f"<{self._dimensions}f", packed))

    def frames(self, asked: Asked, choices: list[Choice], said: Said, chunk: int) -> Iterator[Frame]:
        """No event at all: embeddings are never streamed."""
        return iter(())

    def error(self, status: int, message: str, ident: str) -> bytes:
        """The body of a refusal; it is that of chat completions."""
        return openai_chat.error(status, message, ident)

    def error_event(self, message: str, ident: str) -> bytes:
        """An event that would break a stream off."""
        return openai_chat.error_event(message, ident)


def _inputs(given: str | list[str | int | list[int]]) -> list[str | list[int]]:
    if isinstance(given, str):
        return [given]
    tokens = [each for each in given if isinstance(each, int)]
    others = [each for each in given if not isinstance(each, int)]
    if tokens and others:
        raise UnreadableError("Invalid 'input': tokens and texts in one list.")
    return [tokens] if tokens else others
