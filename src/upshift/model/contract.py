"""What do two agents agree on: who speaks to whom, in which words, how well, and who answers for it?"""

from datetime import date
from enum import StrEnum

import msgspec

from upshift.model.ids import AgentId, WorkloadId
from upshift.model.pool import Rate
from upshift.model.span import Instant

A2A = "a2a"
"""The dialect of records of calls between agents."""
BROKEN_BECAUSE = "contract_violation"
"""The reason in records of calls whose payload does not fit their contract: refused, failed, or flagged and served."""
TASK_FAILED = "task_failed"
"""The reason in records of calls that were answered, though the agent says that it has failed."""


class Enforcement(StrEnum):
    """What happens to a payload that does not fit its contract."""

    REJECT = "reject"
    FLAG = "flag"
    """It goes through, is counted, and the answer says so."""


class Version(msgspec.Struct, frozen=True, order=True):
    """Of a contract: within one major version it only grows (Semantic Versioning 2.0.0)."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


class Direction(msgspec.Struct, frozen=True, kw_only=True):
    """What is promised of the messages of one direction. None and empty: nothing is."""

    payload: str = ""
    """The JSON Schema of data parts, as JSON."""
    latency_seconds: float | None = None
    """The 95th percentile at most."""
    errors: float | None = None
    """The share, 0 to 1, that may fail."""
    quality: float | None = None
    """The mean score, 0 to 1, at least."""
    volume: Rate | None = None
    """Messages in a time at most."""

    @property
    def measured(self) -> bool:
        """Whether anything is expected that can be measured."""
        return any(each is not None for each in (self.latency_seconds, self.errors, self.quality, self.volume))


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """One agent that speaks to another, with the contract between them; `version` None: there is none."""

    name: str
    caller: AgentId
    callee: AgentId
    version: Version | None = None
    request: Direction = Direction()
    response: Direction = Direction()
    enforcement: Enforcement = Enforcement.REJECT
    text: bool = False
    """Whether messages without data may pass, though the contract has a schema for them."""
    owner: str = ""
    escalation: str = ""
    review_days: int | None = None
    """How often a person reads the contract again."""
    reviewed: date | None = None

    def lacks(self) -> tuple[str, ...]:
        """What is missing before the interface may be active, in words of the plan; nothing where all is there."""
        found = {
            "version": self.version is None,
            "request.payload": not self.request.payload,
            "response.payload": not self.response.payload,
            "an expectation of requests (latency, errors, quality or volume)": not self.request.measured,
            "an expectation of responses (latency, errors, quality or volume)": not self.response.measured,
            "owner": not self.owner,
            "escalation": not self.escalation,
            "review": self.review_days is None,
            "reviewed": self.reviewed is None,
        }
        return tuple(what for what, missing in found.items() if missing)

    def overdue_days(self, today: date) -> int | None:
        """Days since its review was due; None where none is due. What was never reviewed is due today."""
        if self.review_days is None:
            return None
        if self.reviewed is None:
            return 0
        late = (today - self.reviewed).days - self.review_days
        return late if late > 0 else None


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent of the plan. `url` is its A2A server and `card_url` where its card is; empty: it only speaks.

    `key_env` names the environment variable with the gateway's own key for it; empty sends none. Seconds are granted
    for a connection, the first byte of an answer, between two pieces, and for the whole of it.
    """

    id: AgentId
    workload: WorkloadId | None = None
    owner: str = ""
    url: str = ""
    card_url: str = ""
    key_env: str = ""
    connect_seconds: float = 5.0
    first_byte_seconds: float = 120.0
    idle_seconds: float = 120.0
    total_seconds: float = 3600.0


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """It was decided that an interface is active: for these two agents, and one major version of its contract.

    None is what the decision does not say; it then holds for whatever the plan has under that name.
    """

    interface: str
    caller: AgentId | None
    callee: AgentId | None
    major: int | None
    by: str
    at: Instant


class Standing(msgspec.Struct, frozen=True):
    """What is decided of interfaces: those that are active, by name, and the share of sessions, 0 to 1, of agents that
    do not get all."""

    active: dict[str, Activation] = {}
    shares: dict[AgentId, float] = {}
