"""How is usage told from totals by hour and day where they reach, and from calls elsewhere, in any database's words?"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import accumulate
from typing import Any

import msgspec

from upshift.model.span import Instant
from upshift.model.tokens import Usage
from upshift.store.journal import Dimension, Used
from upshift.store.schema import FIGURES, SUMS

FIRST_DAY, LAST_DAY = -700_000, 2_900_000
"""Days since the epoch, far from any call, beyond which months are not told apart."""
_EPOCH = date(1970, 1, 1).toordinal()

HOUR, DAY = 3_600_000_000, 86_400_000_000
"""Microseconds. Totals are kept by hours and days of UTC; reports of other time zones are put together from hours."""

# Latencies are counted in buckets, eight to the octave: each reaches 2 ** (1 / 8) times as far as it begins, so that
# its middle is at most 4.5 % from whatever is in it. All counts together are kept as one number, with as many digits
# for each bucket as its count can ever need. Such numbers are added like any others.
BUCKETS = 400
PER_OCTAVE = 8
_MIDDLES = tuple(round(2 ** ((bucket + 0.5) / PER_OCTAVE)) for bucket in range(BUCKETS))
LATENCY_ERROR = 0.045
"""How far a quantile from buckets may be from the true one, as a share of it; or 1 microsecond."""

TIMES = frozenset((Dimension.HOUR, Dimension.DAY, Dimension.MONTH))
_DETAILS = {Dimension.USER, Dimension.KEY, Dimension.AGENT}
"""Totals of these are kept by day only."""

SERVED = "FILTER (WHERE outcome <> 'refused')"
COUNTS = (
    "",
    "FILTER (WHERE outcome = 'refused')",
    "FILTER (WHERE bucket = 'degraded' AND outcome <> 'refused')",
    "FILTER (WHERE bucket = 'overage' AND outcome <> 'refused')",
    "FILTER (WHERE outcome = 'upstream_error')",
    "FILTER (WHERE outcome = 'lost')",
)


class Reach(msgspec.Struct, frozen=True):
    """How far the totals reach, from which instant on calls are kept, and before which instant every call started."""

    last_seq: int
    kept_from: Instant
    newest: Instant
    months: bool
    """Whether totals by month reach as far as those by day, and all facets are labelled."""

    @property
    def labels(self) -> str:
        """Where it is told what facets and outlines stand for: there are far fewer of them than profiles."""
        return "facet_labels" if self.months else "profiles"


class Stretches(msgspec.Struct, frozen=True):
    """A stretch of time taken apart: whole hours or days of UTC from `first` to before `last`, and what is left."""

    first: int
    last: int
    edges: tuple[tuple[Instant, Instant], ...]


def stretches(
    since: Instant, until: Instant, kept_from: Instant, unit: int = HOUR, newest: Instant | None = None
) -> Stretches:
    """Where calls are not kept any more, an hour or day belongs to the stretch that its beginning is in.

    With every call started before `newest`, an hour that reaches beyond it is whole for whoever asks beyond it too.
    """
    first = -(-since // unit)
    whole = until <= kept_from or (newest is not None and until >= newest)
    last = -(-until // unit) if whole else until // unit
    edges = [(since, min(first * unit, until)), (max(last * unit, since), until)]
    if first > last:
        edges = [(since, until)]
    kept = tuple((begin, end) for begin, end in edges if kept_from <= begin < end)
    return Stretches(first, max(first, last), kept)


def month_of(day: int) -> int:
    """The number of a day's month: years of our era times twelve, and months since January."""
    found = date.fromordinal(_EPOCH + min(max(day, FIRST_DAY), LAST_DAY))
    return found.year * 12 + found.month - 1


def _begins(month: int) -> int:
    return date(month // 12, month % 12 + 1, 1).toordinal() - _EPOCH


def _whole_months(first: int, last: int, *, beyond: bool) -> tuple[int, int]:
    """Months that lie within these days; with nothing `beyond` the last of them, its month is whole too."""
    begin, end = month_of(first), month_of(last)
    begin += _begins(begin) < first
    end += beyond and _begins(end) < last
    return begin, end


class Asked(msgspec.Struct, frozen=True):
    """What a report is of: its groups and conditions, its stretch of time, and whether quantiles are wanted."""

    by: tuple[Dimension, ...]
    since: Instant
    until: Instant
    where: Mapping[Dimension, str]
    latencies: bool

    @property
    def dimensions(self) -> frozenset[Dimension]:
        """All that calls have to be told apart by."""
        return frozenset((*self.by, *self.where))

    @property
    def detailed(self) -> bool:
        """Whether only totals by day will do."""
        return bool(self.dimensions & _DETAILS)

    @property
    def timed(self) -> bool:
        """Whether hours or days have to be told apart."""
        return bool(self.dimensions & TIMES)

    def parts(self, reach: Reach) -> Stretches | None:
        """What totals serve and what they do not; None where they serve nothing of it."""
        unit = DAY if self.detailed else HOUR
        by_call = Dimension.SESSION in self.dimensions or (self.detailed and Dimension.HOUR in self.dimensions)
        if by_call or reach.last_seq <= 0:
            return None
        found = stretches(self.since, self.until, reach.kept_from, unit, reach.newest)
        return None if found.first == found.last else found


class Words(ABC):
    """What databases say differently."""

    mark = "?"
    """What stands for a value."""
    fresh = "started"
    """The column by which new calls are held to a stretch, once they were found by their entries."""

    @abstractmethod
    def label(self, dimension: Dimension, time: str, unit: int) -> str:
        """A dimension as reports show it; `time` is a number of so many microseconds since the epoch."""

    def added(self, name: str, condition: str = "") -> str:
        """The sum of a column, of some rows or of all."""
        return f"sum({name}) {condition}" if condition else f"sum({name})"

    @abstractmethod
    def latencies(self, condition: str = "") -> str:
        """The latencies of many totals, together."""

    @abstractmethod
    def calls(self, source: str, condition: str, groups: Mapping[str, str], *, latencies: bool) -> str:
        """A statement with the SUMS of calls by `groups`: expressions by their names."""


def from_totals(words: Words, asked: Asked, parts: Stretches, reach: Reach) -> tuple[str, list[Any]]:
    """Whole days and hours from their tables; from calls what is at the ends, or not in the tables yet.

    A statement and its values. Rows have the groups, COUNTS, FIGURES, and latencies where they were asked for.
    """
    hourly = Dimension.HOUR in asked.dimensions
    unit = HOUR if hourly else DAY
    groups = {f"g{at}": f'p."{each.value}"' for at, each in enumerate(asked.by) if each not in TIMES}
    groups |= {"outcome": "p.outcome", "bucket": "p.bucket"}
    sums = SUMS if asked.latencies else SUMS[:-1]
    values: list[Any] = []
    selects: list[str] = []

    def part(table: str, profile: str, time: str, condition: str, *limits: int) -> None:
        selects.append(_part(words, asked, reach.labels, table, profile, time, condition, groups, sums, unit))
        values.extend([*limits, *_of_profiles(asked).values(), *_of_times(asked).values()])

    if asked.detailed:
        ends, within = [(parts.first, parts.last)], f">= {words.mark} AND {{0}} < {words.mark}"
        if reach.months and not asked.timed:
            begin, end = _whole_months(parts.first, parts.last, beyond=asked.until >= reach.newest)
            if begin < end:
                part("facet_months", "facet", "month", f"month {within.format('month')}", begin, end)
                ends = [(parts.first, _begins(begin)), (_begins(end), parts.last)]
        for begin, end in ends:
            if begin < end:
                part("facet_days", "facet", "day", f"day {within.format('day')}", begin, end)
    elif hourly:
        part(
            "outline_hours", "outline", "hour", f"hour >= {words.mark} AND hour < {words.mark}", parts.first, parts.last
        )
    else:
        first_day, last_day = -(-parts.first // 24), parts.last // 24
        if first_day < last_day:
            part("outline_days", "outline", "day", f"day >= {words.mark} AND day < {words.mark}", first_day, last_day)
            ends = [(parts.first, first_day * 24), (last_day * 24, parts.last)]
        else:
            ends = [(parts.first, parts.last)]
        for begin, end in ends:
            if begin < end:
                condition = f"hour >= {words.mark} AND hour < {words.mark}"
                part("outline_hours", "outline", "hour / 24", condition, begin, end)
    rest, limits = _rest(words, parts, reach, DAY if asked.detailed else HOUR)
    time = f"started / {unit}"
    only = _only(words, _of_profiles(asked), time, unit) + _only(words, _of_times(asked), time, unit)
    columns = {**groups, "t": time} if asked.timed else groups
    source = f"({rest}) AS c JOIN profiles AS p ON p.id = c.profile"
    selects.append(words.calls(source, f"true{only}", columns, latencies=asked.latencies))
    values += [*limits, *_of_profiles(asked).values(), *_of_times(asked).values()]
    return _together(words, asked, list(columns), selects, unit), values


def _of_profiles(asked: Asked) -> Mapping[Dimension, str]:
    return {each: value for each, value in asked.where.items() if each not in TIMES}


def _of_times(asked: Asked) -> Mapping[Dimension, str]:
    return {each: value for each, value in asked.where.items() if each in TIMES}


def _only(words: Words, where: Mapping[Dimension, str], time: str, unit: int) -> str:
    return "".join(f" AND {words.label(each, time, unit)} = {words.mark}" for each in where)


def _part(
    words: Words, asked: Asked, labels: str, table: str, profile: str, time: str, condition: str,
    groups: Mapping[str, str], sums: Sequence[str], unit: int,
) -> str:  # fmt: skip
    """Summed up by profile before it is looked up whose that is: there are far fewer profiles than totals."""
    timed = f", {time} AS t" if asked.timed else ""
    # There is one row of a profile and its day or hour, so that nothing is to be summed up where these are told apart;
    # and so few of a profile's months that it does not pay.
    apart = table == "facet_months" or (asked.timed and time in ("day", "hour"))
    added = ", ".join(name if apart else f"{words.added(name)} AS {name}" for name in sums if name != "latencies")
    if asked.latencies:
        added += ", latencies" if apart else f", {words.latencies()} AS latencies"
    mine = _of_profiles(asked)
    if mine:
        only = _only(words, mine, "", 1)
        condition += f" AND {profile} IN (SELECT id FROM {labels} WHERE true{only})"  # noqa: S608
    grouped = "" if apart else f" GROUP BY {profile}{', ' + time if asked.timed else ''}"
    inner = f"SELECT {profile} AS profile{timed}, {added} FROM {table} WHERE {condition}{grouped}"  # noqa: S608
    picked = [f"{expression} AS {name}" for name, expression in groups.items()]
    picked += ["t"] if asked.timed else []
    then = _only(words, _of_times(asked), "t", unit)
    return (
        f"SELECT {', '.join([*picked, *sums])} FROM ({inner}) AS s JOIN {labels} AS p ON p.id = s.profile"  # noqa: S608
        f" WHERE true{then}"
    )


def _rest(words: Words, parts: Stretches, reach: Reach, unit: int) -> tuple[str, list[int]]:
    mark = words.mark
    edges = [f"SELECT * FROM calls WHERE started >= {mark} AND started < {mark}"] * len(parts.edges)  # noqa: S608
    fresh = f"SELECT * FROM calls WHERE seq > {mark} AND {words.fresh} >= {mark} AND {words.fresh} < {mark}"  # noqa: S608
    limits = [instant for edge in parts.edges for instant in edge]
    return " UNION ALL ".join([*edges, fresh]), [*limits, reach.last_seq, parts.first * unit, parts.last * unit]


def _together(words: Words, asked: Asked, names: Sequence[str], selects: Sequence[str], unit: int) -> str:
    together = f"({' UNION ALL '.join(selects)})"
    if asked.timed:
        # Summed up twice: first by the number of the day or hour, so that its label is made once and not for every row.
        added = [f"{words.added(name)} AS {name}" for name in SUMS[:-1]]
        if asked.latencies:
            added.append(f"{words.latencies()} AS latencies")
        inner = ", ".join([*names, *added])
        together = f"(SELECT {inner} FROM {together} AS parts GROUP BY {', '.join(names)})"  # noqa: S608
    groups = [words.label(each, "t", unit) if each in TIMES else f"g{at}" for at, each in enumerate(asked.by)]
    columns = [
        *groups,
        *(f"coalesce({words.added('calls', only)}, 0)" for only in COUNTS),
        *(words.added(name) for name in FIGURES),
    ]
    if asked.latencies:
        columns.append(words.latencies(SERVED))
    return f"SELECT {', '.join(columns)} FROM {together} AS middle{grouped(groups)}"  # noqa: S608


def grouped(groups: Sequence[str]) -> str:
    """The end of a statement that has one row per group, and none at all where there was no call."""
    return f" GROUP BY {', '.join(groups)}" if groups else " HAVING count(*) > 0"


def used_from(row: Sequence[Any], width: int, quantiles: Sequence[int | None]) -> Used:
    """A row of `from_totals` with `width` dimensions, and its median and 95th percentile."""
    figures = [int(value or 0) for value in row[width : width + len(COUNTS) + len(FIGURES)]]
    cost, unknown_cost, counted, counted_tokens = figures[12:]
    calls, refused, degraded, overage, failed, lost = figures[:6]
    return Used(
        group=tuple(row[:width]), calls=calls, refused=refused, degraded=degraded, overage=overage, failed=failed,
        lost=lost, usage=Usage(*figures[6:12]), cost=cost, unknown_cost=unknown_cost, counted=counted,
        counted_tokens=counted_tokens, p50_us=quantiles[0], p95_us=quantiles[1],
    )  # fmt: skip


def quantiles(counts: Sequence[int], *percents: int) -> tuple[int | None, ...]:
    """Microseconds that these shares of calls took at most, within LATENCY_ERROR; None when there were no calls.

    `counts` are calls per bucket.
    """
    until = list(accumulate(counts))
    if not until or not until[-1]:
        return (None,) * len(percents)
    return tuple(_MIDDLES[bisect_left(until, (until[-1] * percent + 99) // 100)] for percent in percents)
