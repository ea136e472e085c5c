"""Does a user see their own budget and nothing else, also framed elsewhere, and who switches pay-as-you-go?"""

import functools

import pytest
from starlette.testclient import TestClient
from tests.admin.installation import HOUR, NOW, Installation
from tests.console.conftest import Browser

from upshift.admin.api import create_api
from upshift.console.app import MENU, create_console
from upshift.model.budget import Bucket
from upshift.model.key import Role
from upshift.store.verify import verify


def test_a_user_signs_in_with_the_key_of_their_calls(browser: Browser) -> None:
    browser.sign_in(Role.CALLER)
    page = browser.client.get("/console/mine").text
    assert "alice of acme" in page
    assert "chat" in page
    assert "globex" not in page
    shown = page.partition("<ul>")[2].partition("</ul>")[0]
    assert "/console/mine" in shown
    assert "/console/traffic" not in shown


def test_a_user_sees_nothing_else(browser: Browser) -> None:
    browser.sign_in(Role.CALLER)
    for entry in MENU:
        if entry.path == "/console/mine":
            continue
        answer = browser.client.get(entry.path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/mine"), entry.path
    part = browser.client.get("/console/traffic", headers={"hx-request": "true"})
    assert part.status_code == 403
    csrf = browser.client.get("/console/mine").text.partition('"x-csrf-token": "')[2].partition('"')[0]
    granted = browser.client.post(
        "/console/budgets/acme/chat/alice", data={"tokens": "5k", "reason": "I", "csrf": csrf}
    )
    assert granted.status_code == 403
    assert browser.client.post("/console/sign-out", data={"csrf": csrf}).status_code == 303
    assert browser.client.get("/console/mine").status_code == 303


def test_who_makes_no_calls_has_no_budget_of_their_own(browser: Browser) -> None:
    browser.sign_in()
    answer = browser.client.get("/console/mine")
    assert answer.status_code == 403
    assert "no budget of yours" in answer.text


async def test_use_pace_and_what_comes_at_the_ceiling_are_said(installation: Installation) -> None:
    await installation.spend(installation.call(tokens=92_000), installation.call(user="bob", tokens=77_000))
    browser = Browser(installation)
    browser.sign_in(Role.CALLER)
    page = browser.client.get("/console/mine").text
    assert "92k" in page
    assert "77k" not in page
    assert "The token budget is nearly used up." in page
    assert "a smaller model answers" in page
    assert "invoiced" not in page
    assert "calls are refused until the next period" in page


async def test_a_pace_that_will_not_last_is_noticed(installation: Installation) -> None:
    await installation.spend(installation.call(tokens=75_000))
    browser = Browser(installation)
    browser.sign_in(Role.CALLER)
    page = browser.client.get("/console/mine").text
    assert "At this pace it is used up on" in page
    assert "nearly" not in page


async def test_degraded_answers_are_disclosed(installation: Installation) -> None:
    await installation.spend(
        installation.call(tokens=101_000), installation.call(tokens=3_000, bucket=Bucket.DEGRADED, at=NOW - 2 * HOUR)
    )
    browser = Browser(installation)
    browser.sign_in(Role.CALLER)
    page = browser.client.get("/console/mine").text
    assert "a smaller model answers now, and every answer says so" in page
    assert "From the budget model tier" in page
    assert "Used up." in page


async def test_a_key_of_some_workloads_shows_those(installation: Installation) -> None:
    desk = installation.desk
    actor = desk.actor_of(installation.secret(Role.ADMIN))
    key = desk.issue(actor, name="bot", tenant="acme", user="alice", workloads=["docs"]).secret
    browser = Browser(installation)
    browser.client.post("/console/sign-in", data={"key": key})
    page = browser.client.get("/console/mine").text
    assert "<h2>docs</h2>" in page
    assert "<h2>chat</h2>" not in page


# elsewhere ------------------------------------------------------------------------------------------------------------


def test_the_widget_is_small_and_has_no_script(browser: Browser) -> None:
    browser.sign_in(Role.CALLER)
    answer = browser.client.get("/console/mine/widget")
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert len(answer.text) < 8_000
    assert "chat" in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_the_widget_takes_a_callers_key(browser: Browser) -> None:
    own = {"authorization": f"Bearer {browser.secret(Role.CALLER)}"}
    assert "chat" in browser.client.get("/console/mine/widget", headers=own).text
    # Another user's name in the URL is not asked: the key says whose it is.
    assert browser.client.get("/console/mine/widget?user=bob", headers=own).status_code == 200
    application = {"authorization": f"Bearer {browser.secret(Role.CALLER, 'acme')}"}
    assert browser.client.get("/console/mine/widget", headers=application).status_code == 403
    assert browser.client.get("/console/mine/widget?user=alice", headers=application).status_code == 200
    for headers in ({}, {"authorization": "Basic x"}):
        assert browser.client.get("/console/mine/widget", headers=headers).status_code == 303
    assert browser.client.get("/console/mine/widget", headers={"authorization": "Bearer wrong"}).status_code == 401
    admin = {"authorization": f"Bearer {browser.secret(Role.ADMIN)}"}
    assert browser.client.get("/console/mine/widget?user=alice", headers=admin).status_code == 403


def test_wrong_keys_of_the_widget_are_counted(browser: Browser) -> None:
    for _ in range(20):
        browser.client.get("/console/mine/widget", headers={"authorization": "Bearer wrong"})
    assert browser.client.get("/console/mine/widget", headers={"authorization": "Bearer wrong"}).status_code == 429
    assert browser.client.get("/console/sign-in").status_code == 200


def test_only_sites_that_are_named_may_frame_it(installation: Installation) -> None:
    whole = functools.partial(verify, installation.db)
    api = create_api(installation.desk, whole)
    api.mount("/console", create_console(installation.desk, whole, embed="https://intranet.example"))
    client = TestClient(api, follow_redirects=False)
    key = installation.secret(Role.CALLER, "acme", "alice")
    answer = client.get("/console/mine/widget", headers={"authorization": f"Bearer {key}"})
    assert "frame-ancestors https://intranet.example" in answer.headers["content-security-policy"]
    other = client.get("/console/sign-in").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in other
    for bad in ("https://a.example; script-src *", "a,b", "a\nb"):
        with pytest.raises(ValueError, match="UPSHIFT_CONSOLE_EMBED"):
            create_console(installation.desk, whole, embed=bad)


# pay as you go --------------------------------------------------------------------------------------------------------

PLACE = "/console/consents/acme/chat/alice"


def test_a_tenants_admin_opts_in_and_out(browser: Browser) -> None:
    browser.sign_in(Role.TENANT_ADMIN)
    journal = browser.installation.desk.journal
    assert "Agree to be invoiced" in browser.client.get("/console/budgets/acme/chat/alice").text
    answer = browser.client.post(PLACE, data={"act": "in", "limit": "$20", "csrf": browser.csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/budgets/acme/chat/alice")
    (consent,) = journal.consents()
    assert consent.limit == 20_000_000_000
    assert "up to $20.00 a month" in browser.client.get("/console/budgets/acme/chat/alice").text
    assert browser.client.post(PLACE, data={"act": "out", "csrf": browser.csrf}).status_code == 303
    assert journal.consents() == []
    assert [each.kind for each in journal.decisions(limit=2)] == ["payg-opt-out", "payg-opt-in"]
    assert browser.client.post(PLACE, data={"act": "perhaps", "csrf": browser.csrf}).status_code == 400
    assert browser.client.post(PLACE, data={"act": "in", "limit": "lots", "csrf": browser.csrf}).status_code == 400
    other = browser.client.post("/console/consents/globex/docs/frank", data={"act": "in", "csrf": browser.csrf})
    assert other.status_code == 404


@pytest.mark.parametrize("role", [Role.ADMIN, Role.FINANCE, Role.VIEWER, Role.POD_LEAD, Role.ENGINEERING])
def test_nobody_else_agrees_to_a_tenants_invoice(browser: Browser, role: Role) -> None:
    browser.sign_in(role)
    assert "Agree to be invoiced" not in browser.client.get("/console/budgets/acme/chat/alice").text
    assert browser.client.post(PLACE, data={"act": "in", "csrf": browser.csrf}).status_code == 403
    assert browser.installation.desk.journal.consents() == []
