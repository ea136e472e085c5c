"""What does each simple forecaster say of many series at once?

Series are rows of (workloads, blocks), in time order; NaN is a block nobody observed, zero a block without use. A
block is the unit in which levels are judged (a day of an hourly series); its inner shape is `shape`'s business.
"""

from enum import StrEnum
from typing import TypeAlias, assert_never

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
"""Rows of workloads, or one of them; NaN is not observed."""

_HALF_LIFE = 1.5
"""Blocks after which an observation counts half in the level of Theta."""
_DRIFT = 0.5
"""No drift moves a level by more than this share over the whole horizon, up or down."""
_LAST_PERIOD_MOVES = 1.5
_TREND_BLOCKS = 24
_PRIOR_CYCLES = 2.0
"""A profile is drawn to flat as if so many flat cycles had been seen besides."""


class Method(StrEnum):
    """The forecasters, from the simplest.

    `LAST_PERIOD` is the mean of as many blocks as are to come; `LATEST` repeats the last day, week or month;
    `MEDIAN_DAY` and `LAST_LEVEL` are the median block of all and of late; `MEDIAN_OF_ALL` is that of what the others
    say, which is right as long as half of them are not wrong on one side.
    """

    LAST_PERIOD = "last period"
    LATEST = "latest"
    MEDIAN_DAY = "median day"
    LAST_LEVEL = "last level"
    THETA = "theta"
    SEASONAL = "seasonal"
    MEDIAN_OF_ALL = "median of all"


SINGLE = (
    Method.LAST_PERIOD,
    Method.LATEST,
    Method.MEDIAN_DAY,
    Method.LAST_LEVEL,
    Method.THETA,
    Method.SEASONAL,
)


class Season(msgspec.Struct, frozen=True):
    """How steps make blocks and blocks make cycles, and how far back "last" reaches.

    `block`: steps in a block. `cycle`: blocks in the cycle that may repeat (a week of days). `latest`: blocks that
    are repeated as the latest. `window`: blocks whose median is the last level. `recent`: steps from which the level
    under a seasonal profile is read. `name` is what a block is called in sentences.
    """

    name: str
    block: int
    cycle: int
    latest: int
    window: int
    recent: int


HOURLY = Season("day", block=24, cycle=7, latest=1, window=3, recent=12)
DAILY = Season("day", block=1, cycle=7, latest=7, window=7, recent=7)
WEEKLY = Season("week", block=1, cycle=52, latest=4, window=4, recent=4)
MONTHLY = Season("month", block=1, cycle=12, latest=1, window=3, recent=3)


def to_blocks(steps: Floats, size: int) -> Floats:
    """(workloads, blocks) sums; blocks end where the history ends, a part block at its start is dropped.

    A block with half of its steps observed or more counts as if the others were like them; any other is NaN.
    """
    if size == 1:
        return steps
    many = steps.shape[1] // size
    cut = steps[:, steps.shape[1] - many * size :].reshape(len(steps), many, size)
    seen = np.isfinite(cut).sum(axis=2)
    total = np.nansum(cut, axis=2)
    return np.where(2 * seen >= size, total * size / np.maximum(seen, 1), np.nan)


def median(values: Floats, axis: int = -1) -> Floats:
    """Median of what was observed; NaN without a warning where nothing was."""
    if values.shape[axis] == 0:
        return np.full(np.delete(values.shape, axis), np.nan)
    ordered = np.sort(values, axis=axis)  # NaN sorts last
    many = np.isfinite(values).sum(axis=axis, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum((many - 1) // 2, 0), axis=axis)
    high = np.take_along_axis(ordered, np.maximum(many // 2 - (many == 0), 0), axis=axis)
    return np.asarray(np.squeeze((low + high) / 2, axis=axis))


def mean(values: Floats, weights: Floats | None = None) -> Floats:
    """Mean over the last axis of what was observed, weighted if asked; NaN where nothing was."""
    seen = np.isfinite(values)
    each = seen * (1.0 if weights is None else weights)
    whole = each.sum(axis=-1)
    total = (np.where(seen, values, 0.0) * each).sum(axis=-1)
    return np.asarray(np.where(whole > 0, total / np.where(whole > 0, whole, 1.0), np.nan))


def known_levels(blocks: Floats) -> Floats:
    """The mean of each row, zero where nothing was ever observed: what to say when a method has nothing to go by."""
    return np.nan_to_num(mean(blocks))


def say(method: Method, steps: Floats, horizon: int, season: Season) -> Floats:
    """(workloads, horizon in blocks): what one method forecasts for each coming block; never negative, never NaN."""
    if method is Method.MEDIAN_OF_ALL:
        return together(np.stack([say(one, steps, horizon, season) for one in SINGLE]), steps, season)
    blocks = to_blocks(steps, season.block)
    ahead = np.ones(horizon)
    match method:
        case Method.LAST_PERIOD:
            found = mean(blocks[:, -horizon:])[:, None] * ahead
        case Method.LATEST:
            found = mean(blocks[:, -season.latest :])[:, None] * ahead
        case Method.MEDIAN_DAY:
            found = median(blocks)[:, None] * ahead
        case Method.LAST_LEVEL:
            found = median(blocks[:, -season.window :])[:, None] * ahead
        case Method.THETA:
            found = _theta(blocks, horizon)
        case Method.SEASONAL:
            found = _seasonal(steps, blocks, horizon, season)
        case _:
            assert_never(method)
    return np.asarray(np.maximum(np.where(np.isfinite(found), found, known_levels(blocks)[:, None]), 0.0))


def together(said: Floats, steps: Floats, season: Season) -> Floats:
    """(workloads, blocks): the median of (methods, workloads, blocks) that the single methods said.

    Half of the six follow a burst, the last period for longest, so it moves what the others say by half at most. One
    that was not observed whole has no say: it would be the plain average of a level that moved.
    """
    others = np.median(said[1:], axis=0)
    if steps.shape[1] // season.block < said.shape[2]:
        return np.asarray(others)
    return np.asarray(np.clip(np.median(said, axis=0), others / _LAST_PERIOD_MOVES, others * _LAST_PERIOD_MOVES))


def _theta(blocks: Floats, horizon: int) -> Floats:
    """Simple exponential smoothing with half the slope of the trend line, as Theta is (Hyndman and Billah, 2003).

    The slope is Theil's median of pairwise slopes, which one outage or one burst does not move, and it is bounded.
    """
    many = blocks.shape[1]
    level = mean(blocks, 0.5 ** (np.arange(many)[::-1] / _HALF_LIFE))
    recent = blocks[:, -_TREND_BLOCKS:]
    first, last = np.triu_indices(recent.shape[1], k=1)
    if len(first) < 3:
        return np.asarray(level[:, None] * np.ones(horizon))
    slope = np.nan_to_num(median((recent[:, last] - recent[:, first]) / (last - first)))
    drift = slope[:, None] / 2 * np.arange(1, horizon + 1)
    return np.asarray(level[:, None] + np.clip(drift, -_DRIFT * level[:, None], _DRIFT * level[:, None]))


def _seasonal(steps: Floats, blocks: Floats, horizon: int, season: Season) -> Floats:
    """The level that the last steps show once the profile is taken out of them, times the profile of what comes."""
    around = profile(blocks, season.cycle)
    inside = profile(steps, season.block)
    many = min(season.recent, steps.shape[1])
    back = np.arange(-many, 0)
    # Steps are counted from the end of the history, where a block and a cycle both begin anew.
    weights = inside[:, back % season.block] * around[:, back // season.block % season.cycle]
    recent = steps[:, -many:]
    if season.block == 1:
        level = median(recent / weights)
    else:
        # Hours of a workload that sleeps are mostly zero: their median says nothing, their sum does.
        seen = np.isfinite(recent)
        level = np.where(seen, recent, 0.0).sum(axis=1) / np.maximum((weights * seen).sum(axis=1), 1e-9)
        level = np.where(seen.any(axis=1), level, np.nan) * season.block
    return np.asarray(level[:, None] * around[:, np.arange(horizon) % season.cycle])


def to_steps(path: Floats, known: Floats, season: Season) -> Floats:
    """(workloads, steps) of a (workloads, blocks) path, in the shape blocks have in the (workloads, steps) known."""
    if season.block == 1:
        return path
    shape = profile(known, season.block) / season.block
    return np.asarray((path[:, :, None] * shape[:, None, :]).reshape(len(path), -1))


def profile(values: Floats, size: int) -> Floats:
    """(workloads, size): each phase's usual share of its cycle's mean, mean 1; flat below two whole cycles."""
    many = values.shape[1] // size
    if size == 1 or many < 2:
        return np.ones((len(values), size))
    cut = values[:, values.shape[1] - many * size :].reshape(len(values), many, size)
    around = mean(cut)[:, :, None]
    shares = median(np.where(around > 0, cut / np.where(around > 0, around, 1.0), np.nan), axis=1)
    cycles = (np.isfinite(cut).any(axis=2) & (around[:, :, 0] > 0)).sum(axis=1)[:, None]
    drawn = (np.where(np.isfinite(shares), shares, 1.0) * cycles + _PRIOR_CYCLES) / (cycles + _PRIOR_CYCLES)
    return np.asarray(drawn / drawn.mean(axis=1, keepdims=True))
