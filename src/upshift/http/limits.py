"""What may a client send, and why is the head of a request refused?"""

from dataclasses import dataclass

import httptools

from upshift.http.exchange import Headers

_DECISIVE = (b"host", b"transfer-encoding", b"content-length")


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a client may take. Bytes and seconds."""

    max_header_bytes: int = 64 * 1024
    """Request line and all headers; also what a chunked body may carry that is not body."""
    max_headers: int = 200
    max_body_bytes: int = 64 * 1024 * 1024
    header_timeout: float = 15.0
    """From the first byte of a request to the end of its headers."""
    body_timeout: float = 30.0
    """Between two reads of a body."""
    keep_alive_timeout: float = 75.0
    """Without any request."""
    write_timeout: float = 60.0
    """How long a client may leave an answer unread."""
    write_high_water: int = 64 * 1024
    """Unsent bytes above which `drain` waits."""


def object_to(
    method: bytes,
    version: str,
    target: bytes,
    headers: Headers,
    fields: dict[bytes, bytes],
    at_most: int,
    limits: ServerLimits,
) -> tuple[int, str] | None:
    """Status and reason when a head is too large, ambiguous (RFC 9112, 3.2 and 6.1) or beyond us; None when it is fine.

    `fields` has the first value of each header; the head has no more than `at_most` bytes. What the parser refuses by
    itself (bare LF, folded lines, bad names, both lengths, bad chunks) never gets here.
    """
    if len(headers) > limits.max_headers:
        return 431, f"more than {limits.max_headers} headers"
    if at_most > limits.max_header_bytes:
        size = len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
        if size > limits.max_header_bytes:
            return 431, f"more than {limits.max_header_bytes} bytes of headers"
    if version not in ("1.1", "1.0"):
        return 505, f"HTTP/{version} is not served here"
    if method == b"CONNECT":
        return 501, "this is not a tunnel"
    if b"host" not in fields and version == "1.1":
        return 400, "no host header"
    if len(fields) != len(headers):
        names = [name for name, _ in headers]
        if any(names.count(name) > 1 for name in _DECISIVE):
            return 400, "a header that decides about the message is repeated"
    if b"#" in target:
        return 400, "a fragment in the target"
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if version == "1.0":
            return 400, "HTTP/1.0 has no transfer-encoding"
        if coding.lower() != b"chunked":
            return 501, "the only transfer-encoding served is chunked"
    elif int(fields.get(b"content-length", b"0")) > limits.max_body_bytes:
        return 413, f"a body may have {limits.max_body_bytes} bytes"
    return None


def path_of(method: bytes, target: bytes) -> bytes | None:
    """The path of a target that is a whole URL (RFC 9112, 3.2.2); None when it is neither."""
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        return None
    if not url.schema:
        return None
    path: bytes = url.path or b"/"
    return path + b"?" + url.query if url.query else path
