"""What may people's tools ask of the store, from any process: plans, keys, consents, decisions, reports, alerts?"""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from upshift.model.budget import Balance, BudgetKey
from upshift.model.contract import Activation, Standing
from upshift.model.entry import Adjust, Alert, Decision, Grant
from upshift.model.feedback import About, Reported
from upshift.model.ids import AgentId, KeyId, PlanHash, RequestId, TenantId, WorkloadId
from upshift.model.key import Key
from upshift.model.metered import Metered
from upshift.model.money import Nano
from upshift.model.span import Instant
from upshift.model.tokens import Usage
from upshift.store.entries import EntryKind, Kept


class Applied(msgspec.Struct, frozen=True):
    """A plan that was put in force: `document` is what was compiled, `number` counts applications from 1."""

    number: int
    hash: PlanHash
    document: bytes
    name: str
    by: str
    at: Instant


class OptIn(msgspec.Struct, frozen=True):
    """A tenant's standing consent to pay-as-you-go for a workload; `limit` per month, None for the gate's own."""

    tenant: TenantId
    workload: WorkloadId
    limit: Nano | None
    by: str
    at: Instant


class Dimension(StrEnum):
    """What reports may be grouped and filtered by. DAY, HOUR and MONTH are in UTC."""

    TENANT = "tenant"
    USER = "user"
    TIER = "tier"
    WORKLOAD = "workload"
    POD = "pod"
    PROJECT = "project"
    SESSION = "session"
    AGENT = "agent"
    KEY = "key"
    DIALECT = "dialect"
    REQUESTED_MODEL = "requested_model"
    SERVED_MODEL = "served_model"
    PROVIDER = "provider"
    OUTCOME = "outcome"
    BUCKET = "bucket"
    REASON = "reason"
    PLAN = "plan"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of the calls of one group. Latencies are microseconds over calls not refused, None if there were none."""

    group: tuple[str, ...]
    """Values of the dimensions that were asked for, in their order."""
    calls: int
    refused: int
    degraded: int
    overage: int
    failed: int
    lost: int
    usage: Usage
    cost: Nano
    """Of the calls whose cost is known."""
    unknown_cost: int
    """Calls whose cost is not known; `counted` bounds them."""
    counted: Nano
    counted_tokens: int
    p50_us: int | None
    p95_us: int | None


class Bounds(msgspec.Struct, frozen=True):
    """Up to how many microseconds times are counted together: those that callers wait, and those that we take."""

    waits: tuple[int, ...]
    overheads: tuple[int, ...]


class Spread(msgspec.Struct, frozen=True):
    """How many times were above the bound before, and not above this one; the last is of those above all bounds."""

    counts: tuple[int, ...]
    total: int
    """Of all times, in microseconds."""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What calls of one group add up to, and how long they took."""

    group: tuple[str, ...]
    """Values of the dimensions that were asked for, in their order."""
    calls: int
    usage: Usage
    cost: Nano
    """Of the calls whose cost is known."""
    unknown_cost: int
    """Calls whose cost is not known."""
    counted: Nano
    duration: Spread
    first_byte: Spread
    """Only of calls whose answer had one."""
    overhead: Spread


class Call(msgspec.Struct, frozen=True):
    """One call's record, and its place in the ledger (to page with)."""

    seq: int
    record: Metered


class Account(msgspec.Struct, frozen=True):
    """One counter as last written."""

    key: BudgetKey
    balance: Balance


class DeliveryState(StrEnum):
    CLAIMED = "claimed"
    DONE = "done"
    FAILED = "failed"


class Delivery(msgspec.Struct, frozen=True):
    """How far an alert got on one channel; `at` is when that was, `why` the last failure."""

    channel: str
    state: DeliveryState
    attempts: int
    at: Instant
    why: str


class Raised(msgspec.Struct, frozen=True):
    """An alert and its deliveries."""

    seq: int
    alert: Alert
    deliveries: tuple[Delivery, ...]


class UnknownKeyError(Exception):
    """No key has this id."""


class Journal(Protocol):
    """Safe to use from any process and thread beside a running gateway; calls block for a moment.

    What a person decides is also appended to the ledger as a Decision.
    """

    def version(self) -> int:
        """Changes whenever plans, keys or consents may have; cheap enough to ask several times a second."""

    def apply_plan(
        self, hash_: PlanHash, document: bytes, name: str, by: str, at: Instant, *, restores: int | None = None
    ) -> None:
        """Put a plan in force. Nothing happens when the same plan is in force already.

        `restores` is the number of the former plan that this is, where it is put in force again.
        """

    def plan_in_force(self) -> Applied | None: ...

    def plans(self) -> Sequence[Applied]:
        """Every application, latest first."""

    def add_key(self, key: Key) -> None:
        """Keep a new key. Raises ValueError when its id or digest is known."""

    def revoke_key(self, id_: KeyId, at: Instant, by: str) -> None:
        """End a key now; a key that was revoked before stays as it was. Raises UnknownKeyError."""

    def expire_key(self, id_: KeyId, at: Instant, by: str, now: Instant) -> None:
        """Let a key end at `at` (for rotation), never later than it would. Raises UnknownKeyError."""

    def keys(self) -> Sequence[Key]:
        """Every key, whatever its state, oldest first."""

    def opt_in(self, tenant: TenantId, workload: WorkloadId, limit: Nano | None, by: str, at: Instant) -> None: ...

    def opt_out(self, tenant: TenantId, workload: WorkloadId, by: str, at: Instant) -> None: ...

    def consents(self) -> Sequence[OptIn]:
        """Opt-ins in force."""

    def activate_interface(self, activation: Activation) -> bool:
        """Let calls pass over an interface; False where the same is in force already."""

    def deactivate_interface(self, interface: str, by: str, at: Instant) -> bool:
        """Let no more calls pass over an interface; False where none may."""

    def share_traffic(self, agent: AgentId, share: float, by: str, at: Instant) -> bool:
        """Give an agent a share of the sessions, 0 to 1; 1 is all. False where it has that. Raises ValueError."""

    def standing(self) -> Standing:
        """Which interfaces are active, and the shares of agents that do not get all sessions."""

    def decide(self, decision: Decision) -> bool:
        """Append a decision once by its id; False when that id is known."""

    def decisions(self, kinds: Sequence[str] = (), limit: int = 100) -> Sequence[Decision]:
        """Latest first; of these kinds, or of all."""

    def entries(
        self,
        kinds: Collection[EntryKind] = (),
        limit: int = 100,
        before: int | None = None,
        until: Instant | None = None,
        tenant: str = "",
    ) -> Sequence[Kept]:
        """What the ledger holds, the latest first: of these kinds, or of all; of one tenant, or of all.

        `before` is the `seq` of the last one on the page before, `until` the time that all entries are from before.
        """

    def ask(self, entry: Adjust | Grant) -> bool:
        """Leave a correction or grant for the gateway, which appends it once by its id; False when the id is known."""

    def usage(
        self,
        by: Sequence[Dimension],
        since: Instant,
        until: Instant,
        where: Mapping[Dimension, str] | None = None,
        *,
        latencies: bool = True,
    ) -> Sequence[Used]:
        """Totals of calls that started in [since, until), one row per group, in the order of the groups.

        Without `latencies` quantiles are None where totals take part, which tells many groups several times as fast.
        """

    def tallies(
        self, by: Sequence[Dimension], after: int, until: int, bounds: Bounds, since: Instant = 0
    ) -> Sequence[Tally]:
        """What the calls beyond the place `after`, up to `until`, add up to, of those that started from `since` on.

        By dimensions that are neither times nor SESSION.
        """

    def calls(
        self, where: Mapping[Dimension, str] | None = None, limit: int = 100, before: int | None = None
    ) -> Sequence[Call]:
        """Calls, latest closed first; `before` is the `seq` of the last one on the page before."""

    def call(self, request: RequestId) -> Call | None: ...

    def known_calls(self, requests: Sequence[RequestId]) -> Mapping[RequestId, Metered]:
        """The records of these calls; those that are not recorded are left out."""

    def add_feedback(self, reports: Sequence[Reported]) -> int:
        """Keep reports, each once by its kind and id: what came first stays. Returns how many were new.

        Not in one transaction: after trouble on the way, add all of them again.
        """

    def feedback(
        self,
        where: Mapping[About, str] | None = None,
        since: Instant = 0,
        until: Instant | None = None,
        limit: int | None = None,
    ) -> Sequence[Reported]:
        """What was reported of [since, until), in the order of its time; with a limit, only the latest so many."""

    def balances(
        self,
        tenant: str | None = None,
        user: str | None = None,
        workload: str | None = None,
        now: Instant | None = None,
    ) -> Sequence[Account]:
        """Counters by key; with `now`, only of periods that are current then in some time zone."""

    def alerts(self, limit: int = 100) -> Sequence[Raised]:
        """Latest first."""

    def claim_delivery(self, alert: str, channel: str, at: Instant, stale_seconds: float = 600.0) -> bool:
        """True for the one who should deliver now: nobody did yet, or the last try failed or is overdue."""

    def delivery_done(self, alert: str, channel: str, at: Instant) -> None: ...

    def delivery_failed(self, alert: str, channel: str, at: Instant, why: str) -> None: ...

    def lease(self, name: str, holder: str, at: Instant, seconds: float) -> bool:
        """Take or keep the right to act under a name for so many seconds; False while somebody else has it.

        It spares work: what is done under it has to be harmless when it is done twice, since clocks differ.
        """

    def close(self) -> None: ...
