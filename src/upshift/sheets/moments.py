"""Which quarter does a person mean who writes Q2/26, 2. Quartal 2026, T2 2026 or a date?"""

import re
from datetime import date

from upshift.model.quarter import Quarter, parse_quarter

_QUARTERS = (
    re.compile(r"([1-4])\s*\.?\s*(?:quartal|quarter|trimestre|q|t)\s*[-/ ]?\s*(\d{4})", re.IGNORECASE),
    re.compile(r"(?:quartal|quarter|trimestre|trim|q|t)\s*\.?\s*([1-4])\s*[-/ ]?\s*(\d{4})", re.IGNORECASE),
    re.compile(r"(?P<year>\d{4})\s*[-/ ]?\s*(?:q|t)\s*(?P<number>[1-4])", re.IGNORECASE),
)
_SHORT = re.compile(r"(?:[qt]\s*[1-4]|[1-4]\s*[qt])\s*[-/' ]*\s*\d{2}", re.IGNORECASE)
_ISO = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?(?:[T ].*)?")
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_SLASHED = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})")

EXPECTED = "a quarter like Q3-2026, or a date"


def quarter(text: str) -> str:
    """'Q2-2026' of a quarter or a date. Raises ValueError on anything else, and where two readings disagree."""
    stripped = text.strip()
    try:
        return str(parse_quarter(stripped))
    except ValueError:
        pass
    for pattern in _QUARTERS:
        found = pattern.fullmatch(stripped)
        if found is not None:
            groups = found.groupdict()
            number, year = (groups["number"], groups["year"]) if groups else (found[1], found[2])
            return str(Quarter(int(year), int(number)))
    if _SHORT.fullmatch(stripped):
        raise ValueError(f"{text!r} has a year of two digits")
    days = _days(stripped)
    quarters = {Quarter.of(day) for day in days}
    if len(quarters) > 1:
        raise ValueError(f"{text!r} may be {' or '.join(sorted(str(day) for day in days))}")
    if not quarters:
        raise ValueError(f"{text!r} is not a quarter")
    return str(quarters.pop())


def _days(text: str) -> list[date]:
    """The days that a text may mean."""
    iso, dotted, slashed = _ISO.fullmatch(text), _DAY_FIRST.fullmatch(text), _SLASHED.fullmatch(text)
    if iso is not None:
        wanted = [(iso[1], iso[2], iso[3] or "1")]
    elif dotted is not None:
        wanted = [(dotted[3], dotted[2], dotted[1])]
    elif slashed is not None:
        wanted = [(slashed[3], slashed[2], slashed[1]), (slashed[3], slashed[1], slashed[2])]
    else:
        return []
    found = []
    for year, month, day in wanted:
        try:
            found.append(date(int(year), int(month), int(day)))
        except ValueError:
            continue
    return found
