"""Which calendar period an instant belongs to, in a tenant's time zone."""

from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeAlias, assert_never
from zoneinfo import ZoneInfo

import msgspec

Instant: TypeAlias = int
"""Microseconds since 1970-01-01T00:00:00Z."""

MICROS = 1_000_000


class Window(StrEnum):
    """The calendar windows that a ceiling may have. Weeks begin on Monday (ISO 8601)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Period(msgspec.Struct, frozen=True):
    """One calendar period: `start` inclusive, `end` exclusive, `label` like 2026-11, 2026-W47 or 2026-11-21."""

    window: Window
    label: str
    zone: str
    start: Instant
    end: Instant

    def elapsed(self, now: Instant) -> float:
        """Share of the period that has passed, 0 to 1."""
        return min(1.0, max(0.0, (now - self.start) / (self.end - self.start)))


def to_instant(moment: datetime) -> Instant:
    """Microseconds of an aware datetime. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs its time zone")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * MICROS + delta.microseconds


def to_datetime(instant: Instant, zone: str = "UTC") -> datetime:
    """Aware datetime of an instant in a zone."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant)).astimezone(ZoneInfo(zone))


def show_instant(instant: Instant, zone: str = "UTC") -> str:
    """'2026-12-01T00:00:00+01:00': ISO 8601 to the second with the zone's offset."""
    return to_datetime(instant, zone).isoformat(timespec="seconds")


def period_of(window: Window, zone: str, now: Instant) -> Period:
    """The period of `window` that contains `now`.

    Boundaries are local midnights, so a day of a daylight-saving change has 23 or 25 hours. A midnight that does
    not exist (zones that change at 00:00) begins at the first instant that does; one that happens twice begins
    at the first. Where a clock is set back across midnight (00:01 to 23:01), the evening that is shown again
    belongs to the new day.
    """
    day = _wall(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    period = _period_with(window, zone, day)
    return period if now < period.end else _period_with(window, zone, day + timedelta(days=1))


def _period_with(window: Window, zone: str, day: datetime) -> Period:
    first, last, label = _days(window, day)
    return Period(window, label, zone, _midnight(first, zone), _midnight(last, zone))


def _days(window: Window, day: datetime) -> tuple[datetime, datetime, str]:
    match window:
        case Window.DAY:
            return day, day + timedelta(days=1), f"{day:%Y-%m-%d}"
        case Window.WEEK:
            first = day - timedelta(days=day.weekday())
            year, week, _ = first.isocalendar()
            return first, first + timedelta(days=7), f"{year}-W{week:02d}"
        case Window.MONTH:
            first = day.replace(day=1)
            return first, (first + timedelta(days=32)).replace(day=1), f"{first:%Y-%m}"
    assert_never(window)


def _midnight(day: datetime, zone: str) -> Instant:
    # fold=0 takes the first of two midnights. One that does not exist it reads with the offset before the gap: the
    # gap's end if the gap begins at midnight, later if it begins before, and then the gap's end has to be looked for.
    info = ZoneInfo(zone)
    latest = to_instant(day.replace(tzinfo=info))
    if _wall(latest, zone) == day:
        return latest
    earliest = to_instant(day.replace(tzinfo=info, fold=1))
    seconds = range(earliest // MICROS, latest // MICROS)
    return seconds.start * MICROS + bisect_left(seconds, day, key=lambda at: _wall(at * MICROS, zone)) * MICROS


def _wall(instant: Instant, zone: str) -> datetime:
    return to_datetime(instant, zone).replace(tzinfo=None, fold=0)
