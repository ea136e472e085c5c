"""How does a person sign in with an OpenID provider: a code with PKCE, a checked id token, a role by claims?"""

import base64
import hashlib
import hmac
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from upshift.admin.desk import ActError, Actor
from upshift.console.sessions import Person
from upshift.model.key import Role

FLOW_SECONDS = 600.0
"""How long somebody may take at the provider."""
TIMEOUT_SECONDS = 10.0
_LEEWAY_SECONDS = 60
_KEPT_SECONDS = 3600.0
_REFETCH_SECONDS = 30.0
_MOST_USED = 10_000
# Only what a provider signs with a key of its own: "none", and secrets that both sides hold, prove nothing here.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_OF_A_TENANT = frozenset((Role.TENANT_ADMIN, Role.POD_LEAD, Role.CALLER))
_OF_A_USER = frozenset((Role.POD_LEAD, Role.CALLER))
_LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider and this console know of each other, and whom it lets in as what."""

    issuer: str
    client_id: str
    client_secret: str = ""
    claim: str
    """Whose values decide about roles; dots lead into objects."""
    roles: tuple[tuple[str, Role], ...]
    """Values of the claim and their roles; the first that fits wins."""
    tenant_claim: str = "tenant"
    user_claim: str = "email"


def registered(
    issuer: str, client_id: str, client_secret: str, roles: str, tenant_claim: str, user_claim: str
) -> Registered | None:
    """The registration that settings speak of; None without an issuer. Raises ValueError with what is wrong."""
    if not issuer:
        return None
    parts = urlsplit(issuer)
    if not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        raise ValueError(f"UPSHIFT_OIDC_ISSUER={issuer!r}: the issuer is an https:// address")
    if not client_id:
        raise ValueError("UPSHIFT_OIDC_CLIENT_ID: with an issuer, say what it calls this console")
    claim, mapping = parse_roles(roles)
    return Registered(
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        claim=claim,
        roles=mapping,
        tenant_claim=tenant_claim,
        user_claim=user_claim,
    )


def parse_roles(text: str) -> tuple[str, tuple[tuple[str, Role], ...]]:
    """The claim and its mapping in a text like 'groups: platform=admin, finance=finance'. Raises ValueError."""
    claim, colon, pairs = text.partition(":")
    found: list[tuple[str, Role]] = []
    for pair in filter(None, map(str.strip, pairs.split(","))):
        value, equals, role = pair.rpartition("=")
        if not equals or not value.strip() or role.strip() not in set(Role):
            raise ValueError(f"UPSHIFT_OIDC_ROLES: {pair!r} is not VALUE=ROLE; roles are {', '.join(Role)}")
        found.append((value.strip(), Role(role.strip())))
    if not colon or not claim.strip() or not found:
        raise ValueError("UPSHIFT_OIDC_ROLES: say who gets in, like groups: platform=admin, finance=finance")
    return claim.strip(), tuple(found)


class Flow(msgspec.Struct, frozen=True):
    """A sign-in that is under way, kept by the browser under our seal."""

    state: str
    nonce: str
    verifier: str
    next: str
    redirect_uri: str
    until: float


class Provider:
    """The provider of identities. Only the event loop may use it; `clock` in seconds times flows, `now` tokens."""

    def __init__(
        self, registered: Registered, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self.registered = registered
        self._clock, self._now = clock, now
        # Once, since it takes a while; the authorities are the system's, where organisations add their own.
        self._trust = ssl.create_default_context()
        self._seal = secrets.token_bytes(32)
        self._used: dict[str, float] = {}
        self._about: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    @property
    def name(self) -> str:
        """What people know it by: its host."""
        return urlsplit(self.registered.issuer).hostname or self.registered.issuer

    async def begin(self, redirect_uri: str, next_: str) -> tuple[str, str]:
        """Where to send the browser, and the cookie that it has to bring back. Raises ActError."""
        flow = Flow(
            secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), next_, redirect_uri,
            self._clock() + FLOW_SECONDS,
        )  # fmt: skip
        async with self._client(redirect_uri) as client:
            about = await self._discovered(client)
            url, _ = client.create_authorization_url(
                about["authorization_endpoint"], state=flow.state, code_verifier=flow.verifier, nonce=flow.nonce
            )
        return str(url), self._sealed(flow)

    async def finish(self, cookie: str, answer: Mapping[str, str]) -> tuple[Person, str]:
        """Who came back, and the page that was asked for. Raises ActError 401, 403 or 502."""
        flow = self._opened(cookie)
        if flow is None or not hmac.compare_digest(flow.state.encode(), answer.get("state", "").encode()):
            raise ActError("this sign-in was not begun in this browser, or too long ago; begin again", 401)
        self._once(flow)
        if answer.get("iss", self.registered.issuer) != self.registered.issuer:
            raise ActError("the answer came from another provider", 401)
        if "error" in answer or not answer.get("code"):
            why = answer.get("error_description") or answer.get("error") or "no code"
            raise ActError(f"{self.name} did not sign you in: {why[:200]}", 403)
        async with self._client(flow.redirect_uri) as client:
            about = await self._discovered(client)
            try:
                token = await client.fetch_token(
                    about["token_endpoint"],
                    grant_type="authorization_code",
                    code=answer["code"],
                    code_verifier=flow.verifier,
                )
            except (AuthlibBaseError, httpx2.HTTPError, ValueError) as error:
                raise ActError(f"{self.name} did not take the code: {str(error)[:200]}", 401) from None
            claims = await self._claims(client, about, token, flow.nonce)
        return self.person(claims), flow.next

    def person(self, claims: Mapping[str, Any]) -> Person:
        """Who the claims speak of. Raises ActError 403 for those who have no role here."""
        known = self.registered
        held = _values(_claim(claims, known.claim))
        role = next((role for value, role in known.roles if value in held), None)
        if role is None:
            raise ActError(f"{self.name} knows you, but none of your {known.claim} has a role here", 403)
        named = _text(claims, known.user_claim)
        if named and known.user_claim == "email" and claims.get("email_verified") is False:
            raise ActError(f"{self.name} has not verified your e-mail address", 403)
        tenant = _text(claims, known.tenant_claim) if role in _OF_A_TENANT else ""
        if role in _OF_A_TENANT and not tenant:
            raise ActError(f"the role {role} is of a tenant, and {self.name} names none in {known.tenant_claim!r}", 403)
        if role in _OF_A_USER and not named:
            raise ActError(f"the role {role} is of a user, and {self.name} names none in {known.user_claim!r}", 403)
        subject = str(claims["sub"])[:200]
        who = named or subject
        actor = Actor(f"{who} ({self.name}: {subject})", role, tenant, who)
        return Person(actor, named if role in _OF_A_USER else "")

    # the provider -------------------------------------------------------------------------------------------------

    def _client(self, redirect_uri: str) -> AsyncOAuth2Client:
        secret = self.registered.client_secret
        return AsyncOAuth2Client(
            self.registered.client_id,
            secret or None,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            scope="openid profile email",
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=TIMEOUT_SECONDS,
            verify=self._trust,
        )

    async def _discovered(self, client: AsyncOAuth2Client) -> dict[str, Any]:
        """What the provider says of itself. Raises ActError 502."""
        if self._about is not None and self._clock() - self._about[0] < _KEPT_SECONDS:
            about = self._about[1]
        else:
            url = self.registered.issuer.rstrip("/") + "/.well-known/openid-configuration"
            about = await self._fetched(client, url)
            if about.get("issuer") != self.registered.issuer:
                raise ActError(f"{url} speaks of another issuer, {str(about.get('issuer'))[:200]!r}", 502)
            for needed in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not isinstance(about.get(needed), str):
                    raise ActError(f"{url} does not say its {needed}", 502)
            self._about = self._clock(), about
        methods = about.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if self.registered.client_secret and "client_secret_basic" not in methods:
            client.token_endpoint_auth_method = "client_secret_post"  # noqa: S105 - the name of a method
        return about

    async def _fetched(self, client: AsyncOAuth2Client, url: str) -> dict[str, Any]:
        try:
            found = (await client.request("GET", url, withhold_token=True)).raise_for_status().json()
        except (httpx2.HTTPError, ValueError) as error:
            raise ActError(f"{self.name} cannot be asked at {url}: {str(error)[:200]}", 502) from None
        if not isinstance(found, dict):
            raise ActError(f"{url} is no JSON object", 502)
        return found

    async def _key_set(self, client: AsyncOAuth2Client, about: Mapping[str, Any], *, fresh: bool) -> KeySet:
        """The keys that the provider signs with; asked again for one that is not known, but not all the time."""
        kept = _REFETCH_SECONDS if fresh else _KEPT_SECONDS
        if self._keys is None or self._clock() - self._keys[0] >= kept:
            found = await self._fetched(client, about["jwks_uri"])
            try:
                self._keys = self._clock(), KeySet.import_key_set({"keys": found["keys"]})
            except (JoseError, ValueError, KeyError, TypeError):
                raise ActError(f"{about['jwks_uri']} holds no keys that can be read", 502) from None
        return self._keys[1]

    async def _claims(
        self, client: AsyncOAuth2Client, about: Mapping[str, Any], token: Mapping[str, Any], nonce: str
    ) -> CodeIDToken:
        """The claims of an id token that is signed, ours, of now and of this sign-in. Raises ActError 401."""
        written = token.get("id_token")
        if not isinstance(written, str):
            raise ActError(f"{self.name} sent no id token", 401)
        try:
            try:
                read = jwt.decode(written, await self._key_set(client, about, fresh=False), _ALGORITHMS)
            except InvalidKeyIdError:
                read = jwt.decode(written, await self._key_set(client, about, fresh=True), _ALGORITHMS)
            claims = CodeIDToken(
                read.claims,
                read.header,
                {
                    "iss": {"essential": True, "value": self.registered.issuer},
                    "aud": {"essential": True, "value": self.registered.client_id},
                    "nonce": {"essential": True, "value": nonce},
                },
                {
                    "nonce": nonce,
                    "client_id": self.registered.client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(int(self._now()), _LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError) as error:
            raise ActError(f"the id token of {self.name} is not good: {str(error)[:200]}", 401) from None
        return claims

    # the flow -----------------------------------------------------------------------------------------------------

    def _sealed(self, flow: Flow) -> str:
        body = base64.urlsafe_b64encode(msgspec.json.encode(flow)).decode()
        return f"{body}.{self._sign(body)}"

    def _opened(self, cookie: str) -> Flow | None:
        body, _, sign = cookie.rpartition(".")
        if not body or not hmac.compare_digest(self._sign(body).encode(), sign.encode()):
            return None
        flow = msgspec.json.decode(base64.urlsafe_b64decode(body), type=Flow)
        return flow if self._clock() < flow.until and flow.state not in self._used else None

    def _sign(self, body: str) -> str:
        return hmac.new(self._seal, body.encode(), hashlib.sha256).hexdigest()

    def _once(self, flow: Flow) -> None:
        """A flow that came back does not come back again."""
        now = self._clock()
        if len(self._used) >= _MOST_USED:
            self._used = {state: until for state, until in self._used.items() if until > now}
        self._used[flow.state] = flow.until


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """A claim by its name, or by the path to it."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _values(claim: object) -> Sequence[str]:
    if isinstance(claim, str):
        return (claim,)
    return tuple(each for each in claim if isinstance(each, str)) if isinstance(claim, list) else ()


def _text(claims: Mapping[str, Any], name: str) -> str:
    """A claim that is a name. Whatever else it is, it names nobody."""
    found = _claim(claims, name)
    return found if isinstance(found, str) and found.isprintable() and len(found) <= 200 else ""
