"""What does one value of an export say, and which values say nothing that can be used?"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import msgspec

from upshift.model.money import NANO_PER_DOLLAR, Nano, nano_from_dollars
from upshift.model.span import MICROS, Instant, to_instant

DAY, HOUR = 86_400 * MICROS, 3_600 * MICROS

_MOST_SHOWN = 20
_LONGEST_SHOWN = 60
_MOST_COUNT = 10**15
_MOST_DOLLARS = 10**9
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

# 10^11 seconds is the year 5138, 10^11 milliseconds 1973: the size of an epoch tells its unit. Less than 10^8 is a
# year, or a date without its hyphens.
_LEAST_EPOCH = 10**8
_UNITS = ((10**11, MICROS), (10**14, 1_000), (10**17, 1))


class Fault(msgspec.Struct, frozen=True):
    """One value that cannot be used: where it stands, what it is, what was expected."""

    where: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where}: {self.value} is not {self.expected}"


class BadExportError(ValueError):
    """A file that cannot be taken for a bill, with every fault. A part of a bill would be a false one."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        shown = [str(each) for each in faults[:_MOST_SHOWN]]
        if len(faults) > _MOST_SHOWN:
            shown.append(f"and {len(faults) - _MOST_SHOWN} more")
        super().__init__("\n".join(shown))
        self.faults = faults


class Faults:
    """Collects what is wrong with one file."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, where: str, value: object, expected: str) -> None:
        shown = "nothing" if value is None else repr(str(value) if isinstance(value, Decimal) else value)
        if len(shown) > _LONGEST_SHOWN:
            shown = shown[:_LONGEST_SHOWN] + "…"
        self.found.append(Fault(where, shown, expected))

    def check(self) -> None:
        """Raises BadExportError if anything was added."""
        if self.found:
            raise BadExportError(tuple(self.found))


class Fields:
    """The values of one line by name. What cannot be read is added to `faults`, and read as nothing.

    Values are JSON's or the texts of CSV cells; null and an empty text are nothing.
    """

    def __init__(self, values: Mapping[str, object], where: str, faults: Faults) -> None:
        self.values = values
        self.where = where
        self.faults = faults

    def get(self, name: str) -> object:
        found = self.values.get(name)
        return None if found == "" else found

    def first(self, names: tuple[str, ...]) -> str:
        """The first of these names that has a value; the first that is there at all when none has."""
        there = [name for name in names if name in self.values] or [names[0]]
        return next((name for name in there if self.get(name) is not None), there[0])

    def refuse(self, name: str, expected: str) -> None:
        self.faults.add(f"{self.where}.{name}", self.get(name), expected)

    def text(self, name: str) -> str:
        found = self.get(name)
        if found is None:
            return ""
        if isinstance(found, str):
            return found.strip()
        self.refuse(name, "a text")
        return ""

    def inner(self, name: str) -> "Fields":
        """The object at this name, empty if there is none."""
        found = self.get(name)
        if found is not None and not isinstance(found, dict):
            self.refuse(name, "an object")
        return Fields(found if isinstance(found, dict) else {}, f"{self.where}.{name}", self.faults)

    def count(self, name: str) -> int | None:
        """A number of things; None where nothing is said. '3.0' is 3, as console exports write it."""
        found = self.get(name)
        if found is None:
            return None
        number = _decimal(found)
        if number is None or number != int(number) or not 0 <= number <= _MOST_COUNT:
            self.refuse(name, "a whole number, 0 or more")
            return 0
        return int(number)

    def need_count(self, name: str) -> int:
        found = self.count(name)
        if found is None:
            self.refuse(name, "a whole number, 0 or more")
        return found or 0

    def dollars(self, name: str, per_dollar: int = 1) -> tuple[Nano, Nano]:
        """Nearest nano-dollars of an amount in dollars (or cents, with 100 to the dollar), and its last digit's value.

        Negative amounts are credits.
        """
        number = _decimal(self.get(name))
        if number is None or abs(number) > _MOST_DOLLARS * per_dollar:
            self.refuse(name, "an amount of money, like 12.34")
            return 0, 0
        exponent = number.as_tuple().exponent
        digit = Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0) / per_dollar
        return nano_from_dollars(number / per_dollar), min(int(digit * NANO_PER_DOLLAR), NANO_PER_DOLLAR)

    def epoch(self, name: str) -> Instant:
        """An instant from Unix seconds."""
        number = _decimal(self.get(name))
        if number is None or not 0 <= number < _UNITS[0][0]:
            self.refuse(name, "a time in Unix seconds")
            return 0
        return int(number * MICROS)

    def moment(self, name: str) -> Instant:
        """An instant from RFC 3339, or from a Unix time in seconds, milliseconds or microseconds by its size."""
        found = self.get(name)
        number = _decimal(found)
        if number is not None and number >= _LEAST_EPOCH:
            for below, micros in _UNITS:
                if number < below:
                    return int(number * micros)
        if isinstance(found, str):
            try:
                moment = datetime.fromisoformat(found.strip().removesuffix(" UTC"))
                return to_instant(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
            except (ValueError, OverflowError):
                pass
        self.refuse(name, "a time like 2026-11-01T12:00:00Z")
        return 0

    def day_or_hour(self, name: str) -> tuple[Instant, Instant]:
        """The day that a date names, or the hour that a date with a time names (UTC)."""
        start = self.moment(name)
        width = DAY if _DATE.fullmatch(self.text(name)) else HOUR
        if start % width:
            self.refuse(name, "a date, or the beginning of an hour")
        return start, start + width


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        number = Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 40 else None
