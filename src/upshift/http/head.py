"""How is the head of a message written, and which heads are refused because they would inject?"""

from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from itertools import chain
from types import MappingProxyType

from upshift.http.exchange import Headers

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
STATUS_LINES: Mapping[int, bytes] = MappingProxyType(
    {code: f"HTTP/1.1 {code} {_PHRASES.get(code, '')}\r\n".encode() for code in range(200, 600)}
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BODILESS = frozenset({204, 304})
"""Final statuses whose answers never have a body (RFC 9110, 6.4.1)."""

_WITHOUT_BODY = (b"GET ", b"HEAD ", b"OPTIONS ", b"DELETE ")
_REMEMBERED = 512
_REMEMBERED_BYTES = 8 * 1024
_REST = 20_000
_LONG_NAME = 64
_SET_HERE = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"date"})
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"host",
    }
)
# RFC 9110 5.6.2 without capitals: a name in capitals would slip past every comparison here and downstream.
_NAME = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_METHOD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
_TARGET = bytes(range(0x21, 0x7F))
_INJECTION = "CR, LF or NUL in a header"


def date_line(epoch: float) -> bytes:
    """The date header; `epoch` in seconds."""
    return f"date: {formatdate(epoch, usegmt=True)}\r\n".encode()


def answer_head(status: int, date: bytes, headers: Headers, more: bytes = b"") -> bytes:
    """Status line and headers without the framing ones and without the empty line; `more` was made by `lines`.

    Raises ValueError for CR, LF or NUL in a header, and for a status that is not final.
    """
    if status not in STATUS_LINES:
        raise ValueError(f"{status} is not the status of a final answer (200 to 599)")
    return b"%b%b%b%b" % (STATUS_LINES[status], date, lines(headers) if headers else b"", more)


def lines(headers: Headers) -> bytes:
    """Headers of an answer as they are written, each with its line break, without the framing ones.

    Raises ValueError for CR, LF or NUL in a header.
    """
    if not _SET_HERE.isdisjoint(dict(headers)):
        headers = [header for header in headers if header[0] not in _SET_HERE]
    # Nothing but calls of C for each header.
    written = b"\r\n".join([*map(b": ".join, headers), b""])
    # As in `_checked`, but for its call.
    if len(written) - len(written.translate(None, b"\r\n\0")) != 2 * len(headers):
        raise ValueError(_INJECTION)
    return written


def headers_in(lines: bytes) -> Headers:
    """What `lines` was made from, but for the framing headers."""
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])]


class RequestHeads:
    """The heads of requests to one host. Remembers some, since callers send the same headers again and again."""

    __slots__ = ("_hits", "_host", "_known", "_rest", "_starts")

    def __init__(self, host: bytes) -> None:
        self._host = host
        # What a header begins with, by its name; empty when it ends at this hop. Saves looking at each name each time.
        self._starts: dict[bytes, bytes] = {}
        # All of a head but the length, which is all that differs; by what it was made from.
        self._known: dict[tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]], bytes] = {}
        self._hits = 0
        # Requests for which remembering is not tried, because those before them hardly repeated.
        self._rest = 0

    def top(self, method: bytes, target: bytes, headers: Headers) -> bytes:
        """The head of a request but for its end, see `head_of`: hop-by-hop headers and framing of the caller left out.

        Raises ValueError for anything that would not survive as one request.
        """
        if self._rest:
            self._rest -= 1
            return self._top(method, target, headers)
        key = (method, target, tuple(headers))
        known = self._known.get(key)
        if known is not None:
            self._hits += 1
            return known
        top = self._top(method, target, headers)
        # What is dropped from a head is in its key too, and may be long.
        if len(target) + sum(map(len, chain.from_iterable(headers))) <= _REMEMBERED_BYTES:
            if len(self._known) >= _REMEMBERED:
                self._forget()
            self._known[key] = top
        return top

    def _forget(self) -> None:
        """Make room, or stop for a while when remembering has not been worth it."""
        if self._hits < len(self._known):
            self._rest = _REST
        self._hits = 0
        self._known.clear()

    def _top(self, method: bytes, target: bytes, headers: Headers) -> bytes:
        if not method or method.translate(None, _METHOD):
            raise ValueError(f"{method!r} is not a method")
        if not target.startswith(b"/") or target.translate(None, _TARGET):
            raise ValueError(f"{target!r} is not a path")
        parts = [method, b" ", target, b" HTTP/1.1\r\nhost: ", self._host, b"\r\n"]
        starts = self._starts
        for name, value in headers:
            start = starts.get(name)
            if start is None:
                start = self._start(name)
            if start:
                parts += (start, value, b"\r\n")
            elif name == b"connection":
                named = _nominated(headers)
                return self._top(method, target, [header for header in headers if header[0] not in named])
        return _checked(b"".join(parts), len(parts) // 3)

    def _start(self, name: bytes) -> bytes:
        if not name or name.translate(None, _NAME):
            raise ValueError("header names must be tokens in lower case")
        start = b"" if name in _HOP_BY_HOP or name.startswith(b"proxy-") else name + b": "
        if len(self._starts) < _REMEMBERED and len(name) < _LONG_NAME:
            self._starts[name] = start
        return start


def head_of(top: bytes, body_length: int) -> bytes:
    """The complete head of a request, from what `RequestHeads.top` made of it."""
    if body_length or not top.startswith(_WITHOUT_BODY):
        return b"%bcontent-length: %d\r\n\r\n" % (top, body_length)
    return top + b"\r\n"


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """The head of a request as if it did not offer an upgrade; all of these come from the parser."""
    close = any(name == b"connection" and b"close" in value.lower() for name, value in headers)
    lines = [method, b" ", target, b" HTTP/", version.encode(), b"\r\n"]
    for name, value in headers:
        if name not in (b"upgrade", b"connection"):
            lines += (name, b": ", value, b"\r\n")
    lines.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    return b"".join(lines)


def _nominated(headers: Headers) -> set[bytes]:
    """What the caller's connection headers name: it ends at this hop, as do they (RFC 9110, 7.6.1)."""
    named = {b"connection"}
    for name, value in headers:
        if name == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
    return named


def _checked(head: bytes, lines: int) -> bytes:
    # Every line has brought one CR and one LF of ours. Counting is far cheaper than looking at every value, as strict.
    if len(head) - len(head.translate(None, b"\r\n\0")) != 2 * lines:
        raise ValueError(_INJECTION)
    return head
