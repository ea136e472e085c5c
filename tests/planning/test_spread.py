"""Are quantiles in order, as wide as earlier forecasts were wrong, and does what was like a workload count for it?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.planning.methods import DAILY
from upshift.planning.spread import Distribution, likeness, weighted

AMOUNTS = st.lists(st.floats(0, 1e9), min_size=1, max_size=20)


@given(AMOUNTS, st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_higher_share_is_never_less(values: list[float], one: float, other: float) -> None:
    found = weighted(np.array([values]), np.ones((1, len(values))))
    low, high = found.quantiles(min(one, other))[0], found.quantiles(max(one, other))[0]
    assert min(values) <= low <= high * (1 + 1e-12)
    assert high <= max(values) * (1 + 1e-12)


def test_weights_count_and_what_is_missing_does_not() -> None:
    found = weighted(np.array([[1.0, 100.0, np.nan, 50.0]]), np.array([[9.0, 1.0, 5.0, 0.0]]))
    assert found.quantiles(0.4)[0] == pytest.approx(1.0)
    assert found.quantiles(0.99)[0] == pytest.approx(100.0)
    same = weighted(np.array([[1.0] * 9 + [100.0]]), np.ones((1, 10)))
    assert found.quantiles(0.97)[0] == pytest.approx(same.quantiles(0.97)[0], rel=0.05)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, 80.0])
def test_a_share_outside_of_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"write 0\.8 for P80"):
        Distribution(np.ones((1, 1)), np.full((1, 1), 0.5)).quantiles(share)


def test_likeness_tells_the_steady_the_intermittent_and_the_fading_apart() -> None:
    steady, sometimes, fading = np.full(20, 5.0), np.tile([0, 0, 0, 0, 9.0], 4), np.array([9.0] * 10 + [0.0] * 10)
    kinds = likeness(np.stack([steady, sometimes, fading]), DAILY)
    assert kinds[:, 0] == pytest.approx([1, 0.2, 0.5])
    assert kinds[1, 1] == pytest.approx(1.0)
    assert kinds[0, 1] == 0
    assert kinds[2, 2] == 0
    assert kinds[0, 2] == pytest.approx(0.5)
