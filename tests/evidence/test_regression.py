"""What a look at a metric comes to, and that silence is never health."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evidence.world import BEGIN, ERRORS, LATENCY, amounts, bits, frozen

from upshift.evidence.baseline import Baseline
from upshift.evidence.measurement import Kind, Metric, Observations, Worse
from upshift.evidence.pattern import HOUR
from upshift.evidence.regression import Against, Outcome, Verdict, Watch, look
from upshift.evidence.tally import Tally, empty, push
from upshift.evidence.weigh import Rules

START = BEGIN + 30 * 24 * HOUR
RULES = Rules()
BASELINE = frozen(amounts(20_000, 1))


def watched(
    baseline: Baseline,
    stage: Observations,
    control: Observations | None = None,
    *,
    hours: float = 48,
    rules: Rules = RULES,
) -> Verdict:
    """One look at the end of a window."""
    tally = push(baseline, empty(baseline), stage)
    beside = None if control is None else push(baseline, empty(baseline), control)
    _, verdict = look(baseline, Watch(start=START, stage=tally, control=beside), START + int(hours * HOUR), rules)
    return verdict


def stage(n: int, seed: int, level: float = 1.0) -> Observations:
    return amounts(n, seed, level=level, start=START)


def test_worse_is_regressed_and_shows_its_figures() -> None:
    verdict = watched(BASELINE, stage(48 * 60, 2, 1.2))
    assert verdict.outcome is Outcome.REGRESSED
    (one,) = verdict.comparisons
    assert one.against is Against.SNAPSHOT
    assert one.log_e > one.threshold == pytest.approx(np.log(20))
    assert one.low < 0.2 < one.high
    assert one.estimate == pytest.approx(0.2, abs=0.06)
    assert (one.n, one.reference_n, verdict.n) == (2880, 20_000, 2880)
    assert "worse than the snapshot; E" in verdict.because[0]


def test_the_same_is_healthy_once_there_is_enough_of_it_and_undecided_before() -> None:
    assert watched(BASELINE, stage(48 * 60, 2)).outcome is Outcome.NON_INFERIOR
    assert watched(BASELINE, stage(2 * 60, 2), hours=2).outcome is Outcome.UNDECIDED


def test_better_is_healthy() -> None:
    assert watched(BASELINE, stage(48 * 60, 2, 0.8)).outcome is Outcome.NON_INFERIOR


def test_no_traffic_is_never_healthy() -> None:
    none = Observations(np.array([], dtype=np.int64), np.array([]))
    for control in (None, stage(48 * 60, 3), none):
        verdict = watched(BASELINE, none, control)
        assert verdict.outcome is Outcome.INSUFFICIENT
        assert "the stage has no value at all" in verdict.because


def test_traffic_that_stops_half_way_is_not_healthy() -> None:
    verdict = watched(BASELINE, stage(24 * 60, 2))
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert verdict.because[0] == "the stage has values in 24 of about 48 hours that should have some"
    assert "silent for 24.0 h" in verdict.because[1]


def test_a_control_that_stops_half_way_is_no_control() -> None:
    verdict = watched(BASELINE, stage(48 * 60, 2), stage(24 * 60, 3))
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert verdict.because[0] == "the control has values in 24 of about 48 hours that should have some"


def test_an_hour_of_silence_at_the_end_is_seen() -> None:
    verdict = watched(BASELINE, stage(46 * 60 + 30, 2))
    assert verdict.outcome is Outcome.INSUFFICIENT
    assert "silent for 1.5 h" in verdict.because[0]


def test_little_traffic_is_expected_to_have_empty_hours() -> None:
    quiet = frozen(amounts(336, 1, per_hour=1))
    some = np.sort(np.random.default_rng(4).choice(48 * 60, 60, replace=False)).astype(np.int64) * (HOUR // 60)
    found = Observations(START + some, amounts(60, 3).values)
    assert watched(quiet, found).outcome is Outcome.UNDECIDED


def test_records_without_a_value_are_missing_and_not_good_ones() -> None:
    found = stage(48 * 60, 2)
    assert watched(BASELINE, Observations(found.at, found.values, missing=1000)).outcome is Outcome.INSUFFICIENT


def test_worse_than_both_is_regressed_though_the_environment_drifts() -> None:
    verdict = watched(BASELINE, stage(48 * 60, 2, 1.32), stage(48 * 60, 3, 1.1))
    assert verdict.outcome is Outcome.REGRESSED
    assert [one.against for one in verdict.comparisons] == [Against.SNAPSHOT, Against.CONTROL]


@pytest.mark.parametrize("level", [1.15, 0.85])
def test_all_traffic_moving_is_the_environment(level: float) -> None:
    verdict = watched(BASELINE, stage(48 * 60, 2, level), stage(48 * 60, 3, level))
    assert verdict.outcome is Outcome.DRIFT
    assert "untouched traffic moved too" in verdict.because[0]


def test_without_the_control_that_was_to_be_there_nothing_is_blamed() -> None:
    none = Observations(np.array([], dtype=np.int64), np.array([]))
    assert watched(BASELINE, stage(48 * 60, 2, 1.2), none).outcome is Outcome.INSUFFICIENT


def test_a_control_of_another_level_is_held_against_its_own_baseline() -> None:
    own = frozen(amounts(20_000, 9, level=5.0))
    for level, outcome in ((1.0, Outcome.NON_INFERIOR), (1.25, Outcome.REGRESSED)):
        watch = Watch(
            start=START,
            stage=push(BASELINE, empty(BASELINE), stage(48 * 60, 2, level)),
            control=push(own, empty(own), stage(48 * 60, 3, 5.0)),
        )
        assert look(BASELINE, watch, START + 48 * HOUR, RULES, own)[1].outcome is outcome


def test_a_regression_stands_whatever_comes_later() -> None:
    watch = Watch(start=START, stage=push(BASELINE, empty(BASELINE), stage(120, 2, 2.0)))
    watch, verdict = look(BASELINE, watch, START + 2 * HOUR, RULES)
    assert verdict.outcome is Outcome.REGRESSED
    better = amounts(20_000, 3, level=0.5, start=START + 2 * HOUR)
    watch = msgspec.structs.replace(watch, stage=push(BASELINE, watch.stage, better))
    stored = msgspec.json.decode(msgspec.json.encode(watch), type=Watch)
    _, verdict = look(BASELINE, stored, START + 400 * HOUR, RULES)
    assert verdict.outcome is Outcome.REGRESSED
    assert verdict.because[0] == "it regressed at an earlier look, and that stands"


def test_more_metrics_ask_for_more_evidence() -> None:
    one, many = (watched(BASELINE, stage(600, 2), rules=Rules(metrics=m), hours=10) for m in (1, 12))
    assert many.comparisons[0].threshold - one.comparisons[0].threshold == pytest.approx(np.log(12))


def test_a_sure_but_small_change_is_below_the_floor() -> None:
    metric = Metric(name="latency", kind=Kind.VALUE, floor=0.05, margin=0.2)
    baseline = frozen(Observations(amounts(200_000, 1).at, np.random.default_rng(1).normal(10, 0.5, 200_000)), metric)
    random = np.random.default_rng(2)
    for level, outcome in ((10.3, Outcome.NON_INFERIOR), (11.0, Outcome.REGRESSED)):
        found = Observations(stage(48 * 60, 1).at, random.normal(level, 0.5, 48 * 60))
        assert watched(baseline, found).outcome is outcome


def test_errors_are_counted() -> None:
    baseline = frozen(bits(20_000, 1, 0.02), ERRORS)
    for share, outcome in ((0.02, Outcome.NON_INFERIOR), (0.05, Outcome.REGRESSED), (0.0, Outcome.NON_INFERIOR)):
        assert watched(baseline, bits(48 * 200, 2, share, per_hour=200, start=START)).outcome is outcome


def test_the_slow_end_alone_is_seen_by_p95() -> None:
    metric = Metric(name="latency-p95", kind=Kind.P95, floor=0.1, margin=0.5)
    baseline = frozen(amounts(20_000, 1), metric)
    found = stage(48 * 200, 2)
    slow = np.where(np.arange(len(found)) % 12 == 0, baseline.tail * 2, found.values)
    assert watched(baseline, found).outcome is Outcome.NON_INFERIOR
    assert watched(baseline, Observations(found.at, slow)).outcome is Outcome.REGRESSED


@pytest.mark.parametrize("kind", [Kind.VALUE, Kind.MEAN, Kind.RANK])
def test_less_is_worse_where_more_is_better(kind: Kind) -> None:
    metric = Metric(name="quality", kind=kind, worse=Worse.DOWN)
    baseline = frozen(amounts(20_000, 1), metric)
    assert watched(baseline, stage(48 * 60, 2, 0.8)).outcome is Outcome.REGRESSED
    assert watched(baseline, stage(48 * 120, 2, 1.2)).outcome is Outcome.NON_INFERIOR


def test_a_constant_that_stays_is_healthy_and_one_that_moves_is_not() -> None:
    at, later = amounts(1000, 1).at, stage(48 * 60, 1).at
    baseline = frozen(Observations(at, np.full(1000, 45.0)))
    assert watched(baseline, Observations(later, np.full(len(later), 45.0))).outcome is Outcome.NON_INFERIOR
    assert watched(baseline, Observations(later, np.full(len(later), 50.0))).outcome is Outcome.REGRESSED


def test_a_day_and_night_pattern_is_not_a_regression() -> None:
    baseline = frozen(amounts(20_000, 1, swing=0.3))
    morning = amounts(8 * 60, 2, swing=0.3, start=START)
    assert np.mean(morning.values) > 1.15 * baseline.mean
    assert watched(baseline, morning, hours=8).outcome is not Outcome.REGRESSED


def test_a_tally_of_another_baseline_is_refused() -> None:
    other = frozen(amounts(500, 5))
    with pytest.raises(ValueError, match="begin a new one"):
        look(BASELINE, Watch(start=START, stage=empty(other)), START, RULES)
    with pytest.raises(ValueError, match="begin a new one"):
        push(BASELINE, empty(other), stage(1, 1))


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 300), max_size=8), order=st.randoms(use_true_random=False))
def test_pushed_in_any_parts_and_order_and_stored_between_it_is_the_same(cuts: list[int], order: object) -> None:
    found = stage(300, 2, 1.1)
    whole = push(BASELINE, empty(BASELINE), found)
    parts = [slice(low, high) for low, high in pairwise([0, *sorted(cuts), 300])]
    order.shuffle(parts)  # type: ignore[attr-defined]  # Hypothesis gives a Random.
    tally = empty(BASELINE)
    for part in parts:
        tally = push(BASELINE, tally, Observations(found.at[part], found.values[part]))
        tally = msgspec.json.decode(msgspec.json.encode(tally), type=Tally)
    for field in tally.__struct_fields__:
        assert getattr(tally, field) == pytest.approx(getattr(whole, field)), field


def test_a_verdict_can_be_stored() -> None:
    verdict = watched(BASELINE, stage(100, 2), stage(0, 2), hours=2)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict


def test_rules_and_metrics_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Rules(alpha=0)
    with pytest.raises(ValueError, match="worse up"):
        Metric(name="success", kind=Kind.RATE, worse=Worse.DOWN)
    with pytest.raises(ValueError, match="below the margin"):
        Metric(name="latency", kind=LATENCY.kind, floor=0.2, margin=0.1)
    with pytest.raises(ValueError, match="not finite"):
        Observations(np.array([1], dtype=np.int64), np.array([np.nan]))
    with pytest.raises(ValueError, match="one instant per value"):
        Observations(np.array([1], dtype=np.int64), np.array([]))
