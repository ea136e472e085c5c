"""Does the page of workloads say what may be approved, and does signing approve exactly what was shown?"""

from pathlib import Path

import httpx2
import pytest
from tests.admin.installation import OPERATOR, Installation, alert
from tests.console.conftest import Browser

from upshift.admin import portfolio
from upshift.admin.signed import sign_offs
from upshift.model.budget import Bucket
from upshift.model.key import Role
from upshift.model.metered import Outcome
from upshift.planning.outline import BudgetLine

TEXT = (Path(__file__).parents[1] / "admin" / "portfolio.yaml").read_text()
PLACE = "/console/workloads/W-01/sign-offs"


@pytest.fixture
def planned(empty: Installation) -> Installation:
    empty.desk.apply(empty.desk.check(TEXT), OPERATOR)
    return empty


def signed_in(installation: Installation, role: Role, name: str = "Fay Finance") -> Browser:
    """A browser of one person."""
    browser = Browser(installation)
    secret = installation.desk.issue(OPERATOR, role=role, name=name).secret
    assert browser.client.post("/console/sign-in", data={"key": secret}).status_code == 303
    return browser


def shown(browser: Browser, *budgets: str, workload: str = "W-01") -> list[str]:
    """What the boxes of the page would send."""
    text = browser.client.get(f"/console/workloads/{workload}").text
    found = [part.partition('"')[0] for part in text.split('name="budget" value="')[1:]]
    return [each for each in found if each.partition(":")[0] in (budgets or tuple(BudgetLine))]


def post(browser: Browser, budgets: list[str], place: str = PLACE, **fields: str) -> httpx2.Response:
    headers = {"x-csrf-token": browser.csrf, "hx-request": "true"}
    return browser.client.post(place, data={"budget": budgets, **fields}, headers=headers)


def test_the_table_says_what_is_missing_and_exports_it(planned: Installation) -> None:
    browser = signed_in(planned, Role.VIEWER)
    page = browser.client.get("/console/workloads").text
    assert "engineering has not signed tokens, compute, ops" in page
    assert "the estimate is not complete" in page
    rows = browser.client.get("/console/workloads?format=json&sort=workload").json()
    assert [(each["workload"], each["status"], each["may"], each["signed"]) for each in rows] == [
        ("W-01", "candidate", "to sign", 0),
        ("W-05", "candidate", "not yet", 0),
    ]
    assert rows[0]["tokens_per_user"] == 520_000
    assert rows[1]["users"] is None
    assert browser.client.get("/console/workloads?q=marketing&format=csv").text.count("\n") == 2


def test_without_a_plan_the_page_teaches(empty: Installation) -> None:
    browser = signed_in(empty, Role.ADMIN)
    assert "upshift plan apply" in browser.client.get("/console/workloads").text
    assert browser.client.get("/console/workloads/W-01").status_code == 409


def test_a_person_signs_what_was_shown_and_takes_it_back(planned: Installation) -> None:
    browser = signed_in(planned, Role.FINANCE)
    answer = post(browser, shown(browser, "tokens", "ops"), note="as agreed", until="Q4-2027")
    assert (answer.status_code, "Signed, as shown below" in answer.text) == (200, True)
    found = sign_offs(planned.desk.journal)
    assert [(each.budget, each.role, each.by, each.note, str(each.until)) for each in found] == [
        ("tokens", "finance", "Fay Finance", "as agreed", "Q4-2027"),
        ("ops", "finance", "Fay Finance", "as agreed", "Q4-2027"),
    ]
    again = post(browser, shown(browser, "ops"), act="withdraw")
    assert (again.status_code, "Taken back" in again.text) == (200, True)
    assert [each.budget for each in sign_offs(planned.desk.journal)] == ["tokens"]
    plain = browser.client.post(PLACE, data={"budget": shown(browser, "ops"), "csrf": browser.csrf})
    assert (plain.status_code, plain.headers["location"]) == (303, "/console/workloads/W-01")


def test_figures_that_changed_meanwhile_are_not_signed(planned: Installation) -> None:
    browser = signed_in(planned, Role.FINANCE)
    boxes = shown(browser)
    planned.desk.apply(planned.desk.check(TEXT.replace("280", "400")), OPERATOR)
    answer = post(browser, boxes)
    assert answer.status_code == 409
    assert "tokens, compute would approve other figures" in answer.text
    assert not sign_offs(planned.desk.journal)


def test_a_lost_sign_off_says_what_changed(planned: Installation) -> None:
    browser = signed_in(planned, Role.FINANCE)
    post(browser, shown(browser))
    planned.desk.apply(planned.desk.check(TEXT.replace("280", "400")), OPERATOR)
    page = browser.client.get("/console/workloads/W-01").text
    assert page.count("users 280 -&gt; 400") == 2 + 2  # in the list of what is missing, and beside each of two budgets
    assert len(shown(browser)) == 3


@pytest.mark.parametrize(
    ("budgets", "fields", "status", "says"),
    [
        ([], {}, 400, "tick the budgets"),
        (["rent:0"], {}, 400, "rent"),
        (["ops:0"], {}, 409, "other figures"),
        (["ops:0"], {"act": "withdraw"}, 404, "finance has signed none of ops"),
    ],
)
def test_bad_input_is_told_in_place(
    planned: Installation, budgets: list[str], fields: dict[str, str], status: int, says: str
) -> None:
    browser = signed_in(planned, Role.FINANCE)
    answer = post(browser, budgets, **fields)
    assert (answer.status_code, 'role="alert"' in answer.text, 'id="standing"' in answer.text) == (status, True, True)
    assert says in answer.text


def test_a_quarter_that_is_none_or_over_is_told(planned: Installation) -> None:
    browser = signed_in(planned, Role.FINANCE)
    for until, says in (("soon", "write it like Q3-2026"), ("Q3-2026", "is over")):
        answer = post(browser, shown(browser), until=until)
        assert (answer.status_code, says in answer.text) == (400, True)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CALLER])
def test_only_the_two_sides_sign(planned: Installation, role: Role) -> None:
    planned.apply()
    planned.desk.apply(planned.desk.check(TEXT), OPERATOR)
    fingerprints = shown(signed_in(planned, Role.FINANCE))
    browser = Browser(planned)
    if role in (Role.TENANT_ADMIN, Role.POD_LEAD):
        planned.apply()
        browser.sign_in(role)
    else:
        browser = signed_in(planned, role, "Somebody Else")
    assert browser.client.post(PLACE, data={"budget": fingerprints}).status_code == 403
    signs = role in (Role.FINANCE, Role.ENGINEERING)
    assert post(browser, fingerprints).status_code == (200 if signs else 403)
    assert bool(sign_offs(planned.desk.journal)) == signs


def test_workloads_are_not_for_tenants(installation: Installation) -> None:
    browser = Browser(installation)
    for role in (Role.TENANT_ADMIN, Role.POD_LEAD):
        browser.sign_in(role)
        for path in ("/console/workloads", "/console/workloads/secret-project", "/console/plan", "/console/capacity"):
            assert browser.client.get(path).status_code == 403, (role, path)


async def test_a_workloads_page_follows_its_calls(installation: Installation) -> None:
    made = installation.call
    await installation.spend(
        made(),
        made(user="bob", outcome=Outcome.REFUSED),
        made(bucket=Bucket.DEGRADED),
        made(workload="docs", user="dora"),
        alerts=[alert()],
    )
    browser = Browser(installation)
    browser.sign_in(Role.VIEWER)
    page = browser.client.get("/console/workloads/chat").text
    assert "$0.00" in page
    assert "alice" in page
    assert "reached 90%" in page
    assert "dora" not in page
    assert 'href="/console/traffic?workload=chat"' in page
    assert browser.client.get("/console/workloads/nowhere").status_code == 404


def test_hostile_names_are_text(empty: Installation) -> None:
    hostile = "<script>alert(1)</script>"
    text = TEXT.replace("name: Chat", f"name: '{hostile}'").replace("owner: Sarah", f"owner: '{hostile}'")
    empty.desk.apply(empty.desk.check(text), OPERATOR)
    browser = signed_in(empty, Role.FINANCE, hostile)
    answer = post(browser, shown(browser), note=hostile)
    assert answer.status_code == 200
    for path in ("/console/", "/console/workloads", "/console/workloads/W-01", "/console/capacity", "/console/plan"):
        page = browser.client.get(path).text
        assert hostile not in page, path
    assert "&lt;script&gt;" in answer.text


def test_the_overview_says_what_waits_for_whom(planned: Installation) -> None:
    fay = signed_in(planned, Role.FINANCE)
    assert "W-01 waits for your sign-off on tokens, compute, ops" in fay.client.get("/console/").text
    viewer = signed_in(planned, Role.VIEWER, "Vera")
    assert "only sign-offs are missing for W-01" in viewer.client.get("/console/").text
    outline = planned.desk.need_outline()
    for role, name in ((Role.FINANCE, "Fay Finance"), (Role.ENGINEERING, "Edith Engineer")):
        actor = planned.desk.actor_of(planned.desk.issue(OPERATOR, role=role, name=name).secret)
        portfolio.sign(planned.desk, actor, outline, workload="W-01", budgets=tuple(BudgetLine))
    assert "nothing is missing for the next step of W-01" in viewer.client.get("/console/").text
    assert "waits for your sign-off" not in fay.client.get("/console/").text
    planned.desk.apply(
        planned.desk.check(TEXT.replace("status: candidate\n    ships: Q3", "status: planned\n    ships: Q3").replace(
            "Q1-2027: 40h", "Q1-2027: 9h")), OPERATOR,
    )  # fmt: skip
    assert (
        "Q1-2027: what is committed and planned is 1.0 h a week beyond the ceiling"
        in viewer.client.get("/console/").text
    )
