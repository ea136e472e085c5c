"""The four tests: against an independent library, against scipy, and by their promise."""

import numpy as np
import pytest
import ville  # type: ignore[import-untyped]  # It ships no types.
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln, log_ndtr
from scipy.stats import betabinom, norm

from upshift.evidence.eprocess import (
    RATE_RATIOS,
    half_width,
    mean_evidence,
    normal_evidence,
    rank_evidence,
    rate_evidence,
    score_evidence,
)


def test_the_normal_mixture_is_the_one_of_an_independent_library() -> None:
    # Against an exact reference the two-sided mixture is Johari's; ours is its upper half, counted twice.
    values = np.random.default_rng(1).normal(0.3, 2.0, 400)
    n = np.arange(1, 401)
    mean = np.cumsum(values) / n
    theirs = ville.MSPRT(theta0=0.0, sigma=2.0, tau=0.2).fit(values).e_values_
    v0 = 4.0 / n
    upper = np.log(2) + log_ndtr(mean * 0.2 / np.sqrt(v0 * (v0 + 0.04)))
    assert normal_evidence(mean, v0, 0.2) == pytest.approx(np.log(theirs) + upper)


def test_the_normal_mixture_is_an_integral_over_effects() -> None:
    effects = np.linspace(0, 2.0, 200_001)
    prior = 2 * norm.pdf(effects, scale=0.2)
    likelihood = norm.pdf(0.31, effects, 0.1) / norm.pdf(0.31, 0, 0.1)
    assert float(normal_evidence(0.31, 0.01, 0.2)) == pytest.approx(
        np.log(np.trapezoid(prior * likelihood, effects)), abs=1e-6
    )


def test_a_mean_is_held_against_a_margin_and_an_unsure_reference() -> None:
    d, v0 = 1.3 - 1.05 * 1.0, 0.9 / 100 + 1.05**2 * 0.9 / 400
    assert mean_evidence(1.3, 0.9 / 100, 1.0, 0.9 / 400, 0.05) == pytest.approx(normal_evidence(d, v0, 0.2))


def test_mirrored_a_mean_is_healthy_when_it_is_below_the_margin() -> None:
    d, v0 = 1.1 - 1.0, 0.9 / 1000 + 1.1**2 * 0.9 / 4000
    assert mean_evidence(-1.0, 0.9 / 1000, -1.0, 0.9 / 4000, -0.1) == pytest.approx(normal_evidence(d, v0, 0.2))


def test_ranks_and_scores_are_normal_mixtures_of_their_own_scale() -> None:
    assert rank_evidence(0.56, 100, 400) == pytest.approx(normal_evidence(0.06, (1 / 100 + 1 / 400) / 12, 0.1))
    assert score_evidence(0.2, 100, 400) == pytest.approx(normal_evidence(0.2, 1 / 100 + 1 / 400, 0.25))


def test_a_rate_is_a_mixture_of_beta_binomials() -> None:
    k, n, k0, n0 = 9, 200, 10, 1000
    a, b = k0 + 0.5, n0 - k0 + 0.5
    null = betabinom.pmf(k, n, a, b)
    moved = [betabinom.pmf(k, n, a, a / (q * a / (a + b)) - a) for q in RATE_RATIOS]
    assert float(rate_evidence(k, n, k0, n0)) == pytest.approx(np.log(np.mean(moved) / null))
    assert float(rate_evidence(k, n, k0, n0, (2.0,))) == pytest.approx(
        betaln(a + k, a / (2 * a / (a + b)) - a + n - k)
        - betaln(a, a / (2 * a / (a + b)) - a)
        - betaln(a + k, b + n - k)
        + betaln(a, b)
    )


@given(k0=st.integers(0, 50), n0=st.integers(60, 5000), n=st.integers(1, 60))
def test_a_rate_bets_fairly(k0: int, n0: int, n: int) -> None:
    # Under what it tests against, the expectation of E is 1: over every count that could come.
    k = np.arange(n + 1, dtype=np.float64)
    chance = betabinom.pmf(k, n, k0 + 0.5, n0 - k0 + 0.5)
    assert float(np.sum(chance * np.exp(rate_evidence(k, n, k0, n0)))) == pytest.approx(1.0, rel=1e-6)


@given(
    d=st.floats(-1e6, 1e6),
    variance=st.floats(0, 1e6),
    spread=st.floats(0, 1e6),
)
def test_evidence_is_a_number_whatever_is_weighed(d: float, variance: float, spread: float) -> None:
    assert not np.isnan(normal_evidence(d, variance, spread))


def test_the_interval_is_where_the_two_sided_test_does_not_object() -> None:
    n = np.arange(1, 301)
    cs = ville.GaussianMixtureCS(sigma=1.0, alpha=0.05, intersect=False).fit(np.zeros(300))
    assert half_width(1.0 / n, 1 / float(np.sqrt(cs.rho_)), 0.05) == pytest.approx(np.asarray(cs.upper_))


def test_looked_at_all_the_time_it_alarms_as_seldom_as_it_promises() -> None:
    # 2,000 runs of 2,000 looks with a reference that is itself estimated: 5 % and what chance adds.
    random = np.random.default_rng(3)
    alarms, naive = 0, 0
    n = np.arange(50, 2001)
    for _ in range(1000):
        reference = random.normal(0, 1 / np.sqrt(500)) + 10
        mean = (np.cumsum(random.standard_normal(2000)) / np.arange(1, 2001))[49:] + 10
        alarms += bool(np.any(mean_evidence(mean, 1 / n, reference, 1 / 500) >= np.log(20)))
        naive += bool(np.any((mean - reference) / np.sqrt(1 / n + 1 / 500) > 1.645))
    assert alarms <= 65
    assert naive > 200
