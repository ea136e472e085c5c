"""Which input of a plan moves a budget most?"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from upshift.model.quarter import Month
from upshift.model.tokens import show_tokens
from upshift.planning import compute, lifetime, ops, tokens
from upshift.planning.changes import dearer
from upshift.planning.draws import Array, Scale
from upshift.planning.forecast import Terms
from upshift.planning.hours import hours_by_quarter
from upshift.planning.outline import BudgetLine, Outline, Row, Spread, exactly
from upshift.planning.users import Path, users_by_month

T = TypeVar("T", bound=msgspec.Struct)

STEP = 0.2
"""How far an input without a spread is moved, each way."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """What a budget comes to with one input at its low and at its high, the others at their medians."""

    input: str
    low: float
    high: float
    at_low: str
    at_high: str

    @property
    def swing(self) -> float:
        return abs(self.high - self.low)


class Tornado(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of one budget that matter most, the greatest swing first. `base` has all at their medians.

    Tokens: nano-dollars over all months, of what has a price. Compute: the highest peak of open sessions. Ops: hours a
    week, over all quarters on average.
    """

    line: BudgetLine
    base: float
    bars: tuple[Bar, ...]


class _Figure(NamedTuple):
    """An input of a workload, and what the workload is with another value of it."""

    name: str
    spread: Spread
    with_: Callable[[Spread], Row]


class _Point(NamedTuple):
    """What a workload adds to each budget with every figure at its median."""

    cost: float
    open: Array
    bursts: Array


def tornado(
    outline: Outline, line: BudgetLine, *, start: Month, months: int, most: int = 12, terms: Terms | None = None
) -> Tornado:
    """Each input at its P10 and P90, or 20 % less and more where it is exact; prices always 20 %."""
    terms = terms or Terms()
    rows = lifetime.counted(outline, candidates=terms.candidates)
    if line is BudgetLine.OPS:
        base, bars = _of_ops(outline, rows, start, months)
    else:
        base, bars = _of_points(rows, line, start, months, terms)
    ordered = sorted((bar for bar in bars if bar.swing > 0), key=lambda bar: -bar.swing)
    return Tornado(line=line, base=base, bars=tuple(ordered[:most]))


def _of_points(
    rows: Sequence[Row], line: BudgetLine, start: Month, months: int, terms: Terms
) -> tuple[float, list[Bar]]:
    points = [_point(row, start, months, terms) for row in rows]
    cost = sum(point.cost for point in points)
    zeros = np.zeros(months)
    open_ = sum((point.open for point in points), zeros)
    bursts = sum((point.bursts for point in points), zeros)

    def total(of: _Point, instead: _Point) -> float:
        if line is BudgetLine.TOKENS:
            return cost - of.cost + instead.cost
        return float(compute.joint_peak(open_ - of.open + instead.open, bursts - of.bursts + instead.bursts).max())

    bars: list[Bar] = []
    for row, point in zip(rows, points, strict=True):
        for figure in [*_figures(row), *_prices(row)]:
            low, high = _ends(figure.spread)
            values = [total(point, _point(figure.with_(exactly(end)), start, months, terms)) for end in (low, high)]
            bars.append(_bar(figure.name, low, high, values))
    nothing = _Point(0.0, zeros, zeros)
    return total(nothing, nothing), bars


def _bar(name: str, low: float, high: float, values: Sequence[float]) -> Bar:
    return Bar(input=name, low=values[0], high=values[1], at_low=_written(name, low), at_high=_written(name, high))


_PARTS = ("output_share", "cached", "cache_written", "long", "growth")


def _written(name: str, value: float) -> str:
    """A value as the plan would say it."""
    field = name.rpartition(".")[2]
    if field in _PARTS:
        return f"{value * 100:.3g}%"
    if field == "price":
        return f"×{value:g}"
    if field == "session":
        return f"{value:.3g}m"
    if name.startswith("ops.") or field == "ops":
        return f"{value:.3g}h"
    return show_tokens(round(value)) if value >= 10_000 else f"{value:,.4g}"


def _ends(spread: Spread) -> tuple[float, float]:
    return (spread.mid * (1 - STEP), spread.mid * (1 + STEP)) if spread.exact else (spread.low, spread.high)


def _point(row: Row, start: Month, months: int, terms: Terms) -> _Point:
    dice = ops.Medians()
    users = users_by_month(row, start, months, dice)
    zeros = np.zeros(months)
    if users is None:
        return _Point(0.0, zeros, zeros)
    one, load = tokens.per_user(row, dice), compute.load_per_user(row, dice)
    cost = 0.0
    if one is not None and one.cost is not None:
        calendar = [start.plus(each) for each in range(months)]
        new = tuple(lifetime.new_in(row, month.quarter) for month in calendar)
        widen = dice.draw(terms.first_quarter, Scale.LOG, row.id, "under-sizing")
        cost = float(users.times(one.cost).widened(new, widen).summed()[0])
    if load is None:
        return _Point(cost, zeros, zeros)
    open_ = _values(users) * float(np.mean(load.open)) / _hours(start, months)
    return _Point(cost, open_, np.square(open_ * float(np.mean(load.excess))))


def _values(path: Path) -> Array:
    return np.asarray(path.profiles[list(path.which), 0] * np.asarray(path.scale))


def _hours(start: Month, months: int) -> Array:
    return np.array([compute.hours_of(start.plus(each)) for each in range(months)])


def _figures(row: Row) -> Iterator[_Figure]:
    """Its users and the figures of its estimate."""
    for at, audience in enumerate(row.audiences):
        tier = f".{audience.tier}" if audience.tier else ""
        yield _Figure(f"{row.id}.users{tier}", audience.users, partial(_with_users, row, at))
    if row.estimate is None:
        return
    yield from _spreads(row, row.estimate, lambda estimate: msgspec.structs.replace(row, estimate=estimate))
    if row.estimate.turns is not None:
        inner = row.estimate
        yield from _spreads(
            row,
            row.estimate.turns,
            lambda turns: msgspec.structs.replace(row, estimate=msgspec.structs.replace(inner, turns=turns)),
        )


def _spreads(row: Row, of: T, with_: Callable[[T], Row]) -> Iterator[_Figure]:
    for field in type(of).__struct_fields__:
        spread = getattr(of, field)
        if isinstance(spread, Spread):
            yield _Figure(
                f"{row.id}.{_CALLED.get(field, field)}",
                spread,
                partial(_with_field, of, field, with_),
            )


def _with_field(of: T, field: str, with_: Callable[[T], Row], value: Spread) -> Row:
    return with_(msgspec.structs.replace(of, **{field: value}))


_CALLED = {"minutes": "session", "ops_hours": "ops"}
"""Fields of an outline that a plan calls otherwise."""


def _with_users(row: Row, at: int, spread: Spread) -> Row:
    audiences = list(row.audiences)
    audiences[at] = msgspec.structs.replace(audiences[at], users=spread)
    return msgspec.structs.replace(row, audiences=tuple(audiences))


def _prices(row: Row) -> Iterator[_Figure]:
    if row.mix and all(share.card is not None for share in row.mix):
        yield _Figure(f"{row.id}.price", exactly(1.0), lambda factor: dearer(row, factor.mid))


def _of_ops(outline: Outline, rows: Sequence[Row], start: Month, months: int) -> tuple[float, list[Bar]]:
    quarters = lifetime.quarters(start, months)

    def mean(of: Outline, among: Sequence[Row]) -> float:
        hours = hours_by_quarter(of, among, quarters)
        return sum(hours.values()) / len(hours)

    base = mean(outline, rows)
    added = ops.additions(rows, outline.staffing)
    bars: list[Bar] = []
    for row in rows:
        # Its hours count in the quarters in which it runs, whatever else does.
        share = sum(lifetime.runs_in_quarter(row, quarter) for quarter in quarters) / len(quarters)
        spread = ops.stable_hours(row, added[row.id], outline.staffing)
        low, high = _ends(spread)
        values = [base + (end - spread.mid) * share for end in (low, high)]
        bars.append(_bar(f"{row.id}.ops", low, high, values))
    for field in ("platform", "first_quarter"):
        spread = getattr(outline.staffing, field)
        low, high = _ends(spread)
        values = []
        for end in (low, high):
            staffing = msgspec.structs.replace(outline.staffing, **{field: exactly(end)})
            values.append(mean(msgspec.structs.replace(outline, staffing=staffing), rows))
        bars.append(_bar(f"ops.{field}", low, high, values))
    return base, bars
