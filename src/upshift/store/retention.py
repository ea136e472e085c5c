"""Which months of calls in PostgreSQL are old enough to go, and what stays of them?"""

from collections.abc import Sequence
from typing import Any

import psycopg

from upshift.model.entry import Decision
from upshift.model.span import Instant, show_instant
from upshift.store.backend import StoreTroubleError
from upshift.store.postgres import Connection, troubles
from upshift.store.postgres_decision import append_decision, tail_of
from upshift.store.postgres_groups import LOCK
from upshift.store.postgres_schema import Month, partitions
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
from upshift.store.rollup import Rollups, roll_up
from upshift.store.totals import DAY, HOUR

_SECONDS = 3600.0
_PATIENCE = "500ms"
"""The gateways wait while a month is taken out, so it is given up when somebody reads for longer than that."""
_HOLDS = 5_000
"""So many documents of holds are deleted in one transaction, for the same reason."""

_TOTALS = ", ".join(f"coalesce(sum({name}), 0)" for name in FIGURES_SAID)

_KEPT = (("facet_days", "day", DAY), ("outline_days", "day", DAY), ("outline_hours", "hour", HOUR))


class Keeping:
    """What a database of PostgreSQL lets be done beside its gateways, again and again."""

    def __init__(self, url: str) -> None:
        self._url = url

    def catch_up(self) -> int:
        """Add what is new to the totals; returns how many calls that was. Raises StoreTroubleError."""
        return Rollups(self._url).catch_up()

    def retain(self, now: Instant, days: int, by: str = "system") -> Sequence[Outcome]:
        """Drop every whole month (UTC) that ended so many days ago; what was done. Raises StoreTroubleError."""
        return retain(self._url, now, days, by)


def retain(url: str, now: Instant, days: int, by: str = "system") -> list[Outcome]:
    """Drop every whole month (UTC) that ended more than `days` ago, the oldest first; 0 drops nothing.

    Each in one transaction, with a decision that says what it was. Raises StoreTroubleError, RetentionError.
    """
    done: list[Outcome] = []
    if days == 0:
        return done
    with troubles(), Connection.open(url, _SECONDS) as db:
        for month in _months(db):
            if month.end is None or month.end > now - days * DAY:
                break
            while roll_up(db) is not None:
                pass
            done.append(_drop(db, month, now, by))
        _delete_holds(db)
        for spans in ("facet_spans", "session_spans"):
            db.execute(f"DELETE FROM {spans} WHERE high < (SELECT coalesce(min(seq), 0) FROM calls)")  # noqa: S608
    return done


def retained_from(db: Connection) -> int:
    """Up to which entry a verification cannot recompute digests, since calls up to there were dropped; 0 for none."""
    row = db.execute(
        "SELECT max((detail::json #>> '{detail,last_seq}')::bigint) FROM deeds WHERE kind = 'decision' AND topic = %s",
        (TOPIC,),
    ).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def _months(db: Connection) -> list[Month]:
    return sorted(map(_month, partitions(db)), key=lambda month: month.year_month)


def _month(table: str) -> Month:
    year, month = table.removeprefix("calls_").split("_")
    return Month(int(year), int(month))


def _drop(db: Connection, month: Month, now: Instant, by: str) -> Outcome:
    label = "{:04}-{:02}".format(*month.year_month)
    last, calls, cost, unknown, *figures = _only(
        db, f"SELECT coalesce(max(seq), 0), count(*), coalesce(sum(cost), 0), count(*) - count(cost), {_TOTALS} "  # noqa: S608 - our own names
        f"FROM {month.table}",
    )  # fmt: skip
    totals = [int(each) for each in (calls, cost, unknown, *figures)]
    _compare(db, month, label, totals)
    try:
        with db.transaction():
            db.execute("SELECT set_config('lock_timeout', %s, true)", (_PATIENCE,))
            db.execute(LOCK)
            if _only(db, f"SELECT coalesce(max(seq), 0) FROM {month.table}") != (last,):  # noqa: S608 - our own names
                return Kept(label, STILL_CLOSED)
            through, digest = _group_of(db, last)
            if tail_of(db).low <= through:
                return Kept(label, STILL_OPEN)
            detail = dict(zip(("calls", "cost", "unknown_cost", *FIGURES_SAID), totals, strict=True))
            decision = Decision(
                f"{TOPIC}/{label}/{last}", now, TOPIC, "", label, by,
                {**detail, "last_seq": through, "digest": digest, "kept_from": show_instant(month.end or now)},
            )  # fmt: skip
            if calls:
                append_decision(db, decision)
            db.execute(f"ALTER TABLE calls DETACH PARTITION {month.table}")
            db.execute(f"DROP TABLE {month.table}")
            db.execute("UPDATE rollup_state SET kept_from = greatest(kept_from, %s)", (month.end,))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        return Kept(label, "somebody is reading calls; it is tried again later")
    return Dropped(label, totals[0], totals[1], through, digest)


def _compare(db: Connection, month: Month, label: str, totals: Sequence[int]) -> None:
    """Calls that began in a month that was dropped before are in its totals with those before them."""
    gone = db.execute(
        "SELECT detail::json -> 'detail' FROM deeds WHERE kind = 'decision' AND topic = %s AND id LIKE %s",
        (TOPIC, f"{TOPIC}/{label}/%"),
    ).fetchall()
    before = [sum(int(each[name]) for (each,) in gone) for name in ("calls", "cost", "unknown_cost", *FIGURES_SAID)]
    wanted = [now + then for now, then in zip(totals, before, strict=True)]
    for table, unit, length in _KEPT:
        sums = _only(
            db,
            f"SELECT coalesce(sum(calls), 0), coalesce(sum(cost), 0), coalesce(sum(unknown_cost), 0), {_TOTALS} "  # noqa: S608 - our own names
            f"FROM {table} WHERE {unit} >= %s AND {unit} < %s",
            ((month.start or 0) // length, (month.end or 0) // length),
        )
        if [int(each) for each in sums] != wanted:
            raise differing(label)


def _group_of(db: Connection, seq: int) -> tuple[int, str]:
    row = db.execute(
        "SELECT last_seq, digest FROM groups WHERE last_seq >= %s ORDER BY last_seq LIMIT 1", (seq,)
    ).fetchone()
    return (0, "") if row is None else (row[0], row[1].hex())


def _delete_holds(db: Connection) -> None:
    """What calls held that are long closed is of no more use: nothing before `retained_from` is verified again.

    The trigger that refuses it is put aside inside the transaction, so that nobody else can delete meanwhile.
    """
    last, deleted = retained_from(db), _HOLDS
    while deleted == _HOLDS:
        try:
            with db.transaction():
                db.execute("SELECT set_config('lock_timeout', %s, true)", (_PATIENCE,))
                db.execute("ALTER TABLE holds DISABLE TRIGGER holds_append_only")
                deleted = db.execute(
                    "DELETE FROM holds WHERE last_seq IN "
                    "(SELECT last_seq FROM holds WHERE last_seq <= %s ORDER BY last_seq LIMIT %s)",
                    (last, _HOLDS),
                ).rowcount
                db.execute("ALTER TABLE holds ENABLE TRIGGER holds_append_only")
        except psycopg.errors.LockNotAvailable:
            return


def _only(db: Connection, sql: str, values: Sequence[object] = ()) -> tuple[Any, ...]:
    row = db.execute(sql, values).fetchone()
    if row is None:
        raise StoreTroubleError("a sum has no row")
    return row
