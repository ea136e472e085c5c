"""What is said before a stage has to be what the stage then shows."""

import numpy as np
import pytest
from tests.evidence.world import BEGIN, ERRORS, amounts, bits, frozen

from upshift.evidence.detectable import detectable
from upshift.evidence.measurement import Kind, Metric, Observations, Worse
from upshift.evidence.pattern import HOUR
from upshift.evidence.regression import Outcome, Watch, look
from upshift.evidence.tally import empty, push
from upshift.evidence.weigh import Rules

RULES = Rules()
START = BEGIN + 30 * 24 * HOUR


def test_what_is_detectable_is_detected_about_four_times_in_five() -> None:
    baseline = frozen(amounts(10_000, 1))
    promised = detectable(baseline, 60, 48, RULES).smallest
    assert promised is not None
    seen = 0
    for seed in range(60):
        # Judged once, at the end: looks before it can only add to what is seen.
        found = amounts(48 * 60, 1000 + seed, level=baseline.mean * (1 + promised), start=START)
        watch = Watch(start=START, stage=push(baseline, empty(baseline), found))
        seen += look(baseline, watch, START + 48 * HOUR, RULES)[1].outcome is Outcome.REGRESSED
    assert 0.6 <= seen / 60 <= 0.97


def test_larger_changes_are_told_sooner_and_more_traffic_tells_smaller_ones() -> None:
    baseline = frozen(amounts(10_000, 1))
    told = detectable(baseline, 24, 48, RULES)
    hours = [one for _, one in told.hours_to if one is not None]
    assert hours == sorted(hours, reverse=True)
    smallest = [detectable(baseline, rate, 48, RULES).smallest or np.inf for rate in (6, 24, 240)]
    assert smallest == sorted(smallest, reverse=True)
    beside = detectable(baseline, 24, 48, RULES, control_per_hour=24).smallest
    assert beside is not None
    assert told.smallest is not None
    assert beside > told.smallest


def test_no_traffic_tells_nothing_and_says_so() -> None:
    told = detectable(frozen(amounts(10_000, 1)), 0, 48, RULES)
    assert (told.smallest, told.hours_to_healthy) == (None, None)
    assert "cannot tell any change: give the stage more traffic or time" in told.says[0]
    assert "undecided" in told.says[-1]


@pytest.mark.parametrize(
    "metric",
    [
        ERRORS,
        Metric(name="p95", kind=Kind.P95, floor=0.1, margin=0.5),
        Metric(name="rank", kind=Kind.RANK),
        Metric(name="mean", kind=Kind.MEAN, worse=Worse.DOWN),
    ],
)
def test_every_kind_has_an_answer(metric: Metric) -> None:
    found = bits(10_000, 1, 0.05) if metric.kind is Kind.RATE else amounts(10_000, 1)
    told = detectable(frozen(Observations(found.at, found.values), metric), 240, 48, RULES)
    assert told.smallest is not None
    assert metric.floor <= told.smallest < 0.5
    assert told.hours_to_healthy is not None
    assert told.says[-1].startswith("to say healthy")


def test_a_window_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a window has a length"):
        detectable(frozen(amounts(200, 1)), 10, 0, RULES)
