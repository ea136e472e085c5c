"""What does a month of calls look like, and how does it get into a ledger quickly?"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count, islice

import msgspec

from upshift.model.budget import Amount, Bucket, BudgetKey
from upshift.model.entry import Entry, Hold, Settle
from upshift.model.ids import KeyId, PlanHash, RequestId, TenantId, UserId, WorkloadId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant, Window, period_of, to_instant
from upshift.model.tokens import Usage
from upshift.store.draft import START, Drafter, Tail
from upshift.store.postgres import Connection
from upshift.store.postgres_schema import Month, names
from upshift.store.rows import Value
from upshift.store.schema import BUDGET_COLUMNS, CALL_COLUMNS, COUNTER_COLUMNS, GROUP_COLUMNS, PROFILE_COLUMNS
from upshift.store.totals import DAY

BEGIN = to_instant(datetime(2026, 10, 1, tzinfo=UTC))
DAYS = 31
END = BEGIN + DAYS * DAY
TENANTS, USERS = 20, 100
"""Tenants, and users of each."""
WORKLOADS = ("support-chat", "code-review", "search", "reports", "triage")
MODELS = ("large", "medium", "small")
PLAN = PlanHash("5f2b9c" + "0" * 58)
_GROUP = 500
"""Calls per commit."""
_PIECE = 100
"""Commits per transaction of the filling."""


class Crowd:
    """Calls as they might be over a month: everybody has two workloads, and works more by day than by night."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = count(1)
        self._labels: dict[tuple[Window, int], str] = {}

    def _label(self, window: Window, at: Instant) -> str:
        name = window, at // DAY
        found = self._labels.get(name)
        if found is None:
            found = self._labels[name] = period_of(window, "UTC", at).label
        return found

    def entries(self, calls: int, begin: Instant, end: Instant) -> Iterator[tuple[Hold, Settle]]:
        """In the order of time."""
        draw, step = self._random.random, (end - begin) / calls
        for number in range(calls):
            at = begin + int(number * step)
            tenant, user = int(draw() * draw() * TENANTS), int(draw() * USERS)
            workload = WORKLOADS[(user + int(draw() * 2)) % len(WORKLOADS)]
            model = MODELS[int(draw() * draw() * len(MODELS))]
            yield self._call(at, f"tenant-{tenant}", f"user-{tenant}-{user}", workload, model)

    def _call(self, at: Instant, tenant: str, user: str, workload: str, model: str) -> tuple[Hold, Settle]:
        draw = self._random.random
        failed = draw() < 0.02
        latency = int(self._random.lognormvariate(14.5, 0.8))
        request = RequestId(f"{next(self._numbers):026x}")
        keys = tuple(
            BudgetKey(TenantId(tenant), UserId(who), WorkloadId(workload), Bucket.INCLUDED, window, label)
            for who in (user, "*")
            for window, label in (
                (Window.DAY.value, self._label(Window.DAY, at)),
                (Window.MONTH.value, self._label(Window.MONTH, at)),
            )
        )
        usage = Usage(int(draw() * 8000), int(draw() * 2000), 0, 0, int(draw() * 900), 0)
        cost = usage.input * 3_000 + usage.output * 15_000
        opening = Metered(
            request=request, started=at, plan=PLAN, tenant=tenant, user=user, tier="standard", workload=workload,
            pod=f"pod-{len(workload)}", project=workload, session=f"{user}-{at // DAY}", key=KeyId(f"key-{user}"),
            dialect="openai_chat", streamed=True, requested_model="auto", served_model=model, provider="provider",
        )  # fmt: skip
        record = msgspec.structs.replace(
            opening, upstream_id=f"chatcmpl-{request}", outcome=Outcome.UPSTREAM_ERROR if failed else Outcome.SERVED,
            status=502 if failed else 200, usage=usage, cost=cost, counted=cost,
            counted_tokens=usage.input + usage.output, latency_us=latency, first_byte_us=latency // 4, overhead_us=180,
        )  # fmt: skip
        held, spent = Amount(12_000, 60_000_000), Amount(record.counted_tokens, cost)
        return (
            Hold(request, at, PLAN, keys, held, opening),
            Settle(request, at + latency, keys, held, spent, record),
        )


class Filler:
    """Writes what the ledger's own writer would, in larger transactions, and the counters once at the end."""

    def __init__(self, db: Connection) -> None:
        self._db = db
        self._tail: Tail = START
        self._counters: dict[int, list[int]] = {}
        self._largest = {"profiles": 0, "budgets": 0}
        self._drafter = Drafter(lambda _: None, self._largest.__getitem__)

    def fill(self, calls: Iterator[tuple[Hold, Settle]], progress: Callable[[int], None]) -> None:
        done = 0
        for month in (Month.of(BEGIN), Month.of(BEGIN).next()):
            for statement in month.statements():
                self._db.execute(statement)
        while piece := [group for _ in range(_PIECE) if (group := list(islice(calls, _GROUP)))]:
            rows: dict[str, list[Sequence[Value]]] = {"budgets": [], "profiles": [], "calls": []}
            groups: list[tuple[int, int, int, bytes]] = []
            holds: list[tuple[int, bytes]] = []
            for group in piece:
                self._draft(group, rows, groups, holds)
                done += len(group)
            with self._db.transaction():
                for table, columns in (
                    ("budgets", BUDGET_COLUMNS),
                    ("profiles", PROFILE_COLUMNS),
                    ("calls", CALL_COLUMNS),
                ):
                    self._copy(table, columns, rows[table])
                self._copy_bytes("groups", GROUP_COLUMNS, groups)
                self._copy_bytes("holds", ("last_seq", "document"), holds)
            progress(done)
        self._copy("counters", COUNTER_COLUMNS, [(budget, *sums) for budget, sums in self._counters.items()])

    def _draft(
        self,
        group: Sequence[tuple[Hold, Settle]],
        rows: dict[str, list[Sequence[Value]]],
        groups: list[tuple[int, int, int, bytes]],
        holds: list[tuple[int, bytes]],
    ) -> None:
        entries: list[Entry] = [hold for hold, _ in group]
        entries += [settle for _, settle in group]
        draft = self._drafter.draft(self._tail, entries)
        for table, columns, values in (
            ("budgets", BUDGET_COLUMNS, draft.budgets),
            ("profiles", PROFILE_COLUMNS, draft.profiles),
            ("calls", CALL_COLUMNS, draft.calls),
        ):
            width = len(columns)
            found = [values[at : at + width] for at in range(0, len(values), width)]
            rows[table] += found
            if table in self._largest:
                self._largest[table] += len(found)
        if draft.document is not None:
            holds.append((draft.last, draft.document))
        groups.append((draft.last, draft.first, draft.low, draft.digest))
        width, sums = len(COUNTER_COLUMNS), draft.counters()
        for at in range(0, len(sums), width):
            budget, *more = sums[at : at + width]
            before = self._counters.get(budget)
            self._counters[budget] = more if before is None else [a + b for a, b in zip(before, more, strict=True)]
        self._drafter.keep(draft)
        self._tail = Tail(draft.last, draft.low, draft.digest)

    def _copy(self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Value]]) -> None:
        # Nothing in these rows needs escaping, and joining them is quicker than the driver's own way.
        lines = ["\t".join(["\\N" if value is None else str(value) for value in row]) for row in rows]
        with self._db.cursor() as cursor, cursor.copy(f"COPY {table} ({names(columns)}) FROM STDIN") as copy:
            if lines:
                copy.write("\n".join(lines) + "\n")

    def _copy_bytes(self, table: str, columns: tuple[str, ...], rows: Sequence[tuple[int | bytes, ...]]) -> None:
        with self._db.cursor() as cursor, cursor.copy(f"COPY {table} ({names(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
