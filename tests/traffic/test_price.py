"""Does a call cost what its rate card says, to the nano-dollar?"""

from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import card, rates, steady

from upshift.model.rates import RateCard, Rates
from upshift.model.tokens import NO_USAGE, Usage
from upshift.traffic.price import cost_of, input_rate, rates_at

FLAT = card()
STEPPED = card(rates(), rates(above=200_000, input=6_000_000_000, output=22_500_000_000, cached=600_000_000))

prices = st.integers(0, 10**12)
flat_rates = st.builds(
    Rates,
    above=st.just(0),
    input=prices,
    output=prices,
    cached=prices,
    cache_write_5m=prices,
    cache_write_1h=prices,
)
parts = st.lists(st.integers(0, 10**6), min_size=6, max_size=6)


def usage_of(parts: list[int]) -> Usage:
    """A usage whose subsets are subsets."""
    plain, cached, short, long, text, thought = parts
    return Usage(plain + cached + short + long, cached, short, long, text + thought, thought)


def test_input_and_output_by_hand() -> None:
    # 1,000 x $3/M + 200 x $15/M = $0.003 + $0.003
    assert cost_of(FLAT, Usage(input=1_000, output=200)) == 6_000_000


def test_cached_tokens_are_part_of_the_input_and_cheaper() -> None:
    # 1,000 x $3/M + 9,000 x $0.30/M = $0.003 + $0.0027
    assert cost_of(FLAT, Usage(input=10_000, cached=9_000)) == 5_700_000


def test_both_kinds_of_cache_writes_have_their_price() -> None:
    # 1,000 x $3/M + 2,000 x $3.75/M + 3,000 x $6/M = $0.003 + $0.0075 + $0.018
    usage = Usage(input=6_000, cache_write_5m=2_000, cache_write_1h=3_000)
    assert cost_of(FLAT, usage) == 28_500_000


def test_reasoning_is_part_of_the_output() -> None:
    assert cost_of(FLAT, Usage(output=500, reasoning=400)) == cost_of(FLAT, Usage(output=500)) == 7_500_000


def test_a_long_context_step_prices_the_whole_request() -> None:
    # At 200,000 still the first step; one token more and all of it costs twice as much.
    assert cost_of(STEPPED, Usage(input=200_000, output=1_000)) == 600_000_000 + 15_000_000
    assert cost_of(STEPPED, Usage(input=200_001, output=1_000)) == 1_200_006_000 + 22_500_000
    assert cost_of(STEPPED, Usage(input=200_001, cached=200_001)) == 120_000_600


def test_the_last_step_that_is_passed_counts() -> None:
    third = rates(above=1_000_000, input=9)
    stepped = card(*STEPPED.steps, third)
    assert [rates_at(stepped, length).above for length in (0, 200_000, 200_001, 1_000_000, 1_000_001)] == [
        0,
        0,
        200_000,
        200_000,
        1_000_000,
    ]


def test_a_part_of_a_nano_dollar_is_rounded_up() -> None:
    penny = card(rates(input=1, output=1))
    assert cost_of(penny, Usage(input=1)) == 1
    assert cost_of(penny, Usage(input=1_000_000)) == 1
    assert cost_of(penny, Usage(input=999_999, output=2)) == 2


def test_nothing_costs_nothing() -> None:
    assert cost_of(STEPPED, NO_USAGE) == 0


@steady
@given(flat_rates, parts, parts)
def test_more_of_anything_never_costs_less(each: Rates, base: list[int], more: list[int]) -> None:
    priced = RateCard((each,), "tests")
    less = cost_of(priced, usage_of(base))
    assert 0 <= less <= cost_of(priced, usage_of([one + other for one, other in zip(base, more, strict=True)]))


@steady
@given(flat_rates, parts, parts)
def test_a_call_split_in_two_costs_the_same_but_for_rounding(each: Rates, one: list[int], other: list[int]) -> None:
    priced = RateCard((each,), "tests")
    split = cost_of(priced, usage_of(one)) + cost_of(priced, usage_of(other))
    whole = cost_of(priced, usage_of(one) + usage_of(other))
    assert whole <= split <= whole + 1


def test_input_that_may_be_written_to_a_cache_is_held_at_the_dearer_price() -> None:
    assert input_rate(rates(), "") == 3_000_000_000
    assert input_rate(rates(), "5m") == 3_750_000_000
    assert input_rate(rates(), "1h") == 6_000_000_000
    assert input_rate(rates(cache_write_5m=0, cache_write_1h=0), "5m") == 3_000_000_000
    assert input_rate(rates(cache_write_5m=0, cache_write_1h=0), "1h") == 3_000_000_000


@steady
@given(flat_rates, parts, st.sampled_from(["", "5m", "1h"]))
def test_what_is_held_for_an_input_covers_it(each: Rates, parts: list[int], asked: str) -> None:
    plain, _, short, long, _, _ = parts
    usage = usage_of([plain, 0, short if asked == "5m" else 0, long if asked == "1h" else 0, 0, 0])
    assert cost_of(RateCard((each,), "tests"), usage) <= -(-usage.input * input_rate(each, asked) // 1_000_000)
