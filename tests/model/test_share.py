"""Is a share read as it was meant, or refused?"""

import pytest

from upshift.model.share import parse_share


@pytest.mark.parametrize(("text", "share"), [("30%", 0.3), (" 0.3 ", 0.3), ("100 %", 1.0), (".5", 0.5), ("0%", 0.0)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["30", "101%", "-5%", "", "0,3", "half", "nan"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it like 30% or 0\.3"):
        parse_share(text)
