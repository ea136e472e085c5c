"""How does everything that a store holds get into another one, of whatever kind, or nothing of it?"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec

from upshift.store import engines, keeper_seat
from upshift.store.draft import ConflictError
from upshift.store.feedback_rows import FEEDBACK_COLUMNS
from upshift.store.group import troubles as file_troubles
from upshift.store.lock import FileLock
from upshift.store.place import Place, PostgresUrl
from upshift.store.postgres import Connection
from upshift.store.postgres import troubles as server_troubles
from upshift.store.postgres_groups import LOCK
from upshift.store.postgres_schema import Month, names, partitions
from upshift.store.retention import retained_from
from upshift.store.schema import (
    BUDGET_COLUMNS,
    CALL_COLUMNS,
    COUNTER_COLUMNS,
    DEED_COLUMNS,
    GROUP_COLUMNS,
    PROFILE_COLUMNS,
    check_version,
    connect,
)
from upshift.store.totals import DAY
from upshift.store.verify import retained_from as file_retained_from

_SECONDS = 24 * 3600.0
_PIECE = 5_000

_TABLES: dict[str, tuple[str, ...]] = {
    "budgets": BUDGET_COLUMNS,
    "profiles": PROFILE_COLUMNS,
    "holds": ("last_seq", "document"),
    "calls": CALL_COLUMNS,
    "deeds": DEED_COLUMNS,
    "groups": GROUP_COLUMNS,
    "counters": COUNTER_COLUMNS,
    "plans": ("seq", "hash", "document", "name", "by", "at"),
    "keys": ("id", "digest", "document"),
    "requests_in": ("id", "document", "taken"),
    "deliveries": ("alert", "channel", "attempts", "claimed", "done", "failed", "why"),
    "feedback": FEEDBACK_COLUMNS,
}
"""What is moved, in this order, each in the order of its first column but for what has a number of its own."""

_SUMS = (
    "SELECT coalesce(sum(cost), 0), coalesce(sum(counted), 0), coalesce(sum(counted_tokens), 0), "
    "coalesce(sum(input), 0), coalesce(sum(output), 0), coalesce(sum(latency_us), 0) FROM calls"
)
_COUNTERS = (
    "SELECT coalesce(sum(settled_nano), 0), coalesce(sum(held_nano), 0), coalesce(sum(granted_nano), 0) FROM counters"
)
_DIGEST = "SELECT digest FROM groups ORDER BY last_seq DESC LIMIT 1"
_DAYS = f"SELECT DISTINCT started / {DAY} FROM calls"  # noqa: S608 - our own number

Fields: TypeAlias = tuple[Any, ...]
Progress: TypeAlias = Callable[[str, int, int], object]
"""Told which table is moved, how many of its rows are, and how many there are."""


class MoveError(Exception):
    """It was not moved; the source is as it was. Says why."""


class Moved(msgspec.Struct, frozen=True):
    """What the target holds now, which was compared with the source and verified from end to end."""

    rows: dict[str, int]
    entries: int
    digest: str


class _Side(Protocol):
    """An open transaction on a store, in which nobody else writes it."""

    numbers: dict[str, str]
    """Columns that say in which order rows came, where that is not their first one."""

    def read(self, sql: str) -> Iterator[Fields]:
        """Rows piece by piece."""

    def fill(self, table: str, columns: tuple[str, ...], rows: Iterable[Fields]) -> None: ...

    def expect(self, days: Sequence[int]) -> None:
        """Make room for calls that began on these days since the epoch, UTC."""

    def run(self, sql: str) -> None: ...


def move(source: Place, target: Place, progress: Progress) -> Moved:
    """Copy everything into an empty store, compare the two, and verify the copy; it appears whole or not at all.

    Raises MoveError, StoreTroubleError, StoreVersionError, or LedgerInUseError while a gateway uses one of them.
    """
    if isinstance(source, Path) and not source.is_file():
        raise MoveError(f"there is no database at {source}")
    if isinstance(source, Path):
        # Whatever opens a file brings it to this version.
        engines.prepare(source)
    engines.prepare(target)
    try:
        with _side(source) as old, _side(target) as new:
            _must_be_empty(new, target)
            rows = _copy(old, new, progress)
            _compare(old, new)
    except (ValueError, ConflictError) as error:
        raise MoveError(f"a row cannot be kept there: {error}") from error
    found = engines.verify(target)
    if not found.ok:
        said = "; ".join(f"entry {each.seq}: {each.what}" for each in found.problems[:3])
        raise MoveError(f"the copy does not verify (keep the source, and empty the target): {said}")
    return Moved(rows, found.entries, found.digest)


def _must_be_empty(side: _Side, target: Place) -> None:
    for table in _TABLES:
        if next(side.read(f"SELECT 1 FROM {table} LIMIT 1"), None) is not None:  # noqa: S608 - our own names
            raise MoveError(f"{target} is not empty: there are {table} in it")


def _copy(old: _Side, new: _Side, progress: Progress) -> dict[str, int]:
    new.expect([day for (day,) in old.read(_DAYS)])
    counts: dict[str, int] = {}
    for table, columns in _TABLES.items():
        ((total,),) = old.read(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
        order = old.numbers.get(table) or names(columns[:2] if table == "deliveries" else columns[:1])
        rows = old.read(f"SELECT {names(columns)} FROM {table} ORDER BY {order}")  # noqa: S608 - our own names
        new.fill(table, columns, _told(rows, table, total, progress))
        counts[table] = total
    ((changes,),) = old.read("SELECT number FROM changes")
    new.run(f"UPDATE changes SET number = {changes + 1}")  # noqa: S608 - our own number
    return counts


def _told(rows: Iterator[Fields], table: str, total: int, progress: Progress) -> Iterator[Fields]:
    done = 0
    while piece := list(islice(rows, _PIECE)):
        yield from piece
        done += len(piece)
        progress(table, done, total)


def _compare(old: _Side, new: _Side) -> None:
    counts = [f"SELECT count(*) FROM {table}" for table in _TABLES]  # noqa: S608 - our own names
    for sql in (*counts, _SUMS, _COUNTERS, _DIGEST):
        before, after = ([tuple(map(_plain, row)) for row in side.read(sql)] for side in (old, new))
        if before != after:
            raise MoveError(f"the copy differs from the source, nothing was kept of it: {sql}: {before} and {after}")


def _plain(value: Any) -> Any:
    # Sums are decimal numbers in one database and integers in the other.
    return value if isinstance(value, bytes) else int(value)


def _side(place: Place) -> contextlib.AbstractContextManager[_Side]:
    return _server(place) if isinstance(place, PostgresUrl) else _file(place)


class _File:
    def __init__(self, db: sqlite3.Connection) -> None:
        self.numbers = {"keys": "rowid", "requests_in": "number", "feedback": "number"}
        self._db = db

    def read(self, sql: str) -> Iterator[Fields]:
        return iter(self._db.execute(sql))

    def fill(self, table: str, columns: tuple[str, ...], rows: Iterable[Fields]) -> None:
        places = ", ".join("?" * len(columns))
        self._db.executemany(f"INSERT INTO {table} ({names(columns)}) VALUES ({places})", rows)  # noqa: S608 - our own names

    def expect(self, days: Sequence[int]) -> None:
        """A file has room."""

    def run(self, sql: str) -> None:
        self._db.execute(sql)


@contextlib.contextmanager
def _file(path: Path) -> Iterator[_Side]:
    with contextlib.ExitStack() as undo, file_troubles():
        lock = FileLock(path)
        undo.callback(lock.free)
        db = connect(path)
        undo.callback(db.close)
        check_version(db)
        # Nothing is written to a source, but nobody else may write it either.
        db.execute("BEGIN IMMEDIATE")
        if file_retained_from(db):
            raise MoveError(f"months of {path} were dropped, so that nobody could verify a copy of it")
        yield _File(db)
        db.execute("COMMIT")


class _Server:
    def __init__(self, db: Connection) -> None:
        self.numbers = {"keys": "number", "requests_in": "number", "feedback": "number"}
        self._db = db
        self._cursors = 0

    def read(self, sql: str) -> Iterator[Fields]:
        self._cursors += 1
        with self._db.cursor(f"move_{self._cursors}") as cursor:
            cursor.itersize = _PIECE
            yield from cursor.execute(sql)

    def fill(self, table: str, columns: tuple[str, ...], rows: Iterable[Fields]) -> None:
        with self._db.cursor() as cursor, cursor.copy(f"COPY {table} ({names(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def expect(self, days: Sequence[int]) -> None:
        there = partitions(self._db)
        months = {Month.of(day * DAY).year_month for day in days}
        for month in sorted(months):
            made = Month(*month)
            if made.table not in there:
                for statement in made.statements():
                    self._db.execute(statement)

    def run(self, sql: str) -> None:
        self._db.execute(sql)


@contextlib.contextmanager
def _server(place: PostgresUrl) -> Iterator[_Side]:
    keeper = keeper_seat.who(place.url)
    if keeper is not None:
        raise MoveError(f"{place} is in use: its keeper is at {keeper.address or 'an unknown address'}; stop it first")
    with server_troubles(), Connection.open(place.url, _SECONDS) as db, db.transaction():
        db.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        # Before this ends nobody can append, leave a request or a report, note a delivery, or take the keeper's seat.
        # Every statement sees the same, since nobody else writes; one snapshot for all would have been taken too early.
        db.execute(LOCK)
        db.execute("LOCK TABLE requests_in, deliveries, feedback IN SHARE ROW EXCLUSIVE MODE")
        db.execute('SELECT 1 FROM keeper WHERE "only" = 1 FOR UPDATE')
        if retained_from(db):
            raise MoveError(f"months of {place} were dropped, so that nobody could verify a copy of it")
        yield _Server(db)
