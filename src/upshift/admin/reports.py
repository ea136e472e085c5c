"""What was used, by whatever a person wants to see it by?"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from upshift.admin.desk import Actor, Desk
from upshift.admin.moments import past, zone_of
from upshift.admin.shown import Shown
from upshift.admin.views import usd
from upshift.model.span import Instant, Window, period_of, show_instant, to_datetime
from upshift.store.journal import Dimension, Used

DIMENSIONS = tuple(dimension.value for dimension in Dimension)
MOST_SEQ = 2**63 - 1
"""No entry has a larger number, and no database looks for one."""

_MOST_SLICES = 1_500
_HOUR = 3_600_000_000


class UsageRow(Shown):
    """Totals of the calls of one group."""

    group: dict[str, str]
    """Values of the dimensions that were asked for."""
    calls: int
    """Every call, refused ones included."""
    refused: int
    """Calls that were refused before anything was sent to a provider."""
    degraded: int
    """Calls served by the budget model tier after a soft cap."""
    overage: int
    """Calls metered as pay-as-you-go."""
    failed: int
    """Calls that a provider did not answer."""
    lost: int
    """Calls that a crash cut off, counted at what they held."""
    input: int
    """Input tokens, cached and written ones included."""
    cached: int
    """Input tokens read from a cache."""
    cache_writes: int
    """Input tokens written to a cache."""
    output: int
    """Output tokens, reasoning included."""
    reasoning: int
    """Output tokens of hidden reasoning."""
    cost_nano: int
    """Nano-dollars of the calls whose cost is known."""
    cost_usd: str
    """The same in exact US dollars."""
    unknown_cost_calls: int
    """Calls whose cost is not known: it is not zero, and at most `counted_nano` in all."""
    counted_nano: int
    """Nano-dollars that the budgets were charged."""
    p50_ms: float | None
    """Median latency of calls that were not refused."""
    p95_ms: float | None
    """95th percentile of the same."""


class UsageView(Shown):
    """A report."""

    by: tuple[str, ...]
    """The dimensions that rows are grouped by."""
    since: str
    """Calls that started from here"""
    until: str
    """to before here."""
    zone: str
    """The time zone of hours, days and months."""
    rows: tuple[UsageRow, ...]
    """By cost, the highest first; in the order of time where time is a dimension."""
    total: UsageRow | None
    """Everything together; null when there was no call."""


def dimensions(names: Sequence[str]) -> list[Dimension]:
    """Dimensions by name, commas allowed. Raises ValueError for a name that is none, or comes twice."""
    found: list[Dimension] = []
    for name in (part.strip() for each in names for part in each.split(",")):
        if not name:
            continue
        if name.replace("-", "_") not in DIMENSIONS:
            raise ValueError(f"{name!r} is not a dimension; there are {', '.join(DIMENSIONS)}")
        dimension = Dimension(name.replace("-", "_"))
        if dimension in found:
            raise ValueError(f"{name!r} is named twice")
        found.append(dimension)
    return found


def conditions(pairs: Sequence[str]) -> dict[Dimension, str]:
    """Conditions like 'workload=support-chat'. Raises ValueError."""
    found: dict[Dimension, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} is not a condition; write it like workload=support-chat")
        found[dimensions([name])[0]] = value
    return found


def usage(
    desk: Desk,
    actor: Actor,
    by: Sequence[Dimension],
    where: Mapping[Dimension, str],
    since: str = "",
    until: str = "",
    zone: str = "UTC",
) -> UsageView:
    """Totals of the calls that the actor may see, from this month's beginning until now unless said.

    Raises ValueError for times and zones that are none, ActError for other tenants.
    """
    now, zone = desk.now(), zone_of(zone)
    begin = past(since, now, zone) if since else period_of(Window.MONTH, zone, now).start
    end = past(until, now, zone) if until else now + 1
    if begin >= end:
        raise ValueError(f"{show_instant(begin, zone)} is not before {show_instant(end, zone)}")
    where = own(desk, actor, where)
    rows = [
        _row(group, used)
        for label, first, last in _slices(by, begin, end, zone)
        for used in desk.journal.usage([each for each in by if label is None or each not in label], first, last, where)
        for group in [_group(by, used, label or {})]
    ]
    if not any(each in _TIMES for each in by):
        rows.sort(key=lambda row: (-row.cost_nano, -row.calls))
    total = desk.journal.usage([], begin, end, where)
    return UsageView(
        by=tuple(each.value for each in by),
        since=show_instant(begin, zone),
        until=show_instant(end, zone),
        zone=zone,
        rows=tuple(rows),
        total=_row({}, total[0]) if total else None,
    )


def own(desk: Desk, actor: Actor, where: Mapping[Dimension, str]) -> dict[Dimension, str]:
    """The conditions, held to the actor's tenant. Raises ActError when they name another."""
    if not actor.tenant:
        return dict(where)
    desk.only_seen(actor, where.get(Dimension.TENANT, actor.tenant))
    return {**where, Dimension.TENANT: actor.tenant}


def to_csv(view: UsageView) -> str:
    """The rows for a spreadsheet, without the total."""
    out = io.StringIO()
    figures = [name for name in UsageRow.model_fields if name != "group"]
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*view.by, *figures])
    for row in view.rows:
        names = [harmless(row.group[each]) for each in view.by]
        writer.writerow([*names, *(_cell(getattr(row, name)) for name in figures)])
    return out.getvalue()


_TIMES = (Dimension.HOUR, Dimension.DAY, Dimension.MONTH)


def _slices(
    by: Sequence[Dimension], begin: Instant, end: Instant, zone: str
) -> Iterator[tuple[dict[Dimension, str] | None, Instant, Instant]]:
    """Stretches that are summed up each for itself; the store knows hours and days of UTC only."""
    times = [each for each in by if each in _TIMES]
    if zone == "UTC" or not times:
        yield None, begin, end
        return
    count, at = 0, begin
    while at < end:
        count += 1
        if count > _MOST_SLICES:
            raise ValueError(
                f"that is more than {_MOST_SLICES} rows of time; choose a shorter stretch or a larger unit"
            )
        if Dimension.HOUR in times:
            local = to_datetime(at, zone)
            into = (local.minute * 60 + local.second) * 1_000_000 + local.microsecond
            following = at - into + _HOUR
        else:
            following = period_of(Window.DAY if Dimension.DAY in times else Window.MONTH, zone, at).end
        local = to_datetime(at, zone)
        forms = {Dimension.HOUR: f"{local:%Y-%m-%dT%H}", Dimension.DAY: f"{local:%Y-%m-%d}"}
        label = {each: forms.get(each, f"{local:%Y-%m}") for each in times}
        yield label, at, min(following, end)
        at = following


def _group(by: Sequence[Dimension], used: Used, label: Mapping[Dimension, str]) -> dict[str, str]:
    values = iter(used.group)
    return {each.value: label[each] if each in label else next(values) for each in by}


def _row(group: dict[str, str], used: Used) -> UsageRow:
    tokens = used.usage
    return UsageRow(
        group=group,
        calls=used.calls,
        refused=used.refused,
        degraded=used.degraded,
        overage=used.overage,
        failed=used.failed,
        lost=used.lost,
        input=tokens.input,
        cached=tokens.cached,
        cache_writes=tokens.cache_write_5m + tokens.cache_write_1h,
        output=tokens.output,
        reasoning=tokens.reasoning,
        cost_nano=used.cost,
        cost_usd=usd(used.cost),
        unknown_cost_calls=used.unknown_cost,
        counted_nano=used.counted,
        p50_ms=None if used.p50_us is None else used.p50_us / 1000,
        p95_ms=None if used.p95_us is None else used.p95_us / 1000,
    )


def _cell(value: object) -> object:
    return "" if value is None else value


def harmless(value: str) -> str:
    """Names come from callers; a spreadsheet must not take one for a formula."""
    return f"'{value}" if value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
