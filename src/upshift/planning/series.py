"""What will come of a series that was observed, how far may it be off, and on what does that rest?"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from upshift.planning.backtest import METHODS, Backtest, backtest
from upshift.planning.methods import (
    DAILY,
    HOURLY,
    MONTHLY,
    WEEKLY,
    Floats,
    Method,
    Season,
    known_levels,
    to_blocks,
    to_steps,
)
from upshift.planning.methods import say as say_blocks
from upshift.planning.spread import (
    TOTAL_SIGMA,
    WORKLOAD_SIGMA,
    Distribution,
    spread_of_steps,
    spread_of_totals,
    step_scales,
)

__all__ = [
    "DAILY", "HOURLY", "MONTHLY", "WEEKLY", "Forecast", "Method", "Portfolio", "Season", "forecast", "forecast_many",
]  # fmt: skip

_FEW = 3
"""Observed blocks below which no more than the last period is believed."""


class Forecast(msgspec.Struct, frozen=True, eq=False):
    """One series ahead: `points` (horizon) in its unit, the method that said them, and how far off it may be.

    `errors`: mean bounded error of each method over the back-test, 0 perfect to 1 nothing right; empty if there was
    none. `tests`: back-tested horizons that do not overlap. `assumptions`: sentences for whoever signs.
    """

    name: str
    points: Floats
    method: Method
    errors: dict[Method, float]
    tests: float
    assumptions: tuple[str, ...]
    whole: Distribution
    """Of the sum over the horizon, in the unit of the series; one row."""
    each: Distribution
    """Of one step, as a ratio of `scale`; one row."""
    scale: Floats

    def quantiles(self, share: float) -> Floats:
        """(horizon): what each step stays below with a chance of `share`. They do not add up: see `total`."""
        return np.asarray(self.each.quantiles(share)[0] * self.scale)

    def total(self, share: float) -> float:
        """What the sum over the horizon stays below with a chance of `share`: 0.5, 0.8 and 0.95 are P50, P80, P95."""
        return float(self.whole.quantiles(share)[0])

    def interval(self, share: float) -> tuple[float, float]:
        """Bounds of the sum over the horizon that hold with a chance of `share`, as much below as above."""
        return self.total((1 - share) / 2), self.total((1 + share) / 2)


class Portfolio(msgspec.Struct, frozen=True, eq=False):
    """Forecasts of many workloads, and of their total as a series of its own.

    What moves many workloads at once is in the total's own history, so its interval holds shocks they share. Adding
    medians would miss bursts and launches; adding variances would take workloads for independent.
    """

    workloads: tuple[Forecast, ...]
    total: Forecast


def forecast(history: Sequence[float] | Floats, horizon: int, *, season: Season, name: str = "series") -> Forecast:
    """Forecast one equally spaced series, oldest first; NaN is not observed, zero is zero.

    The method is the median of six simple ones, unless the back-test speaks clearly for one of them. Raises
    ValueError with all that is wrong.
    """
    steps = _checked({name: history}, horizon)
    return _forecasts((name,), steps, horizon, season, WORKLOAD_SIGMA)[0]


def forecast_many(
    histories: Mapping[str, Sequence[float] | Floats], horizon: int, *, season: Season, total: str = "total"
) -> Portfolio:
    """Forecast workloads together, and their total. All histories end at the same step; a shorter one began later.

    Workloads with little history borrow the spread, and some of the choice of method, from those that behave like
    them. Raises ValueError with all that is wrong.
    """
    steps = _checked(histories, horizon)
    found = _forecasts(tuple(histories), steps, horizon, season, WORKLOAD_SIGMA)
    (whole,) = _forecasts((total,), _summed(steps), horizon, season, TOTAL_SIGMA)
    added = sum(float(each.points.sum()) for each in found)
    said = (
        f"Forecast as one series of {len(steps)} workloads, so that what moves many of them at once is in the interval;"
        f" the workloads' own forecasts add up to {added:,.0f}."
    )
    return Portfolio(found, msgspec.structs.replace(whole, assumptions=(said, *whole.assumptions)))


def _checked(histories: Mapping[str, Sequence[float] | Floats], horizon: int) -> Floats:
    """(workloads, steps), the shorter ones filled with NaN in front."""
    problems = []
    if horizon < 1:
        problems.append(f"the horizon is {horizon} steps; ask for 1 or more")
    if not histories:
        problems.append("there is no history; give at least one series")
    rows = {name: np.asarray(values, dtype=np.float64) for name, values in histories.items()}
    for name, row in rows.items():
        if row.ndim != 1 or not row.size:
            problems.append(f"{name}: has shape {row.shape}; give one row of at least one step")
            continue
        wrong = np.flatnonzero((row < 0) | np.isinf(row))
        if wrong.size:
            problems.append(
                f"{name}: step {wrong[0]} is {row[wrong[0]]:g} ({wrong.size} such); use 0 or more, NaN if not observed"
            )
    if problems:
        raise ValueError("; ".join(problems))
    longest = max(row.size for row in rows.values())
    return np.stack([np.concatenate([np.full(longest - row.size, np.nan), row]) for row in rows.values()])


def _forecasts(
    names: tuple[str, ...], steps: Floats, horizon: int, season: Season, sigma: float
) -> tuple[Forecast, ...]:
    short = season.block - steps.shape[1]
    if short > 0:
        steps = np.concatenate([np.full((len(steps), short), np.nan), steps], axis=1)
    ahead = -(-horizon // season.block)
    blocks = to_blocks(steps, season.block)
    test = _with_simplest(backtest(steps, ahead, season), blocks)
    path = np.stack([say_blocks(method, steps, ahead, season) for method in METHODS])[
        test.chosen, np.arange(len(steps))
    ]
    points = to_steps(path, steps, season)[:, :horizon]
    # A horizon that ends within a block is judged as the whole block is.
    part = points.sum(axis=1) / np.where(path.sum(axis=1) > 0, path.sum(axis=1), 1.0)
    part = np.where(path.sum(axis=1) > 0, part, horizon / (ahead * season.block))
    whole = spread_of_totals(steps, path, test, season, sigma)
    whole = Distribution(whole.values * part[:, None], whole.upto)
    each = spread_of_steps(steps, test, season, sigma)
    scale = step_scales(path, known_levels(blocks), steps, season)[:, :horizon]
    return tuple(
        Forecast(
            name=name,
            points=points[at],
            method=METHODS[test.chosen[at]],
            errors={
                method: float(error)
                for method, error in zip(METHODS, test.errors[at], strict=True)
                if np.isfinite(error)
            },
            tests=test.tests,
            assumptions=_assumptions(blocks[at], test, at, ahead, season),
            whole=whole.row(at),
            each=each.row(at),
            scale=scale[at],
        )
        for at, name in enumerate(names)
    )


def _with_simplest(test: Backtest, blocks: Floats) -> Backtest:
    few = np.isfinite(blocks).sum(axis=1) < _FEW
    return msgspec.structs.replace(test, chosen=np.where(few, METHODS.index(Method.LAST_PERIOD), test.chosen))


def _summed(steps: Floats) -> Floats:
    """(1, steps): a workload counts as nothing before it was first observed, and a gap in it as its neighbours."""
    filled = np.zeros_like(steps)
    at = np.arange(steps.shape[1])
    for row, values in zip(filled, steps, strict=True):
        seen = np.flatnonzero(np.isfinite(values))
        if seen.size:
            row[seen[0] :] = np.interp(at[seen[0] :], seen, values[seen])
    return np.asarray(np.where(np.isfinite(steps).any(axis=0), filled.sum(axis=0), np.nan))[None]


def _assumptions(blocks: Floats, test: Backtest, at: int, ahead: int, season: Season) -> tuple[str, ...]:
    seen = np.flatnonzero(np.isfinite(blocks))
    used = np.flatnonzero(np.nan_to_num(blocks) > 0)
    method, unit = METHODS[test.chosen[at]], season.name
    said = []
    if seen.size < _FEW:
        said.append(
            f"Only {seen.size} whole {unit}s were observed: the last period is repeated, and no method preferred."
        )
    elif method is Method.MEDIAN_OF_ALL:
        said.append(
            f"The median of {len(METHODS) - 1} methods: {test.tests:.1f} separate back-tests of {ahead} {unit}s do not"
            " speak clearly for one of them."
        )
    else:
        error, usual = test.errors[at, test.chosen[at]], test.errors[at, METHODS.index(Method.MEDIAN_OF_ALL)]
        said.append(
            f"{method.value.capitalize()}: off by {error:.0%} in {test.tests:.1f} separate back-tests, where the median"
            f" of all was off by {usual:.0%} (pooled over workloads where there are several)."
        )
    if gaps := blocks.size - seen.size:
        said.append(f"{gaps} of {blocks.size} {unit}s were not observed; nothing is assumed of them.")
    if not used.size:
        said.append("No use was ever observed: the forecast is zero, and a launch would not be foreseen.")
    elif (idle := blocks.size - 1 - used[-1]) >= 2:
        said.append(f"No use in the last {idle} {unit}s: it may have ended, or sleep.")
    elif seen.size and used[0] > seen[0] and used[0] > blocks.size // 2:
        said.append(f"New: first used {blocks.size - used[0]} {unit}s ago; growth beyond that is not assumed.")
    return tuple(said)
