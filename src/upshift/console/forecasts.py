"""Which forecasts do pages show, without making the same one twice?"""

from collections.abc import Sequence

import msgspec

from upshift.admin.desk import Desk
from upshift.admin.kept import Kept
from upshift.admin.signed import draws
from upshift.model.quarter import Month
from upshift.planning.budgets import Forecast
from upshift.planning.changes import apply_changes
from upshift.planning.forecast import MONTHS, Terms, forecast
from upshift.planning.outline import BudgetLine, Outline
from upshift.planning.tornado import Tornado, tornado

DRAWS = 4_000
"""Enough for a P95 on a page; the command line takes more."""
_MOST_BARS = 8


class Forecasts:
    """Forecasts by the hash of the plan, what was drawn from its buffer, and all that was asked of it."""

    def __init__(self, patience: float | None = None, most: int = 24) -> None:
        """Who asks waits for `patience` seconds; None is until it is made."""
        self._told: Kept[Forecast] = Kept(most, patience)
        self._swings: Kept[tuple[Tornado, ...]] = Kept(most, patience)

    def of(
        self,
        desk: Desk,
        outline: Outline,
        start: Month,
        changes: Sequence[str] = (),
        *,
        candidates: bool = False,
        only: str = "",
    ) -> Forecast:
        """The twelve months from `start` on, after changes, of all workloads or of one.

        One is forecast alone as it is among all, for its figures are drawn by its name. Raises ChangeError with all
        changes that cannot be made, BeingComputedError.
        """
        taken = draws(desk.journal)

        def make() -> Forecast:
            rows = tuple(row for row in outline.rows if only in ("", row.id))
            changed = apply_changes(msgspec.structs.replace(outline, rows=rows), changes)
            terms = Terms(candidates=candidates)
            return forecast(changed, start=start, months=MONTHS, draws=DRAWS, terms=terms, taken=taken)

        return self._told.get((outline.plan, tuple(changes), start, candidates, only, taken), make)

    def has(self, desk: Desk, outline: Outline, start: Month, *, candidates: bool = False) -> bool:
        """Whether the forecast of all is there at once."""
        return (outline.plan, (), start, candidates, "", draws(desk.journal)) in self._told

    def tornados(self, outline: Outline, start: Month, *, candidates: bool = False) -> tuple[Tornado, ...]:
        """What matters most to each of the three budgets over the same months. Raises BeingComputedError."""
        terms = Terms(candidates=candidates)

        def make() -> tuple[Tornado, ...]:
            return tuple(
                tornado(outline, line, start=start, months=MONTHS, most=_MOST_BARS, terms=terms) for line in BudgetLine
            )

        return self._swings.get((outline.plan, start, candidates), make)

    def has_tornados(self, outline: Outline, start: Month, *, candidates: bool = False) -> bool:
        """Whether they are there at once."""
        return (outline.plan, start, candidates) in self._swings
