"""Which instant does a person mean by 7d, 2026-11-01 or 2026-11-01T12:00?"""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from upshift.model.span import MICROS, Instant, to_instant

LIKE = "a time like 7d, 12h, 2026-11-01 or 2026-11-01T12:00"

_SPAN = re.compile(r"^\s*(\d{1,6}(?:\.\d{1,3})?)\s*(s|m|h|d|w)\s*$")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def span_seconds(text: str) -> float:
    """Seconds of '90d', '12h', '30m', '45s' or '2w'. Raises ValueError on anything else."""
    found = _SPAN.match(text)
    if found is None:
        raise ValueError(f"{text!r} is not a length of time; write it like 90d, 12h or 30m")
    return float(found[1]) * _SECONDS[found[2]]


def past(text: str, now: Instant, zone: str = "UTC") -> Instant:
    """The instant that many days or hours ago, or the one a date or time names in `zone`. Raises ValueError."""
    return now - _span(text) if _SPAN.match(text) else _named(text, zone)


def future(text: str, now: Instant, zone: str = "UTC") -> Instant:
    """The instant in that many days or hours, or the one a date or time names in `zone`. Raises ValueError."""
    return now + _span(text) if _SPAN.match(text) else _named(text, zone)


def zone_of(name: str) -> str:
    """An IANA time zone's name, known to exist. Raises ValueError."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError(f"{name!r} is not a time zone; write it like Europe/Berlin or UTC") from None
    return name


def _span(text: str) -> int:
    return int(span_seconds(text) * MICROS)


def _named(text: str, zone: str) -> Instant:
    try:
        moment = datetime.fromisoformat(text.strip())
        return to_instant(moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(zone)))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a time; write {LIKE}") from None
