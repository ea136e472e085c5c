"""Do playbooks go over HTTP as on the command line, with the engine of the admin process, for those who may?"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient
from tests.admin.installation import OPERATOR, PLAN, Installation

from upshift.admin.api import create_api
from upshift.engine.act import JournalActs
from upshift.engine.gather import Gatherer
from upshift.engine.recorded import JournalSources
from upshift.engine.runner import Runner
from upshift.model.key import Role
from upshift.model.span import show_instant
from upshift.plan_file.books import known_checks
from upshift.playbook.run import Entered, to_decision
from upshift.store.verify import verify

BOOK = """
playbook: let-it-in
title: Let it in
subject: agent
inputs:
  agent: {says: whose}
  interfaces: {says: which}
phases:
  trying:
    window: 2h
    entering: [{do: share-of-traffic, with: {share: 10%}}, {do: activate-interfaces}]
    exit: [{check: measured, name: fast, with: {metric: latency, at-most: 0.2, values: 3}}]
  closing:
    exit: [{sign-off: engineering, name: closed}]
"""


class Served:
    """The admin API and the engine over one installation, on one clock."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        desk = installation.desk
        api = create_api(desk, lambda: verify(installation.db))
        self.client = TestClient(api, raise_server_exceptions=False)
        gatherer = Gatherer(JournalSources(desk.journal, desk.now), known_checks())
        self.runner = Runner(desk.journal, gatherer, JournalActs(desk.journal, gatherer), desk.now, "admin")
        self.keys = {
            role: desk.issue(OPERATOR, role=role, name=name).secret
            for role, name in ((Role.ADMIN, "root"), (Role.ENGINEERING, "mia"), (Role.FINANCE, "tom"))
        }
        self.keys[Role.TENANT_ADMIN] = installation.secret(Role.TENANT_ADMIN, "acme")

    def ask(self, verb: str, path: str, role: Role = Role.ENGINEERING, **body: object) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {self.keys[role]}"}
        answer = self.client.request(verb, f"/api/v1/playbooks{path}", headers=headers, json=body or None)
        return answer.status_code, answer.json()

    def start(self) -> str:
        inputs = {"agent": "dora", "interfaces": "dora-ada"}
        status, run = self.ask("POST", "", text=BOOK, inputs=inputs)
        assert status == 201, run
        return str(run["run"])


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Installation(tmp_path / "upshift.db")
    made.apply()
    yield Served(made)
    made.desk.journal.close()


async def test_a_run_opens_on_what_the_ledger_recorded(served: Served) -> None:
    run, clock = served.start(), served.installation.clock
    served.runner.tick()
    begun = clock.now()
    standing = served.installation.desk.journal.standing()
    assert set(standing.active) == {"dora-ada"}
    assert standing.shares == {"dora": 0.1}
    clock.advance(3600)
    minutes = range(10, 60, 10)
    await served.installation.spend(*(served.installation.call(at=begun + 60_000_000 * i) for i in minutes))
    served.runner.tick()
    status, found = served.ask("GET", f"/{run}")
    assert status == 200
    assert found["run"]["phase"] == "trying"
    (fast,) = found["criteria"]
    assert (fast["answer"], fast["figures"][0]["n"]) == ("pass", 4)
    assert found["run"]["window_ends"] is not None
    clock.advance(3600)
    served.runner.tick()
    status, found = served.ask("GET", f"/{run}")
    assert (found["run"]["phase"], found["criteria"][0]["answer"]) == ("trying", "broken"), "nothing in the second hour"
    assert "and none since" in found["run"]["needs"][0]
    minutes = range(65, 115, 10)
    await served.installation.spend(*(served.installation.call(at=begun + 60_000_000 * i) for i in minutes))
    clock.advance(900)
    served.runner.tick()
    status, found = served.ask("GET", f"/{run}")
    assert (found["run"]["phase"], found["run"]["needs"]) == ("closing", ["closed: to be signed off by engineering"])
    assert found["run"]["waits_for"] == ["engineering"]
    assert served.ask("POST", f"/{run}/sign-offs", Role.FINANCE, criterion="closed")[0] == 403
    assert served.ask("POST", f"/{run}/sign-offs", criterion="closed", note="fine")[0] == 201
    served.runner.tick()
    status, history = served.ask("GET", f"/{run}/history")
    assert (history["run"]["state"], history["run"]["waits_for"]) == ("finished", [])
    assert "finished: every gate opened" in history["post_mortem"]
    assert served.installation.desk.journal.standing() == standing


def test_nothing_of_the_api_shortens_a_window(served: Served) -> None:
    run = served.start()
    served.runner.tick()
    override: dict[str, object] = {"criterion": "fast", "reason": "hurry", "owner": "zoe", "until": "9d"}
    status, found = served.ask("POST", f"/{run}/overrides", Role.ENGINEERING, **override)
    assert (status, found["overrides"]) == (201, 1)
    served.installation.clock.advance(2 * 3600 - 1)
    served.runner.tick()
    assert served.ask("GET", f"/{run}")[1]["run"]["phase"] == "trying"
    served.installation.clock.advance(1)
    served.runner.tick()
    assert served.ask("GET", f"/{run}")[1]["run"]["phase"] == "closing"
    assert served.ask("GET", f"/{run}")[1]["overrides"][0]["owner"] == "zoe"


async def test_too_slow_is_rolled_back_within_one_look(served: Served) -> None:
    run, clock = served.start(), served.installation.clock
    served.runner.tick()
    begun, call = clock.now(), served.installation.call
    clock.advance(3600)
    await served.installation.spend(*(call(at=begun + 60_000_000 * i, latency_us=900_000) for i in range(1, 6)))
    served.runner.tick()
    found = served.ask("GET", f"/{run}")[1]
    assert found["run"]["state"] == "rolled-back"
    standing = served.installation.desk.journal.standing()
    assert (standing.active, standing.shares) == ({}, {})


def test_abort_over_http(served: Served) -> None:
    run = served.start()
    served.runner.tick()
    assert served.ask("POST", f"/{run}/abort", Role.FINANCE, reason="no")[0] == 403
    status, found = served.ask("POST", f"/{run}/abort", reason="no")
    assert (status, found["state"]) == (200, "undoing")
    served.runner.tick()
    assert served.ask("GET", f"/{run}")[1]["run"]["state"] == "aborted"
    assert served.ask("POST", f"/{run}/abort", reason="no")[0] == 409
    assert served.installation.desk.journal.standing().active == {}


def test_who_may_and_what_is_refused(served: Served) -> None:
    served.keys[Role.POD_LEAD] = served.installation.secret(Role.POD_LEAD, "acme", "alice")
    served.keys[Role.VIEWER] = served.installation.desk.issue(OPERATOR, role=Role.VIEWER, name="vic").secret
    run = "/nothing-1"
    for role in (Role.TENANT_ADMIN, Role.POD_LEAD):
        assert [served.ask("GET", path, role)[0] for path in ("", run, f"{run}/history")] == [403] * 3
        assert served.ask("POST", "", role, book="add-agent")[0] == 403
        assert served.ask("POST", f"{run}/abort", role, reason="x")[0] == 403
        assert served.ask("POST", f"{run}/sign-offs", role, criterion="x")[0] == 403
    override = {"criterion": "x", "reason": "x", "owner": "x", "until": "3d"}
    for role in (Role.TENANT_ADMIN, Role.POD_LEAD, Role.FINANCE, Role.VIEWER):
        assert served.ask("POST", f"{run}/overrides", role, **override)[0] == 403
    assert served.ask("GET", "", Role.VIEWER)[0] == 200
    assert served.ask("POST", "", Role.VIEWER, book="add-agent")[0] == 403
    assert served.ask("POST", "", Role.FINANCE, book="add-agent", inputs={})[0] == 403
    status, found = served.ask("POST", "", book="add-agent", inputs={})
    assert status == 400
    assert "agent is missing" in found["detail"]
    assert "interfaces is missing" in found["detail"]
    status, found = served.ask("POST", "", text=BOOK.replace("2h", "-2h"), inputs={})
    assert status == 422
    assert (found["problems"][0]["line"], found["problems"][0]["column"]) == (10, 13)
    assert served.ask("POST", "", book="x", text=BOOK)[0] == 400
    assert served.ask("GET", "/nothing-1")[0] == 404
    status, found = served.ask("GET", "")
    assert [one["name"] for one in found["books"]] == ["add-agent"]
    assert found["runs"] == []


def test_a_sheet_that_cannot_be_read_is_no_verdict(served: Served) -> None:
    inputs = {
        "agent": "dora",
        "interfaces": "dora-ada, dora-bob",
        "team": "2",
        "measurements": "agents,throughput\n1,x",
    }
    run = served.ask("POST", "", book="add-agent", inputs=inputs)[1]["run"]
    served.runner.tick()
    found = served.ask("GET", f"/{run}")[1]
    (capacity,) = found["criteria"]
    assert capacity["answer"] == "broken"
    assert "line 2" in capacity["says"][0]
    assert found["asked"]


def test_subjects_that_are_spelled_alike_get_runs_of_their_own(served: Served) -> None:
    names = ("a b", "a-b", "A B")
    found = [served.ask("POST", "", text=BOOK, inputs={"agent": name, "interfaces": "x"}) for name in names]
    assert [status for status, _ in found] == [201] * 3
    assert [run["run"] for _, run in found] == ["let-it-in-a-b-1", "let-it-in-a-b-2", "let-it-in-a-b-3"]


def test_what_would_stop_the_engine_is_refused_at_the_start(served: Served) -> None:
    text = BOOK.replace("phases:", "  scope: {says: whose figures}\nphases:")
    inputs: dict[str, object] = {"agent": "dora", "interfaces": "dora-ada"}
    status, said = served.ask("POST", "", text=text, inputs=inputs | {"scope": "bogus"})
    assert (status, "the scope 'bogus' is none" in said["detail"]) == (400, True)
    # Half of a pair: JSON can spell it, UTF-8 cannot.
    half = json.dumps({"text": BOOK, "inputs": inputs | {"agent": "\ud800"}})
    headers = {"authorization": f"Bearer {served.keys[Role.ENGINEERING]}", "content-type": "application/json"}
    answer = served.client.post("/api/v1/playbooks", content=half, headers=headers)
    assert (answer.status_code, "cannot be written" in answer.text) == (400, True)
    status, said = served.ask("POST", "", text=BOOK.replace("at-most: 0.2", "at-most: nan"), inputs=inputs)
    assert (status, said["problems"][0]["what"]) == (422, "'nan' is not a number")


FREEZE = """
calendar:
  freezes: {moving: {from: 2026-11-21, to: 2026-11-22, why: the office moves}}
"""
FROZEN = "2026-11-21 to 2026-11-22 is the freeze 'moving': the office moves"
DAY = 86_400.0


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Served]:
    """An installation on the first of two days on which nothing changes."""
    made = Installation(tmp_path / "upshift.db")
    made.desk.apply(made.desk.check(PLAN.read_text() + FREEZE), OPERATOR)
    yield Served(made)
    made.desk.journal.close()


def test_what_changes_what_is_in_force_waits_for_the_end_of_a_freeze(moving: Served) -> None:
    run = moving.start()
    for _ in range(3):
        moving.runner.tick()
    _, found = moving.ask("GET", f"/{run}")
    (freeze,) = found["criteria"]
    assert (freeze["name"], freeze["phase"], freeze["answer"]) == ("change-freeze", "trying", "waiting")
    assert freeze["says"] == [f"{FROZEN}; trying would change what is in force: it waits until 2026-11-23"]
    assert found["run"]["needs"] == [f"change-freeze: {freeze['says'][0]}"]
    assert not found["run"]["waits_for"], "a day passes by itself"
    moving.installation.clock.advance(DAY)
    moving.runner.tick()
    assert moving.ask("GET", f"/{run}")[1]["run"]["phase"] == ""
    moving.installation.clock.advance(DAY)
    moving.runner.tick()
    found = moving.ask("GET", f"/{run}")[1]["run"]
    assert (found["phase"], found["since"][:10]) == ("trying", "2026-11-23")


def test_a_freeze_is_overridden_by_a_person_and_what_it_changed_is_taken_back_at_once(moving: Served) -> None:
    run = moving.start()
    moving.runner.tick()

    def override(role: Role) -> tuple[int, Any]:
        said = {"criterion": "change-freeze", "reason": "a leak", "owner": "zoe", "until": "1d"}
        return moving.ask("POST", f"/{run}/overrides", role, **said)

    assert override(Role.FINANCE)[0] == 403
    status, found = override(Role.ENGINEERING)
    assert (status, found["overrides"]) == (201, 1)
    moving.runner.tick()
    _, found = moving.ask("GET", f"/{run}")
    assert (found["run"]["phase"], found["overrides"][0]["reason"]) == ("trying", "a leak")
    assert moving.runner.tick() == 0
    moving.ask("POST", f"/{run}/abort", reason="it is not")
    moving.runner.tick()
    assert moving.ask("GET", f"/{run}")[1]["run"]["state"] == "aborted"
    assert "mia let it pass without evidence" in moving.ask("GET", f"/{run}/history")[1]["post_mortem"]


def test_a_phase_that_was_entered_before_a_freeze_changes_nothing_in_it(moving: Served) -> None:
    run = moving.start()
    journal, now = moving.installation.desk.journal, moving.installation.clock.now()
    journal.decide(to_decision(Entered(run=run, at=now, step=1, phase="trying")))
    for _ in range(3):
        moving.runner.tick()
    found = moving.ask("GET", f"/{run}")[1]["run"]
    assert found["phase"] == "trying"
    assert found["needs"] == [
        f"change-freeze: {FROZEN}; trying would change what is in force: it waits until 2026-11-23"
    ]
    moving.installation.clock.advance(2 * DAY)
    moving.runner.tick()
    found = moving.ask("GET", f"/{run}")[1]["run"]
    assert found["since"] == show_instant(moving.installation.clock.now())


def torn(served: Served, run: str) -> None:
    later = to_decision(Entered(run=run, at=served.installation.clock.now(), step=7, phase="trying"))
    record = {"record": '{"type":"from a later version"}'}
    served.installation.desk.journal.decide(msgspec.structs.replace(later, detail=record))


def test_a_run_that_cannot_be_read_is_shown_as_such_and_hides_no_other(served: Served) -> None:
    run = served.start()
    torn(served, run)
    inputs = {"agent": "emil", "interfaces": "emil-ada"}
    assert served.ask("POST", "", text=BOOK, inputs=inputs)[0] == 201
    status, found = served.ask("GET", "")
    assert (status, [one["state"] for one in found["runs"]]) == (200, ["running", "unreadable"])
    assert found["runs"][1]["run"] == run
    assert "use a version at least as new as the one that wrote it" in found["runs"][1]["needs"][0]
    asked = (
        served.ask("GET", f"/{run}"),
        served.ask("GET", f"/{run}/history"),
        served.ask("POST", f"/{run}/abort", reason="r"),
    )
    for status, found in asked:
        assert (status, "cannot be read by this version" in str(found)) == (409, True)
    status, found = served.ask("POST", "", text=BOOK, inputs={"agent": "dora", "interfaces": "dora-ada"})
    assert (status, "it may not be over" in str(found)) == (409, True)
