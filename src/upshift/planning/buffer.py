"""How much is held back centrally, what was drawn from it, and is what is left enough?"""

from collections.abc import Sequence

import msgspec
import numpy as np

from upshift.model.quarter import Quarter
from upshift.planning.drawn import Drawn
from upshift.planning.draws import Array
from upshift.planning.outline import BudgetLine

USUAL = (0.15, 0.20)
"""A reserve of 15 to 20 per cent is usual."""


class Reserve(msgspec.Struct, frozen=True, kw_only=True):
    """What is held back for one budget in one quarter, in the line's unit, and the chance that it suffices.

    The budget is the median of its forecast; the reserve is a share on top, and belongs to no workload.
    """

    line: BudgetLine
    quarter: Quarter
    budget: float
    held: float
    drawn: float | None
    """None where the draws that were recorded are not known."""
    enough: float

    @property
    def left(self) -> float | None:
        """What can still be drawn; below zero when more was drawn than held."""
        return None if self.drawn is None else self.held - self.drawn


def reserve(
    line: BudgetLine, quarter: Quarter, demand: Array, share: float, draws: Sequence[Drawn] | None = ()
) -> Reserve:
    """The reserve behind a budget whose demand is so distributed (draws of one quarter)."""
    budget = float(np.median(demand))
    own = None if draws is None else [each for each in draws if each.budget is line and each.quarter == quarter]
    return Reserve(
        line=line,
        quarter=quarter,
        budget=budget,
        held=budget * share,
        drawn=None if own is None else sum(each.amount for each in own),
        enough=float((demand <= budget * (1 + share)).mean()),
    )


def assumption(share: float) -> str:
    """What is said of the size of the reserve."""
    low, high = USUAL
    usual = "usual" if low <= share <= high else f"{low:.0%} to {high:.0%} is usual"
    return f"{share:.0%} of each budget's median is held centrally ({usual}) and allocated to no workload."
