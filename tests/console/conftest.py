"""Where do the tests of the console get browsers that are signed in?"""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from tests.admin.installation import Installation

from upshift.admin.api import create_api
from upshift.console.app import create_console
from upshift.model.key import Role
from upshift.store.verify import verify

SCOPES: dict[Role, tuple[str, str]] = {
    Role.TENANT_ADMIN: ("acme", ""),
    Role.POD_LEAD: ("acme", "alice"),
    Role.CALLER: ("acme", "alice"),
}


class Browser:
    """A browser at an installation's console."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.seconds = 1000.0
        whole = functools.partial(verify, installation.db)
        api: FastAPI = create_api(installation.desk, whole, lambda: self.seconds)
        console = create_console(installation.desk, whole, lambda: self.seconds, sign_ins=api.state.sign_ins)
        api.mount("/console", console)
        self.client = TestClient(api, raise_server_exceptions=False, follow_redirects=False)

    def secret(self, role: Role, tenant: str = "", user: str = "") -> str:
        if not tenant:
            tenant, user = SCOPES.get(role, ("", ""))
        return self.installation.secret(role, tenant, user)

    def sign_in(self, role: Role = Role.ADMIN, tenant: str = "") -> None:
        answer = self.client.post("/console/sign-in", data={"key": self.secret(role, tenant)})
        assert answer.status_code == 303, answer.text

    @property
    def csrf(self) -> str:
        text = self.client.get("/console/").text
        return text.partition('"x-csrf-token": "')[2].partition('"')[0]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path / "upshift.db")
    yield made
    made.desk.journal.close()


@pytest.fixture
def installation(empty: Installation) -> Installation:
    empty.apply()
    return empty


@pytest.fixture
def browser(installation: Installation) -> Browser:
    return Browser(installation)
