"""Who may come in to the admin API, how often may a wrong key be tried, and what goes with every answer?"""

from collections import deque
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.problems import problem
from upshift.model.key import Role

MOST_BODY_BYTES = 4 * 1024 * 1024
MOST_FAILURES = 20
FAILURE_SECONDS = 60.0
_MOST_ADDRESSES = 10_000

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

BEARER = HTTPBearer(auto_error=False, description="An admin key, or a tenant's admin key (which sees its tenant only).")


class TooManyFailuresError(Exception):
    """An address that has tried too many wrong keys; `seconds` until it may try again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many wrong keys from this address; try again in {seconds} s")
        self.seconds = seconds


class SignIns:
    """Counts wrong keys per address. Only the event loop's thread may use it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}

    def check(self, address: str) -> None:
        """Raises TooManyFailuresError."""
        failed = self._recent(address)
        if failed is not None and len(failed) >= MOST_FAILURES:
            raise TooManyFailuresError(max(1, int(failed[0] + FAILURE_SECONDS - self._clock()) + 1))

    def failed(self, address: str) -> None:
        if address not in self._failures and len(self._failures) >= _MOST_ADDRESSES:
            # The one that failed first goes, so that many addresses cannot fill the memory.
            self._failures.pop(next(iter(self._failures)))
        self._failures.setdefault(address, deque(maxlen=MOST_FAILURES)).append(self._clock())

    def _recent(self, address: str) -> deque[float] | None:
        failed = self._failures.get(address)
        while failed and failed[0] <= self._clock() - FAILURE_SECONDS:
            failed.popleft()
        if failed is not None and not failed:
            del self._failures[address]
        return failed


def desk_of(request: Request) -> Desk:
    found = request.app.state.desk
    assert isinstance(found, Desk)
    return found


def _found(
    desk: Annotated[Desk, Depends(desk_of)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
) -> Actor | ActError:
    """Looks the key up in a thread; an error is a value here, so that it can be counted on the event loop."""
    if credentials is None:
        return ActError("send an admin key as 'Authorization: Bearer KEY'", 401)
    try:
        return desk.actor_of(credentials.credentials)
    except ActError as error:
        return error


async def opened(request: Request) -> None:
    """Refuses an address before its key is looked at."""
    request.app.state.sign_ins.check(_address(request))


async def holder_of(
    request: Request, _: Annotated[None, Depends(opened)], found: Annotated[Actor | ActError, Depends(_found)]
) -> Actor:
    """Whoever is asking, with any role but a caller's. Raises ActError 401 or 403, and TooManyFailuresError."""
    return admitted(request, found)


def admitted(request: Request, found: Actor | ActError) -> Actor:
    """Whoever was found; a key that is none is counted. Raises the error that was found instead."""
    if isinstance(found, ActError):
        if found.status == 401:
            request.app.state.sign_ins.failed(_address(request))
        raise found
    return found


def actor_of(actor: Annotated[Actor, Depends(holder_of)]) -> Actor:
    """An admin of the installation or of a tenant. Raises ActError 403 for all others."""
    if actor.role not in (Role.ADMIN, Role.TENANT_ADMIN):
        raise ActError(f"a key with the role {actor.role} administers nothing; this needs an admin key", 403)
    return actor


def planner_of(actor: Annotated[Actor, Depends(holder_of)]) -> Actor:
    """Whoever may see the portfolio: an admin, finance, engineering, a viewer. Raises ActError 403 for all others."""
    if actor.role not in (Role.ADMIN, Role.FINANCE, Role.ENGINEERING, Role.VIEWER):
        raise ActError(f"the portfolio is not for keys with the role {actor.role}", 403)
    return actor


def admin_of(actor: Annotated[Actor, Depends(actor_of)], desk: Annotated[Desk, Depends(desk_of)]) -> Actor:
    """An admin of the whole installation. Raises ActError 403 for a tenant's."""
    desk.only_admin(actor, "do this")
    return actor


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


class Wrapped:
    """Bounds the body of a request, and adds the headers that every answer carries."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BODY_BYTES:
            await _too_large()(scope, receive, answer)
            return
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > MOST_BODY_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, bounded, answer)


_TOO_LARGE = f"the request is larger than the {MOST_BODY_BYTES:,} bytes that are accepted"


def _too_large() -> Response:
    return problem(413, _TOO_LARGE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of errors."""
    says = {
        400: "The request cannot be done as it is.",
        401: "No key, or one that is unknown, expired or revoked.",
        403: "The key does not allow this.",
        404: "Nothing of that name that this key may see.",
        409: "Not in the present state.",
        413: "The body is too large.",
        422: "The request is not well formed, or the plan has errors.",
        429: "Too many wrong keys from this address.",
        503: "Not at the moment: a forecast is being computed; `retry-after` says when to ask again.",
    }
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ErrorView"}}}
    return {status: {"description": says[status], "content": content} for status in statuses}
