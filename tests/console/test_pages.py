"""Does every page show what is there, to whom it may, and change nothing without a form of its own?"""

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from html import unescape
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from markupsafe import escape
from tests.admin.installation import NOW, Installation, alert, month
from tests.console.conftest import Browser
from tests.console.teams import changing

from upshift.admin.door import FAILURE_SECONDS, MOST_FAILURES
from upshift.console.app import MENU
from upshift.console.door import COOKIE, inside
from upshift.console.roles import May, may
from upshift.console.sessions import IDLE_SECONDS
from upshift.model.budget import Amount, Bucket
from upshift.model.entry import Grant
from upshift.model.key import Key, Role
from upshift.model.metered import Outcome
from upshift.store.sqlite_ledger import SqliteLedger

PAGES = [entry.path for entry in MENU]


def test_nobody_sees_a_page_without_signing_in(browser: Browser) -> None:
    for path in [*PAGES, "/console/traffic/up_0001", "/console/budgets/acme/chat/alice"]:
        answer = browser.client.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/console/sign-in?next=/console/")
    part = browser.client.post("/console/ledger/verify", headers={"hx-request": "true"})
    assert (part.status_code, part.headers["hx-redirect"][:16]) == (401, "/console/sign-in")


def test_a_session_opens_and_ends(browser: Browser) -> None:
    browser.sign_in()
    assert browser.client.get("/console/").status_code == 200
    token = browser.csrf
    assert browser.client.post("/console/sign-out").status_code == 403
    assert browser.client.post("/console/sign-out", data={"csrf": token}).status_code == 303
    assert browser.client.get("/console/").status_code == 303


def test_the_cookie_is_strict(browser: Browser) -> None:
    answer = browser.client.post("/console/sign-in", data={"key": browser.secret(Role.ADMIN)})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/console" in cookie


def test_a_sign_in_never_takes_over_a_session_that_was_set_before(browser: Browser) -> None:
    chosen = {"cookie": f"{COOKIE}=chosen-by-somebody"}
    signed = browser.client.post("/console/sign-in", data={"key": browser.secret(Role.ADMIN)}, headers=chosen)
    assert signed.status_code == 303
    assert "chosen-by-somebody" not in signed.headers["set-cookie"]
    browser.client.cookies.clear()
    assert browser.client.get("/console/", headers=chosen).status_code == 303


def test_an_idle_session_has_to_sign_in_again(browser: Browser) -> None:
    browser.sign_in()
    browser.seconds += IDLE_SECONDS + 1
    assert browser.client.get("/console/").status_code == 303


def test_a_revoked_key_ends_its_sessions(browser: Browser) -> None:
    browser.sign_in()
    desk = browser.installation.desk
    key = desk.journal.keys()[-1]
    desk.journal.revoke_key(key.id, NOW, "somebody")
    assert browser.client.get("/console/").status_code == 303


def test_wrong_keys_are_told_so_and_then_not_looked_at(browser: Browser) -> None:
    for _ in range(MOST_FAILURES):
        answer = browser.client.post("/console/sign-in", data={"key": "upa_wrong"})
        assert answer.status_code == 401
    assert browser.client.post("/console/sign-in", data={"key": browser.secret(Role.ADMIN)}).status_code == 429
    browser.seconds += FAILURE_SECONDS + 1
    browser.sign_in()


def test_the_key_of_an_application_has_no_seat_here(browser: Browser) -> None:
    answer = browser.client.post("/console/sign-in", data={"key": browser.secret(Role.CALLER, "acme")})
    assert answer.status_code == 403


def test_a_form_of_another_site_signs_nobody_in(browser: Browser) -> None:
    key = browser.secret(Role.ADMIN)
    for origin in ("https://evil.example", "null"):
        answer = browser.client.post("/console/sign-in", data={"key": key}, headers={"origin": origin})
        assert answer.status_code == 403, origin
    assert browser.client.post(
        "/console/sign-in", data={"key": key}, headers={"origin": "http://testserver"}
    ).status_code == 303  # fmt: skip


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example/console/", "/console//evil.example", "/\\evil.example", "javascript:alert(1)",
     "/console/\nset-cookie:a", "/elsewhere", "console/", ""],
)  # fmt: skip
def test_signing_in_leads_nowhere_else(browser: Browser, target: str) -> None:
    assert inside(target) == "/console/"
    answer = browser.client.post("/console/sign-in", data={"key": browser.secret(Role.ADMIN), "next": target})
    assert answer.headers["location"] == "/console/"


def test_signing_in_leads_back(browser: Browser) -> None:
    target = "/console/traffic?workload=chat&sort=-cost"
    answer = browser.client.get(target)
    back = parse_qs(urlsplit(answer.headers["location"]).query)["next"]
    assert back == [target]
    form = browser.client.get(answer.headers["location"]).text
    assert f'name="next" value="{escape(target)}"' in form
    done = browser.client.post("/console/sign-in", data={"key": browser.secret(Role.ADMIN), "next": back[0]})
    assert done.headers["location"] == target


def test_every_answer_carries_a_policy_without_inline_script(browser: Browser) -> None:
    browser.sign_in()
    for path in [*PAGES, "/console/nowhere", "/console/static/console.js"]:
        headers = browser.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CALLER])
def test_who_sees_which_page(browser: Browser, role: Role) -> None:
    browser.sign_in(role)
    for entry in MENU:
        status = browser.client.get(entry.path).status_code
        assert status == (200 if may(role, entry.needs) else 403), (role, entry.path)
    shown = browser.client.get("/console/").text
    for entry in MENU:
        assert (f'href="{entry.path}"' in shown.partition("<ul>")[2].partition("</ul>")[0]) == may(role, entry.needs)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CALLER])
def test_who_may_do_what(browser: Browser, role: Role) -> None:
    browser.sign_in(role)
    token = browser.csrf
    acts = {
        May.GRANT: ("/console/budgets/acme/chat/alice", {"tokens": "1k", "reason": "more"}),
        May.KEYS: ("/console/keys", {"name": "another", "tenant": "acme", "user": "alice"}),
        May.VERIFY: ("/console/ledger/verify", {}),
    }
    for act, (path, form) in acts.items():
        assert browser.client.post(path, data=form).status_code == 403, (role, act, "without the session's word")
        status = browser.client.post(path, data={**form, "csrf": token}).status_code
        allowed = may(role, act)
        assert (status in (200, 303)) == allowed, (role, act, status)


async def test_a_call_is_followed_from_the_list_to_its_story(installation: Installation) -> None:
    served = installation.call(cost=None)
    refused = installation.call(outcome=Outcome.REFUSED, user="bob")
    await installation.spend(served, refused, alerts=[alert()])
    browser = Browser(installation)
    browser.sign_in()
    listed = browser.client.get("/console/traffic?outcome=refused").text
    assert refused.request in listed
    assert served.request not in listed
    story = browser.client.get(f"/console/traffic/{served.request}").text
    assert "unknown" in story
    assert served.plan[:12] in story
    assert "refused" in browser.client.get(f"/console/traffic/{refused.request}").text
    assert "alice · chat" in browser.client.get("/console/").text


async def test_another_tenants_names_are_as_good_as_none(installation: Installation) -> None:
    other = installation.call(tenant="globex", user="gina")
    await installation.spend(other)
    browser = Browser(installation)
    browser.sign_in(Role.TENANT_ADMIN, "acme")
    assert browser.client.get(f"/console/traffic/{other.request}").status_code == 404
    assert browser.client.get("/console/budgets/globex/chat/gina").status_code == 404
    assert browser.client.get("/console/traffic?tenant=globex").status_code == 404
    for path in PAGES:
        assert "gina" not in browser.client.get(path).text, path


async def test_names_of_callers_are_text_and_nothing_else(installation: Installation) -> None:
    user = "<img src=x onerror=alert(1)>"
    await installation.spend(installation.call(user=user))
    browser = Browser(installation)
    browser.sign_in()
    for path in (
        "/console/",
        "/console/traffic",
        f"/console/traffic?user={quote(user)}",
        f"/console/ledger?q={quote(user)}",
    ):
        text = browser.client.get(path).text
        assert "<img" not in text, path
    exported = browser.client.get("/console/traffic?format=csv")
    assert exported.headers["content-disposition"] == 'attachment; filename="traffic.csv"'


async def test_a_lifted_ceiling_is_recorded_with_who_and_why(installation: Installation) -> None:
    browser = Browser(installation)
    browser.sign_in()
    answer = browser.client.post(
        "/console/budgets/acme/chat/alice", data={"tokens": "5k", "reason": "the quarter's end", "csrf": browser.csrf}
    )
    assert answer.status_code == 303
    refused = browser.client.post("/console/budgets/acme/chat/alice", data={"tokens": "5k", "csrf": browser.csrf})
    assert refused.status_code == 400
    assert "reason" in refused.text


def test_pages_of_an_empty_installation_teach(empty: Installation) -> None:
    browser = Browser(empty)
    browser.sign_in()
    assert "upshift plan apply" in browser.client.get("/console/").text
    assert browser.client.get("/console/traffic").status_code == 200
    assert browser.client.get("/console/budgets").status_code == 409


async def test_the_first_page_is_small(installation: Installation) -> None:
    """As it goes over the wire without charts, in use and full."""
    await installation.spend(
        *(installation.call(user=f"user-{number}") for number in range(12)), alerts=[alert(), alert(100)]
    )
    browser = Browser(installation)
    browser.sign_in()
    for path in ("/console/", "/console/sign-in"):
        page = browser.client.get(path).text
        names = set(re.findall(r"/console/static/([\w.-]+)", page)) - {"echarts.min.js"}
        assert names >= {"console.css", "console.js", "htmx.min.js", "theme.js", "icons.svg"}, path
        sizes = [int(browser.client.get(f"/console/static/{name}").headers["content-length"]) for name in names]
        assert len(page.encode()) + sum(sizes) < 60_000, path


def test_wrong_keys_of_the_api_and_of_the_console_are_counted_together(browser: Browser) -> None:
    for number in range(MOST_FAILURES):
        if number % 2:
            browser.client.post("/console/sign-in", data={"key": "upa_wrong"})
        else:
            browser.client.get("/api/v1/keys", headers={"authorization": "Bearer upa_wrong"})
    assert browser.client.post("/console/sign-in", data={"key": "upa_wrong"}).status_code == 429
    assert browser.client.get("/api/v1/keys", headers={"authorization": "Bearer upa_wrong"}).status_code == 429


def test_a_bug_is_told_in_the_consoles_own_dress(browser: Browser) -> None:
    browser.sign_in()
    with closing(sqlite3.connect(browser.installation.db)) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'plans'"):
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE plans SET document = 'no plan'")
        db.commit()
    answer = next(
        found
        for path in ("plan/text/1", "workloads", "budgets", "")
        if (found := browser.client.get(f"/console/{path}")).status_code == 500
    )
    assert "The log says what" in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


def test_what_was_sent_leads_back_to_its_page_and_not_to_where_it_was_sent(browser: Browser) -> None:
    page = "http://testserver/console/keys?q=a&sort=name"
    sent = browser.client.post("/console/keys", headers={"referer": page})
    assert parse_qs(urlsplit(sent.headers["location"]).query)["next"] == ["/console/keys?q=a&sort=name"]
    part = browser.client.get(
        "/console/capacity/most", headers={"hx-request": "true", "hx-current-url": "http://testserver/console/capacity"}
    )
    assert part.headers["hx-redirect"] == "/console/sign-in?next=/console/capacity"
    elsewhere = browser.client.post("/console/keys", headers={"referer": "https://evil.example/x"})
    assert 'name="next" value="/console/"' in browser.client.get(elsewhere.headers["location"]).text


def _keys(browser: Browser) -> Sequence[Key]:
    return browser.installation.desk.journal.keys()


def test_a_key_is_revoked_from_its_page(browser: Browser) -> None:
    browser.secret(Role.VIEWER)
    browser.sign_in()
    key = next(each for each in _keys(browser) if each.role is Role.VIEWER)
    assert "Revoke for ever" not in browser.client.get("/console/keys").text
    page = browser.client.get(f"/console/keys?q={key.id}").text
    assert f'action="/console/keys/{key.id}/revoke"' in page
    assert browser.client.post(f"/console/keys/{key.id}/revoke", data={"csrf": browser.csrf}).status_code == 303
    assert "Revoke for ever" not in browser.client.get(f"/console/keys?q={key.id}").text


async def test_a_budget_tells_its_history_and_who_can_lift_it(installation: Installation) -> None:
    await installation.spend(
        installation.call(), installation.call(bucket=Bucket.DEGRADED, at=NOW - 30 * 3_600_000_000)
    )
    browser = Browser(installation)
    browser.sign_in()
    page = browser.client.get("/console/budgets/acme/chat/alice").text
    assert "Nobody has lifted it yet" in page
    assert "admin-, as admin of the installation" in page
    chart = unescape(page.partition('data-chart="')[2].partition('"')[0])
    assert sum(sum(each["data"]) for each in json.loads(chart)["series"]) == 2000
    ledger = await SqliteLedger.open(installation.db, NOW)
    lifted = Grant("g1", NOW, (month("acme", "alice", "chat"),), Amount(5_000, 0), "mia", "a <sprint>")
    assert ledger.append(lifted) is not None
    await ledger.close()
    page = browser.client.get("/console/budgets/acme/chat/alice").text
    assert "5k tokens" in page
    assert "“a &lt;sprint&gt;”" in page
    browser.client.cookies.clear()
    browser.sign_in(Role.TENANT_ADMIN)
    assert "admin-, as admin" not in browser.client.get("/console/budgets/acme/chat/alice").text


async def test_odd_names_of_users_lead_to_their_own_budget(installation: Installation) -> None:
    name = "a/b?c=d#e &f"
    await installation.spend(installation.call(user=name), alerts=[alert(user=name)])
    browser = Browser(installation)
    browser.sign_in()
    for path in ("/console/budgets", "/console/", "/console/traffic/up_0001", "/console/workloads/chat"):
        links = re.findall(r'href="(/console/budgets/[^"]+)"', browser.client.get(path).text)
        own = next(unescape(each) for each in links if "%3F" in each)
        page = browser.client.get(own)
        assert page.status_code == 200, path
        assert "<h1>a/b?c=d#e &amp;f " in page.text, path


async def test_health_and_running_playbooks_are_on_the_first_page(installation: Installation) -> None:
    late = NOW - 60_000_000
    await installation.spend(installation.call(at=late), installation.call(at=late, outcome=Outcome.UPSTREAM_ERROR))
    changing(installation)
    browser = Browser(installation)
    browser.sign_in()
    page = browser.client.get("/console/").text
    assert "2 calls, 1 failed" in page
    assert 'href="/console/playbooks/small-dora-1">dora</a> in staged' in page
    browser.client.cookies.clear()
    browser.sign_in(Role.TENANT_ADMIN)
    assert "small-dora-1" not in browser.client.get("/console/").text
