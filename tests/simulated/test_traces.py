"""Is the shipped trace whole, and are lengths drawn from it?"""

from itertools import pairwise

import pytest

from upshift.simulated.traces import Arrival, Lengths, conversation


def test_the_trace_is_whole_and_in_order() -> None:
    arrivals = conversation()
    assert len(arrivals) == 19_366
    assert arrivals[0] == Arrival(0.0, 374, 44)
    assert all(before.t_seconds <= after.t_seconds for before, after in pairwise(arrivals))
    assert 3_400 < arrivals[-1].t_seconds < 3_700


def test_lengths_are_those_of_prompts_of_similar_length() -> None:
    lengths = Lengths(
        [Arrival(0.0, 10, out) for out in range(100)] + [Arrival(0.0, 1000, 1000 + out) for out in range(100)]
    )
    assert [lengths.draw(10, chance) for chance in (0.0, 0.5, 0.999)] == [0, 50, 99]
    assert lengths.draw(1, 0.0) == 0
    assert lengths.draw(100, 0.0) == lengths.draw(10**9, 0.0) == 1000


def test_a_trace_that_is_too_thin_is_refused() -> None:
    with pytest.raises(ValueError, match="50"):
        Lengths([Arrival(0.0, 10, 10)])
