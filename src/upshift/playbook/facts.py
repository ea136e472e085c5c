"""What are the checks told, and in which form do they answer?"""

from enum import StrEnum

import msgspec

from upshift.evidence.measurement import Measurement
from upshift.evidence.regression import Verdict
from upshift.model.span import Instant
from upshift.playbook.book import Answer


class Need(StrEnum):
    """What a check is told, beside the time."""

    CAPACITY = "capacity"
    CONTRACTS = "contracts"
    READINESS = "readiness"
    BASELINES = "baselines"
    VERDICTS = "verdicts"
    MEASUREMENTS = "measurements"


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the team should grow: `advice` is add, stop or measure, `instead` what to do in place of it."""

    advice: str
    says: str
    instead: str = ""
    gain: float | None = None
    """What the larger team gets done beyond the team of today; with its 95 % interval, and how probable it is."""
    low: float | None = None
    high: float | None = None
    probability: float | None = None


class ContractState(msgspec.Struct, frozen=True):
    """A planned interface, and what its contract lacks; nothing where it is complete."""

    interface: str
    lacks: tuple[str, ...] = ()


class Readiness(msgspec.Struct, frozen=True):
    """A metric, and what is missing before its baseline can be frozen."""

    metric: str
    n: int
    lacks: tuple[str, ...] = ()


class Frozen(msgspec.Struct, frozen=True):
    """A metric's baseline: `id` empty where there is none, `invalid` why it does not hold for the present structure."""

    metric: str
    id: str = ""
    n: int = 0
    invalid: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was gathered for one criterion. None is what nobody could tell; an empty tuple is none of it."""

    at: Instant
    since: Instant
    """Since when the phase has been in force."""
    until: Instant
    """When its window ends."""
    capacity: Capacity | None = None
    contracts: tuple[ContractState, ...] | None = None
    readiness: tuple[Readiness, ...] | None = None
    baselines: tuple[Frozen, ...] | None = None
    verdicts: tuple[Verdict, ...] | None = None
    measurements: tuple[Measurement, ...] | None = None
    trouble: str = ""
    """Why something could not be gathered, in words."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of evidence: what, by which estimator, of how many, with its interval; None is not known."""

    what: str
    estimator: str
    n: int | None
    value: float | None = None
    reference: float | None = None
    low: float | None = None
    high: float | None = None
    """The interval of the change relative to the reference, or of the value where there is none."""
    outcome: str = ""
    source: str = ""
    """The baseline or data it is held against, by id."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a check answers: why, in sentences, the most important first; until when it waits."""

    answer: Answer
    says: tuple[str, ...]
    until: Instant | None = None
    figures: tuple[Figure, ...] = ()
    lasting: bool = False
    """A FAIL that no later look of the same phase takes back."""
