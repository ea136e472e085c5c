"""How does CSV of any make become a grid, and a table CSV that spreadsheets open as meant?"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence

from upshift.sheets.cells import Cell, Fault, Grid, SheetError
from upshift.sheets.texts import guarded, unguarded

_DELIMITERS = (",", ";", "\t", "|")
_MOST_BYTES = 32_000_000
_MOST_CELLS = 2_000_000
_MOST_TRIED = 40


def parse(file: str, data: bytes, worth: Callable[[Grid], int]) -> Grid:
    """The grid of a CSV file: UTF-8, UTF-16 with its mark or Windows-1252; commas, semicolons, tabs or bars.

    Of the delimiters, the one that makes the grid of the most `worth`. Raises SheetError where it is no CSV.
    """
    if len(data) > _MOST_BYTES:
        what = f"the file has {len(data):,} bytes"
        raise SheetError([Fault(file=file, what=what, expected=f"at most {_MOST_BYTES:,}")])
    text = _decoded(data)
    if "\0" in text:
        raise SheetError([Fault(file=file, what="this is not text", expected="CSV or XLSX")])
    first, _, rest = text.partition("\n")
    named = first.strip().strip('"').lower()
    if named.startswith("sep=") and len(named) == 5:
        # Excel's own line, which is not a row of the sheet for anybody else.
        return _grid(file, rest, named[4], first_row=2)
    tried = [_tried(file, text, delimiter, worth) for delimiter in _DELIMITERS]
    best = max(range(len(tried)), key=lambda index: (tried[index], -index))
    return _grid(file, text, _DELIMITERS[best])


def render(rows: Iterable[Sequence[str]]) -> bytes:
    """CSV as spreadsheets write it themselves: commas, CRLF, UTF-8 with its mark; no cell is run as a formula."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerows([guarded(cell) for cell in row] for row in rows)
    return buffer.getvalue().encode("utf-8-sig")


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Five bytes mean nothing in Windows-1252; Latin-1 has a character for each.
        try:
            return data.decode("cp1252")
        except UnicodeDecodeError:
            return data.decode("latin-1")


def _tried(file: str, text: str, delimiter: str, worth: Callable[[Grid], int]) -> tuple[int, int]:
    head = "".join(text.splitlines(keepends=True)[:_MOST_TRIED])
    try:
        grid = _grid(file, head, delimiter, strict=False)
    except SheetError:
        return -1, 0
    return worth(grid), max((len(row) for row in grid.rows), default=0)


def _grid(file: str, text: str, delimiter: str, *, first_row: int = 1, strict: bool = True) -> Grid:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    rows: list[tuple[Cell, ...]] = []
    count = 0
    try:
        for number, cells in enumerate(reader, first_row):
            count += len(cells)
            if count > _MOST_CELLS:
                raise SheetError([Fault(file=file, what=f"the sheet has more than {_MOST_CELLS:,} cells")])
            rows.append(tuple(Cell(number, column, unguarded(each.strip())) for column, each in enumerate(cells, 1)))
    except csv.Error as error:
        what, remedy = f"line {reader.line_num} is not CSV: {error}", "Look for a quotation mark without its partner."
        raise SheetError([Fault(file=file, what=what, remedy=remedy)]) from None
    return Grid(file, "", tuple(rows))
