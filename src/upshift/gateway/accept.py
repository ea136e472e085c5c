"""What was sent to us: which door it knocks at, and the request in our words."""

from upshift.http.exchange import Exchange
from upshift.model.refusal import BadRequest, Refused
from upshift.traffic.snapshot import Dialect
from upshift.traffic.wire.ask import Ask, Wire

CALLS: dict[bytes, Dialect] = {
    b"/v1/chat/completions": Dialect.OPENAI,
    b"/v1/messages": Dialect.ANTHROPIC,
}
"""Paths that spend. Nothing else is ever sent to a provider."""


def dialect_of(exchange: Exchange) -> Dialect:
    """The dialect that a client speaks, judged by path and headers, so that even an early refusal is in its words."""
    return dialect_by(exchange.path, exchange.header(b"anthropic-version") is not None)


def dialect_by(path: bytes, versioned: bool) -> Dialect:
    """The dialect of a path; where both serve it, that of a client which sends anthropic-version or does not."""
    return CALLS.get(path) or (Dialect.ANTHROPIC if versioned else Dialect.OPENAI)


def read(exchange: Exchange, wire: Wire) -> Ask:
    """The call in our words. Raises Refused(BadRequest) for what cannot be understood."""
    encoding = exchange.header(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise Refused(
            BadRequest(
                where="content-encoding",
                what=f"found {encoding.decode('latin-1')[:40]!r}, expected an uncompressed JSON body",
            )
        )
    return wire.read(exchange.body)
