"""Does a change of plan say what it costs a month?"""

from pathlib import Path

import pytest
from tests.admin.installation import PLAN, Installation

from upshift.admin.costs import costs_moved
from upshift.model.quarter import Month
from upshift.planning.outline import Outline

TEXT = (Path(__file__).parent / "portfolio.yaml").read_text()
COMMITTED = TEXT.replace("status: candidate", "status: committed").replace("ships: Q3-2026", "ships: Q1-2026")
START = Month(2026, 11)


@pytest.fixture
def costs(empty: Installation) -> "Costs":
    return Costs(empty)


class Costs:
    """What moves between two plans."""

    def __init__(self, empty: Installation) -> None:
        self._empty = empty

    def outline(self, text: str) -> Outline:
        return self._empty.desk.check(text).outline

    def moved(self, before: str | None, after: str) -> list[str]:
        was = None if before is None else self.outline(before)
        return [each.text for each in costs_moved(was, self.outline(after), START)]


def test_users_and_prices_move_the_cost(costs: Costs) -> None:
    # 280 users x 520k tokens at $1 in and $5 out, a fifth of them out: 80 % x $1 + 20 % x $5 = $1.80 per million.
    assert costs.moved(COMMITTED, COMMITTED.replace("280", "560")) == ["W-01: $262.08 -> $524.16 a month (P50)"]
    assert costs.moved(COMMITTED, COMMITTED.replace("output: $5", "output: $10")) == [
        "W-01: $262.08 -> $407.68 a month (P50)"
    ]
    assert costs.moved(COMMITTED, COMMITTED) == []
    assert costs.moved(COMMITTED, COMMITTED.replace("owner: Sarah", "owner: Tom")) == []


def test_what_begins_and_ends_and_what_all_come_to(costs: Costs) -> None:
    assert costs.moved(None, COMMITTED) == ["W-01: nothing -> $262.08 a month (P50)"]
    assert costs.moved(COMMITTED, TEXT) == ["W-01: $262.08 -> nothing a month (P50)"]
    first, second = COMMITTED.split("  W-05:")[0], COMMITTED.split("  W-01:")[1].split("  W-05:")[0]
    both = f"{first}  W-02:{second}"
    assert costs.moved(COMMITTED, both) == [
        "W-02: nothing -> $262.08 a month (P50)",
        "all workloads: $262.08 -> $524.16 a month (P50)",
    ]
    assert costs.moved(None, both)[-1] == "all workloads: nothing -> $524.16 a month (P50)"


def test_an_unknown_price_is_said_to_be_unknown(costs: Costs) -> None:
    unpriced = COMMITTED.replace(", price: {input: $1, output: $5}", "")
    ceiling = unpriced.replace("{month: $5}", "{month: 100k}")
    assert costs.moved(COMMITTED, ceiling) == ["W-01: $262.08 -> unknown a month (P50)"]


def test_a_plan_without_estimates_says_nothing_of_costs(costs: Costs) -> None:
    assert costs.moved(None, PLAN.read_text()) == []
