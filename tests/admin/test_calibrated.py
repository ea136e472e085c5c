"""Is last quarter's forecast shown beside what came, with the input that follows from it?"""

from datetime import datetime
from pathlib import Path

import pytest
from tests.admin.installation import NOW, OPERATOR, Installation

from upshift.admin.calibrated import CalibrationView, calibrated
from upshift.model.ids import PlanHash
from upshift.model.span import Instant, to_instant
from upshift.planning.sign_offs import number

TEXT = (Path(__file__).parent / "portfolio.yaml").read_text()
PLAN = TEXT.replace("status: candidate", "status: committed").replace("sign_offs: required", "sign_offs: waived")
EACH = 280 * 520_000
"""Tokens a month, by the estimate."""


def at(day: str) -> Instant:
    return to_instant(datetime.fromisoformat(f"{day}T12:00:00+00:00"))


async def shown(
    empty: Installation, came: dict[str, int], plan: str = PLAN, applied: str = "2026-06-15"
) -> CalibrationView:
    empty.clock.set(at(applied))
    empty.desk.apply(empty.desk.check(plan), OPERATOR)
    calls = [empty.call(workload="W-01", at=at(day), tokens=tokens) for day, tokens in came.items()]
    await empty.spend(*calls)
    empty.clock.set(NOW)
    (found,) = calibrated(empty.desk, empty.desk.need_outline())
    return found


async def test_a_workload_that_came_to_more_gets_a_larger_input(empty: Installation) -> None:
    steady = PLAN.replace("ships: Q3-2026", "ships: Q1-2026")
    used = {f"2026-{month:02}-10": round(2.5 * EACH) for month in (7, 8, 9)}
    found = await shown(empty, {**used, "2026-06-30": 10**6, "2026-10-01": 10**6}, steady)
    assert (found.quarter, found.plan, found.months) == ("Q3-2026", 1, 3)
    assert found.p50 == pytest.approx(3 * EACH, rel=0.02)
    assert found.came == 3 * round(2.5 * EACH)
    assert found.off == pytest.approx(1.5, abs=0.05)
    assert found.factor is not None
    assert found.low is not None
    assert 1 < found.low < found.factor < 2.5
    assert found.proposed == f"estimate.tokens 520000 -> {number(round(520_000 * found.factor, 1))}"
    assert "multiply the input" in found.because


async def test_what_came_as_foretold_keeps_its_input(empty: Installation) -> None:
    steady = PLAN.replace("ships: Q3-2026", "ships: Q1-2026")
    found = await shown(empty, {f"2026-{month:02}-10": EACH for month in (7, 8, 9)}, steady)
    assert (found.factor, found.proposed) == (1.0, "")


async def test_without_a_plan_at_its_beginning_nothing_was_foretold(empty: Installation) -> None:
    found = await shown(empty, {"2026-08-10": 1000}, applied="2026-07-15")
    assert (found.plan, found.p50, found.came, found.off, found.factor) == (None, None, 1000.0, None, None)
    assert "was never forecast" in found.because


async def test_without_calls_there_is_nothing_to_calibrate(empty: Installation) -> None:
    found = await shown(empty, {})
    assert (found.plan, found.came, found.factor, found.proposed) == (1, None, None, "")
    assert "no actuals yet" in found.because


async def test_a_plan_that_cannot_be_read_any_more_foretold_nothing(empty: Installation) -> None:
    empty.desk.journal.apply_plan(PlanHash("unreadable"), b"{}", "unreadable", "another version", at("2026-06-01"))
    found = await shown(empty, {"2026-08-10": 1000}, applied="2026-07-15")
    assert (found.plan, found.p50) == (1, None)
