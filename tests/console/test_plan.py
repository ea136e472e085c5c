"""Does the page of the plan show every problem at its line, apply exactly what was checked, and take it back?"""

from pathlib import Path

import httpx2
import pytest
from tests.admin.installation import OPERATOR, PLAN, Installation
from tests.console.conftest import Browser

from upshift.model.key import Role

TEXT = PLAN.read_text()
Files = dict[str, tuple[str, bytes]] | None
MORE = TEXT.replace("free: {month: 10k}", "free: {month: 20k}")


def signed_in(installation: Installation, role: Role = Role.ADMIN) -> Browser:
    browser = Browser(installation)
    browser.sign_in(role)
    return browser


def post(browser: Browser, path: str, files: Files = None, /, **fields: str) -> httpx2.Response:
    headers = {"x-csrf-token": browser.csrf, "hx-request": "true"}
    return browser.client.post(f"/console/plan/{path}", data=fields, files=files, headers=headers)


def hashes(page: str) -> dict[str, str]:
    """What the form that applies would send."""
    return {name: page.partition(f'name="{name}" value="')[2].partition('"')[0] for name in ("shown", "instead_of")}


def test_problems_are_shown_at_their_lines(browser: Browser) -> None:
    browser.sign_in()
    answer = post(browser, "check", text=TEXT.replace("gate: soft", "gate: sofd").replace("\n", "\r\n"))
    assert answer.status_code == 422
    line = next(at for at, each in enumerate(TEXT.splitlines(), 1) if "gate: soft" in each)
    assert f"line {line}, column 11" in answer.text
    assert "gate: <mark>sofd</mark>" in answer.text
    assert "Did you mean &#39;soft&#39;?" in answer.text


def test_what_is_no_plan_is_told(browser: Browser) -> None:
    browser.sign_in()
    assert "paste a plan" in post(browser, "check", text=" ").text
    assert post(browser, "check", text="{").status_code == 422
    not_text = post(browser, "check", {"file": ("plan.yaml", b"\xff\xfe\x00")})
    assert (not_text.status_code, "UTF-8" in not_text.text) == (400, True)
    hostile = post(browser, "check", text="<script>alert(1)</script>: 1")
    assert "<script>" not in hostile.text


@pytest.mark.parametrize("way", ["text", "file"])
def test_a_plan_is_checked_then_applied_as_it_was_shown(installation: Installation, way: str) -> None:
    browser = signed_in(installation)
    sent = {"text": MORE} if way == "text" else {}
    files = {"file": ("plan.yaml", MORE.encode())} if way == "file" else None
    checked = post(browser, "check", files, **sent)
    assert checked.status_code == 200
    assert "10k tokens a month -&gt; 20k tokens a month" in checked.text
    applied = post(browser, "apply", text=MORE, **hashes(checked.text))
    assert (applied.status_code, applied.headers["hx-redirect"]) == (204, "/console/plan")
    now = installation.desk.journal.plan_in_force()
    assert now is not None
    assert now.number == 2
    assert now.by.startswith("admin-")


def test_neither_another_text_nor_another_base_is_applied(installation: Installation) -> None:
    browser = signed_in(installation)
    shown = hashes(post(browser, "check", text=MORE).text)
    other = post(browser, "apply", text=TEXT.replace("10k", "30k"), **shown)
    assert (other.status_code, "not the plan that was checked" in other.text) == (409, True)
    installation.desk.apply(installation.desk.check(TEXT.replace("10k", "40k")), OPERATOR)
    late = post(browser, "apply", text=MORE, **shown)
    assert (late.status_code, "in the meantime" in late.text) == (409, True)
    assert post(browser, "apply", text="{", **shown).status_code == 422
    plan = installation.desk.journal.plan_in_force()
    assert plan is not None
    assert plan.number == 2


def test_what_is_not_signed_is_not_offered(empty: Installation) -> None:
    text = (Path(__file__).parents[1] / "admin" / "portfolio.yaml").read_text()
    browser = signed_in(empty)
    committed = text.replace("status: candidate\n    ships", "status: committed\n    ships")
    page = post(browser, "check", text=committed).text
    assert "It may not be put in force" in page
    assert "tokens is not signed off by finance" in page
    assert "Put it in force" not in page
    forced = post(browser, "apply", text=committed, shown=empty.desk.check(committed).snapshot.hash, instead_of="")
    assert (forced.status_code, "may not be put in force" in forced.text) == (409, True)


def test_a_plan_to_come_is_signed_where_it_is_checked(empty: Installation) -> None:
    text = (Path(__file__).parents[1] / "admin" / "portfolio.yaml").read_text()
    committed = text.replace("status: candidate\n    ships", "status: committed\n    ships")
    admin, digest = signed_in(empty), empty.desk.check(committed).snapshot.hash
    assert post(admin, "sign-offs", text=committed, workload="W-01", shown=digest).status_code == 403
    for role, name in ((Role.FINANCE, "Fay"), (Role.ENGINEERING, "Edith")):
        person = Browser(empty)
        person.client.post("/console/sign-in", data={"key": empty.desk.issue(OPERATOR, role=role, name=name).secret})
        page = post(person, "check", text=committed).text
        assert "W-01: tokens, compute, ops" in page
        assert "<dt>users</dt><dd>280</dd>" in page
        other = post(person, "sign-offs", text=committed.replace("280", "400"), workload="W-01", shown=digest)
        assert other.status_code == 409
        signed = post(person, "sign-offs", text=committed, workload="W-01", shown=digest)
        assert (signed.status_code, "W-01: tokens, compute, ops" in signed.text) == (200, False)
    assert "It may not be put in force" not in post(admin, "check", text=committed).text


def test_a_former_plan_is_shown_and_put_in_force_again(installation: Installation) -> None:
    installation.desk.apply(installation.desk.check(MORE), OPERATOR)
    browser = signed_in(installation)
    preview = browser.client.get("/console/plan/rollback/1").text
    assert "20k tokens a month -&gt; 10k tokens a month" in preview
    instead_of = hashes(preview)["instead_of"]
    stale = post(browser, "rollback/1", instead_of="another")
    assert stale.status_code == 409
    assert post(browser, "rollback/1", instead_of=instead_of).status_code == 204
    rows = browser.client.get("/console/plan?format=json").json()
    assert [(each["number"], each["restores"]) for each in rows] == [(3, "number 1"), (2, ""), (1, "")]
    assert browser.client.get("/console/plan/rollback/9").status_code == 404


def test_the_plan_in_force_is_readable(installation: Installation) -> None:
    browser = signed_in(installation, Role.VIEWER)
    text = browser.client.get("/console/plan/text/1").text
    assert "  chat:\n" in text
    assert "primary: premium" in text
    assert browser.client.get("/console/plan/text/7").status_code == 404


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.CALLER])
def test_who_may_check_and_apply(installation: Installation, role: Role) -> None:
    browser = signed_in(installation, role)
    sees_no_plan = role in (Role.TENANT_ADMIN, Role.POD_LEAD, Role.METRICS)
    checked = post(browser, "check", text=MORE)
    assert checked.status_code == (403 if sees_no_plan else 200)
    assert ("Put it in force" in checked.text) == (role is Role.ADMIN)
    digest = installation.desk.check(MORE).snapshot.hash
    before = installation.desk.need_snapshot().hash
    for path, fields in (("apply", {"text": MORE, "shown": digest}), ("rollback/1", {})):
        without = browser.client.post(f"/console/plan/{path}", data={**fields, "instead_of": before})
        assert without.status_code == 403, path
    answer = post(browser, "apply", text=MORE, shown=digest, instead_of=before)
    assert answer.status_code == (204 if role is Role.ADMIN else 403)
    now = installation.desk.need_snapshot().hash
    assert (now == digest) == (role is Role.ADMIN)
    assert (post(browser, "rollback/1", instead_of=now).status_code == 204) == (role is Role.ADMIN)


def test_without_a_plan_one_can_be_put_in_force(empty: Installation) -> None:
    browser = signed_in(empty)
    assert "No plan is in force yet" in browser.client.get("/console/plan").text
    checked = post(browser, "check", text=TEXT)
    assert post(browser, "apply", text=TEXT, **hashes(checked.text)).status_code == 204
    assert "two-tenants" in browser.client.get("/console/plan").text
