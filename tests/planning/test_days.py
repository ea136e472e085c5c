"""Are plans kept out on the days they should be, and is the financial year the right one?"""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from upshift.model.quarter import Month
from upshift.model.span import show_instant, to_instant
from upshift.planning.days import Calendar, Freeze, closed, closed_at, financial_year, opens, workday, year_of

YEAR_END = Freeze("year-end", date(2026, 12, 18), date(2027, 1, 4), "the books are closed")
OFFICE = Calendar(
    holidays=((date(2027, 1, 5), "Inventory"), (date(2026, 12, 25), "Christmas")),
    workdays_only=True,
    freezes=(YEAR_END,),
)
DAYS = st.dates(date(2001, 1, 1), date(2100, 12, 31))


def test_a_freeze_holds_from_its_first_day_to_its_last() -> None:
    calendar = Calendar(freezes=(YEAR_END,))
    assert closed(calendar, date(2026, 12, 17)) == ()
    for day in (date(2026, 12, 18), date(2027, 1, 4)):
        assert closed(calendar, day) == ("2026-12-18 to 2027-01-04 is the freeze 'year-end': the books are closed",)
    assert closed(calendar, date(2027, 1, 5)) == ()


def test_weekends_and_holidays_keep_changes_out_where_only_workdays_are_for_them() -> None:
    saturday = date(2026, 11, 21)
    assert closed(OFFICE, saturday) == ("2026-11-21 is a Saturday, and plans change on workdays only",)
    assert closed(Calendar(), saturday) == ()
    assert closed(OFFICE, date(2027, 1, 5)) == ("2027-01-05 is Inventory, and plans change on workdays only",)
    assert len(closed(OFFICE, date(2026, 12, 25))) == 2


def test_it_opens_on_the_first_day_that_is_not_closed() -> None:
    assert opens(OFFICE, date(2026, 12, 18)) == date(2027, 1, 6)
    assert opens(OFFICE, date(2026, 11, 20)) == date(2026, 11, 20)
    for_ever = Freeze("for ever", date(2026, 1, 1), date(2199, 1, 1))
    assert opens(Calendar(freezes=(for_ever,)), date(2026, 1, 1)) is None


def test_a_day_is_closed_in_its_own_time_until_the_next_open_one_begins() -> None:
    shut = closed_at(
        Calendar(zone="Asia/Tokyo", freezes=(YEAR_END,)), to_instant(datetime(2026, 12, 17, 15, tzinfo=UTC))
    )
    assert shut is not None
    assert shut.why == closed(OFFICE, date(2026, 12, 18))
    assert (shut.opens, shut.until) == (date(2027, 1, 5), to_instant(datetime(2027, 1, 4, 15, tzinfo=UTC)))
    assert closed_at(Calendar(freezes=(YEAR_END,)), to_instant(datetime(2026, 12, 17, 15, tzinfo=UTC))) is None
    for_ever = Calendar(freezes=(Freeze("for ever", date(2026, 1, 1), date(2199, 1, 1)),))
    shut = closed_at(for_ever, to_instant(datetime(2026, 12, 17, tzinfo=UTC)))
    assert shut is not None
    assert (shut.opens, shut.until) == (None, None)


def test_a_day_that_begins_without_a_midnight_begins_when_it_can() -> None:
    """In Beirut clocks are put forward at midnight: the 29th of March begins at one."""
    freeze = Freeze("spring", date(2026, 3, 28), date(2026, 3, 28))
    shut = closed_at(Calendar(zone="Asia/Beirut", freezes=(freeze,)), to_instant(datetime(2026, 3, 28, 9, tzinfo=UTC)))
    assert shut is not None
    assert shut.until is not None
    assert show_instant(shut.until, "Asia/Beirut") == "2026-03-29T01:00:00+03:00"


@given(DAYS, st.integers(1, 12))
def test_a_financial_year_begins_in_its_month_and_is_followed_by_the_next(day: date, begins: int) -> None:
    calendar = Calendar(year_begins=begins)
    first, last = financial_year(calendar, day)
    assert first <= day <= last
    assert (first.month, first.day) == (begins, 1)
    assert first.year == year_of(calendar, Month.of(day))
    assert financial_year(calendar, last + timedelta(days=1))[0] == last + timedelta(days=1)


@given(DAYS)
def test_five_days_of_seven_are_workdays(day: date) -> None:
    assert sum(workday(Calendar(), day + timedelta(days=each)) for each in range(7)) == 5
