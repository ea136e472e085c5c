"""How does a call get its place in a capacity pool, and how long does it wait for one?"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol

from upshift.gateway.clock import Clock
from upshift.model.ids import RequestId
from upshift.model.pool import Place, Pool, PoolUse, Shortage
from upshift.model.span import MICROS
from upshift.traffic.pool import In, Verdict
from upshift.traffic.pools import CapacityPools

_NANOS = 1000


class Pools(Protocol):
    """Where places are given out: here, or by the keeper for all gateways. For one event loop."""

    def know(self, pools: Iterable[Pool]) -> None:
        """The pools of the plan that is in force."""

    def enter(self, pool: Pool, place: Place) -> "asyncio.Future[Shortage | None] | Shortage | None":
        """None: the call has its place. A Shortage: it is turned away. Else it waits to hear either.

        The future may raise LedgerUnavailableError, where nobody could be asked. Whatever comes of it, whoever asked
        calls `leave` in the end.
        """

    def leave(self, pool: Pool, request: RequestId, used: int | None) -> None:
        """A call has ended, with so many tokens (None: nothing was sent), or does not wait any more. Idempotent."""

    def uses(self) -> Awaitable[Sequence[PoolUse]]:
        """How full the pools are, over all gateways. Raises LedgerUnavailableError."""


class Seat:
    """A call's place in its pool, and the tokens that it has come to so far."""

    __slots__ = ("pool", "used")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.used: int | None = None
        """None until something is sent."""

    def count(self, tokens: int) -> None:
        """Tokens of one of its attempts."""
        self.used = (self.used or 0) + tokens


class LocalPools:
    """The pools of a gateway that is alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._pools = CapacityPools()
        self._waiting: dict[RequestId, asyncio.Future[Shortage | None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def know(self, pools: Iterable[Pool]) -> None:
        self._pools.know(pools, self._now())
        self._tell()

    def enter(self, pool: Pool, place: Place) -> asyncio.Future[Shortage | None] | Shortage | None:
        verdict = self._pools.enter(pool, place, self._now())
        if isinstance(verdict, In):
            # Whoever else this may concern is in a queue, and then there are futures.
            if self._waiting:
                self._tell()
            return None
        if verdict is not None:
            self._tell()
            return verdict.shortage
        waiting = self._waiting[place.request] = self._loop.create_future()
        self._tell()
        return waiting

    def leave(self, pool: Pool, request: RequestId, used: int | None) -> None:
        self._pools.leave(pool.id, request, used, self._now())
        if self._waiting:
            self._waiting.pop(request, None)
            self._tell()

    async def uses(self) -> Sequence[PoolUse]:
        return self._pools.uses()

    def _now(self) -> int:
        return self._clock.tick() // _NANOS

    def _tell(self) -> None:
        for verdict in self._pools.news():
            waiting = self._waiting.pop(verdict.request, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(_shortage(verdict))
        self._wind()

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._pools.due
        if due is not None:
            self._timer = self._loop.call_later(max(0, due - self._now()) / MICROS, self._look)

    def _look(self) -> None:
        self._timer = None
        self._pools.look(self._now())
        self._tell()


def _shortage(verdict: Verdict) -> Shortage | None:
    return None if isinstance(verdict, In) else verdict.shortage
