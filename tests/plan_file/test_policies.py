"""Is each rule of an organisation held against its plan, at the right place and for the right rows?"""

from datetime import date

import pytest

from upshift.plan_file import PlanError, Problem, Severity, loads, outline_document
from upshift.plan_file.reading import Checked
from upshift.planning.days import Calendar, Freeze

TODAY = date(2026, 11, 1)
PLAN = """upshift: 1
name: acme
sign_offs: waived
providers:
  near: {dialect: openai, base_url: "http://127.0.0.1:9000/v1"}
  far: {dialect: openai, base_url: "http://127.0.0.1:9001/v1"}
models:
  a: {provider: near, context: 100k, price: {input: $1, output: $2}}
  b: {provider: far, context: 100k, price: {input: $1, output: $2}}
model_tiers: {premium: [a], budget: [b], both: [a, b]}
tiers: [free]
tenants: {acme: {default_tier: free, owner: ada@acme.example}}
agents: {chat: {workload: W-01}, desk: {}}
interfaces: {desk-chat: {from: desk, to: chat, version: 1.0.0, owner: Ada}}
gates:
  chat: {overage: soft-cap, ceilings: {free: {month: {tokens: 5M, money: $200}}}, degraded: unlimited}
workloads:
  W-01: {owner: Sarah, status: committed, ships: Q3-2026, data: personal, gate: chat,
    models: {primary: premium, degrade_to: budget}, users: 100, estimate: {sessions: 18, tokens: 300k, ops: 6h}}
  W-02: {owner: Sarah, status: planned, ships: Q4-2026, gate: chat, stakeholder: sales,
    models: {primary: budget}, users: 100, estimate: {sessions: 18, tokens: 100k, ops: 6h}}
  W-03: {owner: Tom, status: candidate}
"""
CLASSES = "data: {personal: {only: [near, far]}, public: {}}"


def checked(policies: str, plan: str = PLAN) -> Checked:
    return loads(plan + policies, "plan", TODAY)


def broken(policies: str, plan: str = PLAN) -> list[Problem]:
    """What is wrong by the policies, in the order of the text."""
    with pytest.raises(PlanError) as raised:
        checked(policies, plan)
    return [each for each in raised.value.problems if each.severity is Severity.ERROR]


def paths(policies: str, plan: str = PLAN) -> list[str]:
    return [each.path for each in broken(policies, plan)]


def rules(*lines: str) -> str:
    return "policies:\n" + "".join(f"  {each}\n" for each in (*lines, CLASSES))


def test_a_plan_that_keeps_its_rules_is_taken() -> None:
    plan = PLAN.replace("{primary: budget}", "{primary: budget, degrade_to: premium}")
    found = checked(rules("required: [degrade_to, estimate]", "vendor_share: 80%"), plan)
    assert [each for each in found.warnings if "policies" in each.what] == []


@pytest.mark.parametrize(
    ("field", "rows"),
    [
        ("stakeholder", ["W-01.stakeholder"]),
        ("sla", ["W-01.sla", "W-02.sla"]),
        ("contract", ["W-02.contract"]),
        ("data", ["W-02.data"]),
        ("degrade_to", ["W-02.degrade_to"]),
        ("second-provider", ["W-01.models.primary", "W-02.models.primary"]),
        ("estimate", []),
    ],
)
def test_what_each_row_has_to_state(field: str, rows: list[str]) -> None:
    policies = rules(f"required: [{field}]")
    if not rows:
        assert checked(policies)
        return
    assert sorted(paths(policies)) == [f"workloads.{each}" for each in rows]
    problem = broken(policies)[0]
    assert (problem.line, problem.remedy != "") == (problem.line, True)
    assert f"no {field}" in problem.what


def test_the_routes_of_a_workload_may_not_lead_its_data_astray() -> None:
    near = rules().replace("[near, far]", "[near]")
    (found,) = broken(near)
    assert found.path == "workloads.W-01.models.degrade_to"
    assert found.what == "model tier 'budget' leads data of class 'personal' to b at far (policies)"
    never = rules().replace("only: [near, far]", "never: [a]")
    assert paths(never) == ["workloads.W-01.models.primary"]
    pinned = PLAN.replace("gate: chat,\n    models: {primary: premium, degrade_to: budget}",
                          "gate: chat, route: {pin: [near]},\n    models: {primary: premium}")  # fmt: skip
    assert checked(near, pinned.replace(", degraded: unlimited", "").replace("overage: soft-cap, ", ""))
    detour = PLAN.replace("primary: premium, degrade_to: budget}", "primary: premium}, route: {failover: tier budget}")
    assert paths(near, detour.replace(", degraded: unlimited", "").replace("overage: soft-cap, ", "")) == [
        "workloads.W-01.route.failover"
    ]


def test_no_gate_gives_a_user_more_than_anybody_may_have() -> None:
    assert paths(rules("month_money: $100")) == ["gates.chat.ceilings.free.month", "gates.chat.degraded"]
    assert paths(rules("month_money: $200")) == ["gates.chat.degraded"]
    assert paths(rules("month_tokens: 4M"))[0] == "gates.chat.ceilings.free.month"
    same = PLAN.replace("degraded: unlimited", "degraded: same")
    assert checked(rules("month_money: $200", "month_tokens: 5M"), same)
    by_tier = PLAN.replace("degraded: unlimited", "degraded: {free: {month: 2M}}")
    (found,) = broken(rules("month_money: $200"), by_tier)
    assert (found.path, found.what) == (
        "gates.chat.degraded.free.month",
        "nothing holds a user below $200.00 (policies)",
    )


def test_no_provider_serves_more_than_its_share() -> None:
    (found,) = broken(rules("vendor_share: 70%"))
    assert found.what == "'near' would serve 75% of the estimated tokens (policies)"
    assert checked(rules("vendor_share: 75%"))


def test_rules_may_warn_only() -> None:
    found = checked(rules("enforce: warn", "required: [sla]"))
    assert [each.path for each in found.warnings if "policies" in each.what] == [
        "workloads.W-01.sla",
        "workloads.W-02.sla",
    ]


def test_classes_of_data_and_whom_they_name_are_known() -> None:
    (found,) = broken(rules(), PLAN.replace("data: personal", "data: persnal"))
    assert (found.path, found.remedy) == ("workloads.W-01.data", "Did you mean 'personal'?")
    assert paths(rules().replace("[near, far]", "[near, farr]")) == [
        "workloads.W-01.models.degrade_to",
        "policies.data.personal.only.1",
    ]


CALENDAR = """calendar:
  timezone: Europe/Berlin
  year_begins: april
  holidays: {Christmas: [2026-12-25, 2026-12-26], New Year: 2027-01-01}
  changes: workdays
  freezes: {year-end: {from: 2026-12-18, to: 2027-01-04, why: the books are closed}}
"""


def test_a_calendar_is_read_and_is_the_same_from_the_document() -> None:
    found = checked(CALENDAR, PLAN.replace("data: personal, ", ""))
    assert found.outline.calendar == Calendar(
        zone="Europe/Berlin",
        year_begins=4,
        holidays=(
            (date(2026, 12, 25), "Christmas"),
            (date(2026, 12, 26), "Christmas"),
            (date(2027, 1, 1), "New Year"),
        ),
        workdays_only=True,
        freezes=(Freeze("year-end", date(2026, 12, 18), date(2027, 1, 4), "the books are closed"),),
    )
    assert outline_document(found.document) == found.outline


def test_a_plan_without_them_keeps_its_document() -> None:
    plain = PLAN.replace("data: personal, ", "")
    assert "calendar" not in checked("", plain).document
    assert "policies" not in checked("", plain).document
    assert checked("", plain).document == checked("calendar: {}\npolicies: {}\n", plain).document


def test_a_calendar_that_cannot_be_is_refused_where_it_is_wrong() -> None:
    wrong = CALENDAR.replace("Europe/Berlin", "Europe/Berln").replace("2027-01-04", "2026-01-04")
    found = broken(wrong, PLAN.replace("data: personal, ", ""))
    assert [each.path for each in found] == ["calendar.timezone", "calendar.freezes.year-end.to"]
    assert [each.remedy for each in found] == [
        "Did you mean 'Europe/Berlin'?",
        "Swap them, or write the year that it ends in.",
    ]
    twice = CALENDAR.replace("New Year: 2027-01-01", "Boxing Day: 2026-12-26")
    warned = checked(twice, PLAN.replace("data: personal, ", "")).warnings
    assert [each.path for each in warned if "already" in each.what] == ["calendar.holidays.Boxing Day"]
