"""Does a declared plan hang together: does every name it refers to exist, once, and can it do what it is there for?"""

import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from upshift.plan_file.declared import Ceiling, Ceilings, Gate, Model, Offer, Plan, Price, Provider, Workload
from upshift.plan_file.faults import Findings
from upshift.plan_file.locate import Path
from upshift.plan_file.outlined import signs_off
from upshift.plan_file.prices import Terms
from upshift.plan_file.problems import nearest, shown
from upshift.plan_file.quantities import exact_dollars
from upshift.traffic.snapshot import Dialect, Overage


def check(plan: Plan, findings: Findings) -> None:
    """Reports what does not fit together, whatever the workloads' status."""
    _names(plan, findings)
    _tenants(plan, findings)
    _teams(plan, findings)
    for name, provider in plan.providers.items():
        _provider(name, provider, findings)
    for name, model in plan.models.items():
        if model.provider not in _known(findings, "providers"):
            findings.unknown(("models", name, "provider"), model.provider, "a provider", _known(findings, "providers"))
        _long_prices(name, plan, findings)
    for name, tier in plan.model_tiers.items():
        _model_tier(name, tier.models, findings)
    for name, gate in plan.gates.items():
        _gate(name, gate, findings)
    owned = signs_off(plan)
    for name, workload in plan.workloads.items():
        _workload(name, workload, findings, owned=owned)
    if not any(workload.status == "committed" for workload in plan.workloads.values()):
        findings.warn(("workloads",), "no workload is committed, so nothing is served", key=True)


def check_terms(plan: Plan, terms: Mapping[str, Terms], assumed: Mapping[str, str], findings: Findings) -> None:
    """Reports what is wrong with what was settled about each model. `assumed` names the source of prices by dialect."""
    for key, each in terms.items():
        name, _, at = key.partition("@")
        path, model = _place(plan, name, at)
        if each.context == 0:
            what = f"the context of {shown(name)} is not known"
            findings.report(
                (*path, "context"),
                what,
                expected="the most tokens of input and output together",
                remedy="Add e.g. 'context: 128k'.",
            )
        elif each.max_output > each.context:
            what = f"an answer of {each.max_output:,} tokens is longer than the context of {each.context:,}"
            findings.report((*path, "max_output"), what, expected=f"at most {each.context:,}")
        if each.max_output == 0:
            findings.report((*path, "max_output"), "an answer of no tokens is none", expected="more than 0")
        if each.card is None and not findings.reported(path):
            what = f"the price of {shown(model.id or name)} is not known, so its cost is recorded as unknown"
            findings.warn(path, what, remedy="Add 'price: {input: $..., output: $...}'.", key=True)
        if key in assumed:
            what = f"the address of provider {shown(model.provider)} is not known to the catalogue, so the price is "
            findings.warn(path, what + assumed[key], remedy="Add 'price:' where it is another one.", key=True)


def _place(plan: Plan, name: str, at: str) -> tuple[Path, Model | Offer]:
    """Where a model stands in the text, or its offer at a provider."""
    model = plan.models[name]
    for index, offer in enumerate(model.offers):
        if at and offer.provider == at:
            return ("models", name, "offers", index), offer
    return ("models", name), model


def _known(findings: Findings, section: str) -> tuple[str, ...]:
    return findings.names(section)


def _names(plan: Plan, findings: Findings) -> None:
    """Clients ask for models, model tiers and workloads by the same field, so their names have to differ."""
    taken: dict[str, str] = {}
    places: list[tuple[str, str, Path]] = [(name, "a model", ("models", name)) for name in plan.models]
    for name, model in plan.models.items():
        for index, alias in enumerate(model.aliases):
            places.append((alias, f"an alias of model {name}", ("models", name, "aliases", index)))
    places += [(name, "a model tier", ("model_tiers", name)) for name in plan.model_tiers]
    places += [(name, "a workload", ("workloads", name)) for name in plan.workloads]
    for name, kind, path in places:
        if name in taken:
            what = f"{shown(name)} is both {taken[name]} and {kind}"
            remedy = "Clients ask for all of these by name, so rename one."
            findings.report(
                path, what, value=name, expected="a name of its own", remedy=remedy, key="aliases" not in path
            )
        taken.setdefault(name, kind)
    seen: set[str] = set()
    for index, tier in enumerate(plan.tiers):
        if tier in seen:
            findings.report(("tiers", index), f"{shown(tier)} is listed twice", value=tier, expected="each tier once")
        seen.add(tier)


def _tenants(plan: Plan, findings: Findings) -> None:
    zones = available_timezones() if plan.tenants else set()
    for name, tenant in plan.tenants.items():
        path = ("tenants", name)
        if tenant.timezone not in zones:
            zone = tenant.timezone
            findings.report(
                (*path, "timezone"),
                f"{shown(zone)} is not a time zone",
                value=zone,
                expected="a name of the IANA database like Europe/Berlin or UTC",
                remedy=nearest(zone, zones) or _city(zone, zones),
            )
        if tenant.owner is None:
            what = f"{shown(name)} has no owner, so nobody is told when a ceiling comes near"
            findings.warn((*path, "owner"), what, remedy="Add 'owner:' with an e-mail address.")
        for user, said in tenant.users.items():
            _tier((*path, "users", user, "tier"), said.tier, plan, findings)
        if tenant.default_tier is not None:
            _tier((*path, "default_tier"), tenant.default_tier, plan, findings)


def _city(zone: str, zones: set[str]) -> str:
    city = zone.rpartition("/")[2].replace(" ", "_").casefold()
    found = sorted(each for each in zones if each.rpartition("/")[2].casefold() == city and city)
    return f"Did you mean '{found[0]}'?" if found else ""


def _tier(path: Path, tier: str, plan: Plan, findings: Findings) -> None:
    if tier not in plan.tiers and ("tiers",) not in findings.spoiled:
        known_model_tier = tier in _known(findings, "model_tiers")
        remedy = "That is a model tier; customer tiers are listed under 'tiers:'." if known_model_tier else ""
        findings.unknown(path, tier, "a customer tier", plan.tiers, remedy)


def _teams(plan: Plan, findings: Findings) -> None:
    users = {user for tenant in findings.names("tenants") for user in findings.root.names("tenants", tenant, "users")}
    for name, pod in plan.pods.items():
        if pod.lead is not None and pod.lead not in users:
            findings.warn(
                ("pods", name, "lead"),
                f"{shown(pod.lead)} is not a user of any tenant",
                value=pod.lead,
                remedy=nearest(pod.lead, users),
            )
    for name, project in plan.projects.items():
        if project.pod is not None and project.pod not in _known(findings, "pods"):
            findings.unknown(("projects", name, "pod"), project.pod, "a pod", _known(findings, "pods"))


def _provider(name: str, provider: Provider, findings: Findings) -> None:
    path = ("providers", name, "base_url")
    url = provider.base_url
    parts = urlsplit(url)
    if parts.scheme == "http" and not _loopback(parts.hostname or ""):
        what = f"{shown(url)} sends prompts and keys unencrypted over a network"
        findings.warn(path, what, value=url, remedy="Use https.")
    ending = parts.path.rstrip("/")
    if provider.dialect is Dialect.ANTHROPIC and ending.endswith("/v1"):
        better = url.rstrip("/").removesuffix("/v1")
        what = f"{shown(url)} ends in /v1, which the anthropic dialect adds itself"
        findings.report(path, what, value=url, expected="the URL without it", remedy=f"Write '{better}'.")
    if provider.dialect is Dialect.GEMINI and ending.endswith(("/v1", "/v1beta")):
        version = ending.rpartition("/")[2]
        better = url.rstrip("/").removesuffix(f"/{version}")
        what = f"{shown(url)} ends in /{version}, which the gemini dialect adds itself"
        findings.report(path, what, value=url, expected="the URL without it", remedy=f"Write '{better}'.")
    if provider.dialect is Dialect.OPENAI and not ending:
        what = f"{shown(url)} has no path, though the openai dialect is usually served under /v1"
        findings.warn(path, what, value=url, remedy=f"Write '{url.rstrip('/')}/v1'.")
    times = provider.timeouts
    if times.total < max(times.first_byte, times.idle):
        what = "the timeout of a whole answer is shorter than those of its parts"
        findings.warn(("providers", name, "timeouts"), what, key=True)


def _loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _long_prices(name: str, plan: Plan, findings: Findings) -> None:
    model = plan.models[name]
    priced: list[tuple[Path, Price | None]] = [(("models", name), model.price)]
    priced += [(("models", name, "offers", index), offer.price) for index, offer in enumerate(model.offers)]
    for path, price in priced:
        last = 0
        for index, step in enumerate(price.long if price is not None else []):
            if step.above <= last:
                what = f"{step.above:,} is not above {last:,}, where the prices before it begin"
                findings.report((*path, "price", "long", index, "above"), what, expected="rising lengths")
            last = step.above


def _model_tier(name: str, members: list[str], findings: Findings) -> None:
    path: Path = ("model_tiers", name)
    known = _known(findings, "models")
    if not members:
        findings.report(path, f"model tier {shown(name)} is empty", expected="at least one model", key=True)
    short = isinstance(getattr(findings.root.get(path), "content", None), list)
    for index, member in enumerate(members):
        where = (*path, index) if short else (*path, "models", index)
        if member not in known:
            findings.unknown(where, member, "a model", known)
        elif member in members[:index]:
            findings.report(where, f"{shown(member)} is listed twice", value=member, expected="each model once")


def _gate(name: str, gate: Gate, findings: Findings) -> None:
    path: Path = ("gates", name)
    for index, step in enumerate(gate.overage):
        where = (*path, "overage", index)
        if step in gate.overage[:index]:
            findings.report(where, f"{shown(str(step))} is listed twice", value=str(step), expected="each step once")
        elif Overage.HARD_CAP in gate.overage[:index]:
            what = f"{shown(str(step))} is never reached, since hard-cap comes before it"
            findings.report(where, what, value=str(step), expected="hard-cap last or not at all")
    for inner, said in each_ceilings(gate):
        if inner[0] != "overage_limit" and not _listed(inner[-1], findings):
            tiers = _tier_names(findings)
            findings.report(
                (*path, *inner),
                f"{shown(inner[-1])} is not a customer tier",
                value=str(inner[-1]),
                expected="one of " + ", ".join(tiers) if tiers else "a tier listed under 'tiers:'",
                remedy=nearest(str(inner[-1]), tiers),
                key=True,
            )
        _ceilings((*path, *inner), said, findings)
    if gate.overage_limit is not None and Overage.PAY_AS_YOU_GO not in gate.overage:
        what = "the limit of pay-as-you-go is never used, since 'overage' does not name it"
        findings.warn((*path, "overage_limit"), what, key=True)
    if gate.degraded != "same" and Overage.SOFT_CAP not in gate.overage:
        what = "the ceilings of the degraded bucket are never used, since 'overage' names no soft-cap"
        findings.warn((*path, "degraded"), what, key=True)


def each_ceilings(gate: Gate) -> Iterator[tuple[tuple[str, ...], Ceilings]]:
    """All ceilings of a gate with their place in it; the last step is the tier, but for pay-as-you-go."""
    for tier, said in gate.ceilings.items():
        yield ("ceilings", tier), said
    if isinstance(gate.degraded, dict):
        for tier, said in gate.degraded.items():
            yield ("degraded", tier), said
    if gate.overage_limit is not None:
        yield ("overage_limit",), gate.overage_limit


def windows(said: Ceilings) -> tuple[tuple[str, Ceiling], ...]:
    """The windows that have a ceiling, from the shortest to the longest."""
    found = (("day", said.day), ("week", said.week), ("month", said.month))
    return tuple((window, each) for window, each in found if each is not None)


def _tier_names(findings: Findings) -> tuple[str, ...]:
    node = findings.root.get(("tiers",))
    items = node.content if node is not None and isinstance(node.content, list) else []
    return tuple(each.content for each in items if isinstance(each.content, str))


def _listed(tier: str, findings: Findings) -> bool:
    return tier in _tier_names(findings) or ("tiers",) in findings.spoiled


def _ceilings(path: Path, said: Ceilings, findings: Findings) -> None:
    found = windows(said)
    if not found and not findings.spoiled_within(path):
        remedy = "Write e.g. 'month: 200k' or 'month: $20'."
        findings.report(
            path, "no ceiling is given here", expected="a ceiling by day, week or month", remedy=remedy, key=True
        )
    shorter: list[tuple[str, Ceiling]] = []
    for window, each in found:
        where = (*path, window)
        if each.tokens is None and each.money is None and not findings.spoiled_within(where):
            remedy = f"Write e.g. '{window}: 200k' or '{window}: $20'."
            findings.report(where, "the ceiling is empty", expected="tokens, money or both", remedy=remedy, key=True)
        for measure, amount in (("tokens", each.tokens), ("money", each.money)):
            if amount == 0:
                what = "a ceiling of zero refuses every call"
                remedy = "To refuse a tier, leave its users out of the workload's tenants."
                inner = (*where, measure) if findings.root.get((*where, measure)) is not None else where
                findings.report(inner, what, value="0", expected="more than 0", remedy=remedy)
        for name, other in shorter:
            _never_reached(where, window, each, name, other, path, findings)
        shorter.append((window, each))


def _never_reached(
    where: Path, window: str, each: Ceiling, name: str, shorter: Ceiling, path: Path, findings: Findings
) -> None:
    if shorter.tokens is not None and each.tokens is not None and shorter.tokens > each.tokens:
        what = f"{shorter.tokens:,} tokens a {name} are more than {each.tokens:,} a {window}, so they are never reached"
        findings.warn((*path, name), what)
    if shorter.money is not None and each.money is not None and shorter.money > each.money:
        smaller, larger = exact_dollars(each.money), exact_dollars(shorter.money)
        findings.warn((*path, name), f"{larger} a {name} is more than {smaller} a {window}, so it is never reached")


def _workload(name: str, workload: Workload, findings: Findings, *, owned: bool) -> None:
    """`owned`: who answers for it has to be said, and is asked for elsewhere."""
    path: Path = ("workloads", name)
    bound = workload.status != "candidate"
    gates = _known(findings, "gates")
    if workload.gate is not None and workload.gate not in gates:
        findings.unknown((*path, "gate"), workload.gate, "a gate", gates)
    elif workload.gate is None and bound:
        what = f"a {workload.status} workload has no gate; a gate is mandatory"
        near = f"Add 'gate: {gates[0]}'." if len(gates) == 1 else "Add 'gate:' with one of the plan's gates."
        findings.report((*path, "gate"), what, expected=", ".join(gates[:12]) or "a gate under 'gates:'", remedy=near)
    if workload.status == "committed":
        if workload.models is None:
            remedy = "Add 'models: {primary: ...}' with a model tier."
            findings.report(
                (*path, "models"), "a committed workload has no models", expected="a model tier", remedy=remedy
            )
        if workload.owner is None and not owned:
            what = "a committed workload has no owner"
            findings.warn((*path, "owner"), what, remedy="Add 'owner:' with who answers for it.")
    for key in ("pod", "project"):
        said = getattr(workload, key)
        if said is not None and said not in _known(findings, key + "s"):
            findings.unknown((*path, key), said, f"a {key}", _known(findings, key + "s"))
    if workload.models is not None:
        _reference_tier((*path, "models", "primary"), workload.models.primary, findings)
        if workload.models.degrade_to is not None:
            _reference_tier((*path, "models", "degrade_to"), workload.models.degrade_to, findings)
    _workload_tenants(path, workload, findings)


def _reference_tier(path: Path, tier: str, findings: Findings) -> None:
    known = _known(findings, "model_tiers")
    if tier not in known:
        is_model = tier in _known(findings, "models")
        remedy = f"That is a model: put it in a list of 'model_tiers', e.g. 'one: [{tier}]'." if is_model else ""
        findings.unknown(path, tier, "a model tier", known, remedy)


def _workload_tenants(path: Path, workload: Workload, findings: Findings) -> None:
    known = _known(findings, "tenants")
    for index, tenant in enumerate(workload.tenants or ()):
        if tenant not in known:
            findings.unknown((*path, "tenants", index), tenant, "a tenant", known)
    if workload.status != "candidate" and (workload.tenants == [] or not known):
        what = "no tenant may use this workload"
        remedy = "Name tenants, or leave 'tenants' out to open it to all." if known else "Add one under 'tenants:'."
        findings.report((*path, "tenants"), what, expected="at least one tenant", remedy=remedy, key=True)
