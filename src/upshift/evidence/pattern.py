"""Which hours of the day are usual for what, and how long does a value remember the one before?"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from upshift.evidence.eprocess import Floats
from upshift.model.span import MICROS, to_datetime

HOURS = 24
HOUR = 3600 * MICROS
_QUARTER = HOUR // 4
_STANDS_OUT = 14.0
"""Fall in the sum of squares, in units of the variance, from which a frequency is believed. A pair of coefficients of
noise reaches it with chance exp(-7), one in a hundred for the eleven together."""
_LENGTHS = 15
"""Batches are this many memories long: 60 at an autoregression of .6, whose memory is 4."""


def hour_of(at: NDArray[np.int64], zone: str = "UTC") -> NDArray[np.int64]:
    """Hour of the day as clocks show it in an IANA time zone, 0 to 23. An hour that happens twice is one hour.

    Raises ZoneInfoNotFoundError for a zone that is not known here.
    """
    local = at if zone == "UTC" else at + _offset(at, zone)
    return np.asarray(local // HOUR % HOURS, dtype=np.int64)


def _offset(at: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Microseconds that clocks are ahead of UTC. They change on quarters of an hour (UTC), so one of each is asked."""
    quarters, place = np.unique(at // _QUARTER, return_inverse=True)
    ahead = [(to_datetime(int(one) * _QUARTER, zone).utcoffset() or timedelta()) for one in quarters]
    micros = np.array([one // timedelta(microseconds=1) for one in ahead], dtype=np.int64)
    return np.asarray(micros[place.reshape(at.shape)])


def waves(frequencies: Sequence[int]) -> Floats:
    """One row per hour: a level, and a cosine and a sine per frequency (times a day)."""
    angle = 2 * np.pi * (np.arange(HOURS) + 0.5) / HOURS
    columns = [np.ones(HOURS)]
    for frequency in frequencies:
        columns += [np.cos(frequency * angle), np.sin(frequency * angle)]
    return np.stack(columns, axis=1)


def fit_waves(means: Floats, counts: Floats, frequencies: Sequence[int]) -> tuple[Floats, float]:
    """The fitted mean of each hour, and the weighted sum of squares that is left. Hours without data have no weight."""
    root = np.sqrt(counts)
    design = waves(frequencies)
    fitted = design @ np.linalg.lstsq(design * root[:, None], means * root, rcond=None)[0]
    return fitted, float(np.sum(counts * (means - fitted) ** 2))


def day(hours: NDArray[np.int64], values: Floats, inflation: float) -> tuple[Floats, tuple[int, ...]]:
    """The usual mean of each hour, and the frequencies it is made of; flat where no frequency stands out of the noise.

    Hour by hour means would carry each hour's own noise into every comparison, so only what is seen in a whole fit is
    kept. An hour that nothing is known of has the mean of all.
    """
    counts = np.bincount(hours, minlength=HOURS).astype(np.float64)
    means = np.bincount(hours, weights=values, minlength=HOURS) / np.maximum(counts, 1)
    noise = float(np.var(values)) * inflation
    kept: tuple[int, ...] = ()
    fitted, left = fit_waves(means, counts, kept)
    known = int(np.count_nonzero(counts))
    while noise > 0 and 2 * len(kept) + 3 < known:
        tries = {one: fit_waves(means, counts, (*kept, one)) for one in range(1, HOURS // 2) if one not in kept}
        best = min(tries, key=lambda one: tries[one][1])
        if left - tries[best][1] < _STANDS_OUT * noise:
            break
        kept = (*kept, best)
        fitted, left = tries[best]
    return np.where(counts > 0, fitted, float(np.mean(values))), kept


def leverage(counts: Floats, frequencies: Sequence[int], mix: Floats) -> Floats:
    """How many times the variance of a plain mean the usual mean of a mix of hours has; 1 where no frequency is kept.

    `counts` are the baseline's observations per hour; `mix` is (..., 24), the hours of what is compared, of any sum.
    """
    weights = mix / np.maximum(np.sum(mix, axis=-1, keepdims=True), 1e-12)
    design = waves(frequencies)
    inverse = np.linalg.pinv(design.T @ (design * counts[:, None]))
    point = weights @ design
    return np.asarray(np.maximum(np.einsum("...i,ij,...j->...", point, inverse, point) * np.sum(counts), 1.0))


def memory(values: Floats) -> float:
    """How many times the variance of a mean is what independent values would give (integrated autocorrelation time).

    Sums of neighbouring autocorrelations for as long as they are positive (Geyer 1992); 1 for what is not told from
    independent values.
    """
    n = len(values)
    centred = values - np.mean(values)
    power = float(np.dot(centred, centred))
    if n < 8 or power <= 0:
        return 1.0
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    lags = np.fft.irfft(spectrum * np.conj(spectrum), size)[: n // 4 + 2] / power
    if lags[1] < 2.5 / np.sqrt(n):
        return 1.0
    pairs = lags[: len(lags) // 2 * 2].reshape(-1, 2).sum(axis=1)
    # What is below the noise of a single pair only adds up noise.
    ends = np.flatnonzero(pairs < 2 / np.sqrt(n))
    total = float(np.sum(pairs[: ends[0] if len(ends) else len(pairs)]))
    return max(1.0, 2 * total - 1)


def batch_length(values: Floats) -> int:
    """How many values in a row make a batch whose mean hardly remembers the one before; 1 for independent values."""
    times = memory(values)
    return 1 if times == 1 else max(1, min(round(_LENGTHS * times), len(values) // 10))


def inflation(values: Floats, batch: int) -> float:
    """How many times the variance of a mean is what independent values would give, from means of batches.

    The factor k/(k − 2) is for the variance of k batches being an estimate itself.
    """
    batches = len(values) // batch
    spread = float(np.var(values))
    if batch == 1 or batches < 4 or spread <= 0:
        return 1.0
    means = values[: batches * batch].reshape(batches, batch).mean(axis=1)
    return max(1.0, float(np.var(means, ddof=1)) * batch / spread * batches / (batches - 2))
