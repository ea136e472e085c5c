"""How months and quarters are counted, written and read."""

import re
from datetime import date
from typing import Self

import msgspec

_QUARTER = re.compile(r"\s*[qQ]([1-4])[-/ ]?(\d{4})\s*|\s*(\d{4})[-/ ]?[qQ]([1-4])\s*", re.ASCII)
_MONTH = re.compile(r"\s*(\d{4})-(0[1-9]|1[0-2])\s*", re.ASCII)


class Month(msgspec.Struct, frozen=True, order=True):
    """A calendar month; `number` counts from 1."""

    year: int
    number: int

    @classmethod
    def of(cls, day: date) -> Self:
        """The month of a day."""
        return cls(day.year, day.month)

    @property
    def first(self) -> date:
        """Its first day."""
        return date(self.year, self.number, 1)

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.plus(1).first - self.first).days

    @property
    def quarter(self) -> "Quarter":
        """The quarter it is part of."""
        return Quarter(self.year, (self.number + 2) // 3)

    def plus(self, months: int) -> "Month":
        """So many months later."""
        counted = self.year * 12 + self.number - 1 + months
        return Month(counted // 12, counted % 12 + 1)

    def since(self, other: "Month") -> int:
        """How many months later than `other`; negative when it is earlier."""
        return (self.year - other.year) * 12 + self.number - other.number

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02}"


class Quarter(msgspec.Struct, frozen=True, order=True):
    """A quarter of a calendar year; `number` counts from 1."""

    year: int
    number: int

    @classmethod
    def of(cls, day: date) -> Self:
        """The quarter of a day."""
        return cls(day.year, (day.month + 2) // 3)

    @property
    def months(self) -> tuple[Month, Month, Month]:
        """Its three months."""
        first = Month(self.year, self.number * 3 - 2)
        return first, first.plus(1), first.plus(2)

    def plus(self, quarters: int) -> "Quarter":
        """So many quarters later."""
        counted = self.year * 4 + self.number - 1 + quarters
        return Quarter(counted // 4, counted % 4 + 1)

    def since(self, other: "Quarter") -> int:
        """How many quarters later than `other`; negative when it is earlier."""
        return (self.year - other.year) * 4 + self.number - other.number

    def __str__(self) -> str:
        return f"Q{self.number}-{self.year}"


def parse_quarter(text: str) -> Quarter:
    """The quarter of 'Q3-2026', 'q3 2026' or '2026-Q3'. Raises ValueError on anything else."""
    found = _QUARTER.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a quarter; write it like Q3-2026")
    return Quarter(int(found[2] or found[3]), int(found[1] or found[4]))


def parse_month(text: str) -> Month:
    """The month of '2026-07'. Raises ValueError on anything else."""
    found = _MONTH.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a month; write it like 2026-07")
    return Month(int(found[1]), int(found[2]))
