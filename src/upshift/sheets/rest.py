"""How is everything of a plan that is in no table kept in sheets, leaf by leaf?"""

from collections.abc import Mapping, Sequence

from upshift.sheets.cells import Faults, Grid
from upshift.sheets.tables import carried
from upshift.sheets.texts import flow, from_flow, path_of, path_text
from upshift.sheets.tree import Path, Tree, built, leaves, with_value
from upshift.sheets.xlsx_book import Table, Value

MORE = "Workloads, more"
PLAN = "Plan"
HEADER = ("Section", "Name", "Field", "Value")
_SECTION = "workloads"
_LONGEST_TITLE = 31
_RESERVED = frozenset(("workloads", "quarters", "plan", MORE.lower()))


def rest_tables(plan: Mapping[str, Tree]) -> list[Table]:
    """A sheet for each section of the plan, and one for what workloads say beyond their table."""
    sections = {name: tree for name, tree in plan.items() if name != _SECTION}
    own = {name: tree for name, tree in sections.items() if isinstance(tree, dict) and tree and _can_be_title(name)}
    small = [row for name, tree in sections.items() if name not in own for row in _rows(name, tree)]
    workloads = plan.get(_SECTION)
    more: list[tuple[Value, ...]] = []
    for name, workload in workloads.items() if isinstance(workloads, dict) else ():
        left: Tree = workload
        for path in carried(workload):
            left = with_value(left, path, None)
        if isinstance(left, dict) and left:
            more += _rows(_SECTION, {name: left})
    tables = [_table(PLAN, small), *(_table(name, _rows(name, tree)) for name, tree in own.items())]
    return [_table(MORE, more), *tables] if more else tables


def is_rest(grid: Grid) -> bool:
    """Whether a sheet is one of these."""
    return bool(grid.rows) and tuple(cell.text for cell in grid.rows[0]) == HEADER


def read_rest(grids: Sequence[Grid]) -> tuple[dict[str, Tree], list[Faults]]:
    """The plan of such sheets, without what the table of workloads says."""
    plan: dict[str, Tree] = {}
    faults = []
    for grid in grids:
        found = Faults(grid)
        faults.append(found)
        leaves_: list[tuple[Path, Tree]] = []
        for row in grid.rows[1:]:
            if not any(cell.text for cell in row):
                continue
            section, name, field, value = (row[index].text if index < len(row) else "" for index in range(4))
            try:
                leaves_.append(((section, *path_of(name), *path_of(field)), from_flow(value)))
            except ValueError as error:
                found.add(row[0], f"this row cannot be read: {error}", "section, name, field and value")
        try:
            tree = built(leaves_)
        except ValueError as error:
            found.add(None, f"rows contradict each other: {error}", "each field once, lists in their order")
            continue
        for section, inner in tree.items() if isinstance(tree, dict) else ():
            there = plan.get(section)
            plan[section] = {**there, **inner} if isinstance(there, dict) and isinstance(inner, dict) else inner
    return plan, faults


def _can_be_title(name: str) -> bool:
    return len(name) <= _LONGEST_TITLE and name.isidentifier() and name.lower() not in _RESERVED


def _table(title: str, rows: Sequence[tuple[Value, ...]]) -> Table:
    return Table(title, (tuple(Value(each) for each in HEADER), *rows))


def _rows(section: str, tree: Tree) -> list[tuple[Value, ...]]:
    made: list[tuple[Value, ...]] = []
    for path, leaf in leaves(tree):
        first, others = path[:1], path[1:]
        made.append((Value(section), Value(path_text(first)), Value(path_text(others)), Value(flow(leaf))))
    return made
