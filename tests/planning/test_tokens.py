"""Are tokens those of the formula, and each kind of them at its price?"""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planning.outlines import CARD, row

from upshift.model.ids import ModelName
from upshift.model.rates import RateCard, Rates
from upshift.planning.draws import Dice
from upshift.planning.outline import Estimate, Row, Share, Spread, Turns, exactly
from upshift.planning.tokens import PerUser, lacking, of_one_user, per_user

DICE = Dice(1, 2000)
POSITIVE = st.floats(0.5, 5000)


def derived(sessions: float = 18, more: dict[str, Any] | None = None, **turns: float) -> Row:
    figures = {"turns": 4.0, "input": 2100.0, "output": 300.0, **turns}
    said = Turns(**{name: exactly(value) for name, value in figures.items()})
    return row(estimate=Estimate(sessions=exactly(sessions), turns=said, **(more or {})))


def told(of: Row) -> PerUser:
    found = per_user(of, DICE)
    assert found is not None
    return found


@given(POSITIVE, POSITIVE, POSITIVE, POSITIVE, st.floats(1, 5), st.floats(1, 5), st.floats(1, 3))
def test_the_formula(s: float, t: float, i: float, o: float, m: float, c: float, r: float) -> None:
    of = derived(s, turns=t, input=i, output=o, multiplier=m, tool_calls=c, retries=r)
    assert told(of).tokens == pytest.approx(s * t * (i + o * m) * c * r)


def test_each_kind_has_its_price() -> None:
    of = derived(10, {"cached": exactly(0.5), "cache_written": exactly(0.1)}, turns=1, input=1000, output=100)
    # 10,000 of input: 5,000 cached, 1,000 written, 4,000 plain; 1,000 of output.
    assert told(of).cost == pytest.approx((4000 * 3 + 5000 * 0.3 + 1000 * 3.75 + 1000 * 15) * 1000)


def test_reasoning_is_output() -> None:
    plain, reasoning = told(derived(10, turns=1)), told(derived(10, turns=1, multiplier=2))
    assert plain.cost is not None
    assert reasoning.cost is not None
    assert reasoning.cost - plain.cost == pytest.approx(10 * 300 * 15 * 1000)


def test_what_is_cached_and_written_is_one_input() -> None:
    of = derived(10, {"cached": exactly(0.8), "cache_written": exactly(0.5)}, turns=1, input=1000, output=0)
    assert told(of).cost == pytest.approx((8000 * 0.3 + 2000 * 3.75) * 1000)


def test_a_long_context_costs_what_its_step_says() -> None:
    (short,) = CARD.steps
    long = msgspec.structs.replace(short, above=200_000, input=6 * 10**9)
    of = msgspec.structs.replace(
        derived(1, turns=1, output=0), mix=(Share(ModelName("m"), 1, RateCard((short, long), "")),)
    )
    assert told(of).cost == pytest.approx(2100 * 3 * 1000)
    beyond = derived(1, turns=1, input=300_000, output=0)
    assert told(msgspec.structs.replace(beyond, mix=of.mix)).cost == pytest.approx(300_000 * 6 * 1000)
    stated = row(estimate=Estimate(tokens=exactly(1000.0), output_share=exactly(0.0), long=exactly(0.25)), mix=of.mix)
    assert told(stated).cost == pytest.approx((750 * 3 + 250 * 6) * 1000)


def test_a_mix_of_models_costs_its_parts() -> None:
    cheap = RateCard((Rates(input=10**9, output=0, cached=0, cache_write_5m=0, cache_write_1h=0),), "")
    mix = (Share(ModelName("a"), 0.25, CARD), Share(ModelName("b"), 0.75, cheap))
    of = row(estimate=Estimate(tokens=exactly(1000.0), output_share=exactly(0.0)), mix=mix)
    assert told(of).cost == pytest.approx((250 * 3 + 750 * 1) * 1000)


def test_an_unknown_price_is_unknown_and_its_tokens_are_not() -> None:
    for mix in ((), (Share(ModelName("a"), 0.5, CARD), Share(ModelName("b"), 0.5, None))):
        found = told(row(mix=mix))
        assert found.cost is None
        assert found.unpriced
        assert found.tokens == 1_400_000


def test_what_is_missing_is_named() -> None:
    assert lacking(row()) == ()
    assert lacking(row(estimate=None, audiences=())) == ("users are not said", "neither tokens nor turns are said")
    without = msgspec.structs.replace(derived(), estimate=Estimate(turns=derived().estimate.turns))  # type: ignore[union-attr] # said above
    assert lacking(without) == ("sessions are not said",)
    assert per_user(without, DICE) is None
    assert per_user(row(estimate=None), DICE) is None


def test_ranges_have_their_quantiles() -> None:
    found = told(row(estimate=Estimate(tokens=Spread(100.0, 300.0, 1200.0))))
    assert np.quantile(np.asarray(found.tokens), (0.1, 0.5, 0.9)) == pytest.approx([100, 300, 1200], rel=0.15)


def test_users_differ_around_their_mean() -> None:
    many = of_one_user(row(), Dice(3, 200_000), 0.8)
    assert many.mean() == pytest.approx(1.0, abs=0.01)
    assert np.quantile(many, 0.95) == pytest.approx(2.7, abs=0.1)
