"""Do the estimates follow what calls use, erring to the safe side?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import steady

from upshift.model.tokens import Usage
from upshift.traffic.outlook import IMAGE_TOKENS, PRIOR_OUTPUT, Outlook


def seen(outputs: list[int]) -> Outlook:
    outlook = Outlook()
    for output in outputs:
        outlook.observe(Usage(output=output), 0, 0, 0)
    return outlook


def test_before_any_call_there_are_usual_figures() -> None:
    outlook = Outlook()
    assert outlook.input_tokens(300, 0) == 100
    assert outlook.input_tokens(301, 2) == 101 + 2 * IMAGE_TOKENS
    assert outlook.input_tokens(0, 0) == 0
    assert outlook.output_tokens() == PRIOR_OUTPUT
    assert outlook.bytes_per_token == 3.0


@steady
@given(st.integers(1, 10**7), st.integers(0, 10**7), st.integers(20, 600))
def test_identical_calls_are_foretold_exactly(text_bytes: int, tokens: int, calls: int) -> None:
    """Up to a token per byte: more is not the request's own, and must not size the holds of others."""
    outlook = Outlook()
    for _ in range(calls):
        outlook.observe(Usage(input=tokens), text_bytes, 0, 0)
    assert outlook.input_tokens(text_bytes, 0) == min(tokens, text_bytes)


def test_few_calls_do_not_lower_the_usual_figure_but_raise_it() -> None:
    outlook = Outlook()
    for _ in range(19):
        outlook.observe(Usage(input=100), 1_000, 0, 0)
    assert outlook.input_tokens(3_000, 0) == 1_000
    outlook.observe(Usage(input=100), 1_000, 0, 0)
    assert outlook.input_tokens(3_000, 0) == 300
    outlook.observe(Usage(input=900), 1_000, 0, 0)
    assert outlook.input_tokens(3_000, 0) == 2_700


def test_an_outlier_is_forgotten_after_two_generations() -> None:
    outlook = Outlook()
    outlook.observe(Usage(input=900), 1_000, 0, 0)
    for _ in range(511):
        assert outlook.input_tokens(1_000, 0) == 900
        outlook.observe(Usage(input=100), 1_000, 0, 0)
    assert outlook.input_tokens(1_000, 0) == 100


def test_calls_with_images_or_without_text_say_nothing_of_text() -> None:
    outlook = Outlook()
    for _ in range(40):
        outlook.observe(Usage(input=5_000), 1_000, 2, 0)
        outlook.observe(Usage(input=5_000), 0, 0, 0)
    assert outlook.input_tokens(300, 0) == 100


@pytest.mark.parametrize("calls", [1, 2, 16, 17, 40, 1_500])
@pytest.mark.parametrize("output", [1, 2, 3, 7, 100, 900, 4_097, 128_000])
def test_identical_answers_are_foretold_within_a_quarter(output: int, calls: int) -> None:
    assert output <= seen([output] * calls).output_tokens() <= max(output * 1.25, output + 1)


def test_empty_answers_are_held_at_one_token() -> None:
    assert seen([0] * 30).output_tokens() == 1


def test_an_absurdly_long_answer_is_taken_for_the_longest() -> None:
    assert seen([10**9]).output_tokens() >= 8_000_000


def test_nine_of_ten_answers_fit() -> None:
    # Of 100 answers of 10, 20 ... 1,000 tokens, 90 have at most 900.
    assert 900 <= seen([10 * count for count in range(1, 101)]).output_tokens() <= 900 * 1.25
    assert seen([10] * 91 + [30_000] * 9).output_tokens() < 20
    assert seen([10] * 89 + [30_000] * 11).output_tokens() >= 30_000


def test_the_estimate_moves_in_steps_of_sixteen_calls_once_it_is_settled() -> None:
    outlook = seen([100] * 32)
    assert outlook.output_tokens() < 130
    for _ in range(15):
        outlook.observe(Usage(output=5_000), 0, 0, 0)
        assert outlook.output_tokens() < 130
    outlook.observe(Usage(output=5_000), 0, 0, 0)
    assert outlook.output_tokens() >= 5_000
    assert outlook.output_tokens() >= 5_000


def test_new_habits_displace_old_ones() -> None:
    assert seen([10_000] * 5_000 + [100] * 10_000).output_tokens() < 130


@steady
@given(st.lists(st.tuples(st.integers(0, 200_000), st.integers(0, 200_000)), max_size=120))
def test_longer_answers_never_lower_the_estimate(pairs: list[tuple[int, int]]) -> None:
    shorter, longer = Outlook(), Outlook()
    for one, other in pairs:
        shorter.observe(Usage(output=min(one, other)), 0, 0, 0)
        longer.observe(Usage(output=max(one, other)), 0, 0, 0)
        assert shorter.output_tokens() <= longer.output_tokens()


@steady
@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=16))
def test_at_least_nine_of_ten_past_answers_are_within_the_estimate(outputs: list[int]) -> None:
    estimate = seen(outputs).output_tokens()
    assert sum(output <= estimate for output in outputs) >= 9 * len(outputs) // 10


def test_bytes_per_token_follow_a_lower_ratio_at_once_and_a_higher_one_slowly() -> None:
    outlook = Outlook()
    outlook.observe(Usage(output=120, reasoning=20), 0, 0, 200)
    assert outlook.bytes_per_token == 2.0
    outlook.observe(Usage(output=100), 0, 0, 400)
    assert outlook.bytes_per_token == pytest.approx(2.1)
    outlook.observe(Usage(output=100), 0, 0, 1)
    assert outlook.bytes_per_token == 0.25


def test_short_hidden_or_silent_answers_say_nothing_of_bytes_per_token() -> None:
    outlook = Outlook()
    outlook.observe(Usage(output=15), 0, 0, 15)
    outlook.observe(Usage(output=1_000, reasoning=990), 0, 0, 10)
    outlook.observe(Usage(output=1_000), 0, 0, 0)
    assert outlook.bytes_per_token == 3.0
