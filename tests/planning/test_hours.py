"""Are the hours that ceilings are held against those that the forecast shows?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planning.outlines import COMMITTED, plan, row

from upshift.model.quarter import Quarter
from upshift.planning import lifetime, ops
from upshift.planning.hours import Kin, hours_by_quarter, kin, unlike
from upshift.planning.outline import Estimate, Ops, Outline, Row, exactly

Q1, Q2, Q3, Q4 = (Quarter(2026, number) for number in range(1, 5))
QUARTERS = (Q1, Q2, Q3, Q4)


def running(
    name: str, ships: Quarter | None, hours: float | None, shape: str = "", retires: Quarter | None = None
) -> Row:
    estimate = Estimate(ops_hours=None if hours is None else exactly(hours))
    return row(name, status=COMMITTED, ships=ships, retires=retires, estimate=estimate, shape=shape)


def test_the_worked_example_is_46_hours() -> None:
    staffing = Ops(first_quarter=exactly(12.0), platform=exactly(4.0))
    rows = [running(f"W-0{at}", Q1, 6.0) for at in range(1, 5)] + [running("W-05", Q3, 6.0)]
    found = hours_by_quarter(plan(*rows, staffing=staffing), rows, QUARTERS)
    assert found == {Q1: 4 + 4 * (6 + 12), Q2: 28.0, Q3: 46.0, Q4: 34.0}


def test_nothing_but_the_platform_runs_before_and_after() -> None:
    rows = [running("W-01", Q2, 6.0, retires=Q4)]
    outline = plan(*rows, staffing=Ops(first_quarter=exactly(12.0)))
    assert hours_by_quarter(outline, rows, QUARTERS) == {Q1: 4.0, Q2: 22.0, Q3: 10.0, Q4: 4.0}
    assert hours_by_quarter(outline, rows, ()) == {}


def at_medians(outline: Outline, rows: list[Row]) -> dict[Quarter, float]:
    total = ops.Hours(outline, rows, QUARTERS, ops.Medians()).total
    return {quarter: float(total[at, 0]) for at, quarter in enumerate(QUARTERS)}


QUARTER = st.none() | st.sampled_from(QUARTERS)
ROW = st.tuples(QUARTER, st.none() | st.floats(0.5, 20), st.sampled_from(["", "chat", "batch"]), QUARTER)


@given(st.lists(ROW, max_size=6))
def test_they_are_the_medians_of_the_forecast(
    said: list[tuple[Quarter | None, float | None, str, Quarter | None]],
) -> None:
    rows = [running(f"W-{at}", *each) for at, each in enumerate(said)]
    outline = plan(*rows)
    assert hours_by_quarter(outline, rows, QUARTERS) == pytest.approx(at_medians(outline, rows))


KINDS = st.tuples(
    QUARTER, QUARTER, st.sampled_from(["", "chat", " Chat", "batch"]), st.sampled_from(["", "ada", "eve"])
)


@given(st.lists(st.tuples(KINDS, st.sampled_from(["", "99.9", "99"])), max_size=12))
def test_the_likest_is_the_first_of_the_likest_that_run(
    said: list[tuple[tuple[Quarter | None, Quarter | None, str, str], str]],
) -> None:
    rows = [
        row(f"W-{at}", ships=ships, retires=retires, shape=shape, stakeholder=stakeholder, sla=sla)
        for at, ((ships, retires, shape, stakeholder), sla) in enumerate(said)
    ]
    shipped = sorted(rows, key=lambda each: (each.ships is not None, each.ships or Q1))
    found = kin(rows)
    for at, each in enumerate(shipped):
        before = [one for one in shipped[:at] if each.ships is None or lifetime.runs_in_quarter(one, each.ships)]
        nearest = min(before, key=lambda one: unlike(each, one), default=None)
        assert found[each.id] == (Kin(None, 0.0) if nearest is None else Kin(nearest.id, unlike(each, nearest)))
