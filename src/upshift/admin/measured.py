"""What do recorded calls and reports come to: the named metrics of an agent, interface, workload, pod or all?"""

from collections.abc import Sequence

from upshift.admin.desk import Actor, Desk
from upshift.admin.moments import past
from upshift.admin.shown import Shown
from upshift.evidence.measurement import Kind, Measurement, Of, Scope, Span, measure
from upshift.evidence.metrics import METRICS, Recorded, observe, select
from upshift.evidence.metrics import metric as metric_named
from upshift.evidence.pattern import HOUR
from upshift.model.contract import A2A
from upshift.model.feedback import About, Escalation, Feedback, Operation, TaskEnded, counted
from upshift.model.metered import Metered
from upshift.model.span import Instant, show_instant
from upshift.store.journal import Dimension
from upshift.traffic.interfaces import delivery_of

MOST_RECORDS = 100_000
_PAGE = 2_000
_BEFORE = 6 * HOUR
"""How long before the window a task may have begun: so far back its calls are looked for."""
_LONGEST_CALL = HOUR
"""Calls are listed by their end: one that began in a window ended at most so long after."""
_OF_TASKS = frozenset(("tokens-per-task", "cost-per-task", "escalation-rate", "reported-tokens-per-task"))
_DIMENSIONS = {Of.AGENT: Dimension.AGENT, Of.WORKLOAD: Dimension.WORKLOAD, Of.POD: Dimension.POD}
_ABOUT = {
    Of.AGENT: About.AGENT, Of.INTERFACE: About.INTERFACE, Of.WORKLOAD: About.WORKLOAD, Of.POD: About.POD,
}  # fmt: skip


class MetricView(Shown):
    """One metric, with all that it takes to find the figure again."""

    metric: str
    """Its name."""
    unit: str
    """Of the figures; empty for a share or a score."""
    value: float | None
    """The mean; the 95th percentile of a metric of the slow end. Null where nothing is known, which is not zero."""
    deviation: float | None
    """Standard deviation."""
    p50: float | None
    """Median."""
    p95: float | None
    """95th percentile."""
    n: int
    """How many values it is of."""
    missing: int
    """How many records should have had a value and had none."""
    query: str
    """Which records give which values."""
    plans: tuple[str, ...]
    """Hashes of the plans that were in force for them; more than one is a change on the way."""
    says: str
    """What has to be known about the figure: that there is none, or of how little it is. Empty when nothing has."""


class MetricsView(Shown):
    """The metrics of one scope in one window."""

    of: str
    """system, agent, interface, workload or pod."""
    name: str
    """Its name; empty for the whole system."""
    since: str
    """Records from here"""
    until: str
    """to before here."""
    metrics: tuple[MetricView, ...]
    """All that were asked for, those without values among them."""


def scope(agent: str = "", interface: str = "", workload: str = "", pod: str = "") -> Scope:
    """Whose metrics are asked for: one of these, or the whole system. Raises ValueError for two."""
    asked = ((Of.AGENT, agent), (Of.INTERFACE, interface), (Of.WORKLOAD, workload), (Of.POD, pod))
    given = [Scope(of, name) for of, name in asked if name]
    if len(given) > 1:
        raise ValueError(f"metrics are of one {' or '.join(of for of, _ in asked)} at a time, or of the whole system")
    return given[0] if given else Scope()


def metrics(
    desk: Desk, actor: Actor, whose: Scope, since: str = "", until: str = "", names: Sequence[str] = ()
) -> MetricsView:
    """The metrics of a scope, all or some, of the last seven days unless said.

    A tenant's admin sees what its own tenant did. Raises ValueError for times and names that are none, and for a window
    with more records than are read at once.
    """
    chosen = [metric_named(each) for each in names] or METRICS
    now = desk.now()
    begin, end = past(since or "7d", now), past(until, now) if until else now + 1
    if begin >= end:
        raise ValueError(f"{show_instant(begin)} is not before {show_instant(end)}")
    span = Span(begin, end)
    around = Span(begin - _BEFORE, end)
    calls = _calls(desk, actor.tenant, whose, around)
    told = _reports(desk, actor.tenant, whose, around)
    told += [one for call in calls if (one := delivery_of(call)) is not None]
    narrow, wide = select(whose, span, calls, told), _of_tasks(whose, span, around, calls, told)
    found = [measure(each, whose, span, observe(each, wide if each.name in _OF_TASKS else narrow)) for each in chosen]
    return MetricsView(
        of=whose.of.value,
        name=whose.name,
        since=show_instant(begin),
        until=show_instant(end),
        metrics=tuple(_view(each) for each in found),
    )


def _of_tasks(whose: Scope, span: Span, around: Span, calls: Sequence[Metered], told: Sequence[Feedback]) -> Recorded:
    """The tasks that ended in a window, with what was done for them before it."""
    parts = select(whose, around, calls, [one for one in told if isinstance(one, Escalation | Operation)])
    ended = select(whose, span, (), [one for one in told if isinstance(one, TaskEnded)])
    return Recorded(whose, span, parts.calls, (*parts.feedback, *ended.feedback))


def _calls(desk: Desk, tenant: str, whose: Scope, span: Span) -> list[Metered]:
    where: dict[Dimension, str] = {Dimension.TENANT: tenant} if tenant else {}
    if whose.of is Of.INTERFACE:
        where |= {Dimension.DIALECT: A2A, Dimension.REQUESTED_MODEL: whose.name}
    elif whose.of is not Of.SYSTEM:
        where[_DIMENSIONS[whose.of]] = whose.name
    found: list[Metered] = []
    before: int | None = None
    while page := desk.journal.calls(where, _PAGE, before):
        found += [one.record for one in page if span.start <= one.record.started < span.end]
        _bounded(len(found), span.start)
        before = page[-1].seq
        if max(one.record.started for one in page) < span.start - _LONGEST_CALL:
            break
    return found


def _reports(desk: Desk, tenant: str, whose: Scope, span: Span) -> list[Feedback]:
    where = {About.TENANT: tenant} if tenant else {}
    if whose.of is not Of.SYSTEM:
        where[_ABOUT[whose.of]] = whose.name
    found = desk.journal.feedback(where, span.start, span.end, MOST_RECORDS + 1)
    _bounded(len(found), span.start)
    return [one for each in found if (one := counted(each)) is not None]


def _bounded(count: int, start: Instant) -> None:
    if count > MOST_RECORDS:
        raise ValueError(f"more than {MOST_RECORDS:,} records since {show_instant(start)}; choose a shorter window")


def _view(found: Measurement) -> MetricView:
    slow = found.kind is Kind.P95
    quantiles = found.quantiles
    p95 = None if quantiles is None else quantiles.p95
    return MetricView(
        metric=found.metric,
        unit=found.unit,
        value=p95 if slow else found.mean,
        deviation=found.deviation,
        p50=None if quantiles is None else quantiles.p50,
        p95=p95,
        n=found.n,
        missing=found.missing,
        query=found.query,
        plans=found.plans,
        says=_says(found),
    )


def _says(found: Measurement) -> str:
    if not found.n and not found.missing:
        return "nothing of this was recorded in the window"
    if not found.missing:
        return ""
    records = f"{found.missing:,} record{'' if found.missing == 1 else 's'} without what it takes"
    return f"and {records}" if found.n else f"nothing but {records}"
