"""At this pace, when are the year's budgets of the organisation and its pods gone?"""

from datetime import date, timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends

from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.door import admin_of, desk_of, responses
from upshift.admin.shown import Shown
from upshift.model.money import NANO_PER_DOLLAR, Nano
from upshift.model.span import Window, period_of, to_datetime, to_instant
from upshift.planning.burn import Burn, Year, burn_many
from upshift.planning.days import financial_year
from upshift.planning.outline import Outline
from upshift.store.journal import Dimension

ORGANISATION = "organisation"
ELSEWHERE = "(no pod)"
"""What is spent by workloads that belong to no pod."""


class BurnView(Shown):
    """Spend against a year's budget. Amounts are nano-dollars."""

    name: str
    """The organisation, or a pod."""
    budget_nano: int | None
    """What may be spent in the year; null where the plan does not say."""
    spent_nano: int
    """Until yesterday."""
    pace: float | None
    """What was spent over the budget's even share of the days so far: above 1 is too fast."""
    low_nano: int
    """The year's spend, if it goes well (P10)."""
    projected_nano: int
    """The year's spend at P50."""
    high_nano: int
    """The year's spend, if it goes badly (P90)."""
    runs_out: str | None
    """The day the budget is gone at P50; null for not this year."""
    week: str | None
    """The ISO week of that day, like 2026-W47."""
    early: str | None
    """With one chance in ten it is gone by then already."""
    late: str | None
    """With nine chances in ten it is gone by then."""
    because: str
    """The same in a sentence."""
    days: tuple[int, ...]
    """What was spent on each day of the year so far."""


class BurnsView(Shown):
    """The year of all budgets."""

    since: str
    """The first day of the year."""
    until: str
    """Its last day."""
    burns: tuple[BurnView, ...]
    """The organisation first, then pods by name."""


def burns(desk: Desk, outline: Outline) -> BurnsView:
    """Spend of the financial year until yesterday (UTC), projected to its end; unknown costs as they were charged.

    Raises BeingComputedError.
    """
    today = to_datetime(desk.now()).date()
    year = Year(*financial_year(outline.calendar, today))
    spent = _days(desk, year, today)
    pods = {each.pod or ELSEWHERE for each in outline.rows} | set(outline.pods) | set(spent)
    count = (today - year.first).days
    series = {name: spent.get(name, [0] * count) for name in sorted(pods) or [ELSEWHERE]}
    # Where no budget is known, none can run out: an amount that is never reached stands in for it.
    budgets = {name: _limit(outline.pods.get(name)) for name in series}
    whole = _limit(outline.year)
    spends = {name: [nano / NANO_PER_DOLLAR for nano in days] for name, days in series.items()}
    asked = ("burns", outline.plan, today, tuple((name, tuple(days)) for name, days in spends.items()))
    made = partial(burn_many, spends, budgets, whole, year=year, today=today, organisation=ORGANISATION)
    found = desk.kept.get(asked, made)
    together = [sum(amounts) for amounts in zip(*series.values(), strict=True)]
    return BurnsView(
        since=year.first.isoformat(),
        until=year.last.isoformat(),
        burns=tuple(_view(each, together if each.name == ORGANISATION else series[each.name]) for each in found),
    )


def _days(desk: Desk, year: Year, today: date) -> dict[str, list[int]]:
    """Nano-dollars per day and pod, from the year's first day until yesterday."""
    begin = to_instant(to_datetime(0).replace(year=year.first.year, month=year.first.month, day=1))
    end = period_of(Window.DAY, "UTC", desk.now()).start
    if begin >= end:
        return {}
    count = (today - year.first).days
    found: dict[str, list[int]] = {}
    for used in desk.journal.usage([Dimension.DAY, Dimension.POD], begin, end, latencies=False):
        at = (date.fromisoformat(used.group[0]) - year.first) // timedelta(days=1)
        found.setdefault(used.group[1] or ELSEWHERE, [0] * count)[at] += used.counted
    return found


def _limit(year: Nano | None) -> float:
    return float("inf") if year is None else year / NANO_PER_DOLLAR


def _view(found: Burn, days: list[int]) -> BurnView:
    limited = found.budget != float("inf")
    return BurnView(
        name=found.name,
        budget_nano=_nano(found.budget) if limited else None,
        spent_nano=sum(days),
        pace=found.pace if limited else None,
        low_nano=_nano(found.low),
        projected_nano=_nano(found.projected),
        high_nano=_nano(found.high),
        runs_out=_day(found.likely),
        week=found.week,
        early=_day(found.early),
        late=_day(found.late),
        because=_because(found, limited, any(days)),
        days=tuple(days),
    )


def _because(found: Burn, limited: bool, seen: bool) -> str:
    if not limited:
        return f"{found.name}: the plan gives no budget for the year."
    # That nothing was recorded does not say that nothing is spent.
    return found.because if seen else f"{found.name}: no spend was recorded this year, so nothing can be projected."


def _nano(dollars: float) -> int:
    return round(dollars * NANO_PER_DOLLAR)


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


router = APIRouter(prefix="/api/v1", responses=responses(401, 403, 429))


@router.get("/burn", responses=responses(409, 503))
def burns_of_the_year(desk: Annotated[Desk, Depends(desk_of)], _: Annotated[Actor, Depends(admin_of)]) -> BurnsView:
    """Spend against the year's budgets, and the week in which they run out."""
    outline = desk.outline()
    if outline is None:
        raise ActError("no plan is in force yet", 409)
    return burns(desk, outline)
