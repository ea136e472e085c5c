"""What do the calls between two entries of the ledger add up to, and how long did they take?"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from upshift.model.tokens import Usage
from upshift.store.journal import Bounds, Dimension, Spread, Tally
from upshift.store.schema import FIGURES

_SUMMED = {"cost": "coalesce(sum(cost), 0)", "unknown_cost": "count(*) - count(cost)"}
_FIGURES = FIGURES[:9]
"""All that a tally has."""
_TIMES = ("latency_us", "first_byte_us", "overhead_us")


def tally_query(by: Sequence[Dimension], bounds: Bounds) -> str:
    """The statement. Its values are three: beyond which entry, up to which, and since when; rows are for `tally_from`.

    All counting is the database's: a record made of each call here takes thirty times as long.
    """
    columns = ["count(*) AS calls", *(f"{_SUMMED.get(name, f'sum({name})')} AS {name}" for name in _FIGURES)]
    names = ["calls", *_FIGURES]
    for at, (name, limits) in enumerate(zip(_TIMES, _limits(bounds), strict=True)):
        # At most 0 is what never was: no answer began.
        within = [f"count(*) FILTER (WHERE {name} <= {limit}) AS t{at}_{limit}" for limit in limits]
        columns += [*within, f"sum({name}) AS {name}"]
        names += [*(f"t{at}_{limit}" for limit in limits), name]
    # A plus keeps a database from looking for the calls by when they started.
    inner = (
        f"SELECT profile, {', '.join(columns)} FROM calls "  # noqa: S608 - our own names
        "WHERE seq > ? AND seq <= ? AND +started >= ? GROUP BY profile"
    )
    groups = ", ".join(f'"{each.value}"' for each in by)
    sums = ", ".join(f"sum({name})" for name in names)
    return f"SELECT {groups}, {sums} FROM ({inner}) AS c JOIN profiles ON id = profile GROUP BY {groups}"  # noqa: S608


def tally_from(row: Sequence[Any], by: Sequence[Dimension], bounds: Bounds) -> Tally:
    """A row of `tally_query`."""
    calls, *figures = (int(each) for each in row[len(by) :])
    cost, unknown_cost, counted = figures[6:9]
    spreads, rest = [], figures[9:]
    for limits in _limits(bounds):
        within, total, rest = rest[: len(limits)], rest[len(limits)], rest[len(limits) + 1 :]
        counts = [after - before for before, after in pairwise([0, *within, calls])]
        spreads.append((counts, total))
    (duration, took), ((_, *first), began), (overhead, spent) = spreads
    return Tally(
        group=tuple(row[: len(by)]), calls=calls, usage=Usage(*figures[:6]), cost=cost, unknown_cost=unknown_cost,
        counted=counted, duration=Spread(tuple(duration), took), first_byte=Spread(tuple(first), began),
        overhead=Spread(tuple(overhead), spent),
    )  # fmt: skip


def _limits(bounds: Bounds) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    return bounds.waits, (0, *bounds.waits), bounds.overheads
