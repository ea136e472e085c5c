"""Who took how much of which budget's reserve, when and why?"""

import msgspec

from upshift.model.quarter import Quarter
from upshift.model.span import Instant
from upshift.planning.outline import BudgetLine


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A draw on the central buffer for a quarter, as it is recorded.

    `amount` is in the unit of the budget's reserve: nano-dollars of tokens in that quarter, concurrent sessions of
    compute, hours a week of ops. A negative one gives back.
    """

    budget: BudgetLine
    quarter: Quarter
    amount: float
    why: str
    by: str
    at: Instant
    workload: str = ""
    """For which workload; empty for none."""
