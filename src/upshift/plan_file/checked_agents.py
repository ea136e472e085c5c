"""Do the agents of a plan exist, can they be reached, and can their contracts be used?"""

from collections.abc import Iterator
from typing import Any

from upshift.plan_file.declared import Plan
from upshift.plan_file.declared_agents import Direction
from upshift.plan_file.faults import Findings
from upshift.plan_file.locate import Path
from upshift.plan_file.problems import shown
from upshift.traffic.contracts import SchemaError, compiled

_REFERENCES = frozenset(("$ref", "$dynamicRef"))


def check_agents(plan: Plan, findings: Findings) -> None:
    """Reports what does not fit together among agents, interfaces and their contracts."""
    misspelt = ("workloads",) in findings.spoiled or (
        not plan.workloads and any(len(path) == 1 for path in findings.spoiled)
    )
    _agents(plan, findings, misspelt=misspelt)
    _interfaces(plan, findings)
    for name, each in plan.interfaces.items():
        for field, direction in (("request", each.request), ("response", each.response)):
            _direction(("interfaces", name, field), direction, findings)
        if each.version is None and (each.request.payload is not None or each.response.payload is not None):
            findings.report(
                ("interfaces", name, "version"),
                "a contract has no version, so no call passes",
                expected="a semantic version",
                remedy="Add 'version: 1.0.0'.",
            )


def _agents(plan: Plan, findings: Findings, *, misspelt: bool) -> None:
    workloads = frozenset(findings.names("workloads"))
    for name, agent in plan.agents.items():
        path: Path = ("agents", name)
        if agent.workload is not None and agent.workload not in workloads and not misspelt:
            findings.unknown((*path, "workload"), agent.workload, "a workload", workloads)
        if agent.url is None:
            for field in ("card", "key"):
                if getattr(agent, field) is not None and not findings.spoiled_within(path):
                    what = f"'{field}' is never used, since the agent has no 'url'"
                    findings.warn((*path, field), what, remedy="Add 'url:' with its A2A server.", key=True)
        elif agent.workload is None and not findings.spoiled_within(path):
            what = f"agent {shown(name)} is spoken to, and serves no workload: nobody may call it"
            findings.report((*path, "workload"), what, expected="the workload that it serves")
        elif (known := plan.workloads.get(agent.workload or "")) is not None and known.status != "committed":
            what = f"agent {shown(name)} is not served, since workload {agent.workload} is {known.status}"
            findings.warn((*path, "workload"), what)


def _interfaces(plan: Plan, findings: Findings) -> None:
    agents = frozenset(findings.names("agents"))
    pairs: dict[tuple[str, str], str] = {}
    for name, each in plan.interfaces.items():
        path: Path = ("interfaces", name)
        for field, agent_name in (("from", each.from_), ("to", each.to)):
            if agent_name not in agents:
                findings.unknown((*path, field), agent_name, "an agent", agents)
        if each.from_ == each.to:
            what = f"agent {shown(each.to)} would speak to itself"
            findings.report((*path, "to"), what, value=each.to, expected="another agent")
        spoken_to = plan.agents.get(each.to)
        unreached = spoken_to is not None and spoken_to.url is None and not findings.spoiled_within(("agents", each.to))
        if each.version is not None and unreached and each.to != each.from_:
            what = f"agent {shown(each.to)} has no 'url', so no call can reach it"
            findings.warn((*path, "to"), what, remedy=f"Add 'url:' to agent {each.to}.")
        first = pairs.setdefault((each.from_, each.to), name)
        if first != name:
            what = f"interface {shown(first)} leads from {shown(each.from_)} to {shown(each.to)} already"
            findings.report(path, what, value=name, expected="each pair of agents once", key=True)


def _direction(path: Path, direction: Direction, findings: Findings) -> None:
    if direction.payload is None:
        return
    where: Path = (*path, "payload")
    try:
        compiled(direction.payload)
    except SchemaError as error:
        found = _reference(direction.payload) if not error.where else ()
        what = f"this JSON Schema cannot be used: {error.what.rstrip('.')}"
        remedy = "A $ref leads within the schema, like '#/$defs/address': nothing is fetched." if found else ""
        inner = findings.root.known((*where, *error.where, *found))
        findings.report(inner if len(inner) > len(where) else where, what, expected="a JSON Schema", remedy=remedy)


def _reference(schema: Any, path: Path = ()) -> Path:
    """Where the first reference out of a schema, or else to one of its parts, stands: the library does not say."""
    found = list(_references(schema, path))
    outward = (place for place, target in found if not target.startswith("#"))
    return next(outward, found[0][0] if found else ())


def _references(part: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key in _REFERENCES and isinstance(value, str):
                yield (*path, key), value
            else:
                yield from _references(value, (*path, key))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from _references(value, (*path, index))
