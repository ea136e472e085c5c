"""Can everybody who reaches a committed workload be held by its gate?"""

from collections.abc import Iterable, Mapping

from upshift.plan_file.checked import windows
from upshift.plan_file.declared import Ceilings, Gate, Plan, Workload
from upshift.plan_file.faults import Findings
from upshift.plan_file.locate import Path
from upshift.plan_file.prices import Terms, offer_key
from upshift.plan_file.problems import shown
from upshift.plan_file.routes import tiers_of
from upshift.traffic.snapshot import Overage


def check_reach(plan: Plan, terms: Mapping[str, Terms], findings: Findings) -> None:
    """Reports tiers without a ceiling, soft caps that lead nowhere, and money ceilings over unknown prices."""
    by_tenant = _tiers_by_tenant(plan)
    everybody = _reaching(plan, plan.tenants, by_tenant)
    for name, workload in plan.workloads.items():
        if workload.status != "committed" or workload.gate is None or workload.models is None:
            continue
        gate = plan.gates.get(workload.gate)
        if gate is None:
            continue
        tenants = workload.tenants
        reaching = everybody if tenants is None else _reaching(plan, tenants, by_tenant)
        _tiers_held(name, workload.gate, gate, reaching, findings)
        if Overage.SOFT_CAP in gate.overage:
            _soft_cap(plan, name, workload, findings)
        elif workload.models.degrade_to is not None and ("gates", workload.gate, "overage") not in findings.spoiled:
            what = f"'degrade_to' is never used, since gate {shown(workload.gate)} has no soft-cap"
            findings.warn(("workloads", name, "models", "degrade_to"), what)
        _priced(plan, workload.gate, gate, workload, reaching, terms, findings)


def _tiers_by_tenant(plan: Plan) -> dict[str, dict[str, str]]:
    """The customer tiers of each tenant, each with an example of who has it."""
    found: dict[str, dict[str, str]] = {}
    for tenant, said in plan.tenants.items():
        tiers = found.setdefault(tenant, {})
        if said.default_tier is not None:
            tiers[said.default_tier] = f"unlisted users of tenant {tenant}"
        for user, each in said.users.items():
            if each.tier not in tiers:
                tiers[each.tier] = f"user {user} of tenant {tenant}"
    return found


def _reaching(plan: Plan, tenants: Iterable[str], by_tenant: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The customer tiers that reach a workload of some tenants, each with an example of who does."""
    found: dict[str, str] = {}
    for tenant in tenants:
        for tier, who in by_tenant.get(tenant, {}).items():
            if tier in plan.tiers:
                found.setdefault(tier, who)
    return found


def _tiers_held(name: str, gate_name: str, gate: Gate, reaching: Mapping[str, str], findings: Findings) -> None:
    sections: list[tuple[str, Mapping[str, Ceilings]]] = [("ceilings", gate.ceilings)]
    if Overage.SOFT_CAP in gate.overage and isinstance(gate.degraded, dict):
        sections.append(("degraded", gate.degraded))
    for section, ceilings in sections:
        for tier, who in reaching.items():
            if tier not in ceilings:
                path: Path = ("gates", gate_name, section)
                if (*path, tier) in findings.spoiled:
                    continue
                what = f"tier {shown(tier)} has no ceiling, though {who} can call workload {name}"
                remedy = f"Add '{tier}: {{month: ...}}'."
                findings.report((*path, tier), what, expected="a ceiling for each tier in reach", remedy=remedy)


def _soft_cap(plan: Plan, name: str, workload: Workload, findings: Findings) -> None:
    path: Path = ("workloads", name, "models")
    models = workload.models
    if models is None:
        return
    if models.degrade_to is None:
        what = f"gate {shown(workload.gate)} has a soft-cap, but nothing to degrade to"
        remedy = "Add 'degrade_to:' with a model tier, or take soft-cap out of the gate."
        findings.report((*path, "degrade_to"), what, expected="a model tier", remedy=remedy)
        return


def _priced(
    plan: Plan,
    gate_name: str,
    gate: Gate,
    workload: Workload,
    reaching: Mapping[str, str],
    terms: Mapping[str, Terms],
    findings: Findings,
) -> None:
    """Money can only be held where the price is known, of whatever may come to serve a call."""
    said = _money_ceiling(gate, reaching)
    if said is None or workload.models is None:
        return
    ceiling = ".".join(("gates", gate_name, *said))
    served = dict.fromkeys(tier for tier, _ in tiers_of(workload) if tier in plan.model_tiers)
    for name in dict.fromkeys(name for tier in served for name in plan.model_tiers[tier].models):
        model = plan.models.get(name)
        places: list[tuple[str, Path]] = [(name, ("models", name))]
        for index, offer in enumerate(model.offers if model is not None else ()):
            places.append((offer_key(name, offer.provider), ("models", name, "offers", index)))
        for key, path in places:
            if key in terms and terms[key].card is None:
                what = f"the price of {shown(key)} is not known, so the ceiling in money at {ceiling} cannot hold it"
                remedy = "Add 'price: {input: $..., output: $...}' to it, or use a ceiling in tokens."
                findings.report(path, what, expected="a known price", remedy=remedy, key=True)


def _money_ceiling(gate: Gate, reaching: Mapping[str, str]) -> tuple[str, ...] | None:
    """Where a gate holds money, if it does."""
    sections: list[tuple[tuple[str, ...], Ceilings]] = [
        (("ceilings", tier), said) for tier, said in gate.ceilings.items() if tier in reaching
    ]
    if isinstance(gate.degraded, dict) and Overage.SOFT_CAP in gate.overage:
        sections += [(("degraded", tier), said) for tier, said in gate.degraded.items() if tier in reaching]
    if gate.overage_limit is not None and Overage.PAY_AS_YOU_GO in gate.overage:
        sections.append((("overage_limit",), gate.overage_limit))
    for path, said in sections:
        for window, each in windows(said):
            if each.money is not None:
                return (*path, window)
    return None
