"""What do the calls of a stretch of time add up to in PostgreSQL, from totals where they reach and calls elsewhere?"""

from collections.abc import Mapping, Sequence
from typing import Any

from upshift.model.span import Instant
from upshift.store.journal import Dimension, Used
from upshift.store.postgres import Connection
from upshift.store.rollup import counts_in, sums_of_calls
from upshift.store.schema import FIGURES
from upshift.store.totals import (
    COUNTS,
    SERVED,
    Asked,
    Reach,
    Words,
    from_totals,
    grouped,
    quantiles,
    used_from,
)

_TIMES = {Dimension.HOUR: 'YYYY-MM-DD"T"HH24', Dimension.DAY: "YYYY-MM-DD", Dimension.MONTH: "YYYY-MM"}
_SECOND = 1_000_000
_REACH = (
    "SELECT last_seq, kept_from, (SELECT coalesce(max(started), 0) + 1 FROM calls), months_seq = last_seq "
    "FROM rollup_state"
)


class _Server(Words):
    mark = "%s"

    def label(self, dimension: Dimension, time: str, unit: int) -> str:
        form = _TIMES.get(dimension)
        if form is None:
            return f'"{dimension.value}"'
        seconds = f"({time}) * {unit // _SECOND}" if unit > 1 else f"{time} / {_SECOND}"
        return f"to_char(to_timestamp({seconds}) AT TIME ZONE 'UTC', '{form}')"

    def added(self, name: str, condition: str = "") -> str:
        # Of whole numbers the server makes decimal ones, which take several times as long to sum up again, or to read.
        return f"(sum({name}) {condition})::bigint"

    def latencies(self, condition: str = "") -> str:
        return f"(sum(latencies) {condition})::text" if condition else "sum(latencies)"

    def calls(self, source: str, condition: str, groups: Mapping[str, str], *, latencies: bool) -> str:
        return sums_of_calls(source, condition, groups, latencies=latencies)


_WORDS = _Server()


def conditions(where: Mapping[Dimension, str]) -> tuple[str, list[str]]:
    """' AND …' over the view `records`, and its values."""
    return "".join(f" AND {_of_record(each)} = ?" for each in where), list(where.values())


def usage(db: Connection, asked: Asked) -> list[Used]:
    """One row per group, in the order of the groups.

    Quantiles are exact as long as no totals take part, else within totals.LATENCY_ERROR.
    """
    with db.transaction():
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        reach = _reach(db)
        parts = asked.parts(reach)
        if parts is None:
            sql, values = _of_calls(asked.by, asked.since, asked.until, asked.where)
        else:
            # Compiling a query, and handing such wide numbers from worker to worker, cost more than they save here, and
            # the server cannot tell. Groups of totals are wide.
            db.execute(
                "SELECT set_config('jit', 'off', true), set_config('work_mem', '64MB', true), "
                "set_config('max_parallel_workers_per_gather', '0', true)"
            )
            sql, values = from_totals(_WORDS, asked, parts, reach)
        rows = db.execute(sql, values).fetchall()
    width = len(asked.by)
    return sorted((used_from(row, width, _quantiles(row[width:])) for row in rows), key=lambda used: used.group)


def _quantiles(figures: Sequence[Any]) -> Sequence[int | None]:
    found = figures[len(COUNTS) + len(FIGURES) :]
    if len(found) == 2:
        return found
    if not found or found[0] is None:
        return None, None
    return quantiles(counts_in(found[0]), 50, 95)


def _reach(db: Connection) -> Reach:
    row = db.execute(_REACH).fetchone()
    return Reach(0, 0, 0, False) if row is None else Reach(*row)


def _of_calls(
    by: Sequence[Dimension], since: Instant, until: Instant, where: Mapping[Dimension, str]
) -> tuple[str, list[Any]]:
    groups = [_of_record(each) for each in by]
    condition = "".join(f" AND {_of_record(each)} = %s" for each in where)
    figures = {name: f"sum({name})" for name in FIGURES}
    figures["unknown_cost"] = "count(*) - count(cost)"
    columns = [
        *groups,
        *(f"count(*) {only}" for only in COUNTS),
        *(figures[name] for name in FIGURES),
        *(f"percentile_disc({each}) WITHIN GROUP (ORDER BY latency_us) {SERVED}" for each in ("0.5", "0.95")),
    ]
    sql = f"SELECT {', '.join(columns)} FROM records WHERE started >= %s AND started < %s{condition}"  # noqa: S608
    return f"{sql}{grouped(groups)}", [since, until, *where.values()]


def _of_record(dimension: Dimension) -> str:
    return _WORDS.label(dimension, "started", 1)
