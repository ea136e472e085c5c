"""Where does a sheet hold means over clients, and what are they once each client counts by its size?"""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from upshift.sheets.cells import Faults
from upshift.sheets.columns import CLIENT, folded
from upshift.sheets.figures import means
from upshift.sheets.layout import Layout
from upshift.sheets.mapping import How
from upshift.sheets.reading import Entry
from upshift.sheets.tree import Tree

_MEAN = re.compile(
    r"\b(?:avg|averages?|mean|means|mittel|mittelwert|mittlere[rs]?|durchschnitt\w*|o|moyenne|promedio|media|arithmetic)\b"
)
_SEVERAL = re.compile(
    r"\b(?:all other|other|others|various|several|misc|miscellaneous|rest|remaining|sonstige|diverse|ubrige|autres"
    r"|divers|otros|varios)\b|\b\d+ (?:workloads|clients|kunden|use cases|anwendungsfalle)\b"
)
_MARK = re.compile(r"[\u00d8\u00f8\u2300]|x\u0304")
_SCALES: dict[str, Decimal | int] = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "B": 10**9,
    "%": 1,
    "h": 1,
    "s": Decimal(1) / 60,
    "m": 1,
}
_ATOM = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)([kMB%hsm]?)")

USERS = ("users",)


def _estimate(*fields: str) -> tuple[tuple[str, ...], ...]:
    return (USERS, *(("estimate", field) for field in fields))


_PER_USER, _PER_SESSION, _PER_TURN, _PER_TOKEN = (
    _estimate(), _estimate("sessions"), _estimate("sessions", "turns"), _estimate("tokens"),
)  # fmt: skip
_WEIGHTS: dict[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys(("sessions", "tokens", "growth"), _PER_USER),
    **dict.fromkeys(("turns", "session"), _PER_SESSION),
    **dict.fromkeys(("input", "output", "multiplier", "tool_calls", "retries"), _PER_TURN),
    **dict.fromkeys(("output_share", "cached", "cache_written", "long"), _PER_TOKEN),
}
"""By what a client's figure counts: how many users, sessions, turns or tokens it stands for."""


class Joined(msgspec.Struct, frozen=True):
    """A figure of a workload that several clients' rows were joined to."""

    workload: str
    field: str
    clients: int
    weighted: Decimal
    unweighted: Decimal

    @property
    def wrong(self) -> float:
        """By how much the mean without weights is off: 3.7 is 370 % too much."""
        return float(self.unweighted / self.weighted) - 1 if self.weighted else 0.0


def warnings(layout: Layout, found: Iterable[Entry]) -> list[str]:
    """What of a sheet looks like a mean over clients or workloads, with its place."""
    said = []
    for match in layout.matches:
        marked = _MARK.search(match.cell.text) is not None or _MEAN.search(folded(match.cell.text)) is not None
        if match.how not in {How.LEFT_OUT, How.DERIVED} and marked:
            where = layout.grid.where(match.cell.place)
            said.append(
                f"{where}: {match.cell.text!r} is a mean. If it was taken over clients without weights, it may be"
                " several times what they use together: import a row per client, and map the column that names them:"
                f" --map 'HEADER={CLIENT}'"
            )
    for entry in found:
        name = entry.values.get(("name",))
        if isinstance(name, str) and (_SEVERAL.search(folded(name)) or _MEAN.search(folded(name))):
            where = layout.grid.where(entry.cell.place)
            said.append(
                f"{where}: {name!r} seems to stand for several workloads. Their figures differ too much for one row;"
                " give each a row of its own"
            )
    return said


def join(found: Sequence[Entry], faults: Faults) -> tuple[list[Entry], list[Joined]]:
    """One entry per workload. Rows of several clients become one, every figure weighed by what it stands for.

    Other workloads that stand there twice are faults.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        groups.setdefault(entry.id, []).append(entry)
    entries, joined = [], []
    for group in groups.values():
        if len(group) == 1:
            entries.append(group[0])
        elif all(each.client for each in group):
            entry, figures = _one(group, faults)
            entries.append(entry)
            joined += figures
        else:
            for each in group[1:]:
                what = f"workload {each.id!r} stands in {group[0].cell.place} already"
                remedy = f"If each row is a client of it, map the column that names them: --map 'HEADER={CLIENT}'."
                faults.add(each.cell, what, "one row per workload", remedy)
    return entries, joined


def _one(group: Sequence[Entry], faults: Faults) -> tuple[Entry, list[Joined]]:
    values: dict[tuple[str, ...], Tree] = {}
    figures: list[Joined] = []
    for path in dict.fromkeys(path for each in group for path in each.values):
        told = {each.client: each.values.get(path) for each in group}
        first = next((value for value in told.values() if value is not None), None)
        field = path[-1]
        if path == USERS:
            counts = [_number(each.values.get(path)) for each in group]
            exact = [each for each in counts if each is not None]
            if len(exact) == len(group):
                values[path] = f"{sum(exact, Decimal(0)).normalize():f}"
                continue
            what = f"not every client of {group[0].id!r} has a plain number of users"
            faults.add(group[0].cell, what, "one for each", "Figures can only be weighed by users.")
        elif path[0] == "estimate" and field in _WEIGHTS and first is not None:
            figure = _weighed(group, path, faults)
            if figure is not None:
                figures.append(figure)
                values[path] = _as_written(figure.weighted, str(first))
        elif any(value != first for value in told.values() if value is not None):
            cell = next(each.cells.get(path, each.cell) for each in group if each.values.get(path) not in {None, first})
            faults.add(cell, f"clients of {group[0].id!r} do not agree on {field}", f"{first!r} as in the first row",
                       "Make them agree, or leave the column out.")  # fmt: skip
        else:
            values[path] = first
    return msgspec.structs.replace(group[0], values=values, client=""), figures


def _weighed(group: Sequence[Entry], path: tuple[str, ...], faults: Faults) -> Joined | None:
    """The mean of a figure over the rows that say it."""
    pairs: list[tuple[Decimal, Decimal]] = []
    by = [each for each in _WEIGHTS[path[-1]] if all(entry.values.get(each) is not None for entry in group)]
    for entry in group:
        value = _number(entry.values.get(path))
        weights = [_number(entry.values.get(each)) for each in by]
        if value is None or any(each is None for each in weights) or USERS not in by:
            cell = entry.cells.get(path, entry.cell)
            faults.add(cell, f"client {entry.client!r} has no plain {path[-1]}, or no users to weigh it by",
                       "one number", "Write one number, without a range.")  # fmt: skip
            return None
        weight = Decimal(1)
        for each in weights:
            weight *= each if each is not None else 1
        pairs.append((value, weight))
    try:
        weighted, unweighted = means(pairs)
    except ValueError as error:
        faults.add(group[0].cell, str(error), "users above 0")
        return None
    return Joined(group[0].id, path[-1], len(group), weighted, unweighted)


def _number(value: Tree) -> Decimal | None:
    """The plain number of a figure without spread; minutes for durations."""
    found = _ATOM.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else Decimal(found[1]) * _SCALES[found[2]]


def _as_written(value: Decimal, like: str) -> str:
    """A mean to four digits behind the point, in the unit of what it was taken of."""
    found = _ATOM.fullmatch(like)
    unit = found[2] if found is not None else ""
    shown = f"{round(value, 4).normalize():f}"
    return f"{shown}{'m' if unit == 's' else unit if unit in {'%', 'h', 'm'} else ''}"


def told(joined: Joined) -> str:
    """'support: sessions of 3 clients, weighed 12; without weights 40 (+233 %)'."""
    weighted, unweighted = (f"{float(each):,.6g}" for each in (joined.weighted, joined.unweighted))
    return (
        f"{joined.workload}: {joined.field} of {joined.clients} clients, weighed {weighted};"
        f" without weights it would be {unweighted} ({joined.wrong:+.0%})"
    )
