"""Does every call meet each ceiling that holds it, once, in the right period?"""

from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import NOW, ceiling, consent, gate, steady, tenant, user, workload

from upshift.model.budget import Bucket, Claim, Limit
from upshift.model.span import Period, Window, period_of
from upshift.traffic import ceilings
from upshift.traffic.ceilings import EVERYBODY
from upshift.traffic.snapshot import Ceiling, Consent, Gate

TENANT = tenant(zone="Asia/Kolkata")
DAY, WEEK, MONTH = Window.DAY, Window.WEEK, Window.MONTH


def now(window: Window, zone: str) -> Period:
    return period_of(window, zone, NOW)


def claims(rules: Gate, bucket: Bucket, agreed: Consent | None = None, tier: str = "pro") -> tuple[Claim, ...]:
    return ceilings.claims(TENANT, user(tier=tier), workload(rules=rules), bucket, agreed, now)


def shown(found: tuple[Claim, ...]) -> list[tuple[str, str, Limit]]:
    return [(each.key.user, each.key.window, each.limit) for each in found]


def test_included_use_meets_the_ceilings_of_the_users_tier() -> None:
    rules = gate(ceilings={"pro": (ceiling(MONTH, tokens=9), ceiling(DAY, nano=5)), "free": (ceiling(WEEK, tokens=1),)})
    assert shown(claims(rules, Bucket.INCLUDED)) == [("alice", "month", Limit(9)), ("alice", "day", Limit(nano=5))]
    assert shown(claims(rules, Bucket.INCLUDED, tier="free")) == [("alice", "week", Limit(1))]


def test_a_claim_names_its_counter_and_its_period_in_the_tenants_zone() -> None:
    (found,) = claims(gate(), Bucket.INCLUDED)
    assert found.key.path() == "acme/alice/support/included/month/2026-11"
    assert found.period == period_of(MONTH, "Asia/Kolkata", NOW)


def test_a_tier_without_a_ceiling_is_still_counted() -> None:
    for bucket in Bucket:
        found = claims(gate(), bucket, tier="other")
        assert ("alice", "month", Limit()) in shown(found)


def test_degraded_use_has_ceilings_of_its_own() -> None:
    rules = gate(degraded={"pro": (ceiling(DAY, tokens=7),)})
    assert shown(claims(rules, Bucket.DEGRADED)) == [("alice", "day", Limit(7))]
    assert shown(claims(gate(degraded={"pro": ()}), Bucket.DEGRADED)) == [("alice", "month", Limit())]


def test_pay_as_you_go_is_limited_for_the_whole_tenant() -> None:
    rules = gate(overage_limit=(ceiling(MONTH, nano=100),))
    assert shown(claims(rules, Bucket.OVERAGE)) == [("alice", "month", Limit()), ("*", "month", Limit(nano=100))]


def test_and_counted_for_it_where_there_is_no_limit() -> None:
    for agreed in (None, consent()):
        assert shown(claims(gate(), Bucket.OVERAGE, agreed)) == [("alice", "month", Limit()), ("*", "month", Limit())]


def test_the_lower_of_the_gates_and_the_admins_limit_counts() -> None:
    rules = gate(overage_limit=(ceiling(MONTH, tokens=5, nano=100), ceiling(DAY, nano=9)))
    for agreed, lower in ((150, 100), (40, 40)):
        assert shown(claims(rules, Bucket.OVERAGE, consent(agreed)))[1:] == [
            ("*", "month", Limit(5, lower)),
            ("*", "day", Limit(nano=9)),
        ]
    assert shown(claims(gate(), Bucket.OVERAGE, consent(40)))[1:] == [("*", "month", Limit(nano=40))]


def test_two_ceilings_of_one_window_are_one_counter() -> None:
    rules = gate(ceilings={"pro": (ceiling(tokens=9), ceiling(tokens=5, nano=7), ceiling(DAY, tokens=1))})
    assert shown(claims(rules, Bucket.INCLUDED)) == [("alice", "month", Limit(5, 7)), ("alice", "day", Limit(1))]


limits = st.none() | st.integers(0, 99)
several = st.lists(
    st.builds(
        lambda window, tokens, nano: ceiling(window, tokens=tokens, nano=nano), st.sampled_from(Window), limits, limits
    ),
    max_size=4,
).map(tuple)


@steady
@given(several, several, several, st.sampled_from(Bucket), st.none() | st.builds(consent, limits))
def test_no_counter_is_met_twice_and_there_always_is_one(
    own: tuple[Ceiling, ...],
    degraded: tuple[Ceiling, ...],
    shared: tuple[Ceiling, ...],
    bucket: Bucket,
    agreed: Consent | None,
) -> None:
    rules = gate(ceilings={"pro": own}, degraded={"pro": degraded}, overage_limit=shared)
    found = claims(rules, bucket, agreed)
    assert found
    assert len({each.key for each in found}) == len(found)
    assert all(each.key.bucket is bucket for each in found)
    assert all(each.key.user in ("alice", EVERYBODY) for each in found)
    applied = {Bucket.INCLUDED: own, Bucket.DEGRADED: degraded, Bucket.OVERAGE: shared}[bucket]
    for said in applied:
        held = [each.limit for each in found if each.key.window == said.window]
        assert said.limit.tokens is None or any(
            limit.tokens is not None and limit.tokens <= said.limit.tokens for limit in held
        )
        assert said.limit.nano is None or any(
            limit.nano is not None and limit.nano <= said.limit.nano for limit in held
        )
