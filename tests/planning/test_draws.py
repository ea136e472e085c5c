"""Do draws have the quantiles that were said, and does each figure keep its own?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.planning.draws import Z90, Dice, Scale, spread_over
from upshift.planning.outline import Spread, exactly

POSITIVE = st.tuples(*[st.floats(0.01, 1e6)] * 3).map(lambda three: Spread(*sorted(three)))
SHARES = st.tuples(*[st.floats(0.01, 0.99)] * 3).map(lambda three: Spread(*sorted(three)))
AT = np.array([-1.2815515655446004, 0.0, 1.2815515655446004])


@given(POSITIVE)
def test_a_lognormal_figure_has_the_percentiles_that_were_said(spread: Spread) -> None:
    assert spread_over(spread, Scale.LOG, AT) == pytest.approx([spread.low, spread.mid, spread.high])


@given(SHARES)
def test_a_share_has_them_and_stays_a_share(spread: Spread) -> None:
    assert spread_over(spread, Scale.LOGIT, AT) == pytest.approx([spread.low, spread.mid, spread.high])
    far = spread_over(spread, Scale.LOGIT, np.array([-9.0, 9.0]))
    assert 0 <= far[0] <= far[1] <= 1


@given(st.tuples(*[st.floats(-0.9, 2.0)] * 3).map(lambda three: Spread(*sorted(three))))
def test_a_difference_has_them(spread: Spread) -> None:
    assert spread_over(spread, Scale.LINEAR, AT) == pytest.approx([spread.low, spread.mid, spread.high])


def test_what_has_no_logarithm_is_linear_and_cut() -> None:
    assert spread_over(Spread(0.0, 1.0, 3.0), Scale.LOG, np.append(AT, -8.0)) == pytest.approx([0, 1, 3, 0])
    assert spread_over(Spread(0.0, 0.5, 1.0), Scale.LOGIT, np.array([-8.0, 0.0, 8.0])) == pytest.approx([0, 0.5, 1])


def test_draws_are_named() -> None:
    dice = Dice(7, 50)
    assert (dice.normal("W-01", "users") == Dice(7, 50).normal("W-01", "users")).all()
    assert not (dice.normal("W-01", "users") == dice.normal("W-01", "sessions")).any()
    assert not (dice.normal("W-01", "users") == Dice(8, 50).normal("W-01", "users")).any()
    # A name is its parts, not what they come to when they are joined.
    assert not (dice.normal("W-01", "users") == dice.normal("W-0", "1users")).any()


@pytest.mark.parametrize("count", [1, 2, 7, 5000])
def test_deviates_come_in_pairs_of_both_signs(count: int) -> None:
    found = Dice(7, count).normal("W-01", "users")
    half = (count + 1) // 2
    assert len(found) == count
    assert (found[half:] == -found[: count - half]).all()
    assert len(np.unique(np.abs(found))) == half
    if count == 5000:
        assert np.std(found) == pytest.approx(1, abs=0.05)
        assert np.quantile(found, 0.9) == pytest.approx(Z90, abs=0.05)


def test_a_workloads_dice_draw_the_same() -> None:
    own = Dice(7, 50).for_workload()
    of = Spread(1.0, 2.0, 3.0), Scale.LOG, "W-01", "users"
    assert own.draw(*of) is own.draw(*of)
    assert np.all(own.draw(*of) == Dice(7, 50).draw(*of))


def test_what_is_exact_is_not_drawn() -> None:
    assert Dice(0, 10).draw(exactly(5.0), Scale.LOG, "x") == 5.0
    with pytest.raises(ValueError, match="at least one draw, not 0"):
        Dice(0, 0)


def test_the_same_figure_of_two_workloads_is_correlated_as_much_as_is_said() -> None:
    dice = Dice(3, 200_000, together=0.3)
    spread = Spread(1.0, 2.0, 4.0)
    one, other = (np.log(np.asarray(dice.draw(spread, Scale.LOG, name, "users"))) for name in ("W-01", "W-02"))
    unlike = np.log(np.asarray(dice.draw(spread, Scale.LOG, "W-01", "sessions")))
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(0.3, abs=0.01)
    assert np.corrcoef(one, unlike)[0, 1] == pytest.approx(0.0, abs=0.01)
    assert np.std(one) == pytest.approx(np.log(2) / Z90, abs=0.01)


@pytest.mark.parametrize("together", [-0.1, 1.1])
def test_a_correlation_is_a_share(together: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Dice(0, 10, together)
