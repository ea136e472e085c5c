"""Which workloads do the rows of a table describe, and which cells cannot be read?"""

import re
from collections.abc import Collection, Mapping, Sequence

import msgspec

from upshift.sheets import moments
from upshift.sheets.cells import Cell, Faults, Kind, shown
from upshift.sheets.columns import CLIENT, ID, Column, Says, folded
from upshift.sheets.figures import EXPECTED, Measure, Numbers, UnclearError, evidence, figure
from upshift.sheets.layout import Layout, nothing
from upshift.sheets.mapping import Match
from upshift.sheets.texts import from_flow, read
from upshift.sheets.tree import Tree

_STATUS = {
    **dict.fromkeys(("candidate", "kandidat", "candidat", "candidato", "idea", "idee", "proposed"), "candidate"),
    **dict.fromkeys(("planned", "geplant", "planifie", "planifi\u00e9", "planificado", "planeado"), "planned"),
    **dict.fromkeys(("committed", "zugesagt", "verbindlich", "engage", "engag\u00e9", "comprometido"), "committed"),
}
_ARROW = re.compile(r"\s*(?:\u2192|->|=>|\u21d2|>)\s*")
_ID = re.compile(r"[A-Za-z0-9._/:-]{1,64}")
_BETWEEN = re.compile(r"\s*[,;]\s*")


class Known(msgspec.Struct, frozen=True):
    """What the plan has already: names by section, and its workloads by what people call them."""

    names: Mapping[str, Collection[str]] = {}
    workloads: Mapping[str, str] = {}
    """Ids by id and by name, without case."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A row: the workload it describes, and what it says at which path; None where the cell says nothing."""

    id: str
    cell: Cell
    client: str = ""
    values: Mapping[tuple[str, ...], Tree]
    cells: Mapping[tuple[str, ...], Cell]


def entries(layout: Layout, known: Known, numbers: Numbers, faults: Faults) -> list[Entry]:
    """The rows of a table. What cannot be read is added to `faults`, every cell of it."""
    columns = [each for each in layout.matches if each.read]
    _check_columns(columns, faults)
    styles = {each.cell.column: _style(layout, each, numbers) for each in columns}
    found = []
    for row in layout.rows:
        entry = _entry(row, columns, styles, known, faults)
        if entry is not None:
            found.append(entry)
    return found


def _check_columns(columns: Sequence[Match], faults: Faults) -> None:
    fields: dict[tuple[str, str, bool], Match] = {}
    for each in columns:
        key = (each.field, each.tier, each.weight)
        if key in fields:
            other = fields[key].cell
            what = f"column {each.cell.text!r} means {each.field!r}, as {other.text!r} in {other.place}"
            faults.add(each.cell, what, "one column of each", f"Leave one out: --map '{each.cell.text}=-'.")
        fields[key] = each
    names = {each.field for each in columns}
    if not names & {ID, "name"}:
        remedy = "Say: --map 'HEADER=name'."
        faults.add(None, "no column says which workload a row is", "a column ID or Workload", remedy)


def _style(layout: Layout, match: Match, numbers: Numbers) -> Numbers:
    if numbers is not Numbers.AUTO or match.column.says not in {Says.FIGURE, Says.USERS}:
        return numbers
    column = match.cell.column - 1
    cells = [row[column] for row in layout.rows if column < len(row)]
    return evidence(cell.text for cell in cells if cell.kind is Kind.TEXT).settled


def _entry(
    row: Sequence[Cell], columns: Sequence[Match], styles: Mapping[int, Numbers], known: Known, faults: Faults
) -> Entry | None:
    number = row[0].row
    cells = [(each, _at(row, each.cell.column, number)) for each in columns]
    values: dict[tuple[str, ...], Tree] = {}
    places: dict[tuple[str, ...], Cell] = {}
    users: dict[str, dict[str, Tree]] = {}
    said: dict[str, str] = {}
    for match, cell in cells:
        column = match.column
        value = None if nothing(cell) else _value(cell, match, styles[match.cell.column], known, faults)
        if match.tier:
            places.setdefault(("users", match.tier), cell)
            if value is not None:
                users.setdefault(match.tier, {})["weight" if match.weight else "users"] = value
            values.setdefault(column.path, None)
        elif column.path:
            values[column.path] = value
            places[column.path] = cell
        elif isinstance(value, str):
            said[column.field] = value
    _by_tier(values, users, places, faults)
    first = next((cell for match, cell in cells if match.field in {ID, "name"} and cell.text), row[0])
    name = values.get(("name",))
    workload = said.get(ID) or _id_of(name if isinstance(name, str) else "", known)
    if not workload:
        if any(match.field in {ID, "name"} for match in columns):
            what, remedy = "the row does not say which workload it is", "Fill it in, or delete the row."
            faults.add(_named_cell(cells), what, "a name or an id", remedy)
        return None
    if said.get(ID) is None and isinstance(name, str) and workload == name:
        # What stood in the column of names is an id: 'W-01' is nobody's name for it.
        del values["name",]
    return Entry(id=workload, cell=first, client=said.get(CLIENT, ""), values=values, cells=places)


def _named_cell(cells: Sequence[tuple[Match, Cell]]) -> Cell:
    return next(cell for match, cell in cells if match.field in {ID, "name"})


def _at(row: Sequence[Cell], column: int, number: int) -> Cell:
    return row[column - 1] if column <= len(row) else Cell(number, column)


def _by_tier(
    values: dict[tuple[str, ...], Tree],
    users: Mapping[str, Mapping[str, Tree]],
    places: Mapping[tuple[str, ...], Cell],
    faults: Faults,
) -> None:
    if not users:
        return
    if values.get(("users",)) is not None:
        cell = places["users",]
        faults.add(cell, "users stand here and by customer tier", "one of both", "Empty this cell, or those by tier.")
        return
    for tier, said in users.items():
        if "users" not in said:
            faults.add(places["users", tier], f"tier {tier!r} has a weight and no users", "both", "Fill in the users.")
    values["users",] = {tier: dict(said) if "weight" in said else said.get("users") for tier, said in users.items()}


def _id_of(name: str, known: Known) -> str:
    """The id of a workload that a row names: that of the plan, or the name where it could be an id, or made from it."""
    there = known.workloads.get(name.casefold())
    if there is not None:
        return there
    if _ID.fullmatch(name) and any(letter.isdigit() for letter in name):
        return name
    return re.sub(r"[^a-z0-9]+", "-", folded(name)).strip("-")[:64]


def _value(cell: Cell, match: Match, numbers: Numbers, known: Known, faults: Faults) -> Tree:
    column = match.column
    if cell.kind is Kind.ERROR:
        faults.add(cell, f"the formula here came to {cell.text}", _expected(column), "Mend the formula.")
        return None
    if cell.kind is Kind.UNKNOWN:
        remedy = "Open the file in a spreadsheet program and save it, so that values are kept with the formulas."
        faults.add(cell, "the file does not keep what the formula here came to", _expected(column), remedy)
        return None
    try:
        if cell.text[:1] in {"{", "["}:
            return from_flow(cell.text)
        match column.says:
            case Says.FIGURE | Says.USERS:
                return _figure(cell, match, numbers)
            case Says.QUARTER:
                return moments.quarter(cell.text)
            case Says.STATUS:
                return _status(cell.text)
            case Says.MODELS:
                return _models(cell.text, known.names.get(column.section, ()))
            case Says.NAME:
                return _resolved(read(cell.text), known.names.get(column.section, ()))
            case Says.NAMES:
                there = known.names.get(column.section, ())
                return [_resolved(each, there) for each in _BETWEEN.split(cell.text)]
            case Says.ID:
                return known.workloads.get(read(cell.text).casefold(), read(cell.text))
            case Says.TEXT | Says.CLIENT:
                return read(cell.text)
    except UnclearError as error:
        remedy = f"Say which: --numbers english for {error.english}, --numbers european for {error.european}."
        faults.add(cell, f"{shown(cell.text)} may be {error.english} or {error.european}", _expected(column), remedy)
    except ValueError as error:
        faults.add(cell, str(error), _expected(column), _remedy(cell, column))
    return None


def _figure(cell: Cell, match: Match, numbers: Numbers) -> str:
    column = match.column
    if cell.kind is Kind.MONEY:
        raise ValueError(f"{shown(cell.text)} is an amount of money")
    if cell.kind is Kind.DATE:
        raise ValueError(f"{shown(cell.text)} is a date; spreadsheets make dates of numbers like 1.2 or 3/4")
    if cell.kind is Kind.TEXT:
        return figure(cell.text, column.measure, numbers, match.unit)
    unit = "" if cell.kind is Kind.PERCENT else match.unit
    return figure(cell.text, column.measure, Numbers.ENGLISH, unit)


def _status(text: str) -> str:
    found = _STATUS.get(text.strip().casefold())
    if found is None:
        raise ValueError(f"{shown(text)} is not a status")
    return found


def _models(text: str, known: Collection[str]) -> Tree:
    tiers = [_resolved(each, known) for each in _ARROW.split(text)]
    if len(tiers) > 2 or not all(tiers):
        raise ValueError(f"{shown(text)} is not one model tier or two")
    return {"primary": tiers[0]} if len(tiers) == 1 else {"primary": tiers[0], "degrade_to": tiers[1]}


def _resolved(name: str, known: Collection[str]) -> str:
    """A name as the plan spells it; one that it does not have, without capitals and blanks."""
    if name in known:
        return name
    same = [each for each in known if each.casefold() == name.casefold()]
    return same[0] if len(same) == 1 else re.sub(r"\s+", "-", name.strip().lower())


def _expected(column: Column) -> str:
    match column.says:
        case Says.FIGURE | Says.USERS:
            return EXPECTED[column.measure]
        case Says.QUARTER:
            return moments.EXPECTED
        case Says.STATUS:
            return "candidate, planned or committed"
        case Says.MODELS:
            return "model tiers like premium or premium→budget"
        case _:
            return "text"


def _remedy(cell: Cell, column: Column) -> str:
    if column.says is Says.FIGURE and column.measure is Measure.DURATION and "no unit" not in cell.text:
        return "Write the unit, or put it into the header, as in 'Session length (min)'."
    if cell.kind is Kind.MONEY or any(sign in cell.text for sign in "$€£"):
        return f"Map another column to {column.field}, or write the count without a currency."
    return "Correct the cell, or leave the column out: --map 'HEADER=-'."
