"""How wrong was the last forecast, workload by workload, and by how much should the next one's input be corrected?"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from scipy.special import stdtrit

from upshift.planning.methods import Floats

LARGEST_FACTOR = 3.0
"""No correction is larger than this, nor smaller than its inverse: beyond it the input was wrong, not its size."""
CREDIBLE = 0.8
"""Chance that the factor lies within its bounds."""

_LARGEST_RATIO = 20.0
_PRIOR_SIGMA = 0.45
"""Spread of log(came / P50) from month to month that is assumed before months were seen; as much as a workload's."""
_ENOUGH_WORKLOADS = 3
"""Below so many workloads, what others show is not what all show."""
_PRIOR_MONTHS = 2.0
"""The prior, and what the other workloads show, each weigh as much as so many months."""


class Foretold(msgspec.Struct, frozen=True):
    """What was forecast for one workload and month (label like 2026-10), in any one unit: tokens, money, hours."""

    workload: str
    month: str
    p10: float
    p50: float
    p80: float
    p95: float


class Beside(msgspec.Struct, frozen=True):
    """A forecast beside what came; either is None where it does not exist."""

    workload: str
    month: str
    foretold: Foretold | None
    came: float | None

    @property
    def off(self) -> float | None:
        """What came over P50, minus one: 0.3 is 30 % more than was forecast. None where it cannot be said."""
        if self.foretold is None or self.came is None or self.foretold.p50 <= 0:
            return None
        return self.came / self.foretold.p50 - 1


class Calibration(msgspec.Struct, frozen=True):
    """How the forecasts of one workload did over `months` months that have both sides.

    `error`: median of |came - P50| / P50. `bias`: median of came / P50, minus one; above 0 is under-sized. The three
    shares are of months: that stayed within P80 and P95, and that lay from P10 to P95 (should be 0.8, 0.95, 0.85).
    `factor`: what to multiply the next input by, with bounds `low` and `high`; 1 unless the bounds leave 1 out.
    All but `because` and `months` are None without a month to judge by.
    """

    workload: str
    months: int
    because: str
    error: float | None = None
    bias: float | None = None
    within_p80: float | None = None
    within_p95: float | None = None
    covered: float | None = None
    factor: float | None = None
    low: float | None = None
    high: float | None = None


def beside(foretold: Sequence[Foretold], came: Mapping[tuple[str, str], float]) -> tuple[Beside, ...]:
    """Every forecast and every actual (by workload and month), matched; nothing of either side is lost.

    Raises ValueError with all that is wrong: a forecast given twice, quantiles out of order, amounts below zero.
    """
    problems = []
    said: dict[tuple[str, str], Foretold] = {}
    for one in foretold:
        key = one.workload, one.month
        if key in said:
            problems.append(f"{one.workload} has two forecasts for {one.month}; give one")
        if not 0 <= one.p10 <= one.p50 <= one.p80 <= one.p95 < np.inf:
            problems.append(f"{one.workload} in {one.month}: P10 {one.p10:g}, P50 {one.p50:g}, P80 {one.p80:g}, "
                            f"P95 {one.p95:g} must rise from 0 or more")  # fmt: skip
        said[key] = one
    for (workload, month), amount in came.items():
        if not 0 <= amount < np.inf:
            problems.append(f"{workload} came to {amount:g} in {month}; give 0 or more")
    if problems:
        raise ValueError("; ".join(problems))
    keys = sorted({*said, *came})
    return tuple(Beside(*key, said.get(key), came.get(key)) for key in keys)


def calibrate(rows: Sequence[Beside]) -> tuple[Calibration, ...]:
    """One judgement per workload, in the order of first appearance.

    The factor is a robust mean of log(came / P50), drawn towards that of all workloads; its bounds are Student's with
    the spread that was seen and a prior for what was not. Few months correct little, and say so.
    """
    of: dict[str, list[Beside]] = {}
    for row in rows:
        of.setdefault(row.workload, []).append(row)
    logs = {name: _logs(each) for name, each in of.items()}
    seen = [float(np.median(each)) for each in logs.values() if each.size]
    pooled = float(np.median(seen)) if len(seen) >= _ENOUGH_WORKLOADS else 0.0
    return tuple(_judge(name, each, logs[name], pooled) for name, each in of.items())


def _logs(rows: Sequence[Beside]) -> Floats:
    # A month of nothing, or of a hundredfold, is bounded: one of them shall not decide a factor.
    off = np.array([1 + row.off for row in rows if row.off is not None])
    return np.asarray(np.log(np.clip(off, 1 / _LARGEST_RATIO, _LARGEST_RATIO)))


def _judge(workload: str, rows: Sequence[Beside], logs: Floats, pooled: float) -> Calibration:
    judged = [(row.foretold, row.came, row.off) for row in rows]
    pairs = [
        (said, came, off) for said, came, off in judged if said is not None and came is not None and off is not None
    ]
    months = len(pairs)
    if not pairs:
        return Calibration(workload, 0, _why_not(workload, rows))
    middle = float(np.median(logs))
    # 1.4826 makes the median absolute deviation a standard deviation where errors are normal.
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))
    variance = (months * spread**2 + _PRIOR_MONTHS * _PRIOR_SIGMA**2) / (months + _PRIOR_MONTHS)
    drawn = (months * middle + _PRIOR_MONTHS * pooled) / (months + _PRIOR_MONTHS)
    reach = float(stdtrit(months + _PRIOR_MONTHS - 1, (1 + CREDIBLE) / 2)) * float(
        np.sqrt(variance / (months + _PRIOR_MONTHS))
    )
    low, raw, high = (
        float(np.clip(np.exp(at), 1 / LARGEST_FACTOR, LARGEST_FACTOR)) for at in (drawn - reach, drawn, drawn + reach)
    )
    factor = raw if low > 1 or high < 1 else 1.0
    bias = float(np.median([off for _, _, off in pairs]))
    return Calibration(
        workload=workload,
        months=months,
        error=float(np.median([abs(off) for _, _, off in pairs])),
        bias=bias,
        within_p80=sum(came <= said.p80 for said, came, _ in pairs) / months,
        within_p95=sum(came <= said.p95 for said, came, _ in pairs) / months,
        covered=sum(said.p10 <= came <= said.p95 for said, came, _ in pairs) / months,
        factor=factor,
        low=low,
        high=high,
        because=_because(workload, months, bias, factor, (low, high)),
    )


def _why_not(workload: str, rows: Sequence[Beside]) -> str:
    if all(row.foretold is None for row in rows):
        return f"{workload} was never forecast: nothing to calibrate; forecast it."
    if all(row.came is None for row in rows):
        return f"{workload} has no actuals yet: insufficient data, keep the input."
    return f"{workload} has no month with both a forecast above zero and an actual: insufficient data, keep the input."


def _because(workload: str, months: int, bias: float, factor: float, bounds: tuple[float, float]) -> str:
    over = "more" if bias >= 0 else "less"
    seen = f"{workload} came to {abs(bias):.0%} {over} than P50 in the median of {months} month{'s' * (months != 1)}"
    between = f"{bounds[0]:.2f} to {bounds[1]:.2f}"
    if factor == 1.0:
        return f"{seen}; a factor of {between} fits that, and 1 is among them: keep the input."
    return f"{seen}; multiply the input by {factor:.2f} ({between}, {CREDIBLE:.0%} credible)."
