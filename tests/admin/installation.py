"""What does a small installation look like: two tenants, keys of every role, and some use?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from upshift.admin.desk import Actor, Desk
from upshift.app import open_desk
from upshift.gateway.clock import HandClock
from upshift.model.budget import Amount, Bucket, BudgetKey
from upshift.model.entry import Alert
from upshift.model.ids import KeyId, PlanHash, RequestId, TenantId, UserId, WorkloadId
from upshift.model.key import Role
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant
from upshift.model.tokens import Usage
from upshift.store.ledger import Admit, Read
from upshift.store.sqlite_ledger import SqliteLedger

NOW: Instant = 1_795_255_200_000_000
"""2026-11-21T10:00:00Z, a Saturday."""
HOUR = 3_600_000_000
PLAN = Path(__file__).parent / "plan.yaml"
OPERATOR = Actor("operator", Role.ADMIN)


def month(tenant: str, user: str, workload: str, bucket: Bucket = Bucket.INCLUDED) -> BudgetKey:
    return BudgetKey(TenantId(tenant), UserId(user), WorkloadId(workload), bucket, "month", "2026-11")


@dataclass
class Installation:
    """An installation in a folder, its clock at NOW."""

    db: Path
    clock: HandClock = field(default_factory=lambda: HandClock(NOW))
    count: int = 0

    def __post_init__(self) -> None:
        self.desk: Desk = open_desk(self.db, self.clock)

    def apply(self, plan: Path = PLAN) -> None:
        self.desk.apply(self.desk.check([plan]), OPERATOR)

    def secret(self, role: Role, tenant: str = "", user: str = "") -> str:
        return self.desk.issue(OPERATOR, role=role, name=f"{role}-{tenant}", tenant=tenant, user=user).secret

    async def spend(self, *records: Metered, alerts: Sequence[Alert] = ()) -> None:
        """Let a ledger record calls and alerts, as a gateway would."""
        ledger = await SqliteLedger.open(self.db, self.clock.now())
        try:
            for record in records:
                keys = (month(record.tenant, record.user, record.workload, record.bucket),)
                if record.outcome is Outcome.REFUSED:
                    ledger.note(record, record.started)
                    continue
                amount = Amount(record.usage.total, record.cost or record.counted)

                def admit(
                    read: Read, may_wait: bool, keys: tuple[BudgetKey, ...] = keys, amount: Amount = amount
                ) -> Admit:
                    return Admit(0, keys, amount)

                answer = await ledger.decide(record.request, record.plan, self.clock.now, admit, 0.0)
                assert isinstance(answer, tuple)
                ledger.settle(answer[1], record.started + 1000, amount, record)
            for alert in alerts:
                ledger.append(alert)
        finally:
            await ledger.close()

    def call(
        self,
        tenant: str = "acme",
        user: str = "alice",
        workload: str = "chat",
        *,
        at: Instant = NOW - HOUR,
        tokens: int = 1000,
        cost: int | None = 2_000_000,
        outcome: Outcome = Outcome.SERVED,
        bucket: Bucket = Bucket.INCLUDED,
        latency_us: int = 150_000,
    ) -> Metered:
        """A call's record: four fifths input, one fifth output."""
        self.count += 1
        output = tokens // 5
        return Metered(
            request=RequestId(f"up_{self.count:04d}"),
            started=at,
            plan=PlanHash("f" * 64),
            tenant=tenant,
            user=user,
            tier="pro",
            workload=workload,
            key=KeyId("key_1"),
            dialect="openai",
            requested_model="big",
            served_model="small" if bucket is Bucket.DEGRADED else "big",
            provider="local",
            outcome=outcome,
            status=402 if outcome is Outcome.REFUSED else 200,
            bucket=bucket,
            usage=Usage(input=tokens - output, output=output),
            cost=cost,
            counted=0 if cost is None else cost,
            counted_tokens=tokens,
            latency_us=latency_us,
        )


def alert(threshold: int = 90, user: str = "alice", tenant: str = "acme", at: Instant = NOW) -> Alert:
    key = month(tenant, user, "chat")
    return Alert(
        id=f"{key.path()}/{threshold}",
        at=at,
        key=key,
        threshold=threshold,
        measure="tokens",
        used=threshold * 1000,
        limit=100_000,
        runs_out=at + 48 * HOUR,
        plan=PlanHash("f" * 64),
    )
