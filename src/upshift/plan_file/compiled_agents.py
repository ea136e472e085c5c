"""Which agents and interfaces does a declared plan compile to?"""

import json
from collections.abc import Mapping

from upshift.model.contract import Agent, Direction, Interface, Version
from upshift.model.ids import AgentId, WorkloadId
from upshift.plan_file import declared_agents
from upshift.plan_file.declared_agents import days_of
from upshift.plan_file.declared_pools import rate_of

CARD = "/.well-known/agent-card.json"
"""Where a card is below the URL of its agent (A2A 1.0, 8.2)."""


def agents_of(declared: Mapping[str, declared_agents.Agent]) -> Mapping[AgentId, Agent]:
    """The agents of a plan by name."""
    return {AgentId(name): _agent(AgentId(name), each) for name, each in sorted(declared.items())}


def interfaces_of(declared: Mapping[str, declared_agents.Interface]) -> Mapping[str, Interface]:
    """The interfaces of a plan by name."""
    return {name: _interface(name, each) for name, each in sorted(declared.items())}


def _agent(name: AgentId, each: declared_agents.Agent) -> Agent:
    url, times = (each.url or "").rstrip("/"), each.timeouts
    return Agent(
        id=name,
        workload=None if each.workload is None else WorkloadId(each.workload),
        owner=each.owner or "",
        url=each.url or "",
        card_url=(each.card or url + CARD) if url else "",
        key_env=(each.key or "").removeprefix("env:"),
        connect_seconds=times.connect,
        first_byte_seconds=times.first_byte,
        idle_seconds=times.idle,
        total_seconds=times.total,
    )


def _interface(name: str, each: declared_agents.Interface) -> Interface:
    return Interface(
        name=name,
        caller=AgentId(each.from_),
        callee=AgentId(each.to),
        version=None if each.version is None else Version(*map(int, each.version.split("."))),
        request=_direction(each.request),
        response=_direction(each.response),
        enforcement=each.enforcement,
        text=each.text,
        owner=each.owner or "",
        escalation=each.escalation or "",
        review_days=None if each.review is None else days_of(each.review),
        reviewed=each.reviewed,
    )


def _direction(each: declared_agents.Direction) -> Direction:
    schema = each.payload
    return Direction(
        payload="" if schema is None else json.dumps(schema, sort_keys=True, separators=(",", ":")),
        latency_seconds=each.latency,
        errors=each.errors,
        quality=each.quality,
        volume=None if each.volume is None else rate_of(each.volume, None),
    )
