"""What do the calls of a stretch of time add up to, and which calls were they?"""

from collections.abc import Mapping, Sequence

from upshift.model.span import Instant
from upshift.model.tokens import Usage
from upshift.store.journal import Dimension, Used
from upshift.store.schema import RECORD_COLUMNS

_TIMES = {Dimension.HOUR: "%Y-%m-%dT%H", Dimension.DAY: "%Y-%m-%d", Dimension.MONTH: "%Y-%m"}

_SUMS = (
    "count(*)",
    "sum(outcome = 'refused')",
    "sum(bucket = 'degraded' AND outcome <> 'refused')",
    "sum(bucket = 'overage' AND outcome <> 'refused')",
    "sum(outcome = 'upstream_error')",
    "sum(outcome = 'lost')",
    "sum(input)",
    "sum(cached)",
    "sum(cache_write_5m)",
    "sum(cache_write_1h)",
    "sum(output)",
    "sum(reasoning)",
    "coalesce(sum(cost), 0)",
    "sum(cost IS NULL)",
    "sum(counted)",
    "sum(counted_tokens)",
    # The p-quantile is the smallest latency with at least that share of calls at or below it.
    "max(CASE WHEN outcome <> 'refused' AND place = (peers * 50 + 99) / 100 THEN latency_us END)",
    "max(CASE WHEN outcome <> 'refused' AND place = (peers * 95 + 99) / 100 THEN latency_us END)",
)

COLUMNS = ", ".join(f'"{name}"' for name in RECORD_COLUMNS)


def usage_query(
    by: Sequence[Dimension], since: Instant, until: Instant, where: Mapping[Dimension, str]
) -> tuple[str, list[str | int]]:
    """The statement and its values; rows are for `used_by_call`."""
    groups = [expression(dimension) for dimension in by]
    names = [f"g{index}" for index in range(len(groups))]
    picked = "".join(f"{expression} AS {name}, " for expression, name in zip(groups, names, strict=True))
    peers = ", ".join([*groups, "outcome = 'refused'"])
    condition, values = conditions(where)
    inner = (
        f"SELECT *, {picked}row_number() OVER (PARTITION BY {peers} ORDER BY latency_us) AS place, "  # noqa: S608
        f"count(*) OVER (PARTITION BY {peers}) AS peers FROM records WHERE started >= ? AND started < ?{condition}"
    )
    order = f" GROUP BY {', '.join(names)} ORDER BY {', '.join(names)}" if names else " HAVING count(*) > 0"
    return f"SELECT {', '.join([*names, *_SUMS])} FROM ({inner}){order}", [since, until, *values]  # noqa: S608


def conditions(where: Mapping[Dimension, str]) -> tuple[str, list[str]]:
    """' AND …' and its values."""
    return "".join(f" AND {expression(dimension)} = ?" for dimension in where), list(where.values())


def used_by_call(row: Sequence[object], width: int) -> Used:
    """A row of `usage_query` with `width` dimensions."""
    figures = [value if isinstance(value, int) else None for value in row[width:]]
    whole = [value or 0 for value in figures]
    return Used(
        group=tuple(str(value) for value in row[:width]),
        calls=whole[0],
        refused=whole[1],
        degraded=whole[2],
        overage=whole[3],
        failed=whole[4],
        lost=whole[5],
        usage=Usage(*whole[6:12]),
        cost=whole[12],
        unknown_cost=whole[13],
        counted=whole[14],
        counted_tokens=whole[15],
        p50_us=figures[16],
        p95_us=figures[17],
    )


def expression(dimension: Dimension, time: str = "started") -> str:
    """A dimension as reports show it; `time` is in microseconds since the epoch."""
    form = _TIMES.get(dimension)
    if form is None:
        return f'"{dimension.value}"'
    return f"strftime('{form}', {time} / 1000000, 'unixepoch')"
