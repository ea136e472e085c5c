"""What does a forecast say of tokens, machines, people and the buffer: three budgets, never one line?"""

import msgspec

from upshift.model.ids import TierId, WorkloadId
from upshift.model.money import Nano
from upshift.model.quarter import Month, Quarter
from upshift.planning.buffer import Reserve
from upshift.planning.outline import Budget


class Quantiles(msgspec.Struct, frozen=True):
    """What comes will be at most this with a chance of 50, 80 and 95 per cent."""

    p50: float
    p80: float
    p95: float


class MonthUse(msgspec.Struct, frozen=True, kw_only=True):
    """A month of one workload, or of all. `cost` is in nano-dollars; None where no price is known."""

    month: Month
    tokens: Quantiles
    cost: Quantiles | None
    first_quarter: bool = False


class WorkloadUse(msgspec.Struct, frozen=True, kw_only=True):
    """A workload over the whole forecast. `unknown` says what keeps its tokens or their price from being known."""

    workload: WorkloadId
    name: str
    owner: str
    months: tuple[MonthUse, ...] = ()
    tokens: Quantiles | None = None
    cost: Quantiles | None = None
    per_user: Quantiles | None = None
    """Tokens of an average user of weight 1 in a month."""
    unknown: tuple[str, ...] = ()


class YearUse(msgspec.Struct, frozen=True, kw_only=True):
    """What the months of a financial year that are forecast cost, in nano-dollars, and the plan's limit of that year.

    `within` is the chance that they stay within the limit; None without one, of a part of a year, or where a cost is
    unknown.
    """

    year: int
    months: int
    cost: Quantiles
    limit: Nano | None
    within: float | None


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """What one user of a tier may use in a month, as the plan says and as the forecast proposes.

    `reached` is the share of users who would reach the plan's ceiling of tokens. None: not said, or not known.
    """

    workload: WorkloadId
    tier: TierId | None
    tokens: int | None
    proposed_tokens: int
    money: Nano | None
    proposed_money: Nano | None
    reached: float | None


class TokensForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and what they cost. With `at_least`, the totals leave out what `unknown` names."""

    budget: Budget
    months: tuple[MonthUse, ...]
    years: tuple[YearUse, ...]
    tokens: Quantiles
    cost: Quantiles
    workloads: tuple[WorkloadUse, ...]
    ceilings: tuple[Ceiling, ...]
    at_least: bool
    unknown: tuple[WorkloadId, ...]
    assumptions: tuple[str, ...]


class MonthPeak(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions open at once in a month, all workloads together.

    `average` is Little's law over the whole month, `separate` the sum of each workload's own peak (both at medians):
    they stand beside `peak`, which counts all jointly. `sized` is the P80 of the peak with headroom; `requests` are
    per minute.
    """

    month: Month
    average: float
    peak: Quantiles
    separate: float
    sized: float
    requests: Quantiles | None
    units: int | None
    cost: Nano | None


class ComputeForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Machines. With `at_least`, the workloads that `unknown` names are left out."""

    budget: Budget
    headroom: float
    months: tuple[MonthPeak, ...]
    at_least: bool
    unknown: tuple[WorkloadId, ...]
    assumptions: tuple[str, ...]


class Addition(msgspec.Struct, frozen=True, kw_only=True):
    """A workload that joins in a quarter: how unlike it is (0 to 1) to `nearest`, the likest of those that run already.

    `hours` is the median of what it adds a week once stable, `usual` what its unlikeness suggests where the row says
    another figure.
    """

    workload: WorkloadId
    unlike: float
    nearest: WorkloadId | None
    hours: float
    usual: float


class QuarterHours(msgspec.Struct, frozen=True, kw_only=True):
    """Hours of ops a week in a quarter: medians of its three terms, and the whole. Shortfalls are of the P50."""

    quarter: Quarter
    stable: float
    first_quarter: float
    platform: float
    hours: Quantiles
    fte: float
    additions: tuple[Addition, ...]
    ceiling: float | None
    shortfall: float
    shortfall_fte: float


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """What a quarter costs in nano-dollars at a level of staffing: pay, and what missing hours cause."""

    hours: float
    fte: float
    pay: float
    missing_hours: float
    consequences: float

    @property
    def total(self) -> float:
        return self.pay + self.consequences


class Staffing(msgspec.Struct, frozen=True, kw_only=True):
    """The blended cost of ops of a quarter over levels of staffing, and the cheapest of them."""

    quarter: Quarter
    curve: tuple[Level, ...]
    best: Level
    median: Level
    """Staffed for the median of demand, as is usual."""


class OpsForecast(msgspec.Struct, frozen=True, kw_only=True):
    """People."""

    budget: Budget
    fte_hours: float
    quarters: tuple[QuarterHours, ...]
    staffing: tuple[Staffing, ...]
    assumptions: tuple[str, ...]


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan will need from `start` on, from so many draws with a seed: the same for the same arguments."""

    plan: str
    name: str
    start: Month
    months: int
    draws: int
    seed: int
    tokens: TokensForecast
    compute: ComputeForecast
    ops: OpsForecast
    buffer: tuple[Reserve, ...]
