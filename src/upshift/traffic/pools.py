"""What becomes of a call at whichever capacity pool it needs a place in?"""

from collections.abc import Iterable

from upshift.model.ids import RequestId
from upshift.model.pool import Place, Pool, PoolUse
from upshift.model.span import Instant
from upshift.traffic.pool import CapacityPool, Verdict


class CapacityPools:
    """All pools at work, by name. `now` is in microseconds of a clock that never goes back.

    After each call that says so there may be `news` of others who waited, and another time that `look` is `due` at.
    """

    def __init__(self) -> None:
        self._pools: dict[str, CapacityPool] = {}

    def know(self, pools: Iterable[Pool], now: Instant) -> None:
        """These are the pools of the plan. One that is not among them ends with its last call. There may be news."""
        named = {pool.id: pool for pool in pools}
        for name, at_work in tuple(self._pools.items()):
            if name not in named and at_work.empty:
                del self._pools[name]
        for name, pool in named.items():
            known = self._pools.get(name)
            if known is None:
                self._pools[name] = CapacityPool(pool)
            elif known.pool != pool:
                known.change(pool, now)

    def enter(self, pool: Pool, place: Place, now: Instant) -> Verdict | None:
        """Take a place, or wait for one (None), or be turned away. There may be news.

        A pool that is not known is as it says; one that is known stays as it is.
        """
        return self._at(pool).enter(place, now)

    def adopt(self, pool: Pool, place: Place, now: Instant) -> None:
        """A call has a place already. There may be news."""
        self._at(pool).adopt(place, now)

    def leave(self, pool: str, request: RequestId, used: int | None, now: Instant) -> None:
        """A call has ended, or does not wait any more: see CapacityPool. There may be news."""
        at_work = self._pools.get(pool)
        if at_work is not None:
            at_work.leave(request, used, now)

    def look(self, now: Instant) -> None:
        """Time has passed. There may be news."""
        for pool in self._pools.values():
            if pool.due is not None and pool.due <= now:
                pool.look(now)

    @property
    def due(self) -> Instant | None:
        """When to look again; None for never."""
        return min((pool.due for pool in self._pools.values() if pool.due is not None), default=None)

    def news(self) -> list[Verdict]:
        """What has become of calls that waited, told once."""
        found: list[Verdict] = []
        for pool in self._pools.values():
            if pool.news:
                found += pool.news
                pool.news = []
        return found

    def uses(self) -> list[PoolUse]:
        """How full they are, by name."""
        return [pool.use() for _, pool in sorted(self._pools.items())]

    def _at(self, pool: Pool) -> CapacityPool:
        return self._pools.get(pool.id) or self._pools.setdefault(pool.id, CapacityPool(pool))
