"""What do the calls of a stretch of time add up to in an SQLite file, from totals where they reach?"""

import sqlite3
from collections.abc import Mapping

from upshift.store.journal import Dimension, Used
from upshift.store.reports import expression, usage_query, used_by_call
from upshift.store.schema import FIGURES
from upshift.store.sqlite_rollup import counts_in
from upshift.store.totals import Asked, Reach, Words, from_totals, quantiles, used_from

_TOKENS, _COUNTED = FIGURES[:6], FIGURES[8:]
_REACH = "SELECT last_seq, kept_from, (SELECT coalesce(max(started), 0) + 1 FROM calls) FROM rollup_state"


class _File(Words):
    # Else SQLite would look for new calls by when they started, of which there are many more.
    fresh = "+started"

    def label(self, dimension: Dimension, time: str, unit: int) -> str:
        return expression(dimension, f"({time}) * {unit}")

    def latencies(self, condition: str = "") -> str:
        return f"group_concat(latencies, ' ') {condition}"

    def calls(self, source: str, condition: str, groups: Mapping[str, str], *, latencies: bool) -> str:
        columns = [
            *(f"{each} AS {name}" for name, each in groups.items()),
            "count(*) AS calls",
            *(f"sum({name}) AS {name}" for name in _TOKENS),
            "coalesce(sum(cost), 0) AS cost",
            "count(*) - count(cost) AS unknown_cost",
            *(f"sum({name}) AS {name}" for name in _COUNTED),
        ]
        if latencies:
            columns.append("group_concat('=' || latency_us, ' ') AS latencies")
        names = ", ".join(str(at + 1) for at in range(len(groups)))
        return f"SELECT {', '.join(columns)} FROM {source} WHERE {condition} GROUP BY {names}"  # noqa: S608 - own text


_WORDS = _File()


def usage(db: sqlite3.Connection, asked: Asked) -> list[Used]:
    """One row per group, in the order of the groups. Quantiles are exact as long as no totals take part.

    In one transaction, since calls may be added to the totals between two reads.
    """
    width = len(asked.by)
    db.execute("BEGIN")
    try:
        last_seq, kept_from, newest = db.execute(_REACH).fetchone()
        reach = Reach(last_seq, kept_from, newest, months=True)
        parts = asked.parts(reach)
        if parts is None:
            sql, limits = usage_query(asked.by, asked.since, asked.until, asked.where)
            return [used_by_call(row, width) for row in db.execute(sql, limits)]
        sql, values = from_totals(_WORDS, asked, parts, reach)
        rows = db.execute(sql, values).fetchall()
    finally:
        db.execute("COMMIT")
    found = []
    for row in rows:
        counts = counts_in(row[-1] or "") if asked.latencies else []
        found.append(used_from(row, width, quantiles(counts, 50, 95)))
    return sorted(found, key=lambda used: used.group)
