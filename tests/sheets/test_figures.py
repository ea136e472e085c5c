"""Are numbers of other countries read as meant, and refused where nobody can know?"""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.sheets.figures import Measure, Numbers, UnclearError, evidence, figure, means, stated
from upshift.sheets.moments import quarter
from upshift.sheets.texts import guarded, path_of, path_text, read, unguarded, written

COUNT, SHARE, HOURS, DURATION = Measure.COUNT, Measure.SHARE, Measure.HOURS, Measure.DURATION


@pytest.mark.parametrize(
    ("text", "means_"),
    [
        ("1.234,56", "1234.56"), ("1 234,5", "1234.5"), ("1\u202f234", "1234"), ("1'234.5", "1234.5"),
        ("1,234,567", "1234567"), ("1.400.000", "1400000"), ("1.4M", "1.4M"), ("1,4 Mio.", "1.4M"), ("2 Mrd", "2B"),
        ("500 Tsd", "500k"), ("0,125", "0.125"), ("0.125", "0.125"), ("1.2345", "1.2345"), ("12..18..30", "12..18..30"),
        ("1,5..2,5", "1.5..2.5"), ("12…30", "12..30"), ("18 ± 20 %", "18 +-20%"), ("18 +-20%", "18 +-20%"),
        ("520k tokens", "520k"), ("1 000 000", "1000000"), ("1234,500", "1234.500"),
    ],
)  # fmt: skip
def test_what_leaves_no_doubt_is_read(text: str, means_: str) -> None:
    assert figure(text, COUNT, Numbers.AUTO) == means_


@pytest.mark.parametrize("text", ["1.234", "1,234", "12.500", "999,999", "1.400M", "1.234..5.678"])
def test_what_may_mean_two_things_is_refused_unless_said(text: str) -> None:
    with pytest.raises(UnclearError):
        figure(text, COUNT, Numbers.AUTO)
    assert figure(text, COUNT, Numbers.ENGLISH) != figure(text, COUNT, Numbers.EUROPEAN)


def test_which_of_two_is_meant() -> None:
    assert figure("1.234", COUNT, Numbers.EUROPEAN) == "1234"
    assert figure("1.234", COUNT, Numbers.ENGLISH) == "1.2340"


@pytest.mark.parametrize(
    ("text", "measure"),
    [
        ("12-30", COUNT), ("€ 12", COUNT), ("12 EUR", COUNT), ("twelve", COUNT), ("1,23,4", COUNT), ("1.23.4", COUNT),
        ("400..520k", COUNT), ("20", SHARE), ("12", DURATION), ("6 d", HOURS), ("1..2..3..4", COUNT), ("..", COUNT),
        ("1.4 X-large", COUNT), ("18 +-3", COUNT), ("", COUNT),
    ],
)  # fmt: skip
def test_what_is_no_figure_is_refused(text: str, measure: Measure) -> None:
    with pytest.raises(ValueError, match=r"."):
        figure(text, measure, Numbers.AUTO)


def test_a_column_settles_what_its_figures_alone_do_not() -> None:
    assert evidence(["1.234", "1.234,5"]).settled is Numbers.EUROPEAN
    assert evidence(["1.234", "1.5"]).settled is Numbers.ENGLISH
    assert evidence(["1.234", "1.5", "2,5"]).settled is Numbers.AUTO
    assert evidence(["1.234", "17"]).settled is Numbers.AUTO


def test_units_of_the_header_count_where_the_cell_has_none() -> None:
    assert figure("1,4", COUNT, Numbers.AUTO, "m") == "1.4M"
    assert figure("12", DURATION, Numbers.AUTO, "min") == "12m"
    assert figure("12s", DURATION, Numbers.AUTO, "min") == "12s"
    assert figure("20", SHARE, Numbers.AUTO, "%") == "20%"
    assert figure("6", HOURS, Numbers.AUTO) == "6h"


@given(st.decimals(0, 10**9, allow_nan=False, places=4))
def test_a_number_that_is_stated_reads_the_same_to_everybody(number: Decimal) -> None:
    text = stated(f"{number:f}", COUNT)
    assert Decimal(figure(text, COUNT, Numbers.AUTO)) == number
    assert evidence([text]).european is False


@given(st.text(max_size=20))
def test_any_text_comes_back_from_a_cell(text: str) -> None:
    assert read(written(text)) == text
    assert read(written(text).strip()) == text
    assert unguarded(guarded(text)) == text
    assert not guarded(text).lstrip(" ")[:1] or guarded(text).strip()[:1] not in tuple("=+-@")


@given(st.lists(st.one_of(st.text(max_size=6), st.integers(0, 9)), max_size=4))
def test_any_path_comes_back_from_a_cell(steps: list[str | int]) -> None:
    assert path_of(path_text(tuple(steps))) == tuple(steps)


@pytest.mark.parametrize(
    ("text", "means_"),
    [
        ("Q2-2026", "Q2-2026"), ("2026-Q2", "Q2-2026"), ("2. Quartal 2026", "Q2-2026"), ("T3 2026", "Q3-2026"),
        ("3T 2026", "Q3-2026"), ("2026-04-01", "Q2-2026"), ("01.04.2026", "Q2-2026"), ("15/04/2026", "Q2-2026"),
        ("01/02/2026", "Q1-2026"), ("4Q 2026", "Q4-2026"),
    ],
)  # fmt: skip
def test_quarters_and_dates(text: str, means_: str) -> None:
    assert quarter(text) == means_


@pytest.mark.parametrize("text", ["01/04/2026", "Q5-2026", "Q2/26", "soon", "32.13.2026"])
def test_what_may_be_two_quarters_or_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        quarter(text)


def test_a_mean_without_weights_is_another_one() -> None:
    weighted, unweighted = means([(Decimal(10), Decimal(90)), (Decimal(100), Decimal(10))])
    assert (weighted, unweighted) == (Decimal(19), Decimal(55))
    with pytest.raises(ValueError, match="weights"):
        means([(Decimal(1), Decimal(0))])
