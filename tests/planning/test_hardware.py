"""Are paybacks those of the reference cases, bounded by what a machine can serve, and unknown where they are?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.model.money import parse_money
from upshift.planning.hardware import Displaced, Machine, Outcome, payback, per_million

LAPTOP = Machine(price=parse_money("$2600"))
SERVER = Machine(price=parse_money("$4000"))


def spent(amount: str, share: float = 1.0) -> Displaced:
    return Displaced(spend=parse_money(amount), share=share)


def test_what_a_million_tokens_costs_depends_on_the_load() -> None:
    hourly = parse_money("$2.50")
    assert per_million(hourly, 700, 1.0) == pytest.approx(parse_money("$0.99"), rel=0.005)
    assert per_million(hourly, 700, 0.1) == pytest.approx(parse_money("$9.92"), rel=0.005)


@pytest.mark.parametrize("spend", ["$900", "$1000", "$1200", "$1300"])
def test_the_reference_cases(spend: str) -> None:
    """A laptop at 30 % displacement: 5 to 10 months. A server for five who each spend as much: 2 to 3."""
    laptop = payback(LAPTOP, spent(spend, 0.3), 0.2)
    five = Displaced(spend=5 * parse_money(spend), share=0.3)
    server = payback(SERVER, five, 0.4)
    assert laptop.months is not None
    assert 5 <= laptop.months <= 10
    assert server.months is not None
    assert 2 <= server.months <= 3


def test_power_and_upkeep_are_taken_off() -> None:
    machine = Machine(
        price=parse_money("$4000"), watts=140, idle_watts=40, kwh=parse_money("$0.30"), upkeep=parse_money("$20")
    )
    found = payback(machine, spent("$500"), 0.25)
    power = (140 * 0.25 + 40 * 0.75) / 1000 * 730 * 0.30
    assert found.power == pytest.approx(power * 1e9)
    assert found.months == pytest.approx(4000 / (500 - 20 - power))
    assert found.left_out == ()
    assert found.depreciation == pytest.approx(4000 / 36 * 1e9, abs=1)


def test_a_machine_displaces_no_more_than_it_serves() -> None:
    machine = Machine(price=parse_money("$4000"), tokens_per_second=500, watts=0, kwh=0)
    displaced = Displaced(spend=parse_money("$5000"), price_per_million=parse_money("$1.50"))
    found = payback(machine, displaced, 0.2)
    served = 500 * 3600 * 730 * 0.2 / 1e6 * 1.5
    assert found.bound
    assert found.saved == pytest.approx(served * 1e9)
    assert found.needed == pytest.approx(0.2 * 5000 / served)
    assert found.per_million == pytest.approx(4000 / 36 / (500 * 3600 * 730 * 0.2 / 1e6) * 1e9, rel=1e-6)
    assert not payback(machine, Displaced(spend=parse_money("$100"), price_per_million=parse_money("$1.50")), 0.2).bound


def test_unknown_stays_unknown() -> None:
    found = payback(Machine(price=None), spent("$500"), 0.3)
    assert (found.outcome, found.months, found.depreciation, found.per_million) == (Outcome.UNKNOWN, None, None, None)
    assert found.unknown == ("the price of the machine",)
    nothing = payback(Machine(price=None, tokens_per_second=100), Displaced(spend=None), 0.3)
    assert (nothing.saved, nothing.net) == (None, None)
    assert nothing.unknown == ("the price of the machine", "the API spend")


def test_unknown_power_is_left_out_and_said() -> None:
    found = payback(Machine(price=parse_money("$1000"), watts=100, tokens_per_second=50), spent("$100"), 0.3)
    assert found.months == pytest.approx(10)
    assert found.power is None
    assert found.per_million is None
    assert found.left_out == ("power: watts and the price of a kilowatt-hour",)


def test_what_costs_more_than_it_saves_never_pays() -> None:
    found = payback(Machine(price=parse_money("$4000"), upkeep=parse_money("$50")), spent("$50"), 0.3)
    assert (found.outcome, found.months) == (Outcome.NEVER, None)
    unpriced = payback(Machine(price=None, upkeep=parse_money("$50")), spent("$50"), 0.3)
    assert unpriced.outcome is Outcome.NEVER


def test_a_machine_that_is_worn_out_first_does_not_pay() -> None:
    found = payback(Machine(price=parse_money("$4000"), life_months=24), spent("$100"), 0.3)
    assert found.outcome is Outcome.TOO_LATE
    assert found.months == pytest.approx(40)


@pytest.mark.parametrize("utilisation", [0.0, -0.1, 1.01])
def test_utilisation_is_a_share_of_all_hours(utilisation: float) -> None:
    with pytest.raises(ValueError, match="utilisation"):
        payback(LAPTOP, spent("$500"), utilisation)
    with pytest.raises(ValueError, match="utilisation"):
        per_million(1, 700, utilisation)


def test_impossible_shares_and_speeds_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be displaced"):
        payback(LAPTOP, spent("$500", 1.2), 0.5)
    with pytest.raises(ValueError, match="tokens per second"):
        per_million(1, 0, 0.5)


@given(price=st.integers(1, 10**14), spend=st.integers(1, 10**13), load=st.floats(0.01, 1.0))
def test_what_is_saved_until_then_is_the_price(price: int, spend: int, load: float) -> None:
    found = payback(Machine(price=price, life_months=10**9), Displaced(spend=spend), load)
    assert found.months is not None
    assert found.net is not None
    assert found.months * found.net == pytest.approx(price)
