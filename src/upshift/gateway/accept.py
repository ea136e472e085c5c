"""What was sent to us: which door it knocks at, and the request in our words."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

import msgspec

from upshift.http.exchange import Exchange
from upshift.model.refusal import BadRequest, Refused
from upshift.traffic import attempts, dispatch, identify
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
_LONGEST = 128


class Said(msgspec.Struct, frozen=True):
    """What the headers of a call say to us, beside its path."""

    names: tuple[bytes | None, ...]
    """By which its caller and workload are found."""
    task: bytes | None
    session: str
    agent: str
    seconds: float | None
    """How long the client waits; None where it does not say."""
    coding: bytes | None
    """How the body is compressed."""


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


def said(exchange: Exchange, dialect: Dialect) -> Said:
    """What the headers of a call say; looked up once for all calls of a connection that repeat them."""
    found = exchange.known.get(Said)
    if isinstance(found, Said):
        return found
    header = exchange.header if dialect is not Dialect.GEMINI else headers_of(exchange)
    session = (
        header(b"x-upshift-session")
        or header(b"x-claude-code-session-id")
        or header(b"session-id")
        or header(b"x-session-id")
    )
    patience, served = header(b"x-stainless-timeout"), header(b"x-server-timeout")
    found = exchange.known[Said] = Said(
        names=(
            header(b"authorization"),
            header(b"x-api-key"),
            header(b"x-goog-api-key"),
            header(identify.USER_HEADER),
            header(dispatch.WORKLOAD_HEADER),
        ),
        task=header(dispatch.TASK_HEADER),
        session=_text(session),
        agent=_text(header(b"x-upshift-agent")),
        seconds=attempts.asked_seconds(patience, served),
        coding=header(b"content-encoding"),
    )
    return found


def read(exchange: Exchange, wire: Wire, coding: bytes | None) -> Ask:
    """The call in our words. Raises Refused(BadRequest) for what cannot be understood."""
    if coding is not None and coding.lower() != b"identity":
        raise Refused(
            BadRequest(
                where="content-encoding",
                what=f"found {coding.decode('latin-1')[:40]!r}, expected an uncompressed JSON body",
            )
        )
    return wire.read(exchange.body, exchange.target)


def _text(value: bytes | None) -> str:
    return value.decode("utf-8", "replace")[:_LONGEST] if value else ""
