"""What does a sheet say of a plan's workloads, and what does a plan become by it?"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from upshift.sheets import csv_text, xlsx_book
from upshift.sheets.averages import Joined, join, warnings
from upshift.sheets.cells import Fault, Faults, Grid, SheetError
from upshift.sheets.columns import BY_PATH, Says
from upshift.sheets.figures import Numbers
from upshift.sheets.layout import Layout, lay_out, worth
from upshift.sheets.mapping import How, Match
from upshift.sheets.reading import Entry, Known, entries
from upshift.sheets.rest import is_rest, read_rest
from upshift.sheets.tables import QUARTERS, same
from upshift.sheets.tree import Tree, at, leaves, with_value

_CSV = (".csv", ".tsv", ".txt")
_XLSX = (".xlsx", ".xlsm")
_SECTION = "workloads"
_FIGURES = frozenset((Says.FIGURE, Says.TEXT, Says.QUARTER))


class Source(msgspec.Struct, frozen=True):
    """A sheet with a table, and the sheets beside it that hold the rest of a plan."""

    layout: Layout
    rest: tuple[Grid, ...]

    @property
    def proposed(self) -> tuple[Match, ...]:
        """The columns whose meaning a person has to confirm."""
        return tuple(each for each in self.layout.matches if each.how is How.PROPOSED)


class Sheet(msgspec.Struct, frozen=True):
    """What a sheet says. `rest` is the plan in the sheets beside it, empty where there is none."""

    entries: tuple[Entry, ...]
    joined: tuple[Joined, ...]
    warnings: tuple[str, ...]
    rest: Mapping[str, Tree]


class Change(msgspec.Struct, frozen=True):
    """A field of a workload that becomes another; empty where there was or will be nothing."""

    workload: str
    field: str
    before: str
    after: str


def find(file: str, data: bytes, wanted: Mapping[str, str], sheet: str = "") -> Source:
    """The table of a file: on the named sheet, or on the only one that has one. Raises SheetError."""
    name = file.lower()
    if name.endswith(_CSV):
        grids = [csv_text.parse(file, data, lambda grid: worth(grid, wanted))]
    elif name.endswith(_XLSX):
        grids = xlsx_book.parse(file, data)
    else:
        what, remedy = "the file's name does not end in .csv or .xlsx", "Save the sheet as one of them."
        raise SheetError([Fault(file=file, what=what, remedy=remedy)])
    rest = tuple(each for each in grids if is_rest(each))
    tables = [each for each in grids if each not in rest and (each.sheet != QUARTERS or not rest)]
    if sheet:
        tables = [each for each in grids if each.sheet == sheet]
        if not tables:
            names = ", ".join(each.sheet for each in grids if each.sheet) or "none: it is CSV"
            what = f"there is no sheet {sheet!r}"
            raise SheetError([Fault(file=file, what=what, expected=f"one of its sheets ({names})")])
    found = [each for each in (lay_out(grid, wanted) for grid in tables) if each is not None]
    if not found:
        what, expected = "no row names a column of a plan's table", "a header like Workload, Owner, ..."
        remedy = "Say what columns mean: --map 'HEADER=tokens', or by letter, --map 'C=tokens'."
        raise SheetError([Fault(file=file, sheet=sheet, what=what, expected=expected, remedy=remedy)])
    best = max(worth(each.grid, wanted) for each in found)
    likely = [each for each in found if worth(each.grid, wanted) * 2 > best]
    if len(likely) > 1:
        names = ", ".join(each.grid.sheet for each in likely)
        what = f"several sheets may be the table: {names}"
        raise SheetError([Fault(file=file, what=what, expected="one", remedy="Say which: --sheet NAME.")])
    return Source(likely[0], rest)


def confirmed(source: Source, fields: Mapping[str, bool]) -> Source:
    """The source with its proposals, by the place of their header, taken or left out."""
    matches = tuple(
        msgspec.structs.replace(each, how=How.MAPPED if fields.get(each.cell.place) else How.LEFT_OUT)
        if each.how is How.PROPOSED
        else each
        for each in source.layout.matches
    )
    return Source(msgspec.structs.replace(source.layout, matches=matches), source.rest)


def sheet_of(source: Source, known: Known, numbers: Numbers, *, whole: bool) -> Sheet:
    """What a sheet says; `whole` with the rest of the plan beside it. Raises SheetError with every fault."""
    faults = Faults(source.layout.grid)
    rest, rest_faults = read_rest(source.rest if whole else ())
    if whole and rest:
        sections = {name: list(tree) if isinstance(tree, dict) else [] for name, tree in rest.items()}
        known = Known(names=sections, workloads={})
    found = entries(source.layout, known, numbers, faults)
    said = warnings(source.layout, found)
    joined, figures = join(found, faults)
    every = [*faults.found, *(fault for each in rest_faults for fault in each.found)]
    if not joined and not every:
        faults.add(None, "there is no row below the header", "one row per workload")
        every = faults.found
    if every:
        raise SheetError(every)
    return Sheet(tuple(joined), tuple(figures), tuple(said), rest)


def applied(workloads: Tree, found: Iterable[Entry]) -> dict[str, Tree]:
    """The workloads with what the rows say. A cell that says nothing takes its field out; where one says what is
    there already in other words, those stay.
    """
    after: dict[str, Tree] = dict(workloads) if isinstance(workloads, dict) else {}
    for entry in found:
        tree = after.get(entry.id)
        for path, value in entry.values.items():
            if not same(path, at(tree, path), value):
                tree = with_value(tree, path, value)
        after[entry.id] = tree if tree is not None else {}
    return after


def changes(before: Tree, after: Mapping[str, Tree]) -> list[Change]:
    """Every field that changes."""
    old_rows = before if isinstance(before, dict) else {}
    found = []
    for name, tree in after.items():
        old, new = _texts(old_rows.get(name)), _texts(tree)
        if name not in old_rows and not new:
            found.append(Change(name, "", "", "new"))
        found += [
            Change(name, path, old.get(path, ""), new.get(path, ""))
            for path in dict.fromkeys((*old, *new))
            if old.get(path) != new.get(path)
        ]
    return found


def known_of(plan: Mapping[str, Tree]) -> Known:
    """What a plan has already."""
    names = {section: list(tree) if isinstance(tree, dict | list) else [] for section, tree in plan.items()}
    workloads = plan.get(_SECTION)
    rows = workloads if isinstance(workloads, dict) else {}
    called: dict[str, list[str]] = {}
    for name, row in rows.items():
        title = row.get("name") if isinstance(row, dict) else None
        if isinstance(title, str):
            called.setdefault(title.casefold(), []).append(name)
    by_name = {title: ids[0] for title, ids in called.items() if len(ids) == 1}
    sections = {section: [str(each) for each in found] for section, found in names.items()}
    return Known(names=sections, workloads={**by_name, **{name.casefold(): name for name in rows}})


def located(path: str, what: str, expected: str, remedy: str, grid: Grid, found: Sequence[Entry]) -> Fault | None:
    """A problem of the plan, by its path, as a fault of the cell that it comes from; None where none is its cause."""
    for entry in found:
        prefix = f"{_SECTION}.{entry.id}"
        if path == prefix or path.startswith(f"{prefix}."):
            inner = tuple(path[len(prefix) + 1 :].split("."))
            cells = [entry.cells[inner[:size]] for size in range(len(inner), 0, -1) if inner[:size] in entry.cells]
            cell = cells[0] if cells else entry.cell
            field = ".".join(inner)
            return Fault(
                file=grid.file, sheet=grid.sheet, cell=cell.place, value=cell.text[:200],
                what=f"{entry.id} {field}: {what}".replace(" : ", ": "), expected=expected, remedy=remedy,
            )  # fmt: skip
    return None


def of_the_cell(path: str, found: Sequence[Entry]) -> bool:
    """Whether a problem at `path` is one of a cell's own value, not of something that the plan does not have yet."""
    for entry in found:
        prefix = f"{_SECTION}.{entry.id}."
        if path.startswith(prefix):
            inner = tuple(path[len(prefix) :].split("."))
            column = BY_PATH.get(inner)
            return column is not None and (column.says in _FIGURES or inner == ("users",))
    return False


def _texts(tree: Tree) -> dict[str, str]:
    found: dict[str, str] = {}
    for path, leaf in leaves(tree):
        if leaf is not None and leaf not in ({}, []):
            found[".".join(str(step) for step in path)] = str(leaf)
    return found
