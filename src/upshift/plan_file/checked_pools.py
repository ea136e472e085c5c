"""Do the capacity pools of a plan hold anything, and do the shares in them add up?"""

from upshift.plan_file.compiled_pools import WHOLE, limits_of
from upshift.plan_file.declared import Plan
from upshift.plan_file.declared_pools import Capacity, CapacityLimits
from upshift.plan_file.faults import Findings
from upshift.plan_file.locate import Path
from upshift.plan_file.problems import shown


def check_pools(plan: Plan, findings: Findings) -> None:
    """Reports pools without limits, limits that are never reached, shares beyond the whole, and names that clash."""
    known = findings.names("pools")
    for name, pool in plan.pools.items():
        path: Path = ("pools", name)
        _capacity(path, pool, findings)
        if name in plan.workloads:
            what = f"{shown(name)} is both a pool and a workload"
            findings.report(path, what, value=name, expected="a name of its own", remedy="Rename one.", key=True)
        _shares(name, pool, plan, findings)
    for name, workload in plan.workloads.items():
        path = ("workloads", name)
        if workload.capacity is not None:
            _capacity((*path, "capacity"), workload.capacity, findings)
            if workload.pool is not None:
                what = "a workload has either a capacity of its own or a part in a pool"
                findings.report((*path, "pool"), what, expected="one of 'capacity' and 'pool'", key=True)
        share = workload.pool
        if share is None:
            continue
        if share.name not in known:
            where: Path = (*path, "pool", "name") if findings.root.get((*path, "pool", "name")) else (*path, "pool")
            findings.unknown(where, share.name, "a pool", known)
        if share.lend and share.reserve is None and not findings.spoiled_within((*path, "pool", "reserve")):
            what = "there is no reserve here that could be lent"
            findings.report((*path, "pool", "lend"), what, expected="'reserve' beside it", remedy="Add 'reserve: 25%'.")


def _capacity(path: Path, each: Capacity, findings: Findings) -> None:
    parts = (each, each.per_user, each.per_tenant)
    if not any(map(limits_of, parts)) and not findings.spoiled_within(path):
        remedy = "Write e.g. 'concurrent: 40' or 'requests: 600/min'."
        expected = "concurrent, requests or tokens"
        findings.report(path, "this capacity has no limit", expected=expected, remedy=remedy, key=True)
    if each.wait > 0 and each.queue == 0 and "wait" in each.model_fields_set:
        findings.warn((*path, "wait"), "nobody waits, since the queue has no room")
    for part in ("per_user", "per_tenant"):
        limits: CapacityLimits = getattr(each, part)
        if limits.concurrent is not None and each.concurrent is not None and limits.concurrent > each.concurrent:
            what = f"{limits.concurrent:,} calls at once are more than the {each.concurrent:,} of all, so never reached"
            findings.warn((*path, part, "concurrent"), what)


def _shares(name: str, pool: Capacity, plan: Plan, findings: Findings) -> None:
    members = {
        workload: said.pool
        for workload, said in plan.workloads.items()
        if said.pool is not None and said.pool.name == name and said.status == "committed"
    }
    given = 0
    for workload, share in members.items():
        if share.reserve is None:
            continue
        path: Path = ("workloads", workload, "pool", "reserve")
        part = int(share.reserve.removesuffix("%"))
        given += part
        if given > WHOLE:
            what = f"the reserves in pool {shown(name)} come to {given}%"
            findings.report(path, what, value=share.reserve, expected="at most 100% together")
        elif pool.concurrent is not None and pool.concurrent * part < WHOLE:
            what = f"{share.reserve} of {pool.concurrent} calls at once may be no call at all"
            findings.report(path, what, value=share.reserve, expected="a share of at least one call")
    without = next((workload for workload, share in members.items() if share.reserve is None), None)
    if given == WHOLE and without is not None:
        what = f"all of pool {shown(name)} is reserved for others, so {shown(without)} could never be served"
        remedy = "Give it a reserve, or reserve less."
        findings.report(("workloads", without, "pool"), what, expected="something left", remedy=remedy, key=True)
    if not members and not findings.spoiled_within(("workloads",)):
        findings.warn(("pools", name), f"no committed workload has a part in pool {shown(name)}", key=True)
