"""On which days may a plan change, and in which financial year is a day?"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from upshift.model.quarter import Month
from upshift.model.span import Instant, Window, period_of, to_instant

_SATURDAY = 5
_FURTHEST = 800


class Freeze(msgspec.Struct, frozen=True):
    """Days on which no plan is put in force, `first` and `last` included."""

    name: str
    first: date
    last: date
    why: str = ""


class Calendar(msgspec.Struct, frozen=True, kw_only=True):
    """The days of an organisation, as they are in `zone`."""

    zone: str = "UTC"
    year_begins: int = 1
    """The month in which the financial year begins."""
    holidays: tuple[tuple[date, str], ...] = ()
    """Days off beside the weekends, and their names."""
    workdays_only: bool = False
    """Whether plans change on workdays only."""
    freezes: tuple[Freeze, ...] = ()


def closed(calendar: Calendar, day: date) -> tuple[str, ...]:
    """Why no plan is put in force on a day; empty where one may be."""
    found = [
        f"{each.first} to {each.last} is the freeze {each.name!r}" + (f": {each.why}" if each.why else "")
        for each in calendar.freezes
        if each.first <= day <= each.last
    ]
    if calendar.workdays_only and not workday(calendar, day):
        holiday = next((name for on, name in calendar.holidays if on == day), "")
        found.append(f"{day} is {holiday or day.strftime('a %A')}, and plans change on workdays only")
    return tuple(found)


class Closed(msgspec.Struct, frozen=True):
    """Why nothing changes on a day, and when the first day begins on which it may; None where none is near."""

    why: tuple[str, ...]
    opens: date | None
    until: Instant | None


def closed_at(calendar: Calendar, at: Instant) -> Closed | None:
    """What keeps things as they are on the day of an instant, in the calendar's own time; None where nothing does."""
    today = date.fromisoformat(period_of(Window.DAY, calendar.zone, at).label)
    why = closed(calendar, today)
    if not why:
        return None
    day = opens(calendar, today)
    if day is None:
        return Closed(why, None, None)
    noon = to_instant(datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(calendar.zone)))
    return Closed(why, day, period_of(Window.DAY, calendar.zone, noon).start)


def workday(calendar: Calendar, day: date) -> bool:
    """Whether it is none of Saturday, Sunday and the holidays."""
    return day.weekday() < _SATURDAY and all(on != day for on, _ in calendar.holidays)


def opens(calendar: Calendar, day: date) -> date | None:
    """The first day, this one included, on which a plan may be put in force; None where none is near."""
    days = (day + timedelta(days=each) for each in range(_FURTHEST))
    return next((each for each in days if not closed(calendar, each)), None)


def financial_year(calendar: Calendar, day: date) -> tuple[date, date]:
    """The first and the last day of the financial year of a day."""
    begins = year_of(calendar, Month.of(day))
    first = date(begins, calendar.year_begins, 1)
    return first, date(begins + 1, calendar.year_begins, 1) - timedelta(days=1)


def year_of(calendar: Calendar, month: Month) -> int:
    """The calendar year in which the financial year of a month begins."""
    return month.year if month.number >= calendar.year_begins else month.year - 1
