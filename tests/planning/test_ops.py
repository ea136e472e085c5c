"""Are hours of ops those of the rules, and is the cheapest staffing the one with the least total?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planning.outlines import row

from upshift.model.quarter import Quarter
from upshift.planning.ops import additions, staffing_of, within_ceiling
from upshift.planning.outline import Estimate, Ops

Q1, Q2, Q3 = (Quarter(2026, number) for number in (1, 2, 3))
DOLLAR = 10**9
TERMS = Ops(hour=95 * DOLLAR, incident=240 * DOLLAR)


def of_kind(name: str, ships: Quarter, shape: str, stakeholder: str = "care", sla: str = "") -> object:
    return row(name, ships=ships, shape=shape, stakeholder=stakeholder, sla=sla, estimate=Estimate())


def test_kinds_are_told_by_shape_stakeholder_and_sla() -> None:
    rows = [
        of_kind("first", Q1, "chat"),
        of_kind("same", Q2, "Chat"),
        of_kind("other stakeholder", Q2, "chat", "sales"),
        of_kind("other shape", Q3, "code review"),
        of_kind("says nothing", Q3, ""),
    ]
    found = additions(rows, Ops())  # type: ignore[arg-type] # rows
    assert [(each.unlike, each.usual) for each in found.values()] == [(0, 6), (0, 4), (0.5, 7.5), (1, 11), (1, 11)]
    assert [each.nearest for each in found.values()] == [None, "first", "first", "first", "first"]


def test_what_is_retired_is_nobodys_like() -> None:
    rows = [row("old", ships=Q1, retires=Q2, shape="chat"), row("new", ships=Q2, shape="chat")]
    assert additions(rows, Ops())[rows[1].id].nearest is None


def test_a_ceiling_is_passed_by_hours_and_people() -> None:
    assert within_ceiling(66, 46, 40) == (20, 0.5)
    assert within_ceiling(46, 46, 40) == (0, 0)
    assert within_ceiling(1000, None, 40) == (0, 0)


@given(st.integers(0, 1000), st.floats(0.05, 1.0), st.integers(1, 400))
def test_no_level_costs_less_than_the_best(seed: int, width: float, incident: int) -> None:
    demand = 40 * np.exp(width * np.random.default_rng(seed).standard_normal(400))
    found = staffing_of(Q1, demand, Ops(hour=95 * DOLLAR, incident=incident * DOLLAR))
    assert found is not None
    # The sample's fractile lies between two draws, so the least may be missed by what lies between them.
    assert found.best.total <= min(level.total for level in found.curve) * 1.01
    assert found.best.total <= found.median.total * 1.01


def test_when_missing_hours_cost_less_than_hours_nobody_is_best() -> None:
    found = staffing_of(Q1, np.array([40.0, 60.0]), Ops(hour=95 * DOLLAR, incident=50 * DOLLAR))
    assert found is not None
    assert found.best.hours == 0
    assert found.best.consequences == pytest.approx(50 * 50 * DOLLAR * 13)


def test_the_dearer_incidents_are_the_more_people_are_best() -> None:
    demand = np.linspace(20, 80, 601)
    best = [staffing_of(Q1, demand, Ops(hour=DOLLAR, incident=times * DOLLAR)) for times in (2, 4, 20)]
    assert [round(each.best.hours) for each in best if each is not None] == [50, 65, 77]


def test_without_costs_nothing_is_proposed() -> None:
    assert staffing_of(Q1, np.ones(3), Ops(hour=DOLLAR)) is None
    assert staffing_of(Q1, np.ones(3), TERMS) is not None
