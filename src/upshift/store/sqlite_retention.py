"""Which months of calls in an SQLite file are old enough to go, and what stays of them?"""

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from upshift.model.entry import Decision
from upshift.model.span import Instant, Period, Window, period_of, show_instant, to_instant
from upshift.store.group import append_decision, tail_of, troubles
from upshift.store.retained import (
    FIGURES_SAID,
    STILL_CLOSED,
    STILL_OPEN,
    TOPIC,
    Dropped,
    Kept,
    Outcome,
    differing,
)
from upshift.store.schema import connect, prepare
from upshift.store.sqlite_rollup import PIECE, SqliteRollups, roll_up
from upshift.store.totals import DAY, HOUR
from upshift.store.verify import retained_from

_PIECE = 5_000
"""So many calls are deleted in one transaction: the ledger's writer waits for no more than that."""

_TOTALS = ", ".join(f"coalesce(sum({name}), 0)" for name in FIGURES_SAID)
_KEPT = (("facet_days", "day", DAY), ("outline_days", "day", DAY), ("outline_hours", "hour", HOUR))
_SAID = "FROM deeds WHERE kind = 'decision' AND topic = ?"


class FileKeeping:
    """What a file lets be done beside its gateway, again and again."""

    def __init__(self, path: Path, piece: int = PIECE) -> None:
        self._path = path
        self._piece = piece

    def catch_up(self) -> int:
        """Add what is new to the totals; returns how many calls that was. Raises StoreTroubleError."""
        return SqliteRollups(self._path, self._piece).catch_up()

    def retain(self, now: Instant, days: int, by: str = "system") -> Sequence[Outcome]:
        """Drop every whole month (UTC) that ended more than `days` ago, the oldest first; 0 drops nothing.

        A decision says first what a month was; then its calls are deleted piece by piece, and whatever stops that is
        made up for the next time. Raises StoreTroubleError, RetentionError.
        """
        done: list[Outcome] = []
        if days == 0:
            return done
        with troubles():
            prepare(self._path)
            db = connect(self._path)
            try:
                self._delete(db)
                while (month := _oldest(db, done)) is not None and month.end <= now - days * DAY:
                    while roll_up(db, self._piece) is not None:
                        pass
                    done.append(_drop(db, month, now, by))
                    self._delete(db)
            finally:
                db.close()
        return done

    def _delete(self, db: sqlite3.Connection) -> None:
        """Calls of months that were dropped, and what calls held: nothing before `retained_from` is verified again."""
        for subject, last in db.execute(f"SELECT detail ->> '$.subject', id {_SAID}", (TOPIC,)).fetchall():
            year, month = map(int, subject.split("-"))
            start, end = _bounds(year, month)
            _pieces(
                db,
                "calls",
                "seq",
                "started >= ? AND started < ? AND seq <= ?",
                start,
                end,
                int(last.rpartition("/")[2]),
            )
        _pieces(db, "holds", "last_seq", "last_seq <= ?", retained_from(db))
        (first,) = db.execute("SELECT coalesce(min(seq), 0) FROM calls").fetchone()
        _pieces(db, "session_spans", "session", "high < ?", first)
        db.execute("DELETE FROM facet_spans WHERE high < ?", (first,))


def _pieces(db: sqlite3.Connection, table: str, key: str, condition: str, *values: int) -> None:
    some = f"SELECT {key} FROM {table} WHERE {condition} LIMIT {_PIECE}"  # noqa: S608 - our own names
    while db.execute(f"DELETE FROM {table} WHERE {key} IN ({some})", values).rowcount == _PIECE:  # noqa: S608
        pass


def _bounds(year: int, month: int) -> tuple[Instant, Instant]:
    found = period_of(Window.MONTH, "UTC", to_instant(datetime(year, month, 1, tzinfo=UTC)))
    return found.start, found.end


def _oldest(db: sqlite3.Connection, done: Sequence[Outcome]) -> Period | None:
    """The first month that has calls, and was not looked at."""
    after = 0
    for each in done:
        year, month = map(int, each.month.split("-"))
        after = max(after, _bounds(year, month)[1])
    sql = "SELECT min(started) FROM calls WHERE started >= ?" if done else "SELECT min(started) FROM calls"
    (started,) = db.execute(sql, (after,) if done else ()).fetchone()
    return None if started is None else period_of(Window.MONTH, "UTC", started)


def _drop(db: sqlite3.Connection, month: Period, now: Instant, by: str) -> Outcome:
    label, mine = month.label, "started >= ? AND started < ?"
    db.execute("BEGIN")
    try:
        (there,) = db.execute("SELECT coalesce(max(last_seq), 0) FROM groups").fetchone()
        last, calls, cost, unknown, *figures = db.execute(
            f"SELECT coalesce(max(seq), 0), count(*), coalesce(sum(cost), 0), count(*) - count(cost), {_TOTALS} "  # noqa: S608
            f"FROM calls WHERE {mine}",
            (month.start, month.end),
        ).fetchone()
        totals = [calls, cost, unknown, *figures]
        (rolled,) = db.execute("SELECT last_seq FROM rollup_state").fetchone()
        if rolled < last:
            return Kept(label, STILL_CLOSED)
        _compare(db, month, totals)
    finally:
        db.execute("COMMIT")
    db.execute("BEGIN IMMEDIATE")
    try:
        late = "SELECT 1 FROM calls WHERE seq > ? AND +started >= ? AND +started < ? LIMIT 1"
        if db.execute(late, (there, month.start, month.end)).fetchone():
            return Kept(label, STILL_CLOSED)
        through, digest = db.execute(
            "SELECT last_seq, digest FROM groups WHERE last_seq >= ? ORDER BY last_seq LIMIT 1", (last,)
        ).fetchone()
        if tail_of(db).low <= through:
            return Kept(label, STILL_OPEN)
        detail = dict(zip(("calls", "cost", "unknown_cost", *FIGURES_SAID), totals, strict=True))
        told = {**detail, "last_seq": through, "digest": digest.hex(), "kept_from": show_instant(month.end)}
        append_decision(db, Decision(f"{TOPIC}/{label}/{last}", now, TOPIC, "", label, by, told))
        db.execute(
            "UPDATE rollup_state SET kept_from = max(kept_from, ?), dropped = max(dropped, ?)", (month.end, through)
        )
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    return Dropped(label, calls, cost, through, digest.hex())


def _compare(db: sqlite3.Connection, month: Period, totals: Sequence[int]) -> None:
    """Calls that began in a month that was dropped before are in its totals with those before them."""
    names = ("calls", "cost", "unknown_cost", *FIGURES_SAID)
    gone = db.execute(f"SELECT detail {_SAID} AND id LIKE ?", (TOPIC, f"{TOPIC}/{month.label}/%")).fetchall()
    before = [json.loads(detail)["detail"] for (detail,) in gone]
    wanted = [now + sum(int(each[name]) for each in before) for name, now in zip(names, totals, strict=True)]
    for table, unit, length in _KEPT:
        sums = db.execute(
            f"SELECT coalesce(sum(calls), 0), coalesce(sum(cost), 0), coalesce(sum(unknown_cost), 0), {_TOTALS} "  # noqa: S608
            f"FROM {table} WHERE {unit} >= ? AND {unit} < ?",
            (month.start // length, month.end // length),
        ).fetchone()
        if list(sums) != wanted:
            raise differing(month.label)
