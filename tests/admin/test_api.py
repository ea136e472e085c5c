"""Does the admin API do what it says, for whom it may, and say well what it refuses?"""

import csv
import functools
import io
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.admin.installation import NOW, PLAN, Installation, alert, month

from upshift.admin.api import create_api
from upshift.admin.door import FAILURE_SECONDS, MOST_BODY_BYTES, MOST_FAILURES
from upshift.model.key import Role
from upshift.store.verify import verify

PREFIX = "/api/v1"


class Api:
    """A client of the API, with a key of each kind."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.seconds = 1000.0
        api = create_api(installation.desk, functools.partial(verify, installation.db), lambda: self.seconds)
        self.client = TestClient(api, raise_server_exceptions=False)
        secret = installation.secret
        revoked = secret(Role.ADMIN)
        installation.desk.revoke(installation.desk.actor_of(revoked), installation.desk.journal.keys()[-1].id)
        self.secrets = {
            "admin": secret(Role.ADMIN),
            "own": secret(Role.TENANT_ADMIN, "acme"),
            "other": secret(Role.TENANT_ADMIN, "globex"),
            "caller": secret(Role.CALLER, "acme", "alice"),
            "revoked": revoked,
            "unknown": "upa_unknown",
        }

    def ask(self, method: str, path: str, who: str = "admin", **more: Any) -> Any:
        headers = {**more.pop("headers", {})}
        if who != "nobody":
            headers["authorization"] = f"Bearer {self.secrets[who]}"
        return self.client.request(method, PREFIX + path if path[:1] == "/" else path[1:], headers=headers, **more)

    def get(self, path: str, who: str = "admin") -> Any:
        answer = self.ask("GET", path, who)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def api(installation: Installation) -> Api:
    call = installation.call
    await installation.spend(
        call(), call(tenant="globex", user="frank", workload="docs"), alerts=[alert(90), alert(90, "frank", "globex")]
    )
    return Api(installation)


GRANT = {"tenant": "acme", "user": "alice", "workload": "chat", "tokens": "5k", "reason": "a big week"}
KEY = {"name": "app", "tenant": "acme"}
CONSENT = {"tenant": "acme", "workload": "chat", "limit": "$50"}
READS = [
    "/plan/schema", "/keys", "/usage?by=user", "/calls", "/calls/up_0001", "/budgets", "/consents", "/alerts",
    "/decisions", "/usage?format=csv",
]  # fmt: skip
FOR_ADMINS = [
    ("GET", "/plan", None), ("GET", "/plans", None), ("POST", "/plan/check", PLAN.read_text()),
    ("POST", "/plan/diff", PLAN.read_text()), ("POST", "/plan/apply", PLAN.read_text()), ("POST", "/verify", None),
    ("POST", "/grants", GRANT), ("POST", "/adjustments", GRANT),
]  # fmt: skip
WRITES = [("/keys", KEY)]


def send(api: Api, method: str, path: str, body: Any, who: str) -> int:
    form = "content" if isinstance(body, str) else "json"
    status: int = api.ask(method, path, who, **({} if body is None else {form: body})).status_code
    return status


@pytest.mark.parametrize(("who", "status"), [("nobody", 401), ("unknown", 401), ("revoked", 401), ("caller", 403)])
def test_nobody_else_comes_in(api: Api, who: str, status: int) -> None:
    everything = [("GET", path, None) for path in READS] + [("POST", path, body) for path, body in WRITES] + FOR_ADMINS
    for method, path, body in [*everything, ("DELETE", "/consents?tenant=acme&workload=chat", None)]:
        api.seconds += FAILURE_SECONDS
        assert send(api, method, path, body, who) == status, path
    assert api.ask("GET", "-/openapi.json", who).status_code in (status, 429)


def test_admins_read_everything_and_tenants_their_own(api: Api) -> None:
    for path in READS:
        assert api.ask("GET", path, "admin").status_code == 200, path
        own, other = api.ask("GET", path, "own"), api.ask("GET", path, "other")
        assert own.status_code == 200, path
        assert "globex" not in own.text or path == "/plan/schema", path
        assert "frank" not in own.text, path
        assert other.status_code == (404 if path.startswith("/calls/") else 200), path
        assert "alice" not in other.text, path


def test_the_whole_installation_is_for_admins(api: Api) -> None:
    for method, path, body in FOR_ADMINS:
        assert send(api, method, path, body, "admin") in (200, 202), path
        assert send(api, method, path, body, "own") == 403, path


def test_a_tenants_admin_acts_for_its_tenant_only(api: Api) -> None:
    for path, body in WRITES:
        assert send(api, "POST", path, body, "own") in (201, 202), path
        assert send(api, "POST", path, body, "other") == 404, path
    key = api.get("/keys", "own")[-1]["id"]
    for act in ("rotate", "revoke"):
        assert api.ask("POST", f"/keys/{key}/{act}", "other").status_code == 404
    assert api.ask("GET", "/budgets?tenant=acme", "other").status_code == 404
    assert api.ask("GET", "/usage?where=tenant=acme", "other").status_code == 404
    assert api.ask("GET", "/calls?where=tenant=acme", "other").status_code == 404


def test_consent_is_the_tenants_own(api: Api) -> None:
    assert send(api, "POST", "/consents", CONSENT, "admin") == 403
    assert send(api, "POST", "/consents", CONSENT, "other") == 404
    assert send(api, "POST", "/consents", CONSENT, "own") == 201
    (given,) = api.get("/consents", "admin")
    assert (given["tenant"], given["workload"], given["limit_nano"]) == ("acme", "chat", 50_000_000_000)
    assert api.get("/consents", "other") == []
    assert api.get("/decisions?kind=payg-opt-in")[0]["tenant"] == "acme"
    where = "/consents?tenant=acme&workload=chat"
    assert [api.ask("DELETE", where, who).status_code for who in ("other", "admin", "own", "own")] == [
        404,
        403,
        204,
        404,
    ]


def test_a_key_from_issue_to_revocation(api: Api) -> None:
    answer = api.ask("POST", "/keys", json={**KEY, "user": "alice", "workloads": ["chat"], "expires": "90d"})
    assert answer.status_code == 201
    issued = answer.json()
    assert issued["secret"].startswith("upk_")
    assert issued["key"]["expires"] == "2027-02-19T10:00:00+00:00"
    listed = api.ask("GET", "/keys").text
    assert issued["key"]["id"] in listed
    assert issued["secret"] not in listed
    path = f"/keys/{issued['key']['id']}"
    rotated = api.ask("POST", f"{path}/rotate", json={"overlap": "1h"}).json()
    assert rotated["key"]["replaces"] == issued["key"]["id"]
    assert api.ask("POST", f"{path}/revoke").json()["state"] == "revoked"
    assert api.ask("POST", f"{path}/revoke").status_code == 409


def test_plans_are_checked_compared_and_applied(api: Api) -> None:
    text = PLAN.read_text()
    assert api.ask("POST", "/plan/check", content=text).json()["ok"] is True
    changed = text.replace("pro: {month: $5}", "pro: {month: $8}")
    compared = api.ask("POST", "/plan/diff", content=changed).json()
    assert compared["applied"] is False
    assert {each["kind"] for each in compared["consequences"]} == {"ceiling"}
    assert api.get("/plan")["hash"] != compared["hash"]
    applied = api.ask("POST", "/plan/apply", content=changed).json()
    assert (applied["applied"], applied["hash"]) == (True, compared["hash"])
    assert [each["number"] for each in api.get("/plans")] == [2, 1]


def test_a_bad_plan_changes_nothing_and_lists_its_problems(api: Api) -> None:
    answer = api.ask("POST", "/plan/apply", content=PLAN.read_text().replace("gate: hard", "gate: hart", 1))
    assert answer.status_code == 422
    (found,) = [each for each in answer.json()["problems"] if each["severity"] == "error"]
    line = PLAN.read_text()[: PLAN.read_text().index("gate: hard")].count("\n") + 1
    assert (found["path"], found["line"]) == ("workloads.docs.gate", line)
    assert api.get("/plan")["number"] == 1
    assert api.ask("POST", "/plan/check", content=b"\xff").status_code == 400


def test_budgets_and_usage(api: Api) -> None:
    line = next(each for each in api.get("/budgets?user=alice&workload=chat") if each["window"] == "month")
    assert line["tokens"]["used"] == 1000
    usage = api.get("/usage?by=tenant,workload&where=user=alice")
    assert [row["group"] for row in usage["rows"]] == [{"tenant": "acme", "workload": "chat"}]
    answer = api.ask("GET", "/usage?by=user&format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert [row["user"] for row in csv.DictReader(io.StringIO(answer.text))] == ["alice", "frank"]
    page = api.get("/calls?limit=1")
    assert [each["id"] for each in api.get(f"/calls?limit=1&before={page[0]['seq']}")] == ["up_0001"]


def test_grants_and_adjustments_wait_for_the_gateway(api: Api) -> None:
    made = api.ask("POST", "/grants", json=GRANT).json()
    assert (made["counter"], made["tokens"]) == (month("acme", "alice", "chat").path(), 5000)
    adjusted = api.ask("POST", "/adjustments", json={**GRANT, "tokens": "-1k", "money": "-$0.50"}).json()
    assert (adjusted["tokens"], adjusted["nano"]) == (-1000, -500_000_000)
    assert api.ask("POST", "/grants", json={**GRANT, "tokens": "-1k"}).status_code == 400


def test_alerts_say_how_far_they_got(api: Api) -> None:
    journal = api.installation.desk.journal
    assert journal.claim_delivery(alert(90).id, "e-mail", NOW)
    journal.delivery_done(alert(90).id, "e-mail", NOW)
    (mine,) = api.get("/alerts", "own")
    assert (mine["threshold"], mine["used"], mine["deliveries"][0]["state"]) == (90, 90_000, "done")


def test_verify_reads_the_whole_ledger(api: Api) -> None:
    found = api.ask("POST", "/verify").json()
    assert (found["ok"], found["calls"], found["problems"]) == (True, 2, [])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("DELETE", "/plan", None, 405),
        ("GET", "/calls?limit=0", None, 422),
        ("GET", f"/calls?before={2**63}", None, 422),
        ("GET", "/calls?where=colour=red", None, 400),
        ("GET", "/usage?by=colour", None, 400),
        ("GET", "/usage?since=soon", None, 400),
        ("GET", "/usage?zone=Mars/Olympus", None, 400),
        ("GET", "/calls/up_9999", None, 404),
        ("POST", "/keys", {"name": "x", "tenant": "acme", "colour": "red"}, 422),
        ("POST", "/keys", {"name": "x", "tenant": "initech"}, 404),
        ("POST", "/keys", {"name": "x", "tenant": "acme", "expires": "soon"}, 400),
        ("POST", "/grants", {**GRANT, "tokens": "lots"}, 400),
        ("POST", "/grants", {**GRANT, "window": "year"}, 422),
    ],
)
def test_errors_are_problem_documents(api: Api, method: str, path: str, body: Any, status: int) -> None:
    answer = api.ask(method, path, **({} if body is None else {"json": body}))
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert (said["status"], said["type"]) == (status, "about:blank")
    assert said["detail"]


def test_every_answer_carries_the_security_headers(api: Api) -> None:
    for path in ("/plan", "/nothing", "-/healthz"):
        headers = api.ask("GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_too_large_a_body_is_not_read(api: Api) -> None:
    assert api.ask("POST", "/plan/check", content=b"x" * (MOST_BODY_BYTES + 1)).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(MOST_BODY_BYTES // 65_536 + 1):
            yield b"x" * 65_536

    assert api.ask("POST", "/plan/check", content=pieces()).status_code == 413


def test_wrong_keys_are_limited_and_right_ones_wait_too(api: Api) -> None:
    for _ in range(MOST_FAILURES):
        assert api.ask("GET", "/plan", "unknown").status_code == 401
    answer = api.ask("GET", "/plan", "unknown")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= FAILURE_SECONDS + 1
    assert api.ask("GET", "/plan", "admin").status_code == 429
    api.seconds += FAILURE_SECONDS
    assert api.ask("GET", "/plan", "admin").status_code == 200


def test_health_needs_no_key_and_the_description_does(api: Api) -> None:
    assert api.ask("GET", "-/healthz", "nobody").json() == {"status": "ok"}
    assert api.ask("GET", "-/openapi.json", "nobody").status_code == 401
    described = api.get("-/openapi.json", "own")
    assert described["openapi"].startswith("3.1")
    undocumented = [
        f"{name}.{field}"
        for name, schema in described["components"]["schemas"].items()
        if not name.startswith(("HTTPValidation", "Validation"))
        for field, says in schema.get("properties", {}).items()
        if "description" not in says
    ]
    assert undocumented == []
    for path, methods in described["paths"].items():
        for method, says in methods.items():
            assert says.get("description"), (method, path)
            assert all(each.get("description") for each in says.get("parameters", [])), (method, path)


def test_before_the_first_plan(empty: Installation) -> None:
    issued = empty.desk.first_admin()
    assert issued is not None
    client = TestClient(create_api(empty.desk, functools.partial(verify, empty.db)))
    headers = {"authorization": f"Bearer {issued.secret}"}
    answers = {
        path: client.get(PREFIX + path, headers=headers).status_code
        for path in ("/plan", "/budgets", "/usage", "/keys")
    }
    assert answers == {"/plan": 404, "/budgets": 409, "/usage": 200, "/keys": 200}
