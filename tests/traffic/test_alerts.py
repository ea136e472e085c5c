"""Do thresholds speak on the counter and on the pace, and stay silent when nothing is wrong?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import DAY, NOW, period, steady

from upshift.model.span import Instant, Period, Window
from upshift.traffic.alerts import THRESHOLDS, due, runs_out, spoken_for

MONTH = period()
"""November 2026: 30 days."""


def after(days: float, within: Period = MONTH) -> Instant:
    return within.start + round(days * DAY)


@pytest.mark.parametrize(
    ("used", "days", "speak"),
    [
        (49, 1, ()),
        (49, 29.9, ()),
        (50, 15.1, ()),
        (50, 14.9, ()),
        (50, 5, (70,)),
        (50, 2, (70, 90)),
        (60, 18, ()),
        (69, 21, ()),
        (69, 20, (70,)),
        (70, 20.9, (70,)),
        (70, 21.1, ()),
        (80, 25, ()),
        (80, 23, (70,)),
        (80, 11, (70, 90)),
        (89, 20, (70, 90)),
        (89, 26, (70,)),
        (89, 29, ()),
        (90, 29, (90,)),
        (90, 20, (70, 90)),
        (99, 29.9, (90,)),
        (100, 1, (70, 90, 100)),
        (100, 30, (70, 90, 100)),
        (250, 15, (70, 90, 100)),
    ],
)
def test_thresholds_of_a_month(used: int, days: float, speak: tuple[int, ...]) -> None:
    assert due(used, 100, MONTH, after(days)) == speak


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_of_nothing_has_no_thresholds(limit: int) -> None:
    assert due(0, limit, MONTH, NOW) == ()
    assert due(9, limit, MONTH, NOW) == ()
    assert runs_out(0, limit, MONTH, NOW) == NOW


def test_the_end_is_foretold_from_the_pace_so_far() -> None:
    assert runs_out(50, 100, MONTH, after(10)) == after(20)
    assert runs_out(50, 100, MONTH, after(15)) is None
    assert runs_out(0, 100, MONTH, after(29)) is None
    assert runs_out(100, 100, MONTH, after(3)) == after(3)
    assert runs_out(101, 100, MONTH, after(3)) == after(3)


def test_a_clock_outside_the_period_does_no_harm() -> None:
    assert due(49, 100, MONTH, MONTH.start - DAY) == ()
    assert due(100, 100, MONTH, MONTH.start - DAY) == THRESHOLDS
    assert due(60, 100, MONTH, MONTH.end + DAY) == ()
    assert due(90, 100, MONTH, MONTH.end) == (90,)
    assert runs_out(10, 100, MONTH, MONTH.start - DAY) is None
    assert due(60, 100, MONTH, MONTH.start - DAY) == ()


def test_a_call_that_does_not_fit_ends_a_budget_only_in_its_last_tenth() -> None:
    assert not spoken_for(89, 100)
    assert spoken_for(90, 100)
    assert spoken_for(0, 0)


def test_a_counter_one_short_of_a_huge_limit_has_not_reached_it() -> None:
    assert 100 not in due(10**18 - 1, 10**18, MONTH, NOW)
    assert 100 in due(10**18, 10**18, MONTH, NOW)


limits = st.integers(1, 10**15)
windows = st.sampled_from(Window).map(period)
shares = st.floats(0, 1.5)
moments = st.floats(-0.5, 1.5)


def instant(within: Period, share: float) -> Instant:
    return within.start + round((within.end - within.start) * share)


@steady
@given(limits, shares, windows, moments)
def test_never_below_half_and_all_of_them_at_the_limit(limit: int, share: float, within: Period, moment: float) -> None:
    used = round(limit * share)
    found = due(used, limit, within, instant(within, moment))
    assert list(found) == sorted(set(found))
    if used * 2 < limit:
        assert found == ()
    assert (100 in found) == (used >= limit)
    if used >= limit:
        assert found == THRESHOLDS


@steady
@given(limits, shares, windows, moments)
def test_the_notice_is_silent_when_the_pace_does_not_use_the_budget_up(
    limit: int, share: float, within: Period, moment: float
) -> None:
    used, now = round(limit * share), instant(within, moment)
    end = runs_out(used, limit, within, now)
    if end is None:
        assert 70 not in due(used, limit, within, now)
    else:
        assert used >= limit or now <= end < within.end
        if used * 10 >= limit * 7:
            assert 70 in due(used, limit, within, now)
    if used * 10 >= limit * 9:
        assert 90 in due(used, limit, within, now)


@steady
@given(limits, shares, shares, windows, moments)
def test_more_use_never_silences_a_threshold(
    limit: int, one: float, other: float, within: Period, moment: float
) -> None:
    less, more = sorted((round(limit * one), round(limit * other)))
    now = instant(within, moment)
    assert set(due(less, limit, within, now)) <= set(due(more, limit, within, now))


@steady
@given(limits, shares, windows, st.floats(0, 1), st.floats(0, 1))
def test_the_same_use_sooner_never_silences_a_threshold(
    limit: int, share: float, within: Period, one: float, other: float
) -> None:
    used = round(limit * share)
    sooner, later = sorted((instant(within, one), instant(within, other)))
    assert set(due(used, limit, within, later)) <= set(due(used, limit, within, sooner))
