"""Does each role come in at the doors of the admin API that are its own, and at no other?"""

import functools
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.admin.installation import OPERATOR, Installation

from upshift.admin.api import create_api
from upshift.model.key import Role
from upshift.store.verify import verify

TEXT = (Path(__file__).parent / "portfolio.yaml").read_text()
WHERE = "/api/v1/portfolio"
DRAW = {"budget": "ops", "quarter": "Q4-2026", "amount": "1h", "why": "a bad week"}
ASKED: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", WHERE): {},
    ("POST", f"{WHERE}/review"): {"content": TEXT},
    ("POST", f"{WHERE}/calibration"): {"content": TEXT},
    ("POST", f"{WHERE}/sign-offs"): {"content": TEXT, "params": {"workload": "W-01"}},
    ("DELETE", f"{WHERE}/sign-offs"): {"params": {"workload": "W-01"}},
    ("POST", f"{WHERE}/buffer"): {"json": DRAW},
}
SEE = {Role.ADMIN, Role.FINANCE, Role.ENGINEERING, Role.VIEWER}
SIGN = {Role.FINANCE, Role.ENGINEERING}
OWN = dict(zip(ASKED, (SEE, SEE, SEE, SIGN, SIGN, {Role.ADMIN, Role.FINANCE}), strict=True))
OF_AGENTS = ("/api/v1/interfaces", "/api/v1/agents")
"""Who comes in there is in test_interfaces.py."""
PLAYBOOKS = "/api/v1/playbooks"
EXPORT = "/api/v1/export"
"""Who may do what of them is tested in tests/end_to_end/test_playbooks.py."""
NOT_ADMINS = [Role.CALLER, Role.FINANCE, Role.ENGINEERING, Role.POD_LEAD, Role.VIEWER, Role.METRICS]
METRICS = "/metrics"
"""Tested in tests/end_to_end/test_observed.py."""


class Doors:
    """A client of the API, with a key of each role."""

    def __init__(self, installation: Installation) -> None:
        desk = installation.desk
        self.api = create_api(desk, functools.partial(verify, installation.db))
        self.client = TestClient(self.api, raise_server_exceptions=False)
        of_a_user = {Role.CALLER: ("acme", "alice"), Role.POD_LEAD: ("acme", "alice"), Role.TENANT_ADMIN: ("acme", "")}
        self.secrets = {
            role: desk.issue(
                OPERATOR,
                role=role,
                name=f"the {role}",
                tenant=of_a_user.get(role, ("", ""))[0],
                user=of_a_user.get(role, ("", ""))[1],
            ).secret
            for role in Role
        }

    def served(self) -> list[tuple[str, str]]:
        """Every verb and path that is described."""
        paths = self.api.openapi()["paths"]
        return [(verb.upper(), path) for path, verbs in paths.items() for verb in verbs]

    def status(self, role: Role, verb: str, path: str, **more: Any) -> int:
        headers = {"authorization": f"Bearer {self.secrets[role]}"}
        return self.client.request(verb, path.replace("{id}", "x"), headers=headers, **more).status_code


@pytest.fixture
def doors(installation: Installation) -> Doors:
    return Doors(installation)


@pytest.mark.parametrize("role", NOT_ADMINS)
def test_who_is_no_admin_comes_in_nowhere_but_at_the_portfolio(doors: Doors, role: Role) -> None:
    served = doors.served()
    assert set(ASKED) <= set(served)
    for door in served:
        if door not in ASKED and not door[1].startswith((*OF_AGENTS, PLAYBOOKS, EXPORT, METRICS)):
            assert doors.status(role, *door) == 403, door
    assert doors.status(role, "GET", "/openapi.json") == 403


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("what", ["focus", "calls"])
def test_costs_and_calls_are_taken_away_by_those_who_answer_for_them(doors: Doors, role: Role, what: str) -> None:
    status = doors.status(role, "GET", f"{EXPORT}/{what}")
    assert status == (200 if role in (Role.ADMIN, Role.FINANCE, Role.TENANT_ADMIN) else 403)


@pytest.mark.parametrize("role", list(Role))
def test_the_portfolio_is_open_to_those_whose_it_is(doors: Doors, role: Role) -> None:
    for door, asked in ASKED.items():
        status = doors.status(role, *door, **asked)
        assert (status in (200, 201)) if role in OWN[door] else (status == 403), (door, status)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_nobody_else_changes_the_plan_in_force_or_issues_a_key_of_a_person(
    doors: Doors, installation: Installation, role: Role
) -> None:
    before = installation.desk.journal.plan_in_force(), len(installation.desk.journal.keys())
    assert doors.status(role, "POST", "/api/v1/plan/apply", content=TEXT) == 403
    assert doors.status(role, "POST", "/api/v1/plan/rollback") == 403
    for wanted in (Role.ADMIN, Role.FINANCE, Role.ENGINEERING, Role.VIEWER, Role.POD_LEAD):
        tenant = "acme" if role is Role.TENANT_ADMIN else ""
        asked = {"name": "x", "role": wanted, "tenant": tenant, "user": "alice" if tenant else ""}
        assert doors.status(role, "POST", "/api/v1/keys", json=asked) == 403
    assert (installation.desk.journal.plan_in_force(), len(installation.desk.journal.keys())) == before
