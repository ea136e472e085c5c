"""Is money read and shown without losing or inventing any of it?"""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upshift.model.money import NANO_PER_DOLLAR, dollars, nano_from_dollars, parse_money, show_money

steady = settings(deadline=None, derandomize=True, max_examples=300)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("$2.50", 2_500_000_000),
        ("2.5", 2_500_000_000),
        ("$.5", 500_000_000),
        ("0", 0),
        ("$0.000000001", 1),
        ("$1.2k", 1_200_000_000_000),
        ("3M USD", 3_000_000_000_000_000),
        ("  $ 1,234.56 ", 1_234_560_000_000),
        ("1_000 USD", 1_000_000_000_000),
        ("1,234,567", 1_234_567_000_000_000),
        ("12USD", 12_000_000_000),
        ("$1.0000000000000000000000000000000000000000", NANO_PER_DOLLAR),
        ("$123456789012345678901234567890.000000001", 123456789012345678901234567890_000000001),
    ],
)
def test_money_is_read_exactly(text: str, nano: int) -> None:
    assert parse_money(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "$",
        "-1",
        "$-1",
        "1e6",
        "five",
        "1.2.3",
        "1.",
        "$1k5",
        "1 2",
        "€5",
        "NaN",
        "inf",
        "0x10",
        "1__0",
        "1_",
        "_1",
        ",1",
        "1,",
        "$1,50",
        "2,5k",
        "1,2345",
        "12,34,567",
        "1_000,000",
        "٣",
        "١٢",
        "2.5B",
        "5 EUR",
        "$0.0000000001",
        "$1.00000000000000000000000000000000001",
        "9" * 5000,
    ],
)
def test_what_is_not_money_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_money(text)


@steady
@given(st.text(max_size=12) | st.text("0123456789.,_$kKmMUSD -+e", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        nano = parse_money(text)
    except ValueError:
        return
    assert nano >= 0


@steady
@given(st.integers(0, 10**24))
def test_exact_dollars_read_back(nano: int) -> None:
    assert parse_money(f"${dollars(nano):f}") == nano
    assert parse_money(f"${dollars(nano):,f}") == nano


@pytest.mark.parametrize(
    ("text", "nano"),
    [("0.0000000005", 0), ("0.0000000015", 2), ("0.00000000051", 1), ("1.5", 1_500_000_000), ("-0.0000000015", -2)],
)
def test_dollars_round_to_the_nearest_nano_ties_to_even(text: str, nano: int) -> None:
    assert nano_from_dollars(Decimal(text)) == nano


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (1, "$0.000000001"),
        (999, "$0.000000999"),
        (1_000, "$0.000001"),
        (1_234_567, "$0.001235"),
        (10_000_000, "$0.01"),
        (12_340_000_000, "$12.34"),
        (1_234_567_890_000_000, "$1,234,567.89"),
        (-500, "-$0.000000500"),
        (-12_340_000_000, "-$12.34"),
        (90_071_992_547_409_930_000_000, "$90,071,992,547,409.93"),
    ],
)
def test_money_is_shown(nano: int | None, shown: str) -> None:
    assert show_money(nano) == shown


@steady
@given(st.integers(1, 10**22))
def test_what_is_shown_reads_back_to_a_cent_or_a_thousandth_and_never_as_nothing(nano: int) -> None:
    back = parse_money(show_money(nano))
    assert back > 0
    assert abs(back - nano) <= (NANO_PER_DOLLAR // 200 if nano >= NANO_PER_DOLLAR // 100 else 500)


@steady
@given(st.integers(10**7, 10**24))
def test_cents_are_those_of_decimal_arithmetic(nano: int) -> None:
    assert show_money(nano) == f"${dollars(nano):,.2f}"


@pytest.mark.parametrize(
    ("cents", "shown"), [("1.5", "$0.02"), ("2.5", "$0.02"), ("99.5", "$1.00"), ("100.5", "$1.00")]
)
def test_half_a_cent_goes_to_the_even_one(cents: str, shown: str) -> None:
    assert show_money(int(Decimal(cents) * 10**7)) == shown
