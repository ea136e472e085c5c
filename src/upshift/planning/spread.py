"""How far may what comes be from what was said, judged by earlier forecasts of a workload and of ones like it?"""

import msgspec
import numpy as np
from scipy.special import ndtri

from upshift.planning.backtest import Backtest, totals
from upshift.planning.methods import Floats, Season, known_levels, to_blocks, to_steps

WORKLOAD_SIGMA = 0.65
"""Standard deviation of a workload's logarithm that is assumed before anything was tested: 80 % within a factor of
2.3. Spend in the quarter after a launch is known to be under-sized by 30 to 60 %, a factor of 1.4 to 2.5."""
TOTAL_SIGMA = 0.35
"""The same of a total over workloads: 80 % within a factor of 1.57."""

_PRIOR_AT = ndtri((np.arange(9) + 0.5) / 9)
_PRIOR_TESTS = 1.0
"""The prior weighs as much as so many tests that do not overlap. Peers add none: one shock moves all of them."""
_PRIOR_STEPS = 2.0
"""Of single steps it weighs as much as so many: intervals of 80 % then hold 74 to 82 % of independent ones, calm or
wild."""
_OWN_WEIGHT = 3.0
"""A workload's own test weighs as much as so many of its peers'."""
_LARGEST_RATIO = 1000.0
_PEERS = 60
"""Tests of other workloads that count for one, the most alike of all."""
_MOST_POOL = 6000
_PIECE = 500
_MOST_STEPS = 512


class Distribution(msgspec.Struct, frozen=True, eq=False):
    """Empirical distribution per workload: `values` (workloads, k) ascending, `upto` (workloads, k) the share of weight
    up to the middle of each."""

    values: Floats
    upto: Floats

    def quantiles(self, share: float) -> Floats:
        """(workloads). Linear between what was seen; beyond the outermost, the outermost."""
        if not 0 < share < 1:
            raise ValueError(f"a quantile lies between 0 and 1, not at {share}; write 0.8 for P80")
        above = np.minimum((self.upto < share).sum(axis=1), self.values.shape[1] - 1)
        below = np.maximum(above - 1, 0)
        rows = np.arange(len(self.values))
        low, high = self.upto[rows, below], self.upto[rows, above]
        part = np.clip((share - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
        low_value = self.values[rows, below]
        return np.asarray(low_value + (self.values[rows, above] - low_value) * part)

    def row(self, at: int) -> "Distribution":
        return Distribution(self.values[at : at + 1], self.upto[at : at + 1])


def weighted(values: Floats, weights: Floats) -> Distribution:
    """The distribution of (workloads, k) values with their weights; a NaN or a weight of 0 is left out."""
    weights = np.where(np.isfinite(values), weights, 0.0)
    values = np.where(weights > 0, values, np.inf)
    order = np.argsort(values, axis=1, kind="stable")
    values, weights = np.take_along_axis(values, order, 1), np.take_along_axis(weights, order, 1)
    # What was left out sorts last; it repeats the largest that counts.
    largest = np.where(np.isfinite(values), values, -np.inf).max(axis=1, keepdims=True)
    values = np.minimum(values, largest)
    summed = np.cumsum(weights, axis=1)
    return Distribution(values, (summed - weights / 2) / summed[:, -1:])


def scales(said: Floats, usual: Floats) -> Floats:
    """What ratios are of: half the forecast and half of what was usual, so that a forecast of nothing has a scale."""
    return np.asarray((said + usual) / 2)


def likeness(steps: Floats, season: Season) -> Floats:
    """(workloads, 3), each 0 to 1: how often it is active, how much it jumps from block to block, whether it fades."""
    blocks = np.nan_to_num(to_blocks(steps, season.block))
    seen = np.maximum(np.isfinite(steps).sum(axis=1), 1)
    active = (np.nan_to_num(steps) > 0).sum(axis=1) / seen
    both = blocks[:, 1:] + blocks[:, :-1]
    jumps = np.abs(np.diff(blocks, axis=1)).sum(axis=1) / np.maximum(both.sum(axis=1), 1e-300)
    last, usual = blocks[:, -1], blocks.mean(axis=1)
    return np.stack([active, jumps, last / np.maximum(last + usual, 1e-300)], axis=1)


def spread_of_totals(steps: Floats, said: Floats, test: Backtest, season: Season, sigma: float) -> Distribution:
    """What may come over the whole horizon, in the unit of the series: own tests, those of near peers, the prior.

    `said` (workloads, blocks) is the forecast. A test is what came as a ratio of its scale; the prior is lognormal
    around the forecast.
    """
    horizon = said.shape[1]
    scale = scales(said.sum(axis=1), known_levels(to_blocks(steps, season.block)) * horizon)
    ratios, weights = [np.full((len(steps), 1), np.nan)], [np.zeros((len(steps), 1))]
    if test.folds:
        own, weight, kind = _tested(steps, test, horizon, season)
        ratios.append(own)
        weights.append(weight * _OWN_WEIGHT)
        if len(steps) > 1:
            near, close = _peers(own, weight, kind, likeness(steps, season))
            ratios.append(near)
            weights.append(close)
    values, counts = np.concatenate(ratios, axis=1) * scale[:, None], np.concatenate(weights, axis=1)
    tested = np.where(np.isfinite(values), counts, 0.0).sum(axis=1, keepdims=True)
    prior = said.sum(axis=1)[:, None] * np.exp(sigma * _PRIOR_AT)
    share = np.where(tested > 0, tested * _PRIOR_TESTS / max(test.tests, _PRIOR_TESTS), 1.0) / len(_PRIOR_AT)
    found = weighted(
        np.concatenate([values, prior], axis=1), np.concatenate([counts, share * np.ones_like(prior)], axis=1)
    )
    return _centred(found, said.sum(axis=1))


def _centred(found: Distribution, points: Floats) -> Distribution:
    """The same spread about the forecast. That earlier forecasts were all too low is not believed to go on."""
    middle = found.quantiles(0.5)
    factor = np.where((middle > 0) & (points > 0), points / np.where(middle > 0, middle, 1.0), 1.0)
    return Distribution(found.values * factor[:, None], found.upto)


def _tested(steps: Floats, test: Backtest, horizon: int, season: Season) -> tuple[Floats, Floats, Floats]:
    """(workloads, folds) ratios and weights, and (workloads, folds, 3) what kind each workload was at the time."""
    ratios, weights, kinds = [], [], []
    for fold in test.folds:
        said, came = totals(fold, test.chosen)
        seen = np.isfinite(fold.came).sum(axis=1)
        scale = scales(said, fold.usual * seen)
        ratios.append(_ratio(came, scale))
        weights.append(seen / horizon)
        kinds.append(likeness(steps[:, : fold.origin], season))
    return np.stack(ratios, axis=1), np.stack(weights, axis=1), np.stack(kinds, axis=1)


def spread_of_steps(steps: Floats, test: Backtest, season: Season, sigma: float) -> Distribution:
    """What one step may be, as a ratio of its scale: each workload's own tests, step by step, and the prior.

    The scale of a step is half of its forecast and half of the usual step, under the shape of the block. Tests from
    several origins foretell the same step: together they are one, for it came once. One more step than was tested may
    be beyond all that were (split conformal prediction, Vovk et al. 2005), so quantiles lie further out by one in so
    many.
    """
    prior = np.broadcast_to(np.exp(sigma * _PRIOR_AT), (len(steps), len(_PRIOR_AT)))
    if not test.folds:
        return weighted(prior, np.ones_like(prior))
    rows, ratios, of_steps = np.arange(len(steps)), [], []
    for fold in test.folds:
        path = fold.said[test.chosen, rows]
        scale = step_scales(path, fold.usual, steps[:, : fold.origin], season)
        came = steps[:, fold.origin : fold.origin + scale.shape[1]]
        ratios.append(_ratio(came, scale))
        of_steps.append(fold.origin + np.arange(came.shape[1]))
    pool, at = np.concatenate(ratios, axis=1), np.concatenate(of_steps)
    every = -(-pool.shape[1] // _MOST_STEPS)
    pool, at = pool[:, ::every], at[::every]
    many = len(np.unique(at))
    weights = np.concatenate([np.full(len(_PRIOR_AT), _PRIOR_STEPS / len(_PRIOR_AT)), 1.0 / np.bincount(at)[at]])
    values = np.concatenate([prior, pool], axis=1)
    found = weighted(values, np.broadcast_to(weights, values.shape))
    return Distribution(found.values, 0.5 + (found.upto - 0.5) * many / (many + 1))


def step_scales(path: Floats, usual: Floats, known: Floats, season: Season) -> Floats:
    """(workloads, steps): the scale of each step of a (workloads, blocks) path."""
    return to_steps(scales(path, usual[:, None]), known, season)


def _ratio(came: Floats, scale: Floats) -> Floats:
    # What a workload did after next to nothing is bounded: as a ratio of next to nothing it has no size.
    bounded = np.maximum(scale, came / _LARGEST_RATIO)
    return np.asarray(np.where(scale > 0, came / np.where(scale > 0, bounded, 1.0), np.nan))


def _peers(ratios: Floats, weights: Floats, kinds: Floats, now: Floats) -> tuple[Floats, Floats]:
    usable = np.isfinite(ratios) & (weights > 0)
    pool, weight, kind = ratios[usable], weights[usable], kinds[usable]
    if not len(pool):
        return np.full((len(now), 1), np.nan), np.zeros((len(now), 1))
    stride = -(-len(pool) // _MOST_POOL)
    pool, weight, kind = pool[::stride], weight[::stride], kind[::stride]
    many = min(_PEERS, len(pool))
    # The workload's own |now|^2 is the same for all of its peers. In pieces, so that memory does not grow with both.
    near = [
        np.argpartition((kind**2).sum(axis=1) - 2 * some @ kind.T, many - 1, axis=1)[:, :many]
        for some in np.array_split(now, -(-len(now) // _PIECE))
    ]
    at = np.concatenate(near)
    return pool[at], weight[at]
