"""Who may read the metrics, and where?"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import HTTPAuthorizationCredentials
from starlette.responses import Response

from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.door import BEARER, admitted, desk_of, opened, responses
from upshift.model.key import Role
from upshift.model.span import MICROS, Instant
from upshift.store.backend import StoreTroubleError
from upshift.traffic.identify import digest

_REMEMBERED = 3600 * MICROS

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""The metrics in the format that an accept header asks for, and its content type."""

router = APIRouter(responses=responses(401, 403, 429))


class Readers:
    """Who was let in lately, by their keys: they are also while the database cannot be read, which has the keys.

    That it cannot be read is what the metrics have to tell them.
    """

    def __init__(self) -> None:
        self._until: dict[str, tuple[Instant, Actor]] = {}

    def actor_of(self, desk: Desk, secret: str) -> Actor:
        """An admin of the installation, or a machine with a key for nothing else.

        Raises ActError for all others, and StoreTroubleError for who was not let in within the last hour.
        """
        key, now = digest(secret), desk.now()
        try:
            found = desk.live_key(key)
            actor = desk.acting(found)
        except StoreTroubleError:
            until, known = self._until.get(key, (0, None))
            if known is None or now >= until:
                raise
            return known
        except ActError:
            self._until.pop(key, None)
            raise
        if actor.role not in (Role.ADMIN, Role.METRICS):
            raise ActError(
                f"the metrics are not for keys with the role {actor.role}: issue one with the role metrics", 403
            )
        until = now + _REMEMBERED
        self._until[key] = until if found.expires is None else min(until, found.expires), actor
        return actor


def _found(
    request: Request,
    desk: Annotated[Desk, Depends(desk_of)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
) -> Actor | ActError:
    if credentials is None:
        return ActError("send an admin key as 'Authorization: Bearer KEY'", 401)
    readers = request.app.state.readers
    assert isinstance(readers, Readers)
    try:
        return readers.actor_of(desk, credentials.credentials)
    except ActError as error:
        return error


async def reader_of(
    request: Request, _: Annotated[None, Depends(opened)], found: Annotated[Actor | ActError, Depends(_found)]
) -> Actor:
    """Whoever may read the metrics. Raises ActError 401 or 403, TooManyFailuresError and StoreTroubleError."""
    return admitted(request, found)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, _: Annotated[Actor, Depends(reader_of)]) -> Response:
    """Totals of the ledger and the state of this machine's processes, as Prometheus text or OpenMetrics."""
    scrape: Scrape | None = request.app.state.scrape
    if scrape is None:
        raise ActError("this process follows no ledger", 404)
    body, content_type = await scrape(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})
