"""A whole installation in one process: simulated provider, gateway, ledger on disk, administrators' desk."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anthropic
import openai

from upshift.admin.desk import Actor, Desk
from upshift.app import Gateway, open_desk, start_gateway
from upshift.gateway.clock import Clock
from upshift.model.key import Role
from upshift.model.metered import Metered
from upshift.model.span import MICROS, Instant
from upshift.settings import Settings
from upshift.simulated.provider import Options
from upshift.simulated.serving import Running, serve_simulated
from upshift.store.verify import Verification, verify

ADMIN = Actor("the tests", Role.ADMIN)

PLAN = """
upshift: 1
name: test
providers:
  openai: {dialect: openai, base_url: "SIMULATED/v1", on_disconnect: CANCEL_OR_DRAIN,
           timeouts: {connect: 60s, first_byte: 10m, idle: 10m}}
  anthropic: {dialect: anthropic, base_url: "SIMULATED", on_disconnect: CANCEL_OR_DRAIN,
              timeouts: {connect: 60s, first_byte: 10m, idle: 10m}}
models:
  big: {provider: openai, context: 200k, max_output: 32k, price: {input: $2, output: $10, cached: $0.20}}
  small: {provider: openai, context: 100k, max_output: 16k, can: [json], price: {input: $0.20, output: $1}}
  sonnet: {provider: anthropic, context: 200k, max_output: 64k, aliases: [claude-test],
           price: {input: $3, output: $15, cached: $0.30, cache_write_5m: $3.75, cache_write_1h: $6}}
  haiku: {provider: anthropic, context: 200k, max_output: 64k, price: {input: $1, output: $5}}
model_tiers: {premium: [big, sonnet], budget: [small, haiku]}
tiers: [free, pro]
tenants:
  acme:
    timezone: Europe/Berlin
    owner: ada@acme.example
    default_tier: free
    users: {alice: {tier: pro}, bob: {tier: pro}}
  globex:
    timezone: America/New_York
    owner: gus@globex.example
    users: {gail: {tier: pro}}
gates:
  hard: {overage: hard-cap, ceilings: {free: {month: 20k}, pro: {month: LIMIT}}, ask: "Ask #ai-platform"}
  soft: {overage: soft-cap, ceilings: {free: {month: 20k}, pro: {month: LIMIT}}, degraded: same}
  payg: {overage: pay-as-you-go, ceilings: {free: {month: 20k}, pro: {month: LIMIT}}, overage_limit: {month: $5}}
workloads:
  chat: {owner: sam, status: committed, models: {primary: premium, degrade_to: budget}, gate: hard}
  soft: {owner: sam, status: committed, tenants: [acme], models: {primary: premium, degrade_to: budget}, gate: soft}
  calls: {owner: sam, status: committed, tenants: [acme], models: {primary: premium}, gate: payg}
"""


def plan_text(
    simulated: str, limit: str = "100k", on_disconnect: str = "cancel", extra: Sequence[tuple[str, str]] = ()
) -> str:
    """The plan of the tests against a provider at `simulated`; `extra` replaces pieces of its text."""
    text = PLAN.replace("SIMULATED", simulated).replace("LIMIT", limit).replace("CANCEL_OR_DRAIN", on_disconnect)
    for old, new in extra:
        assert old in text, old
        text = text.replace(old, new)
    return text


NOON = 1_794_996_000 * MICROS  # 2026-11-18 10:00 in UTC, 11:00 in Berlin, 5:00 in New York


class DayClock:
    """Passes as real time does, from the middle of a day, a week and a month: no period ends while a test runs."""

    tick = staticmethod(time.perf_counter_ns)

    def __init__(self) -> None:
        self._began = self.tick()

    def now(self) -> Instant:
        return NOON + (self.tick() - self._began) // 1000


@dataclass
class Stack:
    """What a test holds in hand."""

    folder: Path
    provider: Running
    gateway: Gateway
    desk: Desk
    clock: Clock
    settings: Settings
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    @property
    def db(self) -> Path:
        assert isinstance(self.settings.db, Path)
        return self.settings.db

    def secret(self, user: str = "alice", tenant: str = "acme", workload: str | None = "chat") -> str:
        """A key of a user, issued at the first asking and in force at once."""
        name = f"{tenant}/{user}/{workload}"
        if name not in self.secrets:
            workloads = [workload] if workload else []
            issued = self.desk.issue(ADMIN, name=user or "app", tenant=tenant, user=user, workloads=workloads)
            self.secrets[name] = issued.secret
        return self.secrets[name]

    async def openai(
        self, user: str = "alice", tenant: str = "acme", workload: str | None = "chat"
    ) -> openai.AsyncOpenAI:
        """The official client with another base URL and key."""
        secret = self.secret(user, tenant, workload)
        await self.gateway.flow.regime.refresh()
        return openai.AsyncOpenAI(base_url=f"{self.base_url}/v1", api_key=secret, max_retries=0, timeout=60)

    async def anthropic(
        self, user: str = "alice", tenant: str = "acme", workload: str | None = "chat"
    ) -> anthropic.AsyncAnthropic:
        """The official client with another base URL and key."""
        secret = self.secret(user, tenant, workload)
        await self.gateway.flow.regime.refresh()
        return anthropic.AsyncAnthropic(base_url=self.base_url, api_key=secret, max_retries=0, timeout=60)

    async def apply(self, text: str) -> None:
        """Put a plan in force."""
        self.desk.apply(self.desk.check(text), ADMIN)
        await self.gateway.flow.regime.refresh()

    def simulated_url(self) -> str:
        return f"http://127.0.0.1:{self.provider.port}"

    async def records(self) -> list[Metered]:
        """Every call's record, oldest first."""
        await self.settled()
        return [call.record for call in reversed(self.desk.journal.calls(limit=100_000))]

    async def settled(self) -> None:
        """Wait until nothing is in flight and all is on disk."""
        async with asyncio.timeout(120):
            while self.gateway.server.in_flight:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.001)
        await self.gateway.ledger.flushed()

    async def verified(self) -> Verification:
        """The ledger's own audit, once everything is on disk."""
        await self.settled()
        found = verify(self.db)
        assert found.ok, found.problems
        return found


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    *,
    limit: str = "100k",
    on_disconnect: str = "cancel",
    extra: Sequence[tuple[str, str]] = (),
    clock: Clock | None = None,
    options: Options | None = None,
    plan: str | None = None,
) -> AsyncIterator[Stack]:
    """Start everything in `folder`, on free ports of the loopback address, and take it down again.

    `plan` is the text of another plan than that of the tests, which names providers of its own.
    """
    provider = await serve_simulated("127.0.0.1", 0, options or Options(seed=7))
    settings = Settings(db=folder / "upshift.db", port=0, reload_seconds=3600)
    clock = clock or DayClock()
    desk = open_desk(settings.db, clock)
    text = plan or plan_text(f"http://127.0.0.1:{provider.port}", limit, on_disconnect, extra)
    desk.apply(desk.check(text), ADMIN)
    gateway = await start_gateway(settings, clock)
    stack = Stack(folder, provider, gateway, desk, clock, settings)
    try:
        yield stack
    finally:
        await stack.gateway.close(grace_seconds=1)
        await provider.close()
        desk.journal.close()
