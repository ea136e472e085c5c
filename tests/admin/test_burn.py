"""Does the burn say when the year's money is gone, and nothing where no budget is said?"""

from tests.admin.installation import NOW, OPERATOR, Installation

from upshift.admin.burn import ELSEWHERE, ORGANISATION, burns
from upshift.model.span import MICROS
from upshift.plan_file import loads

DAY = 86_400 * MICROS
PLAN = """
upshift: 1
name: burning
providers: {{local: {{dialect: openai, base_url: "http://127.0.0.1:9/v1"}}}}
models: {{big: {{provider: local, context: 100k, price: {{input: $1, output: $1}}}}}}
model_tiers: {{premium: [big]}}
tiers: [pro]
tenants: {{acme: {{default_tier: pro}}}}
pods: {{support: {{lead: sarah, year: {pod}}}}}
gates: {{ample: {{ceilings: {{pro: {{month: 100M}}}}}}}}
budgets: {{tokens: {{year: {year}}}}}
workloads:
  chat: {{status: committed, models: {{primary: premium}}, gate: ample, pod: support}}
"""


def applied(empty: Installation, year: str = "$1000", pod: str = "$400") -> None:
    empty.desk.apply(loads(PLAN.format(year=year, pod=pod), today=empty.desk.today()), OPERATOR)


async def test_even_spend_runs_out_in_a_stated_week(empty: Installation) -> None:
    applied(empty)
    calls = [empty.call(at=NOW - day * DAY, cost=4_000_000_000) for day in range(1, 100)]
    await empty.spend(*calls)
    view = burns(empty.desk, empty.desk.need_outline())
    whole, *pods = view.burns
    assert (whole.name, whole.budget_nano) == (ORGANISATION, 1000 * 10**9)
    assert whole.spent_nano == sum(whole.days) == 99 * 4 * 10**9
    assert whole.runs_out is None
    assert whole.low_nano <= whole.projected_nano <= whole.high_nano
    by_name = {each.name: each for each in pods}
    assert by_name["support"].spent_nano == 0
    assert by_name[ELSEWHERE].budget_nano is None
    assert by_name[ELSEWHERE].runs_out is None
    assert "no budget" in by_name[ELSEWHERE].because


async def test_too_fast_is_told_with_its_week(empty: Installation) -> None:
    applied(empty, year="$450")
    await empty.spend(*[empty.call(at=NOW - day * DAY, cost=4_000_000_000) for day in range(1, 100)])
    whole = burns(empty.desk, empty.desk.need_outline()).burns[0]
    assert whole.week is not None
    assert whole.runs_out is not None
    assert whole.week.startswith("2026-W")
    assert whole.week in whole.because
    # In dollars, not in the nano-dollars that are kept.
    assert "against $450.00" in whole.because


def test_where_nothing_was_recorded_nothing_is_said_to_last(empty: Installation) -> None:
    applied(empty)
    assert "no spend was recorded" in burns(empty.desk, empty.desk.need_outline()).burns[0].because


def test_a_pod_that_may_spend_nothing_has_a_budget_of_nothing(empty: Installation) -> None:
    applied(empty, pod="$0")
    by_name = {each.name: each for each in burns(empty.desk, empty.desk.need_outline()).burns}
    assert by_name["support"].budget_nano == 0


def test_the_first_of_january_has_nothing_to_project(empty: Installation) -> None:
    empty.clock.set(1_798_761_600_000_000)  # 2027-01-01
    applied(empty)
    whole = burns(empty.desk, empty.desk.need_outline()).burns[0]
    assert (whole.spent_nano, whole.days, whole.runs_out) == (0, (), None)
