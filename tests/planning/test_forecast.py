"""Is a forecast exact where the plan is, wide where it is not, and never sure of what is unknown?"""

import time
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.planning.outlines import CANDIDATE, CARD, COMMITTED, plan, row

from upshift.model.ids import ModelName, TierId
from upshift.model.quarter import Month, Quarter
from upshift.planning.budgets import Forecast, Quantiles
from upshift.planning.ceilings import round_up
from upshift.planning.drawn import Drawn
from upshift.planning.forecast import Terms, forecast
from upshift.planning.outline import (
    Audience,
    BudgetLine,
    Compute,
    Estimate,
    Ops,
    Outline,
    Row,
    Share,
    Spread,
    Turns,
    exactly,
)
from upshift.planning.tokens import NO_FIRST_QUARTER

START = Month(2027, 1)
AS_ESTIMATED = Terms(first_quarter=NO_FIRST_QUARTER)
DOLLAR = 10**9


def told(*rows: Row, months: int = 12, draws: int = 500, terms: Terms = AS_ESTIMATED, **more: Any) -> Forecast:
    return forecast(plan(*rows, **more), start=START, months=months, draws=draws, seed=3, terms=terms)


def running(name: str = "W-01", **more: Any) -> Row:
    return row(name, **{"status": COMMITTED, "ships": Quarter(2026, 1), **more})


def test_an_exact_plan_is_forecast_exactly() -> None:
    found = told(running())
    (use,) = found.tokens.workloads
    assert {month.tokens for month in found.tokens.months} == {Quantiles(*[280 * 1.4e6] * 3)}
    # 1.4M tokens, a fifth of them output, at $3 and $15.
    cost = found.tokens.months[0].cost
    assert cost is not None
    assert cost.p50 == cost.p95 == pytest.approx(280 * 1.4 * (0.8 * 3 + 0.2 * 15) * DOLLAR)
    assert use.tokens is not None
    assert use.tokens.p50 == use.tokens.p95 == pytest.approx(12 * 280 * 1.4e6)
    assert not found.tokens.at_least


def test_users_are_counted_by_tier_and_weight() -> None:
    tiers = (Audience(TierId("free"), exactly(100.0)), Audience(TierId("pro"), exactly(10.0), exactly(3.0)))
    assert told(running(audiences=tiers), months=1).tokens.tokens.p50 == pytest.approx(130 * 1.4e6)


@pytest.mark.parametrize("growth", [exactly(0.05), Spread(0.05 - 1e-9, 0.05, 0.05 + 1e-9)])
def test_users_grow_from_the_first_month_on(growth: Spread) -> None:
    """By either way of adding up: few profiles that all months are multiples of, or one for each month."""
    estimate = Estimate(sessions=exactly(1.0), tokens=exactly(100.0), growth=growth, minutes=exactly(60.0))
    found = told(running(estimate=estimate), row("W-02", status=COMMITTED, ships=Quarter(2027, 2), estimate=estimate))
    first, second = ([month.tokens.p50 for month in use.months] for use in found.tokens.workloads)
    assert first == pytest.approx([28000 * 1.05**at for at in range(12)])
    assert second == pytest.approx([28000 * 1.05**at for at in range(9)])
    assert found.tokens.months[5].tokens.p50 == pytest.approx(28000 * (1.05**5 + 1.05**2))
    assert found.compute.months[5].average == pytest.approx(280 * (1.05**5 + 1.05**2) / (24 * 30))


def test_a_workload_runs_from_its_quarter_until_it_retires() -> None:
    staffing = Ops(first_quarter=exactly(14.0))
    found = told(running(ships=Quarter(2027, 2), retires=Quarter(2027, 4)), staffing=staffing)
    assert [bool(month.tokens.p50) for month in found.tokens.months] == [False] * 3 + [True] * 6 + [False] * 3
    assert [quarter.hours.p50 for quarter in found.ops.quarters] == [4, 20, 6, 4]


def test_candidates_count_only_when_they_are_asked_for() -> None:
    assert told(running(status=CANDIDATE)).tokens.workloads == ()
    assert told(
        running(status=CANDIDATE), terms=msgspec.structs.replace(AS_ESTIMATED, candidates=True)
    ).tokens.workloads


@pytest.mark.parametrize("growth", [exactly(0.0), Spread(-1e-9, 0.0, 1e-9)])
def test_the_first_quarter_is_wider_and_only_upwards(growth: Spread) -> None:
    estimate = Estimate(tokens=exactly(1000.0), growth=growth)
    found = told(running(ships=Quarter(2027, 1), estimate=estimate), terms=Terms(), draws=4000)
    (use,) = found.tokens.workloads
    assert [month.first_quarter for month in use.months] == [True] * 3 + [False] * 9
    assert use.months[0].tokens.p50 == pytest.approx(1.3 * 280_000, rel=0.02)
    assert use.months[0].tokens.p95 > 1.6 * 280_000
    assert use.months[3].tokens.p95 == pytest.approx(280_000)
    assert any("under-sized by 30 to 60 %" in each for each in found.tokens.assumptions)
    assert told(running(ships=Quarter(2027, 1))).tokens.months[0].tokens.p95 == pytest.approx(280 * 1.4e6)


def test_totals_are_quantiles_of_sums_and_not_sums_of_quantiles() -> None:
    rows = [running(f"W-{at:02}", estimate=Estimate(tokens=Spread(300.0, 1000.0, 3000.0))) for at in range(30)]
    apart = Terms(first_quarter=NO_FIRST_QUARTER, together=0.0)
    found, together = told(*rows, draws=4000, terms=apart), told(*rows, draws=4000)
    summed = sum(use.tokens.p95 for use in found.tokens.workloads if use.tokens is not None)
    assert found.tokens.tokens.p95 < 0.6 * summed
    assert found.tokens.tokens.p95 * 1.1 < together.tokens.tokens.p95 < 0.8 * summed
    means = 12 * 280 * 1000 * np.exp((np.log(3) / 1.2816) ** 2 / 2) * 30
    assert found.tokens.tokens.p50 == pytest.approx(means, rel=0.05)


def test_unknown_is_not_zero() -> None:
    unpriced = running("W-02", mix=(Share(ModelName("new"), 1.0, None),))
    found = told(running(), unpriced, running("W-03", estimate=None), year=10**6 * DOLLAR)
    assert found.tokens.at_least
    assert found.tokens.unknown == ("W-02", "W-03")
    assert [use.cost is None for use in found.tokens.workloads] == [False, True, True]
    assert [use.tokens is None for use in found.tokens.workloads] == [False, False, True]
    assert found.tokens.cost.p50 == told(running()).tokens.cost.p50
    assert found.tokens.years[0].within is None
    assert any(each == "W-02 is not in the cost: no price of new is known." for each in found.tokens.assumptions)
    assert found.compute.unknown == ("W-03",)


def test_the_chance_to_stay_within_the_years_budget() -> None:
    estimate = Estimate(tokens=Spread(1e6, 2e6, 4e6), output_share=exactly(0.0))
    found = told(running(estimate=estimate), year=round(280 * 2 * 3 * 12 * DOLLAR), draws=4000)
    (year,) = found.tokens.years
    assert year.within == pytest.approx(0.5, abs=0.03)
    later = forecast(plan(running(), year=DOLLAR), start=Month(2027, 3), months=12, draws=10)
    assert [(each.months, each.within) for each in later.tokens.years] == [(10, None), (2, None)]


def test_the_peak_is_joint_and_has_headroom() -> None:
    said = Estimate(
        sessions=exactly(60.0), tokens=exactly(1.0), minutes=exactly(30.0), busy=exactly(4.0), burst=exactly(3.0)
    )
    rows = [running(f"W-{at}", estimate=said, audiences=(Audience(None, exactly(5000.0)),)) for at in range(9)]
    (month,) = told(
        *rows, months=1, machines=Compute(headroom=0.35, sessions_per_unit=40, unit=180 * DOLLAR)
    ).compute.months
    mean = 5000 * 60 * 4 / (24 * 31) / 2
    # Nine bursts of 2 x the mean that are independent are three of them.
    assert month.peak.p50 == pytest.approx(9 * mean + 3 * 2 * mean, rel=0.02)
    assert month.separate == pytest.approx(9 * 3 * mean, rel=0.05)
    assert month.average == pytest.approx(9 * mean / 4)
    assert month.sized == pytest.approx(month.peak.p80 * 1.35)
    assert month.units is not None
    assert month.units == -(-month.sized // 40)
    assert month.cost == month.units * 180 * DOLLAR
    assert month.requests is None


def test_requests_are_told_where_turns_are() -> None:
    turns = Turns(turns=exactly(5.0), input=exactly(1.0), output=exactly(1.0))
    said = Estimate(sessions=exactly(744.0), turns=turns, minutes=exactly(10.0))
    (month,) = told(running(estimate=said, audiences=(Audience(None, exactly(600.0)),)), months=1).compute.months
    # 600 sessions an hour of 5 requests are 50 a minute on average.
    assert month.requests is not None
    assert month.requests.p50 == pytest.approx(50 + 3.09 * 50**0.5 + 1.4, abs=0.5)


def test_the_worked_example_is_46_hours_between_one_and_two_people() -> None:
    staffing = Ops(first_quarter=exactly(12.0), platform=exactly(4.0), ceilings={Quarter(2027, 1): 40.0})
    six = Estimate(tokens=exactly(1.0), ops_hours=exactly(6.0))
    rows = [running(f"W-0{at}", estimate=six) for at in range(1, 5)]
    found = told(*rows, running("W-05", estimate=six, ships=Quarter(2027, 1)), months=3, staffing=staffing)
    (quarter,) = found.ops.quarters
    assert quarter.hours == Quantiles(46, 46, 46)
    assert 1 < quarter.fte < 2
    assert (quarter.stable, quarter.first_quarter, quarter.platform) == (30, 12, 4)
    assert (quarter.shortfall, quarter.shortfall_fte) == (6, 0.15)
    assert [each.workload for each in quarter.additions] == ["W-05"]


def test_growth_beyond_reason_stays_a_number() -> None:
    """Tenfold a month over ten years is more than a short float holds."""
    estimate = Estimate(tokens=exactly(1.0), growth=Spread(8.0, 9.0, 10.0))
    (use,) = told(running(estimate=estimate), months=120).tokens.workloads
    assert use.cost is not None
    assert 1e100 < use.months[-1].tokens.p50 < use.months[-1].tokens.p95 < 1e200


def test_each_budget_keeps_its_owner() -> None:
    found = told(running())
    assert [each.budget.owners[0] for each in (found.tokens, found.compute, found.ops)] == [
        "product",
        "platform engineering",
        "ops lead",
    ]
    assert all(each.assumptions for each in (found.tokens, found.compute, found.ops))


def test_the_buffer_is_held_for_each_budget_and_drawn_from() -> None:
    drawn = Drawn(quarter=Quarter(2027, 1), by="ops lead", why="a vacancy", budget=BudgetLine.OPS, amount=0.5, at=0)
    outline = plan(running(), buffer=0.2)
    found = forecast(outline, start=START, months=6, draws=10, taken=[drawn])
    ops = [each for each in found.buffer if each.line is BudgetLine.OPS]
    assert [(each.budget, each.drawn) for each in ops] == [(6.0, 0.5), (6.0, 0)]
    assert [each.left for each in ops] == pytest.approx([0.7, 1.2])
    assert {each.line for each in found.buffer} == set(BudgetLine)
    assert all(each.enough == 1 for each in found.buffer)
    wide = told(running(estimate=Estimate(tokens=Spread(1e5, 1e6, 1e7))), buffer=0.18, draws=4000)
    (tokens, *_) = [each for each in wide.buffer if each.line is BudgetLine.TOKENS]
    assert 0.5 < tokens.enough < 0.6


def test_ceilings_let_95_percent_work() -> None:
    pro, free = TierId("pro"), TierId("free")
    users = (Audience(free, exactly(100.0)), Audience(pro, exactly(10.0), exactly(4.0)))
    stated = ((free, 1_400_000, None), (pro, None, 10 * DOLLAR))
    found = told(running(audiences=users, ceilings=stated), draws=20_000).tokens.ceilings
    assert [each.tier for each in found] == [free, pro]
    assert found[0].proposed_tokens == pytest.approx(1.4e6 * 2.7, rel=0.08)
    assert found[1].proposed_tokens == pytest.approx(4 * 1.4e6 * 2.7, rel=0.08)
    assert found[0].reached == pytest.approx(0.345, abs=0.02)
    assert found[1].reached is None
    assert found[1].proposed_money is not None
    # Users of no tier in particular may have any ceiling that is stated.
    assert [each.tier for each in told(running()).tokens.ceilings] == ["pro"]
    assert [each.tier for each in told(running(ceilings=())).tokens.ceilings] == [None]


@pytest.mark.parametrize(("value", "up"), [(0, 0), (1, 1), (1_500_000, 1_500_000), (1_510_000, 1_600_000), (9.2, 10)])
def test_rounding_up(value: float, up: int) -> None:
    assert round_up(value) == up


def test_the_same_seed_gives_the_same_and_others_do_not() -> None:
    wide = plan(running(estimate=Estimate(tokens=Spread(100.0, 1000.0, 3000.0))))
    one, other = (forecast(wide, start=START, draws=500, seed=seed) for seed in (1, 2))
    assert one == forecast(wide, start=START, draws=500, seed=1)
    assert one.tokens.cost != other.tokens.cost


def test_a_change_of_one_workload_leaves_the_draws_of_others() -> None:
    wide = running(estimate=Estimate(tokens=Spread(100.0, 1000.0, 3000.0)))
    alone, together = told(wide), told(running("W-00"), wide)
    assert alone.tokens.workloads[0] == together.tokens.workloads[1]


@pytest.mark.parametrize(("months", "draws"), [(0, 10), (121, 10), (12, 0)])
def test_a_horizon_that_is_none_is_refused(months: int, draws: int) -> None:
    with pytest.raises(ValueError, match="not"):
        forecast(plan(), start=START, months=months, draws=draws)


def test_an_empty_plan_needs_nothing_but_the_platform() -> None:
    found = told()
    assert found.tokens.cost.p95 == 0
    assert found.ops.quarters[0].hours.p50 == 4


def many(rows: int) -> Outline:
    card = CARD
    estimate = Estimate(
        sessions=Spread(10, 20, 40),
        turns=Turns(turns=Spread(3, 5, 8), input=Spread(1000, 2000, 4000), output=Spread(100, 300, 500)),
        growth=Spread(0, 0.02, 0.05),
        minutes=Spread(5, 12, 30),
        busy=Spread(2, 3, 4),
        burst=Spread(1.5, 2, 4),
        ops_hours=Spread(4, 6, 8),
    )
    mix = (Share(ModelName("m"), 1.0, card),)
    return plan(*(running(f"W-{at}", estimate=estimate, mix=mix) for at in range(rows)))


def test_halves_on_threads_come_to_the_same_every_time() -> None:
    big = many(120)
    one, other = (forecast(big, start=START, months=6, draws=200) for _ in range(2))
    assert one == other
    assert [use.workload for use in one.tokens.workloads] == [each.id for each in big.rows]
    known = [use.tokens for use in one.tokens.workloads if use.tokens is not None]
    assert sum(each.p50 for each in known) < one.tokens.tokens.p50 < sum(each.p95 for each in known)


def test_time_grows_with_the_plan_and_no_faster() -> None:
    """A thousand workloads over 24 months with 10,000 draws take seconds; here a fiftieth of them."""
    big = many(20)
    began = time.process_time()
    forecast(big, start=START, months=24, draws=10_000)
    assert time.process_time() - began < 20
