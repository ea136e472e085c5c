"""How does a group of entries reach the disk, with its records, counters and digest, in one transaction?"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from upshift.model.budget import NOTHING, Amount, BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant, Hold, Note, Release, Settle
from upshift.model.metered import Metered
from upshift.store.rows import HOLD, NOTE, RELEASE, SETTLE, Value, common, deed_row, encode, pack, stored
from upshift.store.schema import BUDGET_COLUMNS, CALL_COLUMNS, DEED_COLUMNS, PROFILE_COLUMNS, connect

NO_DIGEST = bytes(32)
_SIZES = (256, 128, 64, 32, 16, 8, 4, 2, 1)
_KEPT_BUDGETS = 200_000
_KEPT_PROFILES = 100_000
"""So many ids at most are kept in memory, before budgets are looked up again and profiles are kept once more."""


class Tail(msgspec.Struct, frozen=True):
    """The end of the log: the last entry, where open holds may begin, and the digest over all groups so far."""

    last_seq: int
    low: int
    digest: bytes


def tail_of(db: sqlite3.Connection) -> Tail:
    """Read inside a transaction, since another process may append decisions between any two of ours."""
    row = db.execute("SELECT last_seq, low, digest FROM groups ORDER BY last_seq DESC LIMIT 1").fetchone()
    return Tail(0, 1, NO_DIGEST) if row is None else Tail(*row)


def group_digest(
    before: bytes,
    first: int,
    last: int,
    low: int,
    budgets: Sequence[Value],
    profiles: Sequence[Value],
    holds: bytes | None,
    calls: Sequence[Value],
    deeds: Sequence[Value],
) -> bytes:
    """SHA-256 of the digest before and the msgpack of the list of all others, rows as stored and one after another."""
    return hashlib.sha256(before + pack((first, last, low, budgets, profiles, holds, calls, deeds))).digest()


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
    db.execute("INSERT INTO groups VALUES (?, ?, ?, ?)", (seq, seq, low, digest))
    db.execute("UPDATE changes SET number = number + 1")
    return True


class _Insert:
    """Inserts rows many at a time: one statement per row would hand the interpreter lock over at every row."""

    def __init__(self, table: str, width: int, conflict: str = "") -> None:
        row = f"({', '.join('?' * width)})"
        self._sql = [
            (size * width, f"INSERT INTO {table} VALUES {', '.join([row] * size)} {conflict}")  # noqa: S608 - own names
            for size in _SIZES
        ]

    def run(self, db: sqlite3.Connection, values: Sequence[Value]) -> None:
        """Insert rows whose values come one after another."""
        at, left = 0, len(values)
        for size, sql in self._sql:
            while left >= size:
                db.execute(sql, values[at : at + size])
                at, left = at + size, left - size


_INSERT_CALLS = _Insert("calls", len(CALL_COLUMNS))
_INSERT_DEEDS = _Insert("deeds", len(DEED_COLUMNS))
_INSERT_BUDGETS = _Insert("budgets", len(BUDGET_COLUMNS))
_INSERT_PROFILES = _Insert("profiles", len(PROFILE_COLUMNS))
_ADD_TO_COUNTERS = _Insert(
    "counters",
    7,
    "ON CONFLICT (budget) DO UPDATE SET settled_tokens = settled_tokens + excluded.settled_tokens, "
    "settled_nano = settled_nano + excluded.settled_nano, held_tokens = held_tokens + excluded.held_tokens, "
    "held_nano = held_nano + excluded.held_nano, granted_tokens = granted_tokens + excluded.granted_tokens, "
    "granted_nano = granted_nano + excluded.granted_nano",
)


class _Draft:
    """A group before it is committed; dropped whole when the transaction fails."""

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        self.seq = tail.last_seq
        self.budgets: list[Value] = []
        self.profiles: list[Value] = []
        self.holds: list[tuple[Value, ...]] = []
        self.calls: list[Value] = []
        self.deeds: list[Value] = []
        self.sums: dict[tuple[int, ...], list[int]] = {}
        """Per set of counters: settled tokens and nano, held tokens and nano, granted tokens and nano to add."""
        self.opened: dict[str, int] = {}
        self.closed: set[str] = set()
        self.asked: list[tuple[int, str]] = []
        self.decided = False

    def sum_of(self, budgets: tuple[int, ...]) -> list[int]:
        found = self.sums.get(budgets)
        if found is None:
            found = self.sums[budgets] = [0, 0, 0, 0, 0, 0]
        return found


class GroupWriter:
    """The one connection that appends calls. Not safe for use by two threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = connect(path, any_thread=True)
        self._budgets: dict[BudgetKey, int] = {}
        self._profiles: dict[tuple[object, ...], tuple[int, tuple[int, ...]]] = {}
        """Ids of a profile and of its budgets. A profile that is not found here is kept once more, which harms none."""
        self._open: dict[str, int] = {}
        self._inbox_version: int | None = None

    @property
    def db(self) -> sqlite3.Connection:
        return self._db

    def close(self) -> None:
        self._db.close()

    def reconnect(self) -> None:
        """Start over with a fresh connection, since one that met an I/O error may not recover."""
        self._db.close()
        self._inbox_version = None
        self._db = connect(self._path, any_thread=True)

    def write(self, entries: Sequence[Entry]) -> None:
        """Append entries as one group; returns when they are on disk.

        Raises sqlite3.Error, ValueError or OverflowError, and then nothing was written.
        """
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            draft = _Draft(tail_of(db))
            for entry in entries:
                draft.seq += 1
                if isinstance(entry, Hold):
                    self._hold(draft, entry)
                elif isinstance(entry, Settle):
                    self._call(draft, SETTLE, entry, entry.keys, entry.amount, entry.held)
                elif isinstance(entry, Release):
                    self._call(draft, RELEASE, entry, entry.keys, NOTHING, entry.held)
                elif isinstance(entry, Note):
                    self._call(draft, NOTE, entry, (), NOTHING, NOTHING)
                else:
                    self._deed(draft, entry)
            self._insert(draft)
            db.execute("COMMIT")
        except BaseException:
            # Some of these ids may not have come into being.
            self._budgets.clear()
            self._profiles.clear()
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self._open.update(draft.opened)
        for request in draft.closed:
            self._open.pop(request, None)
        if len(self._budgets) > _KEPT_BUDGETS:
            self._budgets.clear()
        if len(self._profiles) > _KEPT_PROFILES:
            self._profiles.clear()

    def _hold(self, draft: _Draft, entry: Hold) -> None:
        request, amount, opening = entry.request, entry.amount, entry.opening
        if request in draft.closed:
            raise sqlite3.IntegrityError("a request was closed before")
        extends = request in self._open or request in draft.opened
        if not extends:
            draft.opened[request] = draft.seq
        if opening is None:
            opening = Metered(request=request, started=entry.at, plan=entry.plan)
        elif opening.plan != entry.plan:
            opening = msgspec.structs.replace(opening, plan=entry.plan)
        profile, budgets = self._profile(draft, HOLD, entry.keys, opening)
        tokens, nano = amount.tokens, amount.nano
        draft.holds.append(
            (draft.seq, request, profile, entry.at, extends, tokens, nano, opening.started, opening.session)
        )
        sums = draft.sum_of(budgets)
        sums[2] += tokens
        sums[3] += nano

    def _call(
        self,
        draft: _Draft,
        kind: str,
        entry: Settle | Release | Note,
        keys: tuple[BudgetKey, ...],
        spent: Amount,
        held: Amount,
    ) -> None:
        record, request = entry.record, entry.request
        draft.closed.add(request)
        profile, budgets = self._profile(draft, kind, keys, record)
        usage = record.usage
        draft.calls += (
            draft.seq, request, profile, record.started, entry.at, record.session, record.upstream_id, usage.input,
            usage.cached, usage.cache_write_5m, usage.cache_write_1h, usage.output, usage.reasoning, record.cost,
            spent.nano, spent.tokens, held.tokens, held.nano, record.latency_us, record.first_byte_us,
            record.overhead_us,
        )  # fmt: skip
        sums = draft.sum_of(budgets)
        sums[0] += spent.tokens
        sums[1] += spent.nano
        sums[2] -= held.tokens
        sums[3] -= held.nano

    def _deed(self, draft: _Draft, entry: Adjust | Grant | Alert | Decision) -> None:
        if isinstance(entry, Decision):
            keys: tuple[BudgetKey, ...] = ()
            draft.decided = True
        elif isinstance(entry, Alert):
            keys = (entry.key,)
        else:
            keys = entry.keys
            draft.asked.append((draft.seq, entry.id))
        budgets = tuple(self._budget(draft, key) for key in keys)
        draft.deeds += deed_row(draft.seq, entry, encode(budgets).decode())
        if isinstance(entry, Adjust | Grant):
            sums, at = draft.sum_of(budgets), 0 if isinstance(entry, Adjust) else 4
            sums[at] += entry.amount.tokens
            sums[at + 1] += entry.amount.nano

    def _profile(
        self, draft: _Draft, kind: str, keys: tuple[BudgetKey, ...], record: Metered
    ) -> tuple[int, tuple[int, ...]]:
        """Ids of the profile and of its budgets."""
        shared = common(record)
        name = (kind, keys, shared)
        found = self._profiles.get(name)
        if found is None:
            largest = self._db.execute("SELECT coalesce(max(id), 0) FROM profiles").fetchone()[0]
            fresh = int(largest) + len(draft.profiles) // len(PROFILE_COLUMNS) + 1
            budgets = tuple(self._budget(draft, key) for key in keys)
            draft.profiles += (fresh, draft.tail.last_seq + 1, kind, encode(budgets).decode(), *map(stored, shared))
            found = self._profiles[name] = fresh, budgets
        return found

    def _budget(self, draft: _Draft, key: BudgetKey) -> int:
        known = self._budgets.get(key)
        if known is not None:
            return known
        name = (key.tenant, key.user, key.workload, key.bucket.value, key.window, key.period)
        row = self._db.execute(FIND_BUDGET, name).fetchone()
        if row is None:
            largest = self._db.execute("SELECT coalesce(max(id), 0) FROM budgets").fetchone()[0]
            found = int(largest) + len(draft.budgets) // len(BUDGET_COLUMNS) + 1
            draft.budgets += (found, draft.tail.last_seq + 1, *name)
        else:
            found = int(row[0])
        self._budgets[key] = found
        return found

    def _insert(self, draft: _Draft) -> None:
        db, tail, first, last = self._db, draft.tail, draft.tail.last_seq + 1, draft.seq
        low = next(self._still_open(draft), last + 1)
        holds = pack(draft.holds) if draft.holds else None
        digest = group_digest(
            tail.digest, first, last, low, draft.budgets, draft.profiles, holds, draft.calls, draft.deeds
        )
        if draft.opened and db.execute(_CLOSED_BEFORE, (encode(list(draft.opened)),)).fetchone():
            raise sqlite3.IntegrityError("a request was closed before")
        _INSERT_BUDGETS.run(db, draft.budgets)
        _INSERT_PROFILES.run(db, draft.profiles)
        if holds is not None:
            db.execute("INSERT INTO holds VALUES (?, ?)", (last, holds))
        _INSERT_CALLS.run(db, draft.calls)
        _INSERT_DEEDS.run(db, draft.deeds)
        _ADD_TO_COUNTERS.run(db, _counters(draft.sums))
        db.execute("INSERT INTO groups VALUES (?, ?, ?, ?)", (last, first, low, digest))
        for seq, id_ in draft.asked:
            db.execute("UPDATE requests_in SET taken = ? WHERE id = ?", (seq, id_))
        if draft.decided:
            db.execute("UPDATE changes SET number = number + 1")

    def _still_open(self, draft: _Draft) -> Iterator[int]:
        # Both are in the order of seq, and what this group opened comes after what was open before.
        for opened in (self._open, draft.opened):
            for request, seq in opened.items():
                if request not in draft.closed:
                    yield seq

    def refused(self, entries: Sequence[Entry]) -> list[int]:
        """Positions of entries that happened before: a request opened or closed already, a known id."""
        closed: set[str] = set()
        done: set[str] = set()
        found: list[int] = []
        for position, entry in enumerate(entries):
            if isinstance(entry, Adjust | Grant | Alert | Decision):
                known = entry.id in done or self._finds(KNOWN_DEED, entry.id)
                done.add(entry.id)
            else:
                known = entry.request in closed or self._finds(KNOWN_CALL, entry.request)
                if not isinstance(entry, Hold):
                    closed.add(entry.request)
            if known:
                found.append(position)
        return found

    def _finds(self, sql: str, id_: str) -> bool:
        return self._db.execute(sql, (id_,)).fetchone() is not None

    def inbox(self) -> list[Adjust | Grant]:
        """What other processes asked for and no entry answers yet; cheap when nobody wrote since the last look."""
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


def _counters(sums: dict[tuple[int, ...], list[int]]) -> list[Value]:
    """One row per counter: what all the entries of a group together add to it."""
    totals: dict[int, list[int]] = {}
    for budgets, sum_ in sums.items():
        for budget in budgets:
            total = totals.get(budget)
            totals[budget] = sum_ if total is None else [a + b for a, b in zip(total, sum_, strict=True)]
    return [value for budget, total in totals.items() for value in (budget, *total)]


KNOWN_CALL = "SELECT 1 FROM calls WHERE request = ?"
KNOWN_DEED = "SELECT 1 FROM deeds WHERE id = ?"
_CLOSED_BEFORE = "SELECT 1 FROM json_each(?) AS opened CROSS JOIN calls ON calls.request = opened.value LIMIT 1"

FIND_BUDGET = (
    "SELECT id FROM budgets WHERE tenant = ? AND user = ? AND workload = ? AND bucket = ? AND window = ? AND period = ?"
)

decode_asked = msgspec.json.Decoder(Adjust | Grant).decode
