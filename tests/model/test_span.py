"""Is every instant in exactly one day, week and month of its zone, without gaps, overlaps or lost hours?"""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upshift.model.span import (
    MICROS,
    Instant,
    Period,
    Window,
    period_of,
    show_instant,
    to_datetime,
    to_instant,
)

steady = settings(deadline=None, derandomize=True, max_examples=400)

HOUR = 3_600 * MICROS

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Kiritimati",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Antarctica/Casey",
)

FIRST = to_instant(datetime(1990, 1, 1, tzinfo=UTC))
LAST = to_instant(datetime(2060, 12, 31, tzinfo=UTC))


def at(zone: str, *wall: int, fold: int = 0) -> Instant:
    return to_instant(datetime(*wall, tzinfo=ZoneInfo(zone), fold=fold))  # type: ignore[arg-type,misc]  # wall time, then tzinfo


def shown(period: Period) -> tuple[str, str, str]:
    return period.label, show_instant(period.start, period.zone), show_instant(period.end, period.zone)


def check(window: Window, zone: str, now: Instant) -> None:
    period = period_of(window, zone, now)
    assert period.start <= now < period.end
    assert (period.window, period.zone) == (window, zone)
    assert period_of(window, zone, period.start) == period
    assert period_of(window, zone, period.end - 1) == period
    after = period_of(window, zone, period.end)
    assert after.start == period.end
    assert after.label > period.label
    before = period_of(window, zone, period.start - 1)
    assert before.end == period.start
    assert before.label < period.label


@steady
@given(st.sampled_from(Window), st.sampled_from(ZONES), st.integers(FIRST, LAST))
def test_periods_follow_one_another_without_gap_or_overlap(window: Window, zone: str, now: Instant) -> None:
    check(window, zone, now)


def changes(zone: str, years: range) -> list[Instant]:
    """Instants, to the hour, before which the zone's offset changed."""
    info = ZoneInfo(zone)
    found = []
    moment = datetime(years.start, 1, 1, tzinfo=UTC)
    offset = moment.astimezone(info).utcoffset()
    while moment.year < years.stop:
        following = moment + timedelta(days=1)
        if following.astimezone(info).utcoffset() != offset:
            while moment.astimezone(info).utcoffset() == offset:
                moment += timedelta(hours=1)
            offset = following.astimezone(info).utcoffset()
            found.append(to_instant(moment))
        moment = following
    return found


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("window", Window)
def test_they_do_so_around_every_change_of_the_clock(window: Window, zone: str) -> None:
    for change in changes(zone, range(2005, 2013)):
        for minutes in (-1500, -130, -65, -60, -59, -31, -1, 0, 1, 29, 59, 60, 61, 120, 1500):
            check(window, zone, change + minutes * 60 * MICROS)


@pytest.mark.parametrize(
    ("zone", "wall", "hours"),
    [
        ("Europe/Berlin", (2026, 3, 29, 12), 23),
        ("Europe/Berlin", (2026, 10, 25, 12), 25),
        ("America/New_York", (2026, 3, 8, 12), 23),
        ("America/New_York", (2026, 11, 1, 12), 25),
        ("Africa/Cairo", (2026, 4, 24, 12), 23),
        ("Africa/Cairo", (2026, 10, 29, 12), 25),
        ("Asia/Beirut", (2026, 3, 29, 12), 23),
        ("Asia/Beirut", (2026, 10, 24, 12), 25),
        ("America/Sao_Paulo", (2018, 11, 4, 12), 23),
        ("America/Sao_Paulo", (2018, 2, 17, 12), 25),
        ("America/Havana", (2026, 11, 1, 12), 25),
        ("Australia/Lord_Howe", (2026, 4, 5, 12), 24.5),
        ("Asia/Kolkata", (2026, 3, 29, 12), 24),
        ("Pacific/Kiritimati", (2026, 3, 29, 12), 24),
    ],
)
def test_days_on_which_the_clock_changes_are_shorter_or_longer(zone: str, wall: tuple[int, ...], hours: float) -> None:
    day = period_of(Window.DAY, zone, at(zone, *wall))
    assert day.end - day.start == hours * HOUR


def test_a_midnight_that_does_not_exist_begins_with_the_first_instant_that_does() -> None:
    day = period_of(Window.DAY, "Africa/Cairo", at("Africa/Cairo", 2026, 4, 24, 5))
    assert shown(day) == ("2026-04-24", "2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00")


def test_so_does_one_in_the_middle_of_the_hour_that_is_skipped() -> None:
    zone = "America/Toronto"
    day = period_of(Window.DAY, zone, at(zone, 1919, 3, 31, 12))
    assert shown(day)[:2] == ("1919-03-31", "1919-03-31T00:30:00-04:00")
    check(Window.DAY, zone, day.start)
    check(Window.DAY, zone, day.start - 1)


def test_a_midnight_that_happens_twice_begins_with_the_first() -> None:
    zone = "America/Havana"
    first, second = at(zone, 2026, 11, 1, 0, 30), at(zone, 2026, 11, 1, 0, 30, fold=1)
    assert second - first == HOUR
    assert period_of(Window.DAY, zone, first) == period_of(Window.DAY, zone, second)
    assert period_of(Window.MONTH, zone, first) == period_of(Window.MONTH, zone, second)


def test_an_evening_that_is_shown_again_belongs_to_the_new_day_week_and_month() -> None:
    zone = "America/St_Johns"
    first, again = at(zone, 2009, 10, 31, 23, 30), at(zone, 2009, 10, 31, 23, 30, fold=1)
    assert period_of(Window.DAY, zone, first).label == "2009-10-31"
    assert period_of(Window.DAY, zone, again).label == "2009-11-01"
    assert period_of(Window.MONTH, zone, first).label == "2009-10"
    assert period_of(Window.MONTH, zone, again).label == "2009-11"


def test_a_day_that_a_zone_skipped_is_nowhere() -> None:
    zone = "Pacific/Apia"
    before = period_of(Window.DAY, zone, at(zone, 2011, 12, 29, 12))
    after = period_of(Window.DAY, zone, before.end)
    assert (before.label, after.label) == ("2011-12-29", "2011-12-31")
    zone = "Pacific/Kiritimati"
    before = period_of(Window.MONTH, zone, at(zone, 1994, 12, 30, 12))
    after = period_of(Window.MONTH, zone, before.end)
    assert (before.label, after.label) == ("1994-12", "1995-01")
    assert shown(before)[2] == "1995-01-01T00:00:00+14:00"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"])
def test_a_month_ends_with_its_last_second(zone: str) -> None:
    last = at(zone, 2026, 11, 30, 23, 59, 59)
    month = period_of(Window.MONTH, zone, last)
    assert month.label == "2026-11"
    assert month.end == last + MICROS
    assert show_instant(month.end, zone)[:19] == "2026-12-01T00:00:00"
    assert period_of(Window.MONTH, zone, last + MICROS).label == "2026-12"


def test_the_same_instant_is_in_different_months_elsewhere() -> None:
    now = to_instant(datetime(2026, 11, 30, 22, 30, tzinfo=UTC))
    assert period_of(Window.MONTH, "America/New_York", now).label == "2026-11"
    assert period_of(Window.MONTH, "Europe/Berlin", now).label == "2026-11"
    assert period_of(Window.MONTH, "Pacific/Kiritimati", now).label == "2026-12"


@pytest.mark.parametrize(
    ("wall", "label", "start"),
    [
        ((2026, 1, 1), "2026-W01", "2025-12-29"),
        ((2027, 1, 1), "2026-W53", "2026-12-28"),
        ((2024, 12, 30), "2025-W01", "2024-12-30"),
        ((2026, 11, 22), "2026-W47", "2026-11-16"),
    ],
)
def test_weeks_are_those_of_iso_8601(wall: tuple[int, int, int], label: str, start: str) -> None:
    week = period_of(Window.WEEK, "Europe/Berlin", at("Europe/Berlin", *wall, 12))
    assert week.label == label
    assert show_instant(week.start, "Europe/Berlin")[:10] == start


def test_a_leap_february_has_29_days() -> None:
    month = period_of(Window.MONTH, "UTC", at("UTC", 2028, 2, 29, 23))
    assert (month.label, month.end - month.start) == ("2028-02", 29 * 24 * HOUR)


def test_elapsed_is_a_share_and_never_outside_the_period() -> None:
    day = period_of(Window.DAY, "UTC", at("UTC", 2026, 11, 16, 6))
    assert day.elapsed(at("UTC", 2026, 11, 16, 6)) == 0.25
    assert day.elapsed(day.start - 1) == 0.0
    assert day.elapsed(day.end + 1) == 1.0


@steady
@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), st.sampled_from(ZONES))  # noqa: DTZ001 - the zone follows
def test_instants_keep_every_microsecond(moment: datetime, zone: str) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert to_datetime(to_instant(aware)) == aware
    assert to_instant(to_datetime(to_instant(aware), zone)) == to_instant(aware)


def test_a_moment_without_its_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        to_instant(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
    assert to_instant(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0


def test_an_instant_is_shown_with_its_offset() -> None:
    assert show_instant(0) == "1970-01-01T00:00:00+00:00"
    assert show_instant(at("Asia/Kolkata", 2026, 12, 1), "Asia/Kolkata") == "2026-12-01T00:00:00+05:30"
