"""What goes back to the client: the provider's answer with our disclosure, or a refusal in its dialect."""

import msgspec

from upshift.http.client import Response
from upshift.http.exchange import Exchange, Headers
from upshift.model.refusal import OverBudget, Reason
from upshift.model.span import MICROS
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
    body = wire.refusal(denial.status, denial.code, denial.message, request)
    if isinstance(reason, OverBudget) and is_codex(exchange):
        denial, body = for_codex(denial, reason, wire)
    exchange.respond(denial.status, JSON + denial.headers, body)
    return denial


def is_codex(exchange: Exchange) -> bool:
    """Whether the client is Codex, which repeats a 402 six times, and hides the text of an ordinary 429."""
    said = exchange.header(b"originator") or exchange.header(b"user-agent") or b""
    return said[:5].lower() == b"codex"


def for_codex(denial: Denial, reason: OverBudget, wire: Wire) -> tuple[Denial, bytes]:
    """A spent budget in the one form that Codex shows at once, in full, and does not repeat."""
    body = wire.refusal(429, denial.code, denial.message, "")
    try:
        said = msgspec.json.decode(body, type=dict[str, dict[str, object]])
    except msgspec.MsgspecError:
        return denial, body
    said["error"] |= {"type": "usage_limit_reached", "resets_at": reason.resets_at // MICROS}
    promo = denial.message.rstrip(".").encode("ascii", "replace")
    headers = [*denial.headers, (b"x-codex-promo-message", promo)]
    return msgspec.structs.replace(denial, status=429, headers=headers), msgspec.json.encode(said)


def fail(exchange: Exchange, wire: Wire, status: int, code: str, message: str, request: str, lines: bytes) -> None:
    """Say that a provider failed, in the client's dialect; `lines` is the disclosure."""
    body = wire.refusal(status, code, message, request)
    exchange.respond(status, [*JSON, (disclose.REASON, code.encode())], body, lines)
