"""How do totals by hour and day keep up with a ledger in PostgreSQL, so that a billion calls can be summed up?"""

import struct
from collections.abc import Mapping
from typing import Any

from upshift.store.postgres import Connection, troubles
from upshift.store.postgres_schema import names
from upshift.store.schema import FACET, FIGURES, OUTLINE, SUMS
from upshift.store.spans import FEW, MORE_OF_FACET
from upshift.store.totals import BUCKETS, DAY, FIRST_DAY, HOUR, LAST_DAY, PER_OCTAVE

_DIGITS = 12
"""Decimal digits of a bucket's count. The server adds such numbers in one step for all buckets; rows per bucket, or
arrays that have to be taken apart, took ten times as long to sum up."""
_NONE = b"0" * _DIGITS

_UNIT = (
    f"JOIN latency_units ON place = least({BUCKETS - 1}, "
    f"floor(ln(greatest(latency_us, 1)::float8) * ({PER_OCTAVE} / ln(2::float8))))::int"
)
_TOKENS, _COUNTED = FIGURES[:6], FIGURES[8:]

_PIECE = 200_000
"""So many entries at most are summed up in one transaction."""
_SECONDS = 600.0


def sums_of_calls(source: str, condition: str, groups: Mapping[str, str], *, latencies: bool = True) -> str:
    """A statement with the SUMS of calls, with their profiles, by `groups`: expressions by their names."""
    columns = [
        *(f"{expression} AS {name}" for name, expression in groups.items()),
        "count(*) AS calls",
        *(f"sum({name})::bigint AS {name}" for name in _TOKENS),
        "coalesce(sum(cost), 0)::bigint AS cost",
        "count(*) - count(cost) AS unknown_cost",
        *(f"sum({name})::bigint AS {name}" for name in _COUNTED),
    ]
    if latencies:
        columns, source = [*columns, "sum(unit) AS latencies"], f"{source} {_UNIT}"
    return f"SELECT {', '.join(columns)} FROM {source} WHERE {condition} GROUP BY {', '.join(groups)}"  # noqa: S608 - our own text


def counts_in(latencies: str) -> list[int]:
    """Calls per bucket, from the number that stands for all of them."""
    digits = latencies.encode()
    # Few calls are so quick as to be in the first hundred buckets.
    empty = (len(digits) - len(digits.rstrip(b"0"))) // _DIGITS
    digits = digits[: len(digits) - empty * _DIGITS]
    size = -(-len(digits) // _DIGITS)
    parts = struct.unpack(f"{_DIGITS}s" * size, digits.rjust(size * _DIGITS, b"0"))
    return [0] * empty + [0 if part == _NONE else int(part) for part in reversed(parts)]


def _digest(kind: str, columns: tuple[str, ...]) -> str:
    return f"sha256(convert_to(ARRAY['{kind}', {names(columns)}]::text, 'UTF8'))"


_BATCH = "seq > %(first)s AND seq <= %(last)s"
_FRESH = (
    f"SELECT id, {_digest('facet', FACET)} AS facet, {_digest('outline', OUTLINE)} AS outline FROM profiles "  # noqa: S608 - our own names
    f"WHERE id IN (SELECT profile FROM calls WHERE {_BATCH}) AND NOT EXISTS (SELECT 1 FROM facets WHERE profile = id)"
)
_LABEL = f"INSERT INTO facet_labels (id, {names(FACET)}) SELECT id, {names(FACET)} FROM profiles"  # noqa: S608 - our own names
_LABEL_ALL = f"{_LABEL} WHERE id IN (SELECT profile FROM facet_names) ON CONFLICT DO NOTHING"  # noqa: S608 - our own names
_ADD_FACETS = f"""
WITH fresh AS MATERIALIZED ({_FRESH}),
added AS (
  INSERT INTO facet_names (name, profile)
  SELECT name, min(id) FROM (SELECT facet AS name, id FROM fresh UNION ALL SELECT outline, id FROM fresh) AS named
  WHERE NOT EXISTS (SELECT 1 FROM facet_names AS known WHERE known.name = named.name)
  GROUP BY name RETURNING name, profile
), labelled AS (
  {_LABEL} WHERE id IN (SELECT profile FROM added) ON CONFLICT DO NOTHING
), known AS MATERIALIZED (
  SELECT name, profile FROM added
  UNION ALL SELECT name, profile FROM facet_names
  WHERE name IN (SELECT facet FROM fresh UNION SELECT outline FROM fresh)
)
INSERT INTO facets (profile, facet, outline)
SELECT id, f.profile, o.profile FROM fresh
JOIN known AS f ON f.name = fresh.facet JOIN known AS o ON o.name = fresh.outline
"""  # noqa: S608 - our own names


def _into(table: str, unit: str, length: int, kind: str) -> str:
    columns = names((unit, kind, *SUMS))
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in SUMS)
    sums = sums_of_calls("calls JOIN facets USING (profile)", _BATCH, {unit: f"started / {length}", kind: kind})
    return f"INSERT INTO {table} ({columns}) {sums} ON CONFLICT ({unit}, {kind}) DO UPDATE SET {added}"


_MONTH = (
    f"(extract(year FROM date '1970-01-01' + least(greatest(day, {FIRST_DAY}), {LAST_DAY})::int) * 12 + "
    f"extract(month FROM date '1970-01-01' + least(greatest(day, {FIRST_DAY}), {LAST_DAY})::int) - 1)::bigint"
)
_MONTHS = f"SELECT {_MONTH}, facet, {', '.join(f'sum({name})' for name in SUMS)} FROM {{}} GROUP BY 1, 2"  # noqa: S608
_INTO_MONTHS = f"INSERT INTO facet_months ({names(('month', 'facet', *SUMS))}) {_MONTHS}"
_ADD_MONTHS = (
    f"WITH fresh AS ({{}}) {_INTO_MONTHS.format('fresh')} ON CONFLICT (month, facet) DO UPDATE SET "
    + ", ".join(f"{name} = facet_months.{name} + excluded.{name}" for name in SUMS)
).format(sums_of_calls("calls JOIN facets USING (profile)", _BATCH, {"day": f"started / {DAY}", "facet": "facet"}))

_WIDEN = "DO UPDATE SET low = least({0}.low, excluded.low), high = greatest({0}.high, excluded.high)"
_ADD_SPANS = (
    f"INSERT INTO facet_spans SELECT facet, started / {DAY}, min(seq), max(seq), count(*), "  # noqa: S608 - our own names
    f"CASE WHEN count(*) <= {FEW} THEN string_agg(seq::text, ',') ELSE '' END FROM calls JOIN facets USING (profile) "
    f"WHERE {_BATCH} GROUP BY 1, 2 ON CONFLICT (facet, day) {_WIDEN.format('facet_spans')}, {MORE_OF_FACET}"
)
_ADD_SESSIONS = (
    f"INSERT INTO session_spans SELECT session, min(seq), max(seq) FROM calls WHERE session <> '' AND {_BATCH} "  # noqa: S608 - our own names
    f"GROUP BY 1 ON CONFLICT (session) {_WIDEN.format('session_spans')}"
)

_STATEMENTS = (
    _ADD_FACETS,
    _into("facet_days", "day", DAY, "facet"),
    _ADD_MONTHS,
    _into("outline_days", "day", DAY, "outline"),
    _into("outline_hours", "hour", HOUR, "outline"),
    _ADD_SPANS,
    _ADD_SESSIONS,
)


class Rollups:
    """Adds what is new in the ledger to the totals. Any number of processes may try; one at a time does."""

    def __init__(self, url: str, piece: int = _PIECE) -> None:
        self._url = url
        self._piece = piece

    def catch_up(self) -> int:
        """Go on until nothing is left; returns how many calls were added. Raises StoreTroubleError.

        A piece is added together with the note of how far it reaches, so that no call is added twice or left out.
        """
        with troubles(), Connection.open(self._url, _SECONDS) as db:
            added = 0
            while (more := roll_up(db, self._piece)) is not None:
                added += more
            return added


def roll_up(db: Connection, piece: int = _PIECE) -> int | None:
    """Add the next piece, in a transaction of its own; None when there is none."""
    with db.transaction():
        done, months = _row(db, 'SELECT last_seq, months_seq FROM rollup_state WHERE "only" = 1 FOR UPDATE')
        (there,) = _row(db, "SELECT coalesce(max(last_seq), 0) FROM groups")
        if months != done:
            # A program that knows neither months nor labels nor spans was here.
            db.execute(_LABEL_ALL)
            db.execute("DELETE FROM facet_months")
            db.execute(_INTO_MONTHS.format("facet_days"))
            db.execute("UPDATE rollup_state SET months_seq = last_seq, spanned_from = last_seq")
        if there <= done:
            return None
        piece_of = {"first": done, "last": min(there, done + piece)}
        (calls,) = _row(db, "SELECT count(*) FROM calls WHERE seq > %(first)s AND seq <= %(last)s", piece_of)
        if calls:
            db.execute("SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)")
            for statement in _STATEMENTS:
                db.execute(statement, piece_of)
        db.execute('UPDATE rollup_state SET last_seq = %(last)s, months_seq = %(last)s WHERE "only" = 1', piece_of)
    return int(calls)


def lag(db: Connection) -> int:
    """How many entries the totals are behind."""
    return int(_row(db, "SELECT coalesce((SELECT max(last_seq) FROM groups), 0) - last_seq FROM rollup_state")[0])


def _row(db: Connection, sql: str, values: dict[str, int] | None = None) -> tuple[Any, ...]:
    found = db.execute(sql, values).fetchone()
    assert found is not None
    return found
