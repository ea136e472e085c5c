"""What can be taken away: every call, and what calls cost in the columns of FOCUS?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import IO, TypeAlias

import msgspec

from upshift.admin import focus
from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.moments import past
from upshift.admin.records import Column, Kind, Row, to_csv, to_parquet
from upshift.admin.reports import own
from upshift.model.key import Role
from upshift.model.metered import Metered, Outcome
from upshift.model.money import dollars
from upshift.model.span import MICROS, Instant, Window, period_of, show_instant, to_datetime
from upshift.store.journal import Call

_PAGE = 2_000
_LATE = 3600 * MICROS
"""How far the order in which calls were closed may differ from that of their clocks."""
_MAY = frozenset((Role.ADMIN, Role.FINANCE, Role.TENANT_ADMIN))

CALL_COLUMNS = (
    Column("id"),
    Column("started", Kind.TIME),
    *map(Column, ("tenant", "user", "tier", "workload", "pod", "project", "session", "agent", "key", "dialect")),
    Column("streamed", Kind.BOOLEAN),
    *map(Column, ("requested_model", "served_model", "provider", "upstream_id", "outcome")),
    Column("status", Kind.INTEGER),
    *map(Column, ("bucket", "reason", "certainty")),
    *(
        Column(name, Kind.INTEGER)
        for name in ("input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning")
    ),
    Column("cost_usd", Kind.DECIMAL),
    Column("counted_usd", Kind.DECIMAL),
    *(Column(name, Kind.INTEGER) for name in ("counted_tokens", "latency_us", "first_byte_us", "overhead_us")),
    Column("plan"),
)


class What(StrEnum):
    """What is exported."""

    FOCUS = "focus"
    CALLS = "calls"


class Form(StrEnum):
    """What an export is written as."""

    CSV = "csv"
    PARQUET = "parquet"


Rows: TypeAlias = Callable[[Desk, Actor, Instant, Instant], Iterator[Row]]


class Export(msgspec.Struct, frozen=True):
    """An export that is ready to be written: nothing was read of it yet."""

    name: str
    """Of the file, without its ending."""
    columns: Sequence[Column]
    rows: Iterator[Row]

    def csv(self) -> Iterator[str]:
        """As CSV, in pieces."""
        return to_csv(self.columns, self.rows)

    def parquet(self, to: IO[bytes]) -> None:
        """As Parquet. Raises ActError where the library for it is not installed."""
        to_parquet(self.columns, self.rows, to)


def export(desk: Desk, actor: Actor, what: What, since: str = "", until: str = "") -> Export:
    """Calls that started from `since` (this month's beginning unless said) to before `until` (now), or their costs.

    A tenant's admin gets that tenant's. Raises ActError for others, ValueError for times that are none.
    """
    if actor.role not in _MAY:
        raise ActError(f"a key with the role {actor.role} may not export; an admin's or finance's may", 403)
    desk.need_snapshot()
    now = desk.now()
    begin = past(since, now) if since else period_of(Window.MONTH, "UTC", now).start
    end = past(until, now) if until else now + 1
    if begin >= end:
        raise ValueError(f"{show_instant(begin)} is not before {show_instant(end)}")
    columns, rows = _KNOWN[what]
    name = f"upshift-{what}-{to_datetime(begin):%Y%m%d}-{to_datetime(end - 1):%Y%m%d}"
    return Export(name, columns, rows(desk, actor, begin, end))


def _calls(desk: Desk, actor: Actor, since: Instant, until: Instant) -> Iterator[Row]:
    """The latest closed first."""
    where, before = own(desk, actor, {}), None
    while page := desk.journal.calls(where, _PAGE, before):
        for call in page:
            if since <= call.record.started < until:
                yield _row(call.record)
        before = page[-1].seq
        if _all_before(page, since):
            return


def _all_before(page: Sequence[Call], since: Instant) -> bool:
    """Whether what was closed before this page started too early too. What was lost was closed long after it ended."""
    closed = [each.record.started + each.record.latency_us for each in page if each.record.outcome is not Outcome.LOST]
    return bool(closed) and max(closed) < since - _LATE


def _row(record: Metered) -> Row:
    usage = record.usage
    found = {column.name: getattr(record, column.name) for column in CALL_COLUMNS if hasattr(record, column.name)}
    return {
        **found,
        **{name: getattr(usage, name) for name in usage.__struct_fields__},
        "id": record.request,
        "started": to_datetime(record.started),
        "outcome": record.outcome.value,
        "bucket": record.bucket.value,
        "certainty": record.certainty.value,
        "cost_usd": None if record.cost is None else dollars(record.cost),
        "counted_usd": dollars(record.counted),
    }


_KNOWN: Mapping[What, tuple[Sequence[Column], Rows]] = MappingProxyType(
    {What.FOCUS: (focus.COLUMNS, focus.rows), What.CALLS: (CALL_COLUMNS, _calls)}
)
