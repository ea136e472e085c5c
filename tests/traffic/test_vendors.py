"""Are concentration and local work what the definitions say?"""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import BIG, CLAUDE, OTHER, SMALL, provider, snapshot, steady, workload

from upshift.model.ids import ModelTierId, ProviderId
from upshift.traffic.snapshot import Local, Snapshot, TierRole
from upshift.traffic.vendors import NO_TIER, Served, concentrations, hhi, locality, single_providers

HOME = msgspec.structs.replace(provider("home"), local=Local.OLLAMA)


def plan(**roles: TierRole) -> Snapshot:
    big = msgspec.structs.replace(BIG, offers=(msgspec.structs.replace(BIG, provider=provider("east"), aliases=()),))
    small = msgspec.structs.replace(SMALL, provider=HOME)
    made = snapshot(
        models=[big, CLAUDE, small, OTHER],
        workloads=[workload(primary=(big, CLAUDE), substitutes=(small,))],
        model_tiers={"premium": (big, CLAUDE), "budget": (small,)},
    )
    return msgspec.structs.replace(made, roles={ModelTierId(tier): role for tier, role in roles.items()})


SERVED = (
    Served("big", "openai-provider", 10, 600, 60),
    Served("big", "east", 5, 200, 30),
    Served("claude", "anthropic-provider", 5, 200, 10),
    Served("small", "home", 30, 900, 0),
    Served("retired", "gone", 1, 50, 5),
)


def test_a_tier_is_as_concentrated_as_its_shares_are_unequal() -> None:
    premium, budget, none = concentrations(plan(premium=TierRole.ORCHESTRATOR), SERVED)
    assert (premium.tier, premium.role, premium.hhi, premium.alone) == ("premium", TierRole.ORCHESTRATOR, 4400, False)
    assert premium.providers == ("openai-provider", "east", "anthropic-provider")
    first = premium.shares[0]
    assert (first.provider, first.calls, first.by_tokens, first.by_money) == ("openai-provider", 10, 0.6, 0.6)
    assert (budget.hhi, budget.alone, budget.role) == (10_000, True, None)
    assert budget.shares[0].by_money == 0.0
    assert (none.tier, none.hhi) == (NO_TIER, 10_000)


def test_a_tier_that_nobody_used_has_no_concentration() -> None:
    premium, _ = concentrations(plan(), ())
    assert (premium.hhi, premium.shares) == (None, ())


@steady
@given(st.dictionaries(st.text(max_size=3), st.integers(1, 10**12), min_size=1, max_size=9))
def test_the_index_is_between_equal_parts_and_one_vendor(parts: dict[str, int]) -> None:
    found = hhi(parts)
    assert found is not None
    assert round(10_000 / len(parts)) - 1 <= found <= 10_000


def test_models_with_one_provider_are_named() -> None:
    assert [model.name for model in single_providers(plan())] == ["claude", "small"]


@pytest.mark.parametrize(
    ("roles", "tiers", "share"),
    [
        ({}, ("premium", "budget"), 30 / 51),
        ({"premium": TierRole.ORCHESTRATOR}, ("budget",), 30 / 31),
        ({"budget": TierRole.ORCHESTRATOR, "premium": TierRole.WORKER}, ("premium",), 0.0),
    ],
)
def test_the_local_share_is_of_routine_work(roles: dict[str, TierRole], tiers: tuple[str, ...], share: float) -> None:
    found = locality(plan(**roles), SERVED)
    assert (found.tiers, found.share) == (tiers, share)
    assert locality(plan(**roles), ()).share is None


def test_a_provider_that_is_not_local_serves_nothing_locally() -> None:
    assert locality(snapshot(), SERVED).local_calls == 0
    assert ProviderId("home") in plan().providers
