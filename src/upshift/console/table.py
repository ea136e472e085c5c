"""How does a table sort, filter and export itself, by its URL alone?"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from operator import itemgetter
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from upshift.admin.reports import harmless

R = TypeVar("R")

MOST_ROWS = 500
"""Shown on a page; an export has them all."""


class Kind(StrEnum):
    """How a column's values are written."""

    TEXT = "text"
    CODE = "code"
    WORDS = "words"
    STATE = "state"
    MONEY = "money"
    TOKENS = "tokens"
    COUNT = "count"
    SHARE = "share"
    BAR = "bar"
    MS = "ms"
    TIME = "time"
    DAY = "day"

    @property
    def number(self) -> bool:
        """Whether it is set flush right."""
        return self in {Kind.MONEY, Kind.TOKENS, Kind.COUNT, Kind.SHARE, Kind.BAR, Kind.MS}


class Column(msgspec.Struct, Generic[R], frozen=True):
    """One column: what it is called in URLs and exports, its title, and how a row's value is had.

    Values of SHARE and BAR are 0 to 1, of MONEY nano-dollars, of MS milliseconds, of TIME ISO 8601.
    """

    name: str
    title: str
    value: Callable[[R], Any]
    kind: Kind = Kind.TEXT
    link: Callable[[R], str] | None = None
    hint: str = ""
    """What it means, on hovering."""
    wide: bool = False
    """Left out on a phone."""
    missing: str = ""
    """What is written for None, where that is not simply unknown."""
    taken_only: bool = False
    """Not on the page, which would be too wide; in exports, found by a search and in `sort` of the URL."""


class Asked(msgspec.Struct, frozen=True):
    """What the URL asks of a table: `sort` is a column's name, with a minus before it for the largest first."""

    path: str
    sort: str = ""
    search: str = ""
    others: tuple[tuple[str, str], ...] = ()
    """The rest of the query, kept in links."""

    def url(self, **changes: str) -> str:
        """The same page with other words in its query; an empty word is left out."""
        query = dict(self.others) | {"sort": self.sort, "q": self.search} | changes
        said = urlencode({name: value for name, value in query.items() if value})
        return f"{self.path}?{said}" if said else self.path


class Table(Generic[R]):
    """Rows in the order and selection that a URL asks for."""

    def __init__(
        self, columns: Sequence[Column[R]], rows: Sequence[R], asked: Asked, first: str = "", most: int = MOST_ROWS
    ) -> None:
        """`first` is the sort where the URL asks for none; empty leaves the rows as they come. `most` are shown."""
        self.columns = columns
        self.asked = asked
        self.sort = asked.sort if asked.sort.lstrip("-") in {each.name for each in columns} else first
        self.all = len(rows)
        self._most = most
        self.rows = self._sorted([row for row in rows if self._wanted(row)])

    @property
    def shown(self) -> Sequence[R]:
        """The rows of the page."""
        return self.rows[: self._most]

    def order(self, column: Column[R]) -> str:
        """'ascending', 'descending' or 'none', as ARIA says it."""
        if self.sort.lstrip("-") != column.name:
            return "none"
        return "descending" if self.sort.startswith("-") else "ascending"

    def sorting(self, column: Column[R]) -> str:
        """The URL that sorts by a column: figures from the largest, and the other way round the second time."""
        now = self.order(column)
        down = now == "ascending" or (now == "none" and column.kind.number)
        return self.asked.url(sort=f"-{column.name}" if down else column.name)

    def export(self, form: str) -> str:
        """The URL that gives all rows as csv or json."""
        return self.asked.url(format=form)

    def to_csv(self, *, titled: bool = True) -> str:
        """All rows for a spreadsheet, with values as they are kept; `titled` with the names of the columns first."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        if titled:
            writer.writerow([column.name for column in self.columns])
        for row in self.rows:
            writer.writerow([_cell(column.value(row)) for column in self.columns])
        return out.getvalue()

    def to_json(self) -> str:
        """All rows, each an object."""
        return json.dumps(list(self._objects()), ensure_ascii=False, default=str)

    def _objects(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            yield {column.name: column.value(row) for column in self.columns}

    def _wanted(self, row: R) -> bool:
        sought = self.asked.search.casefold().split()
        if not sought:
            return True
        texts = " ".join(str(column.value(row)) for column in self.columns if not column.kind.number).casefold()
        return all(each in texts for each in sought)

    def _sorted(self, rows: list[R]) -> list[R]:
        column = next((each for each in self.columns if each.name == self.sort.lstrip("-")), None)
        if column is None:
            return rows
        told = [(column.value(row), row) for row in rows]
        known = [(_key(value), row) for value, row in told if value is not None]
        known.sort(key=itemgetter(0), reverse=self.sort.startswith("-"))
        return [row for _, row in known] + [row for value, row in told if value is None]


def in_pieces(columns: Sequence[Column[R]], rows: Iterator[R], asked: Asked, form: str) -> Iterator[str]:
    """All rows that are sought, as csv or json, piece by piece in the order they come: there may be millions."""
    sought = msgspec.structs.replace(asked, sort="")
    first = True
    if form == "json":
        yield "["
    while piece := list(islice(rows, MOST_ROWS)):
        table = Table(columns, piece, sought)
        if form == "csv":
            yield table.to_csv(titled=first)
        elif table.rows:
            yield ("" if first else ", ") + table.to_json()[1:-1]
        first = first and form == "json" and not table.rows
    if form == "json":
        yield "]"
    elif first:
        yield Table(columns, [], sought).to_csv()


def _key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return harmless(value) if isinstance(value, str) else value
