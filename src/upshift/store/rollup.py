"""How do totals by hour and day keep up with the ledger, so that a billion calls can be summed up?"""

from typing import Any

from upshift.store.postgres import Connection, troubles
from upshift.store.postgres_schema import names

HOUR, DAY = 3_600_000_000, 86_400_000_000
"""Microseconds."""

OUTLINE = (
    "plan", "tenant", "tier", "workload", "pod", "project", "dialect", "requested_model", "served_model", "provider",
    "outcome", "bucket", "reason", "certainty",
)  # fmt: skip
"""What totals by hour and by day are kept by."""
FACET = (*OUTLINE, "user", "key", "agent")
"""What totals by day are kept by as well. By hour there would be hardly fewer of them than calls."""

SUMS = (
    "calls", "input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning", "cost", "unknown_cost",
    "counted", "counted_tokens", "latencies",
)  # fmt: skip

# Latencies are counted in buckets, eight to the octave: each reaches 2 ** (1 / 8) times as far as it begins, so that
# its middle is at most 4.5 % from whatever is in it. All counts together are kept as one number, with twelve decimal
# digits for each bucket. Such numbers are added like any others, which the server does in one step for all buckets;
# rows per bucket, or arrays that have to be taken apart, took ten times as long to sum up.
BUCKETS = 400
_PER_OCTAVE = 8
_DIGITS = 12
LATENCY_ERROR = 0.045
"""How far a quantile from buckets may be from the true one, as a share of it; or 1 microsecond."""

_UNIT = (
    f"JOIN latency_units ON place = least({BUCKETS - 1}, "
    f"floor(ln(greatest(latency_us, 1)::float8) * ({_PER_OCTAVE} / ln(2::float8))))::int"
)
_TOKENS, _COUNTED = SUMS[1:7], SUMS[9:11]

_PIECE = 200_000
"""So many entries at most are summed up in one transaction."""
_SECONDS = 600.0


def sums_of_calls(source: str, condition: str, groups: dict[str, str]) -> str:
    """A statement with the SUMS of calls, with their profiles, by `groups`: expressions by their names."""
    columns = [
        *(f"{expression} AS {name}" for name, expression in groups.items()),
        "count(*) AS calls",
        *(f"sum({name})::bigint AS {name}" for name in _TOKENS),
        "coalesce(sum(cost), 0)::bigint AS cost",
        "count(*) - count(cost) AS unknown_cost",
        *(f"sum({name})::bigint AS {name}" for name in _COUNTED),
        "sum(unit) AS latencies",
    ]
    return f"SELECT {', '.join(columns)} FROM {source} {_UNIT} WHERE {condition} GROUP BY {', '.join(groups)}"  # noqa: S608 - our own text


def quantile(latencies: str, percent: int) -> int | None:
    """Microseconds that this share of calls took at most, within LATENCY_ERROR; None when there were no calls."""
    padded = latencies.zfill(-(-len(latencies) // _DIGITS) * _DIGITS)
    counts = [int(padded[at : at + _DIGITS]) for at in range(len(padded) - _DIGITS, -1, -_DIGITS)]
    place, before = (sum(counts) * percent + 99) // 100, 0
    for bucket, count in enumerate(counts):
        before += count
        if count and before >= place:
            return round(2 ** ((bucket + 0.5) / _PER_OCTAVE))
    return None


def _digest(kind: str, columns: tuple[str, ...]) -> str:
    return f"sha256(convert_to(ARRAY['{kind}', {names(columns)}]::text, 'UTF8'))"


_BATCH = "seq > %(first)s AND seq <= %(last)s"
_FRESH = (
    f"SELECT id, {_digest('facet', FACET)} AS facet, {_digest('outline', OUTLINE)} AS outline FROM profiles "  # noqa: S608 - our own names
    f"WHERE id IN (SELECT profile FROM calls WHERE {_BATCH}) AND NOT EXISTS (SELECT 1 FROM facets WHERE profile = id)"
)
_ADD_FACETS = f"""
WITH fresh AS MATERIALIZED ({_FRESH}),
added AS (
  INSERT INTO facet_names (name, profile)
  SELECT name, min(id) FROM (SELECT facet AS name, id FROM fresh UNION ALL SELECT outline, id FROM fresh) AS named
  WHERE NOT EXISTS (SELECT 1 FROM facet_names AS known WHERE known.name = named.name)
  GROUP BY name RETURNING name, profile
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


_STATEMENTS = (
    _ADD_FACETS,
    _into("facet_days", "day", DAY, "facet"),
    _into("outline_days", "day", DAY, "outline"),
    _into("outline_hours", "hour", HOUR, "outline"),
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
        (done,) = _row(db, 'SELECT last_seq FROM rollup_state WHERE "only" = 1 FOR UPDATE')
        (there,) = _row(db, "SELECT coalesce(max(last_seq), 0) FROM groups")
        if there <= done:
            return None
        piece_of = {"first": done, "last": min(there, done + piece)}
        (calls,) = _row(db, "SELECT count(*) FROM calls WHERE seq > %(first)s AND seq <= %(last)s", piece_of)
        if calls:
            db.execute("SELECT set_config('work_mem', '64MB', true), set_config('jit', 'off', true)")
            for statement in _STATEMENTS:
                db.execute(statement, piece_of)
        db.execute('UPDATE rollup_state SET last_seq = %(last)s WHERE "only" = 1', piece_of)
    return int(calls)


def lag(db: Connection) -> int:
    """How many entries the totals are behind."""
    return int(_row(db, "SELECT coalesce((SELECT max(last_seq) FROM groups), 0) - last_seq FROM rollup_state")[0])


def _row(db: Connection, sql: str, values: dict[str, int] | None = None) -> tuple[Any, ...]:
    found = db.execute(sql, values).fetchone()
    assert found is not None
    return found
