"""Is last period's error stated as it was, and is an input corrected only by what months can bear?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.planning.calibration import LARGEST_FACTOR, Beside, Calibration, Foretold, beside, calibrate

MONTHS = [f"2026-{month:02d}" for month in range(1, 13)]


def said(workload: str, month: str, p50: float) -> Foretold:
    return Foretold(workload, month, p50 * 0.6, p50, p50 * 1.3, p50 * 2)


def rows(workload: str, ratios: list[float], p50: float = 100.0) -> list[Beside]:
    return [Beside(workload, month, said(workload, month, p50), p50 * ratio)
            for month, ratio in zip(MONTHS, ratios, strict=False)]  # fmt: skip


def judged(ratios: list[float]) -> Calibration:
    (found,) = calibrate(rows("chat", ratios))
    return found


def test_both_sides_are_kept_whether_they_match_or_not() -> None:
    found = beside([said("chat", "2026-01", 100), said("chat", "2026-02", 50)],
                   {("chat", "2026-01"): 130.0, ("triage", "2026-01"): 7.0})  # fmt: skip
    assert [(row.workload, row.month, row.foretold is None, row.came) for row in found] == [
        ("chat", "2026-01", False, 130.0),
        ("chat", "2026-02", False, None),
        ("triage", "2026-01", True, 7.0),
    ]
    assert [row.off for row in found] == [pytest.approx(0.3), None, None]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="two forecasts") as raised:
        beside([said("a", "2026-01", 1), said("a", "2026-01", 1), Foretold("b", "2026-01", 3, 2, 4, 5)],
               {("c", "2026-01"): -1.0, ("d", "2026-01"): float("nan")})  # fmt: skip
    assert "b in 2026-01: P10 3, P50 2" in str(raised.value)
    assert "c came to -1 in 2026-01" in str(raised.value)
    assert "d came to nan" in str(raised.value)


def test_an_input_that_was_steadily_too_small_is_raised() -> None:
    found = judged([1.5, 1.45, 1.6, 1.5, 1.55, 1.5])
    assert found.bias == pytest.approx(0.5)
    assert found.error == pytest.approx(0.5)
    assert found.factor is not None
    assert 1.2 < found.factor < 1.5
    assert found.low is not None
    assert found.high is not None
    assert 1 < found.low < found.factor < found.high
    assert "came to 50% more than P50 in the median of 6 months; multiply the input by 1." in found.because


def test_an_input_that_was_too_large_is_lowered() -> None:
    found = judged([0.5] * 8)
    assert found.factor is not None
    assert 0.5 < found.factor < 0.75
    assert "50% less" in found.because


def test_noise_on_both_sides_keeps_the_input_and_says_why() -> None:
    found = judged([0.8, 1.3, 0.9, 1.1, 1.25, 0.7])
    assert found.factor == 1.0
    assert "1 is among them: keep the input" in found.because


def test_one_month_corrects_less_than_six() -> None:
    one, six = judged([1.8]), judged([1.8] * 6)
    assert one.factor == 1.0
    assert "1 month;" in one.because
    assert six.factor is not None
    assert six.factor > 1.3


def test_one_burst_does_not_decide() -> None:
    assert judged([1.0, 1.02, 0.98, 50.0, 1.0, 1.01]).factor == 1.0


def test_coverage_is_the_share_of_months() -> None:
    found = judged([0.5, 1.0, 1.2, 1.5, 2.5])
    assert (found.within_p80, found.within_p95, found.covered) == pytest.approx((0.6, 0.8, 0.6))


def test_a_month_of_nothing_is_an_error_and_not_a_crash() -> None:
    found = judged([0.0] * 5)
    assert found.error == 1.0
    assert found.factor == pytest.approx(1 / LARGEST_FACTOR)


def test_what_all_workloads_show_draws_one_with_little_of_its_own() -> None:
    low = [row for name in "abcde" for row in rows(name, [1.6] * 6)]
    alone, among = calibrate(rows("new", [1.6])), calibrate([*low, *rows("new", [1.6])])
    assert alone[0].factor == 1.0
    assert among[-1].low is not None
    assert alone[0].low is not None
    assert among[-1].low > alone[0].low


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Beside("w", "2026-01", None, 5.0), "was never forecast"),
        (Beside("w", "2026-01", said("w", "2026-01", 5), None), "no actuals yet: insufficient data"),
        (Beside("w", "2026-01", said("w", "2026-01", 0), 5.0), "no month with both"),
    ],
)
def test_without_a_month_to_judge_by_nothing_is_judged(row: Beside, words: str) -> None:
    (found,) = calibrate([row])
    assert words in found.because
    assert (found.months, found.factor, found.error, found.covered) == (0, None, None, None)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12))
def test_no_correction_is_larger_than_the_largest(ratios: list[float]) -> None:
    found = judged(ratios)
    assert found.low is not None
    assert found.factor is not None
    assert found.high is not None
    assert 1 / LARGEST_FACTOR <= found.low <= found.high <= LARGEST_FACTOR
    assert found.factor == 1.0 or found.low <= found.factor <= found.high
