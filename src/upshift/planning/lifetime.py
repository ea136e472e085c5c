"""In which months does a workload run, and in which is it new?"""

from upshift.model.quarter import Month, Quarter
from upshift.planning.outline import Outline, Row, Status

FORECAST = (Status.PLANNED, Status.COMMITTED)
"""What a forecast counts; a candidate is no more than an idea."""


def counted(outline: Outline, *, candidates: bool = False) -> tuple[Row, ...]:
    """The workloads that a forecast is about."""
    return tuple(row for row in outline.rows if candidates or row.status in FORECAST)


def runs_in_quarter(row: Row, quarter: Quarter) -> bool:
    """Whether it runs in a quarter. One without a quarter of shipping runs already."""
    return (row.ships is None or row.ships <= quarter) and (row.retires is None or quarter < row.retires)


def runs(row: Row, month: Month) -> bool:
    """Whether it runs in a month."""
    return runs_in_quarter(row, month.quarter)


def new_in(row: Row, quarter: Quarter) -> bool:
    """Whether the quarter is its first."""
    return row.ships == quarter and runs_in_quarter(row, quarter)


def age(row: Row, month: Month, start: Month) -> int:
    """Months over which its users have grown: since the forecast begins, or since it ships where that is later."""
    begins = start if row.ships is None else max(start, row.ships.months[0])
    return max(0, month.since(begins))


def quarters(start: Month, months: int) -> tuple[Quarter, ...]:
    """The quarters that so many months from `start` touch."""
    first, last = start.quarter, start.plus(months - 1).quarter
    return tuple(first.plus(each) for each in range(last.since(first) + 1))
