"""Are the ways to serve a call the right ones, in the right order, and are the closed ones explained?"""

import msgspec
import pytest
from tests.traffic.builders import BIG, CLAUDE, NOW, SMALL, ask, consent, gate, model, workload

from upshift.model.budget import Bucket
from upshift.model.ids import ModelTierId, ProviderId
from upshift.model.refusal import CannotServe, Refused
from upshift.traffic.dispatch import Work
from upshift.traffic.health import Board
from upshift.traffic.route import Way, Ways, targets, ways
from upshift.traffic.snapshot import Ability, Detour, Dialect, Model, Overage, Routing, Workload
from upshift.traffic.targets import Known, lacking

HARD, SOFT, PAYG = Overage.HARD_CAP, Overage.SOFT_CAP, Overage.PAY_AS_YOU_GO
FIRST = Way(Bucket.INCLUDED, BIG, "")
PLAIN = model("plain", abilities=(), context=1_000)


def laddered(*ladder: Overage, substitutes: tuple[Model, ...] = (SMALL,)) -> Workload:
    return workload(substitutes=substitutes, rules=gate(ladder=ladder))


def test_a_hard_cap_leaves_one_way() -> None:
    assert ways(ask(), Work(laddered(HARD), BIG), 100, consent()) == Ways((FIRST,), ())
    assert ways(ask(), Work(laddered(), BIG), 100, consent()) == Ways((FIRST,), ())


def test_a_soft_cap_degrades_to_the_first_substitute_that_can_serve_rather_untranslated() -> None:
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
    mute = model("mute", dialect=Dialect.EMBEDDINGS)
    found = ways(call, Work(laddered(SOFT, substitutes=(mute, PLAIN)), BIG), 5_000, None)
    assert found.tried == (FIRST,)
    assert found.closed == (
        "no model of tier budget can serve this request: mute lacks a provider that speaks openai itself"
        " (mute has none); plain lacks"
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
    assert caught.value.reason == CannotServe(
        "plain", ("tools (not among what plain can do)",), "ask for claude or big or small"
    )


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


def test_a_substitute_of_another_dialect_is_translated_to() -> None:
    found = ways(ask(), Work(laddered(SOFT, substitutes=(CLAUDE,)), BIG), 100, None)
    assert found.tried[1] == Way(Bucket.DEGRADED, CLAUDE, "soft-cap")


def test_what_a_provider_keeps_is_asked_of_nobody_else() -> None:
    responses = model("talk", dialect=Dialect.RESPONSES)
    call = ask(dialect=Dialect.RESPONSES, keeps_state=True)
    found = ways(call, Work(laddered(SOFT, substitutes=(SMALL,)), responses), 100, None)
    assert found.tried == (Way(Bucket.INCLUDED, responses, ""),)
    assert "speaks openai-responses itself with what was kept there" in found.closed[0]
    with pytest.raises(Refused) as caught:
        ways(call, Work(laddered(HARD), BIG), 100, None)
    assert isinstance(caught.value.reason, CannotServe)


def test_embeddings_are_refused_rather_than_served_by_another_model() -> None:
    vectors, other = model("vectors", dialect=Dialect.EMBEDDINGS), model("cheap", dialect=Dialect.EMBEDDINGS)
    call = ask(dialect=Dialect.EMBEDDINGS)
    found = ways(call, Work(laddered(SOFT, PAYG, substitutes=(other,)), vectors), 100, consent())
    assert [way.bucket for way in found.tried] == [Bucket.INCLUDED, Bucket.OVERAGE]
    assert found.closed == ("embeddings stay with vectors: vectors of two models do not mix",)
    found = ways(call, Work(laddered(SOFT, substitutes=(other, vectors)), vectors), 100, None)
    assert found.tried[1] == Way(Bucket.DEGRADED, vectors, "soft-cap")
    short = model("vectors", dialect=Dialect.EMBEDDINGS, context=100)
    with pytest.raises(Refused):
        ways(ask(dialect=Dialect.EMBEDDINGS, text_bytes=9_000), Work(laddered(), short, (short, other)), 3_000, None)


def test_what_is_kept_where_the_plan_does_not_lead_is_refused_by_name() -> None:
    talk = model("talk", dialect=Dialect.RESPONSES)
    call = ask(dialect=Dialect.RESPONSES, keeps_state=True)
    call = msgspec.structs.replace(call, state="resp_1", holder=ProviderId("gone"))
    with pytest.raises(Refused) as caught:
        ways(call, Work(laddered(), talk), 100, None)
    assert isinstance(caught.value.reason, CannotServe)
    assert caught.value.reason.needs == (
        "gone, where resp_1 is kept, if anywhere (talk cannot be had there in openai-responses itself)",
    )


def test_where_a_tier_was_asked_for_another_model_of_it_serves_what_the_first_cannot() -> None:
    work = Work(workload(primary=(PLAIN, BIG)), PLAIN, (PLAIN, BIG))
    assert ways(ask(needs=[Ability.TOOLS]), work, 100, None).tried == (FIRST,)
    with pytest.raises(Refused):
        ways(ask(needs=[Ability.TOOLS]), Work(workload(primary=(PLAIN, BIG)), PLAIN, (PLAIN,)), 100, None)


def known() -> Known:
    return Known(board=Board(), now=NOW, input_tokens=100, output_tokens=100, chance=0.5)


def names(way: Way, work: Work) -> list[str]:
    return [target.model.name for target in targets(way, work, ask(), known())]


def test_targets_are_of_the_tier_that_the_way_leads_to() -> None:
    held = workload(primary=(BIG, CLAUDE), substitutes=(SMALL, PLAIN), routing=Routing(same_tier=True))
    assert names(FIRST, Work(held, BIG)) == ["big", "claude"]
    assert names(Way(Bucket.INCLUDED, SMALL, ""), Work(held, SMALL)) == ["small", "plain"]
    assert names(Way(Bucket.OVERAGE, BIG, "pay-as-you-go"), Work(held, BIG)) == ["big", "claude"]
    assert names(Way(Bucket.DEGRADED, SMALL, "soft-cap"), Work(held, BIG)) == ["small", "plain"]


def test_a_degraded_call_never_comes_back_to_what_its_ceiling_has_closed() -> None:
    detour = Detour(ModelTierId("premium"), (BIG, PLAIN))
    held = workload(primary=(BIG, CLAUDE), substitutes=(SMALL,), routing=Routing(detours=(detour,)))
    assert names(FIRST, Work(held, BIG)) == ["big", "plain"]
    assert names(Way(Bucket.DEGRADED, SMALL, "soft-cap"), Work(held, BIG)) == ["small", "plain"]
