"""Which values do recorded calls and feedback give for each metric?"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import msgspec
import numpy as np

from upshift.evidence.measurement import Kind, Measurement, Metric, Observations, Of, Scope, Span, Worse, measure
from upshift.evidence.pattern import HOUR
from upshift.model.feedback import (
    Delivery,
    Escalation,
    Feedback,
    Operation,
    OperationKind,
    Origin,
    Quality,
    TaskEnded,
    TaskOutcome,
)
from upshift.model.ids import PlanHash
from upshift.model.metered import Metered, Outcome
from upshift.model.money import NANO_PER_DOLLAR
from upshift.model.span import MICROS, Instant
from upshift.model.tokens import Certainty

_QUARTER = HOUR // 4
_ANSWERED = (Outcome.SERVED, Outcome.CUT)
_FAILED = (Outcome.UPSTREAM_ERROR, Outcome.LOST)


class Recorded(msgspec.Struct, frozen=True):
    """What is recorded of one scope and span. `calls` by their start, `feedback` by its time."""

    scope: Scope
    span: Span
    calls: tuple[Metered, ...]
    feedback: tuple[Feedback, ...]


Point: TypeAlias = tuple[Instant, float | None, PlanHash | None]
"""When, what (None where it should be known and is not), and under which plan, where the record says."""


def _name(scope: Scope, whose: Metered | Origin) -> bool:
    match scope.of:
        case Of.SYSTEM:
            return True
        case Of.AGENT:
            return whose.agent == scope.name
        case Of.WORKLOAD:
            return whose.workload == scope.name
        case Of.POD:
            return whose.pod == scope.name
        case Of.INTERFACE:
            # A call to a model does not pass an interface; a delivery does.
            return isinstance(whose, Origin) and whose.interface == scope.name


def select(scope: Scope, span: Span, calls: Iterable[Metered], feedback: Iterable[Feedback]) -> Recorded:
    """What concerns a scope and a span. A report with an id that was seen before is left out."""
    mine = tuple(one for one in calls if span.start <= one.started < span.end and _name(scope, one))
    seen: dict[tuple[type, str], Feedback] = {}
    for one in feedback:
        if span.start <= one.at < span.end and _name(scope, one.origin):
            seen.setdefault((type(one), one.id), one)
    return Recorded(scope, span, mine, tuple(seen.values()))


def _latency(recorded: Recorded) -> Iterator[Point]:
    for call in recorded.calls:
        if call.outcome in _ANSWERED:
            yield call.started, call.latency_us / MICROS if call.latency_us > 0 else None, call.plan
    for one in recorded.feedback:
        if isinstance(one, Delivery) and recorded.scope.of is Of.INTERFACE and not one.failed:
            yield one.at, one.latency_us / MICROS if one.latency_us > 0 else None, None


def _first_token(recorded: Recorded) -> Iterator[Point]:
    for call in recorded.calls:
        if call.outcome in _ANSWERED and call.streamed:
            yield call.started, call.first_byte_us / MICROS if call.first_byte_us > 0 else None, call.plan


def _errors(recorded: Recorded) -> Iterator[Point]:
    for call in recorded.calls:
        if call.outcome in _ANSWERED or call.outcome in _FAILED:
            yield call.started, float(call.outcome in _FAILED), call.plan
    for one in recorded.feedback:
        if isinstance(one, Delivery) and recorded.scope.of is Of.INTERFACE:
            yield one.at, float(one.failed), None


def _tasks(recorded: Recorded) -> Iterator[TaskEnded]:
    return (one for one in recorded.feedback if isinstance(one, TaskEnded))


def _failures(recorded: Recorded) -> Iterator[Point]:
    return ((task.at, float(task.outcome is not TaskOutcome.DONE), None) for task in _tasks(recorded))


def session_of(whose: Metered | Origin) -> tuple[str, str]:
    """What joins calls and reports of one session: two tenants may call theirs alike."""
    return whose.tenant, whose.session


def _escalations(recorded: Recorded) -> Iterator[Point]:
    handed = {session_of(one.origin) for one in recorded.feedback if isinstance(one, Escalation)}
    return (
        (task.at, float(session_of(task.origin) in handed) if task.origin.session else None, None)
        for task in _tasks(recorded)
    )


def _per_task(recorded: Recorded, what: Callable[[Metered], float | None]) -> Iterator[Point]:
    sessions: dict[tuple[str, str], list[Metered]] = defaultdict(list)
    for call in recorded.calls:
        if call.session:
            sessions[session_of(call)].append(call)
    for task in _tasks(recorded):
        calls = sessions.get(session_of(task.origin), [])
        parts = [what(call) for call in calls]
        known = [part for part in parts if part is not None]
        # One call of unknown cost makes its task's cost unknown; a task without calls used nothing that we know of.
        yield task.at, sum(known) if parts and len(known) == len(parts) else None, calls[-1].plan if calls else None


def _tokens(recorded: Recorded) -> Iterator[Point]:
    return _per_task(recorded, lambda call: None if call.certainty is Certainty.UNKNOWN else float(call.usage.total))


def _cost(recorded: Recorded) -> Iterator[Point]:
    return _per_task(recorded, lambda call: None if call.cost is None else call.cost / NANO_PER_DOLLAR)


def _throughput(recorded: Recorded) -> Iterator[Point]:
    ended = np.array([task.at for task in _tasks(recorded)], dtype=np.int64)
    first = -(-recorded.span.start // _QUARTER)
    quarters = range(first, recorded.span.end // _QUARTER)
    if not len(ended) or not quarters:
        # Not one task ended: whether nothing was done or nothing was reported is not known.
        return
    inside = (ended // _QUARTER >= first) & (ended // _QUARTER < first + len(quarters))
    counts = np.bincount((ended // _QUARTER - first)[inside], minlength=len(quarters))
    for quarter, count in zip(quarters, counts, strict=True):
        yield quarter * _QUARTER, 4.0 * float(count), None


def _violations(recorded: Recorded) -> Iterator[Point]:
    return ((one.at, float(bool(one.violations)), None) for one in recorded.feedback if isinstance(one, Delivery))


def _quality(recorded: Recorded) -> Iterator[Point]:
    return ((one.at, one.score, None) for one in recorded.feedback if isinstance(one, Quality))


def _durations(recorded: Recorded) -> Iterator[Point]:
    for task in _tasks(recorded):
        yield task.at, None if task.started is None else (task.at - task.started) / MICROS, None


def _operations(recorded: Recorded, kind: OperationKind) -> Iterator[Operation]:
    return (one for one in recorded.feedback if isinstance(one, Operation) and one.kind is kind)


def _reported_latency(recorded: Recorded) -> Iterator[Point]:
    for one in _operations(recorded, OperationKind.AGENT):
        yield one.at, one.latency_us / MICROS if one.latency_us > 0 else None, None


def _reported_errors(recorded: Recorded) -> Iterator[Point]:
    return ((one.at, float(one.failed), None) for one in _operations(recorded, OperationKind.AGENT))


def _tool_errors(recorded: Recorded) -> Iterator[Point]:
    return ((one.at, float(one.failed), None) for one in _operations(recorded, OperationKind.TOOL))


def _reported_tokens(recorded: Recorded) -> Iterator[Point]:
    tasks: dict[tuple[str, str], list[int | None]] = defaultdict(list)
    for one in _operations(recorded, OperationKind.MODEL):
        known = one.input_tokens is not None or one.output_tokens is not None
        tokens = (one.input_tokens or 0) + (one.output_tokens or 0) if known else None
        tasks[one.origin.tenant, one.origin.task].append(tokens)
    for task in _tasks(recorded):
        parts = tasks.get((task.origin.tenant, task.origin.task), []) if task.origin.task else []
        known_parts = [part for part in parts if part is not None]
        yield task.at, float(sum(known_parts)) if parts and len(known_parts) == len(parts) else None, None


_LATENCY = "seconds from request to the answer's last byte; calls that were answered"
_FIRST = "seconds from request to the answer's first byte; streamed calls that were answered"
_SOURCES: dict[Metric, Callable[[Recorded], Iterator[Point]]] = {
    Metric(name="latency", kind=Kind.VALUE, unit="s", query=_LATENCY): _latency,
    Metric(name="latency-p95", kind=Kind.P95, unit="s", query=_LATENCY, floor=0.1, margin=0.5): _latency,
    Metric(name="first-token", kind=Kind.VALUE, unit="s", query=_FIRST): _first_token,
    Metric(
        name="error-rate",
        kind=Kind.RATE,
        query="calls the provider failed or that were lost, of those and the answered; refusals of ours count nowhere",
        floor=0.1,
        margin=0.5,
    ): _errors,
    Metric(
        name="task-failure-rate",
        kind=Kind.RATE,
        query="tasks that ended failed or abandoned, of those that ended",
        floor=0.1,
        margin=0.5,
    ): _failures,
    Metric(
        name="escalation-rate",
        kind=Kind.RATE,
        query="tasks whose session was handed to somebody, of those that ended",
        floor=0.1,
        margin=0.5,
    ): _escalations,
    Metric(
        name="tokens-per-task",
        kind=Kind.VALUE,
        unit="tokens",
        query="input and output of all calls of a task's session in the span",
    ): _tokens,
    Metric(
        name="cost-per-task", kind=Kind.VALUE, unit="$", query="cost of all calls of a task's session in the span"
    ): _cost,
    Metric(
        name="tasks-per-hour",
        kind=Kind.MEAN,
        worse=Worse.DOWN,
        unit="1/h",
        query="tasks that ended in each whole quarter of an hour, times four",
    ): _throughput,
    Metric(
        name="contract-violations",
        kind=Kind.RATE,
        query="messages over an interface that broke a term of its contract, of all",
        floor=0.1,
        margin=0.5,
    ): _violations,
    Metric(
        name="quality", kind=Kind.VALUE, worse=Worse.DOWN, query="scores from 0 to 1 that were reported", margin=0.05
    ): _quality,
    Metric(
        name="task-duration",
        kind=Kind.VALUE,
        unit="s",
        query="seconds from a task's start to its end; tasks that ended, as reported",
    ): _durations,
    Metric(
        name="reported-latency",
        kind=Kind.VALUE,
        unit="s",
        query="seconds that an agent took each time it was invoked, as its own instrumentation reports",
    ): _reported_latency,
    Metric(
        name="reported-error-rate",
        kind=Kind.RATE,
        query="invocations of an agent that failed, of all, as its own instrumentation reports",
        floor=0.1,
        margin=0.5,
    ): _reported_errors,
    Metric(
        name="tool-error-rate",
        kind=Kind.RATE,
        query="uses of a tool that failed, of all, as the agent's own instrumentation reports",
        floor=0.1,
        margin=0.5,
    ): _tool_errors,
    Metric(
        name="reported-tokens-per-task",
        kind=Kind.VALUE,
        unit="tokens",
        query="tokens of a task's model calls in the span, as the agent's own instrumentation reports; never spend",
    ): _reported_tokens,
}

METRICS: tuple[Metric, ...] = tuple(_SOURCES)


def metric(name: str) -> Metric:
    """The metric of a name. Raises ValueError, with the names there are."""
    for one in METRICS:
        if one.name == name:
            return one
    raise ValueError(f"there is no metric {name!r}; there are {', '.join(each.name for each in METRICS)}")


def observe(metric: Metric, recorded: Recorded) -> Observations:
    """The values of a metric of ours. Raises ValueError for a metric that is not one of METRICS."""
    source = _SOURCES.get(metric)
    if source is None:
        raise ValueError(f"the metric {metric.name!r} is not one that records are read for")
    points = list(source(recorded))
    known = [(at, value) for at, value, _ in points if value is not None]
    return Observations(
        np.array([at for at, _ in known], dtype=np.int64),
        np.array([value for _, value in known], dtype=np.float64),
        len(points) - len(known),
        tuple(sorted({plan for _, _, plan in points if plan is not None})),
    )


def measurements(recorded: Recorded) -> tuple[Measurement, ...]:
    """Every metric of a scope and span, those without values among them."""
    return tuple(measure(one, recorded.scope, recorded.span, observe(one, recorded)) for one in METRICS)
