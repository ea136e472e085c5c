"""In what condition is a store: its version, its sizes, and how far its totals got?"""

from pathlib import Path
from typing import Any

import msgspec

from upshift.model.span import show_instant
from upshift.store.backend import StoreTroubleError
from upshift.store.group import troubles as file_troubles
from upshift.store.place import Place, PostgresUrl
from upshift.store.postgres import Connection
from upshift.store.postgres import troubles as server_troubles
from upshift.store.postgres_schema import VERSION, check_version
from upshift.store.retention import retained_from
from upshift.store.rollup import lag
from upshift.store.schema import VERSION as FILE_VERSION
from upshift.store.schema import check_version as check_file
from upshift.store.schema import connect
from upshift.store.sqlite_rollup import lag as file_lag
from upshift.store.verify import retained_from as file_retained_from

_SECONDS = 600.0
_TOTALS_SINCE = 3
"""The version of files that have totals, and calls that may have been dropped."""


class Size(msgspec.Struct, frozen=True):
    """A table, or a partition of `calls`, with its indexes. Rows are the server's estimate where it has one."""

    name: str
    rows: int
    bytes: int


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """`behind` counts entries that the totals do not have yet; files have no partitions."""

    engine: str
    where: str
    version: int
    wanted: int
    pending: int
    """Migrations that were not made yet."""
    bytes: int = 0
    calls: int = 0
    bytes_per_call: int | None = None
    """All that is kept, divided by the calls."""
    behind: int = 0
    kept_from: str | None = None
    """Calls that began before this were dropped."""
    verifiable_after: int = 0
    """The last entry that cannot be verified any more."""
    partitions: tuple[Size, ...] = ()
    tables: tuple[Size, ...] = ()


def condition(place: Place) -> Condition:
    """Raises StoreTroubleError, StoreVersionError."""
    return _of_server(place) if isinstance(place, PostgresUrl) else _of_file(place)


def _of_file(path: Path) -> Condition:
    with file_troubles():
        db = connect(path)
        try:
            version = check_file(db)
            calls = db.execute("SELECT count(*) FROM calls").fetchone()[0] if version else 0
            behind, kept_from, after = 0, 0, 0
            if version >= _TOTALS_SINCE:
                behind, after = file_lag(db), file_retained_from(db)
                (kept_from,) = db.execute("SELECT kept_from FROM rollup_state").fetchone()
        finally:
            db.close()
    parts = [path, path.with_name(f"{path.name}-wal")]
    size = sum(each.stat().st_size for each in parts if each.exists())
    return Condition(
        engine="sqlite", where=str(path), version=version, wanted=FILE_VERSION,
        pending=max(0, FILE_VERSION - version), bytes=size, calls=calls,
        bytes_per_call=size // calls if calls else None, behind=behind,
        kept_from=show_instant(kept_from) if kept_from else None, verifiable_after=after,
    )  # fmt: skip


def _of_server(place: PostgresUrl) -> Condition:
    with server_troubles(), Connection.open(place.url, _SECONDS) as db:
        version = check_version(db)
        found = Condition(
            engine="postgresql", where=str(place), version=version, wanted=VERSION, pending=max(0, VERSION - version)
        )
        if found.pending:
            return found
        months, tables = _sizes(db, partitions=True), _sizes(db, partitions=False)
        size = sum(each.bytes for each in (*months, *tables))
        calls = sum(each.rows for each in months)
        kept_from = _only(db, "SELECT kept_from FROM rollup_state")
        return msgspec.structs.replace(
            found, bytes=size, calls=calls, bytes_per_call=size // calls if calls else None, behind=lag(db),
            kept_from=show_instant(kept_from) if kept_from else None, verifiable_after=retained_from(db),
            partitions=months, tables=tables,
        )  # fmt: skip


def _sizes(db: Connection, *, partitions: bool) -> tuple[Size, ...]:
    rows = db.execute(
        "SELECT relname, reltuples::bigint, pg_total_relation_size(oid) FROM pg_class "
        "WHERE relkind = 'r' AND relispartition = %s "
        "AND relnamespace = current_schema()::regnamespace ORDER BY relname",
        (partitions,),
    ).fetchall()
    # A table that was never looked at has no estimate, and is small or new.
    return tuple(
        Size(name, about if about >= 0 else _only(db, f"SELECT count(*) FROM {name}"), size)  # noqa: S608 - a name of the server's
        for name, about, size in rows
    )


def _only(db: Connection, sql: str) -> Any:
    row = db.execute(sql).fetchone()
    if row is None:
        raise StoreTroubleError("a value has no row")
    return row[0]
