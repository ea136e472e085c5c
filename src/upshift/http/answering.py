"""How is one request of a client's connection answered, and how does its handler learn that the client left?"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from upshift.http import head
from upshift.http.exchange import Headers


class _Answer(Enum):
    NONE = auto()
    STARTED = auto()
    ENDED = auto()
    CUT = auto()


# Looking a member up on its class costs a tenth of a microsecond in Python 3.11, and an answer needs several.
_NONE, _STARTED, _ENDED, _CUT = _Answer


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that does not reach the handler, or that the handler failed."""

    status: int
    reason: str
    target: bytes | None
    headers: Headers


class Line(Protocol):
    """What an exchange needs of its connection."""

    stalled: bool

    @property
    def date(self) -> bytes: ...

    def peer(self) -> str: ...

    def write(self, data: bytes) -> None: ...

    def answered(self, last: bool) -> None: ...

    def last(self, exchange: "SocketExchange") -> bool: ...

    def words(self, refusal: Refusal) -> tuple[Headers, bytes]: ...

    def complain(self, error: BaseException) -> None: ...

    def cut(self) -> None: ...

    async def writable(self) -> None: ...


class SocketExchange:
    """An exchange on a connection of ours; see `Exchange` for what each method promises."""

    __slots__ = (
        "_answer",
        "_callbacks",
        "_line",
        "_old",
        "body",
        "gone",
        "header",
        "headers",
        "keep",
        "known",
        "method",
        "path",
        "query",
        "target",
        "task",
    )

    def __init__(
        self,
        line: Line,
        method: bytes,
        target: bytes,
        headers: Headers,
        header: Callable[[bytes], bytes | None],
        known: dict[object, object],
        keep: bool,
        old: bool,
    ) -> None:
        self._line = line
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.header = header
        self.known = known
        self.keep = keep
        self._old = old
        self.body = b""
        self.gone = False
        self._answer = _NONE
        self._callbacks: list[Callable[[], None]] | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def ordinary(self) -> bool:
        """Of HTTP/1.1, on a connection that its client wants to keep."""
        return self.keep and not self._old

    @property
    def peer(self) -> str:
        return self._line.peer()

    def respond(self, status: int, headers: Headers, body: bytes, lines: bytes = b"") -> None:
        if self._answer is not _NONE:
            self._again()
            return
        line = self._line
        top = head.answer_head(status, line.date, headers, lines)
        self._answer = _ENDED
        if self.gone:
            return
        last = line.last(self)
        if last or self._old or status in head.BODILESS or self.method == b"HEAD":
            line.write(b"".join((top, self._framing(status, len(body), last), self._sent(status, body))))
        else:
            # What nearly all answers are, without the questions.
            line.write(b"%bcontent-length: %d\r\n\r\n%b" % (top, len(body), body))
        line.answered(last)

    def start(self, status: int, headers: Headers, lines: bytes = b"") -> None:
        if self._answer is not _NONE:
            self._again()
            return
        top = head.answer_head(status, self._line.date, headers, lines)
        self._answer = _STARTED
        if self._old:
            # HTTP/1.0 knows no chunks: the end of the connection ends the answer.
            self.keep = False
        if not self.gone:
            last = self._line.last(self)
            self._line.write(top + self._framing(status, None, last))
            if self.method == b"HEAD" or status in head.BODILESS:
                self._answer = _ENDED
                self._line.answered(last)

    def write(self, chunk: bytes) -> None:
        if self._answer is not _STARTED:
            self._out_of_turn()
        elif chunk and not self.gone:
            self._line.write(chunk if self._old else b"%x\r\n%b\r\n" % (len(chunk), chunk))

    async def drain(self) -> None:
        if self._line.stalled:
            await self._line.writable()

    def end(self) -> None:
        if self._answer is not _STARTED:
            self._out_of_turn()
            return
        self._answer = _ENDED
        if not self.gone:
            if not self._old:
                self._line.write(b"0\r\n\r\n")
            self._line.answered(self._line.last(self))

    def abort(self) -> None:
        if self._answer is _NONE or self._answer is _STARTED:
            self._answer = _CUT
            self._callbacks = None
            self._line.cut()

    def on_gone(self, callback: Callable[[], None]) -> None:
        if self.gone:
            callback()
        elif self._answer is _NONE or self._answer is _STARTED:
            if self._callbacks is None:
                self._callbacks = []
            self._callbacks.append(callback)

    def leave(self) -> None:
        """The connection is lost."""
        if self._answer not in (_NONE, _STARTED):
            return
        self.gone = True
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - one listener's bug must not keep the others from hearing
                self._line.complain(error)

    def settle(self) -> bool:
        """The handler is done. False when it ended without a complete answer; the client then gets 500 or a cut."""
        if self._answer is _ENDED or self.gone or self._answer is _CUT:
            return True
        if self._answer is _NONE:
            self.respond(500, *self._line.words(Refusal(500, "internal error", self.target, self.headers)))
        else:
            self.abort()
        return False

    def _framing(self, status: int, length: int | None, last: bool) -> bytes:
        if last:
            connection = b"connection: close\r\n\r\n"
        elif self._old:
            connection = b"connection: keep-alive\r\n\r\n"
        else:
            connection = b"\r\n"
        if status in head.BODILESS or (length is None and self._old):
            return connection
        if length is None:
            return b"transfer-encoding: chunked\r\n" + connection
        return b"content-length: %d\r\n%b" % (length, connection)

    def _sent(self, status: int, body: bytes) -> bytes:
        return b"" if self.method == b"HEAD" or status in head.BODILESS else body

    def _again(self) -> None:
        if self._answer is not _CUT:
            raise RuntimeError("this exchange has been answered already")

    def _out_of_turn(self) -> None:
        if self._answer is _NONE:
            raise RuntimeError("write and end come after start")
        # A HEAD request and a bodiless status end at start; the handler need not know.
