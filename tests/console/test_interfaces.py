"""Do the pages of interfaces show who may speak to whom and how contracts are kept, and switch only for who may?"""

import html
import json
import re

import httpx2
import pytest
from tests.admin.installation import OPERATOR, PLAN, Installation
from tests.console.conftest import SCOPES, Browser
from tests.console.teams import called, with_agents

from upshift.admin import interfaces
from upshift.console.roles import May, may
from upshift.model.key import Role
from upshift.model.metered import Outcome

PLACE = "/console/interfaces/plan-research"


def signed_in(installation: Installation, role: Role = Role.ENGINEERING) -> Browser:
    browser = Browser(installation)
    tenant, user = SCOPES.get(role, ("", ""))
    secret = installation.desk.issue(OPERATOR, role=role, name="Ed Engineer", tenant=tenant, user=user).secret
    assert browser.client.post("/console/sign-in", data={"key": secret}).status_code == 303
    return browser


def post(browser: Browser, place: str, **fields: str) -> httpx2.Response:
    return browser.client.post(place, data=fields, headers={"x-csrf-token": browser.csrf, "hx-request": "true"})


def test_without_agents_the_page_teaches(empty: Installation) -> None:
    browser = signed_in(empty)
    assert "No plan is in force yet" in browser.client.get("/console/interfaces").text
    empty.apply()
    assert "<code>interfaces:</code>" in browser.client.get("/console/interfaces").text


def test_all_agents_are_drawn_and_every_line_is_a_link_with_words(installation: Installation) -> None:
    interfaces.activate(with_agents(installation).desk, OPERATOR, "plan-research")
    page = signed_in(installation, Role.VIEWER).client.get("/console/interfaces").text
    arrows = {
        name: (active, html.unescape(says))
        for name, active, says in re.findall(
            r'<a href="/console/interfaces/([\w-]+)" class="arrow" data-active="(\w+)" aria-label="([^"]*)"', page
        )
    }
    assert arrows == {
        "plan-research": ("yes", "plan-research: planner to researcher, active, review overdue"),
        "research-plan": ("no", "research-plan: researcher to planner, inactive"),
    }
    for name in ("planner", "researcher", "alone"):
        assert f'aria-label="Agent {name}, owned by' in page
    assert page.count('class="node"') == 3


async def test_the_table_counts_calls_and_is_exported(installation: Installation) -> None:
    with_agents(installation)
    await called(installation, {}, {"reason": "contract_violation"}, {"outcome": Outcome.UPSTREAM_ERROR})
    browser = signed_in(installation, Role.VIEWER)
    rows = browser.client.get("/console/interfaces?format=json&sort=name").json()
    assert [(row["name"], row["state"], row["calls"], row["violations"], row["failed"]) for row in rows] == [
        ("plan-research", "inactive", 3, 1, 1),
        ("research-plan", "inactive", 0, 0, 0),
    ]
    assert "33.3% failed, beyond 2.0%" in rows[0]["unkept"]
    assert "⚠" in browser.client.get("/console/interfaces").text.partition("legend")[0]
    assert browser.client.get("/console/interfaces?q=research-plan&format=csv").text.count("\n") == 2


async def test_a_page_holds_the_contract_against_what_was_measured(installation: Installation) -> None:
    with_agents(installation)
    await called(installation, {"latency_us": 5_000_000})
    browser = signed_in(installation, Role.VIEWER)
    page = browser.client.get(PLACE).text
    for said in ("at most 600 in an hour", "at most 3 s", "at least 80%", "13 days late", "it is not active"):
        assert said in page
    assert "Not kept: the 95th percentile of latency is 5 s, beyond 3 s" in page
    part = browser.client.get(f"{PLACE}/measured").text
    assert '<td class="number">at most 3 s</td><td class="number">5 s</td>' in part
    assert '<td class="number">at least 80%</td><td class="number">not known</td>' in part
    assert "the plan has to say: request.payload" in browser.client.get("/console/interfaces/research-plan").text


def test_calls_pass_once_somebody_activates_and_none_after(installation: Installation) -> None:
    with_agents(installation)
    browser = signed_in(installation)
    done = post(browser, f"{PLACE}/activate")
    assert (done.status_code, done.headers["hx-redirect"]) == (204, PLACE)
    assert installation.desk.journal.standing().active["plan-research"].by.startswith("Ed Engineer")
    page = browser.client.get(PLACE).text
    assert "Deactivate" in page
    assert "interface activated" in page
    assert post(browser, f"{PLACE}/share", share="25%").status_code == 204
    assert installation.desk.journal.standing().shares == {"researcher": 0.25}
    assert "25% of sessions" in browser.client.get("/console/interfaces").text
    plain = browser.client.post(f"{PLACE}/deactivate", data={"csrf": browser.csrf})
    assert (plain.status_code, plain.headers["location"]) == (303, PLACE)
    assert not installation.desk.journal.standing().active


@pytest.mark.parametrize(
    ("path", "fields", "status", "says"),
    [
        ("research-plan/activate", {}, 409, "it lacks: request.payload"),
        ("none/activate", {}, 404, "no interface"),
        ("none/share", {"share": "5%"}, 404, "no interface"),
        ("plan-research/share", {"share": "25"}, 400, "is not a share"),
        ("plan-research/share", {}, 400, "is not a share"),
        ("draft", {"samples": "{"}, 400, "line 1 is not JSON"),
        ("draft", {"samples": ""}, 400, "no payloads"),
    ],
)
def test_bad_input_is_told_in_place(
    installation: Installation, path: str, fields: dict[str, str], status: int, says: str
) -> None:
    answer = post(signed_in(with_agents(installation)), f"/console/interfaces/{path}", **fields)
    assert (answer.status_code, 'role="alert"' in answer.text) == (status, True)
    assert says in html.unescape(answer.text)


def test_a_draft_takes_what_was_pasted(installation: Installation) -> None:
    samples = '{"question": "why", "depth": 1}\r\n{"question": "<b>how</b>"}\r\n'
    answer = post(signed_in(with_agents(installation), Role.VIEWER), "/console/interfaces/draft", samples=samples)
    schema = json.loads(html.unescape(answer.text.partition("<code>")[2].partition("</code>")[0]))
    assert schema["required"] == ["question"]
    assert schema["properties"]["depth"] == {"type": "integer"}


@pytest.mark.parametrize("role", list(Role))
def test_who_may_see_and_switch(installation: Installation, role: Role) -> None:
    with_agents(installation)
    browser = signed_in(installation, role)
    for path in (PLACE, f"{PLACE}/measured"):
        status = browser.client.get(path).status_code
        assert (status == 200) == may(role, May.SEE_PLAN), (role, path, status)
    token = browser.csrf or "none"
    for path, form in (("activate", {}), ("deactivate", {}), ("share", {"share": "50%"})):
        assert browser.client.post(f"{PLACE}/{path}", data=form).status_code == 403
        status = browser.client.post(f"{PLACE}/{path}", data={**form, "csrf": token}).status_code
        assert status == (303 if may(role, May.RUN) else 403), (role, path)
    if may(role, May.SEE_PLAN):
        assert ("/activate" in browser.client.get(PLACE).text) == may(role, May.RUN)


def test_an_interface_that_is_not_there_is_not_found(installation: Installation) -> None:
    browser = signed_in(with_agents(installation))
    for path in ("none", "none/measured"):
        assert browser.client.get(f"/console/interfaces/{path}").status_code == 404


def test_what_the_plan_says_is_text_and_nothing_else(installation: Installation) -> None:
    browser = signed_in(with_agents(installation))
    for path in ("/console/interfaces", PLACE, "/console/interfaces?q=%3Cscript%3Ealert(1)%3C/script%3E"):
        text = browser.client.get(path).text
        for said in ("<img", "<b>tom", "<script>"):
            assert said not in text, path


def test_more_agents_than_a_picture_holds_are_a_table(installation: Installation) -> None:
    crowd = "\nagents:\n" + "".join(f"  agent-{each}: {{owner: ann}}\n" for each in range(41))
    crowd += "interfaces:\n  hello: {from: agent-1, to: agent-2, version: 0.1.0}\n"
    installation.desk.apply(installation.desk.check(PLAN.read_text() + crowd), OPERATOR)
    page = signed_in(installation).client.get("/console/interfaces").text
    assert "More than 40 agents are not drawn" in page
    assert 'href="/console/interfaces/hello"' in page
