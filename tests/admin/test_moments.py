"""Do times, lengths and amounts mean what people think?"""

import pytest

from upshift.admin.amounts import amount
from upshift.admin.moments import future, past, span_seconds, zone_of
from upshift.model.budget import Amount
from upshift.model.span import show_instant

NOW = 1_795_255_200_000_000


@pytest.mark.parametrize(
    ("text", "zone", "shown"),
    [
        ("7d", "UTC", "2026-11-14T10:00:00+00:00"),
        (" 90 m ", "UTC", "2026-11-21T08:30:00+00:00"),
        ("2026-11-01", "UTC", "2026-11-01T00:00:00+00:00"),
        ("2026-11-01", "Europe/Berlin", "2026-10-31T23:00:00+00:00"),
        ("2026-11-01T12:00", "Europe/Berlin", "2026-11-01T11:00:00+00:00"),
        ("2026-11-01T12:00Z", "Europe/Berlin", "2026-11-01T12:00:00+00:00"),
    ],
)
def test_a_time_in_the_past(text: str, zone: str, shown: str) -> None:
    assert show_instant(past(text, NOW, zone)) == shown


def test_a_time_in_the_future() -> None:
    assert show_instant(future("90d", NOW)) == "2027-02-19T10:00:00+00:00"
    assert show_instant(future("2027-01-01", NOW)) == "2027-01-01T00:00:00+00:00"


@pytest.mark.parametrize("text", ["", "soon", "7", "7 fortnights", "2026-13-01", "-7d", "99999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        past(text, NOW)


def test_lengths_and_zones() -> None:
    assert [span_seconds(text) for text in ("45s", "1.5h", "2w")] == [45, 5400, 1_209_600]
    assert zone_of("Europe/Berlin") == "Europe/Berlin"
    for bad in ("Mars/Olympus", "", "../etc"):
        with pytest.raises(ValueError, match="is not a time zone"):
            zone_of(bad)


def test_amounts() -> None:
    assert amount("100k", "$5") == Amount(100_000, 5_000_000_000)
    assert amount(7, None) == Amount(7, 0)
    assert amount("-1k", "-$0.50", signed=True) == Amount(-1000, -500_000_000)
    for tokens, money in (("-1k", None), (None, "-$5"), ("lots", None), (None, "5 euros"), ("999999999b", None)):
        with pytest.raises(ValueError, match=r"not a|larger"):
            amount(tokens, money)
