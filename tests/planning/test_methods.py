"""Do the simple forecasters say what they claim, over gaps, zeros, bursts, launches and ends?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.planning.methods import (
    DAILY,
    HOURLY,
    MONTHLY,
    Floats,
    Method,
    Season,
    mean,
    median,
    profile,
    say,
    to_blocks,
    to_steps,
)

NAN = float("nan")
SERIES = st.lists(st.one_of(st.just(NAN), st.just(0.0), st.floats(0, 1e12)), min_size=1, max_size=60)


def row(*values: float) -> Floats:
    return np.array([values], dtype=np.float64)


@given(SERIES, st.integers(1, 40), st.sampled_from(list(Method)), st.sampled_from([HOURLY, DAILY, MONTHLY]))
def test_every_method_says_a_finite_amount_not_below_zero(
    values: list[float], horizon: int, method: Method, season: Season
) -> None:
    said = say(method, np.array([values]), horizon, season)
    assert said.shape == (1, horizon)
    assert np.isfinite(said).all()
    assert (said >= 0).all()


@given(SERIES, st.sampled_from(list(Method)), st.sampled_from([1e-3, 7.0, 1e6]))
def test_a_unit_changes_nothing_but_the_unit(values: list[float], method: Method, unit: float) -> None:
    one = say(method, np.array([values]), 5, DAILY)
    other = say(method, np.array([values]) * unit, 5, DAILY)
    assert other == pytest.approx(one * unit, rel=1e-6, abs=unit * 1e-6)


@pytest.mark.parametrize("method", list(Method))
def test_a_constant_stays_what_it_is(method: Method) -> None:
    assert say(method, np.full((1, 40), 7.0), 6, DAILY) == pytest.approx(np.full((1, 6), 7.0))


@pytest.mark.parametrize("method", [Method.MEDIAN_DAY, Method.LAST_LEVEL, Method.SEASONAL, Method.MEDIAN_OF_ALL])
def test_one_burst_moves_no_robust_method(method: Method) -> None:
    days = np.full((1, 42), 10.0)
    days[0, 40] = 1e6
    assert say(method, days, 7, DAILY).max() < 20


def test_last_period_and_latest_repeat_means() -> None:
    days = row(*range(1, 21))
    assert say(Method.LAST_PERIOD, days, 4, DAILY) == pytest.approx(np.full((1, 4), 18.5))
    assert say(Method.LATEST, days, 4, DAILY) == pytest.approx(np.full((1, 4), 17.0))
    assert say(Method.LATEST, days, 2, MONTHLY) == pytest.approx(np.full((1, 2), 20.0))


def test_theta_follows_half_the_slope_and_is_bounded() -> None:
    days = row(*(100.0 + 2 * day for day in range(20)))
    (said,) = say(Method.THETA, days, 5, DAILY)
    assert np.diff(said) == pytest.approx(np.ones(4))
    (far,) = say(Method.THETA, days, 10_000, DAILY)
    assert far.max() == pytest.approx(far[0] * 1.5, rel=0.02)
    (falling,) = say(Method.THETA, days[:, ::-1], 10_000, DAILY)
    assert falling.min() == pytest.approx(falling[0] * 0.5, rel=0.02)


def test_seasonal_knows_the_days_of_the_week() -> None:
    week = [10.0, 10, 10, 10, 10, 1, 0]
    (said,) = say(Method.SEASONAL, row(*week * 8), 7, DAILY)
    assert said[:5].min() > 4 * said[5]
    assert said.argmin() == 6


def test_seasonal_reads_the_level_from_the_last_hours() -> None:
    day = np.array([0.0] * 8 + [10.0] * 16)
    hours = np.concatenate([day, day, day, day * np.where(np.arange(24) >= 12, 3, 1)])
    (said,) = say(Method.SEASONAL, hours[None], 1, HOURLY)
    assert said[0] > 2 * day.sum()


def test_the_median_of_all_leaves_out_a_last_period_that_was_not_seen_whole() -> None:
    days = row(*[100.0] * 10, *[1.0] * 20)
    # As long as the history is: the plain average has a say. One day longer: it has none.
    assert say(Method.MEDIAN_OF_ALL, days, 30, DAILY).mean() == pytest.approx(1.0)
    singles = [say(one, days, 31, DAILY) for one in Method if one not in (Method.MEDIAN_OF_ALL, Method.LAST_PERIOD)]
    assert say(Method.MEDIAN_OF_ALL, days, 31, DAILY) == pytest.approx(np.median(singles, axis=0))


def test_blocks_end_where_the_history_ends_and_part_blocks_are_scaled() -> None:
    hours = np.concatenate([[99.0] * 3, [1.0] * 24, [NAN] * 12, [2.0] * 12, [NAN] * 13, [1.0] * 11])[None]
    blocks = to_blocks(hours, 24)
    assert blocks[0, :2] == pytest.approx([24.0, 48.0])
    assert np.isnan(blocks[0, 2])


def test_median_and_mean_leave_out_what_was_not_observed() -> None:
    values = np.array([[1.0, NAN, 3.0, 8.0], [NAN] * 4, [2.0, 4.0, NAN, NAN]])
    assert median(values) == pytest.approx([3.0, NAN, 3.0], nan_ok=True)
    assert mean(values) == pytest.approx([4.0, NAN, 3.0], nan_ok=True)
    assert mean(values, np.array([0.0, 1.0, 1.0, 3.0]))[0] == pytest.approx(27 / 4)


def test_a_profile_has_mean_one_and_is_flat_without_two_cycles() -> None:
    assert profile(row(1, 2, 3), 3) == pytest.approx(np.ones((1, 3)))
    shape = profile(row(*[1, 2, 3] * 6), 3)
    assert shape.mean() == pytest.approx(1.0)
    assert shape[0, 0] < shape[0, 1] < shape[0, 2]


def test_a_path_of_days_keeps_its_sums_in_hours() -> None:
    known = np.tile(np.arange(24.0), 3)[None]
    hours = to_steps(row(24, 48), known, HOURLY)
    assert hours.reshape(2, 24).sum(axis=1) == pytest.approx([24.0, 48.0])
    assert hours[0, 0] < hours[0, 23]
