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


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Whose work is reported on; what is not said is empty. `session` joins a report to the calls of its task."""

    session: str = ""
    agent: str = ""
    interface: str = ""
    workload: str = ""
    pod: str = ""


class Quality(msgspec.Struct, frozen=True, tag="quality"):
    """A score from 0 (useless) to 1 (perfect), and who or what gave it. `id` makes a second report of it harmless."""

    id: str
    at: Instant
    origin: Origin
    score: float
    by: str = ""

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


class Delivery(msgspec.Struct, frozen=True, tag="delivery"):
    """One message over an interface: how long it took, whether it failed, and which terms of its contract it broke."""

    id: str
    at: Instant
    origin: Origin
    latency_us: int = 0
    failed: bool = False
    violations: tuple[str, ...] = ()


Feedback: TypeAlias = Quality | Escalation | TaskEnded | Delivery
