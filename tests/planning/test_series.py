"""Does a forecast hold what it promises: its interval, its total, its words, and all that is wrong with its input?"""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upshift.planning.series import DAILY, HOURLY, MONTHLY, WEEKLY, Method, Season, forecast, forecast_many

NAN = float("nan")
SERIES = st.lists(st.one_of(st.just(NAN), st.just(0.0), st.floats(0, 1e12)), min_size=1, max_size=60)


@settings(deadline=None)
@given(SERIES, st.integers(1, 30), st.sampled_from([HOURLY, DAILY, WEEKLY, MONTHLY]))
def test_any_history_gives_points_and_quantiles_in_order(values: list[float], horizon: int, season: Season) -> None:
    found = forecast(values, horizon, season=season)
    assert found.points.shape == (horizon,)
    steps = [found.quantiles(share) for share in (0.1, 0.5, 0.8, 0.95)]
    totals = [found.total(share) for share in (0.1, 0.5, 0.8, 0.95)]
    assert np.isfinite(steps).all()
    assert np.isfinite(totals).all()
    assert (np.diff(steps, axis=0) >= -1e-9 * np.max(steps)).all()
    assert (np.diff(totals) >= -1e-9 * max(totals)).all()
    assert found.assumptions


@pytest.mark.parametrize("season", [HOURLY, DAILY, WEEKLY, MONTHLY])
def test_the_middle_of_the_total_is_the_sum_of_the_points(season: Season) -> None:
    steps = np.random.default_rng(2).lognormal(2, 1, 90)
    for horizon in (1, 7, 31):
        found = forecast(steps, horizon, season=season)
        assert found.total(0.5) == pytest.approx(found.points.sum())
        low, high = found.interval(0.8)
        assert (low, high) == pytest.approx((found.total(0.1), found.total(0.9)))


def test_intervals_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(11)
    inside = []
    for _ in range(60):
        steps = 100 * rng.lognormal(0, 0.2, 36)
        found = forecast(steps[:30], 6, season=MONTHLY)
        low, high = found.interval(0.8)
        inside.append(low <= steps[30:].sum() <= high)
    # Cautious rather than not: a level that never moves is not what the prior supposes.
    assert 0.75 <= np.mean(inside) <= 0.97


def test_a_series_that_was_hard_to_foretell_has_a_wider_interval() -> None:
    rng = np.random.default_rng(4)
    widths = []
    for sigma in (0.05, 1.5):
        low, high = forecast(100 * rng.lognormal(0, sigma, 80), 7, season=DAILY).interval(0.8)
        widths.append(high / low)
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_intervals_of_single_steps_hold_what_they_say(sigma: float) -> None:
    held = []
    for seed in range(30):
        days = 100 * np.random.default_rng(seed).lognormal(0, sigma, 30)
        found = forecast(days[:20], 10, season=DAILY)
        held.append((days[20:] >= found.quantiles(0.1)) & (days[20:] <= found.quantiles(0.9)))
    assert np.mean(held) == pytest.approx(0.8, abs=0.05)


def test_little_history_falls_back_and_says_so() -> None:
    found = forecast([4.0, NAN, 6.0], 2, season=MONTHLY)
    assert found.method is Method.LAST_PERIOD
    assert "Only 2 whole months were observed" in found.assumptions[0]
    assert found.interval(0.8)[1] > 1.5 * found.interval(0.8)[0]


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ([5.0] * 20 + [0.0] * 8, "No use in the last 8 days"),
        ([0.0] * 20 + [5.0] * 4, "New: first used 4 days ago"),
        ([0.0] * 9, "No use was ever observed"),
        ([5.0] * 10 + [NAN] * 3 + [5.0] * 10, "3 of 23 days were not observed"),
        ([5.0] * 23, "do not speak clearly"),
    ],
)
def test_what_is_assumed_is_said(history: list[float], words: str) -> None:
    assert any(words in said for said in forecast(history, 7, season=DAILY).assumptions)


def test_a_workload_that_stopped_is_foretold_as_less_than_it_was() -> None:
    found = forecast([50.0] * 20 + [0.0] * 10, 7, season=DAILY)
    assert found.points.sum() < 7 * 50 / 10


def test_hours_keep_the_shape_of_the_day() -> None:
    day = np.array([0.0] * 8 + [10.0] * 16)
    found = forecast(np.tile(day, 6), 30, season=HOURLY)
    assert found.points[:8].max() < found.points[8:24].min() / 2
    assert found.points[24:30].max() < 5


def test_the_total_holds_what_moves_all_workloads_at_once() -> None:
    rng = np.random.default_rng(9)
    shared, own = rng.lognormal(0, 0.5, 48), rng.lognormal(0, 0.5, (30, 48))
    together = forecast_many({str(at): 10 * shared * row**0 for at, row in enumerate(own)}, 1, season=MONTHLY)
    apart = forecast_many({str(at): 10 * row for at, row in enumerate(own)}, 1, season=MONTHLY)
    spans = [found.total.interval(0.8)[1] / found.total.interval(0.8)[0] for found in (together, apart)]
    assert spans[0] > 1.5 * spans[1]


def test_the_total_is_not_the_sum_of_medians() -> None:
    rng = np.random.default_rng(8)
    # Each is idle on most days; together they are not.
    sleepy = {str(at): np.where(rng.random(60) < 0.2, 10.0, 0.0) for at in range(100)}
    found = forecast_many(sleepy, 7, season=DAILY)
    assert found.total.points.sum() == pytest.approx(7 * 100 * 0.2 * 10, rel=0.2)
    assert "add up to" in found.total.assumptions[0]


def test_shorter_histories_began_later_and_gaps_are_bridged() -> None:
    found = forecast_many(
        {"old": [8.0] * 30, "new": [4.0] * 9, "gap": [NAN] * 5 + [2.0, NAN, 2.0] * 5}, 7, season=DAILY
    )
    assert [each.name for each in found.workloads] == ["old", "new", "gap"]
    assert found.total.points.sum() == pytest.approx(7 * 14.0, rel=0.02)


def test_peers_lend_their_spread_to_a_workload_without_history() -> None:
    rng = np.random.default_rng(6)
    calm = {f"w{at}": 100 * rng.lognormal(0, 0.02, 40) for at in range(40)}
    wild = {f"w{at}": 100 * rng.lognormal(0, 1.2, 40) for at in range(40)}
    spans = []
    for others in (calm, wild):
        newest = forecast_many({**others, "newest": [100.0, 100.0, 100.0]}, 3, season=MONTHLY).workloads[-1]
        spans.append(newest.interval(0.8)[1] / newest.interval(0.8)[0])
    assert spans[0] < spans[1]


def test_workloads_without_any_use_lend_nothing() -> None:
    found = forecast_many({"a": [0.0] * 9, "b": [NAN] * 9}, 3, season=DAILY)
    assert [each.interval(0.8) for each in (*found.workloads, found.total)] == [(0.0, 0.0)] * 3


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="horizon") as raised:
        forecast_many({"a": [1.0, -2.0, -3.0], "b": [], "c": [float("inf")], "d": [1.0]}, 0, season=DAILY)
    said = str(raised.value)
    assert "the horizon is 0 steps; ask for 1 or more" in said
    assert "a: step 1 is -2 (2 such); use 0 or more, NaN if not observed" in said
    assert "b: has shape (0,)" in said
    assert "c: step 0 is inf" in said
    assert "d:" not in said
    with pytest.raises(ValueError, match="no history"):
        forecast_many({}, 3, season=DAILY)


def test_a_thousand_workloads_over_two_years_take_seconds() -> None:
    steps = np.random.default_rng(0).lognormal(3, 0.5, (1000, 24))
    began = time.process_time()
    found = forecast_many({str(at): row for at, row in enumerate(steps)}, 24, season=MONTHLY)
    assert len(found.workloads) == 1000
    assert time.process_time() - began < 10
