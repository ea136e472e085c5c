"""How does a group of entries reach the disk, with its records, counters and digest, in one transaction?"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from upshift.model.budget import EMPTY, Balance, BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant, Hold, Note, Release, Settle
from upshift.model.fold import NO_EFFECT, Effect, effect_of, fold
from upshift.model.ids import RequestId
from upshift.store.rows import CLOSES, ONCE, OPENS, Row, call_row, encode, entry_row, flat
from upshift.store.schema import CALL_COLUMNS, ENTRY_COLUMNS, connect

NO_DIGEST = bytes(32)
_SIZES = (256, 64, 16, 4, 1)
_REMEMBERED = 200_000
"""Budget names whose ids are kept in memory, before they are looked up again."""


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
    budgets: Sequence[Row],
    entries: Sequence[Row],
    calls: Sequence[Row],
) -> bytes:
    """SHA-256 of the digest before and the JSON of [first, last, low, budgets, entries, calls], rows as stored."""
    return hashlib.sha256(before + encode([first, last, low, budgets, entries, calls])).digest()


def append_decision(db: sqlite3.Connection, decision: Decision) -> bool:
    """Append one decision as a group of its own, inside the caller's transaction; False when its id is known."""
    if db.execute("SELECT 1 FROM entries WHERE id = ? AND turn = ?", (decision.id, ONCE)).fetchone():
        return False
    tail = tail_of(db)
    seq = tail.last_seq + 1
    row = entry_row(seq, decision, "[]", extends=False)
    low = seq + 1 if tail.low > tail.last_seq else tail.low
    _INSERT_ENTRIES.run(db, [row])
    digest = group_digest(tail.digest, seq, seq, low, [], [row], [])
    db.execute("INSERT INTO groups VALUES (?, ?, ?, ?)", (seq, seq, low, digest))
    db.execute("UPDATE changes SET number = number + 1")
    return True


class _Insert:
    """Inserts rows many at a time: one statement per row would hand the interpreter lock over at every row."""

    def __init__(self, table: str, width: int, conflict: str = "") -> None:
        row = f"({', '.join('?' * width)})"
        self._sql = {
            size: f"INSERT INTO {table} VALUES {', '.join([row] * size)} {conflict}"  # noqa: S608 - own names
            for size in _SIZES
        }

    def run(self, db: sqlite3.Connection, rows: Sequence[Row]) -> None:
        at, left = 0, len(rows)
        for size in _SIZES:
            while left >= size:
                db.execute(self._sql[size], flat(rows[at : at + size]))
                at, left = at + size, left - size


_INSERT_ENTRIES = _Insert("entries", len(ENTRY_COLUMNS))
_INSERT_CALLS = _Insert("calls", len(CALL_COLUMNS) + 1)
_INSERT_BUDGETS = _Insert("budgets", 8)
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
        self.new_budgets: dict[BudgetKey, int] = {}
        self.budgets: list[Row] = []
        self.entries: list[Row] = []
        self.calls: list[Row] = []
        self.effects: list[tuple[tuple[int, ...], Effect]] = []
        self.opened: dict[str, int] = {}
        self.closed: set[str] = set()
        self.asked: list[tuple[int, str]] = []
        self.decided = False


class GroupWriter:
    """The one connection that appends calls. Not safe for use by two threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = connect(path, any_thread=True)
        self._ids: dict[BudgetKey, int] = {}
        self._keysets: dict[tuple[BudgetKey, ...], tuple[str, tuple[int, ...]]] = {}
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
                self._add(draft, entry)
            self._insert(draft)
            db.execute("COMMIT")
        except BaseException:
            self._keysets.clear()
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self._ids.update(draft.new_budgets)
        for request, seq in draft.opened.items():
            self._open[request] = seq
        for request in draft.closed:
            self._open.pop(request, None)
        if len(self._ids) > _REMEMBERED or len(self._keysets) > _REMEMBERED:
            self._ids.clear()
            self._keysets.clear()

    def _add(self, draft: _Draft, entry: Entry) -> None:
        draft.seq = seq = draft.seq + 1
        extends = False
        match entry:
            case Hold():
                extends = entry.request in self._open or entry.request in draft.opened
                if not extends:
                    draft.opened[entry.request] = seq
                keys = entry.keys
            case Settle() | Release():
                draft.closed.add(entry.request)
                draft.calls.append(call_row(seq, entry.record))
                keys = entry.keys
            case Note():
                draft.calls.append(call_row(seq, entry.record))
                keys = ()
            case Adjust() | Grant():
                draft.asked.append((seq, entry.id))
                keys = entry.keys
            case Alert():
                keys = (entry.key,)
            case Decision():
                draft.decided = True
                keys = ()
        text, ids = self._keysets.get(keys) or self._keyset(draft, keys)
        draft.entries.append(entry_row(seq, entry, text, extends))
        effect = effect_of(entry)
        if effect is NO_EFFECT:
            return
        draft.effects.append((ids, effect))

    def _keyset(self, draft: _Draft, keys: tuple[BudgetKey, ...]) -> tuple[str, tuple[int, ...]]:
        ids = tuple(self._budget_id(draft, key) for key in keys)
        found = self._keysets[keys] = (encode(ids).decode(), ids)
        return found

    def _budget_id(self, draft: _Draft, key: BudgetKey) -> int:
        known = self._ids.get(key) or draft.new_budgets.get(key)
        if known is not None:
            return known
        name = (key.tenant, key.user, key.workload, key.bucket.value, key.window, key.period)
        row = self._db.execute(FIND_BUDGET, name).fetchone()
        if row is not None:
            found = self._ids[key] = int(row[0])
            return found
        largest = self._db.execute("SELECT coalesce(max(id), 0) FROM budgets").fetchone()[0]
        fresh = int(largest) + len(draft.new_budgets) + 1
        draft.new_budgets[key] = fresh
        draft.budgets.append((fresh, draft.tail.last_seq + 1, *name))
        return fresh

    def _insert(self, draft: _Draft) -> None:
        db, tail, first, last = self._db, draft.tail, draft.tail.last_seq + 1, draft.seq
        low = next(self._still_open(draft), last + 1)
        digest = group_digest(tail.digest, first, last, low, draft.budgets, draft.entries, draft.calls)
        _INSERT_BUDGETS.run(db, draft.budgets)
        _INSERT_ENTRIES.run(db, draft.entries)
        _INSERT_CALLS.run(db, draft.calls)
        _ADD_TO_COUNTERS.run(db, _deltas(draft.effects))
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
        seen: set[tuple[str, int]] = set()
        found: list[int] = []
        for position, entry in enumerate(entries):
            match entry:
                case Hold():
                    id_, turn = entry.request, OPENS
                    if id_ in self._open or (id_, OPENS) in seen:
                        continue
                case Settle() | Release() | Note():
                    id_, turn = entry.request, CLOSES
                case _:
                    id_, turn = RequestId(entry.id), ONCE
            known = self._db.execute("SELECT 1 FROM entries WHERE id = ? AND turn = ?", (id_, turn)).fetchone()
            if known is not None or (id_, turn) in seen:
                found.append(position)
            seen.add((id_, turn))
        return found

    def inbox(self) -> list[Adjust | Grant]:
        """What other processes asked for and no entry answers yet; cheap when nobody wrote since the last look."""
        version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        if version == self._inbox_version:
            return []
        rows = self._db.execute(
            "SELECT document FROM requests_in WHERE taken IS NULL AND NOT EXISTS "
            "(SELECT 1 FROM entries WHERE entries.id = requests_in.id AND turn = 2) ORDER BY number"
        ).fetchall()
        # Looked at again while anything is unanswered, since whoever was told may have failed to answer.
        self._inbox_version = None if rows else version
        return [decode_asked(document) for (document,) in rows]


def _deltas(effects: Sequence[tuple[tuple[int, ...], Effect]]) -> list[Row]:
    """One row per counter: what all the effects together add to it."""
    # Calls of one scope come in bunches, so scopes are added up first and their counters after.
    scopes: dict[tuple[int, ...], Balance] = {}
    for ids, effect in effects:
        scopes[ids] = fold(scopes.get(ids, EMPTY), effect)
    totals: dict[int, Balance] = {}
    for ids, sum_ in scopes.items():
        for budget in ids:
            known = totals.get(budget)
            totals[budget] = sum_ if known is None else fold(known, Effect(sum_.settled, sum_.held, sum_.granted))
    return [
        (
            budget,
            total.settled.tokens,
            total.settled.nano,
            total.held.tokens,
            total.held.nano,
            total.granted.tokens,
            total.granted.nano,
        )
        for budget, total in totals.items()
    ]


FIND_BUDGET = (
    "SELECT id FROM budgets WHERE tenant = ? AND user = ? AND workload = ? AND bucket = ? AND window = ? AND period = ?"
)

decode_asked = msgspec.json.Decoder(Adjust | Grant).decode
