"""What do workloads cost over some months together, and nothing else of them?"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from upshift.model.ids import WorkloadId
from upshift.model.quarter import Month
from upshift.planning import lifetime, tokens
from upshift.planning.draws import Array, Dice, Scale, at_rank
from upshift.planning.forecast import Terms
from upshift.planning.outline import Row
from upshift.planning.users import users_by_month


class Spend(NamedTuple):
    """What a workload costs over all months in nano-dollars, by draw; `cost` is None where a price is not known."""

    cost: Array | None

    @property
    def median(self) -> float | None:
        """Its P50, by rank."""
        return None if self.cost is None else median(self.cost)


def spends(rows: Iterable[Row], *, start: Month, months: int, draws: int, seed: int = 0) -> Mapping[WorkloadId, Spend]:
    """Of every workload whose tokens can be forecast: the costs of `forecast`, at a tenth of its work."""
    terms = Terms()
    dice = Dice(seed, draws, terms.together)
    calendar = tuple(start.plus(each) for each in range(months))
    found: dict[WorkloadId, Spend] = {}
    for row in rows:
        own = dice.for_workload()
        users, one = users_by_month(row, start, months, own), tokens.per_user(row, own)
        if users is None or one is None:
            continue
        if one.cost is None:
            found[row.id] = Spend(None)
            continue
        new = tuple(lifetime.new_in(row, month.quarter) for month in calendar)
        widen = own.draw(terms.first_quarter, Scale.LOG, row.id, "under-sizing") if any(new) else 1.0
        found[row.id] = Spend(users.times(one.cost).widened(new, widen).summed())
    return found


def median(draws: Array) -> float:
    """P50 of (draws), by rank."""
    return at_rank(draws, 0.5)
