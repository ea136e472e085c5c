"""Simulated traffic for the tests of evidence: amounts and rates, of one kind all along."""

import numpy as np

from upshift.evidence.baseline import Baseline, Needs, Structure, freeze
from upshift.evidence.measurement import Kind, Metric, Observations, Scope
from upshift.evidence.pattern import HOUR
from upshift.model.ids import PlanHash

STRUCTURE = Structure(("ada", "bob"), ("ada-bob",), PlanHash("plan-1"))
LATENCY = Metric(name="latency", kind=Kind.VALUE, unit="s")
ERRORS = Metric(name="error-rate", kind=Kind.RATE, floor=0.1, margin=0.5)
BEGIN = 480_000 * HOUR
"""A day that begins at midnight UTC."""
SOON = Needs(days=0, values=100)


def amounts(
    n: int, seed: int, *, level: float = 1.0, per_hour: int = 60, start: int = BEGIN, swing: float = 0.0
) -> Observations:
    """Lognormal amounts of mean `level` and coefficient of variation 0.95, evenly spaced."""
    random = np.random.default_rng(seed)
    at = start + np.arange(n, dtype=np.int64) * (HOUR // per_hour)
    sigma = np.sqrt(np.log(1 + 0.95**2))
    day = 1 + swing * np.sin(2 * np.pi * at / (24 * HOUR))
    return Observations(at, np.exp(sigma * random.standard_normal(n) - sigma**2 / 2) * level * day)


def bits(n: int, seed: int, share: float, *, per_hour: int = 60, start: int = BEGIN) -> Observations:
    """Zeros and ones."""
    random = np.random.default_rng(seed)
    at = start + np.arange(n, dtype=np.int64) * (HOUR // per_hour)
    return Observations(at, (random.random(n) < share).astype(np.float64))


def frozen(found: Observations, metric: Metric = LATENCY) -> Baseline:
    """A baseline of at least 100 values, however short its time."""
    made = freeze(metric, Scope(), STRUCTURE, found, SOON)
    assert isinstance(made, Baseline), made
    return made
