"""What is frozen, what it takes, and for how long it is valid."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evidence.world import BEGIN, ERRORS, LATENCY, STRUCTURE, amounts, bits, frozen

from upshift.evidence.baseline import (
    SAMPLE,
    Baseline,
    Needs,
    Shortfall,
    Structure,
    freeze,
    rank,
    recalibrate,
    shift,
    still_valid,
)
from upshift.evidence.measurement import Observations, Scope
from upshift.evidence.pattern import HOUR
from upshift.model.ids import PlanHash


def test_its_id_is_its_content_and_survives_being_stored() -> None:
    one, same, other = frozen(amounts(500, 1)), frozen(amounts(500, 1)), frozen(amounts(500, 2))
    assert one.id == same.id != other.id
    assert msgspec.json.decode(msgspec.json.encode(one), type=Baseline).id == one.id


def test_the_order_in_which_values_arrive_changes_nothing() -> None:
    found = amounts(500, 1)
    shuffled = np.random.default_rng(1).permutation(500)
    assert frozen(Observations(found.at[shuffled], found.values[shuffled])).id == frozen(found).id


def test_two_weeks_are_needed_and_everything_missing_is_said_at_once() -> None:
    found = amounts(100, 1, per_hour=1)
    short = freeze(
        LATENCY, Scope(), STRUCTURE, Observations(found.at, found.values, 50, (PlanHash("a"), PlanHash("b")))
    )
    assert isinstance(short, Shortfall)
    assert [lack.what for lack in short.lacks] == ["days", "values", "missing", "plans"]
    assert "4.1 days of steady state where 14 are needed; wait 9.9 more" in str(short)
    assert isinstance(freeze(LATENCY, Scope(), STRUCTURE, amounts(14 * 24, 1, per_hour=1)), Baseline)


def test_nothing_at_all_is_no_baseline() -> None:
    empty = Observations(np.array([], dtype=np.int64), np.array([]))
    assert isinstance(freeze(LATENCY, Scope(), STRUCTURE, empty, Needs(days=0, values=0)), Shortfall)


def test_its_sample_is_bounded_and_ranks_as_well_as_all_values_do() -> None:
    found = amounts(20_000, 1, per_hour=240)
    baseline = frozen(found)
    assert len(baseline.sample) == SAMPLE
    fresh = amounts(5_000, 2).values
    every, kept = rank(np.sort(found.values), fresh), rank(np.array(baseline.sample), fresh)
    assert np.max(np.abs(every - kept)) < 0.001
    assert abs(np.mean(every) - np.mean(kept)) < 1e-4


def test_a_flat_day_is_flat_and_a_swing_is_seen() -> None:
    assert frozen(amounts(5_000, 1)).frequencies == ()
    swinging = frozen(amounts(10_000, 1, swing=0.3))
    assert swinging.frequencies == (1,)
    shares = swinging.shares()
    assert shares[6] == pytest.approx(1.3, abs=0.08)
    assert shares[18] == pytest.approx(0.7, abs=0.08)


def test_noise_seldom_looks_like_a_day() -> None:
    assert sum(frozen(amounts(1_000, seed)).frequencies != () for seed in range(200)) <= 8


def test_hours_that_were_never_seen_are_taken_for_usual_ones() -> None:
    found = amounts(5_000, 1, swing=0.3)
    office = np.isin(found.at // HOUR % 24, np.arange(8, 18))
    shares = frozen(Observations(found.at[office], found.values[office])).shares()
    assert np.all(np.isfinite(shares))
    assert np.all(shares > 0)


@pytest.mark.parametrize(("memory", "low", "high"), [(0.0, 1, 1), (0.6, 40, 80)])
def test_batches_are_as_long_as_values_remember(memory: float, low: int, high: int) -> None:
    random, noise = np.random.default_rng(1), np.zeros(10_000)
    for i in range(1, 10_000):
        noise[i] = memory * noise[i - 1] + random.standard_normal()
    at = BEGIN + np.arange(10_000, dtype=np.int64) * (HOUR // 240)
    baseline = frozen(Observations(at, 100 + noise))
    assert low <= baseline.batch <= high
    # The variance of a mean under AR(φ) is (1 + φ)/(1 − φ) times that of independent values.
    assert baseline.inflation.mean == pytest.approx((1 + memory) / (1 - memory), rel=0.35)


def test_a_change_of_structure_ends_it_and_says_what_changed() -> None:
    baseline = frozen(amounts(200, 1))
    assert still_valid(baseline, STRUCTURE) == ()
    now = Structure(("ada", "eve"), ("ada-bob", "ada-eve"), PlanHash("plan-2"))
    assert still_valid(baseline, now) == (
        "agent eve has joined since",
        "agent bob is gone",
        "interface ada-eve has joined since",
        "the plan is plan-2, the baseline was measured under plan-1",
    )


def test_recalibration_retires_the_old_one_and_leaves_it_as_it_was() -> None:
    old, new = frozen(amounts(200, 1)), frozen(amounts(200, 2))
    before = old.id
    retired = recalibrate(old, new, BEGIN, "sam")
    assert (retired.baseline, retired.successor, old.id) == (before, new.id, before)
    assert still_valid(old, STRUCTURE, (retired,)) == (
        "retired on 2024-10-04 by sam: recalibrated: measured again for the same structure",
    )
    assert still_valid(new, STRUCTURE, (retired,)) == ()
    with pytest.raises(ValueError, match="cannot succeed"):
        recalibrate(old, frozen(bits(200, 1, 0.1), ERRORS), BEGIN, "sam")


@settings(deadline=None, max_examples=40)
@given(few=st.lists(st.floats(0.001, 1e6), min_size=2, max_size=20), change=st.floats(0, 1))
def test_whatever_is_frozen_keeps_its_own_middle(few: list[float], change: float) -> None:
    values = np.resize(np.array(few), 120)
    at = BEGIN + np.arange(120, dtype=np.int64) * HOUR
    baseline = frozen(Observations(at, values))
    assert abs(shift(baseline, 0.0)) < 1e-9
    assert -1e-9 <= shift(baseline, change) <= 0.5
