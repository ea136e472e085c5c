"""What was measured of teams of different sizes, and what is wrong with a sheet of it?"""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from upshift.planning.usl import Declared

MOST = 1e12
"""No figure of a measurement is larger: what is would be a slip, and squares of it leave what can be computed."""


class Measured(msgspec.Struct, frozen=True):
    """One measurement: how much a team of `agents` got done per unit of time, over `time` such units.

    Tasks per week over one week; or one task that took 40 s: 0.025 per second over 40. Means are weighted by time, so
    that they are tasks done by time spent. `group` is what must be the same for two sizes to be compared: a kind of
    task, a model.
    """

    agents: int
    throughput: float
    time: float = 1.0
    group: str = ""


class BadSheetError(ValueError):
    """A sheet cannot be used. `problems` are all of them, each with its line and what to do."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


_NAMES = {
    "agents": ("agents", "agent_count", "team_size", "size", "n", "load", "users", "processors"),
    "throughput": ("throughput", "tasks_per_week", "tasks_per_day", "tasks_per_hour", "rate", "x"),
    "tasks": ("tasks", "tasks_done", "done", "completed"),
    "time": ("time", "duration", "seconds", "minutes", "hours", "days", "weeks"),
    "group": ("group", "task_type", "kind", "cell"),
}
_MOST = 20
"""Problems of rows that are listed; a sheet of the wrong kind has one in each."""


def read_measured(text: str) -> list[Measured]:
    """The measurements of a CSV sheet: `agents` and `throughput`, or `agents`, `tasks` and `time`; `group` if any.

    Raises BadSheetError with every problem, its line and its remedy; no row is left out.
    """
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")), dialect=_dialect(text), strict=True)
    found: list[Measured] = []
    problems: list[str] = []
    try:
        columns = _columns(next(rows, []))
        for row in rows:
            if any(cell.strip() for cell in row):
                wrong = _row(row, columns, found)
                problems += [f"line {rows.line_num}: {each}" for each in wrong]
    except csv.Error as error:
        problems.append(f"line {rows.line_num}: not CSV: {error}; save the sheet as CSV again")
    if not problems and not found:
        problems.append("line 2: no measurement; write one row per measurement under the header")
    if len(problems) > _MOST:
        problems[_MOST:] = [f"and {len(problems) - _MOST} more like these"]
    if problems:
        raise BadSheetError(problems)
    return found


def _dialect(text: str) -> type[csv.Dialect]:
    head = text.partition("\n")[0]
    return csv.excel_tab if "\t" in head else _Semicolons if ";" in head else csv.excel


class _Semicolons(csv.excel):
    delimiter = ";"


def _columns(header: Sequence[str]) -> dict[str, int]:
    """Where each known column is. Raises BadSheetError."""
    plain = [re.sub(r"[^a-z0-9]+", "_", cell.strip().lower()).strip("_") for cell in header]
    at: dict[str, int] = {}
    problems: list[str] = []
    for name, aliases in _NAMES.items():
        places = [index for index, cell in enumerate(plain) if cell in aliases]
        if len(places) > 1:
            named = " and ".join(repr(header[index].strip()) for index in places)
            problems.append(f"line 1: {named} both mean {name}; leave one of them")
        if places:
            at[name] = places[0]
    listed = ", ".join(repr(cell.strip()) for cell in header) or "nothing"
    if "agents" not in at:
        problems.append(f"line 1: no column 'agents' ({' or '.join(_NAMES['agents'][1:])}); found {listed}")
    if "throughput" in at and "tasks" in at:
        problems.append("line 1: 'throughput' and 'tasks' say the same twice; leave one of them")
    elif "throughput" not in at and not {"tasks", "time"} <= at.keys():
        problems.append(f"line 1: no column 'throughput', nor 'tasks' and 'time' (or seconds, hours); found {listed}")
    if problems:
        raise BadSheetError(problems)
    return at


def _row(row: Sequence[str], columns: dict[str, int], found: list[Measured]) -> list[str]:
    """What is wrong with a row; a good one is added to what was found."""
    cells = {name: row[index].strip() if index < len(row) else "" for name, index in columns.items()}
    problems: list[str] = []
    numbers: dict[str, float] = {}
    for name in cells.keys() - {"group"}:
        number = _number(cells[name])
        nothing = name in {"throughput", "tasks"}
        if number is not None and number > MOST:
            problems.append(f"{name} {cells[name]!r} is beyond all measuring; give at most {MOST:g}, in a larger unit")
        elif number is None or number < 0 or (number == 0 and not nothing):
            wanted = "a number, 0 or more" if nothing else "a number above 0"
            problems.append(f"{name} {cells[name]!r} is not {wanted}; write it like 1234.5, or take the row out")
        else:
            numbers[name] = number
    agents = numbers.get("agents", 1.0)
    if not agents.is_integer():
        problems.append(f"agents {cells['agents']!r} is not a whole number; a team has 1, 2, 3 ... agents")
    if not problems:
        time = numbers.get("time", 1.0)
        throughput = numbers["throughput"] if "throughput" in numbers else numbers["tasks"] / time
        found.append(Measured(int(agents), throughput, time, cells.get("group", "")))
    return sorted(problems)


def _number(cell: str) -> float | None:
    """A decimal number; commas only before groups of three, so that 1,5 is refused rather than read as 15."""
    if re.fullmatch(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?([eE][+-]?\d+)?", cell) is None:
        return None
    try:
        number = float(cell.replace(",", ""))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def uneven(measured: Sequence[Measured]) -> list[str]:
    """Why groups cannot be compared: sizes at which some of them were not measured. Nothing if they can be."""
    sizes = sorted({each.agents for each in measured})
    seen = Counter((each.group, each.agents) for each in measured)
    return [
        f"group {group!r} was not measured with {', '.join(map(str, missing))} agents; measure it, or leave it out"
        for group in sorted({each.group for each in measured})
        if (missing := [size for size in sizes if not seen[group, size]])
    ]


def read_interfaces(text: str) -> Declared:
    """A declared topology: a CSV sheet of `agents` and `interfaces`, one row per team size. Raises BadSheetError."""
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")), dialect=_dialect(text))
    header = [cell.strip().lower() for cell in next(rows, [])]
    if header[:2] != ["agents", "interfaces"]:
        raise BadSheetError(
            [f"line 1: the columns are 'agents' and 'interfaces', not {', '.join(header) or 'nothing'}"]
        )
    pairs: list[tuple[int, float]] = []
    problems: list[str] = []
    for row in rows:
        cells = [_number(cell.strip()) for cell in row[:2]]
        match cells:
            case [float(agents), float(number)] if agents.is_integer():
                pairs.append((int(agents), number))
            case _ if any(cell.strip() for cell in row):
                problems.append(f"line {rows.line_num}: {row!r} is not a team size and its interfaces, like 20,47")
            case _:
                pass
    if problems:
        raise BadSheetError(problems)
    try:
        return Declared(tuple(sorted(pairs)))
    except ValueError as error:
        raise BadSheetError([str(error)]) from None
