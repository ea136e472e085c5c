"""How strong is the evidence that a mean, a rank or a rate is worse than another, however often it is looked at?

Each function returns log E of a mixture e-process: under "not worse" E reaches 1/α at any time with a chance of about α
at most, so it may be looked at as often as one likes. All take numbers or arrays of one shape (looks, runs). A
reference that was itself estimated (a frozen baseline, concurrent traffic) brings its own uncertainty. All are
logarithms, since E itself overflows on a clear case.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, log_ndtr, logsumexp

Floats: TypeAlias = NDArray[np.float64]
Real: TypeAlias = float | Floats

MEAN_SPREAD = 0.2
"""Scale of the effects that the mean test looks for, as a share of the reference mean."""
RANK_SPREAD = 0.1
"""The same of the rank test, in mean rank; all of the baseline is 1."""
SCORE_SPREAD = 0.25
"""The same of the test of normal scores, in standard deviations."""
RATE_RATIOS: tuple[float, ...] = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
TAIL_RATIOS: tuple[float, ...] = (1.25, 1.5, 2.0, 3.0)
BETTER_RATIOS: tuple[float, ...] = (1.0, 0.9, 0.75, 0.5)
"""Alternatives of the mirrored rate test, as ratios to the reference."""
_TINY = 1e-18


def normal_evidence(difference: Real, variance: Real, spread: Real) -> Floats:
    """Log E of "the mean difference is above 0" against "it is at most 0".

    E = √(v0/v1) · exp(d²/2 · (1/v0 − 1/v1)) · 2Φ(dτ/√(v0·v1)), v1 = v0 + τ²: the half-normal mixture of Robbins (1970).
    `variance` is v0, of the difference; `spread` is τ.
    """
    v0 = np.maximum(np.asarray(variance, dtype=np.float64), _TINY)
    d, tau = np.asarray(difference, dtype=np.float64), np.asarray(spread, dtype=np.float64)
    v1 = v0 + tau**2
    return np.asarray(
        0.5 * np.log(v0 / v1)
        + 0.5 * d**2 * (1 / v0 - 1 / v1)
        + np.log(2)
        + log_ndtr(np.clip(d * tau / np.sqrt(v0 * v1), -1e150, 1e150)),
        dtype=np.float64,
    )


def mean_evidence(mean: Real, variance: Real, reference: Real, reference_variance: Real, margin: float = 0.0) -> Floats:
    """Log E of "the mean is above (1 + margin) · reference".

    The variances are those of the two means: s²/n and s0²/n0. For "below" negate both means.
    """
    # A negated mean falls short by the same share: the margin widens it towards zero.
    scale = np.where(np.asarray(reference) < 0, 1 - margin, 1 + margin)
    return normal_evidence(
        np.asarray(mean) - scale * np.asarray(reference),
        np.asarray(variance) + scale**2 * np.asarray(reference_variance),
        MEAN_SPREAD * np.abs(reference),
    )


def rank_evidence(rank: Real, n: Real, n0: Real, reference: Real = 0.5) -> Floats:
    """Log E of "values are stochastically larger": `rank` is the mean of the ranks in the baseline, as shares of it."""
    return normal_evidence(
        np.asarray(rank) - np.asarray(reference), (1 / np.asarray(n) + 1 / np.asarray(n0)) / 12, RANK_SPREAD
    )


def score_evidence(score: Real, n: Real, n0: Real, reference: Real = 0.0) -> Floats:
    """Log E of "values are stochastically larger" from the mean of normal scores, the normal quantiles of the ranks.

    Sooner than plain ranks where values are skewed: the ends of a distribution say more than its middle (van der
    Waerden 1952). The variance of a score is 1.
    """
    difference = np.asarray(score) - np.asarray(reference)
    return normal_evidence(difference, 1 / np.asarray(n) + 1 / np.asarray(n0), SCORE_SPREAD)


def rate_evidence(
    k: Real, n: Real, k0: Real, n0: Real, ratios: tuple[float, ...] = RATE_RATIOS, null: float = 1.0
) -> Floats:
    """Log E of "the rate is `ratios` times the reference, one of them" against "it is `null` times".

    A beta-binomial mixture: the reference's rate has the posterior Beta(k0 + ½, n0 − k0 + ½), a ratio moves its mean.
    Counts need not be whole: correlated ones are divided by their inflation.
    """
    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    a = np.asarray(k0, dtype=np.float64) + 0.5
    b = np.asarray(n0, dtype=np.float64) - np.asarray(k0) + 0.5

    def fit(ratio: float) -> Floats:
        # A rate cannot pass 1: the ratio is cut where the mean would.
        rate = np.minimum(ratio * a / (a + b), 0.999)
        moved = a / rate - a
        return np.asarray(betaln(a + k, moved + n - k) - betaln(a, moved), dtype=np.float64)

    return np.asarray(logsumexp([fit(ratio) for ratio in ratios], axis=0) - np.log(len(ratios)) - fit(null))


def half_width(variance: Real, spread: Real, alpha: float) -> Floats:
    """Half the width of the interval that holds the true difference at all looks together with chance 1 − alpha.

    The two-sided normal mixture, solved for the difference (Howard et al. 2021).
    """
    v0 = np.maximum(np.asarray(variance, dtype=np.float64), _TINY)
    tau2 = np.maximum(np.asarray(spread, dtype=np.float64) ** 2, _TINY)
    v1 = v0 + tau2
    return np.asarray(np.sqrt(v0 * v1 / tau2 * (2 * np.log(1 / alpha) + np.log(v1 / v0))), dtype=np.float64)
