"""What do the calls of a stretch of time add up to in PostgreSQL, from totals where they reach and calls elsewhere?"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from upshift.model.span import Instant
from upshift.model.tokens import Usage
from upshift.store.journal import Dimension, Used
from upshift.store.postgres import Connection
from upshift.store.rollup import DAY, HOUR, SUMS, quantile, sums_of_calls

_TIMES = {Dimension.HOUR: 'YYYY-MM-DD"T"HH24', Dimension.DAY: "YYYY-MM-DD", Dimension.MONTH: "YYYY-MM"}
_DETAILS = {Dimension.USER, Dimension.KEY, Dimension.AGENT}
"""Totals of these are kept by day only."""
_SECOND = 1_000_000
_PROFILE = "JOIN profiles AS p ON p.id ="

_SERVED = "FILTER (WHERE outcome <> 'refused')"
_COUNTS = (
    "",
    "FILTER (WHERE outcome = 'refused')",
    "FILTER (WHERE bucket = 'degraded' AND outcome <> 'refused')",
    "FILTER (WHERE bucket = 'overage' AND outcome <> 'refused')",
    "FILTER (WHERE outcome = 'upstream_error')",
    "FILTER (WHERE outcome = 'lost')",
)
_FIGURES = SUMS[1:-1]


class Reach(msgspec.Struct, frozen=True):
    """How far the totals reach, and from which instant on calls are kept."""

    last_seq: int
    kept_from: Instant


class Stretches(msgspec.Struct, frozen=True):
    """A stretch of time taken apart: whole hours or days of UTC from `first` to before `last`, and what is left."""

    first: int
    last: int
    edges: tuple[tuple[Instant, Instant], ...]


def stretches(since: Instant, until: Instant, kept_from: Instant, unit: int = HOUR) -> Stretches:
    """Where calls are not kept any more, an hour or day belongs to the stretch that its beginning is in."""
    first = -(-since // unit)
    last = until // unit if until > kept_from else -(-until // unit)
    edges = [(since, min(first * unit, until)), (max(last * unit, since), until)]
    if first > last:
        edges = [(since, until)]
    kept = tuple((begin, end) for begin, end in edges if kept_from <= begin < end)
    return Stretches(first, max(first, last), kept)


def conditions(where: Mapping[Dimension, str]) -> tuple[str, list[str]]:
    """' AND …' over the view `records`, and its values."""
    return "".join(f" AND {_of_record(each)} = ?" for each in where), list(where.values())


def usage(
    db: Connection, by: Sequence[Dimension], since: Instant, until: Instant, where: Mapping[Dimension, str]
) -> list[Used]:
    """One row per group, in the order of the groups.

    Quantiles are exact as long as no totals take part, else within rollup.LATENCY_ERROR.
    """
    asked = {*by, *where}
    unit = DAY if asked & _DETAILS else HOUR
    with db.transaction():
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        reach = _reach(db)
        parts = stretches(since, until, reach.kept_from, unit)
        by_call = Dimension.SESSION in asked or (unit == DAY and Dimension.HOUR in asked)
        if by_call or reach.last_seq <= 0 or parts.first == parts.last:
            sql, values = _of_calls(by, since, until, where)
        else:
            # Compiling a query costs more than it saves here, and the server cannot tell. Groups of totals are wide.
            db.execute("SELECT set_config('jit', 'off', true), set_config('work_mem', '64MB', true)")
            sql, values = _of_totals(by, parts, reach, where)
        rows = db.execute(sql, values).fetchall()
    return sorted((_used(row, len(by)) for row in rows), key=lambda used: used.group)


def _reach(db: Connection) -> Reach:
    row = db.execute("SELECT last_seq, kept_from FROM rollup_state").fetchone()
    return Reach(0, 0) if row is None else Reach(*row)


def _of_calls(
    by: Sequence[Dimension], since: Instant, until: Instant, where: Mapping[Dimension, str]
) -> tuple[str, list[Any]]:
    groups = [_of_record(each) for each in by]
    condition = "".join(f" AND {_of_record(each)} = %s" for each in where)
    figures = {name: f"sum({name})" for name in _FIGURES}
    figures["unknown_cost"] = "count(*) - count(cost)"
    columns = [
        *groups,
        *(f"count(*) {only}" for only in _COUNTS),
        *(figures[name] for name in _FIGURES),
        *(f"percentile_disc({each}) WITHIN GROUP (ORDER BY latency_us) {_SERVED}" for each in ("0.5", "0.95")),
    ]
    sql = f"SELECT {', '.join(columns)} FROM records WHERE started >= %s AND started < %s{condition}"  # noqa: S608
    return f"{sql}{_grouped(groups)}", [since, until, *where.values()]


def _of_totals(
    by: Sequence[Dimension], parts: Stretches, reach: Reach, where: Mapping[Dimension, str]
) -> tuple[str, list[Any]]:
    """Whole days and hours from their tables; from calls what is at the ends, or not in the tables yet."""
    asked = {*by, *where}
    hourly, detailed = Dimension.HOUR in asked, bool(asked & _DETAILS)
    unit = HOUR if hourly else DAY
    groups = {f"g{at}": f'p."{each.value}"' for at, each in enumerate(by) if each not in _TIMES}
    groups |= {"outcome": "p.outcome", "bucket": "p.bucket"}
    timed = any(each in _TIMES for each in by)
    values: list[Any] = []
    selects: list[str] = []

    def part(source: str, time: str, condition: str, *limits: int) -> None:
        columns = {**groups, "t": time} if timed else groups
        picked = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
        only = "".join(f" AND {_label(each, time, unit)} = %s" for each in where)
        selects.append(f"SELECT {picked}, {', '.join(SUMS)} FROM {source} WHERE {condition}{only}")  # noqa: S608
        values.extend([*limits, *where.values()])

    if detailed:
        part(f"facet_days {_PROFILE} facet", "day", "day >= %s AND day < %s", parts.first, parts.last)
    elif hourly:
        part(f"outline_hours {_PROFILE} outline", "hour", "hour >= %s AND hour < %s", parts.first, parts.last)
    else:
        first_day, last_day = -(-parts.first // 24), parts.last // 24
        if first_day < last_day:
            part(f"outline_days {_PROFILE} outline", "day", "day >= %s AND day < %s", first_day, last_day)
        ends = (parts.first, min(first_day * 24, parts.last), max(last_day * 24, parts.first), parts.last)
        whole = (parts.first, parts.last, 0, 0)
        part(
            f"outline_hours {_PROFILE} outline", "hour / 24",
            "((hour >= %s AND hour < %s) OR (hour >= %s AND hour < %s))",
            *(ends if first_day < last_day else whole),
        )  # fmt: skip
    rest, limits = _rest(parts, reach, DAY if detailed else HOUR)
    time = f"started / {unit}"
    only = "".join(f" AND {_label(each, time, unit)} = %s" for each in where)
    columns = {**groups, "t": time} if timed else groups
    selects.append(sums_of_calls(f"({rest}) AS c {_PROFILE} c.profile", f"true{only}", columns))
    values += [*limits, *where.values()]
    return _together(by, list(columns), selects, unit), values


def _rest(parts: Stretches, reach: Reach, unit: int) -> tuple[str, list[int]]:
    edges = ["SELECT * FROM calls WHERE started >= %s AND started < %s"] * len(parts.edges)
    fresh = "SELECT * FROM calls WHERE seq > %s AND started >= %s AND started < %s"
    limits = [instant for edge in parts.edges for instant in edge]
    return " UNION ALL ".join([*edges, fresh]), [*limits, reach.last_seq, parts.first * unit, parts.last * unit]


def _together(by: Sequence[Dimension], names: Sequence[str], selects: Sequence[str], unit: int) -> str:
    # Summed up twice: first by the number of the day or hour, so that its label is made once and not for every row.
    inner = ", ".join([*names, *(f"sum({name}) AS {name}" for name in SUMS)])
    middle = f"SELECT {inner} FROM ({' UNION ALL '.join(selects)}) AS parts GROUP BY {', '.join(names)}"  # noqa: S608
    groups = [_label(each, "t", unit) if each in _TIMES else f"g{at}" for at, each in enumerate(by)]
    columns = [
        *groups,
        *(f"coalesce(sum(calls) {only}, 0)" for only in _COUNTS),
        *(f"sum({name})" for name in _FIGURES),
        f"(sum(latencies) {_SERVED})::text",
    ]
    return f"SELECT {', '.join(columns)} FROM ({middle}) AS middle{_grouped(groups)}"  # noqa: S608


def _grouped(groups: Sequence[str]) -> str:
    return f" GROUP BY {', '.join(groups)}" if groups else " HAVING count(*) > 0"


def _of_record(dimension: Dimension) -> str:
    return _label(dimension, "started", 1)


def _label(dimension: Dimension, time: str, unit: int) -> str:
    """A dimension as reports show it; `time` is a number of so many microseconds since the epoch."""
    form = _TIMES.get(dimension)
    if form is None:
        return f'"{dimension.value}"'
    seconds = f"({time}) * {unit // _SECOND}" if unit > 1 else f"{time} / {_SECOND}"
    return f"to_char(to_timestamp({seconds}) AT TIME ZONE 'UTC', '{form}')"


def _used(row: Sequence[Any], width: int) -> Used:
    figures = [int(value or 0) for value in row[width : width + len(_COUNTS) + len(_FIGURES)]]
    cost, unknown_cost, counted, counted_tokens = figures[12:]
    quantiles = row[width + len(figures) :]
    if len(quantiles) == 1:
        latencies = quantiles[0]
        quantiles = [None if latencies is None else quantile(latencies, percent) for percent in (50, 95)]
    calls, refused, degraded, overage, failed, lost = figures[:6]
    return Used(
        group=tuple(row[:width]), calls=calls, refused=refused, degraded=degraded, overage=overage, failed=failed,
        lost=lost, usage=Usage(*figures[6:12]), cost=cost, unknown_cost=unknown_cost, counted=counted,
        counted_tokens=counted_tokens, p50_us=quantiles[0], p95_us=quantiles[1],
    )  # fmt: skip
