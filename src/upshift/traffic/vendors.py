"""How much hangs on one vendor, in each model tier, and how much of the routine work stays on machines of one's own?"""

from collections.abc import Iterable, Mapping

import msgspec

from upshift.model.ids import ModelTierId, ProviderId
from upshift.traffic.snapshot import Model, Snapshot, TierRole

LOCAL_GOAL = 0.2
"""The share of routine work that is to be served locally, as an exit criterion."""
NO_TIER = ModelTierId("")
"""Of models that are in no tier of the plan in force: asked for under an older one."""


class Served(msgspec.Struct, frozen=True):
    """Calls that went to a provider with a model. `counted` is nano-dollars: the cost, or the hold where it is
    unknown."""

    model: str
    provider: str
    calls: int
    tokens: int
    counted: int


class Share(msgspec.Struct, frozen=True):
    """One provider's part of a tier; shares are between 0 and 1."""

    provider: str
    calls: int
    tokens: int
    counted: int
    by_tokens: float
    by_money: float


class Concentration(msgspec.Struct, frozen=True):
    """How a tier's use is spread. `hhi` is the Herfindahl-Hirschman index by tokens, from 0 to 10,000: 10,000 is one
    vendor, 5,000 two equal ones. None where nothing was used."""

    tier: ModelTierId
    role: TierRole | None
    shares: tuple[Share, ...]
    hhi: int | None
    providers: tuple[ProviderId, ...]
    """Those that the plan has for the tier, used or not."""

    @property
    def alone(self) -> bool:
        """Whether the tier has one provider only."""
        return len(self.providers) < 2


class Locality(msgspec.Struct, frozen=True):
    """Routine work, and how much of it was served locally; `tiers` are those that count as routine."""

    tiers: tuple[ModelTierId, ...]
    calls: int
    local_calls: int
    tokens: int
    local_tokens: int

    @property
    def share(self) -> float | None:
        """Of the calls; None where there were none."""
        return self.local_calls / self.calls if self.calls else None


def concentrations(snapshot: Snapshot, served: Iterable[Served]) -> tuple[Concentration, ...]:
    """Every tier of the plan, and what was used of none. A model of several tiers counts in each."""
    by_tier: dict[ModelTierId, list[Served]] = {tier: [] for tier in snapshot.model_tiers}
    of_model = _tiers_by_model(snapshot)
    for each in served:
        for tier in of_model.get(each.model, (NO_TIER,)):
            by_tier.setdefault(tier, []).append(each)
    return tuple(
        Concentration(
            tier=tier,
            role=snapshot.roles.get(tier),
            shares=_shares(rows),
            hhi=hhi(_sum_by_provider(rows, "tokens")),
            providers=_providers(snapshot.model_tiers.get(tier, ())),
        )
        for tier, rows in by_tier.items()
    )


def single_providers(snapshot: Snapshot) -> tuple[Model, ...]:
    """Models that committed workloads are served by and that one provider only has."""
    used = {model.name: model for workload in snapshot.workloads.values() for model in workload.models}
    return tuple(model for model in used.values() if not model.offers)


def locality(snapshot: Snapshot, served: Iterable[Served]) -> Locality:
    """The share of routine work that local providers served: that of all tiers but those of orchestrators."""
    routine = tuple(
        tier for tier in (*snapshot.model_tiers, NO_TIER) if snapshot.roles.get(tier) is not TierRole.ORCHESTRATOR
    )
    of_model = _tiers_by_model(snapshot)
    local = {name for name, provider in snapshot.providers.items() if provider.local is not None}
    rows = [each for each in served if set(of_model.get(each.model, (NO_TIER,))) & set(routine)]
    own = [each for each in rows if each.provider in local]
    return Locality(
        tiers=routine[:-1],
        calls=sum(each.calls for each in rows),
        local_calls=sum(each.calls for each in own),
        tokens=sum(each.tokens for each in rows),
        local_tokens=sum(each.tokens for each in own),
    )


def hhi(parts: Mapping[str, int]) -> int | None:
    """The Herfindahl-Hirschman index of parts of a whole: the sum of the squares of their shares in per cent."""
    whole = sum(parts.values())
    return round(sum((part / whole * 100) ** 2 for part in parts.values())) if whole else None


def _tiers_by_model(snapshot: Snapshot) -> dict[str, list[ModelTierId]]:
    found: dict[str, list[ModelTierId]] = {}
    for tier, models in snapshot.model_tiers.items():
        for model in models:
            found.setdefault(model.name, []).append(tier)
    return found


def _providers(models: Iterable[Model]) -> tuple[ProviderId, ...]:
    return tuple(dict.fromkeys(route.provider.id for model in models for route in model.routes))


def _shares(rows: Iterable[Served]) -> tuple[Share, ...]:
    rows = list(rows)
    calls, tokens, counted = (_sum_by_provider(rows, what) for what in ("calls", "tokens", "counted"))
    all_tokens, all_counted = sum(tokens.values()), sum(counted.values())
    shares = [
        Share(
            provider=name,
            calls=calls[name],
            tokens=tokens[name],
            counted=counted[name],
            by_tokens=tokens[name] / all_tokens if all_tokens else 0.0,
            by_money=counted[name] / all_counted if all_counted else 0.0,
        )
        for name in calls
    ]
    return tuple(sorted(shares, key=lambda share: (-share.tokens, share.provider)))


def _sum_by_provider(rows: Iterable[Served], what: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        found[row.provider] = found.get(row.provider, 0) + int(getattr(row, what))
    return found
