"""Does a plan keep the rules that its organisation has set for it?"""

from collections.abc import Iterator
from typing import NamedTuple

from upshift.model.money import show_money
from upshift.plan_file.declared import Ceilings, Plan, Workload
from upshift.plan_file.declared_policies import DataClass, Policies
from upshift.plan_file.faults import Findings
from upshift.plan_file.locate import Path
from upshift.plan_file.outlined import audiences_of, estimate_of
from upshift.plan_file.problems import Severity, one_of, shown
from upshift.traffic.snapshot import Overage

_REMEDIES = {
    "contract": "Give its agent an interface with 'version' and 'owner'.",
    "data": "Add 'data:' with one of the classes in policies.data.",
    "degrade_to": "Add 'degrade_to:' with a model tier to 'models'.",
    "second-provider": "Add a model or an offer of another provider to its model tier.",
}


class _Broken(NamedTuple):
    """A rule that is broken: where, how, and what to do."""

    path: Path
    what: str
    expected: str
    remedy: str
    value: str = ""


def check_policies(plan: Plan, findings: Findings) -> None:
    """Reports each rule that is broken where it is broken; and rules that name what the plan does not have."""
    _known(plan, findings)
    policies = plan.policies
    severity = Severity.WARNING if policies.enforce == "warn" else Severity.ERROR
    for each in (*_unstated(plan), *_beyond(plan), *_exposed(plan), *_leaning(plan)):
        if findings.spoiled_within(each.path) or findings.reported(each.path):
            continue
        findings.report(
            each.path,
            f"{each.what} (policies)",
            value=each.value,
            expected=each.expected,
            remedy=each.remedy,
            severity=severity,
        )


def _known(plan: Plan, findings: Findings) -> None:
    root = findings.root
    providers, models = root.names("providers"), root.names("models")
    for name, rule in plan.policies.data.items():
        for field, said in (("only", rule.only), ("never", rule.never)):
            for at, each in enumerate(said):
                if each not in providers and each not in models:
                    path: Path = ("policies", "data", name, field, at)
                    findings.unknown(path, each, "a provider or a model", (*providers, *models))
    classes = root.names("policies", "data")
    for name, workload in plan.workloads.items():
        if workload.data is not None and workload.data not in classes:
            findings.unknown(("workloads", name, "data"), workload.data, "a class of data in policies.data", classes)


def _bound(plan: Plan) -> Iterator[tuple[str, Workload]]:
    """What rules are for: a candidate is no more than an idea."""
    return ((name, each) for name, each in plan.workloads.items() if each.status != "candidate")


def _unstated(plan: Plan) -> Iterator[_Broken]:
    if not plan.policies.required:
        return
    under_contract = _under_contract(plan)
    for name, each in _bound(plan):
        for field in dict.fromkeys(plan.policies.required):
            match field:
                case "contract":
                    stated = name in under_contract
                case "degrade_to":
                    stated = each.models is None or each.models.degrade_to is not None
                case "second-provider":
                    stated = each.models is None or len({of for of, _ in _routes(plan, each.models.primary)}) > 1
                case _:
                    stated = getattr(each, field) is not None
            if not stated:
                what = f"{shown(name)} states no {field}, which each {each.status} workload has to"
                remedy = _REMEDIES.get(field, f"Add '{field}: ...'.")
                where: Path = ("workloads", name)
                where = (*where, "models", "primary") if field == "second-provider" else (*where, field)
                yield _Broken(where, what, f"{field} to be stated", remedy)


def _under_contract(plan: Plan) -> frozenset[str]:
    """Workloads of which an agent speaks under a contract that somebody answers for."""
    agents = {
        agent
        for each in plan.interfaces.values()
        if each.version is not None and each.owner is not None
        for agent in (each.from_, each.to)
    }
    return frozenset(
        each.workload for name, each in plan.agents.items() if name in agents and each.workload is not None
    )


def _beyond(plan: Plan) -> Iterator[_Broken]:
    """Gates that let one user use more in a month than anybody may."""
    policies = plan.policies
    if policies.month_money is None and policies.month_tokens is None:
        return
    for name in sorted({each.gate for _, each in _bound(plan) if each.gate is not None} & plan.gates.keys()):
        gate, path = plan.gates[name], ("gates", name)
        for tier, ceilings in gate.ceilings.items():
            yield from _over(policies, (*path, "ceilings", tier), ceilings)
        if Overage.SOFT_CAP not in gate.overage:
            continue
        if isinstance(gate.degraded, dict):
            for tier, ceilings in gate.degraded.items():
                yield from _over(policies, (*path, "degraded", tier), ceilings)
        elif gate.degraded == "unlimited":
            remedy = "Write 'same', or ceilings by customer tier."
            yield _Broken((*path, "degraded"), "use is unlimited after a soft cap", "a ceiling", remedy, "unlimited")


def _over(policies: Policies, path: Path, ceilings: Ceilings) -> Iterator[_Broken]:
    month = ceilings.month
    money, tokens = (None, None) if month is None else (month.money, month.tokens)
    limits = ((policies.month_money, money, show_money), (policies.month_tokens, tokens, "{:,} tokens".format))
    for most, said, show in limits:
        if most is None or (said is not None and said <= most):
            continue
        limit = show(most)
        what = f"a user may use {show(said)} a month" if said is not None else f"nothing holds a user below {limit}"
        where = path if month is None else (*path, "month")
        yield _Broken(where, what, f"at most {limit} a month", f"Write a ceiling of {limit} a month or less.")


def _exposed(plan: Plan) -> Iterator[_Broken]:
    """Workloads whose data could reach a model that may not see it, by whatever way their calls may go."""
    for name, each in _bound(plan):
        rule = plan.policies.data.get(each.data or "")
        if rule is None or each.models is None:
            continue
        path: Path = ("workloads", name)
        for where, tier in _tiers(path, each):
            barred = sorted({of for of in _routes(plan, tier) if _kept(each, of) and not _may_see(rule, of)})
            if barred:
                names = ", ".join(f"{model} at {provider}" for provider, model in barred)
                what = f"model tier {shown(tier)} leads data of class {shown(each.data)} to {names}"
                expected = one_of(rule.only) or f"none of {', '.join(rule.never)}"
                yield _Broken(where, what, expected, "Name another model tier, or pin the workload.", tier)


def _tiers(path: Path, each: Workload) -> Iterator[tuple[Path, str]]:
    """Every model tier that a workload's calls may be served by, and where it says so."""
    if each.models is not None:
        yield (*path, "models", "primary"), each.models.primary
        if each.models.degrade_to is not None:
            yield (*path, "models", "degrade_to"), each.models.degrade_to
    for name, task in each.route.tasks.items():
        yield (*path, "route", "tasks", name), task.tier
    for step in each.route.failover:
        if step.startswith("tier "):
            yield (*path, "route", "failover"), step.removeprefix("tier ")


def _routes(plan: Plan, tier: str) -> Iterator[tuple[str, str]]:
    """(provider, model) of each way to serve a model tier."""
    found = plan.model_tiers.get(tier)
    for name in () if found is None else found.models:
        model = plan.models.get(name)
        if model is not None:
            for provider in (model.provider, *(offer.provider for offer in model.offers)):
                yield provider, name


def _kept(each: Workload, of: tuple[str, str]) -> bool:
    """Whether a workload's pin lets a route stand."""
    return not each.route.pin or not set(each.route.pin).isdisjoint(of)


def _may_see(rule: DataClass, of: tuple[str, str]) -> bool:
    return (not rule.only or not set(rule.only).isdisjoint(of)) and set(rule.never).isdisjoint(of)


def _leaning(plan: Plan) -> Iterator[_Broken]:
    """A provider that more of the estimated tokens would go to than one may serve."""
    most = plan.policies.vendor_share
    if most is None:
        return
    tokens: dict[str, float] = {}
    for _, each in _bound(plan):
        first = (
            next((of for of in _routes(plan, each.models.primary) if _kept(each, of)), None) if each.models else None
        )
        if first is not None:
            tokens[first[0]] = tokens.get(first[0], 0.0) + _tokens(each)
    whole = sum(tokens.values())
    for provider, part in sorted(tokens.items()):
        if whole and part / whole > most:
            what = f"{shown(provider)} would serve {part / whole:.0%} of the estimated tokens"
            remedy = "Serve some workloads by another provider first, or raise the share."
            yield _Broken(("policies", "vendor_share"), what, f"at most {most:.0%}", remedy)


def _tokens(each: Workload) -> float:
    """Tokens of a month, every figure at its median."""
    said = estimate_of(each.estimate)
    if said is None:
        return 0.0
    users = sum(one.users.mid * one.weight.mid for one in audiences_of(each))
    if said.turns is None or said.sessions is None:
        return users * (said.tokens.mid if said.tokens is not None else 0.0)
    turns = said.turns
    calls = said.sessions.mid * turns.turns.mid * turns.tool_calls.mid * turns.retries.mid
    return users * calls * (turns.input.mid + turns.output.mid * turns.multiplier.mid)
