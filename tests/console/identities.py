"""What does a small OpenID provider do, with any of the lies that one can tell?"""

import base64
import functools
import hashlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import uvicorn
from fastapi import FastAPI, Request
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from starlette.responses import JSONResponse, RedirectResponse, Response

CLIENT, SECRET = "upshift-console", "a secret & a half"


@functools.cache
def key(kid: str, number: int = 1) -> RSAKey:
    """A key by its name; another one for another number."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}, auto_kid=False)


@dataclass
class Identities:
    """The provider. Whoever comes is signed in as `claims`; `lie` changes a token before it is signed."""

    host: str = "127.0.0.1"
    port: int = 0
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "groups": ["staff", "platform"]})
    lie: dict[str, Any] = field(default_factory=dict)
    how: str = "RS256"
    """The algorithm of the token; 'none' and 'HS256' are lies."""
    kid: str = ""
    methods: tuple[str, ...] = ("client_secret_basic",)
    said_issuer: str = ""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = key("one")

    @property
    def issuer(self) -> str:
        return f"http://{self.host}:{self.port}"

    def turn_keys(self, kid: str) -> None:
        self.key = key(kid, 2)

    def token(self, nonce: str, access: str) -> str:
        now = int(time.time())
        half = hashlib.sha256(access.encode()).digest()[:16]
        claims = {
            "iss": self.issuer, "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": nonce,
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(), **self.claims, **self.lie,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.how, "kid": self.kid or str(self.key.kid)}
        if self.how == "none":
            parts = (json.dumps(part).encode() for part in (header, claims))
            return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."
        if self.how == "HS256":
            public = self.key.as_pem(private=False)
            return jwt.encode(header, claims, OctKey.import_key(public), ["HS256"])
        return jwt.encode(header, claims, self.key, [self.how])

    def app(self) -> FastAPI:
        made = FastAPI(openapi_url=None)

        @made.get("/.well-known/openid-configuration")
        def about() -> dict[str, Any]:
            self.asked.append("about")
            return {
                "issuer": self.said_issuer or self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "token_endpoint_auth_methods_supported": list(self.methods),
            }

        @made.get("/keys")
        def keys() -> dict[str, Any]:
            self.asked.append("keys")
            return dict(KeySet([self.key]).as_dict(private=False))

        @made.get("/authorize")
        def authorize(request: Request) -> Response:
            query = dict(request.query_params)
            assert query["response_type"] == "code"
            assert query["code_challenge_method"] == "S256"
            assert "openid" in query["scope"].split()
            code = secrets.token_urlsafe(8)
            self.codes[code] = query
            return RedirectResponse(
                f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}", 302
            )

        @made.post("/token")
        async def token(request: Request) -> Response:
            form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
            asked = self.codes.pop(form.get("code", ""), None)
            verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            proven = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
            if not self._authentic(request, form) or asked is None or asked["code_challenge"] != proven:
                return JSONResponse({"error": "invalid_grant"}, 400)
            if asked["redirect_uri"] != form["redirect_uri"]:
                return JSONResponse({"error": "invalid_grant"}, 400)
            access = secrets.token_urlsafe(8)
            return JSONResponse(
                {"access_token": access, "token_type": "Bearer", "id_token": self.token(asked["nonce"], access)}
            )

        return made

    def _authentic(self, request: Request, form: dict[str, str]) -> bool:
        if self.methods == ("client_secret_post",):
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        said = request.headers.get("authorization", "").removeprefix("Basic ")
        return base64.b64decode(said).decode() == f"{CLIENT}:{SECRET}"

    def visit(self, url: str) -> dict[str, str]:
        """What a person's browser brings back from the provider: the query of the callback."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return {"code": code, "state": query["state"]}


@contextmanager
def served(identities: Identities) -> Iterator[Identities]:
    """The provider on a port of its own."""
    config = uvicorn.Config(identities.app(), log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        identities.port = sock.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        yield identities
        server.should_exit = True
        thread.join(10)
