"""What do people and agents report of finished work: how good it was, who had to step in, how it ended?"""

from enum import StrEnum
from typing import TypeAlias

import msgspec

from upshift.model.span import Instant


class TaskOutcome(StrEnum):
    """How a task ended."""

    DONE = "done"
    FAILED = "failed"
    ABANDONED = "abandoned"


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose work is reported on; what is not said is empty. `session` joins a report to the calls of its task."""

    tenant: str = ""
    """Whose work it is: two tenants may call a session or a task alike. A report is kept with it, and read with it."""
    session: str = ""
    agent: str = ""
    interface: str = ""
    workload: str = ""
    pod: str = ""
    request: str = ""
    """The call that is reported on."""
    task: str = ""
    """The task's own name; what an agent's instrumentation saw of it is joined by it."""


class Quality(msgspec.Struct, frozen=True, tag="quality"):
    """A score from 0 (useless) to 1 (perfect), and who or what gave it. `id` makes a second report of it harmless."""

    id: str
    at: Instant
    origin: Origin
    score: float
    by: str = ""
    rubric: str = ""
    """What was judged, and by which scale."""

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(
                f"quality {self.id}: a score is from 0 to 1, not {self.score:g}; scale it before it is sent"
            )


class Escalation(msgspec.Struct, frozen=True, tag="escalation"):
    """A task was handed to a person or another team."""

    id: str
    at: Instant
    origin: Origin
    to: str = ""
    reason: str = ""


class TaskEnded(msgspec.Struct, frozen=True, tag="task"):
    """A task is over. Rates per task count these."""

    id: str
    at: Instant
    origin: Origin
    outcome: TaskOutcome = TaskOutcome.DONE
    started: Instant | None = None


class Delivery(msgspec.Struct, frozen=True, tag="delivery"):
    """One message over an interface: how long it took, whether it failed, and which terms of its contract it broke."""

    id: str
    at: Instant
    origin: Origin
    latency_us: int = 0
    failed: bool = False
    violations: tuple[str, ...] = ()


class OperationKind(StrEnum):
    """What an agent did: it was asked to do something, it called a model, or it used a tool."""

    AGENT = "agent"
    MODEL = "model"
    TOOL = "tool"


class Operation(msgspec.Struct, frozen=True, kw_only=True, tag="operation"):
    """One thing that an agent did, as its own instrumentation saw it; `at` is when it ended.

    Tokens are what it reports, None where it reports none. They are never spend: the gateway meters that.
    """

    id: str
    at: Instant
    origin: Origin
    kind: OperationKind
    name: str = ""
    """Of the agent, the model or the tool."""
    latency_us: int = 0
    failed: bool = False
    error: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None


Feedback: TypeAlias = Quality | Escalation | TaskEnded | Delivery | Operation


class Source(StrEnum):
    """By which way a report came."""

    CALLER = "caller"
    """Sent to the gateway with a caller's key."""
    ADMIN = "admin"
    """Sent to the admin API, or added on the command line."""
    OTLP = "otlp"
    """Spans of an agent's own instrumentation."""
    OWN = "own"
    """An agent's word on its own work, sent with its own key in either form: kept and shown, and no evidence."""


class Reported(msgspec.Struct, frozen=True):
    """A report as it is kept: of which tenant's work, who sent it (a key or a person), how, and when.

    The record's id begins with the tenant, so that no tenant can take another's ids; it is unique per kind of record.
    """

    record: Feedback
    tenant: str
    by: str
    source: Source
    received: Instant


def counted(reported: Reported) -> Feedback | None:
    """What a report counts as: its record, of its tenant. None for an agent's judgement of its own work.

    What an agent's instrumentation saw counts whoever sent it: figures of it say that they are the agent's own.
    """
    record = reported.record
    if reported.source is Source.OWN and not isinstance(record, Operation):
        return None
    return msgspec.structs.replace(record, origin=msgspec.structs.replace(record.origin, tenant=reported.tenant))


class About(StrEnum):
    """What reports are looked up by."""

    KIND = "kind"
    TENANT = "tenant"
    AGENT = "agent"
    INTERFACE = "interface"
    WORKLOAD = "workload"
    POD = "pod"
    SESSION = "session"
    REQUEST = "request"
    TASK = "task"
    SOURCE = "source"
