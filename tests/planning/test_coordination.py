"""Are the published figures of coordination reproduced, and their contradictions found?"""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.planning.coordination import (
    EXAMPLE,
    Projected,
    Projection,
    breaking_at,
    coordination,
    disagreements,
    efficiency,
    efficiency_peak,
    elasticity,
    most_interfaces,
    overhead,
    worked_out,
)
from upshift.planning.usl import Law

KIM = {
    "single": (0.466, 7.2, 0, 0.466),
    "independent": (0.370, 11.4, 58, 0.234),
    "decentralised": (0.477, 26.1, 263, 0.132),
    "centralised": (0.463, 27.7, 285, 0.120),
    "hybrid": (0.452, 44.3, 515, 0.074),
}
"""Success, turns, overhead in per cent, efficiency: the table of means of arXiv 2512.08296."""


@pytest.mark.parametrize(("success", "turns", "percent", "efficient"), KIM.values(), ids=KIM)
def test_overhead_and_efficiency(success: float, turns: float, percent: float, efficient: float) -> None:
    assert 100 * overhead(turns, 7.2) == pytest.approx(percent, abs=0.6)
    assert efficiency(success, turns, 7.2) == pytest.approx(efficient, abs=0.0006)


def test_interfaces() -> None:
    assert [most_interfaces(agents) for agents in (1, 2, 5, 20)] == [0, 1, 10, 190]


def test_the_figures_of_a_team() -> None:
    law = Law(42.35, 0.002, 0.0001)
    found = coordination(law, 20, active=47)
    assert (found.most, found.active) == (190, 47)
    assert found.contacts == pytest.approx(4.7)
    assert found.raw == pytest.approx(847)
    assert found.effective == pytest.approx(found.raw * found.efficiency)
    assert found.marginal == pytest.approx(law.throughput(21) - law.throughput(20))
    assert coordination(law, 20).contacts is None
    with pytest.raises(ValueError, match="20 agents have 0 to 190"):
        coordination(law, 20, active=191)


def test_the_worked_example() -> None:
    rows = worked_out(EXAMPLE)
    assert [round(row.effective) for row in rows] == [802, 968, 1_058]
    assert [None if row.gain is None else round(row.gain) for row in rows] == [None, 166, 90]
    assert rows[1].naive == pytest.approx(212)
    assert rows[0].per_agent == pytest.approx(42.35)
    assert [row.raw_implied for row in rows] == [False, False, True]


def test_its_contradictions_are_said() -> None:
    raw, breaking, slope = disagreements(EXAMPLE)
    assert "30 agents: 1,058 effective at 88.17% needs 1,200 raw, 40.00 per agent" in raw
    assert "42.35 each it would be 1,120" in raw
    assert "a breaking point of 28 agents is stated, and the step from 25 to 30 agents still gains 90" in breaking
    assert "about 82 agents, not 28" in slope


def test_an_effective_throughput_that_does_not_follow_is_said() -> None:
    wrong = Projection((Projected(10, 0.9, 500, 400),), 40, 0.8)
    assert disagreements(wrong) == ["10 agents: 500 effective is stated, and 400 raw at 90.00% makes 360"]


def test_figures_that_agree_are_left_alone() -> None:
    rows = tuple(
        Projected(size, 1.2 - 0.02 * size, 40 * size * (1.2 - 0.02 * size), 40 * size) for size in (20, 25, 30)
    )
    agreed = Projection(rows, 30, 0.7)
    assert efficiency_peak(agreed) == pytest.approx(30)
    assert disagreements(agreed) == []
    assert efficiency_peak(msgspec.structs.replace(agreed, rows=rows[:1])) is None


def test_breaking_points_by_independence() -> None:
    assert breaking_at(0.73) == pytest.approx(28)
    assert all(5 <= breaking_at(share) <= 7 for share in (0.08, 0.10, 0.12, 0.14))
    assert all(30 <= breaking_at(share) <= 50 for share in (0.76, 0.80, 0.85, 0.89))
    assert breaking_at(0.5, known=(0.5, 12)) == pytest.approx(12)
    assert breaking_at(0.001) == 1.0


@given(share=st.floats(0.05, 0.95))
def test_elasticity_is_the_slope_on_logarithms(share: float) -> None:
    step = 1e-6
    slope = (breaking_at(share * (1 + step), (0.73, 1e6)) / breaking_at(share, (0.73, 1e6)) - 1) / step
    assert elasticity(share) == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("share", [0.0, 1.0, 73.0])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"73 % is 0\.73"):
        breaking_at(share)
    with pytest.raises(ValueError, match=r"73 % is 0\.73"):
        elasticity(share)
