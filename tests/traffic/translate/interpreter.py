"""How do official SDKs meet translated answers? Over a socket, from a server that interprets between them and a provider."""

import contextlib
from collections.abc import AsyncIterator

import httpx2

from upshift.http.exchange import Exchange, Headers
from upshift.http.server import ServerLimits, serve
from upshift.simulated.provider import Options
from upshift.simulated.serving import serve_simulated
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.fidelity import target_of
from upshift.traffic.translate.translate import Translation, understand
from upshift.traffic.wire.wires import WIRES

PATHS = {
    Dialect.OPENAI: "/v1/chat/completions",
    Dialect.RESPONSES: "/v1/responses",
    Dialect.ANTHROPIC: "/v1/messages",
}
_JSON: Headers = [(b"content-type", b"application/json")]
_EVENTS: Headers = [(b"content-type", b"text/event-stream")]


class Interpreter:
    """Translates calls of a client for a provider, and its answers back; or answers what `canned` says."""

    def __init__(self, client: Dialect, provider: Dialect, model: str, upstream: httpx2.AsyncClient) -> None:
        self.port = 0
        self.canned = b""
        """What the provider answers instead of being asked."""
        self.lost: set[str] = set()
        self.errors: list[BaseException] = []
        self._client, self._provider, self._model = client, provider, model
        self._translation = Translation(client, provider)
        self._upstream = upstream

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, exchange: Exchange) -> None:
        """One call."""
        ask = WIRES[self._client].read(exchange.body, exchange.target)
        sent = self._translation.request(
            understand(self._client, exchange.body, exchange.target), self._model, 4_000, created=1_700_000_000
        )
        self.lost = {loss.field for loss in sent.losses}
        stream = self._translation.stream(ask.model, sent.asked)
        path = PATHS.get(self._provider) or target_of(self._provider, self._model, stream=ask.stream).decode()
        if self.canned:
            if not ask.stream:
                exchange.respond(200, _JSON, self._translation.reply(self.canned, ask.model, sent.asked)[0])
                return
            exchange.start(200, _EVENTS)
            exchange.write(stream.feed(self.canned))
        else:
            async with self._upstream.stream("POST", path, content=sent.body) as answer:
                if answer.status_code != 200 or not ask.stream:
                    body = await answer.aread()
                    if answer.status_code == 200:
                        body = self._translation.reply(body, ask.model, sent.asked)[0]
                    else:
                        body = self._translation.error(answer.status_code, body, "req_1")
                    exchange.respond(answer.status_code, _JSON, body)
                    return
                exchange.start(200, _EVENTS)
                async for chunk in answer.aiter_bytes():
                    exchange.write(stream.feed(chunk))
        exchange.write(stream.finish())
        exchange.end()


@contextlib.asynccontextmanager
async def interpreter(client: Dialect, provider: Dialect, model: str) -> AsyncIterator[Interpreter]:
    """An interpreter on a free port, before a simulated provider on another."""
    running = await serve_simulated("127.0.0.1", 0, Options(seed=7))
    headers = {"authorization": "Bearer k", "x-api-key": "k", "x-goog-api-key": "k", "content-type": "application/json"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", headers=headers, timeout=60) as upstream:
        found = Interpreter(client, provider, model, upstream)
        server = await serve(
            found.handle,
            "127.0.0.1",
            0,
            limits=ServerLimits(),
            on_error=found.errors.append,
            on_bad_request=lambda status, reason, target, headers: ([], reason.encode()),
        )
        found.port = server.port
        try:
            yield found
        finally:
            await server.shutdown(0.0)
            await running.close()
    assert found.errors == []
