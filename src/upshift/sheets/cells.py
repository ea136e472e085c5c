"""What stands in which cell of a sheet, and how is a person told what is wrong there?"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

_LONGEST_SHOWN = 60


class Kind(StrEnum):
    """What a cell holds. Text may well be a number that was typed as text."""

    TEXT = "text"
    NUMBER = "number"
    """`text` is plain: digits and a decimal point."""
    PERCENT = "percent"
    """`text` is like 12.5%."""
    MONEY = "money"
    DATE = "date"
    """`text` is ISO 8601."""
    ERROR = "error"
    """A formula that came to an error such as #REF!."""
    UNKNOWN = "unknown"
    """A formula whose value the file does not keep."""


class Cell(msgspec.Struct, frozen=True):
    """A cell; `row` and `column` count from 1."""

    row: int
    column: int
    text: str = ""
    kind: Kind = Kind.TEXT
    copied: bool = False
    """Whether its value is that of the merged cells it is part of."""

    @property
    def place(self) -> str:
        """'C7'."""
        return f"{letters(self.column)}{self.row}"


class Grid(msgspec.Struct, frozen=True):
    """A sheet, row by row; rows may differ in length. `sheet` is empty for CSV."""

    file: str
    sheet: str
    rows: tuple[tuple[Cell, ...], ...]

    def where(self, place: str) -> str:
        """'plan.xlsx, sheet Workloads, cell C7'."""
        return ", ".join([self.file, *([f"sheet {self.sheet}"] if self.sheet else []), f"cell {place}"])


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a sheet. `cell` is empty where the whole sheet or file is meant."""

    file: str
    sheet: str = ""
    cell: str = ""
    value: str = ""
    what: str
    expected: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        places = [
            self.file,
            *([f"sheet {self.sheet}"] if self.sheet else []),
            *([f"cell {self.cell}"] * bool(self.cell)),
        ]
        expected = f"; expected {self.expected}" if self.expected else ""
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{', '.join(places)}: {self.what}{expected}{remedy}"


class SheetError(ValueError):
    """A sheet that cannot be read, with every fault."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(each) for each in self.faults))


class Faults:
    """Collects what is wrong with one sheet."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.found: list[Fault] = []

    def add(self, cell: Cell | None, what: str, expected: str = "", remedy: str = "") -> None:
        self.found.append(
            Fault(
                file=self.grid.file,
                sheet=self.grid.sheet,
                cell="" if cell is None else cell.place,
                value="" if cell is None else cell.text[:200],
                what=what,
                expected=expected,
                remedy=remedy,
            )
        )

    def check(self) -> None:
        """Raises SheetError if anything was added."""
        if self.found:
            raise SheetError(self.found)


def letters(column: int) -> str:
    """The letters of a column that counts from 1: 'A', 'Z', 'AA'."""
    found = ""
    while column > 0:
        column, left = divmod(column - 1, 26)
        found = chr(ord("A") + left) + found
    return found


def shown(value: str) -> str:
    """A value as a message quotes it."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 4] + "...'"
