"""How a provider is reached: its connection pool, its secret, and the headers that are passed on."""

from collections.abc import Mapping

from upshift.http.client import Response, Timeouts, Trouble, Upstream
from upshift.http.exchange import Exchange, Headers
from upshift.model.ids import ProviderId
from upshift.traffic.snapshot import Dialect, Provider, Snapshot

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
_PATHS = {Dialect.OPENAI: b"/chat/completions", Dialect.ANTHROPIC: b"/v1/messages"}


class MissingSecretError(Exception):
    """The environment variable with a provider's secret is not set."""


class Route:
    """One provider, ready to be called."""

    __slots__ = ("own_headers", "path", "provider", "upstream")

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
        self.path = _PATHS[provider.dialect]
        self.own_headers: Headers = [(name.lower().encode(), value.encode()) for name, value in provider.headers]
        if secret:
            match provider.dialect:
                case Dialect.OPENAI:
                    self.own_headers.append((b"authorization", b"Bearer " + secret.encode()))
                case Dialect.ANTHROPIC:
                    self.own_headers.append((b"x-api-key", secret.encode()))

    async def send(self, exchange: Exchange, body: bytes) -> Response | Trouble:
        """Send a call on. The client's headers go along, except secrets and what belongs to its connection."""
        headers = [
            header for header in exchange.headers if header[0] not in _KEPT_BACK and header[0][:10] != b"x-upshift-"
        ]
        headers += self.own_headers
        if self.provider.dialect is Dialect.ANTHROPIC and exchange.header(b"anthropic-version") is None:
            headers.append((b"anthropic-version", b"2023-06-01"))
        target = self.path + b"?" + exchange.query if exchange.query else self.path
        return await self.upstream.send(b"POST", target, headers, body)


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

    async def close(self) -> None:
        """Close every pool."""
        for route in (*self._routes.values(), *self._retired):
            await route.upstream.close()
