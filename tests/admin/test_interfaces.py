"""May only those switch interfaces who answer for it, and does the view say how contracts are kept?"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient
from tests.admin.installation import OPERATOR, PLAN, Installation
from tests.conformance.ledger import record

from upshift.admin.api import create_api
from upshift.admin.desk import ActError
from upshift.admin.interfaces import interfaces
from upshift.model.key import Role
from upshift.model.metered import Outcome
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import verify

AGENTS = """
agents:
  planner: {owner: mia}
  researcher: {owner: tom, workload: WORKLOAD, url: "https://agents.example/research"}
interfaces:
  plan-research:
    from: planner
    to: researcher
    version: 1.0.0
    owner: mia
    escalation: mia
    review: weekly
    reviewed: 2026-11-01
    request: {volume: 600/h, payload: {type: object, properties: {q: {type: string, maxLength: 9}}}}
    response: {latency: 1500ms, errors: 2%, payload: {type: object}}
  research-plan: {from: researcher, to: planner, version: 1.0.0}
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path / "upshift.db")
    made.desk.apply(made.desk.check(text()), OPERATOR)
    yield made
    made.desk.journal.close()


def text(*changes: tuple[str, str]) -> str:
    plan = PLAN.read_text() + AGENTS.replace("WORKLOAD", "chat")
    for old, new in changes:
        assert old in plan, old
        plan = plan.replace(old, new)
    return plan


def client(installation: Installation, role: Role) -> TestClient:
    tenant = "acme" if role in (Role.CALLER, Role.POD_LEAD, Role.TENANT_ADMIN) else ""
    user = "alice" if role in (Role.CALLER, Role.POD_LEAD) else ""
    secret = installation.desk.issue(OPERATOR, role=role, name=f"the {role}", tenant=tenant, user=user).secret
    api = create_api(installation.desk, functools.partial(verify, installation.db))
    return TestClient(api, headers={"authorization": f"Bearer {secret}"})


@pytest.mark.parametrize("role", list(Role))
def test_admins_and_engineering_switch_interfaces(installation: Installation, role: Role) -> None:
    asking = client(installation, role)
    may = role in (Role.ADMIN, Role.ENGINEERING)
    told = asking.post("/api/v1/interfaces/plan-research/activate")
    assert told.status_code == (200 if may else 403), told.text
    shared = asking.put("/api/v1/agents/researcher/share", json={"share": 0.25})
    assert shared.status_code == (200 if may else 403)
    standing = installation.desk.journal.standing()
    assert bool(standing.active) is may
    assert standing.shares == ({"researcher": 0.25} if may else {})
    assert asking.post("/api/v1/interfaces/plan-research/deactivate").status_code == (200 if may else 403)
    sees = 200 if role in (Role.ADMIN, Role.FINANCE, Role.ENGINEERING, Role.VIEWER) else 403
    assert asking.get("/api/v1/interfaces").status_code == sees
    assert asking.post("/api/v1/interfaces/draft", json=[1]).status_code == sees


def test_what_cannot_be_switched_says_why(installation: Installation) -> None:
    asking = client(installation, Role.ADMIN)

    def detail(verb: str, path: str, status: int, **more: Any) -> str:
        told = asking.request(verb, f"/api/v1/{path}", **more)
        assert told.status_code == status, told.text
        return str(told.json()["detail"])

    assert "it lacks: request.payload" in detail("POST", "interfaces/research-plan/activate", 409)
    assert "it has plan-research, research-plan" in detail("POST", "interfaces/none/activate", 404)
    assert "it has plan-research, research-plan" in detail("POST", "interfaces/none/deactivate", 404)
    assert "it has planner, researcher" in detail("PUT", "agents/none/share", 404, json={"share": 0.5})
    assert detail("PUT", "agents/researcher/share", 422, json={"share": 1.5})
    first = asking.post("/api/v1/interfaces/plan-research/activate").json()
    again = asking.post("/api/v1/interfaces/plan-research/activate").json()
    assert (first["changed"], again["changed"]) == (True, False)
    assert first["says"] == "planner may speak to researcher, by contract plan-research 1.0.0"


async def test_the_view_counts_calls_and_shows_reviews(installation: Installation) -> None:
    asking = client(installation, Role.VIEWER)
    client(installation, Role.ADMIN).post("/api/v1/interfaces/plan-research/activate")
    now = installation.clock.now() - 1
    ledger = await SqliteLedger.open(installation.db, now)
    common: dict[str, object] = {
        "dialect": "a2a",
        "agent": "planner",
        "requested_model": "plan-research",
        "started": now,
    }
    seen: list[dict[str, object]] = [
        {"latency_us": 2_000_000},
        {"reason": "contract_violation", "latency_us": 1},
        {"reason": "task_failed", "latency_us": 1},
        {"outcome": Outcome.UPSTREAM_ERROR, "reason": "agent-connect"},
        {"outcome": Outcome.REFUSED, "reason": "contract_violation"},
        {"outcome": Outcome.REFUSED, "reason": "interface_closed"},
        {"outcome": Outcome.REFUSED, "reason": "interface_closed", "requested_model": "planner:writer"},
    ]
    for number, more in enumerate(seen):
        ledger.note(msgspec.structs.replace(record(f"r{number}"), **(common | more)), now)
    await ledger.close()
    view = asking.get("/api/v1/interfaces").json()
    one, other = view["interfaces"]
    assert (one["calls"], one["refused"], one["failed"], one["violations"]) == (6, 2, 2, 2)
    assert one["p95_seconds"] == 2.0
    assert one["unkept"] == ["the 95th percentile of latency is 2 s, beyond 1.5 s", "50.0% failed, beyond 2.0%"]
    assert (one["active"], one["overdue_days"], one["lacks"]) == (True, 13, [])
    assert one["request"]["volume"] == "600 in 3600 s"
    assert (other["active"], other["calls"], other["p95_seconds"]) == (False, 0, None)
    assert "not active" in other["closed_because"]
    assert view["elsewhere"] == 1
    assert interfaces(installation.desk, "1s").interfaces[0].calls == 6


def test_a_plan_that_breaks_a_contract_is_not_put_in_force(installation: Installation) -> None:
    desk = installation.desk
    with pytest.raises(ActError, match="q has maxLength 8 instead of 9") as refused:
        desk.apply(desk.check(text(("maxLength: 9", "maxLength: 8"))), OPERATOR)
    assert refused.value.status == 409
    desk.apply(
        desk.check(
            text(
                ("maxLength: 9", "maxLength: 8"),
                ("to: researcher\n    version: 1.0.0", "to: researcher\n    version: 2.0.0"),
            )
        ),
        OPERATOR,
    )
    found = interfaces(desk).interfaces[0]
    assert (found.version, found.active) == ("2.0.0", False)


def test_a_draft_is_given_and_nothing_is_applied(installation: Installation) -> None:
    asking = client(installation, Role.ENGINEERING)
    before = installation.desk.journal.version()
    told = asking.post("/api/v1/interfaces/draft", json=[{"a": 1}, {"a": 2, "b": "x"}]).json()
    assert told["properties"] == {"a": {"type": "integer"}, "b": {"type": "string"}}
    assert told["required"] == ["a"]
    assert asking.post("/api/v1/interfaces/draft", json=[]).status_code == 400
    assert installation.desk.journal.version() == before


def test_a_key_may_be_an_agents_own(installation: Installation) -> None:
    asking = client(installation, Role.ADMIN)
    told = asking.post("/api/v1/keys", json={"name": "planner", "tenant": "acme", "agent": "planner"})
    assert told.json()["key"]["agent"] == "planner"
    rotated = asking.post(f"/api/v1/keys/{told.json()['key']['id']}/rotate", json={})
    assert rotated.json()["key"]["agent"] == "planner"
    wrong = asking.post("/api/v1/keys", json={"name": "x", "tenant": "acme", "agent": "nobody"})
    assert wrong.status_code == 404
