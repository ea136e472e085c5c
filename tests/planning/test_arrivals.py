"""Does the peak that is sized from what was observed cover what comes, on smooth traffic and on bursts?"""

import numpy as np
import pytest
from bench.capacity import MOST_OVER, TRACES, judge
from hypothesis import given
from hypothesis import strategies as st

from upshift.planning.arrivals import Service, Sized, peak_of, size
from upshift.planning.draws import Array

SECONDS = 3600.0
SERVICES = (Service(), Service(read=4000, write=66), Service(start=0, read=1e9, write=20))


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("first", [1 / 2, 2 / 3])
@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.name)
def test_public_traces_are_covered_at_a_fair_price(trace: object, first: float, service: Service) -> None:
    judged = judge(trace, first, service)  # type: ignore[arg-type] # one of the paths
    assert judged.covers
    assert judged.ratio <= MOST_OVER
    assert judged.little_short_by > 1.5


def smooth(random: np.random.Generator) -> Array:
    return np.sort(random.uniform(0, SECONDS, 10_000))


def batches(random: np.random.Generator) -> Array:
    """A trickle, and every 25 s or so a batch at once, of heavy-tailed size."""
    many = random.poisson(SECONDS / 25)
    sizes = np.minimum(np.ceil((random.pareto(1.3, many) + 1) * 8), 300).astype(int)
    at = np.repeat(random.uniform(0, SECONDS, many), sizes)
    return np.sort(np.concatenate([random.uniform(0, SECONDS, 4000), at + random.uniform(0, 2, len(at))]))


def swinging(random: np.random.Generator) -> Array:
    """A rate that swings by factors within seconds."""
    level = np.zeros(int(SECONDS / 5))
    for at in range(1, len(level)):
        level[at] = 0.7 * level[at - 1] + random.normal() * 0.71
    counts = random.poisson(2.5 * np.exp(1.3 * level - 0.85) * 5)
    return np.sort(np.repeat(np.arange(len(level)) * 5.0, counts) + random.uniform(0, 5, counts.sum()))


def sized_by_half(starts: Array, random: np.random.Generator) -> tuple[Sized, float]:
    starts = starts[starts < SECONDS]
    held = 0.2 + random.lognormal(-0.5, 0.8, len(starts))
    seen = starts < SECONDS / 2
    return size(starts[seen], held[seen], seconds=SECONDS / 2, horizon=SECONDS), peak_of(starts, held)


@pytest.mark.parametrize("kind", [smooth, batches, swinging])
def test_synthetic_traffic_is_covered_as_often_as_is_said(kind: object) -> None:
    judged = []
    for seed in range(24):
        random = np.random.default_rng(seed)
        judged.append(sized_by_half(kind(random), random))  # type: ignore[operator] # one of the three
    covered = sum(sized.peak >= true for sized, true in judged)
    assert covered >= 22
    assert np.median([sized.peak / true for sized, true in judged]) < 3


def test_bursts_are_seen_in_the_dispersion() -> None:
    random = np.random.default_rng(5)
    calm, wild = (sized_by_half(kind(random), random)[0] for kind in (smooth, batches))
    assert calm.dispersion == pytest.approx(1.0, abs=0.3)
    assert wild.dispersion > 5
    assert wild.peak > 20 * wild.average


def test_a_longer_horizon_needs_no_less() -> None:
    random = np.random.default_rng(1)
    starts, held = batches(random), random.lognormal(0, 0.5, 20_000)
    held = held[: len(starts)]
    peaks = [size(starts, held, seconds=SECONDS, horizon=SECONDS * times).peak for times in (1, 2, 10)]
    assert peaks == sorted(peaks)
    assert peaks[0] < peaks[2]


def test_too_little_says_so() -> None:
    with pytest.raises(ValueError, match="at least 600 s are needed"):
        size(np.array([1.0]), np.array([1.0]), seconds=60, horizon=60)
    with pytest.raises(ValueError, match="are needed"):
        size(np.zeros(0), np.zeros(0), seconds=1000, horizon=1000)


SESSIONS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), max_size=30)


@given(SESSIONS)
def test_the_peak_is_the_most_that_are_open_in_any_second(sessions: list[tuple[int, int]]) -> None:
    starts = np.array([float(start) for start, _ in sessions])
    held = np.array([float(each) for _, each in sessions])
    by_hand = max((sum(a <= t < a + s for a, s in sessions) for t in range(30)), default=0)
    assert peak_of(starts, held) == by_hand


def test_traffic_that_never_changes_is_sized_as_it_is() -> None:
    starts = np.arange(0.0, 3600.0, 10.0)
    found = size(starts, np.full(len(starts), 10.0), seconds=3600, horizon=3600)
    assert found.observed == 1
    assert found.by_extremes == 1
