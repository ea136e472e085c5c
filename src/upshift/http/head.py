"""How is the head of a message written, and which heads are refused because they would inject?"""

from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType

from upshift.http.exchange import Headers

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
STATUS_LINES: Mapping[int, bytes] = MappingProxyType(
    {code: f"HTTP/1.1 {code} {_PHRASES.get(code, '')}\r\n".encode() for code in range(200, 600)}
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BODILESS = frozenset({204, 304})
"""Final statuses whose answers never have a body (RFC 9110, 6.4.1)."""

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


def date_line(epoch: float) -> bytes:
    """The date header; `epoch` in seconds."""
    return f"date: {formatdate(epoch, usegmt=True)}\r\n".encode()


def answer_head(status: int, date: bytes, headers: Headers) -> bytes:
    """Status line and headers without the framing ones and without the empty line.

    Raises ValueError for CR, LF or NUL in a header, and for a status that is not final.
    """
    line = STATUS_LINES.get(status)
    if line is None:
        raise ValueError(f"{status} is not the status of a final answer (200 to 599)")
    parts = [line, date]
    for name, value in headers:
        if name not in _SET_HERE:
            parts += (name, b": ", value, b"\r\n")
    return _checked(b"".join(parts), 2 + (len(parts) - 2) // 4)


def request_head(method: bytes, target: bytes, host: bytes, headers: Headers, body_length: int) -> bytes:
    """The complete head of a request: hop-by-hop headers and framing of the caller replaced by our own.

    Raises ValueError for anything that would not survive as one request.
    """
    if not method or method.translate(None, _METHOD):
        raise ValueError(f"{method!r} is not a method")
    if not target.startswith(b"/") or target.translate(None, _TARGET):
        raise ValueError(f"{target!r} is not a path")
    parts = [method, b" ", target, b" HTTP/1.1\r\nhost: ", host, b"\r\n"]
    names = []
    dropped = _nominated(headers)
    for name, value in headers:
        if name in dropped or name.startswith(b"proxy-"):
            continue
        if not name:
            raise ValueError("a header without a name")
        names.append(name)
        parts += (name, b": ", value, b"\r\n")
    if b"".join(names).translate(None, _NAME):
        raise ValueError("header names must be tokens in lower case")
    if body_length or method not in (b"GET", b"HEAD", b"OPTIONS", b"DELETE"):
        parts.append(b"content-length: %d\r\n\r\n" % body_length)
        return _checked(b"".join(parts), 4 + len(names))
    parts.append(b"\r\n")
    return _checked(b"".join(parts), 3 + len(names))


def _nominated(headers: Headers) -> frozenset[bytes]:
    """What ends at this hop, with what the caller's own connection header names (RFC 9110, 7.6.1)."""
    dropped = _HOP_BY_HOP
    for name, value in headers:
        if name == b"connection":
            dropped |= {token.strip().lower() for token in value.split(b",")}
    return dropped


def _checked(head: bytes, lines: int) -> bytes:
    # Counting is a few scans of memchr: far cheaper than looking at every value, and just as strict.
    if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
        raise ValueError("CR, LF or NUL in a header")
    return head
