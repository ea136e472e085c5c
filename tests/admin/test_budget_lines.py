"""Does the light line of a budget, by which thousands are counted and sorted, say what its view says?"""

from hypothesis import given
from hypothesis import strategies as st
from tests.admin.installation import NOW, month

from upshift.admin.budgets import Line, line_view
from upshift.model.budget import Amount, Balance, Bucket, Claim, Limit
from upshift.model.ids import TierId
from upshift.model.span import Window, period_of
from upshift.traffic.snapshot import Overage

AMOUNTS = st.builds(Amount, st.integers(-3_000, 3_000), st.integers(-3_000, 3_000))
LIMITS = st.builds(Limit, st.none() | st.integers(0, 2_000), st.none() | st.integers(0, 2_000))


@given(
    bucket=st.sampled_from(Bucket),
    limit=LIMITS,
    balance=st.builds(Balance, settled=AMOUNTS, held=AMOUNTS, granted=AMOUNTS),
)
def test_a_line_and_its_view_agree(bucket: Bucket, limit: Limit, balance: Balance) -> None:
    claim = Claim(month("acme", "a/b %", "chat", bucket), limit, period_of(Window.MONTH, "UTC", NOW))
    line = Line.of(claim, balance, TierId("pro"), (Overage.HARD_CAP,), NOW)
    view = line_view(line)
    shares = [each.share for each in (view.tokens, view.money) if each.share is not None]
    assert line.share == max(shares, default=None)
    assert line.limits == (view.tokens.limit, view.money.limit)
    assert line.reached is (bucket is Bucket.INCLUDED and bool(view.notices))
