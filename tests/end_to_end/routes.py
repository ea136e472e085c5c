"""Which plan do the tests of routing run: a model at several providers, and a workload for each way of failing over?"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.probe import Reply, ask, key
from tests.end_to_end.scripted import Scripted, scripted
from tests.end_to_end.stack import Stack, running

from upshift.gateway.clock import Clock
from upshift.model.metered import Metered
from upshift.traffic.health import Board

# Time-outs that a busy machine does not reach: where a provider is to fail, it is not the test's computer that fails it.
PLAN = """
upshift: 1
name: routes
providers:
  first: {dialect: openai, base_url: "FIRST/v1", timeouts: {connect: 60s, first_byte: 60s, idle: 60s}}
  second: {dialect: openai, base_url: "SECOND/v1", timeouts: {connect: 60s, first_byte: 60s, idle: 60s}}
  claude: {dialect: anthropic, base_url: "CLAUDE", timeouts: {connect: 60s, first_byte: 60s, idle: 60s}}
models:
  big: {provider: first, context: 200k, max_output: 32k, price: {input: $2, output: $10}, weight: 3,
        offers: [{provider: second, price: {input: $3, output: $12}}]}
  mixed: {provider: first, context: 200k, max_output: 32k, price: {input: $2, output: $10},
          offers: [{provider: claude, id: claude-big, price: {input: $3, output: $15}}]}
  small: {provider: second, context: 200k, max_output: 32k, price: {input: $1, output: $2}}
model_tiers: {premium: [big, mixed], budget: [small]}
tiers: [pro]
tenants:
  acme: {timezone: Europe/Berlin, owner: ada@acme.example, default_tier: pro, users: {alice: {tier: pro}}}
gates:
  ample: {overage: hard-cap, ceilings: {pro: {month: 100M}}}
  tight: {overage: hard-cap, ceilings: {pro: {month: 3k}}}
workloads:
  none: {owner: sam, status: committed, models: {primary: premium}, gate: ample, route: {failover: none}}
  retry: {owner: sam, status: committed, models: {primary: premium}, gate: ample,
          route: {failover: none, retries: 1}}
  failover: {owner: sam, status: committed, models: {primary: premium}, gate: ample}
  unsure: {owner: sam, status: committed, models: {primary: premium}, gate: ample, route: {retry_unsure: always}}
  never: {owner: sam, status: committed, models: {primary: premium}, gate: ample, route: {retry_unsure: never}}
  hedged: {owner: sam, status: committed, models: {primary: premium}, gate: ample, route: {hedge_after: 50ms}}
  scant: {owner: sam, status: committed, models: {primary: premium}, gate: tight, route: {retry_unsure: always}}
  poor: {owner: sam, status: committed, models: {primary: premium}, gate: tight,
         route: {hedge_after: 50ms, retry_unsure: always}}
  shared: {owner: sam, status: committed, models: {primary: premium}, gate: ample, route: {order: weighted, sticky: off}}
  pinned: {owner: sam, status: committed, models: {primary: premium}, gate: ample,
           route: {pin: [first], failover: [same-model, same-tier, tier budget], retries: 1}}
  tasks: {owner: sam, status: committed, models: {primary: premium}, gate: ample,
          route: {tasks: {routine: budget, tools: {tier: budget, when: {needs: [tools]}}}}}
"""


@dataclass
class Routes:
    """An installation and its providers."""

    stack: Stack
    providers: dict[str, Scripted]
    plan: str

    @property
    def first(self) -> Scripted:
        return self.providers["first"]

    @property
    def second(self) -> Scripted:
        return self.providers["second"]

    @property
    def claude(self) -> Scripted:
        return self.providers["claude"]

    async def ask(
        self,
        workload: str,
        text: str = "Hi [[simulate: output_tokens=20]]",
        *,
        dialect: str = "openai",
        model: str | None = "big",
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        max_tokens: int | None = 100,
    ) -> Reply:
        """Alice's call on a workload."""
        secret = await key(self.stack, workload=workload)
        return await ask(
            self.stack, text, dialect=dialect, secret=secret, headers=headers, model=model, max_tokens=max_tokens,
            stream=stream or None,
        )  # fmt: skip

    async def records(self) -> list[Metered]:
        """Every call's record, once the providers have billed what they were sent."""
        for each in self.providers.values():
            await each.settled()
        return await self.stack.records()

    def forget_troubles(self) -> None:
        """As after a long time without any."""
        self.stack.gateway.flow.board = Board()

    async def give(self, *providers: str, wait: str, patience: str) -> None:
        """From now on these have this long, such as "300ms", for a first byte or between two (`idle`); all others, and
        all others of theirs, have what the plan says."""
        text = self.plan
        for name in providers:
            (line,) = [each for each in text.splitlines() if each.startswith(f"  {name}: {{dialect:")]
            text = text.replace(line, line.replace(f"{wait}: 60s", f"{wait}: {patience}"))
        await self.stack.apply(text)

    def asked(self) -> list[int]:
        """How many calls each provider was sent."""
        return [each.asked for each in self.providers.values()]


@contextlib.asynccontextmanager
async def routes(folder: Path, clock: Clock | None = None, plan: str = PLAN) -> AsyncIterator[Routes]:
    """Start everything, and take it down again."""
    async with scripted("first", "second", "claude") as providers:
        for name, provider in providers.items():
            plan = plan.replace(name.upper(), provider.url)
        async with running(folder, clock=clock, plan=plan) as stack:
            yield Routes(stack, providers, plan)
