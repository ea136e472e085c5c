"""Does a comparison show what moves and nothing else, and does a tornado rank by what matters?"""

import pytest
from tests.planning.outlines import COMMITTED, plan, row

from upshift.model.quarter import Month, Quarter
from upshift.planning.changes import apply_changes
from upshift.planning.forecast import Terms, forecast
from upshift.planning.outline import BudgetLine, Estimate, Ops, Outline, Spread, exactly
from upshift.planning.tokens import NO_FIRST_QUARTER
from upshift.planning.tornado import tornado
from upshift.planning.whatif import Comparison, Moved, compare

START = Month(2027, 1)
SAID = Estimate(
    sessions=exactly(60.0),
    tokens=Spread(5e5, 1e6, 4e6),
    cached=Spread(0.2, 0.5, 0.7),
    minutes=Spread(5.0, 12.0, 30.0),
    burst=exactly(2.0),
    ops_hours=Spread(4.0, 6.0, 8.0),
)
PLAN = plan(
    row("W-01", status=COMMITTED, ships=Quarter(2026, 1), estimate=SAID),
    row("W-02", status=COMMITTED, ships=Quarter(2027, 2)),
    staffing=Ops(ceilings={Quarter(2027, 2): 30.0}),
)
AS_ESTIMATED = Terms(first_quarter=NO_FIRST_QUARTER)


def changed(*changes: str) -> Comparison:
    return compare(*(forecast(each, start=START, draws=400) for each in (PLAN, apply_changes(PLAN, changes))))


def moved(found: Comparison) -> dict[str, Moved]:
    return {f"{each.line}: {each.what}": each for each in found.lines if each.before != each.after}


def test_nothing_moves_where_nothing_is_changed() -> None:
    found = changed()
    assert moved(found) == {}
    assert found.workloads == ()
    assert found.ceilings == ()


def test_a_price_moves_tokens_and_their_buffer_alone() -> None:
    found = changed("W-01.price*1.5")
    assert {each.line for each in moved(found).values()} == {"tokens", "buffer"}
    (workload,) = found.workloads
    assert workload.what == "W-01"
    assert workload.before is not None
    assert workload.after == pytest.approx(workload.before * 1.5)
    # Ceilings of money move; those of tokens would fit as before.
    assert [(each.workload, each.after.proposed_tokens) for each in found.ceilings if each.after and each.before] == [
        ("W-01", found.ceilings[0].before.proposed_tokens)  # type: ignore[union-attr] # filtered
    ]


def test_hours_move_ops_alone_and_pass_a_ceiling() -> None:
    found = moved(changed("W-02.ops=20h"))
    assert {each.line for each in found.values()} == {"ops", "buffer"}
    assert found["ops: hours above a ceiling"].before == 0
    assert found["ops: hours above a ceiling"].after == pytest.approx(14, abs=0.5)


def test_a_buffer_moves_what_is_held_alone() -> None:
    found = changed("buffer=36%")
    assert {each.line for each in moved(found).values()} == {"buffer"}
    tokens = moved(found)["buffer: tokens: held for all quarters"]
    assert tokens.before is not None
    assert tokens.after == pytest.approx(2 * tokens.before)


def test_what_comes_and_goes_costs_all_or_nothing() -> None:
    found = changed("+W-03 like W-01", "-W-02")
    by_name = {each.what: each for each in found.workloads}
    assert by_name["W-03"].before == 0
    assert by_name["W-02"].after == 0
    assert {each.workload: (each.before is None, each.after is None) for each in found.ceilings} == {
        "W-02": (False, True),
        "W-03": (True, False),
    }


@pytest.mark.parametrize("line", list(BudgetLine))
def test_each_bar_is_what_the_forecast_says(line: BudgetLine) -> None:
    """One draw of everything at its median is the tornado's base: here, every figure made exact."""
    found = tornado(PLAN, line, start=START, months=12, terms=AS_ESTIMATED)
    assert [bar.swing for bar in found.bars] == sorted((bar.swing for bar in found.bars), reverse=True)
    middle = apply_changes(
        PLAN, ["W-01.tokens=1M", "W-01.cached=50%", "W-01.session=12m", "W-01.ops=6h", "ops.first_quarter=14h"]
    )

    def figure(of: Outline) -> float:
        told = forecast(of, start=START, draws=1, terms=AS_ESTIMATED)
        match line:
            case BudgetLine.TOKENS:
                return told.tokens.cost.p50
            case BudgetLine.COMPUTE:
                return max(month.peak.p50 for month in told.compute.months)
            case BudgetLine.OPS:
                return sum(quarter.hours.p50 for quarter in told.ops.quarters) / 4

    assert found.base == pytest.approx(figure(middle))
    bar = {each.input: each for each in found.bars}
    input_, low, high = {
        BudgetLine.TOKENS: ("W-01.tokens", "W-01.tokens=500k", "W-01.tokens=4M"),
        BudgetLine.COMPUTE: ("W-01.session", "W-01.session=5m", "W-01.session=30m"),
        BudgetLine.OPS: ("ops.platform", "ops.platform=3.2h", "ops.platform=4.8h"),
    }[line]
    assert bar[input_].low == pytest.approx(figure(apply_changes(middle, [low])))
    assert bar[input_].high == pytest.approx(figure(apply_changes(middle, [high])))


def test_what_is_exact_moves_by_a_fifth_and_is_written_as_in_the_plan() -> None:
    found = {bar.input: bar for bar in tornado(PLAN, BudgetLine.TOKENS, start=START, months=12, most=50).bars}
    assert (found["W-01.users"].at_low, found["W-01.users"].at_high) == ("224", "336")
    assert (found["W-01.tokens"].at_low, found["W-01.tokens"].at_high) == ("500k", "4M")
    assert (found["W-01.cached"].at_low, found["W-01.price"].at_high) == ("20%", "×1.2")
    assert "W-01.sessions" not in found


def test_no_more_bars_than_are_asked_for() -> None:
    assert len(tornado(PLAN, BudgetLine.TOKENS, start=START, months=3, most=2).bars) == 2
