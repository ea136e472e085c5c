"""Is a call charged what it used, at least what was seen, or its hold, and never nothing?"""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import BIG, PREMIUM, model, rates, steady

from upshift.model.budget import Amount
from upshift.model.tokens import NO_USAGE, Certainty, Usage
from upshift.traffic import meter
from upshift.traffic.meter import Tally
from upshift.traffic.wire.ask import PLAIN, SERVED_AS_USUAL, Extras

USAGE = Usage(input=1_000, cached=500, output=200)
COST = 500 * 3_000 + 500 * 300 + 200 * 15_000
FREE = model("unpriced", priced=None)


def test_what_the_provider_reported_is_exact() -> None:
    assert meter.exact(BIG, USAGE) == Tally(USAGE, Certainty.EXACT, COST, Amount(1_200, COST))


def test_a_cut_answer_cost_at_least_what_was_seen() -> None:
    assert meter.at_least(BIG, USAGE) == Tally(USAGE, Certainty.AT_LEAST, COST, Amount(1_200, COST))


def test_without_a_price_the_cost_is_unknown_and_the_tokens_count() -> None:
    assert meter.exact(FREE, USAGE) == Tally(USAGE, Certainty.EXACT, None, Amount(1_200, 0))
    assert meter.at_least(FREE, USAGE) == Tally(USAGE, Certainty.AT_LEAST, None, Amount(1_200, 0))


def test_a_call_that_nobody_reported_is_charged_at_its_hold() -> None:
    assert meter.unknown(Amount(5_000, 70)) == Tally(NO_USAGE, Certainty.UNKNOWN, None, Amount(5_000, 70))


def test_the_larger_of_our_count_and_the_providers_is_what_was_seen() -> None:
    reported = Usage(input=1_000, cached=500, cache_write_5m=20, cache_write_1h=30, output=40, reasoning=10)
    assert meter.seen(reported, 9_999, 25) == reported
    assert meter.seen(reported, 9_999, 60) == Usage(1_000, 500, 20, 30, 60, 10)
    assert meter.seen(None, 800, 60) == Usage(input=800, output=60)


@steady
@given(
    st.none() | st.builds(Usage, input=st.integers(0, 9), output=st.integers(0, 9)),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_seeing_more_never_charges_less(reported: Usage | None, input_tokens: int, output_tokens: int) -> None:
    less = meter.at_least(BIG, meter.seen(reported, input_tokens, output_tokens))
    more = meter.at_least(BIG, meter.seen(reported, input_tokens, output_tokens + 1))
    assert less.counted.tokens <= more.counted.tokens
    assert less.counted.nano <= more.counted.nano


TIERED = msgspec.structs.replace(
    PREMIUM,
    services=(("priority", (rates(input=6_000_000_000, output=30_000_000_000, cached=600_000_000),)),),
    search=10,
)
SERVED = model(priced=TIERED)
HELD = Amount(9_000, 9_999_999_999)


def test_a_tier_of_service_is_priced_by_its_own_rates() -> None:
    assert meter.exact(SERVED, USAGE, Extras("priority"), HELD).cost == 2 * COST
    assert meter.at_least(SERVED, USAGE, Extras("priority", 3), HELD).cost == 2 * COST + 30
    assert meter.exact(SERVED, USAGE, Extras("", 4), HELD) == Tally(
        USAGE, Certainty.EXACT, COST + 40, Amount(1_200, COST + 40)
    )


@pytest.mark.parametrize("extras", [Extras("flex"), Extras(unpriced="audio tokens"), Extras("priority", 0, "audio")])
def test_what_has_no_price_is_unknown_and_charged_at_its_hold(extras: Extras) -> None:
    assert meter.exact(SERVED, USAGE, extras, HELD) == Tally(USAGE, Certainty.EXACT, None, Amount(1_200, HELD.nano))
    assert meter.exact(SERVED, USAGE, extras, Amount(1, 1)).counted == Amount(1_200, COST)


def test_a_search_without_a_price_is_unknown_too() -> None:
    assert meter.exact(BIG, USAGE, Extras("", 1), HELD).cost is None


def test_an_answer_knows_better_than_its_request_which_tier_served_it() -> None:
    priority = Extras("priority")
    assert meter.billed(PLAIN, Extras("flex", said=True)) == Extras("flex", said=True)
    assert meter.billed(priority, PLAIN) == priority
    assert meter.billed(priority, SERVED_AS_USUAL) == SERVED_AS_USUAL
    assert meter.billed(priority, Extras("", 2)) == Extras("priority", 2)
    assert meter.billed(Extras(unpriced="audio"), SERVED_AS_USUAL) == Extras(unpriced="audio", said=True)
    assert meter.exact(SERVED, USAGE, meter.billed(priority, SERVED_AS_USUAL), HELD).cost == COST
