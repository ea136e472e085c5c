"""Are the routes of a call the right ones in the right order, never outside a pin, and covered by its hold?"""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import BIG, CLAUDE, NOW, SMALL, ask, card, model, provider, rates, steady, workload

from upshift.model.budget import Bucket
from upshift.model.ids import ModelName, ModelTierId, ProviderId
from upshift.model.rates import RateCard
from upshift.traffic.affinity import Kept
from upshift.traffic.dispatch import Work
from upshift.traffic.health import Board, Verdict
from upshift.traffic.route import Way, targets
from upshift.traffic.snapshot import Ability, Detour, Dialect, Model, Order, Pin, Provider, Routing
from upshift.traffic.targets import (
    SAME_MODEL,
    SAME_TIER,
    Known,
    Target,
    Wanted,
    can_carry,
    narrowed,
    ordered,
)
from upshift.traffic.wire.ask import Ask


def at(
    base: Model, name: str, dialect: Dialect = Dialect.OPENAI, *, weight: int = 1, priced: RateCard | None = None
) -> Model:
    """A model at another provider."""
    return msgspec.structs.replace(
        base, provider=provider(name, dialect), weight=weight, card=priced or base.card, aliases=()
    )


def offered(base: Model, *offers: Model) -> Model:
    return msgspec.structs.replace(base, offers=offers)


EAST, WEST = at(BIG, "east"), at(BIG, "west")
EVERYWHERE = offered(BIG, EAST, WEST)


def known(board: Board | None = None, chance: float = 0.5, kept: Kept | None = None, input_tokens: int = 100) -> Known:
    return Known(
        board=board or Board(), now=NOW, input_tokens=input_tokens, output_tokens=100, chance=chance, kept=kept
    )


def found(
    routing: Routing, wanted: Model = EVERYWHERE, call: Ask | None = None, *, seen: Known | None = None,
    tier: tuple[Model, ...] = (), left_open: bool = False,
) -> list[str]:  # fmt: skip
    what = Wanted(model=wanted, tier=tier or (wanted,), left_open=left_open)
    return [shown(each) for each in ordered(routing, what, call or ask(), seen or known())]


def shown(target: Target) -> str:
    return f"{target.model.name}@{target.provider.id}"


def test_a_model_is_tried_at_its_providers_as_listed() -> None:
    assert found(Routing()) == ["big@openai-provider", "big@east", "big@west"]
    assert found(Routing(same_model=False)) == ["big@openai-provider"]


def test_then_come_its_tier_and_the_tiers_named() -> None:
    routing = Routing(same_tier=True, detours=(Detour(ModelTierId("home"), (SMALL, EVERYWHERE)),))
    what = Wanted(model=EVERYWHERE, tier=(EVERYWHERE, CLAUDE))
    every = ordered(routing, what, ask(), known())
    assert [(shown(each), each.stage, each.step, each.native) for each in every] == [
        ("big@openai-provider", 0, SAME_MODEL, True),
        ("big@east", 0, SAME_MODEL, True),
        ("big@west", 0, SAME_MODEL, True),
        ("claude@anthropic-provider", 1, SAME_TIER, False),
        ("small@openai-provider", 2, "home", True),
    ]


def test_the_cheapest_comes_first_and_an_unknown_price_last() -> None:
    cheap = at(BIG, "cheap", priced=card(rates(input=1, output=1)))
    unknown = msgspec.structs.replace(at(BIG, "unknown"), card=None)
    wanted = offered(BIG, unknown, cheap)
    assert found(Routing(order=Order.CHEAPEST), wanted) == ["big@cheap", "big@openai-provider", "big@unknown"]


def test_the_fastest_comes_first_and_one_never_seen_before_all() -> None:
    board = Board()
    for route, seconds in ((BIG, 2.0), (EAST, 0.5), (WEST, 1.0)):
        board.quick(route, seconds)
    routing = Routing(order=Order.FASTEST)
    assert found(routing, seen=known(board)) == ["big@east", "big@west", "big@openai-provider"]
    firsts = {found(routing, seen=known(board, chance))[0] for chance in (0.01, 0.03, 0.045)}
    assert firsts == {"big@east", "big@west", "big@openai-provider"}
    assert found(routing, seen=known())[0] == "big@openai-provider"


def test_weights_share_out_the_calls() -> None:
    wanted = offered(msgspec.structs.replace(BIG, weight=3), at(BIG, "east", weight=1), at(BIG, "spare", weight=0))
    routing = Routing(order=Order.WEIGHTED)
    firsts = [found(routing, wanted, seen=known(chance=step / 1000)) for step in range(1000)]
    assert sum(each[0] == "big@openai-provider" for each in firsts) == 750
    assert all(each[-1] == "big@spare" for each in firsts)
    # Two of equal weight behind the first are shared out evenly too: one number is enough for the whole order.
    thirds = offered(BIG, EAST, WEST)
    seconds = [found(routing, thirds, seen=known(chance=step / 3000))[1] for step in range(3000)]
    assert [seconds.count(f"big@{name}") for name in ("openai-provider", "east", "west")] == pytest.approx(
        [1000] * 3, abs=5
    )


def test_a_session_stays_where_its_cache_is_unless_that_is_out() -> None:
    kept = Kept(ModelName("big"), ProviderId("west"), NOW)
    assert found(Routing(), seen=known(kept=kept))[0] == "big@west"
    assert found(Routing(sticky=False), seen=known(kept=kept))[0] == "big@openai-provider"
    board = Board()
    for _ in range(5):
        board.end(WEST, Verdict.DOWN, NOW)
    assert found(Routing(), seen=known(board, kept=kept))[0] == "big@openai-provider"
    assert (
        found(Routing(), seen=known(kept=Kept(ModelName("big"), ProviderId("gone"), NOW)))[0] == "big@openai-provider"
    )


def test_where_the_client_left_it_open_the_order_chooses_the_model_too() -> None:
    tier = (EVERYWHERE, SMALL, CLAUDE)
    assert found(Routing(order=Order.CHEAPEST), tier=tier, left_open=True) == ["small@openai-provider"]
    assert found(Routing(), tier=tier, left_open=True)[0] == "big@openai-provider"
    assert found(Routing(order=Order.CHEAPEST), tier=tier)[0] == "big@openai-provider"
    kept = Kept(ModelName("claude"), ProviderId("anthropic-provider"), NOW)
    assert found(Routing(), tier=tier, left_open=True, seen=known(kept=kept)) == ["claude@anthropic-provider"]
    weighted = Routing(order=Order.WEIGHTED)
    firsts = [found(weighted, tier=tier, left_open=True, seen=known(chance=step / 100))[0] for step in range(100)]
    assert {each: firsts.count(each) for each in firsts} == {
        "big@openai-provider": 20, "big@east": 20, "big@west": 20, "small@openai-provider": 20,
        "claude@anthropic-provider": 20,
    }  # fmt: skip


def test_a_tier_is_gone_through_untranslated_first() -> None:
    routing = Routing(same_tier=True)
    assert found(routing, SMALL, ask(), tier=(SMALL, CLAUDE, EVERYWHERE))[1:] == [
        "big@openai-provider", "big@east", "big@west", "claude@anthropic-provider",
    ]  # fmt: skip


def test_state_is_only_where_it_is_kept() -> None:
    talk = offered(model("talk", dialect=Dialect.RESPONSES), at(model("talk"), "other", Dialect.RESPONSES))
    call = ask(dialect=Dialect.RESPONSES, keeps_state=True)
    routing = Routing(same_tier=True, sticky=False)
    assert found(routing, talk, call, tier=(talk, BIG)) == ["talk@openai-responses-provider"]
    kept = Kept(ModelName("talk"), ProviderId("other"), NOW)
    assert found(routing, talk, call, seen=known(kept=kept)) == ["talk@other"]
    assert found(routing, BIG, call) == []


@pytest.mark.parametrize(
    ("of", "speaks", "asked", "keeps", "can"),
    [
        (Dialect.OPENAI, (), Dialect.ANTHROPIC, False, True),
        (Dialect.OPENAI, (), Dialect.EMBEDDINGS, False, False),
        (Dialect.OPENAI, (Dialect.EMBEDDINGS,), Dialect.EMBEDDINGS, False, True),
        (Dialect.EMBEDDINGS, (), Dialect.OPENAI, False, False),
        (Dialect.EMBEDDINGS, (), Dialect.EMBEDDINGS, False, True),
        (Dialect.OPENAI, (), Dialect.RESPONSES, True, False),
        (Dialect.OPENAI, (Dialect.RESPONSES,), Dialect.RESPONSES, True, True),
    ],
)
def test_what_can_be_carried(of: Dialect, speaks: tuple[Dialect, ...], asked: Dialect, keeps: bool, can: bool) -> None:
    known_as = msgspec.structs.replace(provider("p", of), speaks=frozenset(speaks))
    assert can_carry(known_as, ask(dialect=asked, keeps_state=keeps)) is can


def test_a_pin_leaves_what_it_names() -> None:
    assert narrowed(EVERYWHERE, Pin()) is EVERYWHERE
    assert narrowed(EVERYWHERE, Pin(models=frozenset({BIG.name}))) is EVERYWHERE
    assert narrowed(SMALL, Pin(models=frozenset({BIG.name}))) is None
    assert narrowed(EVERYWHERE, Pin(frozenset({ProviderId("west")}))) == msgspec.structs.replace(
        WEST, aliases=BIG.aliases
    )
    two = narrowed(EVERYWHERE, Pin(frozenset({ProviderId("west"), ProviderId("openai-provider")})))
    assert two == offered(BIG, WEST)
    assert narrowed(BIG, Pin(frozenset({ProviderId("west")}))) is None


PROVIDERS: st.SearchStrategy[Provider] = st.builds(
    lambda name, dialect, speaks: msgspec.structs.replace(provider(name, dialect), speaks=frozenset(speaks)),
    st.sampled_from("abcde"),
    st.sampled_from(list(Dialect)),
    st.sets(st.sampled_from(list(Dialect))),
)
RATES = st.builds(
    lambda above, *figures: rates(
        above=above,
        input=figures[0],
        output=figures[1],
        cached=figures[2],
        cache_write_5m=figures[3],
        cache_write_1h=figures[4],
    ),
    st.integers(1, 400_000),
    *[st.integers(0, 10**11)] * 5,
)
CARDS = st.lists(RATES, min_size=1, max_size=3, unique_by=lambda each: each.above).map(
    lambda steps: card(
        *(
            msgspec.structs.replace(each, above=each.above if index else 0)
            for index, each in enumerate(sorted(steps, key=lambda each: each.above))
        )
    )
)
ROUTES = st.builds(
    lambda name, where, context, most, abilities, priced, weight: msgspec.structs.replace(
        model(name, context=context, max_output=most, abilities=abilities, priced=priced), provider=where, weight=weight
    ),
    st.sampled_from(["m1", "m2", "m3"]),
    PROVIDERS,
    st.sampled_from([500, 4_000, 200_000]),
    st.integers(1, 64_000),
    st.sets(st.sampled_from(list(Ability))),
    st.none() | CARDS,
    st.integers(0, 3),
)
MODELS = st.builds(
    lambda first, rest: offered(first, *(msgspec.structs.replace(each, name=first.name) for each in rest)),
    ROUTES,
    st.lists(ROUTES, max_size=3),
)
TIERS = st.lists(MODELS, min_size=1, max_size=3).map(tuple)
PINS = st.builds(
    Pin,
    st.frozensets(st.sampled_from("abcde").map(ProviderId), max_size=3),
    st.frozensets(st.sampled_from(["m1", "m2", "m3"]).map(ModelName), max_size=2),
)
ROUTINGS = st.builds(
    Routing,
    order=st.sampled_from(list(Order)),
    pin=PINS,
    same_model=st.booleans(),
    same_tier=st.booleans(),
    sticky=st.booleans(),
)
ASKS = st.builds(
    ask,
    dialect=st.sampled_from(list(Dialect)),
    needs=st.sets(st.sampled_from(list(Ability))),
    text_bytes=st.integers(1, 100_000),
    max_output=st.none() | st.integers(1, 100_000),
    keeps_state=st.booleans(),
    stream=st.booleans(),
)
CHANCES = st.floats(0, 1, exclude_max=True)


@steady
@given(ROUTINGS, TIERS, TIERS, TIERS, ASKS, CHANCES, st.sampled_from(list(Bucket)), st.booleans())
def test_no_target_is_outside_the_pin_or_lacks_what_is_needed(
    routing: Routing,
    primary: tuple[Model, ...],
    substitutes: tuple[Model, ...],
    detour: tuple[Model, ...],
    call: Ask,
    chance: float,
    bucket: Bucket,
    left_open: bool,
) -> None:
    pin = routing.pin

    def keep(tier: tuple[Model, ...]) -> tuple[Model, ...]:
        return tuple(left for each in tier if (left := narrowed(each, pin)) is not None)

    first, second, third = keep(primary), keep(substitutes), keep(detour)
    asked = second if bucket is Bucket.DEGRADED else first
    if not asked:
        return
    held = workload(
        primary=first,
        substitutes=second,
        routing=msgspec.structs.replace(routing, detours=(Detour(ModelTierId("x"), third),)),
    )
    work = Work(held, first[0] if first else asked[0], first if left_open and first else ())
    seen = known(chance=chance, input_tokens=call.text_bytes // 3)
    found = targets(Way(bucket, asked[0], ""), work, call, seen)
    assert found == targets(Way(bucket, asked[0], ""), work, call, seen)
    for target in found:
        route = target.model
        assert not pin.providers or route.provider.id in pin.providers
        assert not pin.models or route.name in pin.models
        assert can_carry(route.provider, call)
        assert target.native is route.provider.serves(call.dialect)
        assert call.needs <= route.abilities
        assert call.text_bytes // 16 < route.context
    assert len({shown(each) for each in found}) == len(found)
    assert [each.stage for each in found] == sorted(each.stage for each in found)
    assert len(found) <= 1 or not call.keeps_state


def test_embeddings_stay_with_their_model_whatever_the_plan_allows() -> None:
    """Vectors of two models cannot be compared, and nobody who stores them would notice."""
    vectors = msgspec.structs.replace(BIG, provider=provider("east", Dialect.EMBEDDINGS))
    wanted = offered(vectors, at(vectors, "west", Dialect.EMBEDDINGS))
    other = at(SMALL, "east", Dialect.EMBEDDINGS, priced=card(rates(input=1, output=1)))
    call = ask(dialect=Dialect.EMBEDDINGS)
    for order in Order:
        routing = Routing(same_tier=True, detours=(Detour(ModelTierId("x"), (other,)),), order=order)
        kept = Kept(other.name, ProviderId("east"), NOW)
        for left_open in (False, True):
            names = found(routing, wanted, call, tier=(wanted, other), left_open=left_open, seen=known(kept=kept))
            assert sorted(names) == ["big@east", "big@west"]


def test_what_a_provider_keeps_is_asked_of_it_alone() -> None:
    one, two = at(BIG, "one", Dialect.RESPONSES), at(BIG, "two", Dialect.RESPONSES)
    wanted = offered(one, two)
    call = ask(dialect=Dialect.RESPONSES, keeps_state=True)
    kept_there = msgspec.structs.replace(call, holder=ProviderId("two"))
    assert found(Routing(), wanted, kept_there) == ["big@two"]
    assert found(Routing(), wanted, msgspec.structs.replace(call, holder=ProviderId("gone"))) == []
    # Who keeps it is not known: the same guess whatever the order, so that all of a session goes to one.
    for chance in (0.0, 0.5, 0.99):
        weighted = Routing(order=Order.WEIGHTED)
        assert found(weighted, wanted, call, seen=known(chance=chance)) == ["big@one"]
