"""Are token counts read, added up and shown without losing any?"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upshift.model.tokens import NO_USAGE, Usage, parse_tokens, show_tokens

steady = settings(deadline=None, derandomize=True, max_examples=300)

counts = st.integers(0, 10**15)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("520k", 520_000),
        ("1.4M", 1_400_000),
        ("1.4m tokens", 1_400_000),
        ("2_000", 2_000),
        ("900 tokens", 900),
        ("1 token", 1),
        ("0", 0),
        ("3B", 3_000_000_000),
        (" 200,000 ", 200_000),
        ("1.234567M", 1_234_567),
        ("123456789012345678901234567891", 123456789012345678901234567891),
    ],
)
def test_tokens_are_read_exactly(text: str, count: int) -> None:
    assert parse_tokens(text) == count


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k",
        "tokens",
        "-5",
        "1.5",
        "1.2345k",
        "1e6",
        "$5",
        "1,5M",
        "1,50",
        "5 USD",
        "1k k",
        "lots",
        "1 000",
        "٥k",
        "0x5",
        ".5k",
        "1__0",
        "1.00000000000000000000000000000000001M",
    ],
)
def test_what_is_not_a_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_tokens(text)


@steady
@given(st.text(max_size=12) | st.text("0123456789.,_kKmMbBtokens -+e", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        count = parse_tokens(text)
    except ValueError:
        return
    assert count >= 0


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (None, "unknown"),
        (0, "0"),
        (900, "900"),
        (999, "999"),
        (1_000, "1k"),
        (520_000, "520k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (1_400_000, "1.4M"),
        (1_234_567, "1.23M"),
        (999_499_999, "999M"),
        (999_999_999, "1B"),
        (999_499_999_999, "999B"),
        (999_999_999_999, "1,000B"),
        (12_345_678_000_000, "12,346B"),
        (-1_400_000, "-1.4M"),
        (-5, "-5"),
    ],
)
def test_counts_are_shown_in_three_digits(count: int | None, shown: str) -> None:
    assert show_tokens(count) == shown


@steady
@given(counts)
def test_what_is_shown_reads_back_within_half_a_percent(count: int) -> None:
    assert abs(parse_tokens(show_tokens(count)) - count) * 200 <= count


@steady
@given(counts)
def test_an_exact_count_reads_back(count: int) -> None:
    assert parse_tokens(str(count)) == parse_tokens(f"{count:,}") == parse_tokens(f"{count:_} tokens") == count


def test_subsets_do_not_add_to_the_total() -> None:
    usage = Usage(input=100, cached=40, cache_write_5m=20, cache_write_1h=10, output=50, reasoning=30)
    assert usage.total == 150
    assert usage + NO_USAGE == usage
    assert usage + usage == Usage(200, 80, 40, 20, 100, 60)
