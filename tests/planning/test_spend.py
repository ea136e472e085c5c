"""Are the costs of a change of plan those that its forecast shows?"""

import pytest
from bench.forecast_speed import outline_of

from upshift.model.quarter import Month
from upshift.planning.forecast import forecast
from upshift.planning.spend import spends


@pytest.mark.parametrize("growth", [False, True], ids=["exact growth", "growth in doubt"])
def test_costs_are_those_of_the_forecast(growth: bool) -> None:
    outline, start = outline_of(3, growth=growth), Month(2027, 1)
    told = forecast(outline, start=start, months=6, draws=200).tokens
    found = spends(outline.rows, start=start, months=6, draws=200)
    assert {name: each.median for name, each in found.items()} == {
        use.workload: pytest.approx(use.cost.p50) for use in told.workloads if use.cost is not None
    }
    assert len(found) == 3
