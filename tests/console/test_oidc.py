"""Does a provider of identities let in exactly those who have a role here, whatever tokens somebody sends?"""

import functools
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.admin.installation import Installation
from tests.console.identities import CLIENT, SECRET, Identities, served

from upshift.admin.api import create_api
from upshift.admin.desk import ActError
from upshift.console.app import create_console
from upshift.console.door import COOKIE
from upshift.console.oidc import FLOW_SECONDS, Provider, Registered, parse_roles, registered
from upshift.console.pages.sign_in import FLOW_COOKIE
from upshift.model.key import Role
from upshift.store.verify import verify

ROLES = "groups: platform=admin, finance=finance, shop=tenant-admin, users=caller"


class Site:
    """A console that people sign in to with a provider, and their browser."""

    def __init__(self, installation: Installation, identities: Identities) -> None:
        self.identities = identities
        self.seconds = 1000.0
        self.ahead = 0.0
        known = registered(identities.issuer, CLIENT, SECRET, ROLES, "tenant", "email")
        assert known is not None
        self.provider = Provider(known, lambda: self.seconds, lambda: time.time() + self.ahead)
        whole = functools.partial(verify, installation.db)
        api = create_api(installation.desk, whole, lambda: self.seconds)
        api.mount("/console", create_console(installation.desk, whole, lambda: self.seconds, oidc=self.provider))
        self.client = TestClient(api, raise_server_exceptions=False, follow_redirects=False)

    def begun(self, next_: str = "/console/") -> dict[str, str]:
        """What the provider sends back for a sign-in that was begun here."""
        answer = self.client.get("/console/sign-in/oidc", params={"next": next_})
        assert answer.status_code == 303, answer.text
        assert answer.headers["location"].startswith(f"{self.identities.issuer}/authorize?")
        return self.identities.visit(answer.headers["location"])

    def back(self, query: dict[str, str]) -> Any:
        return self.client.get("/console/sign-in/oidc/callback", params=query)

    @property
    def inside(self) -> bool:
        return self.client.get("/console/budgets").status_code == 200


@pytest.fixture
def identities() -> Iterator[Identities]:
    with served(Identities()) as found:
        yield found


@pytest.fixture
def site(installation: Installation, identities: Identities) -> Site:
    return Site(installation, identities)


def test_who_has_a_role_gets_in_as_that(site: Site) -> None:
    site.identities.claims |= {"email": "mia@example.org", "email_verified": True}
    assert f"Sign in with {site.provider.name}" in site.client.get("/console/sign-in").text
    answer = site.back(site.begun("/console/traffic?workload=chat"))
    assert answer.status_code == 200
    assert 'url=/console/traffic?workload=chat"' in answer.text
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE)).lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    page = site.client.get("/console/").text
    assert "mia@example.org" in page
    assert "admin" in page


def test_acts_are_recorded_with_the_person(site: Site, installation: Installation) -> None:
    site.identities.claims |= {"email": "mia@example.org", "email_verified": True}
    site.back(site.begun())
    csrf = site.client.get("/console/").text.partition('"x-csrf-token": "')[2].partition('"')[0]
    answer = site.client.post(
        "/console/keys", data={"name": "bot", "tenant": "acme", "user": "alice"}, headers={"x-csrf-token": csrf}
    )
    assert answer.status_code == 200, answer.text
    (decision,) = installation.desk.journal.decisions(["key-issued"])
    assert decision.by == "mia@example.org (127.0.0.1: u-1)"


def test_the_session_has_a_new_token_and_ends(site: Site) -> None:
    chosen = {"cookie": f"{COOKIE}=chosen-by-somebody"}
    query = site.begun()
    flow = site.client.cookies.get(FLOW_COOKIE, path="/console/sign-in/oidc")
    answer = site.client.get(
        "/console/sign-in/oidc/callback",
        params=query,
        headers={"cookie": f"{COOKIE}=chosen-by-somebody; {FLOW_COOKIE}={flow}"},
    )
    assert answer.status_code == 200
    assert site.client.get("/console/budgets", headers=chosen).status_code == 303
    assert site.inside
    csrf = site.client.get("/console/").text.partition('"x-csrf-token": "')[2].partition('"')[0]
    assert site.client.post("/console/sign-out", data={"csrf": csrf}).status_code == 303
    assert not site.inside


ROLELESS: list[dict[str, Any]] = [
    {"groups": ["staff"]},
    {"groups": []},
    {"groups": None},
    {"groups": {"platform": True}},
    {"groups": "platform and staff"},
    {"groups": ["Platform"]},
    {"groups": ["shop"]},
    {"groups": ["users"], "tenant": "acme"},
    {"email": "mia@example.org", "email_verified": False},
]


def test_nobody_gets_in_without_a_role(site: Site) -> None:
    for claims in ROLELESS:
        site.identities.lie = claims
        answer = site.back(site.begun())
        assert answer.status_code == 403, (claims, answer.text)
        assert not site.inside


def test_a_tenants_admin_sees_that_tenant_alone(site: Site) -> None:
    site.identities.claims = {"sub": "u-2", "groups": ["shop"], "tenant": "acme"}
    assert site.back(site.begun()).status_code == 200
    assert site.inside
    assert site.client.get("/console/budgets/acme/chat/alice").status_code == 200
    assert site.client.get("/console/budgets/globex/docs/frank").status_code == 404


def test_a_user_sees_their_own_budget_alone(site: Site) -> None:
    site.identities.claims = {
        "sub": "u-3", "groups": "users", "tenant": "acme", "email": "alice", "email_verified": True,
    }  # fmt: skip
    assert site.back(site.begun()).status_code == 200
    assert "alice of acme" in site.client.get("/console/mine").text
    answer = site.client.get("/console/budgets")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/mine")


LIES: list[dict[str, Any]] = [
    {"nonce": "another"},
    {"nonce": None},
    {"aud": "somebody-else"},
    {"aud": ["somebody-else"]},
    {"aud": [CLIENT, "somebody-else"]},
    {"aud": [CLIENT, "somebody-else"], "azp": "somebody-else"},
    {"aud": None},
    {"iss": "https://evil.example"},
    {"iss": None},
    {"exp": int(time.time()) - 3600},
    {"exp": None},
    {"exp": "tomorrow"},
    {"iat": int(time.time()) + 3600},
    {"nbf": int(time.time()) + 3600},
    {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    {"sub": None},
]


def test_a_token_that_is_not_ours_opens_nothing(site: Site) -> None:
    for lie in LIES:
        site.identities.lie = lie
        answer = site.back(site.begun())
        assert answer.status_code == 401, (lie, answer.text)
        assert "is not good" in answer.text
        assert not site.inside
    site.identities.lie = {}
    assert site.back(site.begun()).status_code == 200


@pytest.mark.parametrize("how", ["none", "HS256"])
def test_a_token_that_the_provider_did_not_sign_opens_nothing(site: Site, how: str) -> None:
    site.identities.how = how
    assert site.back(site.begun()).status_code == 401
    assert not site.inside


def test_a_key_that_is_not_the_providers_opens_nothing(site: Site) -> None:
    site.identities.kid = "unknown"
    assert site.back(site.begun()).status_code == 401
    site.identities.kid = ""
    # The right name on somebody else's key: the console still has the one that it was shown.
    site.identities.turn_keys("one")
    assert site.back(site.begun()).status_code == 401
    assert not site.inside


def test_keys_that_turned_are_asked_for_again_but_not_all_the_time(site: Site) -> None:
    assert site.back(site.begun()).status_code == 200
    site.seconds += 60
    site.identities.turn_keys("two")
    assert site.back(site.begun()).status_code == 200
    for _ in range(5):
        site.identities.kid = "unknown"
        assert site.back(site.begun()).status_code == 401
    assert site.identities.asked.count("keys") == 2
    assert site.identities.asked.count("about") == 1


def test_a_token_expires(site: Site) -> None:
    site.ahead = 300 + 120
    assert site.back(site.begun()).status_code == 401


def test_an_answer_is_taken_once_and_in_the_browser_that_asked(site: Site, installation: Installation) -> None:
    query = site.begun()
    flow = site.client.cookies.get(FLOW_COOKIE, path="/console/sign-in/oidc")
    assert flow is not None
    other = Site(installation, site.identities)
    assert other.back(query).status_code == 401
    assert site.back({**query, "state": "another"}).status_code == 401
    query = site.begun()
    flow = site.client.cookies.get(FLOW_COOKIE, path="/console/sign-in/oidc")
    assert site.back(query).status_code == 200
    again = site.client.get("/console/sign-in/oidc/callback", params=query, headers={"cookie": f"{FLOW_COOKIE}={flow}"})
    assert again.status_code == 401
    assert "begun" in again.text


def test_a_code_is_taken_once(site: Site) -> None:
    first = site.begun()
    assert site.back(first).status_code == 200
    second = site.begun()
    answer = site.back({**second, "code": first["code"]})
    assert answer.status_code == 401
    assert "did not take the code" in answer.text


def test_a_sign_in_does_not_wait_for_ever(site: Site) -> None:
    query = site.begun()
    site.seconds += FLOW_SECONDS + 1
    assert site.back(query).status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "a.b", "e30=.0", "\x7f.é"])
def test_a_cookie_that_we_did_not_seal_is_nothing(site: Site, cookie: str) -> None:
    site.client.cookies.clear()
    answer = site.client.get(
        "/console/sign-in/oidc/callback",
        params={"code": "c", "state": ""},
        headers=[(b"cookie", f"{FLOW_COOKIE}={cookie}".encode())],
    )
    assert answer.status_code == 401


def test_another_providers_answer_is_refused(site: Site) -> None:
    assert site.back({**site.begun(), "iss": "https://evil.example"}).status_code == 401
    assert site.back({**site.begun(), "iss": site.identities.issuer}).status_code == 200


def test_what_the_provider_says_is_text(site: Site) -> None:
    query = site.begun()
    answer = site.back({"state": query["state"], "error": "no", "error_description": "<img src=x onerror=alert(1)>"})
    assert answer.status_code == 403
    assert "<img" not in answer.text


def test_signing_in_leads_nowhere_else(site: Site) -> None:
    answer = site.back(site.begun("https://evil.example/"))
    assert 'content="0; url=/console/"' in answer.text


def test_failures_are_counted(site: Site) -> None:
    for _ in range(20):
        assert site.back({"code": "c", "state": "s"}).status_code == 401
    assert site.back({"code": "c", "state": "s"}).status_code == 429
    assert site.client.get("/console/sign-in/oidc").status_code == 429


def test_a_secret_may_go_in_the_form(site: Site) -> None:
    site.identities.methods = ("client_secret_post",)
    assert site.back(site.begun()).status_code == 200


def test_a_provider_that_speaks_of_another_issuer_is_refused(site: Site) -> None:
    site.identities.said_issuer = "https://evil.example"
    answer = site.client.get("/console/sign-in/oidc")
    assert answer.status_code == 502
    assert "another issuer" in answer.text


def test_a_provider_that_is_away_is_named(installation: Installation) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        site = Site(installation, Identities(port=nobody.getsockname()[1]))
        answer = site.client.get("/console/sign-in/oidc")
    assert answer.status_code == 502
    assert "cannot be asked" in answer.text


def test_without_a_provider_there_is_no_such_door(installation: Installation) -> None:
    whole = functools.partial(verify, installation.db)
    client = TestClient(create_console(installation.desk, whole), raise_server_exceptions=False)
    assert client.get("/sign-in/oidc").status_code == 404
    assert "or with a key" not in client.get("/sign-in").text


def test_roles_are_read_as_they_are_written() -> None:
    claim, roles = parse_roles("realm_access.roles: a b=admin , x=y=viewer")
    assert claim == "realm_access.roles"
    assert roles == (("a b", Role.ADMIN), ("x=y", Role.VIEWER))


@pytest.mark.parametrize(
    "text", ["", "groups", "groups:", "groups: a", "groups: a=king", ": a=admin", "groups: =admin"]
)
def test_roles_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="UPSHIFT_OIDC_ROLES"):
        parse_roles(text)


def test_settings_that_cannot_be_are_refused() -> None:
    assert registered("", "", "", "", "tenant", "email") is None
    with pytest.raises(ValueError, match="ISSUER"):
        registered("http://id.example.org", "c", "", "g: a=admin", "tenant", "email")
    with pytest.raises(ValueError, match="CLIENT_ID"):
        registered("https://id.example.org", "", "", "g: a=admin", "tenant", "email")


def test_claims_inside_others_are_found() -> None:
    known = Registered(issuer="https://id.example.org", client_id="c", claim="realm.roles", roles=(("a", Role.VIEWER),))
    provider = Provider(known)
    assert provider.person({"sub": "s", "realm": {"roles": ["a"]}}).actor.role is Role.VIEWER
    with pytest.raises(ActError, match="none of your"):
        provider.person({"sub": "s", "realm": ["roles"]})
