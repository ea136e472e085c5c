"""Which metrics are there, of whom, over which time, and what came of each?"""

from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from upshift.evidence.eprocess import Floats
from upshift.evidence.pattern import HOUR
from upshift.model.ids import PlanHash
from upshift.model.span import Instant


class Kind(StrEnum):
    """What a metric's values are, and so how they are tested."""

    VALUE = "value"
    """An amount per task, usually skewed: its ranks (as normal scores) and its mean together."""
    MEAN = "mean"
    """The mean alone."""
    RANK = "rank"
    """The rank alone: is a usual value larger, whatever the extremes do?"""
    RATE = "rate"
    """A share of bad ones: each value is 0 or 1."""
    P95 = "p95"
    """An amount per task of which the slow end counts: the share above the baseline's 95th percentile."""


class Worse(StrEnum):
    """Which way is worse. Rates and p95 are worse up, always."""

    UP = "up"
    DOWN = "down"


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. `floor` and `margin` are relative to the baseline, and to the worse.

    Below `floor` a change is not called a regression however sure it is; within `margin` it is called healthy.
    """

    name: str
    kind: Kind
    worse: Worse = Worse.UP
    unit: str = ""
    query: str = ""
    """Which records give which values, in words: the definition shown beside every figure."""
    floor: float = 0.02
    margin: float = 0.1

    def __post_init__(self) -> None:
        wrong = []
        if self.kind in (Kind.RATE, Kind.P95) and self.worse is Worse.DOWN:
            wrong.append("a rate or p95 is a share of bad ones, worse up: count what fails, not what succeeds")
        if not 0 <= self.floor < self.margin:
            wrong.append(f"the floor ({self.floor:g}) has to be at least 0 and below the margin ({self.margin:g})")
        if wrong:
            raise ValueError(f"metric {self.name}: {'; '.join(wrong)}")


class Of(StrEnum):
    """What a scope is one of."""

    SYSTEM = "system"
    AGENT = "agent"
    INTERFACE = "interface"
    WORKLOAD = "workload"
    POD = "pod"


class Scope(msgspec.Struct, frozen=True):
    """Whose figures: one agent, interface, workload or pod, or the whole system (`name` empty)."""

    of: Of = Of.SYSTEM
    name: str = ""

    def __str__(self) -> str:
        return f"{self.of} {self.name}".strip()


def read_scope(text: str) -> Scope:
    """The scope of a text like 'system' or 'workload chat'. Raises ValueError for one that names nobody."""
    kind, _, name = text.strip().partition(" ")
    try:
        of = Of(kind)
    except ValueError:
        raise ValueError(f"the scope {kind!r} is none; there are {', '.join(Of)}") from None
    if (of is Of.SYSTEM) == bool(name):
        raise ValueError("a scope is 'system', or a kind and a name like 'workload chat'")
    return Scope(of, name.strip())


class Span(msgspec.Struct, frozen=True):
    """From `start`, inclusive, to `end`, exclusive."""

    start: Instant
    end: Instant

    @property
    def hours(self) -> float:
        return (self.end - self.start) / HOUR


class Observations:
    """Values of one metric in the order of time; microseconds and values, of one length, finite.

    `missing` counts records that should have had a value and had none: unknown is never zero.
    """

    __slots__ = ("at", "missing", "plans", "values")

    def __init__(
        self, at: NDArray[np.int64], values: Floats, missing: int = 0, plans: tuple[PlanHash, ...] = ()
    ) -> None:
        if at.shape != values.shape or at.ndim != 1:
            raise ValueError(f"{at.shape} instants and {values.shape} values; there has to be one instant per value")
        if not np.all(np.isfinite(values)):
            place = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"value {place} at {int(at[place])} is not finite; leave it out and count it as missing")
        order = np.argsort(at, kind="stable")
        self.at, self.values = at[order], values[order]
        self.missing, self.plans = missing, plans

    def __len__(self) -> int:
        return len(self.values)


class Quantiles(msgspec.Struct, frozen=True):
    """Of values, linearly interpolated."""

    p05: float
    p25: float
    p50: float
    p75: float
    p90: float
    p95: float
    p99: float


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One figure with all that it takes to find it again. Without values the figures are None, never 0."""

    metric: str
    kind: Kind
    unit: str
    scope: Scope
    query: str
    span: Span
    n: int
    missing: int
    plans: tuple[PlanHash, ...]
    """Every plan that was in force for a value of it; figures across a change of plan are visible as such."""
    mean: float | None = None
    deviation: float | None = None
    quantiles: Quantiles | None = None
    latest: Instant | None = None
    """When the last value was."""


def quantiles_of(values: Floats) -> Quantiles:
    """Of at least one value."""
    return Quantiles(*(float(one) for one in np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99))))


def measure(metric: Metric, scope: Scope, span: Span, found: Observations) -> Measurement:
    """The figure that observations come to."""
    whole = Measurement(
        metric=metric.name,
        kind=metric.kind,
        unit=metric.unit,
        scope=scope,
        query=metric.query,
        span=span,
        n=len(found),
        missing=found.missing,
        plans=found.plans,
    )
    if not len(found):
        return whole
    return msgspec.structs.replace(
        whole,
        mean=float(np.mean(found.values)),
        deviation=float(np.std(found.values, ddof=1)) if len(found) > 1 else 0.0,
        quantiles=quantiles_of(found.values),
        latest=int(found.at[-1]),
    )
