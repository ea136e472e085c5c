"""How many sessions will be open at the worst moment, judged by arrivals that were observed?"""

import math

import msgspec
import numpy as np
from scipy.optimize import minimize
from scipy.stats import nbinom

from upshift.planning.draws import Array

CHANCE = 0.95
"""Of not being passed within the horizon."""
_BLOCK_SECONDS = 60.0
_BLOCK_STAYS = 3.0
_FEWEST_BLOCKS = 10
_FINEST = 0.05
_LOOKS = 400_000
_HEAVY, _HEAVY_SIGMA = 0.2, 0.1
_MOST_SHAPE = 0.6
_GUMBEL_SD = math.sqrt(6) / math.pi
_EULER = 0.5772156649015329


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """How long a request keeps a place, where only its tokens were recorded: a start, then reading, then writing.

    Seconds and tokens per second. The figures are those of a mid-sized model on shared accelerators.
    """

    start: float = 0.2
    read: float = 8_000.0
    write: float = 33.0

    def seconds(self, input_tokens: Array, output_tokens: Array) -> Array:
        """Of each request."""
        return np.asarray(self.start + input_tokens / self.read + output_tokens / self.write)


class Sized(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions open at once: what to provide, and how that was come by.

    `peak` is the most of three: `observed`, `by_level` (how much the number varies) and `by_extremes` (how high the
    minutes' peaks are). `average` is Little's law: right about the mean and of no use for a peak.
    """

    peak: float
    observed: float
    average: float
    by_level: float
    by_extremes: float
    dispersion: float
    """Variance of the number of open sessions over its mean: 1 if they begin independently at a steady rate."""
    shape: float
    """Of the distribution of peaks: 0 falls off exponentially, above it is heavier."""


def open_sessions(starts: Array, held: Array) -> tuple[Array, Array]:
    """The moments at which the number of open sessions changes, ascending, and the number from then on.

    `starts` and `held` are seconds, in any order. One that ends as another begins makes room for it.
    """
    moments = np.concatenate([starts, starts + held])
    steps = np.concatenate([np.ones(len(starts)), -np.ones(len(starts))])
    order = np.lexsort((steps, moments))
    return moments[order], np.cumsum(steps[order])


def peak_of(starts: Array, held: Array) -> float:
    """The most sessions that are open at once; 0 of none."""
    return float(open_sessions(starts, held)[1].max()) if len(starts) else 0.0


def size(starts: Array, held: Array, *, seconds: float, horizon: float, chance: float = CHANCE) -> Sized:
    """What to provide so that it suffices for `horizon` seconds with a chance, by `seconds` that were observed.

    Two views, of which the higher counts, as each sees what the other may miss:

    - level: open sessions are a gamma-mixed Poisson (negative binomial) number with the mean and the index of
      dispersion that were observed, looked at once per mean stay;
    - extremes: the peaks of blocks of a minute (or three mean stays) follow the generalised extreme value
      distribution, fitted by maximum likelihood. Its shape is never taken to be bounded (an hour without a burst is no
      proof that there are none), and is expected to be the heavier the more dispersed the traffic is: prior mean
      0.2 (1 - 1/dispersion), deviation 0.1.

    Raises ValueError when less was observed than ten blocks, or nothing.
    """
    if len(starts) == 0 or len(starts) != len(held):
        raise ValueError("arrivals and their durations are needed, as many of one as of the other")
    stay = float(held.mean())
    block = max(_BLOCK_SECONDS, _BLOCK_STAYS * stay)
    if seconds < _FEWEST_BLOCKS * block:
        raise ValueError(
            f"{seconds:.0f} s are too short to judge peaks by: at least {_FEWEST_BLOCKS * block:.0f} s are needed "
            f"({_FEWEST_BLOCKS} blocks of {block:.0f} s)"
        )
    moments, number = open_sessions(starts, held)
    mean, dispersion = _level(moments, number, seconds, stay)
    peaks = _block_peaks(moments, number, seconds, block)
    by_extremes, shape = _extremes(peaks, max(horizon, seconds) / block, dispersion, chance)
    by_level = _by_level(mean, dispersion, max(horizon, seconds) / stay, chance)
    observed = float(number.max())
    return Sized(
        peak=math.ceil(max(observed, by_level, by_extremes)),
        observed=observed,
        average=float(held.sum()) / seconds,
        by_level=by_level,
        by_extremes=by_extremes,
        dispersion=dispersion,
        shape=shape,
    )


def _at(moments: Array, number: Array, when: Array) -> Array:
    before = np.searchsorted(moments, when, side="right") - 1
    return np.where(before >= 0, number[np.maximum(before, 0)], 0.0)


def _level(moments: Array, number: Array, seconds: float, stay: float) -> tuple[float, float]:
    every = max(_FINEST, stay / 4, seconds / _LOOKS)
    seen = _at(moments, number, np.arange(0.0, seconds, every))
    mean = float(seen.mean())
    return mean, max(1.0, float(seen.var()) / mean) if mean > 0 else 1.0


def _by_level(mean: float, dispersion: float, looks: float, chance: float) -> float:
    if mean <= 0:
        return 0.0
    # A negative binomial needs more variance than mean; a Poisson number is its limit.
    over = max(dispersion, 1.0 + 1e-6) - 1.0
    return float(nbinom.ppf(1.0 - (1.0 - chance) / max(looks, 1.0), mean / over, 1.0 / (1.0 + over)))


def _block_peaks(moments: Array, number: Array, seconds: float, block: float) -> Array:
    many = int(seconds // block)
    within = moments < many * block
    peaks = _at(moments, number, np.arange(many, dtype=np.float64) * block)
    np.maximum.at(peaks, (moments[within] // block).astype(int), number[within])
    return peaks


def _extremes(peaks: Array, blocks: float, dispersion: float, chance: float) -> tuple[float, float]:
    """The highest of so many blocks with the chance, and the shape that was found."""
    sd = float(peaks.std())
    if sd == 0.0:
        return float(peaks.max()), 0.0
    expected = _HEAVY * (1.0 - 1.0 / dispersion)
    scale = sd / _GUMBEL_SD
    location = float(peaks.mean()) - _EULER * scale

    def badness(at: Array) -> float:
        return _unlikelihood(peaks, float(at[0]), float(at[1]), float(at[2]), expected)

    fits = [
        minimize(badness, np.array([location, math.log(scale), begin]), method="Nelder-Mead", options={"maxiter": 2000})
        for begin in (0.02, expected + 0.01)
    ]
    location, log_scale, shape = (float(each) for each in min(fits, key=lambda fit: float(fit.fun)).x)
    rare = -math.log(chance) / max(blocks, 1.0)
    if shape < 1e-4:
        return location - math.exp(log_scale) * math.log(rare), 0.0
    return location + math.exp(log_scale) / shape * (rare**-shape - 1.0), shape


def _unlikelihood(peaks: Array, location: float, log_scale: float, shape: float, expected: float) -> float:
    if not 0.0 <= shape <= _MOST_SHAPE:
        return math.inf
    z = (peaks - location) / math.exp(log_scale)
    prior = 0.5 * ((shape - expected) / _HEAVY_SIGMA) ** 2
    if shape < 1e-4:
        return float((log_scale + z + np.exp(-z)).sum()) + prior
    inner = 1.0 + shape * z
    if (inner <= 0).any():
        return math.inf
    return float((log_scale + (1.0 / shape + 1.0) * np.log(inner) + inner ** (-1.0 / shape)).sum()) + prior
