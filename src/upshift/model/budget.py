"""What a ceiling is, whose it is, and how much of it is spent and held."""

from enum import StrEnum

import msgspec

from upshift.model.ids import TenantId, UserId, WorkloadId
from upshift.model.money import Nano
from upshift.model.span import Period


class Bucket(StrEnum):
    """Where a call's cost is counted. Each bucket has counters of its own, so one never eats another."""

    INCLUDED = "included"
    """Within the ceiling of the user's tier."""
    DEGRADED = "degraded"
    """After a soft cap, on the budget model tier."""
    OVERAGE = "overage"
    """Pay-as-you-go, invoiced apart to the tenant."""


class BudgetKey(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """Names one counter: one user of one workload, in one bucket, over one calendar period.

    `user` is '*' for counters of a whole tenant (pay-as-you-go limits).
    """

    tenant: TenantId
    user: UserId
    workload: WorkloadId
    bucket: Bucket
    window: str
    period: str

    def path(self) -> str:
        """'acme/alice/support-chat/included/month/2026-11': how the key is shown, and no other key is."""
        names = (name.replace("%", "%25").replace("/", "%2F") for name in (self.tenant, self.user, self.workload))
        return "/".join((*names, self.bucket.value, self.window, self.period))


class Amount(msgspec.Struct, frozen=True, gc=False):
    """Tokens and money together. `nano` is 0 where the price is unknown: such a call may only meet token ceilings."""

    tokens: int = 0
    nano: Nano = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.tokens + other.tokens, self.nano + other.nano)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.tokens - other.tokens, self.nano - other.nano)


NOTHING = Amount()


class Balance(msgspec.Struct, frozen=True, gc=False):
    """State of one counter. `held` is what calls in flight may still cost; `granted` lifts the ceiling."""

    settled: Amount = NOTHING
    held: Amount = NOTHING
    granted: Amount = NOTHING


EMPTY = Balance()


class Limit(msgspec.Struct, frozen=True, gc=False):
    """A ceiling: at most so many tokens, so much money, or both. None is no limit of that kind."""

    tokens: int | None = None
    nano: Nano | None = None


class Claim(msgspec.Struct, frozen=True):
    """One ceiling that a call has to fit under: the counter, its limit and its period (for 'resets at')."""

    key: BudgetKey
    limit: Limit
    period: Period
