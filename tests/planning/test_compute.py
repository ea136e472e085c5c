"""Is the peak that of all workloads together?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson
from tests.planning.outlines import row

from upshift.planning.compute import CHANCE, joint_peak, lacking, load_per_user, units
from upshift.planning.draws import Dice
from upshift.planning.outline import Estimate, Turns, exactly

LOADS = st.lists(st.tuples(st.floats(0, 500), st.floats(1, 8)), min_size=1, max_size=8)


@pytest.mark.parametrize("mean", [0.1, 0.5, 1, 3, 10, 40, 200, 5000])
def test_without_bursts_it_is_erlangs(mean: float) -> None:
    assert joint_peak(np.array([mean]), np.zeros(1))[0] == pytest.approx(poisson.ppf(CHANCE, mean), abs=1.0)


def test_a_burst_of_one_workload_is_its_worst_minute() -> None:
    """Of 1,000 sessions and a burst of 2.5: 2,500, and next to it chance hardly counts."""
    assert joint_peak(np.array([1000.0]), np.array([1500.0**2]))[0] == pytest.approx(2503, abs=2)


def test_nothing_has_no_peak() -> None:
    assert joint_peak(np.zeros(1), np.zeros(1))[0] == 0


@given(LOADS)
def test_it_is_above_the_averages_and_below_the_separate_peaks(loads: list[tuple[float, float]]) -> None:
    open_ = np.array([mean for mean, _ in loads])
    bursts = np.array([(mean * (burst - 1)) ** 2 for mean, burst in loads])
    joint = joint_peak(open_.sum(keepdims=True), bursts.sum(keepdims=True))[0]
    assert open_.sum() <= joint <= joint_peak(open_, bursts).sum() + 1e-6


def test_littles_law() -> None:
    said = Estimate(
        sessions=exactly(60.0),
        turns=Turns(turns=exactly(4.0), input=exactly(1.0), output=exactly(1.0), tool_calls=exactly(1.5)),
        minutes=exactly(12.0),
        busy=exactly(3.0),
        burst=exactly(2.0),
    )
    load = load_per_user(row(estimate=said), Dice(0, 1))
    assert load is not None
    # 60 sessions a month, three times as many in the busiest hour, each a fifth of an hour.
    assert load.open == pytest.approx(60 * 3 / 5)
    assert load.requests == pytest.approx(60 * 3 * 4 * 1.5 / 60)
    assert (load.excess, load.busy) == (1.0, 3.0)


def test_what_is_not_said_is_not_counted() -> None:
    assert load_per_user(row(estimate=Estimate(sessions=exactly(1.0))), Dice(0, 1)) is None
    assert lacking(row()) == ()
    assert len(lacking(row(estimate=None, audiences=()))) == 3


def test_units_are_whole() -> None:
    assert units(81, 40) == 3
    assert units(80, 40) == 2
    assert units(80, None) is None
