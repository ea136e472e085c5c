"""Which values records give, of whom, and what is missing among them."""

import pytest

from upshift.evidence.measurement import Kind, Metric, Of, Scope, Span
from upshift.evidence.metrics import METRICS, Recorded, measurements, metric, observe, select
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
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.tokens import Certainty, Usage

SPAN = Span(0, 2 * HOUR)
ALL = Scope()


def call(number: int, at: int = 0, **more: object) -> Metered:
    known: dict[str, object] = {
        "request": RequestId(f"r{number}"),
        "started": at,
        "plan": PlanHash("p"),
        "session": "s",
        "agent": "ada",
        "usage": Usage(input=100, output=50),
        "cost": 2_000_000,
        "latency_us": 1_500_000,
        "first_byte_us": 300_000,
    }
    return Metered(**(known | more))  # type: ignore[arg-type]  # Fields by name.


def values(name: str, calls: list[Metered], feedback: list[Feedback] | None = None, scope: Scope = ALL) -> list[float]:
    return list(observe(metric(name), select(scope, SPAN, calls, feedback or [])).values)


def ended(number: int, at: int = 10, session: str = "s", outcome: TaskOutcome = TaskOutcome.DONE) -> TaskEnded:
    return TaskEnded(f"t{number}", at, Origin(session=session, agent="ada"), outcome)


def test_latency_is_of_answered_calls_and_first_tokens_of_streamed_ones() -> None:
    calls = [call(1), call(2, streamed=True), call(3, outcome=Outcome.UPSTREAM_ERROR), call(4, outcome=Outcome.REFUSED)]
    assert values("latency", calls) == [1.5, 1.5]
    assert values("first-token", calls) == [0.3]


def test_errors_are_of_the_provider_and_not_our_refusals() -> None:
    outcomes = (Outcome.SERVED, Outcome.CUT, Outcome.UPSTREAM_ERROR, Outcome.LOST, Outcome.REFUSED, Outcome.CLIENT_LEFT)
    assert sorted(values("error-rate", [call(i, outcome=one) for i, one in enumerate(outcomes)])) == [0, 0, 1, 1]


def test_a_task_uses_what_all_calls_of_its_session_used() -> None:
    calls = [call(1), call(2), call(3, session="other")]
    assert values("tokens-per-task", calls, [ended(1)]) == [300]
    assert values("cost-per-task", calls, [ended(1)]) == [pytest.approx(0.004)]


def test_an_unknown_cost_is_missing_and_never_zero() -> None:
    calls = [call(1), call(2, cost=None, certainty=Certainty.UNKNOWN)]
    recorded = select(ALL, SPAN, calls, [ended(1), ended(2, session="")])
    for name in ("cost-per-task", "tokens-per-task"):
        found = observe(metric(name), recorded)
        assert (len(found), found.missing) == (0, 2)


def test_escalated_and_failed_tasks_are_shares_of_those_that_ended() -> None:
    feedback: list[Feedback] = [
        ended(1),
        ended(2, session="t", outcome=TaskOutcome.FAILED),
        Escalation("e", 5, Origin(session="t")),
        Escalation("e2", 6, Origin(session="never-ended")),
    ]
    assert values("escalation-rate", [], feedback) == [0, 1]
    assert values("task-failure-rate", [], feedback) == [0, 1]


def test_a_quarter_of_an_hour_without_a_task_counts_as_one_and_no_task_at_all_is_no_data() -> None:
    assert values("tasks-per-hour", [], [ended(1), ended(2), ended(3, at=HOUR)]) == [8, 0, 0, 0, 4, 0, 0, 0]
    assert values("tasks-per-hour", [], []) == []


def test_interfaces_have_deliveries() -> None:
    feedback: list[Feedback] = [
        Delivery("d1", 1, Origin(interface="ada-bob"), 500_000),
        Delivery("d2", 2, Origin(interface="ada-bob"), 0, failed=True, violations=("answer/score",)),
        Delivery("d3", 3, Origin(interface="other"), 500_000),
    ]
    scope = Scope(Of.INTERFACE, "ada-bob")
    assert values("latency", [call(1)], feedback, scope) == [0.5]
    assert values("error-rate", [call(1)], feedback, scope) == [0, 1]
    assert values("contract-violations", [call(1)], feedback, scope) == [0, 1]
    assert values("latency", [call(1)], feedback) == [1.5]


@pytest.mark.parametrize(("of", "name"), [(Of.AGENT, "ada"), (Of.WORKLOAD, "chat"), (Of.POD, "blue")])
def test_a_scope_takes_its_own(of: Of, name: str) -> None:
    calls = [call(1, agent="ada", workload="chat", pod="blue"), call(2, agent="bob", workload="code", pod="red")]
    assert [one.request for one in select(Scope(of, name), SPAN, calls, []).calls] == ["r1"]
    assert len(select(ALL, SPAN, calls, []).calls) == 2


def test_a_report_that_is_sent_twice_counts_once_and_what_is_outside_the_span_not_at_all() -> None:
    feedback = [Quality("q", 1, Origin(), 0.9), Quality("q", 2, Origin(), 0.1), Quality("r", 2 * HOUR, Origin(), 0.5)]
    assert values("quality", [], list(feedback)) == [0.9]


def test_every_figure_says_what_it_is_and_without_data_it_is_none() -> None:
    found = {one.metric: one for one in measurements(select(ALL, SPAN, [call(1)], []))}
    assert set(found) == {one.name for one in METRICS}
    assert all(one.query for one in found.values())
    latency, quality = found["latency"], found["quality"]
    assert (latency.n, latency.mean, latency.plans, latency.span) == (1, 1.5, ("p",), SPAN)
    assert (quality.n, quality.mean, quality.quantiles) == (0, None, None)


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="there are latency"):
        metric("speed")
    with pytest.raises(ValueError, match="not one that records are read for"):
        observe(Metric(name="mine", kind=Kind.MEAN), Recorded(ALL, SPAN, (), ()))
    with pytest.raises(ValueError, match="from 0 to 1"):
        Quality("q", 1, Origin(), 80)


def seen(number: int, kind: OperationKind, task: str = "t", **more: object) -> Operation:
    origin = Origin(agent="ada", task=task)
    return Operation(id=f"o{number}", at=10, origin=origin, kind=kind, latency_us=2_000_000, **more)  # type: ignore[arg-type]  # Fields by name.


def test_what_instrumented_agents_report_is_kept_apart_from_calls() -> None:
    feedback: list[Feedback] = [
        seen(1, OperationKind.AGENT),
        seen(2, OperationKind.AGENT, failed=True),
        seen(3, OperationKind.TOOL, failed=True),
        seen(4, OperationKind.MODEL, input_tokens=100, output_tokens=5),
        seen(5, OperationKind.MODEL, output_tokens=7),
        TaskEnded("t1", 10, Origin(task="t")),
    ]
    assert values("reported-latency", [], feedback) == [2.0, 2.0]
    assert values("reported-error-rate", [], feedback) == [0.0, 1.0]
    assert values("tool-error-rate", [], feedback) == [1.0]
    assert values("reported-tokens-per-task", [], feedback) == [112]
    assert values("latency", [], feedback) == values("error-rate", [], feedback) == []


def test_tokens_that_were_not_reported_are_missing() -> None:
    feedback: list[Feedback] = [
        seen(1, OperationKind.MODEL, input_tokens=100),
        seen(2, OperationKind.MODEL),
        seen(3, OperationKind.MODEL, task="", input_tokens=1),
        *(TaskEnded(f"t{number}", 10, Origin(task=task)) for number, task in enumerate(("t", "other", ""))),
    ]
    found = observe(metric("reported-tokens-per-task"), select(ALL, SPAN, [], feedback))
    assert (len(found), found.missing) == (0, 3)


def test_a_task_takes_from_its_start_to_its_end() -> None:
    feedback: list[Feedback] = [
        TaskEnded("1", 5_000_000, Origin(), started=2_000_000),
        TaskEnded("2", 5_000_000, Origin()),
    ]
    found = observe(metric("task-duration"), select(ALL, SPAN, [], feedback))
    assert (list(found.values), found.missing) == ([3.0], 1)


def test_sessions_and_tasks_of_two_tenants_that_are_called_alike_are_not_joined() -> None:
    calls = [call(1, tenant="acme", cost=2_000_000), call(2, tenant="globex", cost=5_000_000)]
    mine, other = (Origin(tenant=name, session="s", task="t") for name in ("acme", "globex"))
    told: list[Feedback] = [
        TaskEnded("acme/1", 10, mine),
        TaskEnded("globex/1", 11, other),
        Escalation("globex/e", 12, other),
        Operation(id="acme/o", at=5, origin=mine, kind=OperationKind.MODEL, input_tokens=7),
        Operation(id="globex/o", at=5, origin=other, kind=OperationKind.MODEL, input_tokens=11),
    ]
    assert values("cost-per-task", calls, told) == [0.002, 0.005]
    assert values("tokens-per-task", calls, told) == [150, 150]
    assert values("escalation-rate", calls, told) == [0, 1]
    assert values("reported-tokens-per-task", calls, told) == [7, 11]
