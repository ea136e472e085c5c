"""How does the last quarter's forecast look beside what came, and which inputs should be refreshed?"""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from functools import partial

from upshift.admin.desk import Desk
from upshift.admin.shown import Shown
from upshift.model.ids import WorkloadId
from upshift.model.quarter import Month, Quarter
from upshift.model.span import Instant, to_instant
from upshift.plan_file import outline_document
from upshift.planning.calibration import Beside, Calibration, Foretold, beside, calibrate
from upshift.planning.forecast import forecast
from upshift.planning.outline import Outline, Row
from upshift.planning.sign_offs import number
from upshift.store.journal import Applied, Dimension


class CalibrationView(Shown):
    """One workload's last quarter, in tokens: what was forecast, what came, what follows."""

    workload: str
    """Which workload."""
    quarter: str
    """The quarter that is over."""
    plan: int | None
    """The number of the plan that was in force when it began, which it was forecast from; null for none."""
    months: int
    """How many of its months have both a forecast and an actual."""
    p50: float | None
    """Tokens of those months by the forecast's medians; null without a forecast."""
    p95: float | None
    """The same by its ninety-fifth percentiles."""
    came: float | None
    """Tokens that the ledger has of those months; null where nothing was called."""
    off: float | None
    """What came over the P50, minus one: 0.3 is 30 % more."""
    factor: float | None
    """What to multiply the input by; 1 where the data does not say another."""
    low: float | None
    """The factor's lower bound."""
    high: float | None
    """The factor's upper bound."""
    because: str
    """Why."""
    proposed: str
    """The refreshed input, like 'estimate.tokens 520000 -> 610000'; empty where the present one stays."""


def calibrated(desk: Desk, outline: Outline) -> tuple[CalibrationView, ...]:
    """Each workload that was forecast for the last quarter, or called in it. Empty before the first plan.

    Raises BeingComputedError.
    """
    quarter = Quarter.of(desk.today()).plus(-1)
    began = _starts(quarter.months[0])
    plan = next((each for each in desk.journal.plans() if each.at <= began), None)
    foretold: list[Foretold] = []
    if plan is not None:
        foretold = desk.kept.get(("foretold", plan.hash, quarter), partial(_foretold, plan, quarter))
    rows = beside(foretold, _came(desk, quarter))
    known = {row.id: row for row in outline.rows}
    by_name: dict[str, list[Beside]] = {}
    for each in rows:
        by_name.setdefault(each.workload, []).append(each)
    return tuple(
        _view(found, by_name[found.workload], quarter, plan, known.get(WorkloadId(found.workload)))
        for found in calibrate(rows)
    )


def _foretold(plan: Applied, quarter: Quarter) -> list[Foretold]:
    """What the plan foretells of each workload and month of a quarter."""
    try:
        outline = outline_document(plan.document.decode())
    except ValueError:
        # Kept by another version: what it foretold is not known any more.
        return []
    told = forecast(outline, start=quarter.months[0], months=3)
    # The forecast says no tenth percentile; with nothing in its place only what lies above P80 and P95 is judged.
    return [
        Foretold(use.workload, str(each.month), 0.0, each.tokens.p50, each.tokens.p80, each.tokens.p95)
        for use in told.tokens.workloads
        for each in use.months
    ]


def _came(desk: Desk, quarter: Quarter) -> Mapping[tuple[str, str], float]:
    """Tokens by workload and month (UTC), as the ledger has them."""
    since, until = _starts(quarter.months[0]), _starts(quarter.plus(1).months[0])
    used = desk.journal.usage([Dimension.WORKLOAD, Dimension.MONTH], since, until, latencies=False)
    return {(each.group[0], each.group[1]): float(each.usage.total) for each in used if each.group[0]}


def _starts(month: Month) -> Instant:
    return to_instant(datetime.combine(month.first, time(), UTC))


def _view(
    found: Calibration, rows: list[Beside], quarter: Quarter, plan: Applied | None, row: Row | None
) -> CalibrationView:
    pairs = [(each.foretold, each.came) for each in rows if each.foretold is not None and each.came is not None]
    told = [one for one, _ in pairs] or [each.foretold for each in rows if each.foretold is not None]
    came = [amount for _, amount in pairs] or [each.came for each in rows if each.came is not None]
    p50 = sum(each.p50 for each in told) if told else None
    return CalibrationView(
        workload=found.workload,
        quarter=str(quarter),
        plan=None if plan is None else plan.number,
        months=found.months,
        p50=p50,
        p95=sum(each.p95 for each in told) if told else None,
        came=sum(came) if came else None,
        off=sum(came) / p50 - 1 if pairs and p50 else None,
        factor=found.factor,
        low=found.low,
        high=found.high,
        because=found.because,
        proposed=_proposed(row, found.factor),
    )


def _proposed(row: Row | None, factor: float | None) -> str:
    """Tokens where they are stated, else sessions: what a user does is the input, not how many there are."""
    if row is None or row.estimate is None or factor is None or factor == 1.0:
        return ""
    field, now = ("tokens", row.estimate.tokens) if row.estimate.turns is None else ("sessions", row.estimate.sessions)
    return "" if now is None else f"estimate.{field} {number(now.mid)} -> {number(round(now.mid * factor, 1))}"
