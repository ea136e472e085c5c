"""What may a plan say of agents, of who speaks to whom, and of the contract between them?"""

import re
from datetime import date
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from upshift.model.contract import Enforcement
from upshift.plan_file.declared_pools import RateText
from upshift.plan_file.figures import Share
from upshift.plan_file.parts import Sparse
from upshift.plan_file.quantities import PositiveDuration, unfit
from upshift.plan_file.texts import KeyName, Name, Url

_VERSION_PATTERN = r"^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$"
_DAYS = {"weekly": 7, "monthly": 31, "quarterly": 92, "yearly": 366}

Cadence: TypeAlias = Literal["weekly", "monthly", "quarterly", "yearly"]
Said: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]


def _version(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(_VERSION_PATTERN, value):
        return value
    remedy = f"Write '{value}.0'." if isinstance(value, str) and re.fullmatch(r"\d+\.\d+", value) else ""
    raise unfit(value, "is not a version", "a semantic version like 1.2.0", remedy)


def _date(value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise unfit(value, "is not a date", "a date like 2026-11-21") from None


def days_of(cadence: Cadence) -> int:
    """The most days between two reviews."""
    return _DAYS[cadence]


VersionText: TypeAlias = Annotated[
    str,
    BeforeValidator(_version),
    WithJsonSchema({"type": "string", "pattern": _VERSION_PATTERN, "examples": ["1.2.0"]}),
]
Day: TypeAlias = Annotated[
    date,
    BeforeValidator(_date),
    WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$", "examples": ["2026-11-21"]}),
]
Schema: TypeAlias = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "additionalProperties": True})]


class AgentTimeouts(Sparse):
    """How long an agent may take."""

    connect: PositiveDuration = 5.0
    """To accept a connection."""
    first_byte: PositiveDuration = 120.0
    """To begin its answer."""
    idle: PositiveDuration = 120.0
    """Between two pieces of an answer."""
    total: PositiveDuration = 3600.0
    """For a whole answer: a stream lives as long as its task."""


class Agent(Sparse):
    """An agent of the system. One that has a URL is spoken to through the gateway, at /a2a/ and its name."""

    workload: str | None = None
    """The workload that it serves. Its tenants may use the agent; one with a URL needs it."""
    owner: Said | None = None
    """Who answers for it."""
    url: Url | None = None
    """Where its A2A server takes JSON-RPC, version 1.0 or 0.3. Without it, the agent only speaks to others."""
    card: Url | None = None
    """Where its agent card is; without it, below its URL at /.well-known/agent-card.json."""
    key: KeyName | None = None
    """The environment variable that holds the gateway's own key for it, as env:NAME; sent as a bearer token."""
    timeouts: AgentTimeouts = AgentTimeouts()
    """How long it may take."""


class Direction(Sparse):
    """What is promised of the messages of one direction."""

    payload: Schema | None = None
    """The JSON Schema (draft 2020-12, unless its $schema says otherwise) that each data part has to fit. A $ref leads
    within the schema."""
    latency: PositiveDuration | None = None
    """The 95th percentile of how long it takes at most."""
    errors: Share | None = None
    """The share that may fail."""
    quality: Share | None = None
    """The mean quality score at least."""
    volume: RateText | None = None
    """Messages in a time at most, like 600/h."""


class Interface(Sparse):
    """One agent that speaks to another, and the contract between them."""

    from_: Annotated[Name, Field(alias="from")]
    """The agent that speaks."""
    to: Name
    """The agent that is spoken to."""
    version: VersionText | None = None
    """The semantic version of the contract: within one major version it takes all that it took before. Without it,
    there is no contract, and no call passes."""
    request: Direction = Direction()
    """What is promised of messages."""
    response: Direction = Direction()
    """What is promised of answers."""
    enforcement: Enforcement = Enforcement.REJECT
    """What happens to a payload that does not fit: reject it, or flag it and let it through."""
    text: bool = False
    """Whether messages without any data may pass where there is a schema for them."""
    owner: Said | None = None
    """Who answers for the contract."""
    escalation: Said | None = None
    """Who is called, in which order, when it is broken."""
    review: Cadence | None = None
    """How often the contract is reviewed."""
    reviewed: Day | None = None
    """When it was reviewed last."""
