"""How do tests ask without an SDK, byte for byte, and see that a gateway's books are closed?"""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.end_to_end.stack import Stack

from upshift.http.client import Timeouts, Trouble, Upstream
from upshift.http.exchange import Exchange, Headers
from upshift.http.limits import ServerLimits
from upshift.http.server import serve
from upshift.model.budget import NOTHING, Balance
from upshift.store.verify import Verification
from upshift.traffic.disclose import LIMITED_BECAUSE

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
MODELS = {"openai": "big", "anthropic": "sonnet"}
DIALECTS = ("openai", "anthropic")


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[dict[str, Any]]:
        """The data of each event of a stream that is JSON."""
        lines = [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: {")]
        return [json.loads(line) for line in lines if not line.startswith(b"data: {this")]

    def text(self) -> str:
        """What a stream's events say to the person."""
        found = []
        for event in self.events():
            found += [choice["delta"].get("content") or "" for choice in event.get("choices", ())]
            found.append(event["delta"].get("text", "") if event.get("type") == "content_block_delta" else "")
        return "".join(found)

    def problem(self) -> str:
        """The message of an error in either dialect."""
        return str(self.json()["error"]["message"])


async def key(stack: Stack, user: str = "alice", tenant: str = "acme", workload: str | None = "chat") -> str:
    """A key that is in force."""
    secret = stack.secret(user, tenant, workload)
    await stack.gateway.flow.regime.refresh()
    return secret


async def post(
    stack: Stack,
    path: str,
    body: bytes,
    secret: str | None,
    headers: Mapping[str, str] | None = None,
    method: bytes = b"POST",
    port: int | None = None,
) -> Reply:
    """One request on a connection of its own."""
    sent: Headers = [(b"content-type", b"application/json")] if body else []
    if secret is not None:
        sent.append((b"authorization", b"Bearer " + secret.encode()))
    sent += [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    link = Upstream(f"http://127.0.0.1:{port or stack.gateway.port}", timeouts=Timeouts(60, 120, 120, 240))
    try:
        response = await link.send(method, path.encode(), sent, body)
        assert not isinstance(response, Trouble), response
        whole = await response.read(64 * 1024 * 1024)
        assert not isinstance(whole, Trouble), whole
        return Reply(response.status, {name.decode(): value.decode() for name, value in response.headers}, whole)
    finally:
        await link.close()


async def get(stack: Stack, path: str, secret: str | None, headers: Mapping[str, str] | None = None) -> Reply:
    """One GET on a connection of its own."""
    return await post(stack, path, b"", secret, headers, b"GET")


def body_of(dialect: str, text: str = "Hello", **fields: Any) -> bytes:
    """The body of a call; fields that are None are left out."""
    whole: dict[str, Any] = {"model": MODELS[dialect], "messages": [{"role": "user", "content": text}]}
    if dialect == "anthropic":
        whole["max_tokens"] = 1000
    return json.dumps({name: value for name, value in {**whole, **fields}.items() if value is not None}).encode()


async def ask(
    stack: Stack,
    text: str = "Hello",
    *,
    dialect: str = "openai",
    secret: str | None = None,
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Reply:
    """A call in a dialect: alice's on workload chat unless `secret` says otherwise."""
    secret = secret or await key(stack)
    return await post(stack, PATHS[dialect], body_of(dialect, text, **fields), secret, headers)


async def spend(stack: Stack, secret: str, **fields: Any) -> Reply:
    """Use up whatever is left of the included budget: the first answer that is not served plainly from it."""
    for _ in range(12):
        reply = await ask(stack, "[[simulate: output_tokens=20000]]", secret=secret, **fields)
        reason = reply.headers.get("x-upshift-reason", LIMITED_BECAUSE)
        if reply.status != 200 or reason != LIMITED_BECAUSE:
            return reply
    raise AssertionError("the budget did not run out")


def balance(
    stack: Stack, user: str = "alice", workload: str = "chat", bucket: str = "included", tenant: str = "acme"
) -> Balance:
    """What a user's only counter in a bucket says on disk."""
    accounts = stack.desk.journal.balances(tenant=tenant, user=user, workload=workload)
    found = [account.balance for account in accounts if account.key.bucket == bucket]
    assert len(found) == 1, found
    return found[0]


async def closed(stack: Stack) -> Verification:
    """Nothing is held any more, in memory or on disk, and the ledger is sound."""
    verified = await stack.verified()
    assert verified.open_holds == 0
    assert not stack.gateway.ledger.open_requests()
    assert all(account.balance.held == NOTHING for account in stack.desk.journal.balances())
    return verified


@dataclass
class Recorder:
    """A provider that keeps what it is sent and says what it is told to."""

    status: int = 200
    body: bytes = b"{}"
    headers: Headers = field(default_factory=lambda: [(b"content-type", b"application/json")])
    seen: list[Exchange] = field(default_factory=list)
    url: str = ""

    async def __call__(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        exchange.respond(self.status, self.headers, self.body)


@contextlib.asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    """A recorder on a free port."""
    recorder = Recorder()
    errors: list[BaseException] = []
    server = await serve(
        recorder,
        "127.0.0.1",
        0,
        limits=ServerLimits(),
        on_error=errors.append,
        on_bad_request=lambda status, reason, target, headers: ([], reason.encode()),
    )
    recorder.url = f"http://127.0.0.1:{server.port}"
    try:
        yield recorder
    finally:
        await server.shutdown(0.0)
    assert not errors
