"""What was sent to us: which door it knocks at, and the request in our words."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from upshift.http.exchange import Exchange
from upshift.model.refusal import BadRequest, Refused
from upshift.traffic.snapshot import Dialect
from upshift.traffic.wire.ask import Ask, Wire

_CALLS: Mapping[bytes, Dialect] = MappingProxyType(
    {
        b"/v1/chat/completions": Dialect.OPENAI,
        b"/v1/responses": Dialect.RESPONSES,
        b"/v1/embeddings": Dialect.EMBEDDINGS,
        b"/v1/messages": Dialect.ANTHROPIC,
    }
)
_GEMINI = (b"/v1beta/models/", b"/v1/models/")
_SPENDING = (b":generateContent", b":streamGenerateContent")


def call_at(path: bytes) -> Dialect | None:
    """The dialect of a path that spends. Nothing else is ever sent to a provider, but questions of how long it is."""
    known = _CALLS.get(path)
    if known is None and path.startswith(_GEMINI) and path.endswith(_SPENDING):
        return Dialect.GEMINI
    return known


def count_at(path: bytes) -> Dialect | None:
    """The dialect of a path that asks how many tokens an input has."""
    if path == b"/v1/messages/count_tokens":
        return Dialect.ANTHROPIC
    return Dialect.GEMINI if path.startswith(_GEMINI) and path.endswith(b":countTokens") else None


def headers_of(exchange: Exchange) -> Callable[[bytes], bytes | None]:
    """Looks headers up. Gemini's clients may put their secret into the query; it is found as if it were a header."""
    header, query = exchange.header, exchange.query
    if b"key=" not in query or header(b"x-goog-api-key") is not None or header(b"authorization") is not None:
        return header
    secret = next((unquote_to_bytes(part[4:]) for part in query.split(b"&") if part[:4] == b"key="), b"")
    return lambda name: secret or None if name == b"x-goog-api-key" else header(name)


def model_at(path: bytes) -> str | None:
    """The model that is asked about; empty for the list of all, None where the path is about something else."""
    for prefix in (b"/v1/models", b"/v1beta/models"):
        if path == prefix or path.startswith(prefix + b"/"):
            return path[len(prefix) :].strip(b"/").decode("utf-8", "replace")
    return None


def dialect_of(exchange: Exchange) -> Dialect:
    """The dialect that a client speaks, judged by path and headers, so that even an early refusal is in its words."""
    return dialect_by(exchange.path, exchange.header)


def dialect_by(path: bytes, header: Callable[[bytes], bytes | None]) -> Dialect:
    """The dialect of a path; where several serve it, that of the client by the headers that only its kind sends."""
    known = call_at(path)
    if known is not None:
        return known
    if header(b"anthropic-version") is not None or path.startswith(b"/v1/messages"):
        return Dialect.ANTHROPIC
    if path.startswith(b"/v1beta/") or header(b"x-goog-api-key") is not None:
        return Dialect.GEMINI
    return Dialect.OPENAI


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
    return wire.read(exchange.body, exchange.target)
