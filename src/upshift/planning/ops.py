"""How many hours of people does it take to run the workloads of a quarter, and which staffing costs least in all?"""

from collections.abc import Mapping, Sequence

import numpy as np

from upshift.model.ids import WorkloadId
from upshift.model.quarter import Quarter
from upshift.planning import lifetime
from upshift.planning.budgets import Addition, Level, Staffing
from upshift.planning.draws import Array, Dice, Scale
from upshift.planning.hours import Kin, kin, stated_hours, usual_hours
from upshift.planning.outline import Ops, Outline, Row, Spread

WEEKS = 13
"""Of a quarter."""
_LEVELS = 41


def additions(rows: Sequence[Row], staffing: Ops) -> Mapping[WorkloadId, Addition]:
    """For each workload, in the order of their quarters, what it adds to those that run by then.

    The first of all is a stable one. What a row says of its hours stands; what its kind suggests is told beside it.
    """
    found: dict[WorkloadId, Addition] = {}
    by_id = {row.id: row for row in rows}
    for workload, of in kin(rows).items():
        usual = usual_hours(of, staffing)
        found[workload] = Addition(
            workload=workload,
            unlike=of.unlike,
            nearest=of.nearest,
            hours=(stated_hours(by_id[workload]) or usual).mid,
            usual=usual.mid,
        )
    return found


def stable_hours(row: Row, addition: Addition, staffing: Ops) -> Spread:
    """Hours a week of one workload, its first quarter's extra apart."""
    return stated_hours(row) or usual_hours(Kin(addition.nearest, addition.unlike), staffing)


class Hours:
    """Draws of hours a week by quarter: (quarters, draws) of each of the three terms.

    A workload takes its stable hours from the quarter it ships in, and in that quarter those of a first quarter on
    top: five at 6 h, 12 h for the one that is new and 4 h for the platform are 46 h.
    """

    def __init__(self, outline: Outline, rows: Sequence[Row], quarters: Sequence[Quarter], dice: Dice) -> None:
        staffing, shape = outline.staffing, (len(quarters), dice.count)
        self.quarters, self.additions = tuple(quarters), additions(rows, staffing)
        self.stable, self.first = np.zeros(shape), np.zeros(shape)
        self.platform = dice.draw(staffing.platform, Scale.LOG, "ops", "platform") + np.zeros(shape)
        for row in rows:
            hours = stable_hours(row, self.additions[row.id], staffing)
            drawn = dice.draw(hours, Scale.LOG, row.id, "ops")
            for at, quarter in enumerate(quarters):
                if lifetime.runs_in_quarter(row, quarter):
                    self.stable[at] += drawn
                if lifetime.new_in(row, quarter):
                    self.first[at] += dice.draw(staffing.first_quarter, Scale.LOG, row.id, "first_quarter")

    @property
    def total(self) -> Array:
        """All three terms."""
        return self.stable + self.first + self.platform


class Medians(Dice):
    """Every figure at its median, as a plain number."""

    def __init__(self) -> None:
        super().__init__(seed=0, count=1)

    def normal(self, *name: str) -> Array:
        return np.zeros(1)

    def draw(self, spread: Spread, scale: Scale, *name: str) -> float:
        return spread.mid


def within_ceiling(hours: float, ceiling: float | None, fte_hours: float) -> tuple[float, float]:
    """Hours a week and full-time equivalents by which a ceiling is passed; zeros where it is not, or there is none."""
    missing = 0.0 if ceiling is None else max(0.0, hours - ceiling)
    return missing, missing / fte_hours


def staffing_of(quarter: Quarter, demand: Array, terms: Ops) -> Staffing | None:
    """What each level of staffing costs in a quarter when so many hours a week are needed (draws).

    Pay is for the hours staffed; hours that are missing cost what the plan says they cause in incidents and in
    engineering. The least total is where the chance of missing an hour is the hour's pay over that cost (the
    newsvendor's fractile), and is found so, not looked up on the curve. None where the plan says neither cost.
    """
    if terms.hour is None or terms.incident is None:
        return None
    chance = 1.0 - terms.hour / terms.incident if terms.incident > terms.hour else 0.0
    best = float(np.quantile(demand, chance)) if chance > 0 else 0.0
    low, high = min(best, float(np.quantile(demand, 0.01))) * 0.6, max(best, float(np.quantile(demand, 0.995)))
    grid = np.linspace(low, high * 1.05, _LEVELS)
    return Staffing(
        quarter=quarter,
        curve=tuple(_level(float(each), demand, terms.hour, terms.incident, terms.fte_hours) for each in grid),
        best=_level(best, demand, terms.hour, terms.incident, terms.fte_hours),
        median=_level(float(np.median(demand)), demand, terms.hour, terms.incident, terms.fte_hours),
    )


def _level(hours: float, demand: Array, hour: int, incident: int, fte_hours: float) -> Level:
    missing = float(np.maximum(demand - hours, 0.0).mean())
    return Level(
        hours=hours,
        fte=hours / fte_hours,
        pay=hours * hour * WEEKS,
        missing_hours=missing,
        consequences=missing * incident * WEEKS,
    )
