"""What does a handler see of one request, and how does it answer?"""

from collections.abc import Awaitable, Callable
from typing import Protocol

Headers = list[tuple[bytes, bytes]]
"""Names lower-cased, values as they came, in order."""


class Exchange(Protocol):
    """One request, complete, and the one answer to it: `respond`, or `start` `write`* `end`.

    Answering twice, or writing before `start`, raises RuntimeError. Once the client has left, everything written is
    dropped silently. Headers that frame the message (content-length, transfer-encoding, connection, keep-alive, date)
    are set here and ignored when given. A header with CR, LF or NUL raises ValueError.
    """

    @property
    def method(self) -> bytes: ...

    @property
    def target(self) -> bytes:
        """Raw path and query, as sent."""

    @property
    def path(self) -> bytes: ...

    @property
    def query(self) -> bytes:
        """Raw, without the question mark."""

    @property
    def headers(self) -> Headers: ...

    @property
    def body(self) -> bytes:
        """The whole body, de-chunked."""

    @property
    def peer(self) -> str:
        """The client's address without its port; empty when it has none."""

    @property
    def header(self) -> Callable[[bytes], bytes | None]:
        """Gives the first value of a header by its name in lower case."""

    @property
    def known(self) -> dict[object, object]:
        """What was found out from this head alone, by whoever did so, kept for the next request that repeats it; the
        same dict for all requests of a connection whose heads differ in nothing but the length of the body, a fresh
        one otherwise. Never more than a few entries."""

    def respond(self, status: int, headers: Headers, body: bytes, lines: bytes = b"") -> None:
        """The whole answer at once; `lines` are more headers, written by `upshift.http.head.lines` already."""

    def start(self, status: int, headers: Headers, lines: bytes = b"") -> None:
        """Begin an answer whose length is not known; `lines` as in `respond`."""

    def write(self, chunk: bytes) -> None:
        """One more piece; never waits, see `drain`."""

    async def drain(self) -> None:
        """Wait while the client does not read. Raises nothing when it has left."""

    def end(self) -> None:
        """The answer is complete."""

    def abort(self) -> None:
        """Cut the connection, so that the client sees that the answer is not complete."""

    @property
    def gone(self) -> bool:
        """The client left before the answer was complete."""

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call once when the client leaves before the end; at once when it has left already."""


Handler = Callable[[Exchange], Awaitable[None]]
OnError = Callable[[BaseException], None]
"""Told of every exception that escapes a handler or one of its callbacks."""
OnBadRequest = Callable[[int, str, bytes | None, Headers], tuple[Headers, bytes]]
"""(status, reason, target if known, headers so far) -> headers and body of a refusal."""
