"""Does the console withstand whoever means it ill: forged forms, other roles, names with markup, odd paths, sizes?"""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from fastapi.routing import APIRoute
from tests.admin.installation import NOW, PLAN, Installation, alert
from tests.console.conftest import Browser

from upshift.console.app import ROUTERS
from upshift.console.roles import May, may
from upshift.model.key import Role
from upshift.model.metered import Outcome

EVIL = "\"'><img src=x onerror=alert(1)>{{7*7}}"
FILLED = {"tenant": "acme", "workload": "chat", "user": "alice", "id": "up_0001", "what": "focus", "number": "1"}
"""Parameters of paths; others are filled with something that is not there."""

NEEDS = {
    "/mine": May.MINE,
    "/keys": May.KEYS,
    "/consents": May.OPT_IN,
    "/ledger/verify": May.VERIFY,
    "/ledger/export": May.EXPORT,
    "/ledger/reconcile": May.RECONCILE,
    "/ledger": May.SEE,
    "/budgets": May.SEE,
    "/traffic": May.SEE,
    "/workloads": May.SEE_PLAN,
    "/plan": May.SEE_PLAN,
    "/capacity/draws": May.DRAW,
    "/capacity": May.SEE_PLAN,
    "/team": May.SEE_PLAN,
    "/hardware": May.SEE_PLAN,
    "/playbooks": May.SEE_PLAN,
    "/interfaces": May.SEE_PLAN,
    "/": May.SEE,
}
"""Who may see what lies below a path. A page that is in none of them has to be added here."""
OPEN = ("/sign-in", "/sign-out", "/mine/widget")
"""For everybody, each with checks of its own."""


def _routes() -> Iterator[tuple[str, str]]:
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute), route
            path = re.sub(r"\{(\w+)(:\w+)?\}", lambda found: FILLED.get(found[1], "x"), route.path)
            for method in route.methods or ():
                yield method, path


ROUTES = sorted(set(_routes()))
GETS = [path for method, path in ROUTES if method == "GET" and not path.startswith("/sign-in/oidc")]
CHANGES = [(method, path) for method, path in ROUTES if method != "GET" and path != "/sign-in"]


def needs(path: str) -> May:
    for prefix, act in NEEDS.items():
        if path == prefix or path.startswith(prefix + "/") or path.startswith(prefix + "-"):
            return act
    raise AssertionError(f"{path}: say in NEEDS who may see it")


def gets(browser: Browser) -> list[str]:
    """Paths that end: a stream of events does not."""
    return [path for path in GETS if path != "/traffic/live"]


def test_every_path_is_known() -> None:
    assert len(CHANGES) >= 7
    for path in GETS:
        if path not in OPEN:
            needs(path)


# forged forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(Role))
def test_nothing_changes_without_the_sessions_own_word(browser: Browser, role: Role) -> None:
    browser.sign_in(role)
    before = browser.installation.desk.journal.decisions(limit=1)
    for method, path in CHANGES:
        for headers, data in (
            ({}, {}),
            ({}, {"csrf": ""}),
            ({"x-csrf-token": "a guess"}, {}),
            ({}, {"csrf": "é"}),
        ):
            answer = browser.client.request(method, f"/console{path}", data=data, headers=headers)
            assert answer.status_code == 403, (method, path, headers, answer.status_code)
    assert browser.installation.desk.journal.decisions(limit=1) == before


def test_the_word_of_another_session_is_none(browser: Browser) -> None:
    browser.sign_in()
    other = browser.csrf
    browser.client.cookies.clear()
    browser.sign_in()
    for method, path in CHANGES:
        assert browser.client.request(method, f"/console{path}", data={"csrf": other}).status_code == 403, path


def test_a_form_of_another_site_is_refused_even_with_the_word(browser: Browser) -> None:
    browser.sign_in()
    word = browser.csrf
    for method, path in CHANGES:
        for origin in ("https://evil.example", "null", "http://testserver.evil.example"):
            answer = browser.client.request(method, f"/console{path}", headers={"origin": origin, "x-csrf-token": word})
            assert answer.status_code == 403, (path, origin)


def test_the_word_is_what_lets_forms_through(browser: Browser) -> None:
    """Otherwise the tests above would pass with doors that never open."""
    passed = set()
    for role in Role:
        for method, path in CHANGES:
            browser.client.cookies.clear()
            browser.sign_in(role)
            page = browser.client.get("/console/mine" if role is Role.CALLER else "/console/").text
            word = page.partition('"x-csrf-token": "')[2].partition('"')[0]
            without = browser.client.request(method, f"/console{path}")
            answer = browser.client.request(method, f"/console{path}", headers={"x-csrf-token": word})
            if answer.status_code != 403:
                passed.add((method, path))
                assert (without.status_code, "out of date" in without.text) == (403, True), path
    assert passed == set(CHANGES)


# roles ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", list(Role))
def test_who_may_see_and_do_what(browser: Browser, role: Role) -> None:
    browser.sign_in(role)
    page = browser.client.get("/console/mine" if role is Role.CALLER else "/console/").text
    word = page.partition('"x-csrf-token": "')[2].partition('"')[0]
    for path in gets(browser):
        if path in OPEN:
            continue
        answer = browser.client.get(f"/console{path}")
        if may(role, needs(path)):
            assert answer.status_code in (200, 404, 400, 422), (path, answer.status_code)
        elif role is Role.CALLER:
            assert (answer.status_code, answer.headers["location"]) == (303, "/console/mine"), path
        else:
            assert answer.status_code == 403, (path, answer.status_code)
    for method, path in CHANGES:
        if path not in OPEN and not may(role, needs(path)):
            answer = browser.client.request(method, f"/console{path}", headers={"x-csrf-token": word})
            assert answer.status_code == 403, (path, answer.status_code)


def test_nobody_gets_anything_without_signing_in(browser: Browser) -> None:
    for path in GETS:
        if path == "/sign-in":
            continue
        answer = browser.client.get(f"/console{path}")
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/console/sign-in?next=/console/")
    for method, path in CHANGES:
        answer = browser.client.request(method, f"/console{path}", headers={"hx-request": "true"})
        assert (answer.status_code, answer.headers["hx-redirect"][:16]) == (401, "/console/sign-in"), path


def test_keys_of_another_tenant_are_not_there(browser: Browser) -> None:
    browser.secret(Role.CALLER, "globex", "frank")
    known = browser.installation.desk.journal.keys()
    other = next(each for each in known if each.tenant == "globex")
    browser.sign_in(Role.TENANT_ADMIN, "acme")
    assert other.id not in browser.client.get("/console/keys").text
    answer = browser.client.post(f"/console/keys/{other.id}/revoke", data={"csrf": browser.csrf})
    assert answer.status_code == 404
    issued = browser.client.post("/console/keys", data={"name": "x", "tenant": "globex", "csrf": browser.csrf})
    assert issued.status_code == 404


# names ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def hostile(empty: Installation, tmp_path: Path) -> Installation:
    """An installation in which everything that somebody may name carries markup."""
    plan = tmp_path / "plan.yaml"
    named = PLAN.read_text().replace("  chat:\n", f"  chat:\n    name: {msgspec.json.encode(EVIL).decode()}\n")
    plan.write_text(named)
    empty.apply(plan)
    made = empty.call(user=EVIL)
    fields = dict.fromkeys(("session", "agent", "requested_model", "served_model", "provider", "reason", "pod"), EVIL)
    await empty.spend(
        msgspec.structs.replace(made, **fields),
        msgspec.structs.replace(empty.call(user=EVIL), **fields, outcome=Outcome.UPSTREAM_ERROR),
        msgspec.structs.replace(empty.call(), **fields),
        alerts=[alert(user=EVIL)],
    )
    actor = empty.desk.actor_of(empty.secret(Role.ADMIN))
    empty.desk.issue(actor, name=EVIL, tenant="acme", user="alice")
    return empty


@pytest.mark.parametrize("role", [Role.ADMIN, Role.TENANT_ADMIN, Role.CALLER])
async def test_names_are_text_on_every_page(hostile: Installation, role: Role) -> None:
    browser = Browser(hostile)
    browser.sign_in(role)
    seen = 0
    for path in [*gets(browser), f"/budgets/acme/chat/{quote(EVIL, safe='')}", f"/traffic?user={quote(EVIL)}"]:
        answer = browser.client.get(f"/console{path}")
        if not answer.headers.get("content-type", "text/html").startswith("text/html"):
            assert answer.headers["content-disposition"].startswith("attachment"), path
            continue
        text = answer.text
        assert "<img" not in text, path
        assert "\"'><" not in text, path
        assert "49" not in text.partition("onerror")[2][:30], path
        seen += "onerror=alert(1)" in text
    assert seen >= (1 if role is Role.CALLER else 5)


async def test_what_a_url_says_is_text(browser: Browser) -> None:
    browser.sign_in()
    evil = quote(EVIL)
    for path in gets(browser):
        for query in (
            f"q={evil}",
            f"sort={evil}",
            f"workload={evil}",
            f"kind={evil}",
            f"until={evil}",
            f"{evil}={evil}",
        ):
            text = browser.client.get(f"/console{path}?{query}").text
            assert "<img" not in text, (path, query)
    for path in (f"/console/{evil}", f"/console/traffic/{evil}", f"/console/budgets/{evil}/{evil}/{evil}"):
        answer = browser.client.get(path)
        assert answer.status_code == 404, path
        assert "<img" not in answer.text


async def test_what_is_refused_is_quoted_as_text(browser: Browser) -> None:
    browser.sign_in()
    word = {"x-csrf-token": browser.csrf}
    fields = ("name", "role", "tenant", "user", "workloads", "expires", "tokens", "money", "reason", "window", "act",
              "limit", "plan", "text", "provider", "since", "number", "note", "budget")  # fmt: skip
    for method, path in CHANGES:
        if path == "/sign-out":
            continue
        answer = browser.client.request(method, f"/console{path}", data=dict.fromkeys(fields, EVIL), headers=word)
        assert "<img" not in answer.text, path
    wrong = browser.client.post("/console/sign-in", data={"key": EVIL, "next": EVIL})
    assert "<img" not in wrong.text


# headers, paths, sizes ------------------------------------------------------------------------------------------------


def test_no_page_can_be_framed_or_kept(browser: Browser) -> None:
    browser.sign_in()
    for path in [*gets(browser), "/nowhere"]:
        headers = browser.client.get(f"/console{path}").headers
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, path
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store", path


@pytest.mark.parametrize(
    "path",
    [
        "../app.py", "..%2fapp.py", "%2e%2e/app.py", "%2e%2e%2fapp.py", "..\\app.py", "....//app.py", "/etc/passwd",
        "%2fetc%2fpasswd", "../templates/base.html", "..%2f..%2fconsole%2fapp.py", "console.css/../../app.py", "%00",
        "../../../../../../../../etc/passwd",
    ],
)  # fmt: skip
def test_files_of_the_console_are_all_that_is_served(browser: Browser, path: str) -> None:
    browser.sign_in()
    answer = browser.client.get(f"/console/static/{path}")
    assert answer.status_code in (303, 400, 404), path
    assert "import" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("page", ["traffic", "ledger"])
def test_a_page_before_an_entry_that_no_ledger_can_have_is_refused(browser: Browser, page: str) -> None:
    browser.sign_in()
    assert browser.client.get(f"/console/{page}?before={2**63 - 1}").status_code == 200
    assert browser.client.get(f"/console/{page}?before={2**63}").status_code == 422


def test_what_is_too_large_is_refused(browser: Browser) -> None:
    large = "x" * (4 * 1024 * 1024 + 1)
    assert browser.client.post("/console/sign-in", data={"key": large}).status_code == 413
    assert browser.client.post("/console/sign-in", data={"key": "x" * 501}).status_code == 422
    browser.sign_in()
    many = {f"f{number}": "x" for number in range(2_000)}
    answer = browser.client.post("/console/keys", data={**many, "name": "bot"}, headers={"x-csrf-token": browser.csrf})
    assert answer.status_code in (400, 422), answer.status_code
    word = {"x-csrf-token": browser.csrf}
    assert browser.client.post("/console/keys", data={"name": "x" * 201}, headers=word).status_code == 422
    known = browser.installation.desk.journal.keys()
    assert not [key for key in known if key.name.startswith("xxx")]


def test_a_form_that_is_no_form_is_refused(browser: Browser) -> None:
    browser.sign_in()
    for kind, body in (
        ("application/json", b'{"csrf": "x"}'),
        ("multipart/form-data; boundary=x", b"--x\r\nno end"),
        ("multipart/form-data", b"no boundary"),
        ("application/x-www-form-urlencoded", b"\xff\xfe=%%%&csrf"),
    ):
        answer = browser.client.post("/console/keys", content=body, headers={"content-type": kind})
        assert 400 <= answer.status_code < 500, (kind, answer.status_code)


def test_a_moment_of_work_of_a_revoked_key_is_not_done(browser: Browser) -> None:
    browser.sign_in()
    word = {"x-csrf-token": browser.csrf}
    journal = browser.installation.desk.journal
    journal.revoke_key(journal.keys()[-1].id, NOW, "somebody")
    answer = browser.client.post("/console/keys", data={"name": "bot", "tenant": "acme", "user": "alice"}, headers=word)
    assert answer.status_code == 303
    known = journal.keys()
    assert "bot" not in [key.name for key in known]
