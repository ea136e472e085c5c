"""Does the tokeniser lose nothing, and does what is composed count as what it was asked to be?"""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from upshift.simulated.asked import Asked
from upshift.simulated.compose import Composer, Finish
from upshift.simulated.tokens import count_tokens, pieces
from upshift.simulated.traces import Arrival, Lengths

COMPOSER = Composer(1, Lengths([Arrival(0.0, 100, 50)] * 50))


@given(st.text())
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert count_tokens(text) == len(pieces(text))


def test_figures_that_others_may_rely_on() -> None:
    assert [count_tokens(text) for text in ("", "word", "words", "a plan", "a, b", "\n\n ", "naïve €5")] == [
        0,
        1,
        2,
        2,
        3,
        1,
        4,
    ]


@given(st.integers(0, 20_000), st.integers(0, 2**64))
def test_prose_has_exactly_the_tokens_asked_for(length: int, draw: int) -> None:
    (choice,) = COMPOSER.compose(Asked(model="m", directives="", stream=False, prompt_tokens=9), length, Random(draw))
    assert count_tokens("".join(choice.text)) == choice.output == length


@given(st.integers(0, 300), st.integers(1, 200), st.floats(0, 0.9), st.integers(0, 2**64))
def test_no_answer_passes_max_tokens_and_a_cut_one_says_so(length: int, limit: int, share: float, draw: int) -> None:
    asked = Asked(model="m", directives="", stream=False, prompt_tokens=9, max_tokens=limit, reasoning_share=share)
    (choice,) = COMPOSER.compose(asked, length, Random(draw))
    assert choice.output == min(length, limit)
    assert (choice.finish is Finish.LENGTH) == (length > limit)
