"""What does a change of plan do to capacity pools and to those who have a part in them?"""

from collections.abc import Iterator

from upshift.model.pool import Limits, Pool
from upshift.traffic.pool import show_limits
from upshift.traffic.snapshot import Snapshot


def pools_moved(old: Snapshot, new: Snapshot) -> Iterator[tuple[str, str]]:
    """Workload or pool, and what happens to it, in words."""
    before, after = ({pool.id: pool for pool in each.pools} for each in (old, new))
    for name in sorted(old.workloads.keys() & new.workloads.keys() | new.workloads.keys()):
        was, now = (each.workloads[name].pool if name in each.workloads else None for each in (old, new))
        if (was and was.id) != (now and now.id):
            yield name, f"calls of {name} {_enter(now)}" + (f" instead of pool {was.id}" if was and now else "")
    for pool in sorted(before.keys() | after.keys()):
        was, now = before.get(pool), after.get(pool)
        if was is not None and now is not None:
            yield from ((pool, f"pool {pool}: {text}") for text in _pool(was, now))
        elif now is not None:
            yield pool, f"pool {pool} begins with {_limits(now.total)}"


def _enter(pool: Pool | None) -> str:
    return "need no place in a pool any more" if pool is None else f"need a place in pool {pool.id}"


def _pool(old: Pool, new: Pool) -> Iterator[str]:
    for what, was, now in (
        ("limits", _limits(old.total), _limits(new.total)),
        ("limits of each user", _limits(old.per_user), _limits(new.per_user)),
        ("limits of each tenant", _limits(old.per_tenant), _limits(new.per_tenant)),
        ("reserves", _reserves(old), _reserves(new)),
        ("queue", _queue(old), _queue(new)),
    ):
        if was != now:
            yield f"{what} {was} -> {now}"


def _queue(pool: Pool) -> str:
    return f"{pool.queue} calls for {pool.wait_seconds:g}s" if pool.queue else "none"


def _reserves(pool: Pool) -> str:
    found = (f"{each.workload} {_limits(each.limits)}{', lent when idle' * each.lends}" for each in pool.reserves)
    return "; ".join(found) or "none"


def _limits(limits: Limits) -> str:
    bursts = [
        f"{rate.burst:,} {what}"
        for rate, what in ((limits.requests, "requests"), (limits.tokens, "tokens"))
        if rate is not None
    ]
    return (show_limits(limits) or "none") + (f" (bursts of {' and '.join(bursts)})" if bursts else "")
