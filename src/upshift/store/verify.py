"""Is the ledger on disk sound: nothing lost, changed, counted twice or left out?"""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from upshift.model.budget import EMPTY, Amount, Balance
from upshift.model.fold import fold
from upshift.store.group import NO_DIGEST, group_digest
from upshift.store.reports import COLUMNS
from upshift.store.rows import Row, budget_ids, row_effect
from upshift.store.schema import CALL_COLUMNS, ENTRY_COLUMNS, check_version

_SHOWN = 100
_REQUEST = CALL_COLUMNS.index("request") + 1
_COUNTED = CALL_COLUMNS.index("counted") + 1
_COUNTED_TOKENS = CALL_COLUMNS.index("counted_tokens") + 1
_CLOSING = ("settle", "release", "note")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, at which entry (0: in the file as a whole)."""

    seq: int
    what: str


class Verification(msgspec.Struct, frozen=True):
    """What was read and what was wrong with it; at most the first hundred problems are kept.

    `digest` (hex) stands for everything up to the last entry: compare it with one that was noted elsewhere to learn
    whether the end was cut off.
    """

    ok: bool
    entries: int
    calls: int
    groups: int
    open_holds: int
    digest: str
    problems: tuple[Problem, ...]


def verify(path: Path) -> Verification:
    """Read the whole file as of now, a group at a time; a gateway may go on writing meanwhile.

    Raises sqlite3.Error when the file cannot be read and StoreVersionError when it is not ours.
    """
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        check_version(db)
        db.execute("BEGIN")
        return _Check(db).run()
    finally:
        db.close()


class _Stream:
    """Rows in the order of their first column, taken piece by piece."""

    def __init__(self, db: sqlite3.Connection, sql: str) -> None:
        self._rows: Iterator[Row] = iter(db.execute(sql))
        self._next = next(self._rows, None)

    def until(self, last: int) -> list[Row]:
        """The rows up to `last`."""
        found: list[Row] = []
        while self._next is not None and _seq(self._next) <= last:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def beyond(self) -> Iterator[Row]:
        """All that is left."""
        while self._next is not None:
            yield self._next
            self._next = next(self._rows, None)


class _Check:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._problems: list[Problem] = []
        self._balances: dict[int, Balance] = {}
        self._entries = 0
        self._calls = 0
        self._groups = 0
        self._digest = NO_DIGEST
        self._entry_stream = _Stream(db, f"SELECT {', '.join(ENTRY_COLUMNS)} FROM entries ORDER BY seq")  # noqa: S608
        self._call_stream = _Stream(db, f"SELECT seq, {COLUMNS} FROM calls ORDER BY seq")  # noqa: S608
        self._budget_stream = _Stream(
            db, "SELECT since, id, tenant, user, workload, bucket, window, period FROM budgets ORDER BY since, id"
        )

    def run(self) -> Verification:
        last = 0
        for first, last_of_group, low, digest in self._db.execute(
            "SELECT first_seq, last_seq, low, digest FROM groups ORDER BY last_seq"
        ):
            if first != last + 1:
                self._say(first, f"the group before it ends at entry {last}")
            self._group(first, last_of_group, low, digest)
            last = last_of_group
        for name, stream in (
            ("entry", self._entry_stream),
            ("call", self._call_stream),
            ("budget", self._budget_stream),
        ):
            for row in stream.beyond():
                self._say(_seq(row), f"{name} that no group covers")
        self._requests()
        self._counters()
        return Verification(
            ok=not self._problems,
            entries=self._entries,
            calls=self._calls,
            groups=self._groups,
            open_holds=self._open_holds(),
            digest=self._digest.hex(),
            problems=tuple(self._problems),
        )

    def _say(self, seq: int, what: str) -> None:
        if len(self._problems) < _SHOWN:
            self._problems.append(Problem(seq, what))

    def _group(self, first: int, last: int, low: int, digest: bytes) -> None:
        entries = self._entry_stream.until(last)
        calls = self._call_stream.until(last)
        budgets = [(row[1], row[0], *row[2:]) for row in self._budget_stream.until(last)]
        self._groups += 1
        self._entries += len(entries)
        self._calls += len(calls)
        if [_seq(row) for row in entries] != list(range(first, last + 1)):
            self._say(first, f"entries {first} to {last} of one group are not all there")
        found = group_digest(self._digest, first, last, low, budgets, entries, calls)
        if found != digest:
            self._say(first, f"entries {first} to {last} are not what was written (the digest differs)")
        # Go on from what the file says, so that one change is one problem and not one per later group.
        self._digest = digest
        by_seq = {_seq(row): row for row in calls}
        for row in entries:
            self._entry(row, by_seq.pop(_seq(row), None))
        for seq in by_seq:
            self._say(seq, "a call's record without the entry that closes it")

    def _entry(self, row: Row, call: Row | None) -> None:
        _, kind, id_, _, _, _, _, keys, tokens, nano, held_tokens, held_nano, _ = row
        if not (isinstance(tokens, int) and isinstance(nano, int)):
            self._say(_seq(row), "an amount is not a number")
            return
        if not (isinstance(held_tokens, int) and isinstance(held_nano, int)):
            self._say(_seq(row), "a held amount is not a number")
            return
        effect = row_effect(str(kind), tokens, nano, held_tokens, held_nano)
        for budget in budget_ids(str(keys)):
            self._balances[budget] = fold(self._balances.get(budget, EMPTY), effect)
        if kind in _CLOSING:
            if call is None:
                self._say(_seq(row), f"{kind} of {id_} without its call's record")
            elif call[_REQUEST] != id_:
                self._say(_seq(row), f"{kind} of {id_} has the record of {call[_REQUEST]}")
            elif (call[_COUNTED_TOKENS], call[_COUNTED]) != (tokens, nano):
                self._say(_seq(row), f"{kind} of {id_} and its call's record count different amounts")
        elif call is not None:
            self._say(_seq(row), f"{kind} has a call's record")

    def _requests(self) -> None:
        checks = (
            (
                "was closed more than once",
                "SELECT max(seq), id FROM entries WHERE turn = 1 GROUP BY id HAVING count(*) > 1",
            ),
            (
                "was opened more than once",
                "SELECT max(seq), id FROM entries WHERE kind = 'hold' GROUP BY id HAVING count(*) > 1",
            ),
            (
                "was closed without a hold before it",
                "SELECT seq, id FROM entries AS c WHERE kind IN ('settle', 'release') AND NOT EXISTS "
                "(SELECT 1 FROM entries AS h WHERE h.id = c.id AND h.turn = 0 AND h.seq < c.seq)",
            ),
            (
                "returned another amount than was held",
                "SELECT seq, id FROM entries AS c WHERE kind IN ('settle', 'release') AND "
                "(SELECT sum(tokens) || '/' || sum(nano) FROM entries AS h WHERE h.id = c.id AND h.kind IN "
                "('hold', 'extend') AND h.seq < c.seq) <> held_tokens || '/' || held_nano",
            ),
            (
                "held after it was closed",
                "SELECT h.seq, h.id FROM entries AS c JOIN entries AS h ON h.id = c.id AND h.seq > c.seq "
                "AND h.kind IN ('hold', 'extend') WHERE c.turn = 1",
            ),
        )
        for what, sql in checks:
            for seq, id_ in self._db.execute(sql).fetchmany(_SHOWN):
                self._say(seq, f"request {id_} {what}")

    def _open_holds(self) -> int:
        row = self._db.execute(
            "SELECT count(*) FROM entries AS h WHERE turn = 0 AND NOT EXISTS "
            "(SELECT 1 FROM entries AS c WHERE c.id = h.id AND c.turn = 1)"
        ).fetchone()
        return int(row[0])

    def _counters(self) -> None:
        for budget, *figures in self._db.execute("SELECT * FROM counters ORDER BY budget"):
            stored = Balance(Amount(*figures[0:2]), Amount(*figures[2:4]), Amount(*figures[4:6]))
            replayed = self._balances.pop(budget, EMPTY)
            if stored != replayed:
                self._say(0, f"counter {budget} says {_show(stored)}, its entries say {_show(replayed)}")
        for budget, balance in self._balances.items():
            if balance != EMPTY:
                self._say(0, f"counter {budget} is missing; its entries say {_show(balance)}")


def _seq(row: Sequence[object]) -> int:
    return row[0] if isinstance(row[0], int) else 0


def _show(balance: Balance) -> str:
    return ", ".join(
        f"{name} {amount.tokens} tokens and {amount.nano} nano-dollars"
        for name, amount in (("settled", balance.settled), ("held", balance.held), ("granted", balance.granted))
    )
