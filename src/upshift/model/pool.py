"""What is a capacity pool: how much at once, how much in a time, for whom, and who has a place in it?"""

from enum import StrEnum

import msgspec

from upshift.model.ids import RequestId, TenantId, UserId, WorkloadId


class Rate(msgspec.Struct, frozen=True):
    """At most `amount` in `period` microseconds in the long run, of which `burst` may come at once."""

    amount: int
    period: int
    burst: int


class Limits(msgspec.Struct, frozen=True):
    """What some calls may take together; None is no limit. `concurrent` counts calls in flight."""

    concurrent: int | None = None
    requests: Rate | None = None
    tokens: Rate | None = None

    def __bool__(self) -> bool:
        return not (self.concurrent is None and self.requests is None and self.tokens is None)


UNLIMITED = Limits()


class Reserve(msgspec.Struct, frozen=True):
    """The part of a pool that is one workload's own. Where it `lends`, others may use what lies idle of it."""

    workload: WorkloadId
    limits: Limits
    lends: bool = False


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """One capacity pool as the plan compiles it. `common` and all reserves together are the whole of it."""

    id: str
    total: Limits
    common: Limits
    """What any of its workloads may use."""
    reserves: tuple[Reserve, ...] = ()
    per_tenant: Limits = UNLIMITED
    per_user: Limits = UNLIMITED
    queue: int = 0
    """So many calls of a workload may wait."""
    wait_seconds: float = 0.0
    """So long each of them."""


class Place(msgspec.Struct, frozen=True):
    """Whose call it is that has, or wants, a place in a pool; `tokens` is what it is expected to use."""

    request: RequestId
    workload: WorkloadId
    tenant: TenantId
    user: UserId
    tokens: int


class Scarce(StrEnum):
    """What a call waits for, or was refused for."""

    CONCURRENT = "concurrent"
    REQUESTS = "requests"
    TOKENS = "tokens"
    QUEUE = "queue"


class Shortage(msgspec.Struct, frozen=True):
    """Why a call has no place: what is scarce, whose limit it is (pool, tenant or user), and how large that is."""

    scarce: Scarce
    whose: str
    limit: str
    waited_seconds: float
    retry_seconds: int
    """After so long it is worth another try."""


class PoolUse(msgspec.Struct, frozen=True):
    """How full a pool is, over all gateways."""

    id: str
    in_use: int
    waiting: int
    refused: int
    """Calls turned away since whoever counts them began."""
    by_workload: tuple[tuple[WorkloadId, int, int], ...] = ()
    """Workload, in use, waiting."""
