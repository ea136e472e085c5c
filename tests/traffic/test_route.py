"""Are the ways to serve a call the right ones, in the right order, and are the closed ones explained?"""

import pytest
from tests.traffic.builders import BIG, CLAUDE, SMALL, ask, consent, gate, model, workload

from upshift.model.budget import Bucket
from upshift.model.refusal import CannotServe, Refused
from upshift.traffic.dispatch import Work
from upshift.traffic.route import Way, Ways, lacking, ways
from upshift.traffic.snapshot import Ability, Dialect, Model, Overage, Workload

HARD, SOFT, PAYG = Overage.HARD_CAP, Overage.SOFT_CAP, Overage.PAY_AS_YOU_GO
FIRST = Way(Bucket.INCLUDED, BIG, "")
PLAIN = model("plain", abilities=(), context=1_000)


def laddered(*ladder: Overage, substitutes: tuple[Model, ...] = (SMALL,)) -> Workload:
    return workload(substitutes=substitutes, rules=gate(ladder=ladder))


def test_a_hard_cap_leaves_one_way() -> None:
    assert ways(ask(), Work(laddered(HARD), BIG), 100, consent()) == Ways((FIRST,), ())
    assert ways(ask(), Work(laddered(), BIG), 100, consent()) == Ways((FIRST,), ())


def test_a_soft_cap_degrades_to_the_first_substitute_that_can_serve() -> None:
    found = ways(ask(), Work(laddered(SOFT, HARD, substitutes=(CLAUDE, PLAIN, SMALL)), BIG), 1_000, None)
    assert found == Ways((FIRST, Way(Bucket.DEGRADED, SMALL, "soft-cap")), ())


def test_pay_as_you_go_needs_the_consent_of_an_admin() -> None:
    work = Work(laddered(PAYG, HARD), BIG)
    assert ways(ask(), work, 100, consent()) == Ways((FIRST, Way(Bucket.OVERAGE, BIG, "pay-as-you-go")), ())
    closed = ways(ask(), work, 100, None)
    assert closed.tried == (FIRST,)
    assert closed.closed == ("pay-as-you-go is not switched on: an admin of the tenant has to opt in",)


def test_the_ladder_is_climbed_in_its_order() -> None:
    found = ways(ask(), Work(laddered(PAYG, SOFT, HARD), BIG), 100, consent())
    assert [way.bucket for way in found.tried] == [Bucket.INCLUDED, Bucket.OVERAGE, Bucket.DEGRADED]
    found = ways(ask(), Work(laddered(SOFT, PAYG), BIG), 100, consent())
    assert [way.bucket for way in found.tried] == [Bucket.INCLUDED, Bucket.DEGRADED, Bucket.OVERAGE]


def test_a_soft_cap_that_leads_nowhere_says_why() -> None:
    call = ask(needs=[Ability.TOOLS, Ability.JSON])
    found = ways(call, Work(laddered(SOFT, substitutes=(CLAUDE, PLAIN)), BIG), 5_000, None)
    assert found.tried == (FIRST,)
    assert found.closed == (
        "no model of tier budget can serve this request: claude speaks anthropic; plain lacks"
        " json (not among what plain can do) and tools (not among what plain can do) and"
        " a context of about 5,000 tokens (plain has 1,000)",
    )
    found = ways(ask(), Work(laddered(SOFT, substitutes=()), BIG), 100, None)
    assert found.closed == ("no model of tier budget can serve this request: it is empty",)


def test_what_a_model_lacks() -> None:
    assert lacking(PLAIN, ask(), 999) == ()
    assert len(lacking(PLAIN, ask(), 1_000)) == 1
    assert len(lacking(PLAIN, ask(needs=[Ability.IMAGES]), 1_000)) == 2
    assert lacking(BIG, ask(needs=list(Ability)), 100) == ()


def test_a_model_that_cannot_serve_is_refused_with_those_that_can() -> None:
    call = ask(needs=[Ability.TOOLS])
    with pytest.raises(Refused) as caught:
        ways(call, Work(workload(primary=(PLAIN, CLAUDE, BIG)), PLAIN), 100, None)
    assert caught.value.reason == CannotServe("plain", ("tools (not among what plain can do)",), "ask for big or small")


def test_or_with_the_news_that_none_can() -> None:
    with pytest.raises(Refused) as caught:
        ways(ask(text_bytes=16 * 200_000), Work(workload(), BIG), 1_000_000, None)
    assert caught.value.reason == CannotServe(
        "big",
        ("a context of about 200,000 tokens (big has 200,000)",),
        "none of the workload's models can serve it",
    )


def test_what_may_just_fit_is_left_to_the_provider() -> None:
    """Our estimate of the input errs upwards, so it passes a substitute over but refuses nobody."""
    call = ask(text_bytes=400_000)
    found = ways(call, Work(laddered(SOFT, substitutes=(model("short", context=50_000),)), BIG), 200_000, None)
    assert [way.model.name for way in found.tried] == ["big"]
    assert "context" in found.closed[0]


def test_a_call_in_the_other_dialect_has_the_same_ways() -> None:
    cheap = model("claude-small", dialect=Dialect.ANTHROPIC)
    found = ways(ask(dialect=Dialect.ANTHROPIC), Work(laddered(SOFT, substitutes=(SMALL, cheap)), CLAUDE), 100, None)
    assert [way.model.name for way in found.tried] == ["claude", "claude-small"]
