"""Which Snapshot does a declared plan compile to, and which document is kept of it?"""

import hashlib
import json
from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

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
from upshift.model.pool import Pool
from upshift.model.span import Window
from upshift.plan_file import declared
from upshift.plan_file.compiled_agents import agents_of, interfaces_of
from upshift.plan_file.compiled_pools import pools_of
from upshift.plan_file.prices import Terms, offer_key
from upshift.traffic.snapshot import (
    Ceiling,
    Detour,
    Dialect,
    Gate,
    Model,
    Overage,
    Pin,
    Provider,
    Routing,
    Shape,
    Snapshot,
    Task,
    Tenant,
    Timeouts,
    Unsure,
    User,
    Workload,
)
from upshift.traffic.targets import narrowed

K = TypeVar("K")
V = TypeVar("V")
Made = TypeVar("Made")


def document_of(plan: declared.Plan, terms: Mapping[str, Terms]) -> str:
    """The canonical JSON of a plan and of the prices it was settled with: the same for every way of writing it."""
    parts = {
        "plan": plan.model_dump(mode="json", exclude_none=True, by_alias=True),
        "terms": {name: msgspec.to_builtins(each) for name, each in terms.items()},
    }
    return json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def compile_document(document: str) -> Snapshot:
    """The Snapshot of a kept document. Raises ValueError for text that `document_of` did not make."""
    return of_document(document, compile_plan)


def of_document(document: str, make: Callable[[declared.Plan, Mapping[str, Terms], PlanHash], Made]) -> Made:
    """What `make` makes of a kept document. Raises ValueError for text that `document_of` did not make."""
    parts = json.loads(document)
    if not isinstance(parts, dict) or parts.keys() != {"plan", "terms"}:
        raise ValueError("this is not the document of a plan")
    plan = declared.Plan.model_validate(parts["plan"])
    try:
        terms = msgspec.convert(parts["terms"], dict[str, Terms])
    except msgspec.ValidationError as error:
        raise ValueError(f"this is not the document of a plan: {error}") from error
    try:
        return make(plan, terms, hash_of(document))
    except KeyError as error:
        raise ValueError(f"this is not the document of a plan: nothing in it is named {error}") from error


def hash_of(document: str) -> PlanHash:
    """SHA-256 of a document in hex."""
    return PlanHash(hashlib.sha256(document.encode()).hexdigest())


def compile_plan(plan: declared.Plan, terms: Mapping[str, Terms], plan_hash: PlanHash) -> Snapshot:
    """The Snapshot of a checked plan. `terms` holds what was settled for each model."""
    providers, by_name, tiers = _served(plan, terms)
    gates = {name: _gate(name, each) for name, each in plan.gates.items()}
    everybody = frozenset(TenantId(name) for name in plan.tenants)
    pools = pools_of(plan)
    return Snapshot(
        hash=plan_hash,
        name=plan.name,
        tenants=_frozen({TenantId(name): _tenant(name, each) for name, each in sorted(plan.tenants.items())}),
        workloads=_frozen(
            {
                WorkloadId(name): _workload(
                    name, each, _pinned(each, tiers, providers), providers, gates, everybody, pools
                )
                for name, each in sorted(plan.workloads.items())
                if each.status == "committed"
            }
        ),
        models=_frozen({alias: model for model in by_name.values() for alias in (model.name, *model.aliases)}),
        model_tiers=_frozen(tiers),
        providers=_frozen(providers),
        tiers=tuple(TierId(name) for name in plan.tiers),
        roles=_frozen(
            {ModelTierId(name): each.role for name, each in sorted(plan.model_tiers.items()) if each.role is not None}
        ),
        agents=_frozen(dict(agents_of(plan.agents))),
        interfaces=_frozen(dict(interfaces_of(plan.interfaces))),
    )


def primaries(plan: declared.Plan, terms: Mapping[str, Terms]) -> dict[str, tuple[Model, ...]]:
    """The models of each workload's primary tier, as far as its pin lets it use them, whatever its status."""
    providers, _, tiers = _served(plan, terms)
    return {
        name: _pinned(each, tiers, providers)[ModelTierId(each.models.primary)]
        for name, each in plan.workloads.items()
        if each.models is not None
    }


def _served(
    plan: declared.Plan, terms: Mapping[str, Terms]
) -> tuple[dict[ProviderId, Provider], dict[str, Model], dict[ModelTierId, tuple[Model, ...]]]:
    """Providers, models by name, and model tiers."""
    providers = {ProviderId(name): _provider(name, each) for name, each in sorted(plan.providers.items())}
    by_name = {name: _model(name, each, providers, terms) for name, each in sorted(plan.models.items())}
    tiers = {
        ModelTierId(name): tuple(by_name[member] for member in each.models)
        for name, each in sorted(plan.model_tiers.items())
    }
    return providers, by_name, tiers


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
        speaks=_spoken(each),
        local=each.local,
        discover=each.discover,
    )


def _spoken(each: declared.Provider) -> frozenset[Dialect]:
    """The dialects that a provider serves, its main one among them."""
    if each.speaks is not None:
        return frozenset((each.dialect, *each.speaks))
    found = {each.dialect}
    if each.dialect is Dialect.OPENAI:
        found.add(Dialect.EMBEDDINGS)
        if urlsplit(each.base_url).hostname == "api.openai.com":
            found.add(Dialect.RESPONSES)
    return frozenset(found)


def _model(
    name: str, each: declared.Model, providers: Mapping[ProviderId, Provider], terms: Mapping[str, Terms]
) -> Model:
    own = Model(
        name=ModelName(name),
        provider=providers[ProviderId(each.provider)],
        upstream_id=each.id or name,
        context=terms[name].context,
        max_output=terms[name].max_output,
        abilities=frozenset(each.can),
        card=terms[name].card,
        aliases=tuple(each.aliases),
        weight=each.weight,
    )
    if not each.offers:
        return own
    offers = tuple(_offer(own, offer, providers, terms[offer_key(name, offer.provider)]) for offer in each.offers)
    return msgspec.structs.replace(own, offers=offers)


def _offer(model: Model, each: declared.Offer, providers: Mapping[ProviderId, Provider], terms: Terms) -> Model:
    return msgspec.structs.replace(
        model,
        provider=providers[ProviderId(each.provider)],
        upstream_id=each.id or model.upstream_id,
        context=terms.context,
        max_output=terms.max_output,
        card=terms.card,
        weight=each.weight,
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


def pin_of(each: declared.Route, providers: Container[str]) -> Pin:
    """What a route is pinned to. A name that is a provider's is meant as one."""
    return Pin(
        frozenset(ProviderId(name) for name in each.pin if name in providers),
        frozenset(ModelName(name) for name in each.pin if name not in providers),
    )


def _pinned(
    each: declared.Workload,
    tiers: Mapping[ModelTierId, tuple[Model, ...]],
    providers: Mapping[ProviderId, Provider],
) -> Mapping[ModelTierId, tuple[Model, ...]]:
    """The model tiers as a workload may use them: without routes outside its pin, so that no rule can lead there."""
    pin = pin_of(each.route, providers)
    if not pin:
        return tiers
    narrow = {model.name: narrowed(model, pin) for models in tiers.values() for model in models}
    return {
        tier: tuple(left for model in models if (left := narrow[model.name]) is not None)
        for tier, models in tiers.items()
    }


def _routing(
    each: declared.Route, tiers: Mapping[ModelTierId, tuple[Model, ...]], providers: Container[str]
) -> Routing:
    named = [ModelTierId(step.removeprefix("tier ")) for step in each.failover if step.startswith("tier ")]
    return Routing(
        order=each.order,
        tasks=tuple(sorted((_task(name, task, tiers) for name, task in each.tasks.items()), key=_narrowest)),
        pin=pin_of(each, providers),
        same_model="same-model" in each.failover,
        same_tier="same-tier" in each.failover,
        detours=tuple(Detour(tier, tiers[tier]) for tier in named),
        retries=each.retries,
        retry_unsure=Unsure(each.retry_unsure),
        hedge_after=each.hedge_after,
        sticky=each.sticky == "session",
    )


def _narrowest(task: Task) -> tuple[int, str]:
    """Where several tasks fit a request, the one that says most about it is meant."""
    shape = task.shape
    if shape is None:
        return 0, task.name
    said = len(shape.needs) + len(shape.without) + (shape.above is not None) + (shape.below is not None)
    return -said, task.name


def _task(name: str, each: declared.Task, tiers: Mapping[ModelTierId, tuple[Model, ...]]) -> Task:
    when, tier = each.when, ModelTierId(each.tier)
    shape = None
    if when is not None:
        shape = Shape(needs=frozenset(when.needs), without=frozenset(when.without), above=when.above, below=when.below)
    return Task(name=name, tier=tier, models=tiers[tier], shape=shape)


def _workload(
    name: str,
    each: declared.Workload,
    tiers: Mapping[ModelTierId, tuple[Model, ...]],
    providers: Container[str],
    gates: Mapping[str, Gate],
    everybody: frozenset[TenantId],
    pools: Mapping[str, Pool],
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
        routing=_routing(each.route, tiers, providers),
        pool=pools.get(name),
    )
