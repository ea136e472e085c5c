"""How is one request of a client's connection answered, and how does its handler learn that the client left?"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, Protocol

from upshift.http.exchange import Headers
from upshift.http.head import BODILESS, answer_head


class _State(Enum):
    NONE = auto()
    STARTED = auto()
    ENDED = auto()
    CUT = auto()


# Looking a member up on its class costs a tenth of a microsecond in Python 3.11, and an answer needs several.
_NONE, _STARTED, ENDED, _CUT = _State


class Asked(NamedTuple):
    """What the head of a request says but for its headers: all that a head repeated later need not be asked again."""

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    keep: bool
    """Its client wants to keep the connection."""
    old: bool
    """Of HTTP/1.0."""
    plain: bool
    """Of HTTP/1.1, to be kept, and its answer has a body, unless its status has none."""
    known: dict[object, object]


def asked(method: bytes, target: bytes, keep: bool, old: bool) -> Asked:
    """What is said by a head that has just been parsed."""
    path, _, query = target.partition(b"?")
    return Asked(method, target, path, query, keep, old, keep and not old and method != b"HEAD", {})


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that does not reach the handler, or that the handler failed."""

    status: int
    reason: str
    target: bytes | None
    headers: Headers


class Place(Protocol):
    """What an exchange needs of its server."""

    date: bytes
    closing: bool


class Line(Protocol):
    """What an exchange needs of its connection."""

    stalled: bool
    eof: bool
    """The client has closed its half."""

    @property
    def host(self) -> "Place": ...

    def peer(self) -> str: ...

    def write(self, data: bytes) -> None: ...

    def finish(self, data: bytes, last: bool) -> None: ...

    def ends(self) -> bool: ...

    def words(self, refusal: Refusal) -> tuple[Headers, bytes]: ...

    def complain(self, error: BaseException) -> None: ...

    def cut(self) -> None: ...

    async def writable(self) -> None: ...


class SocketExchange:
    """An exchange on a connection of ours; see `Exchange` for what each method promises."""

    __slots__ = (
        "_callbacks",
        "_line",
        "_old",
        "_plain",
        "asked",
        "body",
        "gone",
        "header",
        "headers",
        "keep",
        "known",
        "method",
        "path",
        "query",
        "state",
        "target",
    )

    def __init__(
        self,
        line: Line,
        asked: Asked,
        headers: Headers,
        header: Callable[[bytes], bytes | None],
        body: bytes = b"",
    ) -> None:
        self._line = line
        self.asked = asked
        self.method, self.target, self.path, self.query, self.keep, self._old, self._plain, self.known = asked
        self.headers = headers
        self.header = header
        self.body = body
        self.gone = False
        self.state = _NONE
        self._callbacks: list[Callable[[], None]] = []

    @property
    def peer(self) -> str:
        return self._line.peer()

    def respond(self, status: int, headers: Headers, body: bytes, lines: bytes = b"") -> None:
        if self.state is not _NONE:
            self._again()
            return
        line = self._line
        host = line.host
        top = answer_head(status, host.date, headers, lines)
        self.state = ENDED
        if self.gone:
            return
        if self._plain and status not in BODILESS and not ((line.eof or host.closing) and line.ends()):
            # What nearly all answers are, without the questions.
            line.finish(b"%bcontent-length: %d\r\n\r\n%b" % (top, len(body), body), False)
        else:
            last = self._last()
            line.finish(b"".join((top, self._framing(status, len(body), last), self._sent(status, body))), last)

    def start(self, status: int, headers: Headers, lines: bytes = b"") -> None:
        if self.state is not _NONE:
            self._again()
            return
        top = answer_head(status, self._line.host.date, headers, lines)
        self.state = _STARTED
        if self._old:
            # HTTP/1.0 knows no chunks: the end of the connection ends the answer.
            self.keep = False
        if not self.gone:
            last = self._last()
            top += self._framing(status, None, last)
            if self.method == b"HEAD" or status in BODILESS:
                self.state = ENDED
                self._line.finish(top, last)
            else:
                self._line.write(top)

    def write(self, chunk: bytes) -> None:
        if self.state is not _STARTED:
            self._out_of_turn()
        elif chunk and not self.gone:
            self._line.write(chunk if self._old else b"%x\r\n%b\r\n" % (len(chunk), chunk))

    async def drain(self) -> None:
        if self._line.stalled:
            await self._line.writable()

    def end(self) -> None:
        if self.state is not _STARTED:
            self._out_of_turn()
            return
        self.state = ENDED
        if not self.gone:
            self._line.finish(b"" if self._old else b"0\r\n\r\n", self._last())

    def abort(self) -> None:
        if self.state is _NONE or self.state is _STARTED:
            self.state = _CUT
            self._callbacks.clear()
            self._line.cut()

    def on_gone(self, callback: Callable[[], None]) -> None:
        if self.gone:
            callback()
        else:
            # Whether it is still to be told is asked in `leave`.
            self._callbacks.append(callback)

    def leave(self) -> None:
        """The connection is lost."""
        if self.state not in (_NONE, _STARTED):
            return
        self.gone = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - one listener's bug must not keep the others from hearing
                self._line.complain(error)

    def settle(self) -> bool:
        """The handler is done. False when it ended without a complete answer; the client then gets 500 or a cut."""
        if self.state is ENDED or self.gone or self.state is _CUT:
            return True
        if self.state is _NONE:
            self.respond(500, *self._line.words(Refusal(500, "internal error", self.target, self.headers)))
        else:
            self.abort()
        return False

    def _last(self) -> bool:
        """Whether the connection ends with this answer."""
        return not self.keep or self._line.ends()

    def _framing(self, status: int, length: int | None, last: bool) -> bytes:
        if last:
            connection = b"connection: close\r\n\r\n"
        elif self._old:
            connection = b"connection: keep-alive\r\n\r\n"
        else:
            connection = b"\r\n"
        if status in BODILESS or (length is None and self._old):
            return connection
        if length is None:
            return b"transfer-encoding: chunked\r\n" + connection
        return b"content-length: %d\r\n%b" % (length, connection)

    def _sent(self, status: int, body: bytes) -> bytes:
        return b"" if self.method == b"HEAD" or status in BODILESS else body

    def _again(self) -> None:
        if self.state is not _CUT:
            raise RuntimeError("this exchange has been answered already")

    def _out_of_turn(self) -> None:
        if self.state is _NONE:
            raise RuntimeError("write and end come after start")
        # A HEAD request and a bodiless status end at start; the handler need not know.
