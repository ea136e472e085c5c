"""How much hangs on one vendor, as an administrator sees it?"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from upshift.admin.desk import Actor, Desk
from upshift.admin.door import admin_of, desk_of, responses
from upshift.admin.moments import past
from upshift.admin.shown import Shown
from upshift.admin.views import usd
from upshift.model.span import Window, period_of, show_instant
from upshift.store.journal import Dimension
from upshift.traffic import vendors as rules
from upshift.traffic.vendors import Concentration, Locality, Served, Share


class ShareView(Shown):
    """One provider's part of a model tier."""

    provider: str
    """The provider."""
    calls: int
    """Calls that went to it."""
    tokens: int
    """Tokens of input and output."""
    counted_nano: int
    """Nano-dollars that budgets were charged."""
    counted_usd: str
    """The same in exact US dollars."""
    by_tokens: float
    """Its share of the tier's tokens, from 0 to 1."""
    by_money: float
    """Its share of the tier's cost, from 0 to 1."""


class TierView(Shown):
    """How a model tier's use is spread over providers."""

    tier: str
    """The model tier; empty for models that are in none."""
    role: str
    """What it is for; empty where the plan does not say."""
    hhi: int | None
    """Herfindahl-Hirschman index by tokens, up to 10,000 for a single vendor; null where nothing was used."""
    providers: tuple[str, ...]
    """Providers that the plan has for it, used or not."""
    single: bool
    """Whether that is one provider only."""
    shares: tuple[ShareView, ...]
    """Providers by their share, the largest first."""


class SingleView(Shown):
    """A model that one provider only has."""

    model: str
    """The model."""
    provider: str
    """The provider."""


class LocalView(Shown):
    """How much routine work is served on machines of one's own."""

    tiers: tuple[str, ...]
    """Model tiers that count as routine: all but those with the role orchestrator."""
    calls: int
    """Calls of routine work."""
    local_calls: int
    """Those that a local provider served."""
    tokens: int
    """Tokens of routine work."""
    local_tokens: int
    """Those of local providers."""
    share: float | None
    """Of the calls, from 0 to 1; null where there were none."""
    goal: float
    """What it should be at least."""


class VendorsView(Shown):
    """Concentration by model tier, models with a single provider, and local work, over a stretch of time."""

    since: str
    """From when on calls count."""
    until: str
    """Up to when."""
    tiers: tuple[TierView, ...]
    """Model tiers of the plan in force."""
    single_providers: tuple[SingleView, ...]
    """Models of served workloads that stop with one provider."""
    local: LocalView
    """Routine work served locally."""


def vendors(desk: Desk, since: str = "") -> VendorsView:
    """The view of the calls since then (this month UTC unless said). Raises ValueError and ActError."""
    now = desk.now()
    begin = past(since, now) if since else period_of(Window.MONTH, "UTC", now).start
    snapshot = desk.need_snapshot()
    used = desk.journal.usage([Dimension.SERVED_MODEL, Dimension.PROVIDER], begin, now + 1, latencies=False)
    served = [
        Served(each.group[0], each.group[1], each.calls - each.refused, each.usage.total, each.counted)
        for each in used
        if each.group[1] and each.calls > each.refused
    ]
    return VendorsView(
        since=show_instant(begin),
        until=show_instant(now),
        tiers=tuple(map(_tier, rules.concentrations(snapshot, served))),
        single_providers=tuple(
            SingleView(model=each.name, provider=each.provider.id) for each in rules.single_providers(snapshot)
        ),
        local=_local(rules.locality(snapshot, served)),
    )


def _tier(found: Concentration) -> TierView:
    return TierView(
        tier=found.tier,
        role=found.role or "",
        hhi=found.hhi,
        providers=found.providers,
        single=found.alone,
        shares=tuple(map(_share, found.shares)),
    )


def _share(found: Share) -> ShareView:
    return ShareView(
        provider=found.provider,
        calls=found.calls,
        tokens=found.tokens,
        counted_nano=found.counted,
        counted_usd=usd(found.counted),
        by_tokens=round(found.by_tokens, 4),
        by_money=round(found.by_money, 4),
    )


def _local(found: Locality) -> LocalView:
    return LocalView(
        tiers=found.tiers,
        calls=found.calls,
        local_calls=found.local_calls,
        tokens=found.tokens,
        local_tokens=found.local_tokens,
        share=found.share,
        goal=rules.LOCAL_GOAL,
    )


router = APIRouter(prefix="/api/v1", responses=responses(401, 403, 429))


@router.get("/vendors", responses=responses(400, 409))
def vendors_of_the_plan(
    desk: Annotated[Desk, Depends(desk_of)],
    _: Annotated[Actor, Depends(admin_of)],
    since: Annotated[str, Query(description="Like 7d or 2026-11-01; this month unless said.")] = "",
) -> VendorsView:
    """Share and concentration of providers by model tier, single points of failure, and the share of local work."""
    return vendors(desk, since)
