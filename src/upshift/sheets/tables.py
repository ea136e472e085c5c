"""Which table do a plan's workloads make, as rows of cells and by quarter?"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from upshift.model.quarter import Quarter, parse_quarter
from upshift.sheets.columns import BY_PATH, COLUMNS, ID, Column, Says
from upshift.sheets.figures import Measure, Numbers, figure, stated
from upshift.sheets.texts import flow, written
from upshift.sheets.tree import Tree, at, with_value
from upshift.sheets.xlsx_book import Table, Value

WORKLOADS = "Workloads"
QUARTERS = "Quarters"
_ARROW = "\u2192"
_PERCENTILES = ("p10", "p50", "p90")
_MODELS = ("primary", "degrade_to")
_AFTER = 4
"""Quarters shown after the last that the plan names."""
_MOST_QUARTERS = 40
_DIGITS = 15
_FORMS = {Measure.COUNT: "#,##0.####", Measure.SHARE: "0.####%", Measure.HOURS: "0.##"}
_SCALES: dict[str, Decimal | int] = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "%": Decimal("0.01"), "h": 1}


def workloads_table(workloads: Tree) -> Table:
    """One row per workload, a column per field, and two for each customer tier that users are told by."""
    rows = workloads if isinstance(workloads, dict) else {}
    tiers = list(dict.fromkeys(tier for each in rows.values() for tier in _by_tier(at(each, ("users",)))))
    made = [_header(tiers)]
    for name, row in rows.items():
        made.append(tuple(value for column in COLUMNS for value in _cells(name, row, column, tiers)))
    return Table(WORKLOADS, tuple(made))


def quarters_table(workloads: Tree) -> Table:
    """One row per workload, one column per quarter: how committed each is in it. It follows from the other table."""
    rows = workloads if isinstance(workloads, dict) else {}
    spans = {name: (_quarter(at(row, ("ships",))), _quarter(at(row, ("retires",)))) for name, row in rows.items()}
    named = [each for span in spans.values() for each in span if each is not None]
    shown: list[Quarter] = []
    if named:
        count = min(max(named).since(min(named)) + 1 + _AFTER, _MOST_QUARTERS)
        shown = [min(named).plus(index) for index in range(count)]
    made = [tuple(Value(each) for each in (*_titles(), *(str(quarter) for quarter in shown)))]
    for name, row in rows.items():
        ships, retires = spans[name]
        status = str(at(row, ("status",)) or "candidate")
        runs = [ships is not None and ships <= each and (retires is None or each < retires) for each in shown]
        title = Value(written(str(at(row, ("name",)) or "")) if at(row, ("name",)) else "")
        made.append((Value(written(name)), title, *(Value(status if each else "") for each in runs)))
    return Table(QUARTERS, tuple(made))


def csv_rows(table: Table) -> list[list[str]]:
    """A table as texts; numbers in plain digits, so that they mean the same everywhere."""
    return [[each.text for each in row] for row in table.rows]


def carried(workload: Tree) -> set[tuple[str, ...]]:
    """The paths of a workload that the table has a column for."""
    return {path for path in BY_PATH if at(workload, path) is not None}


def same(path: tuple[str, ...], one: Tree, other: Tree) -> bool:
    """Whether two values of a workload's field stand in its cells alike: 520k and 520000 do."""
    column = BY_PATH.get(path)
    if one == other or column is None or one is None or other is None:
        return one == other
    tiers = list(dict.fromkeys([*_by_tier(one), *_by_tier(other)]))
    rows = [with_value({}, path, each) for each in (one, other)]
    return _cells("", rows[0], column, tiers) == _cells("", rows[1], column, tiers)


def _titles() -> tuple[str, str]:
    return COLUMNS[0].header, COLUMNS[1].header


def _header(tiers: Sequence[str]) -> tuple[Value, ...]:
    names: list[str] = []
    for column in COLUMNS:
        names.append(column.header)
        if column.says is Says.USERS:
            names += [f"{kind} ({tier})" for tier in tiers for kind in ("Users", "Weight")]
    return tuple(Value(name) for name in names)


def _cells(name: str, row: Tree, column: Column, tiers: Sequence[str]) -> list[Value]:
    if column.field == ID:
        return [Value(written(name))]
    found = at(row, column.path)
    if column.says is not Says.USERS:
        return [_value(found, column)]
    by_tier = _by_tier(found)
    cells = [Value() if by_tier else _value(found, column)]
    for tier in tiers:
        said = by_tier.get(tier)
        if isinstance(said, dict) and "users" in said and said.keys() <= {"users", "weight"}:
            cells += [_value(said["users"], column), _value(said.get("weight"), column)]
        else:
            cells += [_value(said, column), Value()]
    return cells


def _by_tier(users: Tree) -> Mapping[str, Tree]:
    return users if isinstance(users, dict) and users and not users.keys() <= set(_PERCENTILES) else {}


def _value(found: Tree, column: Column) -> Value:
    if found is None:
        return Value()
    match column.says:
        case Says.FIGURE | Says.USERS:
            return _figure(found, column.measure)
        case Says.MODELS if isinstance(found, dict) and list(found) in (list(_MODELS), list(_MODELS[:1])):
            tiers = [str(each) for each in found.values()]
            return Value(_ARROW.join(tiers)) if all(_plain_name(each) for each in tiers) else Value(flow(found))
        case Says.NAMES if isinstance(found, list) and found and all(_plain_name(each) for each in found):
            return Value(", ".join(str(each) for each in found))
        case Says.QUARTER if isinstance(found, str):
            return Value(str(parse_quarter(found)))
        case Says.TEXT | Says.NAME | Says.STATUS if isinstance(found, str):
            return Value(written(found))
        case _:
            return Value(flow(found))


def _plain_name(found: Tree) -> bool:
    return isinstance(found, str) and bool(found) and all(each.isalnum() or each in "._/:-" for each in found)


def _figure(found: Tree, measure: Measure) -> Value:
    if isinstance(found, dict) and {"p10", "p90"} <= found.keys() <= set(_PERCENTILES):
        parts = [found[each] for each in _PERCENTILES if found.get(each) is not None]
        try:
            joined = "..".join(figure(str(each), measure, Numbers.ENGLISH) for each in parts)
            return Value(figure(joined, measure, Numbers.AUTO))
        except ValueError:
            return Value(flow(found))
    if not isinstance(found, str):
        return Value(flow(found))
    text = stated(found, measure)
    number = _number(text, measure)
    return Value(text) if number is None else number


def _number(text: str, measure: Measure) -> Value | None:
    """A figure that a spreadsheet can compute with; None where it is a spread or has more digits than one keeps."""
    unit = text[-1:] if text[-1:].isalpha() or text[-1:] == "%" else ""
    digits = text[: len(text) - len(unit)]
    if measure not in _FORMS or unit not in _SCALES or not digits.removeprefix("-").replace(".", "", 1).isdigit():
        return None
    if measure is Measure.SHARE and unit == "":
        return None
    number = Decimal(digits) * _SCALES[unit]
    if len(number.normalize().as_tuple().digits) > _DIGITS or number.adjusted() > _DIGITS:
        return None
    shown = text if measure is Measure.SHARE else stated(f"{number.normalize():f}", measure).removesuffix("h")
    return Value(shown, number, _FORMS[measure])


def _quarter(found: Tree) -> Quarter | None:
    return parse_quarter(found) if isinstance(found, str) else None
