"""How is a provider asked something by ourselves, beside all traffic?"""

import asyncio
from collections.abc import Mapping

from upshift.http.client import Timeouts, Trouble, Upstream
from upshift.http.exchange import Headers
from upshift.traffic.snapshot import Dialect, Provider

LARGEST_ANSWER = 4 * 1024 * 1024
_MOST_AT_ONCE = 4


class Answered:
    """A provider's whole answer."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body


class Reach:
    """One provider, with connections of its own: what is asked here never waits behind a customer's call."""

    def __init__(self, provider: Provider, environment: Mapping[str, str], seconds: float, base_url: str = "") -> None:
        """`seconds` is granted to a whole answer. `base_url` is another one than the provider's, if given.

        Raises ValueError when the variable with the provider's secret is not set.
        """
        secret = environment.get(provider.key_env, "") if provider.key_env else ""
        if provider.key_env and not secret:
            raise ValueError(f"the environment variable {provider.key_env} of provider {provider.id} is not set")
        limits = provider.timeouts
        self._seconds = seconds
        self._upstream = Upstream(
            base_url or provider.base_url,
            timeouts=Timeouts(connect=limits.connect, first_byte=seconds, idle=seconds, total=seconds),
            max_connections=_MOST_AT_ONCE,
        )
        self._headers: Headers = [(name.lower().encode(), value.encode()) for name, value in provider.headers]
        self._headers += _signed(provider.dialect, secret.encode())

    async def get(self, target: bytes) -> Answered | Trouble:
        return await self._send(b"GET", target, b"")

    async def post(self, target: bytes, body: bytes) -> Answered | Trouble:
        return await self._send(b"POST", target, body)

    async def close(self) -> None:
        await self._upstream.close()

    async def _send(self, method: bytes, target: bytes, body: bytes) -> Answered | Trouble:
        headers = [(b"accept", b"application/json"), (b"user-agent", b"upshift"), *self._headers]
        if body:
            headers.append((b"content-type", b"application/json"))
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._upstream.send(method, target, headers, body)
                if isinstance(response, Trouble):
                    return response
                found = await response.read(LARGEST_ANSWER)
        except TimeoutError:
            return Trouble("total_timeout", f"no answer within {self._seconds:g} seconds", True)
        return found if isinstance(found, Trouble) else Answered(response.status, found)


def _signed(dialect: Dialect, secret: bytes) -> Headers:
    match dialect:
        case Dialect.ANTHROPIC:
            version = (b"anthropic-version", b"2023-06-01")
            return [version, (b"x-api-key", secret)] if secret else [version]
        case Dialect.GEMINI:
            return [(b"x-goog-api-key", secret)] if secret else []
        case Dialect.OPENAI | Dialect.RESPONSES | Dialect.EMBEDDINGS:
            return [(b"authorization", b"Bearer " + secret)] if secret else []
