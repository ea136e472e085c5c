"""Which version have the tables in a PostgreSQL database, and which partition holds which calls?"""

from datetime import UTC, datetime

from psycopg import Connection
from psycopg.rows import TupleRow

from upshift.model.span import Instant, to_instant
from upshift.store.rows import Value
from upshift.store.schema import StoreVersionError

VERSION = 5
"""The newest step of `migrations` that this program knows."""

TEXTS = frozenset({
    "request", "plan", "tenant", "user", "tier", "workload", "pod", "project", "session", "agent", "key", "dialect",
    "requested_model", "served_model", "provider", "upstream_id", "outcome", "bucket", "reason", "certainty", "kind",
    "keys", "topic", "detail", "window", "period",
})  # fmt: skip
"""Columns that are TEXT; `id` is one in deeds only. All others of the append-only tables are BIGINT."""

_FIRST, _LAST = (1970, 1), (9999, 12)


def names(columns: tuple[str, ...]) -> str:
    """Column names for a statement; some of them are words of SQL."""
    return ", ".join(f'"{name}"' for name in columns)


def check_version(db: Connection[TupleRow]) -> int:
    """0 for an empty database, else its version, which may be newer than ours when that is harmless.

    Raises StoreVersionError for a store that this program must not use, and for a database of something else.
    """
    if not _exists(db, "store"):
        if _exists(db, "calls") or db.execute("SELECT 1 FROM pg_tables WHERE schemaname = current_schema()").fetchone():
            raise StoreVersionError("the database holds tables of something else")
        return 0
    row = db.execute("SELECT version, compatible_from FROM store").fetchone()
    if row is None:
        raise StoreVersionError("the database does not say which version it has")
    version, compatible_from = row
    if compatible_from > VERSION:
        raise StoreVersionError(
            f"the store has schema version {version} and asks for a program that knows {compatible_from}; "
            f"this one knows {VERSION}"
        )
    return int(version)


def _exists(db: Connection[TupleRow], table: str) -> bool:
    row = db.execute("SELECT to_regclass(%s)", (table,)).fetchone()
    return row is not None and row[0] is not None


class Month:
    """A calendar month, UTC; the first and the last also stand for all before and after."""

    __slots__ = ("end", "start", "table", "year_month")

    def __init__(self, year: int, month: int) -> None:
        self.year_month = year, month
        self.table = f"calls_{year:04}_{month:02}"
        self.start: Instant | None = (
            None if self.year_month == _FIRST else to_instant(datetime(year, month, 1, tzinfo=UTC))
        )
        self.end: Instant | None = None
        if self.year_month != _LAST:
            self.end = to_instant(datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC))

    @classmethod
    def of(cls, at: Instant) -> "Month":
        """The month of an instant."""
        if at < 0:
            return cls(*_FIRST)
        if at >= to_instant(datetime(*_LAST, 1, tzinfo=UTC)):
            return cls(*_LAST)
        moment = datetime.fromtimestamp(at // 1_000_000, UTC)
        return cls(moment.year, moment.month)

    def has(self, at: Value) -> bool:
        """Whether calls that started then belong here."""
        return isinstance(at, int) and (self.start is None or self.start <= at) and (self.end is None or at < self.end)

    def next(self) -> "Month":
        """The month after; the last has none but itself."""
        return self if self.end is None else Month.of(self.end)

    def statements(self) -> tuple[str, ...]:
        """Make the partition. Attached rather than made as one, since that does not wait for who reads."""
        low = "MINVALUE" if self.start is None else str(self.start)
        high = "MAXVALUE" if self.end is None else str(self.end)
        return (
            f"CREATE TABLE {self.table} (LIKE calls INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
            f"ALTER TABLE calls ATTACH PARTITION {self.table} FOR VALUES FROM ({low}) TO ({high})",
            f"CREATE TRIGGER calls_keep BEFORE TRUNCATE ON {self.table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION upshift_append_only('calls')",
        )


def partitions(db: Connection[TupleRow]) -> frozenset[str]:
    """The names of the partitions of `calls`."""
    rows = db.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'calls'::regclass"
    ).fetchall()
    return frozenset(name for (name,) in rows)
