"""Do the routes of a plan lead somewhere, and is there a second one where the plan counts on it?"""

from collections.abc import Iterable, Iterator

from upshift.plan_file.declared import Model, Plan, Provider, Route, Task, Workload
from upshift.plan_file.faults import Findings
from upshift.plan_file.locate import Path
from upshift.plan_file.problems import nearest, shown
from upshift.traffic.snapshot import Dialect, TierRole

_OPENAI = frozenset((Dialect.OPENAI, Dialect.RESPONSES, Dialect.EMBEDDINGS))


def check_routes(plan: Plan, findings: Findings) -> None:
    """Reports what is wrong with offers, roles and routes."""
    for name, provider in plan.providers.items():
        _provider(name, provider, findings)
    for name, model in plan.models.items():
        _offers(name, model, findings)
    for name, tier in plan.model_tiers.items():
        if tier.role is TierRole.LOCAL:
            _local_tier(name, plan, findings)
    for name, workload in plan.workloads.items():
        path: Path = ("workloads", name, "route")
        _failover(path, workload.route, findings)
        for task, said in workload.route.tasks.items():
            _task((*path, "tasks", task), said, findings)
        _pin(path, plan, workload, findings)
        if workload.route.hedge_after is not None and not _second_route(plan, workload):
            what = "no model of this workload has a second provider that a call could be hedged with"
            findings.warn((*path, "hedge_after"), what, remedy="Add 'offers:' to its models.")
    _single_providers(plan, findings)


def tiers_of(workload: Workload) -> Iterator[tuple[str, str]]:
    """The model tiers that may serve a workload, each with what for."""
    if workload.models is not None:
        yield workload.models.primary, "primary"
        if workload.models.degrade_to is not None:
            yield workload.models.degrade_to, "degrade_to"
    for task in workload.route.tasks.values():
        yield task.tier, "task"
    for step in workload.route.failover:
        if step.startswith("tier "):
            yield step.removeprefix("tier "), "failover"


def _provider(name: str, provider: Provider, findings: Findings) -> None:
    if provider.discover and provider.local is None:
        what = "only a local server is asked which models it has"
        remedy = "Add 'local: true', or take 'discover' out."
        findings.report(("providers", name, "discover"), what, expected="a local provider", remedy=remedy)
    for index, dialect in enumerate(provider.speaks or ()):
        if dialect is not provider.dialect and not {dialect, provider.dialect} <= _OPENAI:
            what = f"{dialect} is served below another base_url than {provider.dialect}"
            remedy = "Make it a provider of its own."
            where = ("providers", name, "speaks", index)
            findings.report(
                where, what, value=str(dialect), expected=f"dialects like {provider.dialect}", remedy=remedy
            )


def _offers(name: str, model: Model, findings: Findings) -> None:
    known = findings.names("providers")
    taken = {model.provider}
    for index, offer in enumerate(model.offers):
        path: Path = ("models", name, "offers", index, "provider")
        if offer.provider not in known:
            findings.unknown(path, offer.provider, "a provider", known)
        elif offer.provider in taken:
            what = f"provider {shown(offer.provider)} serves {shown(name)} already"
            remedy = "Give another id at the same provider a model of its own."
            findings.report(path, what, value=offer.provider, expected="another provider", remedy=remedy)
        taken.add(offer.provider)
    if model.offers and not model.weight and not any(offer.weight for offer in model.offers):
        what = f"no provider of {shown(name)} has a weight"
        findings.report(("models", name, "weight"), what, expected="a weight above 0 for one of them")


def _local_tier(name: str, plan: Plan, findings: Findings) -> None:
    for index, member in enumerate(plan.model_tiers[name].models):
        model = plan.models.get(member)
        provider = plan.providers.get(model.provider) if model is not None else None
        if provider is not None and provider.local is None:
            what = f"{shown(member)} is in a local tier, but its provider is not said to be local"
            path = ("model_tiers", name, "models", index)
            findings.warn(path, what, value=member, remedy="Add 'local: true' to the provider.")


def _failover(path: Path, route: Route, findings: Findings) -> None:
    known = findings.names("model_tiers")
    steps = route.failover
    for index, step in enumerate(steps):
        if step in steps[:index]:
            where = _step_at(path, index, findings)
            findings.report(where, f"{shown(step)} is listed twice", value=step, expected="each step once")
        elif step == "none" and len(steps) > 1:
            where = _step_at(path, index, findings)
            findings.report(where, "'none' stands beside other steps", value=step, expected="'none' alone")
        elif step.startswith("tier ") and step.removeprefix("tier ") not in known:
            where, tier = _step_at(path, index, findings), step.removeprefix("tier ")
            findings.unknown(where, tier, "a model tier", known, nearest(tier, known))


def _step_at(path: Path, index: int, findings: Findings) -> Path:
    """Where a step of a failover stands: in a list, or alone."""
    listed = (*path, "failover", index)
    return listed if findings.root.get(listed) is not None else listed[:-1]


def _task(path: Path, task: Task, findings: Findings) -> None:
    known = findings.names("model_tiers")
    if task.tier not in known:
        where = (*path, "tier") if findings.root.get((*path, "tier")) is not None else path
        findings.unknown(where, task.tier, "a model tier", known)
    when = task.when
    if when is None:
        return
    if when.above is not None and when.below is not None and when.below <= when.above + 1:
        what = f"no input is longer than {when.above:,} and shorter than {when.below:,} tokens"
        findings.report((*path, "when", "below"), what, expected=f"more than {when.above + 1:,}")
    both = [str(each) for each in when.needs if each in when.without]
    if both:
        what = f"no request needs {' and '.join(both)} and does not"
        findings.report((*path, "when", "without"), what, expected="what 'needs' does not name")
    if not (when.needs or when.without) and when.above is None and when.below is None:
        what = "every request fits, since nothing is said of what it looks like"
        remedy = "Add needs, without, above or below."
        findings.report((*path, "when"), what, expected="a condition", remedy=remedy, key=True)


def _pin(path: Path, plan: Plan, workload: Workload, findings: Findings) -> None:
    pin = workload.route.pin
    providers, models = findings.names("providers"), findings.names("models")
    for index, name in enumerate(pin):
        where = (*path, "pin", index)
        if name in providers and name in models:
            what = f"{shown(name)} is a provider and a model"
            findings.report(where, what, value=name, expected="one of them", remedy="Rename one.")
        elif name not in providers and name not in models:
            findings.unknown(where, name, "a provider or a model", (*providers, *models))
    if not pin or any(name not in providers and name not in models for name in pin):
        return
    for tier, use in dict.fromkeys(tiers_of(workload)):
        members = plan.model_tiers.get(tier)
        if members is None or any(_allowed(plan, name, pin) for name in members.models):
            continue
        what = f"nothing of model tier {shown(tier)} is left by the pin"
        if use == "failover":
            findings.warn((*path, "pin"), f"{what}, so no failover leads there")
        else:
            remedy = "Pin to providers or models of it."
            findings.report((*path, "pin"), what, expected=f"a route for the workload's {use} tier", remedy=remedy)


def _allowed(plan: Plan, name: str, pin: list[str]) -> bool:
    model = plan.models.get(name)
    models = [each for each in pin if each not in plan.providers]
    if model is None or (models and name not in models):
        return False
    providers = {each for each in pin if each in plan.providers}
    return not providers or bool(providers & set(_providers(model)))


def _providers(model: Model) -> list[str]:
    return [model.provider, *(offer.provider for offer in model.offers)]


def _second_route(plan: Plan, workload: Workload) -> bool:
    names = [
        name for tier, _ in tiers_of(workload) if tier in plan.model_tiers for name in plan.model_tiers[tier].models
    ]
    return any(name in plan.models and plan.models[name].offers for name in names)


def _single_providers(plan: Plan, findings: Findings) -> None:
    """Once a plan says anything about second routes, a model without one is an oversight."""
    if not (
        any(model.offers for model in plan.models.values())
        or any(tier.role is not None for tier in plan.model_tiers.values())
        or any(workload.route.model_fields_set & _STRATEGY for workload in plan.workloads.values())
    ):
        return
    for name, workload in plan.workloads.items():
        if workload.status != "committed" or workload.models is None or "none" in workload.route.failover:
            continue
        for model in _alone(plan, workload):
            provider = plan.models[model].provider
            what = f"{shown(model)} has one provider, {provider}: while that is out, workload {name} goes without it"
            remedy = "Add 'offers:' with another provider, or another tier to the workload's 'failover'."
            findings.warn(("models", model), what, remedy=remedy, key=True)


_STRATEGY = frozenset({"failover", "hedge_after", "order"})


def _alone(plan: Plan, workload: Workload) -> Iterator[str]:
    """Models of a workload that nothing stands in for when their only provider is out."""
    route, found = workload.route, dict.fromkeys(tier for tier, use in tiers_of(workload) if use != "failover")
    detours = [step.removeprefix("tier ") for step in route.failover if step.startswith("tier ")]
    for tier in found:
        members = plan.model_tiers[tier].models if tier in plan.model_tiers else []
        others = [*(members if "same-tier" in route.failover else ()), *_members(plan, detours)]
        for name in members:
            model = plan.models.get(name)
            if model is None or not _allowed(plan, name, route.pin):
                continue
            reached = {model.provider, *(_providers(model) if "same-model" in route.failover else ())}
            for other in others:
                if other in plan.models and _allowed(plan, other, route.pin):
                    reached.update(_providers(plan.models[other]))
            pinned = {each for each in route.pin if each in plan.providers}
            if len(reached & pinned if pinned else reached) < 2:
                yield name


def _members(plan: Plan, tiers: Iterable[str]) -> list[str]:
    return [name for tier in tiers if tier in plan.model_tiers for name in plan.model_tiers[tier].models]
