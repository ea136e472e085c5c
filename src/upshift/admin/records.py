"""How are rows of many columns written: as CSV for spreadsheets, as Parquet for everything else?"""

import csv
import importlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import IO, Any, TypeAlias

import msgspec

from upshift.admin.desk import ActError
from upshift.admin.reports import harmless

Row: TypeAlias = Mapping[str, "str | int | bool | Decimal | datetime | None"]
"""Values by the names of columns; one that is missing is not known or does not apply."""

_ROWS = 5_000
"""Written at a time: of a Parquet file, a row group."""


class Kind(StrEnum):
    """What a column's values are."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DECIMAL = "decimal"
    """Exact: US dollars to the nano-dollar, or counts."""
    TIME = "time"


class Column(msgspec.Struct, frozen=True):
    """A column."""

    name: str
    kind: Kind = Kind.TEXT


def to_csv(columns: Sequence[Column], rows: Iterable[Row]) -> Iterator[str]:
    """The file in pieces. Nothing in it is taken for a formula; a value that is not known is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    for number, row in enumerate(rows, 1):
        writer.writerow([_cell(row.get(column.name)) for column in columns])
        if number % _ROWS == 0:
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


def to_parquet(columns: Sequence[Column], rows: Iterable[Row], to: IO[bytes]) -> None:
    """Write the file. Raises ActError where the library for it is not installed."""
    # Loaded when it is asked for: it is large, and most installations do without.
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ActError("Parquet needs a library that is not installed; run: pip install 'upshift[parquet]'") from None
    types = {
        Kind.TEXT: arrow.string(),
        Kind.INTEGER: arrow.int64(),
        Kind.BOOLEAN: arrow.bool_(),
        Kind.DECIMAL: arrow.decimal128(38, 9),
        Kind.TIME: arrow.timestamp("us", tz="UTC"),
    }
    schema = arrow.schema([(column.name, types[column.kind]) for column in columns])
    left = iter(rows)
    with parquet.ParquetWriter(to, schema, compression="zstd") as writer:
        while some := list(islice(left, _ROWS)):
            values = [[row.get(column.name) for row in some] for column in columns]
            arrays = [
                arrow.array(of_column, types[column.kind]) for column, of_column in zip(columns, values, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def _cell(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str():
            return harmless(value)
        case Decimal():
            text = f"{value:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime():
            moment = value.astimezone(UTC)
            return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")
        case _:
            return value
