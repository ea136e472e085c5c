"""Does what a plan says of estimates, budgets and people hang together?"""

from upshift.plan_file.declared import Plan, Workload
from upshift.plan_file.declared_planning import TURN_FIELDS, Estimate
from upshift.plan_file.faults import Findings
from upshift.plan_file.figures import quarter_name
from upshift.plan_file.locate import Path
from upshift.plan_file.outlined import audiences_of, estimate_of, signs_off
from upshift.plan_file.problems import Severity, shown
from upshift.planning.completeness import lacking

_USUAL_BUFFER = (0.15, 0.20)
_USUAL_HEADROOM = (0.30, 0.40)
_MANY_OPS_HOURS = 80.0
"""Ten times what a stable workload usually takes."""
_MANY_TOKENS = 2e9
"""Per user and month: a quarter of a million pages of text, forty a minute day and night."""
_SAY_WHAT_IS_MISSING = {
    "users": "users",
    "estimate.sessions": "sessions per user and month",
    "estimate.tokens": "tokens per user and month (or turns, input and output)",
    "estimate.ops": "hours of ops a week",
}
_EXAMPLES = {"users": "4,200", "estimate.sessions": "18", "estimate.tokens": "520k", "estimate.ops": "6h"}


def check_planning(plan: Plan, findings: Findings) -> None:
    """Reports what does not fit together in the planning part, whatever the workloads' status."""
    needed = signs_off(plan) and ("sign_offs",) not in findings.spoiled
    for name, workload in plan.workloads.items():
        _lifetime(name, workload, findings)
        _users(name, workload, plan, findings)
        if workload.estimate is not None:
            _estimate(name, workload, workload.estimate, plan, findings)
        if needed and workload.status != "candidate":
            _complete(name, workload, findings)
        if needed and workload.status == "committed":
            _committed(name, workload, findings)
    _capitals(plan, findings)
    _budgets(plan, findings)
    _ops_ceilings(plan, findings)


def still_lacking(workload: Workload) -> tuple[str, ...]:
    """What a workload's capacity estimate lacks before it may be planned, in words; nothing where it is complete."""
    return tuple(
        _SAY_WHAT_IS_MISSING[field] for field in lacking(audiences_of(workload), estimate_of(workload.estimate))
    )


def _lifetime(name: str, workload: Workload, findings: Findings) -> None:
    ships, retires = workload.ships, workload.retires
    if ships is not None and retires is not None and retires <= ships:
        what = f"it retires in {retires}, though it ships in {ships}"
        findings.report(
            ("workloads", name, "retires"),
            what,
            value=str(retires),
            expected=f"a quarter after {ships}: the first in which it no longer runs",
        )


def _users(name: str, workload: Workload, plan: Plan, findings: Findings) -> None:
    path: Path = ("workloads", name, "users")
    if isinstance(workload.users, dict):
        for tier in workload.users:
            if tier not in plan.tiers and ("tiers",) not in findings.spoiled:
                findings.unknown((*path, tier), tier, "a customer tier", plan.tiers, key=True)
        if not workload.users and not findings.spoiled_within(path):
            remedy = "Write how many they are, e.g. 'users: 4,200'."
            findings.report(path, "no users are named here", expected="users by tier", remedy=remedy, key=True)


def _estimate(name: str, workload: Workload, said: Estimate, plan: Plan, findings: Findings) -> None:
    path: Path = ("workloads", name, "estimate")
    written = _turn_fields(name, findings)
    if said.tokens is not None and written:
        listed = _listed(written)
        findings.report(
            (*path, "tokens"),
            f"'tokens' and {listed} say the same twice",
            expected="tokens, or turns, input and output that they are derived from",
            remedy=f"Drop 'tokens' to have them derived from turns, or drop {listed} to keep the stated figure.",
            key=True,
        )
    elif written:
        for field in TURN_FIELDS[:3]:
            if field not in written:
                findings.report(
                    (*path, field),
                    f"'{field}' is missing, without which {_listed(written)} cannot be turned into tokens",
                    expected="turns, input and output together",
                    remedy=f"Add '{field}: ...', or state 'tokens: ...' instead.",
                    severity=Severity.WARNING if workload.status == "candidate" else Severity.ERROR,
                )
    if said.cached.high + said.cache_written.high > 1:
        what = "more than the whole input would be read from a cache or written to one"
        findings.report((*path, "cached"), what, expected="cached and cache_written of 100% together at most", key=True)
    _plausible(path, workload, said, plan, findings)


def _plausible(path: Path, workload: Workload, said: Estimate, plan: Plan, findings: Findings) -> None:
    if said.ops is not None and said.ops.mid > _MANY_OPS_HOURS:
        what = f"{said.ops.mid:g} hours of ops a week are more than two people; 4h to 8h is usual"
        findings.warn((*path, "ops"), what, remedy="Is it hours a month?")
    if said.tokens is not None and said.tokens.mid > _MANY_TOKENS:
        what = f"{said.tokens.mid:,.0f} tokens are more than one user uses in a month"
        findings.warn((*path, "tokens"), what, remedy="Say what one user uses, not all of them.")
    contexts = [
        model.context
        for tier in ([plan.model_tiers.get(workload.models.primary)] if workload.models is not None else [])
        for member in (tier.models if tier is not None else ())
        if (model := plan.models.get(member)) is not None and model.context is not None
    ]
    if said.input is not None and contexts and said.input.mid > max(contexts):
        what = f"{said.input.mid:,.0f} input tokens per turn are more than any of its models takes in"
        findings.warn((*path, "input"), what, remedy="Say what one turn brings, not a whole session.")


def _complete(name: str, workload: Workload, findings: Findings) -> None:
    path: Path = ("workloads", name)
    missing = lacking(audiences_of(workload), estimate_of(workload.estimate))
    needs = f"a {workload.status} workload needs a complete estimate"
    waive = "or make it a candidate, or write 'sign_offs: waived'"
    if any(field not in Estimate.model_fields for field in _spoiled_keys((*path, "estimate"), findings)):
        # What seems to be missing may be what was misspelt.
        missing = tuple(field for field in missing if field == "users")
    inside = [field for field in missing if field.startswith("estimate.")]
    if workload.estimate is None and inside:
        words = ", ".join(_SAY_WHAT_IS_MISSING[field] for field in inside)
        fields = ", ".join(f"{field.partition('.')[2]}: {_EXAMPLES[field]}" for field in inside)
        remedy = f"Add 'estimate: {{{fields}}}' with its figures, {waive}."
        findings.report((*path, "estimate"), f"{needs}, and it has none", expected=words, remedy=remedy)
        missing = tuple(field for field in missing if field not in inside)
    for field in missing:
        if field == "estimate.tokens" and _turn_fields(name, findings):
            # What is missing beside them was reported already.
            continue
        words, last = _SAY_WHAT_IS_MISSING[field], field.rpartition(".")[2]
        remedy = f"Add '{last}: {_EXAMPLES[field]}' with its figure, {waive}."
        findings.report((*path, *field.split(".")), f"{needs}, and '{last}' is missing", expected=words, remedy=remedy)


def _committed(name: str, workload: Workload, findings: Findings) -> None:
    path: Path = ("workloads", name)
    if workload.owner is None:
        what = "a committed workload has no owner"
        findings.report((*path, "owner"), what, expected="who answers for it", remedy="Add 'owner:' with a name.")
    if workload.ships is None:
        what = "a committed workload has no ship quarter"
        remedy = "Add 'ships: Q3-2026' with its quarter."
        findings.report((*path, "ships"), what, expected="the quarter in which it begins to be served", remedy=remedy)


def _spoiled_keys(path: Path, findings: Findings) -> list[str]:
    """The keys of a mapping that are known to be wrong."""
    return [str(each[-1]) for each in findings.spoiled if each[:-1] == path]


def _turn_fields(name: str, findings: Findings) -> list[str]:
    written = findings.root.names("workloads", name, "estimate")
    return [field for field in TURN_FIELDS if field in written]


def _listed(fields: list[str]) -> str:
    quoted = [f"'{field}'" for field in fields]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _capitals(plan: Plan, findings: Findings) -> None:
    """Two names that differ by capitals only are taken for one by whoever reads them aloud."""
    seen: dict[str, str] = {}
    for name in plan.workloads:
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            what = f"{shown(name)} differs from workload {shown(first)} by capitals only"
            findings.report(("workloads", name), what, value=name, expected="a name of its own", key=True)


def _budgets(plan: Plan, findings: Findings) -> None:
    least, most = _USUAL_BUFFER
    if not least <= plan.budgets.buffer <= most:
        what = f"a buffer of {plan.budgets.buffer:.0%} is not what is usual, {least:.0%} to {most:.0%}"
        findings.warn(("budgets", "buffer"), what)
    compute = plan.budgets.compute
    least, most = _USUAL_HEADROOM
    if not least <= compute.headroom <= most:
        what = f"a headroom of {compute.headroom:.0%} is not what is usual, {least:.0%} to {most:.0%}"
        findings.warn(("budgets", "compute", "headroom"), what)
    if compute.sessions_per_unit == 0:
        what = "a unit that carries no session serves nobody"
        findings.report(("budgets", "compute", "sessions_per_unit"), what, value="0", expected="more than 0")
    if compute.unit is not None and compute.sessions_per_unit is None:
        what = "what a unit costs is never used, since 'sessions_per_unit' is missing"
        findings.warn(("budgets", "compute", "unit"), what, remedy="Add 'sessions_per_unit:'.", key=True)


def _ops_ceilings(plan: Plan, findings: Findings) -> None:
    path = ("ops", "ceilings")
    if plan.ops.fte == 0:
        what = "a full-time equivalent of no hours is none"
        findings.report(("ops", "fte"), what, value="0h", expected="more than 0h", remedy="Write e.g. '40h'.")
    seen: dict[str, str] = {}
    for written in findings.root.names(*path):
        if (*path, written) in findings.spoiled:
            continue
        first = seen.setdefault(quarter_name(written), written)
        if first != written:
            what = f"{shown(written)} is the same quarter as {shown(first)}"
            findings.report((*path, written), what, value=written, expected="each quarter once", key=True)
