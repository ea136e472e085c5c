"""Which Snapshot does a declared plan compile to, and which document is kept of it?"""

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec

from upshift.model.budget import Limit
from upshift.model.ids import (
    GateId,
    ModelName,
    ModelTierId,
    PlanHash,
    PodId,
    ProjectId,
    ProviderId,
    TenantId,
    TierId,
    UserId,
    WorkloadId,
)
from upshift.model.span import Window
from upshift.plan_file import declared
from upshift.plan_file.prices import Terms
from upshift.traffic.snapshot import (
    Ceiling,
    Gate,
    Model,
    Overage,
    Provider,
    Snapshot,
    Tenant,
    Timeouts,
    User,
    Workload,
)

K = TypeVar("K")
V = TypeVar("V")


def document_of(plan: declared.Plan, terms: Mapping[str, Terms]) -> str:
    """The canonical JSON of a plan and of the prices it was settled with: the same for every way of writing it."""
    parts = {
        "plan": plan.model_dump(mode="json", exclude_none=True),
        "terms": {name: msgspec.to_builtins(each) for name, each in terms.items()},
    }
    return json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def compile_document(document: str) -> Snapshot:
    """The Snapshot of a kept document. Raises ValueError for text that `document_of` did not make."""
    parts = json.loads(document)
    if not isinstance(parts, dict) or parts.keys() != {"plan", "terms"}:
        raise ValueError("this is not the document of a plan")
    plan = declared.Plan.model_validate(parts["plan"])
    try:
        terms = msgspec.convert(parts["terms"], dict[str, Terms])
    except msgspec.ValidationError as error:
        raise ValueError(f"this is not the document of a plan: {error}") from error
    try:
        return compile_plan(plan, terms, hash_of(document))
    except KeyError as error:
        raise ValueError(f"this is not the document of a plan: nothing in it is named {error}") from error


def hash_of(document: str) -> PlanHash:
    """SHA-256 of a document in hex."""
    return PlanHash(hashlib.sha256(document.encode()).hexdigest())


def compile_plan(plan: declared.Plan, terms: Mapping[str, Terms], plan_hash: PlanHash) -> Snapshot:
    """The Snapshot of a checked plan. `terms` holds what was settled for each model."""
    providers = {ProviderId(name): _provider(name, each) for name, each in sorted(plan.providers.items())}
    by_name = {
        name: _model(name, each, providers[ProviderId(each.provider)], terms[name])
        for name, each in sorted(plan.models.items())
    }
    tiers = {
        ModelTierId(name): tuple(by_name[each] for each in members)
        for name, members in sorted(plan.model_tiers.items())
    }
    gates = {name: _gate(name, each) for name, each in plan.gates.items()}
    everybody = frozenset(TenantId(name) for name in plan.tenants)
    return Snapshot(
        hash=plan_hash,
        name=plan.name,
        tenants=_frozen({TenantId(name): _tenant(name, each) for name, each in sorted(plan.tenants.items())}),
        workloads=_frozen(
            {
                WorkloadId(name): _workload(name, each, tiers, gates, everybody)
                for name, each in sorted(plan.workloads.items())
                if each.status == "committed"
            }
        ),
        models=_frozen({alias: model for model in by_name.values() for alias in (model.name, *model.aliases)}),
        model_tiers=_frozen(tiers),
        providers=_frozen(providers),
        tiers=tuple(TierId(name) for name in plan.tiers),
    )


def _frozen(mapping: dict[K, V]) -> Mapping[K, V]:
    return MappingProxyType(mapping)


def _provider(name: str, each: declared.Provider) -> Provider:
    return Provider(
        id=ProviderId(name),
        dialect=each.dialect,
        base_url=each.base_url.rstrip("/"),
        key_env=(each.key or "").removeprefix("env:"),
        headers=tuple(sorted(each.headers.items())),
        timeouts=Timeouts(
            connect=each.timeouts.connect,
            first_byte=each.timeouts.first_byte,
            idle=each.timeouts.idle,
            total=each.timeouts.total,
        ),
        on_disconnect=each.on_disconnect,
        max_connections=each.max_connections,
        limit_field=each.limit_field,
    )


def _model(name: str, each: declared.Model, provider: Provider, terms: Terms) -> Model:
    return Model(
        name=ModelName(name),
        provider=provider,
        upstream_id=each.id or name,
        context=terms.context,
        max_output=terms.max_output,
        abilities=frozenset(each.can),
        card=terms.card,
        aliases=tuple(each.aliases),
    )


def _tenant(name: str, each: declared.Tenant) -> Tenant:
    return Tenant(
        id=TenantId(name),
        name=each.name or name,
        zone=each.timezone,
        owner=each.owner or "",
        users=_frozen(
            {
                UserId(user): User(UserId(user), TierId(said.tier), said.email or "")
                for user, said in sorted(each.users.items())
            }
        ),
        default_tier=TierId(each.default_tier) if each.default_tier is not None else None,
    )


def _gate(name: str, each: declared.Gate) -> Gate:
    ceilings = {TierId(tier): _ceilings(said) for tier, said in sorted(each.ceilings.items())}
    degraded: dict[TierId, tuple[Ceiling, ...]]
    match each.degraded:
        case "same":
            degraded = ceilings
        case "unlimited":
            degraded = dict.fromkeys(ceilings, ())
        case by_tier:
            degraded = {TierId(tier): _ceilings(said) for tier, said in sorted(by_tier.items())}
    return Gate(
        id=GateId(name),
        ceilings=_frozen(ceilings),
        ladder=tuple(each.overage),
        degraded=_frozen(degraded if Overage.SOFT_CAP in each.overage else {}),
        overage_limit=_ceilings(each.overage_limit) if each.overage_limit is not None else (),
        grace_tokens=each.grace,
        hold=each.hold,
        patience_seconds=each.patience,
        how_to_ask=each.ask,
    )


def _ceilings(said: declared.Ceilings) -> tuple[Ceiling, ...]:
    by_window = ((Window.DAY, said.day), (Window.WEEK, said.week), (Window.MONTH, said.month))
    return tuple(Ceiling(window, Limit(each.tokens, each.money)) for window, each in by_window if each is not None)


def _workload(
    name: str,
    each: declared.Workload,
    tiers: Mapping[ModelTierId, tuple[Model, ...]],
    gates: Mapping[str, Gate],
    everybody: frozenset[TenantId],
) -> Workload:
    if each.models is None or each.gate is None:
        raise ValueError(f"workload {name} is committed without models or a gate")
    substitute = ModelTierId(each.models.degrade_to) if each.models.degrade_to is not None else None
    primary = ModelTierId(each.models.primary)
    return Workload(
        id=WorkloadId(name),
        name=each.name or name,
        owner=each.owner or "",
        status=each.status,
        tenants=everybody if each.tenants is None else frozenset(TenantId(tenant) for tenant in each.tenants),
        pod=PodId(each.pod or ""),
        project=ProjectId(each.project or ""),
        primary_tier=primary,
        primary=tiers[primary],
        substitute_tier=substitute,
        substitutes=tiers[substitute] if substitute is not None else (),
        gate=gates[each.gate],
    )
