"""Is the week named in which the budget runs out, neither too late nor where it lasts?"""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upshift.planning.burn import Burn, Year, burn, burn_many, iso_week

YEAR = Year(date(2026, 1, 1), date(2026, 12, 31))


def after(days: int) -> date:
    return YEAR.first + timedelta(days=days)


def flat(daily: float, days: int, budget: float) -> Burn:
    return burn("support", [daily] * days, budget, year=YEAR, today=after(days))


def test_twice_the_pace_runs_out_in_the_middle_of_the_year() -> None:
    found = flat(2.0, 90, 365.0)
    assert found.pace == pytest.approx(2.0)
    assert found.projected == pytest.approx(730.0)
    # 182 days cost 364, the 183rd goes over.
    assert found.likely == date(2026, 7, 2)
    assert found.week == "2026-W27"
    assert found.early is not None
    assert found.late is not None
    assert found.early < found.likely < found.late
    assert "support runs out on 2026-07-02 (2026-W27), perhaps on" in found.because


def test_half_the_pace_lasts() -> None:
    found = flat(0.5, 180, 365.0)
    assert (found.early, found.likely, found.late, found.week) == (None, None, None, None)
    assert found.because.startswith("support lasts the year: $182.50 projected against $365.00.")


def test_a_budget_that_is_just_enough_may_run_out_early() -> None:
    found = flat(0.98, 60, 365.0)
    assert found.likely is None
    assert found.early is not None
    assert "may run out from" in found.because


def test_a_budget_that_is_spent_says_when() -> None:
    found = flat(10.0, 100, 365.0)
    assert found.likely == date(2026, 2, 6)
    assert found.early == found.late == found.likely
    assert "ran out on 2026-02-06 (2026-W06)" in found.because


def test_a_budget_spent_to_the_cent_has_lasted() -> None:
    assert flat(0.1, 365, 36.5).likely is None


def test_a_fade_is_not_extrapolated_from_the_mean() -> None:
    spend = [10.0] * 60 + [1.0] * 60
    found = burn("pilot", spend, 1200.0, year=YEAR, today=after(120))
    assert found.pace is not None
    assert found.pace > 1
    assert found.likely is None
    assert found.projected < 1200


def test_the_first_day_and_the_last() -> None:
    first = burn("new", [], 100.0, year=YEAR, today=YEAR.first)
    assert (first.spent, first.pace, first.projected, first.likely) == (0.0, None, 0.0, None)
    over = burn("old", [1.0] * 365, 100.0, year=YEAR, today=date(2027, 3, 1))
    assert over.likely == date(2026, 4, 11)
    assert over.projected == over.spent == 365.0


def test_short_histories_and_gaps_are_said() -> None:
    found = burn("new", [1.0, float("nan"), 3.0], 1000.0, year=YEAR, today=after(3))
    assert found.spent == 6.0
    assert "Only 3 days were seen" in found.because
    assert "1 days were not observed" in found.because


def test_weeks_are_those_of_iso_8601() -> None:
    assert iso_week(date(2027, 1, 1)) == "2026-W53"
    assert iso_week(date(2026, 1, 1)) == "2026-W01"


def test_the_organisation_comes_first_and_is_a_series_of_its_own() -> None:
    rng = np.random.default_rng(1)
    pods = {f"pod-{at}": rng.lognormal(0, 0.5, 120) * (1 + at) for at in range(5)}
    found = burn_many(pods, dict.fromkeys(pods, 900.0), 4000.0, year=YEAR, today=after(120))
    assert [one.name for one in found] == ["organisation", *pods]
    assert found[0].spent == pytest.approx(sum(days.sum() for days in pods.values()))
    assert found[0].low < found[0].projected < found[0].high
    # Chances that pods share are not added up as if all were unlucky on one day.
    assert found[0].high < sum(one.high for one in found[1:])
    assert found[-1].likely is not None
    assert found[1].likely is None


def test_an_organisation_on_its_first_day_has_no_projection() -> None:
    found = burn_many({"a": []}, {"a": 5.0}, 10.0, year=YEAR, today=YEAR.first)
    assert [one.projected for one in found] == [0.0, 0.0]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=100), st.floats(1, 1e8))
def test_a_larger_budget_never_runs_out_sooner(spend: list[float], budget: float) -> None:
    today = after(len(spend))
    one, more = (burn("a", spend, amount, year=YEAR, today=today).likely for amount in (budget, budget * 1.5))
    assert (more or date.max) >= (one or date.max)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="no budget") as raised:
        burn_many({"a": [1.0], "b": [1.0, -1.0]}, {"a": -5.0}, 10.0, year=YEAR, today=after(2))
    said = str(raised.value)
    assert "a: 1 days of spend; give 2, from 2026-01-01 to the day before 2026-01-03" in said
    assert "b: spend below 0" in said
    assert "a: a budget of -5.0" in said
    with pytest.raises(ValueError, match="before the year begins"):
        burn("a", [], 1.0, year=YEAR, today=date(2025, 12, 31))
    with pytest.raises(ValueError, match="before it begins"):
        burn("a", [], 1.0, year=Year(date(2026, 1, 2), date(2026, 1, 1)), today=date(2026, 1, 2))
    with pytest.raises(ValueError, match="there is no spend"):
        burn_many({}, {}, 1.0, year=YEAR, today=YEAR.first)
