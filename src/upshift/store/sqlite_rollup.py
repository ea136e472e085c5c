"""How do totals by hour and day keep up with the ledger in an SQLite file, without holding up who writes it?"""

import hashlib
import math
import sqlite3
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from upshift.store.group import troubles
from upshift.store.rows import pack
from upshift.store.schema import FACET, FIGURES, OUTLINE, SUMS, connect
from upshift.store.spans import FEW, MORE_OF_FACET
from upshift.store.totals import BUCKETS, HOUR, PER_OCTAVE, month_of

PIECE = 20_000
"""So many entries at most are summed up in one transaction: the ledger's writer waits for no more than that."""

# The counts of all buckets are one number, 48 bits for each, written from the lowest bucket that has any: "160:1f".
# SQLite does not add such numbers; it puts those of many rows one after another, which this process reads in one step.
# A function of ours in its statements would take and give up the interpreter at each row. "=1234" is a single latency.
_BITS = 48

Sums: TypeAlias = list[int]
"""Calls, FIGURES, and the counts of latencies as one number."""
Key: TypeAlias = tuple[int, int]
"""A day or hour, and a profile."""

_BATCH = "seq > ? AND seq <= ?"
_FRESH = (
    f"SELECT id, {', '.join(FACET)} FROM profiles WHERE id IN (SELECT profile FROM calls WHERE {_BATCH})"  # noqa: S608
    " AND NOT EXISTS (SELECT 1 FROM facets WHERE profile = id) ORDER BY id"
)
_LABEL = (
    f"INSERT INTO facet_labels SELECT id, {', '.join(FACET)} FROM profiles"  # noqa: S608
    " WHERE id = ? AND id IN (SELECT profile FROM facet_names WHERE name IN (?, ?))"
)
_ADDED = {"cost": "coalesce(sum(cost), 0)", "unknown_cost": "count(*) - count(cost)"}
_FIGURES = ", ".join(_ADDED.get(name, f"sum({name})") for name in FIGURES)
_FOUND = (
    f"SELECT started / {HOUR}, profile, count(*), {_FIGURES},"  # noqa: S608
    f" group_concat('=' || latency_us, ' ') FROM calls WHERE {_BATCH} GROUP BY 1, 2"
)
_SPANS = (
    f"SELECT profile, started / {24 * HOUR}, min(seq), max(seq), count(*),"  # noqa: S608
    f" iif(count(*) <= {FEW}, group_concat(seq), '') FROM calls WHERE {_BATCH} GROUP BY 1, 2"
)
_SESSIONS = f"SELECT session, min(seq), max(seq) FROM calls WHERE session <> '' AND {_BATCH} GROUP BY 1"  # noqa: S608
_WIDEN = "DO UPDATE SET low = min(low, excluded.low), high = max(high, excluded.high)"
_ADD_SPANS = (
    "INSERT INTO facet_spans SELECT facet, ?, ?, ?, ?, ? FROM facets WHERE profile = ?"  # noqa: S608
    f" ON CONFLICT (facet, day) {_WIDEN}, {MORE_OF_FACET}"
)
_ADD_SESSIONS = "INSERT INTO session_spans VALUES (?, ?, ?) ON CONFLICT (session) " + _WIDEN  # noqa: S608


class Rolled(msgspec.Struct, frozen=True):
    """A piece of the ledger, summed up: by hour and profile."""

    first: int
    last: int
    calls: int
    hours: Mapping[Key, Sums]
    spans: Sequence[tuple[int, int, int, int, int, str]]
    """Profile and day, with the first and the last entry, how many calls, and which where they are few."""
    sessions: Sequence[tuple[str, int, int]]
    """The first and the last entry of each session."""
    fresh: Sequence[tuple[int, bytes, bytes]]
    """Profiles that have no facet yet, with the names of facet and outline."""


class SqliteRollups:
    """Adds what is new in a file to its totals. Any number of processes may try."""

    def __init__(self, path: Path, piece: int = PIECE) -> None:
        self._path = path
        self._piece = piece

    def catch_up(self) -> int:
        """Go on until nothing is left; returns how many calls were added. Raises StoreTroubleError.

        A piece is added together with the note of how far it reaches, so that no call is added twice or left out.
        """
        with troubles():
            db = connect(self._path)
            try:
                added = 0
                while (more := roll_up(db, self._piece)) is not None:
                    added += more
                return added
            finally:
                db.close()


def roll_up(db: sqlite3.Connection, piece: int = PIECE) -> int | None:
    """Add the next piece, in a transaction of its own; None when there is none. What takes long is read before it."""
    found = _read(db, piece)
    if found is None:
        return None
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("SELECT last_seq FROM rollup_state").fetchone() != (found.first,):
            # Somebody else was quicker.
            db.execute("ROLLBACK")
            return 0
        if found.calls:
            _add(db, found)
        db.execute("UPDATE rollup_state SET last_seq = ?", (found.last,))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return found.calls


def lag(db: sqlite3.Connection) -> int:
    """How many entries the totals are behind."""
    sql = "SELECT coalesce((SELECT max(last_seq) FROM groups), 0) - last_seq FROM rollup_state"
    return int(db.execute(sql).fetchone()[0])


def counts_in(latencies: str) -> list[int]:
    """Calls per bucket, from numbers one after another."""
    whole = _whole(latencies)
    size = -(-whole.bit_length() // _BITS)
    # As words of 32 and 16 bits in turn, since to shift the whole number for each bucket takes ever longer.
    words = struct.unpack(f"<{'IH' * size}", whole.to_bytes(size * _BITS // 8, "little"))
    return [low | high << 32 for low, high in zip(words[::2], words[1::2], strict=True)]


def _read(db: sqlite3.Connection, piece: int) -> Rolled | None:
    db.execute("BEGIN")
    try:
        done, there = db.execute(
            "SELECT last_seq, (SELECT coalesce(max(last_seq), 0) FROM groups) FROM rollup_state"
        ).fetchone()
        if there <= done:
            return None
        batch = done, min(there, done + piece)
        rows = db.execute(_FOUND, batch).fetchall()
        spans, sessions = (db.execute(sql, batch).fetchall() for sql in (_SPANS, _SESSIONS))
        fresh = db.execute(_FRESH, batch).fetchall() if rows else []
    finally:
        db.execute("COMMIT")
    hours = {(row[0], row[1]): [*row[2:-1], _whole(row[-1])] for row in rows}
    named = [(row[0], _name("facet", row[1:]), _name("outline", row[1 : len(OUTLINE) + 1])) for row in fresh]
    return Rolled(*batch, sum(each[0] for each in hours.values()), hours, spans, sessions, named)


def _name(kind: str, values: Sequence[str]) -> bytes:
    return hashlib.sha256(pack((kind, values))).digest()


def _add(db: sqlite3.Connection, found: Rolled) -> None:
    for profile, facet, outline in found.fresh:
        db.execute(
            "INSERT INTO facet_names VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING", (facet, profile, outline, profile)
        )
        db.execute(
            "INSERT INTO facets VALUES (?, (SELECT profile FROM facet_names WHERE name = ?),"
            " (SELECT profile FROM facet_names WHERE name = ?))",
            (profile, facet, outline),
        )
        db.execute(_LABEL, (profile, facet, outline))
    of: dict[int, tuple[int, int]] = {}
    for profile in {profile for _, profile in found.hours}:
        of[profile] = db.execute("SELECT facet, outline FROM facets WHERE profile = ?", (profile,)).fetchone()
    db.executemany(_ADD_SPANS, [(*rest, profile) for profile, *rest in found.spans])
    db.executemany(_ADD_SESSIONS, found.sessions)
    facet_months: dict[Key, Sums] = {}
    facet_days: dict[Key, Sums] = {}
    outline_days: dict[Key, Sums] = {}
    outline_hours: dict[Key, Sums] = {}
    for (hour, profile), sums in found.hours.items():
        kept_as, told_as = of[profile]
        _sum_up(facet_months, (month_of(hour // 24), kept_as), sums)
        _sum_up(facet_days, (hour // 24, kept_as), sums)
        _sum_up(outline_days, (hour // 24, told_as), sums)
        _sum_up(outline_hours, (hour, told_as), sums)
    for table, unit, kind, totals in (
        ("facet_months", "month", "facet", facet_months),
        ("facet_days", "day", "facet", facet_days),
        ("outline_days", "day", "outline", outline_days),
        ("outline_hours", "hour", "outline", outline_hours),
    ):
        _put(db, table, f"{unit} = ? AND {kind} = ?", totals)


def _sum_up(into: dict[Key, Sums], key: Key, sums: Sums) -> None:
    before = into.get(key)
    into[key] = sums if before is None else [one + other for one, other in zip(before, sums, strict=True)]


def _put(db: sqlite3.Connection, table: str, key: str, totals: Mapping[Key, Sums]) -> None:
    known = f"SELECT {', '.join(SUMS)} FROM {table} WHERE {key}"  # noqa: S608 - our own names
    rows = []
    for place, sums in totals.items():
        found = db.execute(known, place).fetchone()
        before = [0] * len(SUMS) if found is None else [*found[:-1], _whole(found[-1])]
        *figures, latencies = (one + other for one, other in zip(before, sums, strict=True))
        rows.append((*place, *figures, _written(latencies)))
    marks = ", ".join("?" * (len(SUMS) + 2))
    db.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608 - our own names


def _whole(latencies: str) -> int:
    """All numbers of a text together."""
    total, single = 0, Counter[int]()
    for part in latencies.split():
        lowest, colon, digits = part.partition(":")
        if colon:
            total += int(digits, 16) << int(lowest) * _BITS
        else:
            single[_bucket(int(part[1:]))] += 1
    return total + sum(count << place * _BITS for place, count in single.items())


def _bucket(latency_us: int) -> int:
    return min(BUCKETS - 1, int(math.log2(max(latency_us, 1)) * PER_OCTAVE))


def _written(latencies: int) -> str:
    lowest = max(0, (latencies & -latencies).bit_length() - 1) // _BITS
    return f"{lowest}:{latencies >> lowest * _BITS:x}"
