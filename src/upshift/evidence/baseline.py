"""What is usual, frozen: for which structure is it valid, and what is missing before it can be frozen?"""

import hashlib
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec
import numpy as np
from scipy.special import ndtri

from upshift.evidence.eprocess import Floats
from upshift.evidence.measurement import Kind, Metric, Observations, Quantiles, Scope, Span, quantiles_of
from upshift.evidence.pattern import HOURS, batch_length, day, hour_of, inflation
from upshift.model.ids import PlanHash
from upshift.model.span import MICROS, Instant

SAMPLE = 1_024
"""Values kept for ranks: evenly spaced order statistics, so that a rank is off by less than 1/2,000."""
_DAY = 24 * 3600 * MICROS


class Structure(msgspec.Struct, frozen=True):
    """What a baseline is valid for: who takes part, over which interfaces, under which plan. Sorted."""

    agents: tuple[str, ...]
    interfaces: tuple[str, ...]
    plan: PlanHash


class Inflation(msgspec.Struct, frozen=True):
    """How many times the variance of a mean is that of independent values; 1 where they are."""

    mean: float = 1.0
    rank: float = 1.0
    tail: float = 1.0


class Baseline(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A snapshot of one metric. Values are normalised: divided by their hour's usual share, except those of rates."""

    metric: Metric
    scope: Scope
    span: Span
    structure: Structure
    n: int
    missing: int
    mean: float
    deviation: float
    quantiles: Quantiles
    """Of the values as they were observed; `tail` is of the normalised ones."""
    hours: tuple[float, ...]
    """The usual mean of each hour of the day, as clocks show it in `zone`."""
    hour_counts: tuple[int, ...]
    frequencies: tuple[int, ...]
    """Waves per day that the pattern is made of; none is a flat day."""
    sample: tuple[float, ...]
    tail: float
    """The normalised values' 95th percentile, and how many of them are above it."""
    above: int
    batch: int
    inflation: Inflation
    zone: str = "UTC"
    """Left out of what is kept where it is UTC: baselines from before there were zones keep their ids."""

    @property
    def id(self) -> str:
        """The SHA-256 of its content: the same observations and structure give the same id."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()

    def shares(self) -> Floats:
        """Each hour's usual share of the mean; 1 all day where it does not apply."""
        hours, counts = np.array(self.hours), np.array(self.hour_counts)
        if self.metric.kind is Kind.RATE or not self.frequencies or float(np.min(hours)) <= 0:
            return np.ones(HOURS)
        return np.asarray(hours * np.sum(counts) / np.dot(hours, counts))


class Needs(msgspec.Struct, frozen=True):
    """What a baseline takes at least: days of steady state, values, and the share of values that may be missing."""

    days: float = 14.0
    values: int = 200
    missing: float = 0.05


class Lack(msgspec.Struct, frozen=True):
    """One thing that is missing before a baseline can be frozen."""

    what: str
    have: float
    need: float
    says: str


class Shortfall(msgspec.Struct, frozen=True):
    """Why there is no baseline yet: all that is missing, at once."""

    metric: str
    scope: Scope
    lacks: tuple[Lack, ...]

    def __str__(self) -> str:
        return f"no baseline of {self.metric} of {self.scope} yet: {'; '.join(lack.says for lack in self.lacks)}"


NEEDS = Needs()


def lacking(found: Observations, needs: Needs = NEEDS) -> tuple[Lack, ...]:
    """What is missing; nothing when a baseline can be frozen. A span counts from its first value to its last."""
    lacks = []
    days = float(found.at[-1] - found.at[0]) / _DAY if len(found) else 0.0
    # Whole days begin and end between two values: a hundredth is not worth a day more of waiting.
    if days < needs.days * 0.99:
        says = f"{days:.1f} days of steady state where {needs.days:g} are needed; wait {needs.days - days:.1f} more"
        lacks.append(Lack("days", days, needs.days, says))
    if len(found) < max(2, needs.values):
        says = f"{len(found)} values where {max(2, needs.values)} are needed"
        lacks.append(Lack("values", len(found), max(2, needs.values), says))
    total = len(found) + found.missing
    if total and found.missing > needs.missing * total:
        says = f"{found.missing} of {total} records have no value; find out why, a baseline of the rest may mislead"
        lacks.append(Lack("missing", found.missing / total, needs.missing, says))
    if len(found.plans) > 1:
        says = f"{len(found.plans)} plans were in force; measure again under one"
        lacks.append(Lack("plans", len(found.plans), 1, says))
    return tuple(lacks)


def freeze(
    metric: Metric, scope: Scope, structure: Structure, found: Observations, needs: Needs = NEEDS, zone: str = "UTC"
) -> Baseline | Shortfall:
    """The baseline of a steady state, or all that is missing. `zone` is whose clocks its day follows."""
    lacks = lacking(found, needs)
    if lacks:
        return Shortfall(metric.name, scope, lacks)
    values, hours = found.values, hour_of(found.at, zone)
    memory = inflation(values, batch_length(values))
    usual, frequencies = day(hours, values, memory)
    mean = float(np.mean(values))
    whole = Baseline(
        metric=metric,
        scope=scope,
        span=Span(int(found.at[0]), int(found.at[-1]) + 1),
        structure=structure,
        n=len(found),
        missing=found.missing,
        mean=mean,
        deviation=float(np.std(values, ddof=1)),
        quantiles=quantiles_of(values),
        hours=tuple(float(one) for one in usual),
        hour_counts=tuple(int(one) for one in np.bincount(hours, minlength=HOURS)),
        frequencies=frequencies,
        sample=(),
        tail=0.0,
        above=0,
        batch=1,
        inflation=Inflation(),
        zone=zone,
    )
    level = values / whole.shares()[hours]
    ordered = np.sort(level)
    if len(ordered) > SAMPLE:
        ordered = np.quantile(ordered, (np.arange(SAMPLE) + 0.5) / SAMPLE)
    tail = float(np.quantile(level, 0.95))
    ranks = rank(ordered, level)
    # What a day's pattern explains is not memory: the batch is chosen from what is left.
    left = level - (np.array(whole.hours)[hours] if metric.kind is Kind.RATE else 0.0)
    batch = max(batch_length(left), batch_length(ranks))
    return msgspec.structs.replace(
        whole,
        mean=float(np.mean(level)),
        deviation=float(np.std(level, ddof=1)),
        sample=tuple(float(one) for one in ordered),
        tail=tail,
        above=int(np.count_nonzero(level > tail)),
        batch=batch,
        inflation=Inflation(
            inflation(left, batch), inflation(ranks, batch), inflation((level > tail).astype(np.float64), batch)
        ),
    )


def rank(sample: Floats, values: Floats) -> Floats:
    """Where each value stands in a sorted sample, 0 to 1; the middle of those that are equal to it."""
    below = np.searchsorted(sample, values, side="left")
    return np.asarray((below + np.searchsorted(sample, values, side="right")) / (2 * len(sample)))


def scores(baseline: Baseline, ranks: Floats) -> Floats:
    """The normal quantiles of ranks; beyond the sample's ends, that of half a value more."""
    end = 0.5 / len(baseline.sample)
    return np.asarray(ndtri(np.clip(ranks, end, 1 - end)), dtype=np.float64)


def shift(baseline: Baseline, change: float) -> float:
    """The mean rank, less ½, that the baseline's own values would have if each changed by a share of itself."""
    sample = np.array(baseline.sample)
    return float(np.mean(rank(sample, sample * (1 + change)))) - 0.5


class Retired(msgspec.Struct, frozen=True):
    """A baseline is valid no more. Appended beside it: a baseline itself never changes."""

    baseline: str
    at: Instant
    by: str
    reason: str
    successor: str = ""


Retirements: TypeAlias = tuple[Retired, ...]


def still_valid(baseline: Baseline, structure: Structure, retired: Retirements = ()) -> tuple[str, ...]:
    """Why a baseline is not valid for a structure; nothing when it is."""
    why = []
    for one in retired:
        if one.baseline == baseline.id:
            when = datetime.fromtimestamp(one.at / MICROS, UTC).date().isoformat()
            why.append(f"retired on {when} by {one.by}: {one.reason}")
    was = baseline.structure
    for what, old, new in (
        ("agent", was.agents, structure.agents),
        ("interface", was.interfaces, structure.interfaces),
    ):
        why += [f"{what} {name} has joined since" for name in sorted(set(new) - set(old))]
        why += [f"{what} {name} is gone" for name in sorted(set(old) - set(new))]
    if was.plan != structure.plan:
        why.append(f"the plan is {structure.plan[:12]}, the baseline was measured under {was.plan[:12]}")
    return tuple(why)


def recalibrate(old: Baseline, new: Baseline, at: Instant, by: str) -> Retired:
    """The retirement of an old baseline by its successor. Raises ValueError where that measures something else."""
    if (old.metric.name, old.scope) != (new.metric.name, new.scope):
        raise ValueError(
            f"{new.metric.name} of {new.scope} cannot succeed {old.metric.name} of {old.scope}; measure the same again"
        )
    changes = still_valid(old, new.structure) or ("measured again for the same structure",)
    return Retired(old.id, at, by, f"recalibrated: {'; '.join(changes)}", new.id)
