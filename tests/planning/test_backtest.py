"""Are forecasters judged only by what they could know, and preferred only where that is more than chance?"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from upshift.planning.backtest import METHODS, backtest, bounded_error, totals
from upshift.planning.methods import DAILY, HOURLY, MONTHLY, Method, Season, say

WEEK = np.array([10.0, 11, 12, 11, 10, 1, 0])


def chosen(steps: ArrayLike, horizon: int, season: Season = DAILY) -> list[Method]:
    return [METHODS[at] for at in backtest(np.atleast_2d(np.asarray(steps, dtype=np.float64)), horizon, season).chosen]


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_an_error_is_bounded_and_twice_is_as_bad_as_half(said: float, came: float) -> None:
    error = float(bounded_error(np.array(said), np.array(came)))
    assert 0 <= error <= 1
    assert error == float(bounded_error(np.array(came), np.array(said)))


def test_the_seasonal_method_is_chosen_where_weeks_repeat() -> None:
    noise = np.random.default_rng(3).uniform(0.95, 1.05, 140)
    assert chosen(np.tile(WEEK, 20) * noise, 3) == [Method.SEASONAL]


def test_few_tests_choose_nothing() -> None:
    assert chosen(np.tile(WEEK, 3), 10) == [Method.MEDIAN_OF_ALL]
    assert chosen([5.0], 3) == [Method.MEDIAN_OF_ALL]


def test_noise_about_a_level_does_not_make_a_choice_for_the_latest() -> None:
    noise = np.random.default_rng(5).lognormal(0, 0.5, (40, 60))
    assert Method.LATEST not in chosen(noise, 1, MONTHLY)


def test_a_fold_knows_nothing_of_what_came_after() -> None:
    rng = np.random.default_rng(1)
    steps = rng.lognormal(3, 1, (2, 24 * 9 + 5))
    for fold in backtest(steps, 3, HOURLY).folds:
        again = np.stack([say(method, steps[:, : fold.origin], fold.came.shape[1], HOURLY) for method in METHODS])
        np.testing.assert_allclose(fold.said, again)
        days = steps[:, fold.origin : fold.origin + 24 * fold.came.shape[1]].reshape(2, -1, 24).sum(axis=2)
        np.testing.assert_allclose(fold.came, days)


def test_what_was_not_observed_is_neither_said_nor_come() -> None:
    steps = np.full((2, 30), 4.0)
    steps[0, 12:14] = np.nan
    steps[1, 8:] = np.nan
    for fold in backtest(steps, 5, DAILY).folds:
        said, came = totals(fold, np.full(2, METHODS.index(Method.MEDIAN_OF_ALL)))
        np.testing.assert_allclose(said, came)
    assert backtest(steps, 5, DAILY).errors[0].max() == 0


def test_origins_are_bounded_and_reach_the_end() -> None:
    found = backtest(np.ones((1, 1000)), 7, DAILY)
    assert len(found.folds) <= 12
    assert found.folds[-1].origin > 900
    assert found.tests > 90
