"""Do the pages of playbooks show where a run stands and why, and does only who may sign, override and abort?"""

import re
from collections.abc import Sequence

import httpx2
import msgspec
import pytest
from tests.admin.installation import HOUR, NOW, OPERATOR, Installation
from tests.console.conftest import SCOPES, Browser
from tests.console.teams import begun, kept, look
from tests.playbook.small import TEXT

from upshift.admin import playbooks
from upshift.console.playbook_charts import drawings
from upshift.console.prose import prose
from upshift.console.roles import May, may
from upshift.model.key import Role
from upshift.playbook.book import Answer
from upshift.playbook.run import (
    Entered,
    Finding,
    Looked,
    Record,
    RolledBack,
    Run,
    State,
    Undone,
    fold,
    to_decision,
)

RUN = "small-dora-1"
PLACE = f"/console/playbooks/{RUN}"
HOSTILE = "<img src=x onerror=alert(1)> [here](javascript:alert(1)) ![x](https://evil.example/x.png)"


def signed_in(installation: Installation, role: Role = Role.ENGINEERING, name: str = "Ed Engineer") -> Browser:
    """A browser of one person."""
    browser = Browser(installation)
    tenant, user = SCOPES.get(role, ("", ""))
    secret = installation.desk.issue(OPERATOR, role=role, name=name, tenant=tenant, user=user).secret
    assert browser.client.post("/console/sign-in", data={"key": secret}).status_code == 303
    return browser


def post(browser: Browser, place: str, **fields: str) -> httpx2.Response:
    return browser.client.post(place, data=fields, headers={"x-csrf-token": browser.csrf, "hx-request": "true"})


def records(installation: Installation, run: str = RUN) -> Sequence[Record]:
    return playbooks.records(installation.desk.journal, run)


def run_of(installation: Installation, run: str = RUN) -> Run:
    return fold(records(installation, run))


def test_without_runs_the_page_teaches_and_offers_a_start(installation: Installation) -> None:
    text = signed_in(installation).client.get("/console/playbooks").text
    assert "No playbook has been run yet" in text
    assert "Add an agent to a team" in text
    assert 'name="input.agent"' in text
    assert 'name="input.agent"' not in signed_in(installation, Role.VIEWER).client.get("/console/playbooks").text


def test_runs_are_listed_and_exported(installation: Installation) -> None:
    begun(installation)
    begun(installation, "bob")
    browser = signed_in(installation, Role.VIEWER)
    assert f'href="{PLACE}"' in browser.client.get("/console/playbooks").text
    rows = browser.client.get("/console/playbooks?format=json&sort=run").json()
    assert [(row["run"], row["state"], row["overrides"]) for row in rows] == [
        ("small-bob-1", "running", 0),
        (RUN, "running", 0),
    ]
    assert rows[1]["window_ends"] == "2026-11-22T04:00:00Z".replace("Z", "+00:00")
    assert browser.client.get("/console/playbooks?q=bob&format=csv").text.count("\n") == 2


def test_a_window_counts_down_and_its_end_is_not_yet_its_gate(installation: Installation) -> None:
    run = begun(installation)
    browser = signed_in(installation)
    page = browser.client.get(PLACE).text
    assert "18 h left" in page
    again = re.search(r'hx-get="([^"]+now[^"]+)"', page)
    assert again is not None
    now = again[1].replace("&amp;", "&")
    installation.clock.set(NOW + HOUR)
    part = browser.client.get(now)
    assert ("17 h left" in part.text, "hx-trigger" in part.headers) == (True, False)
    installation.clock.set(NOW + 40 * HOUR)
    assert "window over" in browser.client.get(now).text
    kept(installation, look(run, 0, NOW))
    assert browser.client.get(now).headers["hx-trigger"] == "moved"
    kept(installation, RolledBack(run=run.id, at=NOW + 40 * HOUR, step=3, why=("worse",)))
    assert browser.client.get(now).headers["hx-refresh"] == "true"


def test_the_gate_says_what_was_found_and_of_how_much(installation: Installation) -> None:
    run = begun(installation)
    kept(installation, look(run, 0, NOW - HOUR, latency=4.4))
    page = signed_in(installation).client.get(PLACE).text
    assert 'data-state="WAITING"' in page
    assert "undecided: E 4.4 of 80" in page
    assert "−10.0% to +30.0%" in page
    assert "until <time" in page
    kept(installation, look(run, 1, NOW, latency=0.0, answer=Answer.BROKEN, n=0))
    page = signed_in(installation).client.get(PLACE).text
    assert 'data-state="BROKEN"' in page
    assert '<td class="number">–</td><td class="number">–</td><td class="number">4</td>' in page


def test_evidence_is_drawn_over_the_looks(installation: Installation) -> None:
    run = begun(installation)
    kept(installation, look(run, 0, NOW - 3 * HOUR))
    assert not drawings(run_of(installation), records(installation))
    kept(installation, look(run, 1, NOW - 2 * HOUR, n=0), look(run, 2, NOW - HOUR, latency=5.0))
    (found,) = drawings(run_of(installation), records(installation))
    assert (found.phase, found.metric, found.margin) == ("staged", "latency", 0.1)
    first, last = (NOW - 3 * HOUR) // 1000, (NOW - HOUR) // 1000
    for name in ("now", "baseline", "control"):
        assert f'"name":"{name}"' in found.values
    # What nobody measured is left out, and not drawn as zero.
    assert f'"data":[[{first},4000.0],[{last},5000.0]]' in found.values
    assert '"name":"healthy below"' in found.change
    assert "Evidence over time" in signed_in(installation).client.get(PLACE).text


def test_a_person_signs_for_their_role_alone(installation: Installation) -> None:
    run = begun(installation)
    kept(installation, Entered(run=run.id, at=NOW, step=3, phase="full"))
    assert "Sign off for" not in signed_in(installation, Role.FINANCE).client.get(PLACE).text
    refused = post(signed_in(installation, Role.FINANCE), f"{PLACE}/sign-offs", criterion="closed")
    assert (refused.status_code, "has to be signed by engineering" in refused.text) == (403, True)
    browser = signed_in(installation)
    assert "Sign off for engineering" in browser.client.get(PLACE).text
    done = post(browser, f"{PLACE}/sign-offs", criterion="closed", note="read")
    assert (done.status_code, done.headers["hx-redirect"]) == (204, PLACE)
    (signed,) = run_of(installation).visit.signed
    assert (signed.by, signed.role, signed.note) == ("Ed Engineer", "engineering", "read")
    assert "Sign off for" not in browser.client.get(PLACE).text


def test_an_override_is_shown_for_ever(installation: Installation) -> None:
    begun(installation)
    browser = signed_in(installation)
    fields = {"criterion": "no-regression", "reason": "no traffic", "owner": "zoe", "until": "2d"}
    assert post(browser, f"{PLACE}/overrides", **fields).status_code == 204
    page = browser.client.get(PLACE).text
    assert "by Ed Engineer: “no traffic” The risk is zoe's." in page
    assert "passes by the override of Ed Engineer" in page
    installation.clock.set(NOW + 72 * HOUR)
    late = browser.client.get(PLACE).text
    assert 'data-state="expired"' in late
    assert 'data-state="BROKEN"' in late
    assert post(browser, f"{PLACE}/abort", reason="another way").status_code == 204
    assert "by Ed Engineer: “no traffic”" in browser.client.get(PLACE).text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"until": "2d", "owner": "zoe"}, "needs a reason"),
        ({"until": "2d", "reason": "r"}, "who owns the risk"),
        ({"until": "soon", "reason": "r", "owner": "zoe"}, "is not a time"),
        ({"until": "2020-01-01", "reason": "r", "owner": "zoe"}, "expired already"),
    ],
)
def test_an_override_without_its_words_is_none(installation: Installation, fields: dict[str, str], says: str) -> None:
    begun(installation)
    refused = post(signed_in(installation), f"{PLACE}/overrides", criterion="no-regression", **fields)
    assert (refused.status_code, says in refused.text) == (400, True)
    assert not run_of(installation).visit.overridden


def test_an_abort_needs_a_reason_and_ends_the_run(installation: Installation) -> None:
    begun(installation)
    browser = signed_in(installation)
    assert post(browser, f"{PLACE}/abort").status_code == 400
    plain = browser.client.post(f"{PLACE}/abort", data={"reason": "enough", "csrf": browser.csrf})
    assert (plain.status_code, plain.headers["location"]) == (303, PLACE)
    assert run_of(installation).state is State.UNDOING
    page = browser.client.get(PLACE).text
    assert "Abort the run" not in page
    assert "enough" in page
    assert post(browser, f"{PLACE}/abort", reason="again").status_code == 409


def test_a_run_that_was_rolled_back_says_why_and_is_read_as_a_post_mortem(installation: Installation) -> None:
    run = begun(installation)
    kept(installation, look(run, 0, NOW, latency=9.0, answer=Answer.FAIL))
    kept(installation, RolledBack(run=run.id, at=NOW, step=3, why=("latency regressed",)))
    kept(installation, *(Undone(run=run.id, at=NOW, step=2, number=each, says="took it back") for each in (1, 0)))
    page = signed_in(installation).client.get(PLACE).text
    assert "Why it was rolled back" in page
    assert "never entered" in page
    assert "hx-get" not in page.partition('id="now"')[2].partition(">")[0]
    assert "<h3>Why it ended</h3>" in page
    told = signed_in(installation).client.get(f"{PLACE}/post-mortem.md")
    assert told.text.startswith("# Post-mortem: A small one - dora")


def test_a_run_starts_with_what_it_needs(installation: Installation) -> None:
    browser = signed_in(installation)
    missing = post(browser, "/console/playbooks", book="add-agent", tell="nobody")
    assert missing.status_code == 400
    for said in ("agent is missing", "interfaces is missing", "&#39;nobody&#39; is not an e-mail address"):
        assert said in missing.text
    assert post(browser, "/console/playbooks", book="none").status_code == 404
    fields = {
        "book": "add-agent",
        "input.agent": "dora",
        "input.interfaces": "dora-ada",
        "tell": "a@b.example, c@d.example",
    }
    done = post(browser, "/console/playbooks", **fields)
    assert done.headers["hx-redirect"] == "/console/playbooks/add-agent-dora-1"
    run = run_of(installation, "add-agent-dora-1")
    assert run.started.by.startswith("Ed Engineer")
    assert run.started.tell == ("a@b.example", "c@d.example")
    assert post(browser, "/console/playbooks", **fields).status_code == 409


def test_a_playbook_of_ones_own_starts_or_says_all_that_is_wrong(installation: Installation) -> None:
    browser = signed_in(installation)
    wrong = TEXT.replace("check: contracts-complete", "check: nothing").replace("window: 72h", "window: soon")
    refused = post(browser, "/console/playbooks", text=wrong, inputs="agent=dora")
    assert refused.status_code == 400
    assert refused.text.count("line ") >= 2
    assert post(browser, "/console/playbooks", text=TEXT, inputs="dora").status_code == 400
    done = post(browser, "/console/playbooks", text=TEXT.replace("\n", "\r\n"), inputs="agent = dora\n")
    assert (done.status_code, run_of(installation).subject) == (204, "dora")


@pytest.mark.parametrize("role", list(Role))
def test_who_may_see_and_run(installation: Installation, role: Role) -> None:
    begun(installation)
    browser = signed_in(installation, role)
    sees = may(role, May.SEE_PLAN)
    for path in (PLACE, f"{PLACE}/now", f"{PLACE}/story", f"{PLACE}/post-mortem.md"):
        status = browser.client.get(path).status_code
        assert (status in (200, 204)) == sees, (role, path, status)
    token = browser.csrf or "none"
    acts = {
        "": {"text": TEXT, "inputs": "agent=new"},
        f"/{RUN}/overrides": {"criterion": "no-regression", "reason": "r", "owner": "o", "until": "1d"},
        f"/{RUN}/abort": {"reason": "enough"},
    }
    for path, form in acts.items():
        place = f"/console/playbooks{path}"
        assert browser.client.post(place, data=form).status_code == 403
        status = browser.client.post(place, data={**form, "csrf": token}).status_code
        assert status == (303 if may(role, May.RUN) else 403), (role, path)


def test_a_run_that_is_not_there_is_not_found(installation: Installation) -> None:
    browser = signed_in(installation)
    for path in ("none", "none/now", "none/story", "none/post-mortem.md"):
        assert browser.client.get(f"/console/playbooks/{path}").status_code == 404


def test_what_people_write_is_text_and_nothing_else(installation: Installation) -> None:
    begun(installation, HOSTILE)
    browser = signed_in(installation, name=HOSTILE[:60])
    (run,) = playbooks.runs(installation.desk.journal)
    place = f"/console/playbooks/{run.id}"
    fields = {"criterion": "no-regression", "reason": HOSTILE, "owner": HOSTILE, "until": "2d"}
    assert post(browser, f"{place}/overrides", **fields).status_code == 204
    for path in ("/console/playbooks", place, f"{place}/story"):
        text = browser.client.get(path).text
        assert "<img" not in text
        assert 'href="javascript' not in text
    refused = post(browser, f"{place}/sign-offs", criterion=HOSTILE)
    assert (refused.status_code, "<img" in refused.text) == (404, False)


def test_a_run_that_cannot_be_read_is_listed_as_such(installation: Installation) -> None:
    begun(installation)
    journal = installation.desk.journal
    other = msgspec.structs.replace(run_of(installation).started, run="newer-1")
    journal.decide(to_decision(other))
    later = to_decision(Entered(run="newer-1", at=NOW, step=1, phase="ready"))
    journal.decide(msgspec.structs.replace(later, detail={"record": '{"type":"from a later version"}'}))
    browser = signed_in(installation)
    text = browser.client.get("/console/playbooks").text
    assert RUN in text
    assert 'data-state="unreadable"' in text
    assert "use a version at least as new" in text
    refused = browser.client.get("/console/playbooks/newer-1")
    assert (refused.status_code, "cannot be read by this version" in refused.text) == (409, True)
    assert browser.client.get("/console/").status_code == 200


def test_a_freeze_is_shown_at_the_gate_that_it_keeps_shut(installation: Installation) -> None:
    begun(installation)
    run = run_of(installation)
    freeze = Finding(
        phase="full", criterion="change-freeze", answer=Answer.WAITING, says=("the office moves until 2026-11-23",)
    )
    looked = Looked(run=RUN, at=NOW, step=run.visit.step, number=run.visit.looks, findings=(freeze,))
    installation.desk.journal.decide(to_decision(looked))
    text = signed_in(installation).client.get(PLACE).text
    assert "change-freeze" in text
    assert "the office moves until 2026-11-23" in text
    assert "<option>change-freeze</option>" in text, "it may be overridden"


def test_prose_keeps_its_form_and_leads_nowhere() -> None:
    text = prose(
        f"# Head\n\n- **one** {HOSTILE}\n    - `two`\n\n<script>x</script>\n\n| a | b |\n|---|---|\n| 1 | {HOSTILE} |\n"
    )
    for said in ("<h2>Head</h2>", "<strong>one</strong>", "<code>two</code>", "<td>1</td>", 'tabindex="0"'):
        assert said in text
    assert not re.findall(r"<(?:script|img|a)\b", text)
