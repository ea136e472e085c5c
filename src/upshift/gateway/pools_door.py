"""How full are the capacity pools, for an administrator who asks the gateway?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upshift.gateway import accept, answer
from upshift.http.exchange import Exchange
from upshift.model.key import Role
from upshift.model.pool import Limits, PoolUse
from upshift.model.refusal import LedgerDown, NotAllowed, Refused
from upshift.store.ledger import LedgerUnavailableError
from upshift.traffic import identify
from upshift.traffic.pool import show_limits

if TYPE_CHECKING:
    from upshift.gateway.flow import Flow


class WorkloadLine(msgspec.Struct, frozen=True):
    """One workload in a pool."""

    workload: str
    in_use: int
    waiting: int
    reserve: str
    """What is its own, in words; empty where nothing is."""


class PoolLine(msgspec.Struct, frozen=True):
    """One pool over all gateways. `refused` counts since the keeper, or the only gateway, began."""

    pool: str
    limits: str
    """In words."""
    concurrent: int | None
    in_use: int
    waiting: int
    refused: int
    workloads: tuple[WorkloadLine, ...]


class PoolsView(msgspec.Struct, frozen=True):
    """The answer of GET /upshift/v1/pools."""

    plan: str
    pools: tuple[PoolLine, ...]


async def show_pools(flow: Flow, exchange: Exchange) -> None:
    """Answer with all pools of the plan. Raises Refused: whoever asks needs an admin key, as tenants share pools."""
    in_force = flow.regime.in_force
    key = identify.key_of(in_force, identify.secret_of(accept.headers_of(exchange)), flow.clock.now())
    if key.role is not Role.ADMIN:
        raise Refused(NotAllowed(what="a look at the capacity pools", allowed=()))
    try:
        uses = {use.id: use for use in await flow.pools.uses()}
    except LedgerUnavailableError:
        raise Refused(LedgerDown(retry_seconds=5)) from None
    lines = []
    for pool in in_force.snapshot.pools:
        use = uses.get(pool.id, PoolUse(pool.id, 0, 0, 0))
        own = {each.workload: each.limits for each in pool.reserves}
        members = sorted(name for name, each in in_force.snapshot.workloads.items() if each.pool is pool)
        counts = {name: (in_use, waiting) for name, in_use, waiting in use.by_workload}
        workloads = tuple(
            WorkloadLine(name, *counts.get(name, (0, 0)), show_limits(own.get(name, Limits()))) for name in members
        )
        lines.append(
            PoolLine(
                pool.id, show_limits(pool.total), pool.total.concurrent, use.in_use, use.waiting, use.refused, workloads
            )
        )
    body = msgspec.json.encode(PoolsView(in_force.snapshot.hash, tuple(lines)))
    exchange.respond(200, [*answer.JSON, (b"cache-control", b"no-store")], body)
