"""Where in a sheet is the table: its header, its rows, and what stands around them?"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from upshift.sheets.cells import Cell, Grid, Kind
from upshift.sheets.columns import folded
from upshift.sheets.mapping import Match, matches, recognised

_MOST_ABOVE = 60
_TOTAL = re.compile(
    r"(?:(?:grand |sub ?)?totals?|sum(?:me|mes)?|zwischensumme|gesamt(?:summe)?|insgesamt|somme|suma|totale)"
    r"(?: (?:q[1-4] )?\d{4}| all workloads| workloads)?"
)
NOTHING = frozenset(("", "-", "\u2013", "\u2014", "--", "n/a", "na", "k.a.", "n.a."))
"""What people write where there is nothing to say."""


class Layout(msgspec.Struct, frozen=True):
    """A table in a sheet. `left_out` says which rows were not read, and why."""

    grid: Grid
    header: int
    """The number of its row."""
    matches: tuple[Match, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: tuple[str, ...]


def worth(grid: Grid, wanted: Mapping[str, str]) -> int:
    """How many columns of the table the best of the first rows names."""
    return max((recognised(row, wanted) for row in grid.rows[:_MOST_ABOVE]), default=0)


def lay_out(grid: Grid, wanted: Mapping[str, str]) -> Layout | None:
    """The table of a sheet: the row that names the most columns is its header. None where no row names any."""
    best, header = 0, -1
    for index, row in enumerate(grid.rows[:_MOST_ABOVE]):
        named = recognised(row, wanted)
        if named > best:
            best, header = named, index
    if best == 0:
        return None
    names = grid.rows[header]
    below = grid.rows[header + 1 :]
    # A column without a header can be mapped by its letter, if there is anything in it.
    width = max((len(row) for row in below), default=len(names))
    row_number = header + 1 if not names else names[0].row
    names = (*names, *(Cell(row_number, column) for column in range(len(names) + 1, width + 1)))
    rows, left_out = _rows(below, names)
    above = sum(any(cell.text for cell in row) for row in grid.rows[:header])
    if above:
        left_out.insert(0, f"{above} {'row' if above == 1 else 'rows'} above the header")
    return Layout(grid, row_number, tuple(matches(names, wanted)), tuple(rows), tuple(left_out))


def nothing(cell: Cell) -> bool:
    """Whether a cell says nothing."""
    return cell.text.casefold() in NOTHING and cell.kind is not Kind.UNKNOWN


def _rows(below: Sequence[tuple[Cell, ...]], names: Sequence[Cell]) -> tuple[list[tuple[Cell, ...]], list[str]]:
    rows: list[tuple[Cell, ...]] = []
    left_out: list[str] = []
    ended = False
    for row in below:
        told = [cell for cell in row if cell.text or cell.kind is Kind.UNKNOWN]
        if not told:
            continue
        number = told[0].row
        if _TOTAL.fullmatch(folded(told[0].text)):
            left_out.append(f"row {number}: {told[0].text}, a total")
            ended = True
        elif [cell.text for cell in row if cell.text] == [cell.text for cell in names if cell.text]:
            left_out.append(f"row {number}: the header again")
        elif len(told) > 1 and all(cell.text == told[0].text for cell in told) and all(c.copied for c in told[1:]):
            left_out.append(f"row {number}: {told[0].text[:60]}, a title over all columns")
        elif ended and len({cell.text for cell in told}) == 1:
            left_out.append(f"row {number}: {told[0].text[:60]}, a note")
        else:
            rows.append(row)
    return rows, left_out
