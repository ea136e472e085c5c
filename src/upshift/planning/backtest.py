"""How wrong would each forecaster have been, had it been asked at earlier days, and which one does that speak for?"""

import math
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from upshift.planning.methods import SINGLE, Floats, Method, Season, known_levels, mean, say, to_blocks, together

METHODS = (*SINGLE, Method.MEDIAN_OF_ALL)
Choice: TypeAlias = NDArray[np.intp]
"""(workloads): index into `METHODS`."""

_MOST_ORIGINS = 12
_ENOUGH_TESTS = 6.0
"""Tests that do not overlap, before one method may be preferred to the median of all."""
_POOLED_TESTS = 4.0
"""What all workloads together say counts as so many tests of each."""
_MARGIN = 0.1
"""A method's error has to be smaller than that of the median of all by this share, or it may be chance."""


class Fold(msgspec.Struct, frozen=True, eq=False):
    """What was said at one origin and what came: `said` (methods, workloads, blocks), `came` (workloads, blocks).

    `origin`: steps that were known. `usual` (workloads): the mean block so far.
    """

    origin: int
    said: Floats
    came: Floats
    usual: Floats


class Backtest(msgspec.Struct, frozen=True, eq=False):
    """`errors` (workloads, methods): mean bounded error, 0 perfect to 1 nothing right.

    `tests`: how many horizons that do not overlap the origins span. `chosen` (workloads): index into `METHODS`.
    """

    folds: tuple[Fold, ...]
    errors: Floats
    tests: float
    chosen: Choice


def bounded_error(said: Floats, came: Floats) -> Floats:
    """|said - came| / max of the two: 0 to 1, the same for twice as for half, and 0 where both are nothing.

    A percentage of what came has no upper bound and does not exist for a workload that stopped.
    """
    larger = np.maximum(said, came)
    return np.asarray(np.abs(said - came) / np.where(larger > 0, larger, 1.0))


def backtest(steps: Floats, horizon: int, season: Season) -> Backtest:
    """Rolling origins over (workloads, steps): fit on what was known then, compare with what came. `horizon` in blocks.

    Origins near the end see less of what came and weigh less.
    """
    folds = tuple(_fold(steps, origin, horizon, season) for origin in _origins(steps.shape[1] // season.block))
    if not folds:
        errors = np.full((len(steps), len(METHODS)), np.nan)
        return Backtest(folds, errors, 0.0, np.full(len(steps), METHODS.index(Method.MEDIAN_OF_ALL)))
    errors = mean(
        np.stack([_fold_error(fold) for fold in folds], axis=-1), np.array([fold.came.shape[1] for fold in folds])
    )
    whole = steps.shape[1] // season.block
    tests = (whole - _origins(whole)[0]) / folds[0].came.shape[1]
    return Backtest(folds, errors, tests, _choose(errors, tests))


def totals(fold: Fold, methods: Choice) -> tuple[Floats, Floats]:
    """(workloads) said and come, summed over the blocks that were observed; NaN for a workload none of them was.

    `methods` (workloads): index into `METHODS`.
    """
    seen = np.isfinite(fold.came)
    none = ~seen.any(axis=1)
    said = np.where(seen, fold.said[methods, np.arange(len(seen))], 0.0).sum(axis=1)
    return np.where(none, np.nan, said), np.where(none, np.nan, np.nansum(fold.came, axis=1))


def _origins(blocks: int) -> list[int]:
    first = max(1, math.ceil(blocks / 3))
    stride = max(1, math.ceil((blocks - first) / _MOST_ORIGINS))
    return list(range(first, blocks, stride))


def _fold(steps: Floats, origin: int, horizon: int, season: Season) -> Fold:
    whole = steps.shape[1] // season.block
    at = steps.shape[1] - (whole - origin) * season.block
    ahead = min(horizon, whole - origin)
    known = steps[:, :at]
    single = np.stack([say(method, known, ahead, season) for method in SINGLE])
    said = np.concatenate([single, together(single, known, season)[None]])
    came = to_blocks(steps[:, at : at + ahead * season.block], season.block)
    return Fold(at, said, came, known_levels(to_blocks(known, season.block)))


def _fold_error(fold: Fold) -> Floats:
    many = len(fold.came)
    return np.stack([bounded_error(*totals(fold, np.full(many, at))) for at in range(len(METHODS))], axis=-1)


def _choose(errors: Floats, tests: float) -> Choice:
    combined = METHODS.index(Method.MEDIAN_OF_ALL)
    if tests < _ENOUGH_TESTS:
        return np.full(len(errors), combined)
    pooled = known_levels(errors.T)
    score = (np.where(np.isfinite(errors), errors, pooled) * tests + pooled * _POOLED_TESTS) / (tests + _POOLED_TESTS)
    best = score.argmin(axis=1)
    gain = score[:, combined] - score[np.arange(len(score)), best]
    return np.where(gain > _MARGIN * score[:, combined], best, combined)
