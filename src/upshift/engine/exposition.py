"""How do totals of the ledger and what processes say of themselves become Prometheus metrics?"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from upshift.engine.processes import Seen
from upshift.engine.totals import Follower, Group, Histogram, Total, Totals
from upshift.model.budget import Bucket
from upshift.model.live import Live
from upshift.model.metered import Outcome
from upshift.model.money import NANO_PER_DOLLAR
from upshift.model.span import MICROS, Instant
from upshift.traffic.health import State

_ROUTE = ("tenant", "workload", "model", "provider")
_CALLS = (*_ROUTE, "outcome", "bucket", "reason")
_TIMES = ("workload", "model", "provider")
_PROCESS = ("process", "pid")


def exposed(follower: Follower, seen: Seen, accept: str) -> tuple[bytes, str]:
    """The metrics in the format that `accept` asks for, Prometheus text or OpenMetrics, and its content type.

    Blocking: what is new in the ledger is read first.
    """
    follower.refresh()
    found: list[Metric] = []

    def read(totals: Totals, seq: int, at: Instant) -> None:
        found.extend(_of_ledger(totals))
        entry = GaugeMetricFamily("upshift_ledger_entry", "The ledger's entry up to which its totals are.")
        entry.add_metric((), seq)
        when = GaugeMetricFamily("upshift_ledger_read_timestamp_seconds", "When the ledger was last read for them.")
        when.add_metric((), at / MICROS)
        found.extend((entry, when))

    following = GaugeMetricFamily("upshift_ledger_summed_up", "1 once the totals of the ledger are here.")
    following.add_metric((), float(follower.look(read)))
    scraped = CollectorRegistry(auto_describe=False)
    scraped.register(_Found([*found, following, *_of_processes(seen)]))
    encode, content_type = choose_encoder(accept)
    return encode(scraped), content_type


class _Found(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


# the ledger ---------------------------------------------------------------------------------------------------------


def _of_ledger(totals: Totals) -> Iterator[Metric]:
    groups = totals.groups
    yield _sums("upshift_calls", "Calls.", _CALLS, groups, lambda group, total: total.calls)
    yield _tokens(groups)
    yield _sums(
        "upshift_cost_dollars", "What calls cost, where that is known.", (*_ROUTE, "bucket"), groups,
        lambda group, total: total.cost, per=NANO_PER_DOLLAR,
    )  # fmt: skip
    yield _sums(
        "upshift_counted_dollars", "What budgets were charged: the cost, or what was held where that is not known.",
        (*_ROUTE, "bucket"), groups, lambda group, total: total.counted, per=NANO_PER_DOLLAR,
    )  # fmt: skip
    yield _sums(
        "upshift_unknown_cost_calls", "Calls whose cost is not known.", _ROUTE, groups,
        lambda group, total: total.unknown_cost,
    )  # fmt: skip
    yield _sums(
        "upshift_refusals", "Calls that were refused.", ("tenant", "workload", "reason"), groups,
        lambda group, total: total.calls if group.outcome == Outcome.REFUSED else 0,
    )  # fmt: skip
    yield _sums(
        "upshift_degraded_calls", "Calls that were served by another model at a ceiling.", ("tenant", "workload"),
        groups, lambda group, total: _served_from(Bucket.DEGRADED, group, total),
    )  # fmt: skip
    yield _sums(
        "upshift_overage_calls", "Calls beyond a ceiling that are paid for as you go.", ("tenant", "workload"),
        groups, lambda group, total: _served_from(Bucket.OVERAGE, group, total),
    )  # fmt: skip
    alerts = CounterMetricFamily(
        "upshift_alerts", "Thresholds of budgets that were reached, or will be at this pace.",
        labels=("tenant", "workload", "threshold"),
    )  # fmt: skip
    for (tenant, workload, threshold), count in sorted(totals.alerts.items()):
        alerts.add_metric((tenant, workload, str(threshold)), count)
    yield alerts
    yield from _times(totals)


def _served_from(bucket: Bucket, group: Group, total: Total) -> int:
    return total.calls if group.bucket == bucket and group.outcome != Outcome.REFUSED else 0


def _sums(
    name: str,
    what: str,
    labels: Sequence[str],
    groups: dict[Group, Total],
    figure: Callable[[Group, Total], int],
    per: int = 1,
) -> Metric:
    """A counter of what is not 0, summed up over all that is not a label; divided at the end, so that it is exact."""
    sums: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for group, total in groups.items():
        amount = figure(group, total)
        if amount:
            sums[tuple(getattr(group, label) for label in labels)] += amount
    family = CounterMetricFamily(name, what, labels=labels)
    for values, amount in sorted(sums.items()):
        family.add_metric(values, amount / per if per > 1 else amount)
    return family


def _tokens(groups: dict[Group, Total]) -> Metric:
    sums: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for group, total in groups.items():
        usage, route = total.usage, tuple(getattr(group, label) for label in _ROUTE)
        for kind, count in (
            ("input", usage.input),
            ("cached_input", usage.cached),
            ("cache_write_input", usage.cache_write_5m + usage.cache_write_1h),
            ("output", usage.output),
            ("reasoning_output", usage.reasoning),
        ):
            if count:
                sums[*route, kind] += count
    what = "Tokens. Input contains cached_input and cache_write_input, output contains reasoning_output."
    family = CounterMetricFamily("upshift_tokens", what, labels=(*_ROUTE, "kind"))
    for values, count in sorted(sums.items()):
        family.add_metric(values, count)
    return family


def _times(totals: Totals) -> Iterator[Metric]:
    since = "of calls that ended since this process began to read the ledger."
    duration = HistogramMetricFamily("upshift_call_duration_seconds", f"How long calls took, {since}", labels=_TIMES)
    first = HistogramMetricFamily("upshift_first_byte_seconds", f"How soon answers began, {since}", labels=_TIMES)
    for route, times in totals.times.items():
        labels = (route.workload, route.model, route.provider)
        duration.add_metric(labels, *_buckets(times.duration))
        first.add_metric(labels, *_buckets(times.first_byte))
    overhead = HistogramMetricFamily("upshift_overhead_seconds", f"Time that the gateway itself took, {since}")
    overhead.add_metric((), *_buckets(totals.overhead))
    yield from (duration, first, overhead)


def _buckets(histogram: Histogram) -> tuple[list[tuple[str, float]], float]:
    found, below = [], 0
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        below += count
        found.append((bound, float(below)))
    return found, histogram.sum_us / MICROS


# processes ----------------------------------------------------------------------------------------------------------

_Figure = tuple[str, str, Callable[[Live], float | None]]
_OF_ALL: tuple[_Figure, ...] = (
    ("upshift_process_start_time_seconds", "When the process began.", lambda each: each.started / MICROS),
    ("upshift_process_resident_memory_bytes", "Memory that is resident.", lambda each: each.memory_bytes),
    ("upshift_process_open_fds", "Open file descriptors.", lambda each: each.open_fds),
    ("upshift_process_tasks", "Tasks of the event loop.", lambda each: each.tasks),
    (
        "upshift_event_loop_lag_seconds", "How late the event loop was at the worst, in the last 15 seconds.",
        lambda each: each.lag_seconds,
    ),
    ("upshift_calls_in_flight", "Requests that are being served.", lambda each: each.in_flight),
    ("upshift_client_connections", "Open connections of clients.", lambda each: each.connections),
    (
        "upshift_holds_open", "Calls that hold something in the budgets.",
        lambda each: None if each.books is None else each.books.holds,
    ),
    (
        "upshift_ledger_healthy", "1 while entries can be written.",
        lambda each: None if each.books is None else float(each.books.healthy),
    ),
    (
        "upshift_ledger_database_away", "1 while entries go to a log on the keeper's own disk instead of the database.",
        lambda each: None if each.books is None else float(each.books.away),
    ),
    (
        "upshift_ledger_away_since_timestamp_seconds", "Since when they do.",
        lambda each: None if each.books is None or each.books.away_since is None else each.books.away_since / MICROS,
    ),
    (
        "upshift_ledger_owed_entries", "Entries in that log that the database does not have yet, as the keeper knows.",
        lambda each: None if each.books is None else each.books.owed,
    ),
    (
        "upshift_ledger_told_timestamp_seconds", "When the database was last told all that was in that log.",
        lambda each: None if each.books is None or each.books.told is None else each.books.told / MICROS,
    ),
    (
        "upshift_ledger_unwritten_entries", "Entries that are not known to be on disk.",
        lambda each: None if each.books is None else each.books.unwritten,
    ),
    (
        "upshift_ledger_unwritten_seconds", "How long the oldest of them has been waiting, at least.",
        lambda each: None if each.books is None else each.books.unwritten_seconds,
    ),
)  # fmt: skip


def _of_processes(seen: Seen) -> Iterator[Metric]:
    up = GaugeMetricFamily("upshift_process_up", "1 for one that answers, 0 for one that is silent.", labels=_PROCESS)
    for each in seen.processes:
        up.add_metric(_labels(each), 1)
    for process, pid in seen.silent:
        up.add_metric((process, str(pid)), 0)
    yield up
    for name, what, figure in _OF_ALL:
        family = GaugeMetricFamily(name, what, labels=_PROCESS)
        for each in seen.processes:
            value = figure(each)
            if value is not None:
                family.add_metric(_labels(each), value)
        yield family
    plan = GaugeMetricFamily("upshift_plan_info", "Which plan a gateway judges by.", labels=(*_PROCESS, "plan"))
    for each in seen.processes:
        if each.plan:
            plan.add_metric((*_labels(each), each.plan), 1)
    yield plan
    yield from _upstreams(seen)


def _upstreams(seen: Seen) -> Iterator[Metric]:
    pool = GaugeMetricFamily(
        "upshift_upstream_connections", "Open connections to providers.", labels=(*_PROCESS, "provider", "state")
    )
    circuit = GaugeMetricFamily(
        "upshift_circuit_state", "1 for the state that a provider's circuit is in, 0 for the others.",
        labels=(*_PROCESS, "provider", "state"),
    )  # fmt: skip
    for each in seen.processes:
        for use in each.upstreams:
            labels = (*_labels(each), use.provider)
            pool.add_metric((*labels, "idle"), use.idle)
            pool.add_metric((*labels, "busy"), use.open - use.idle)
            for state in State:
                circuit.add_metric((*labels, state.value), float(state == use.circuit))
    yield from (pool, circuit)


def _labels(each: Live) -> tuple[str, str]:
    return each.process, str(each.pid)
