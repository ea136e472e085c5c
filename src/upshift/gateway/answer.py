"""What goes back to the client: the provider's answer with our disclosure, or a refusal in its dialect."""

import msgspec

from upshift.http.client import Response
from upshift.http.exchange import Exchange, Headers
from upshift.model.refusal import Reason
from upshift.traffic import disclose
from upshift.traffic.disclose import Denial
from upshift.traffic.wire.ask import Wire

_KEPT_BACK = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"content-length",
        b"trailer",
        b"upgrade",
        b"date",
        b"server",
        # whose account we use is not the caller's business
        b"set-cookie",
        b"location",
        b"openai-organization",
        b"openai-project",
        b"anthropic-organization-id",
    }
)
JSON: Headers = [(b"content-type", b"application/json")]
EVENTS: Headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


def is_json(body: bytes) -> bool:
    """Whether a body is JSON at all."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return True


def passed_on(response: Response) -> Headers:
    """The provider's headers that a client may see. Disclosure is ours alone."""
    return [
        header for header in response.headers if header[0] not in _KEPT_BACK and not header[0].startswith(b"x-upshift-")
    ]


def refuse(exchange: Exchange, wire: Wire, reason: Reason, request: str) -> Denial:
    """Say no in the client's dialect; returns what was said, for the record."""
    denial = disclose.deny(reason, request)
    exchange.respond(
        denial.status, JSON + denial.headers, wire.refusal(denial.status, denial.code, denial.message, request)
    )
    return denial


def fail(exchange: Exchange, wire: Wire, status: int, code: str, message: str, request: str, extra: Headers) -> None:
    """Say that a provider failed, in the client's dialect."""
    exchange.respond(
        status,
        [*JSON, (disclose.REQUEST, request.encode()), (disclose.REASON, code.encode()), *extra],
        wire.refusal(status, code, message, request),
    )
