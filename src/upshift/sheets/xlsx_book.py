"""How does an XLSX workbook become grids, and tables a workbook that people can read?"""

import io
import zipfile
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import ParseError

import msgspec
from openpyxl import Workbook, load_workbook
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet.worksheet import Worksheet

from upshift.sheets.cells import Cell, Fault, Grid, Kind, SheetError

LONGEST_TEXT = 32_767
"""Characters that a cell of XLSX may hold."""
_MOST_BYTES = 200_000_000
_MOST_CELLS = 2_000_000
_CURRENCIES = ("$", "\u20ac", "\u00a3", "\u00a5", "USD", "EUR", "GBP", "CHF")
_BROKEN = (
    zipfile.BadZipFile,
    InvalidFileException,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    ParseError,
    EOFError,
)
_COLOURS = {"committed": "C6E5CE", "planned": "FFF0C2", "candidate": "E6E6E6"}


class Value(msgspec.Struct, frozen=True):
    """What is written into a cell: a text, or a number and how it is shown."""

    text: str = ""
    number: Decimal | None = None
    form: str = "General"


class Table(msgspec.Struct, frozen=True):
    """A sheet to be written; its first row is the header."""

    title: str
    rows: tuple[tuple[Value, ...], ...]


def parse(file: str, data: bytes) -> list[Grid]:
    """The grids of a workbook, one per sheet. Formulas count as the value they had when it was saved.

    Raises SheetError where it is no workbook.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            size = sum(each.file_size for each in packed.infolist())
            computed = size <= _MOST_BYTES and any(
                b"<f>" in sheet or b"<f " in sheet
                for each in packed.namelist()
                if each.startswith("xl/worksheets/")
                for sheet in [packed.read(each)]
            )
        if size > _MOST_BYTES:
            what = f"unpacked it has {size:,} bytes"
            raise SheetError([Fault(file=file, what=what, expected=f"at most {_MOST_BYTES:,}")])
        values = load_workbook(io.BytesIO(data), data_only=True)
        formulas = load_workbook(io.BytesIO(data)) if computed else values
    except SheetError:
        raise
    except _BROKEN as error:
        what, remedy = "this is not an XLSX workbook that can be read", "Save it as .xlsx or .csv."
        raise SheetError([Fault(file=file, what=what, expected="XLSX", remedy=remedy)]) from error
    return [_grid(file, sheet, formulas[sheet.title]) for sheet in values.worksheets]


def render(tables: Sequence[Table]) -> bytes:
    """A workbook. Texts are texts, whatever they begin with: none is a formula."""
    book = Workbook()
    book.remove(book.worksheets[0])
    for table in tables:
        _write(book.create_sheet(table.title), table)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def too_long(tables: Sequence[Table]) -> list[str]:
    """'sheet Workloads, row 3' for each text that no cell can hold."""
    return [
        f"sheet {table.title}, row {number}"
        for table in tables
        for number, row in enumerate(table.rows, 1)
        if any(len(each.text) > LONGEST_TEXT for each in row)
    ]


def _grid(file: str, sheet: Worksheet, formulas: Worksheet) -> Grid:
    if sheet.max_row * sheet.max_column > _MOST_CELLS:
        what = f"the sheet reaches to {get_column_letter(sheet.max_column)}{sheet.max_row}"
        raise SheetError(
            [Fault(file=file, sheet=sheet.title, what=what, remedy="Delete the empty rows below the table.")]
        )
    cells: dict[tuple[int, int], Cell] = {}
    for number, row in enumerate(sheet.iter_rows(), 1):
        for column, each in enumerate(row, 1):
            found = _cell(each, number, column, formulas.cell(number, column).data_type == "f")
            if found is not None:
                cells[number, column] = found
    for merged in sheet.merged_cells.ranges:
        first = cells.get((merged.min_row, merged.min_col))
        if first is not None:
            for place in merged.cells:
                if place not in cells:
                    cells[place] = msgspec.structs.replace(first, row=place[0], column=place[1], copied=True)
    last: dict[int, int] = {}
    for row_number, column in cells:
        last[row_number] = max(last.get(row_number, 0), column)
    return Grid(
        file,
        sheet.title,
        tuple(
            tuple(cells.get((number, column), Cell(number, column)) for column in range(1, last.get(number, 0) + 1))
            for number in range(1, max(last, default=0) + 1)
        ),
    )


def _cell(each: Any, row: int, column: int, formula: bool) -> Cell | None:
    value, form = each.value, str(each.number_format)
    place = (row, column)
    if value is None:
        return Cell(*place, "", Kind.UNKNOWN) if formula else None
    if each.data_type == "e":
        return Cell(*place, str(value), Kind.ERROR)
    if isinstance(value, bool):
        return Cell(*place, str(value).lower())
    if isinstance(value, int | float):
        # Fifteen digits are what a spreadsheet computes with: 0.1+0.2 is 0.3 to whoever looks at it.
        number = Decimal(f"{value:.15g}") if isinstance(value, float) else Decimal(value)
        if "%" in form:
            return Cell(*place, f"{_digits(number * 100)}%", Kind.PERCENT)
        return Cell(*place, _digits(number), Kind.MONEY if any(sign in form for sign in _CURRENCIES) else Kind.NUMBER)
    if isinstance(value, datetime):
        return Cell(*place, value.date().isoformat(), Kind.DATE)
    if isinstance(value, date):
        return Cell(*place, value.isoformat(), Kind.DATE)
    if isinstance(value, time | timedelta):
        return Cell(*place, _minutes(value))
    text = str(value).strip()
    return Cell(*place, text) if text else None


def _digits(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _minutes(value: time | timedelta) -> str:
    """A clock time in a cell is how a spreadsheet writes a length."""
    if isinstance(value, time):
        value = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second)
    return f"{_digits(Decimal(str(value.total_seconds())))}s"


def _write(sheet: Worksheet, table: Table) -> None:
    widths: dict[int, int] = {}
    for number, row in enumerate(table.rows, 1):
        for column, each in enumerate(row, 1):
            widths[column] = max(widths.get(column, 8), min(len(each.text) + 2, 48))
            if each.number is None and not each.text:
                continue
            cell = sheet.cell(number, column)
            if each.number is not None:
                cell.value = int(each.number) if each.number == each.number.to_integral_value() else float(each.number)
                cell.number_format = each.form
            else:
                cell.value = each.text
                # Set after the value, which would make a formula of a text that begins with '='.
                cell.data_type = "s"
                cell.quotePrefix = each.text[:1] in {"=", "+", "-", "@", "'"}
            if number == 1:
                cell.font = Font(bold=True)
                cell.alignment = Alignment(wrap_text=True, vertical="top")
            elif each.text in _COLOURS:
                cell.fill = PatternFill("solid", fgColor=_COLOURS[each.text])
    for column, width in widths.items():
        sheet.column_dimensions[get_column_letter(column)].width = width
    sheet.freeze_panes = "B2"
    if table.rows:
        sheet.auto_filter.ref = f"A1:{get_column_letter(max(len(table.rows[0]), 1))}{len(table.rows)}"
