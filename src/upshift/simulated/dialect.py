"""What must a vendor's dialect be able to read and to say?"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec

from upshift.model.tokens import Usage
from upshift.simulated.asked import Asked
from upshift.simulated.compose import Choice


class Frame(NamedTuple):
    """Bytes of a stream and how many output tokens they carry; hidden reasoning is tokens without bytes."""

    data: bytes
    tokens: int


class Said(msgspec.Struct, frozen=True):
    """What an answer says of itself: `usage` is None where it says nothing of it; `created` in seconds since 1970."""

    ident: str
    created: int
    model: str
    usage: Usage | None
    finished: bool


class Dialect(Protocol):
    """A module of this shape speaks for one vendor."""

    NAME: str
    REQUEST_ID: bytes
    """Name of the header that carries the request id."""

    def read(self, body: bytes) -> Asked:
        """Reads a request. Raises UnreadableError."""

    def whole(self, choices: list[Choice], said: Said) -> bytes:
        """The body of an answer that is not streamed."""

    def frames(self, asked: Asked, choices: list[Choice], said: Said, chunk: int) -> Iterator[Frame]:
        """The events of a streamed answer, `chunk` tokens in each piece of content."""

    def error(self, status: int, message: str, ident: str) -> bytes:
        """The body of a refusal."""

    def error_event(self, message: str, ident: str) -> bytes:
        """An event that breaks a stream off."""
