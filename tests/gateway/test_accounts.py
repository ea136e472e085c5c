"""Are a user's ceilings remembered exactly as long as they last?"""

from tests.traffic import builders as make
from tests.traffic.builders import DAY, NOW

from upshift.gateway.accounts import Account, Accounts, Calendar
from upshift.model.budget import Amount, Bucket
from upshift.model.span import Window
from upshift.traffic.gate import ENDLESS
from upshift.traffic.snapshot import Consent

RULES = make.gate(
    ceilings={"pro": (make.ceiling(Window.DAY, tokens=1_001), make.ceiling(Window.MONTH, nano=5, tokens=90))}
)
WORKLOAD = make.workload(rules=RULES)
TODAY = make.period(Window.DAY)


def account(
    accounts: Accounts, now: int = NOW, bucket: Bucket = Bucket.INCLUDED, consent: Consent | None = None
) -> Account:
    return accounts.of(make.tenant(), make.user(), WORKLOAD, bucket, consent, now)


def test_an_account_lasts_until_its_first_period_ends() -> None:
    accounts = Accounts(Calendar())
    first = account(accounts)
    assert (first.start, first.end) == (TODAY.start, TODAY.end)
    assert first.keys == tuple(claim.key for claim in first.claims)
    assert first.resets == b"2026-11-17T00:00:00+00:00"
    assert account(accounts, TODAY.end - 1) is first
    tomorrow = account(accounts, TODAY.end)
    assert tomorrow.start == TODAY.end
    assert [key.period for key in tomorrow.keys] != [key.period for key in first.keys]
    assert account(accounts, NOW - DAY).end == TODAY.start


def test_what_is_in_force_may_change() -> None:
    accounts = Accounts(Calendar())
    first = account(accounts)
    accounts.forget()
    assert account(accounts) is not first
    assert account(accounts) == first


def test_a_call_that_asks_by_an_old_consent_leaves_nothing_to_those_after_it() -> None:
    accounts = Accounts(Calendar())
    account(accounts, bucket=Bucket.OVERAGE, consent=make.consent(50))
    claim = account(accounts, bucket=Bucket.OVERAGE, consent=make.consent(20)).claims[-1]
    assert claim.limit.nano == 20


def test_thresholds_are_looked_at_from_half_of_a_limit_on() -> None:
    accounts = Accounts(Calendar())
    halves = {claim.key.window: half for claim, half in account(accounts).watched}
    assert halves == {"day": Amount(501, ENDLESS), "month": Amount(45, 3)}
    assert account(accounts, bucket=Bucket.DEGRADED).watched == ()
