"""Which ceilings hold a user of a workload, in each bucket, in the periods that are current?"""

from collections.abc import Callable, Sequence
from typing import assert_never

from upshift.model.budget import Bucket, BudgetKey, Claim, Limit
from upshift.model.ids import TierId, UserId
from upshift.model.span import Period, Window
from upshift.traffic.snapshot import Ceiling, Consent, Gate, Tenant, User, Workload

EVERYBODY = UserId("*")
"""The user of counters that add up a whole tenant."""

PeriodOf = Callable[[Window, str], Period]


def claims(
    tenant: Tenant, user: User, workload: Workload, bucket: Bucket, consent: Consent | None, period: PeriodOf
) -> tuple[Claim, ...]:
    """Every ceiling that a call counted in `bucket` has to fit under; at least one, if only to count by the month."""
    own, shared = _applied(workload.gate, user.tier, bucket, consent)
    found = [_claim(tenant, user.id, workload, bucket, ceiling, period) for ceiling in _tightest(own or (_COUNT_ONLY,))]
    found += [_claim(tenant, EVERYBODY, workload, bucket, ceiling, period) for ceiling in _tightest(shared)]
    return tuple(found)


_COUNT_ONLY = Ceiling(Window.MONTH, Limit())


def _applied(
    gate: Gate, tier: TierId, bucket: Bucket, consent: Consent | None
) -> tuple[tuple[Ceiling, ...], tuple[Ceiling, ...]]:
    """The ceilings of the user alone, and those of everybody together."""
    match bucket:
        case Bucket.INCLUDED:
            return gate.ceilings.get(tier, ()), ()
        case Bucket.DEGRADED:
            return gate.degraded.get(tier, ()), ()
        case Bucket.OVERAGE:
            shared = gate.overage_limit
            if consent is not None and consent.limit is not None:
                shared += (Ceiling(Window.MONTH, Limit(nano=consent.limit)),)
            return (), shared or (_COUNT_ONLY,)
    assert_never(bucket)


def _tightest(ceilings: Sequence[Ceiling]) -> list[Ceiling]:
    """One ceiling per window, the lower figure of each kind: a counter may only be held once per call."""
    by_window: dict[Window, Limit] = {}
    for ceiling in ceilings:
        known = by_window.get(ceiling.window, Limit())
        by_window[ceiling.window] = Limit(
            _lower(known.tokens, ceiling.limit.tokens), _lower(known.nano, ceiling.limit.nano)
        )
    return [Ceiling(window, limit) for window, limit in by_window.items()]


def _lower(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


def _claim(
    tenant: Tenant, user: UserId, workload: Workload, bucket: Bucket, ceiling: Ceiling, period: PeriodOf
) -> Claim:
    span = period(ceiling.window, tenant.zone)
    key = BudgetKey(tenant.id, user, workload.id, bucket, ceiling.window.value, span.label)
    return Claim(key, ceiling.limit, span)
