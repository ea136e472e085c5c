"""How a provider is reached: its connection pool, its secret, and the headers that are passed on."""

from collections.abc import Awaitable, Collection, Mapping
from urllib.parse import quote

import msgspec

from upshift.http.client import Response, Timeouts, Trouble, Upstream
from upshift.http.exchange import Exchange, Headers
from upshift.model.ids import ProviderId
from upshift.traffic.snapshot import Dialect, OnDisconnect, Provider, Snapshot

_KEPT_BACK = frozenset(
    {
        # the caller's own secrets and whereabouts
        b"authorization",
        b"x-api-key",
        b"x-goog-api-key",
        b"api-key",
        b"openai-organization",
        b"openai-project",
        b"cookie",
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"origin",
        b"referer",
        # belong to one connection, or are set anew
        b"host",
        b"connection",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"content-length",
        b"content-encoding",
        # usage has to be read from the answer, so it must come as it is
        b"accept-encoding",
    }
)
_PATHS = {
    Dialect.OPENAI: b"/chat/completions",
    Dialect.RESPONSES: b"/responses",
    Dialect.EMBEDDINGS: b"/embeddings",
    Dialect.ANTHROPIC: b"/v1/messages",
}
_KEPT_IN_TRANSLATION = frozenset({b"traceparent", b"tracestate", b"baggage", b"x-request-id", b"x-client-request-id"})
"""What means the same to every vendor. All other headers are those of the client's own dialect."""
_JSON = (b"content-type", b"application/json")
# Looking a member up on its class runs Python code in 3.11.
_GEMINI = Dialect.GEMINI


class MissingSecretError(Exception):
    """The environment variable with a provider's secret is not set."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """What a provider is asked for."""

    upstream_id: str
    stream: bool
    native: bool
    """Whether the client speaks the dialect that the provider is asked in."""


class Route:
    """One provider, ready to be called."""

    __slots__ = ("cancels", "own_headers", "provider", "speaks", "upstream")

    def __init__(self, provider: Provider, secret: str) -> None:
        self.provider = provider
        self.upstream = Upstream(
            provider.base_url,
            timeouts=Timeouts(
                connect=provider.timeouts.connect,
                first_byte=provider.timeouts.first_byte,
                idle=provider.timeouts.idle,
                total=provider.timeouts.total,
            ),
            max_connections=provider.max_connections,
        )
        self.speaks = provider.speaks | {provider.dialect}
        self.cancels = provider.on_disconnect is OnDisconnect.CANCEL
        """A client's leaving ends its call."""
        self.own_headers: Headers = [(name.lower().encode(), value.encode()) for name, value in provider.headers]
        if secret:
            match provider.dialect:
                case Dialect.OPENAI | Dialect.RESPONSES | Dialect.EMBEDDINGS:
                    self.own_headers.append((b"authorization", b"Bearer " + secret.encode()))
                case Dialect.ANTHROPIC:
                    self.own_headers.append((b"x-api-key", secret.encode()))
                case Dialect.GEMINI:
                    self.own_headers.append((b"x-goog-api-key", secret.encode()))

    def send(self, exchange: Exchange, dialect: Dialect, call: Call, body: bytes) -> Awaitable[Response | Trouble]:
        """Send a call on, in `dialect`. Its client's leaving ends it, unless the provider's answers are drained."""
        if dialect is _GEMINI:
            verb = b"streamGenerateContent" if call.stream else b"generateContent"
            target = gemini_target(exchange if call.native else None, call.upstream_id, verb)
        else:
            target = _PATHS[dialect]
            if exchange.query and call.native:
                target = target + b"?" + exchange.query
        client = exchange if self.cancels else None
        last = exchange.known.get(_Sent)
        if (
            not isinstance(last, _Sent)
            or last.route is not self
            or last.dialect is not dialect
            or last.native is not call.native
            or last.target != target
        ):
            top = self.upstream.top(b"POST", target, self._headers(exchange, dialect, call.native))
            exchange.known[_Sent] = last = _Sent(self, dialect, call.native, target, top)
        return self.upstream.carry(last.top, body, client)

    async def count(self, exchange: Exchange, dialect: Dialect, upstream_id: str, body: bytes) -> Response | Trouble:
        """Ask how many tokens an input has, in the client's own dialect. Providers do not bill that."""
        if dialect is Dialect.GEMINI:
            target = gemini_target(exchange, upstream_id, b"countTokens")
        else:
            target = b"/v1/messages/count_tokens"
        return await self.upstream.send(b"POST", target, self._headers(exchange, dialect, native=True), body)

    def _headers(self, exchange: Exchange, dialect: Dialect, native: bool) -> Headers:
        """The client's headers, except secrets and what belongs to its connection; where its own dialect is another
        one, only those that mean the same to everybody."""
        if native:
            headers = [
                header for header in exchange.headers if header[0] not in _KEPT_BACK and header[0][:10] != b"x-upshift-"
            ]
        else:
            headers = [header for header in exchange.headers if header[0] in _KEPT_IN_TRANSLATION]
            headers.append(_JSON)
        headers += self.own_headers
        if dialect is Dialect.ANTHROPIC and (not native or exchange.header(b"anthropic-version") is None):
            headers.append((b"anthropic-version", b"2023-06-01"))
        return headers


class _Sent(msgspec.Struct, frozen=True, eq=False):
    """What came before the body of a client's last request, when it was sent on; the same for all with its head."""

    route: Route
    dialect: Dialect
    native: bool
    target: bytes
    top: bytes


def gemini_target(exchange: Exchange | None, upstream_id: str, verb: bytes) -> bytes:
    """Where a call in Gemini's dialect goes: its model is in the path, and its secret may be in the query."""
    version, rest = b"v1beta", []
    if exchange is not None:
        version = exchange.path[1:].split(b"/", 1)[0]
        rest = [part for part in exchange.query.split(b"&") if part and part[:4] not in (b"key=", b"alt=")]
    if verb.startswith(b"stream"):
        rest.append(b"alt=sse")
    target = b"/" + version + b"/models/" + quote(upstream_id, safe="/").encode() + b":" + verb
    return target + b"?" + b"&".join(rest) if rest else target


class Routes:
    """The providers of the plan in force; pools outlive a change of plan that does not touch their provider."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._routes: dict[ProviderId, Route] = {}
        self._retired: list[Route] = []

    def missing(self, snapshot: Snapshot) -> list[str]:
        """Providers whose secret is not in the environment, as 'openai (OPENAI_API_KEY)'."""
        return [
            f"{provider.id} ({provider.key_env})"
            for provider in snapshot.providers.values()
            if provider.key_env and not self._environment.get(provider.key_env)
        ]

    def to(self, provider: Provider) -> Route:
        """The route to a provider. Raises MissingSecretError."""
        route = self._routes.get(provider.id)
        if route is not None and (route.provider is provider or route.provider == provider):
            return route
        secret = self._environment.get(provider.key_env, "") if provider.key_env else ""
        if provider.key_env and not secret:
            raise MissingSecretError(
                f"the environment variable {provider.key_env} with the key of provider {provider.id} is not set"
            )
        if route is not None:
            # Calls of the plan before may still be in flight on it; its idle connections end by themselves.
            self._retired.append(route)
        route = self._routes[provider.id] = Route(provider, secret)
        return route

    def known(self) -> Collection[Route]:
        """The routes that were asked for so far, without those of plans before."""
        return self._routes.values()

    async def close(self) -> None:
        """Close every pool."""
        for route in (*self._routes.values(), *self._retired):
            await route.upstream.close()
