"""How does a group of entries reach an SQLite file, with its records, counters and digest, in one transaction?"""

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from upshift.model.budget import BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant
from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.store.backend import StoreTroubleError
from upshift.store.draft import START, ConflictError, Draft, Drafter, Tail, group_digest
from upshift.store.rows import (
    Held,
    Value,
    budget_ids,
    decode_asked,
    deed_row,
    encode,
    held_from,
    key_from,
    opening_from,
    repeated,
)
from upshift.store.schema import (
    BUDGET_COLUMNS,
    CALL_COLUMNS,
    COUNTER_COLUMNS,
    DEED_COLUMNS,
    GROUP_COLUMNS,
    PROFILE_COLUMNS,
    connect,
)

_SIZES = (256, 128, 64, *range(32, 0, -1))
"""Rows that one statement inserts; most groups have few, so they need only one per table."""

KNOWN_CALL = "SELECT 1 FROM calls WHERE request = ?"
OUTCOME = "SELECT outcome FROM calls JOIN profiles ON profiles.id = calls.profile WHERE request = ?"
KNOWN_DEED = "SELECT 1 FROM deeds WHERE id = ?"
_INSERT_HOLDS = (
    "INSERT INTO holds (last_seq, document) SELECT ?, ? WHERE NOT EXISTS "
    "(SELECT 1 FROM json_each(?) AS opened CROSS JOIN calls ON calls.request = opened.value)"
)
"""Nothing is inserted when one of the requests was closed before."""

FIND_BUDGET = (
    "SELECT id FROM budgets WHERE tenant = ? AND user = ? AND workload = ? AND bucket = ? AND window = ? AND period = ?"
)
_BUDGET = f"SELECT {', '.join(BUDGET_COLUMNS[2:])} FROM budgets WHERE id = ?"  # noqa: S608 - our own names
_PROFILE = f"SELECT {', '.join(PROFILE_COLUMNS)} FROM profiles WHERE id = ?"  # noqa: S608 - our own names


@contextmanager
def troubles() -> Iterator[None]:
    """Says in the store's words what SQLite complains of."""
    try:
        yield
    except sqlite3.Error as error:
        raise _in_our_words(error) from error


def _in_our_words(error: sqlite3.Error) -> ConflictError | StoreTroubleError:
    return (ConflictError if isinstance(error, sqlite3.IntegrityError) else StoreTroubleError)(str(error))


def tail_of(db: sqlite3.Connection) -> Tail:
    """Read inside a transaction, since another process may append decisions between any two of ours."""
    row = db.execute("SELECT last_seq, low, digest FROM groups ORDER BY last_seq DESC LIMIT 1").fetchone()
    return START if row is None else Tail(*row)


def append_decision(db: sqlite3.Connection, decision: Decision) -> bool:
    """Append one decision as a group of its own, inside the caller's transaction; False when its id is known."""
    if db.execute(KNOWN_DEED, (decision.id,)).fetchone():
        return False
    tail = tail_of(db)
    seq = tail.last_seq + 1
    row = deed_row(seq, decision, "[]")
    low = seq + 1 if tail.low > tail.last_seq else tail.low
    _INSERT_DEEDS.run(db, row)
    digest = group_digest(tail.digest, seq, seq, low, (), (), None, (), row)
    db.execute(_INSERT_GROUP, (seq, seq, low, digest))
    db.execute("UPDATE changes SET number = number + 1")
    return True


class _Insert:
    """Inserts rows many at a time: every statement hands the interpreter lock over, and more than once."""

    def __init__(self, table: str, columns: Sequence[str], conflict: str = "") -> None:
        width, row = len(columns), f"({', '.join('?' * len(columns))})"
        into = f"{table} ({', '.join(columns)})"
        self._sql = {
            size * width: f"INSERT INTO {into} VALUES {', '.join([row] * size)} {conflict}"  # noqa: S608 - own names
            for size in _SIZES
        }
        """By the number of values, the most first."""

    def run(self, db: sqlite3.Connection, values: Sequence[Value]) -> None:
        """Insert rows whose values come one after another."""
        at, left = 0, len(values)
        while left:
            size = left if left in self._sql else next(each for each in self._sql if each <= left)
            db.execute(self._sql[size], values[at : at + size])
            at, left = at + size, left - size


_INSERT_CALLS = _Insert("calls", CALL_COLUMNS)
_INSERT_DEEDS = _Insert("deeds", DEED_COLUMNS)
_INSERT_BUDGETS = _Insert("budgets", BUDGET_COLUMNS)
_INSERT_PROFILES = _Insert("profiles", PROFILE_COLUMNS)
_INSERT_GROUP = f"INSERT INTO groups ({', '.join(GROUP_COLUMNS)}) VALUES (?, ?, ?, ?)"  # noqa: S608 - our own names
_ADD_TO_COUNTERS = _Insert(
    "counters",
    COUNTER_COLUMNS,
    "ON CONFLICT (budget) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTER_COLUMNS[1:]),
)


class GroupWriter:
    """The `Groups` of an SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = connect(path, any_thread=True)
        self._drafter = Drafter(self._find_budget, self._largest)
        self._inbox_version: int | None = None
        self._durable = True

    @property
    def db(self) -> sqlite3.Connection:
        return self._db

    def close(self) -> None:
        self._db.close()

    def reconnect(self) -> None:
        """One that met an I/O error may not recover."""
        self._inbox_version, self._durable = None, True
        with troubles():
            self._db.close()
            self._db = connect(self._path, any_thread=True)

    def write(self, entries: Sequence[Entry], *, durable: bool = True) -> None:
        # Not `troubles`, since this is done for every group.
        try:
            if durable is not self._durable:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._write(entries)
        except sqlite3.Error as error:
            raise _in_our_words(error) from error

    def sync(self) -> None:
        try:
            file = os.open(f"{self._path}-wal", os.O_RDWR)
            try:
                os.fdatasync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise StoreTroubleError(f"{self._path}-wal: {error.strerror}") from error

    def _write(self, entries: Sequence[Entry]) -> None:
        db, drafter = self._db, self._drafter
        db.execute("BEGIN IMMEDIATE")
        try:
            draft = drafter.draft(tail_of(db), entries)
            self._insert(draft)
            db.execute("COMMIT")
        except BaseException:
            drafter.drop()
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        drafter.keep(draft)

    def _find_budget(self, key: BudgetKey) -> int | None:
        name = (key.tenant, key.user, key.workload, key.bucket.value, key.window, key.period)
        row = self._db.execute(FIND_BUDGET, name).fetchone()
        return None if row is None else int(row[0])

    def _largest(self, table: str) -> int:
        return int(self._db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])  # noqa: S608 - our own names

    def _insert(self, draft: Draft) -> None:
        db = self._db
        _INSERT_BUDGETS.run(db, draft.budgets)
        _INSERT_PROFILES.run(db, draft.profiles)
        if draft.document is not None:
            # Of those that this group closes as well, `calls_once` says so.
            opened = encode(draft.still_open())
            if db.execute(_INSERT_HOLDS, (draft.last, draft.document, opened)).rowcount != 1:
                raise ConflictError("a request was closed before")
        _INSERT_CALLS.run(db, draft.calls)
        _INSERT_DEEDS.run(db, draft.deeds)
        _ADD_TO_COUNTERS.run(db, draft.counters())
        db.execute(_INSERT_GROUP, (draft.last, draft.first, draft.low, draft.digest))
        for seq, id_ in draft.asked:
            db.execute("UPDATE requests_in SET taken = ? WHERE id = ?", (seq, id_))
        if draft.decided:
            db.execute("UPDATE changes SET number = number + 1")

    def refused(self, entries: Sequence[Entry]) -> list[int]:
        deeds = {entry.id for entry in entries if isinstance(entry, Adjust | Grant | Alert | Decision)}
        requests = {entry.request for entry in entries if not isinstance(entry, Adjust | Grant | Alert | Decision)}
        with troubles():
            closed = {request for request in requests if self._finds(KNOWN_CALL, request)}
            return repeated(entries, closed, {id_ for id_ in deeds if self._finds(KNOWN_DEED, id_)})

    def _finds(self, sql: str, id_: str) -> bool:
        return self._db.execute(sql, (id_,)).fetchone() is not None

    def inbox(self) -> list[Adjust | Grant]:
        """Cheap when nobody wrote since the last look."""
        with troubles():
            version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
            if version == self._inbox_version:
                return []
            rows = self._db.execute(
                "SELECT document FROM requests_in WHERE taken IS NULL AND NOT EXISTS "
                "(SELECT 1 FROM deeds WHERE deeds.id = requests_in.id) ORDER BY number"
            ).fetchall()
        # Looked at again while anything is unanswered, since whoever was told may have failed to answer.
        self._inbox_version = None if rows else version
        return [decode_asked(document) for (document,) in rows]

    # What a start reads

    def tail(self) -> Tail:
        with troubles():
            return tail_of(self._db)

    def held_since(self, low: int) -> Iterator[Held]:
        with troubles():
            for (document,) in self._db.execute(
                "SELECT document FROM holds WHERE last_seq >= ? ORDER BY last_seq", (low,)
            ):
                yield from (held for held in held_from(document) if held.seq >= low)

    def closed_since(self, low: int) -> Iterator[tuple[int, str]]:
        with troubles():
            yield from self._db.execute("SELECT seq, request FROM calls WHERE seq >= ? ORDER BY seq", (low,))

    def openings(self, held: Sequence[Held]) -> Sequence[tuple[tuple[BudgetKey, ...], Metered]]:
        with troubles():
            return [self._opening(each) for each in held]

    def _opening(self, held: Held) -> tuple[tuple[BudgetKey, ...], Metered]:
        profile = self._db.execute(_PROFILE, (held.profile,)).fetchone()
        keys = tuple(map(self._key, budget_ids(profile[PROFILE_COLUMNS.index("keys")])))
        return keys, opening_from(held, profile)

    def _key(self, budget: int) -> BudgetKey:
        return key_from(self._db.execute(_BUDGET, (budget,)).fetchone())

    def resume(self, opened: Mapping[RequestId, int]) -> None:
        self._drafter.resume(opened)
