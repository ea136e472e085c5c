"""Does each check answer PASS only where there is evidence for it?"""

import msgspec
import pytest
from tests.evidence.world import LATENCY, amounts, frozen

from upshift.evidence.baseline import Baseline
from upshift.evidence.measurement import Measurement, Metric, Scope, Span, measure
from upshift.evidence.metrics import metric
from upshift.evidence.pattern import HOUR
from upshift.evidence.regression import Outcome, Verdict, Watch, look
from upshift.evidence.tally import empty, push
from upshift.evidence.weigh import Rules
from upshift.playbook.book import Answer, Value
from upshift.playbook.checks import BUILT_IN
from upshift.playbook.facts import Capacity, ContractState, Facts, Frozen, Judgement, Readiness

CHECKS = {one.name: one for one in BUILT_IN}
NOTHING = Facts(at=0, since=0, until=48 * HOUR)


def judged(name: str, facts: Facts, **parameters: Value) -> Judgement:
    given = {key.replace("_", "-"): value for key, value in parameters.items()}
    return CHECKS[name].judge(given, facts)


def facts(**what: object) -> Facts:
    return msgspec.structs.replace(NOTHING, **what)


@pytest.mark.parametrize("name", CHECKS)
def test_without_data_nothing_passes(name: str) -> None:
    for empty_ in (NOTHING, facts(contracts=(), readiness=(), baselines=(), verdicts=(), measurements=())):
        found = judged(name, empty_, metrics=("latency",), metric="latency")
        assert found.answer is Answer.BROKEN
        assert found.says[0]


@pytest.mark.parametrize("name", CHECKS)
def test_trouble_is_told_in_its_own_words(name: str) -> None:
    assert judged(name, facts(trouble="the sheet is torn"), metrics=("latency",)).says == ("the sheet is torn",)


@pytest.mark.parametrize(
    ("advice", "answer"), [("add", Answer.PASS), ("stop", Answer.FAIL), ("measure", Answer.BROKEN)]
)
def test_capacity(advice: str, answer: Answer) -> None:
    found = judged("capacity-verdict", facts(capacity=Capacity(advice=advice, says="so", instead="Retire interfaces")))
    assert found.answer is answer
    assert ("Instead: Retire interfaces" in found.says) == (advice == "stop")


def test_one_incomplete_contract_is_one_too_many() -> None:
    whole = ContractState("a-b")
    assert judged("contracts-complete", facts(contracts=(whole,))).answer is Answer.PASS
    found = judged("contracts-complete", facts(contracts=(whole, ContractState("a-c", ("owner", "review")))))
    assert found.answer is Answer.WAITING
    assert found.says == ("a-c lacks owner, review",)


def test_a_baseline_takes_every_metric() -> None:
    ready = Readiness("latency", 900)
    assert judged("baseline-possible", facts(readiness=(ready,))).answer is Answer.PASS
    late = facts(readiness=(ready, Readiness("quality", 3, ("3 values where 200 are needed",))))
    assert judged("baseline-possible", late).answer is Answer.WAITING
    none = facts(readiness=(ready, Readiness("quality", 0, ("0 values",))))
    assert judged("baseline-possible", none).answer is Answer.BROKEN


def test_a_frozen_baseline_has_to_be_there_and_valid() -> None:
    good = Frozen("latency", "abc", 900)
    assert judged("baseline-frozen", facts(baselines=(good,))).answer is Answer.PASS
    assert judged("baseline-frozen", facts(baselines=(good, Frozen("quality")))).answer is Answer.BROKEN
    changed = Frozen("quality", "def", 900, ("agent dora has joined since",))
    assert judged("baseline-frozen", facts(baselines=(good, changed))).answer is Answer.UNCLEAR


def verdict(baseline: Baseline, hours: int, level: float = 1.0, control: float | None = None) -> Verdict:
    start, n = 490_000 * HOUR, 60 * hours
    stage = push(baseline, empty(baseline), amounts(n, 2, level=level, start=start))
    beside = None
    if control is not None:
        beside = push(baseline, empty(baseline), amounts(n, 3, level=control, start=start))
    watch = Watch(start=start, stage=stage, control=beside)
    return look(baseline, watch, start + hours * HOUR, Rules())[1]


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return frozen(amounts(14 * 24 * 60, 1), LATENCY)


@pytest.mark.parametrize(
    ("hours", "level", "control", "outcome", "answer"),
    [
        (48, 1.0, 1.0, Outcome.NON_INFERIOR, Answer.PASS),
        (24, 1.5, 1.0, Outcome.REGRESSED, Answer.FAIL),
        (24, 1.5, 1.5, Outcome.DRIFT, Answer.UNCLEAR),
        (2, 1.0, 1.0, Outcome.UNDECIDED, Answer.WAITING),
        (0, 1.0, 1.0, Outcome.INSUFFICIENT, Answer.BROKEN),
    ],
)
def test_a_verdict_is_an_answer(
    baseline: Baseline, hours: int, level: float, control: float, outcome: Outcome, answer: Answer
) -> None:
    one = verdict(baseline, hours, level, control)
    assert one.outcome is outcome
    found = judged("no-regression", facts(verdicts=(one,)), metrics=("latency",))
    assert found.answer is answer
    assert found.lasting == (answer is Answer.FAIL)
    for figure in found.figures:
        assert figure.estimator
        assert figure.source == baseline.id[:16]


def test_one_metric_missing_is_not_a_pass(baseline: Baseline) -> None:
    good = verdict(baseline, 48, 1.0, 1.0)
    found = judged("no-regression", facts(verdicts=(good,)), metrics=("latency", "quality"))
    assert found.answer is Answer.BROKEN
    assert "no verdict on quality" in found.says[0]
    bad = verdict(baseline, 24, 1.5, 1.0)
    assert judged("no-regression", facts(verdicts=(bad,)), metrics=("latency", "quality")).answer is Answer.FAIL


def measured(one: Metric, n: int) -> Measurement:
    seen = amounts(n, 4)
    return measure(one, Scope(), Span(int(seen.at[0]), int(seen.at[-1]) + 1), seen)


def test_bounds_of_a_measured_metric() -> None:
    latency = metric("latency")
    enough = facts(measurements=(measured(latency, 500),))
    assert judged("measured", enough, metric="latency", at_most=2.0, at_least=0.5).answer is Answer.PASS
    assert judged("measured", enough, metric="latency", at_most=0.5).answer is Answer.FAIL
    assert judged("measured", enough, metric="latency", at_least=2.0).answer is Answer.FAIL
    assert judged("measured", enough, metric="latency", at_most=2.0, values=501.0).answer is Answer.BROKEN
    assert judged("measured", enough, metric="quality", at_most=2.0).answer is Answer.BROKEN
    unbounded = judged("measured", enough, metric="latency")
    assert (unbounded.answer, "neither" in unbounded.says[0]) == (Answer.BROKEN, True)
    tail = facts(measurements=(measured(metric("latency-p95"), 500),))
    assert judged("measured", tail, metric="latency-p95", at_most=1.5).answer is Answer.FAIL


@pytest.mark.parametrize(("silent", "answer"), [(0.3, Answer.PASS), (0.4, Answer.BROKEN)])
def test_values_of_traffic_that_stopped_pass_nothing(silent: float, answer: Answer) -> None:
    seen = amounts(500, 4)
    begin, latest = int(seen.at[0]), int(seen.at[-1])
    now = begin + int((latest - begin) / (1 - silent))
    one = measure(metric("latency"), Scope(), Span(begin, now), seen)
    found = judged("measured", facts(since=begin, measurements=(one,)), metric="latency", at_most=2.0)
    assert found.answer is answer
    assert ("and none since" in found.says[0]) == (answer is Answer.BROKEN)
    worse = judged("measured", facts(since=begin, measurements=(one,)), metric="latency", at_most=0.5)
    assert worse.answer is Answer.FAIL, "what is bad is bad, whatever came after"
