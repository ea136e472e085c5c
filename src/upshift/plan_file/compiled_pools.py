"""Which capacity pools does a plan compile to, and how are shared ones divided?"""

from collections.abc import Mapping, Sequence

from upshift.model.ids import WorkloadId
from upshift.model.pool import Limits, Pool, Rate, Reserve
from upshift.plan_file.declared import Plan
from upshift.plan_file.declared_pools import Capacity, CapacityLimits, rate_of

WHOLE = 100


def pools_of(plan: Plan) -> Mapping[str, Pool]:
    """The pool of each committed workload that has one."""
    found: dict[str, Pool] = {}
    for name, each in plan.workloads.items():
        if each.status == "committed" and each.capacity is not None:
            found[name] = _pool(name, each.capacity, ())
    for name, shared in plan.pools.items():
        members = {
            workload: each.pool
            for workload, each in sorted(plan.workloads.items())
            if each.status == "committed" and each.pool is not None and each.pool.name == name
        }
        reserved = [
            (workload, int(share.reserve.removesuffix("%")), share.lend)
            for workload, share in members.items()
            if share.reserve is not None
        ]
        pool = _pool(name, shared, reserved)
        found.update(dict.fromkeys(members, pool))
    return found


def _pool(name: str, each: Capacity, reserved: Sequence[tuple[str, int, bool]]) -> Pool:
    """`reserved`: workload, percentage, and whether it lends."""
    total = limits_of(each)
    reserves: list[Reserve] = []
    given = 0
    for workload, share, lends in reserved:
        reserves.append(Reserve(WorkloadId(workload), _part(total, given, given + share), lends))
        given += share
    return Pool(
        id=name,
        total=total,
        common=_part(total, given, WHOLE),
        reserves=tuple(reserves),
        per_tenant=limits_of(each.per_tenant),
        per_user=limits_of(each.per_user),
        queue=each.queue if each.wait > 0 else 0,
        wait_seconds=each.wait,
    )


def limits_of(each: CapacityLimits) -> Limits:
    """Declared limits as they are enforced."""
    return Limits(
        each.concurrent,
        None if each.requests is None else rate_of(each.requests, each.burst),
        None if each.tokens is None else rate_of(each.tokens, each.burst),
    )


def _part(total: Limits, start: int, end: int) -> Limits:
    """The part of limits between two percentages. Whole calls are dealt out so that none is lost between parts."""
    if start == 0 and end == WHOLE:
        return total
    most = total.concurrent
    if start >= end:
        return Limits(concurrent=0)
    return Limits(
        None if most is None else most * end // WHOLE - most * start // WHOLE,
        _part_of_rate(total.requests, end - start),
        _part_of_rate(total.tokens, end - start),
    )


def _part_of_rate(rate: Rate | None, share: int) -> Rate | None:
    # The period grows in place of the amount, so that no fraction is lost.
    return rate and Rate(rate.amount * share, rate.period * WHOLE, max(1, rate.burst * share // WHOLE))
