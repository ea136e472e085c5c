"""What will a plan need, month by month and quarter by quarter, and how sure is that?"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
import numpy as np

from upshift.model.ids import WorkloadId
from upshift.model.quarter import Month
from upshift.planning import buffer, compute, lifetime, ops, tokens
from upshift.planning.assumptions import of_compute, of_ops, of_tokens
from upshift.planning.budgets import (
    Ceiling,
    ComputeForecast,
    Forecast,
    MonthPeak,
    MonthUse,
    OpsForecast,
    Quantiles,
    QuarterHours,
    TokensForecast,
    WorkloadUse,
    YearUse,
)
from upshift.planning.ceilings import propose
from upshift.planning.days import year_of
from upshift.planning.drawn import Drawn
from upshift.planning.draws import Array, Dice, Draws, Scale, rank
from upshift.planning.outline import BudgetLine, Outline, Row, Spread
from upshift.planning.tokens import Value
from upshift.planning.users import Path, Sums, users_by_month

DRAWS = 10_000
MONTHS = 12
MOST_MONTHS = 120
TOGETHER = 0.3
"""An assumption: estimates made by the same people for the same season err together to some part."""
_MANY = 100


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What is assumed beside the plan; each is told with the forecast."""

    first_quarter: Spread = tokens.FIRST_QUARTER
    """What a new workload uses in its first quarter, over its estimate; `tokens.NO_FIRST_QUARTER` for just that."""
    users_sigma: float = tokens.USERS_SIGMA
    """How unlike users of one workload are: the standard deviation of the logarithm of their use."""
    candidates: bool = False
    """Whether candidates count."""
    together: float = TOGETHER
    """The correlation of the same figure of two workloads, 0 to 1."""


class _Totals:
    """(months, draws) sums over workloads, the only thing that is large."""

    def __init__(self, months: int, draws: int) -> None:
        def sums() -> Sums:
            return Sums(months, draws)

        self.tokens, self.cost = sums(), sums()
        self.open, self.bursts = sums(), sums()
        self.requests, self.request_bursts = sums(), sums()
        self.average, self.separate = np.zeros(months), np.zeros(months)

    def include(self, other: "_Totals") -> None:
        """Adds all of another's sums."""
        for name in ("tokens", "cost", "open", "bursts", "requests", "request_bursts"):
            getattr(self, name).include(getattr(other, name))
        self.average += other.average
        self.separate += other.separate


class _Horizon(NamedTuple):
    """What all workloads are forecast over."""

    start: Month
    months: int
    dice: Dice
    terms: Terms
    calendar: tuple[Month, ...]
    hours: Array
    """(months) hours of each month."""

    def peaks(self, open_: Sums, bursts: Sums) -> Array:
        """(months, draws) joint peaks; both sums are per hour of the month, times its hours."""
        hours = self.hours[:, None]
        return compute.joint_peak(open_.totals / hours, bursts.totals / np.square(hours))


def forecast(
    outline: Outline,
    *,
    start: Month,
    months: int = MONTHS,
    draws: int = DRAWS,
    seed: int = 0,
    terms: Terms | None = None,
    taken: Sequence[Drawn] | None = None,
) -> Forecast:
    """Tokens, compute, ops and the buffer of the planned and committed workloads from `start` on.

    Every figure is drawn by name with the seed, so two plans differ by what differs between them alone. Totals are
    quantiles of summed draws, never sums of quantiles. `taken` is what was drawn on the buffer; None where that is not
    known. Memory does not grow with the number of workloads beyond what
    is told of each. Raises ValueError for a horizon or a number of draws that is none.
    """
    if not 1 <= months <= MOST_MONTHS:
        raise ValueError(f"a forecast is over 1 to {MOST_MONTHS} months, not {months}")
    terms = terms or Terms()
    calendar = tuple(start.plus(each) for each in range(months))
    hours_of_months = np.array([compute.hours_of(month) for month in calendar])
    horizon = _Horizon(start, months, Dice(seed, draws, terms.together), terms, calendar, hours_of_months)
    rows = lifetime.counted(outline, candidates=horizon.terms.candidates)
    drawn = _drawn(rows, horizon)
    totals = drawn.totals
    hours = ops.Hours(outline, rows, lifetime.quarters(start, months), horizon.dice)
    return Forecast(
        plan=str(outline.plan),
        name=outline.name,
        start=start,
        months=months,
        draws=draws,
        seed=seed,
        tokens=_tokens(outline, rows, horizon, totals, drawn.uses, drawn.ceilings),
        compute=_compute(outline, rows, horizon, totals, drawn.unsized),
        ops=_ops(outline, rows, hours),
        buffer=_reserves(outline, horizon, totals, hours, taken),
    )


class _Drawn:
    """What was drawn of some workloads: their sums, and what is told of each."""

    def __init__(self, horizon: _Horizon) -> None:
        self.totals = _Totals(horizon.months, horizon.dice.count)
        self.uses: list[WorkloadUse] = []
        self.ceilings: list[Ceiling] = []
        self.unsized: dict[WorkloadId, tuple[str, ...]] = {}

    def draw(self, rows: Sequence[Row], horizon: _Horizon) -> "_Drawn":
        """Adds workloads."""
        for row in rows:
            own = horizon._replace(dice=horizon.dice.for_workload())
            users = users_by_month(row, horizon.start, horizon.months, own.dice)
            use, proposed = _tokens_of(row, users, own, self.totals)
            self.uses.append(use)
            self.ceilings += proposed
            missing = _load_of(row, users, own, self.totals)
            if missing:
                self.unsized[row.id] = missing
        return self


def _drawn(rows: Sequence[Row], horizon: _Horizon) -> _Drawn:
    """In two halves on two threads where there are many; always the same halves, so that sums are the same ones."""
    if len(rows) < _MANY:
        return _Drawn(horizon).draw(rows, horizon)
    half = len(rows) // 2
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda part: _Drawn(horizon).draw(part, horizon), (rows[:half], rows[half:]))
    first.totals.include(second.totals)
    first.uses += second.uses
    first.ceilings += second.ceilings
    first.unsized |= second.unsized
    return first


def quantiles_of(draws: Array) -> Quantiles:
    """Of (draws), by rank, so that one draw is its own quantile."""
    (found,) = _by_rank(np.sort(draws)[None])
    return Quantiles(*found)


def _by_rank(ordered: Draws) -> list[list[float]]:
    """The three quantiles of each row of draws in ascending order."""
    picked: list[list[float]] = ordered[:, [rank(share, ordered.shape[1]) for share in (0.5, 0.8, 0.95)]].tolist()
    return picked


def _by_month(path: Path) -> dict[int, Quantiles]:
    """By index of the month; of those in which it runs."""
    # Some months at once: a long sort runs beside the other thread, many short ones wait for each other.
    found = _by_rank(np.sort(path.profiles, axis=1))
    return {
        path.first + at: Quantiles(*(each * scale for each in found[which]))
        for at, (which, scale) in enumerate(zip(path.which, path.scale, strict=True))
        if scale
    }


def _tokens_of(
    row: Row, users: Path | None, horizon: _Horizon, totals: _Totals
) -> tuple[WorkloadUse, tuple[Ceiling, ...]]:
    one = tokens.per_user(row, horizon.dice)
    use = WorkloadUse(workload=row.id, name=row.name, owner=row.owner, unknown=tokens.lacking(row))
    if users is None or one is None:
        return use, ()
    new = tuple(lifetime.new_in(row, month.quarter) for month in horizon.calendar)
    widen = horizon.dice.draw(horizon.terms.first_quarter, Scale.LOG, row.id, "under-sizing") if any(new) else 1.0
    users = users.widened(new, widen)
    by_month, spent = _used(users, one.tokens, totals.tokens)
    costs, cost = (None, None) if one.cost is None else _used(users, one.cost, totals.cost)
    told = tuple(
        MonthUse(
            month=horizon.calendar[at],
            tokens=used,
            cost=None if costs is None else costs[at],
            first_quarter=new[at],
        )
        for at, used in by_month.items()
    )
    use = WorkloadUse(
        workload=row.id,
        name=row.name,
        owner=row.owner,
        months=told,
        tokens=spent,
        cost=cost,
        per_user=quantiles_of(one.tokens + np.zeros(horizon.dice.count)),
        unknown=one.unpriced,
    )
    return use, propose(row, one, horizon.dice, horizon.terms.users_sigma)


def _used(users: Path, factor: Value, total: Sums) -> tuple[dict[int, Quantiles], Quantiles]:
    """Adds what users use by month; quantiles of each month, and of all together."""
    fitting = users.fitting(factor)
    total.add(users, fitting)
    found: dict[int, Quantiles] = {}
    for piece in users.pieces():
        found |= _by_month(piece.times(fitting))
    return found, quantiles_of(users.summed() * factor)


def _load_of(row: Row, users: Path | None, horizon: _Horizon, totals: _Totals) -> tuple[str, ...]:
    """Adds a workload's sessions and requests to the totals; what keeps them from being known."""
    load = compute.load_per_user(row, horizon.dice)
    if users is None or load is None:
        return compute.lacking(row)
    bursty = bool(np.any(np.asarray(load.excess) > 0))
    for each, sums, bursts in (
        (load.open, totals.open, totals.bursts),
        (load.requests, totals.requests, totals.request_bursts),
    ):
        if each is None:
            continue
        sums.add(users, users.fitting(each))
        if bursty:
            bursts.add(users, users.fitting(each * load.excess), squared=True)
    _beside(row, horizon, totals)
    return ()


def _beside(row: Row, horizon: _Horizon, totals: _Totals) -> None:
    """Adds what stands beside the joint peak, all figures at their medians: its average, and its own peak."""
    middle = ops.Medians()
    users = users_by_month(row, horizon.start, horizon.months, middle)
    load = compute.load_per_user(row, middle)
    if users is None or load is None:
        return
    each = users.profiles[list(users.which), 0] * np.asarray(users.scale) / horizon.hours
    open_ = each * load.open
    totals.average += open_ / load.busy
    totals.separate += compute.joint_peak(open_, np.square(open_ * load.excess))


def _tokens(
    outline: Outline,
    rows: Sequence[Row],
    horizon: _Horizon,
    totals: _Totals,
    uses: Sequence[WorkloadUse],
    ceilings: Sequence[Ceiling],
) -> TokensForecast:
    unknown = tuple(use.workload for use in uses if use.unknown)
    return TokensForecast(
        budget=outline.tokens,
        months=tuple(
            MonthUse(
                month=month, tokens=quantiles_of(totals.tokens.totals[at]), cost=quantiles_of(totals.cost.totals[at])
            )
            for at, month in enumerate(horizon.calendar)
        ),
        years=_years(outline, horizon, totals, known=not unknown),
        tokens=quantiles_of(totals.tokens.totals.sum(axis=0)),
        cost=quantiles_of(totals.cost.totals.sum(axis=0)),
        workloads=tuple(uses),
        ceilings=tuple(ceilings),
        at_least=bool(unknown),
        unknown=unknown,
        assumptions=of_tokens(
            rows, uses, horizon.terms.first_quarter, horizon.terms.users_sigma, horizon.terms.together
        ),
    )


def _years(outline: Outline, horizon: _Horizon, totals: _Totals, *, known: bool) -> tuple[YearUse, ...]:
    years: list[YearUse] = []
    years_of = [year_of(outline.calendar, month) for month in horizon.calendar]
    for year in sorted(set(years_of)):
        part = [at for at, each in enumerate(years_of) if each == year]
        cost = totals.cost.totals[part].sum(axis=0)
        # A part of a year says nothing of the whole year's limit, nor does a cost that is not all known.
        sure = outline.year is not None and len(part) == 12 and known
        within = float((cost <= outline.year).mean()) if sure else None
        years.append(YearUse(year=year, months=len(part), cost=quantiles_of(cost), limit=outline.year, within=within))
    return tuple(years)


def _compute(
    outline: Outline,
    rows: Sequence[Row],
    horizon: _Horizon,
    totals: _Totals,
    unsized: dict[WorkloadId, tuple[str, ...]],
) -> ComputeForecast:
    machines = outline.machines
    peaks = horizon.peaks(totals.open, totals.bursts)
    requests = horizon.peaks(totals.requests, totals.request_bursts)
    months: list[MonthPeak] = []
    for at, month in enumerate(horizon.calendar):
        peak = quantiles_of(peaks[at])
        sized = peak.p80 * (1.0 + machines.headroom)
        count = compute.units(sized, machines.sessions_per_unit)
        months.append(
            MonthPeak(
                month=month,
                average=float(totals.average[at]),
                peak=peak,
                separate=float(totals.separate[at]),
                sized=sized,
                requests=quantiles_of(requests[at]) if totals.requests.totals[at].any() else None,
                units=count,
                cost=None if count is None or machines.unit is None else count * machines.unit,
            )
        )
    return ComputeForecast(
        budget=outline.compute,
        headroom=machines.headroom,
        months=tuple(months),
        at_least=bool(unsized),
        unknown=tuple(unsized),
        assumptions=of_compute(machines, rows, unsized),
    )


def _ops(outline: Outline, rows: Sequence[Row], hours: ops.Hours) -> OpsForecast:
    staffing, total = outline.staffing, hours.total
    quarters: list[QuarterHours] = []
    for at, quarter in enumerate(hours.quarters):
        demand = quantiles_of(total[at])
        ceiling = staffing.ceilings.get(quarter)
        missing, fte = ops.within_ceiling(demand.p50, ceiling, staffing.fte_hours)
        quarters.append(
            QuarterHours(
                quarter=quarter,
                stable=float(np.median(hours.stable[at])),
                first_quarter=float(np.median(hours.first[at])),
                platform=float(np.median(hours.platform[at])),
                hours=demand,
                fte=demand.p50 / staffing.fte_hours,
                additions=tuple(hours.additions[row.id] for row in rows if lifetime.new_in(row, quarter)),
                ceiling=ceiling,
                shortfall=missing,
                shortfall_fte=fte,
            )
        )
    curves = [ops.staffing_of(quarter, total[at], staffing) for at, quarter in enumerate(hours.quarters)]
    return OpsForecast(
        budget=outline.ops,
        fte_hours=staffing.fte_hours,
        quarters=tuple(quarters),
        staffing=tuple(each for each in curves if each is not None),
        assumptions=of_ops(staffing, rows, hours.additions),
    )


def _reserves(
    outline: Outline, horizon: _Horizon, totals: _Totals, hours: ops.Hours, taken: Sequence[Drawn] | None
) -> tuple[buffer.Reserve, ...]:
    """Behind each budget, by quarter; quarters that are forecast in part count with that part."""
    peaks = horizon.peaks(totals.open, totals.bursts)
    ops_hours, found = hours.total, []
    for at, quarter in enumerate(hours.quarters):
        part = [index for index, month in enumerate(horizon.calendar) if month.quarter == quarter]
        demands = {
            BudgetLine.TOKENS: totals.cost.totals[part].sum(axis=0),
            BudgetLine.COMPUTE: peaks[part].max(axis=0),
            BudgetLine.OPS: ops_hours[at],
        }
        found += [buffer.reserve(line, quarter, demand, outline.buffer, taken) for line, demand in demands.items()]
    return tuple(found)
