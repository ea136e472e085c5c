"""Who may read the metrics, and where?"""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from upshift.admin.desk import ActError, Actor
from upshift.admin.door import holder_of, responses
from upshift.model.key import Role

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""The metrics in the format that an accept header asks for, and its content type."""

router = APIRouter(responses=responses(401, 403, 429))


def reader_of(actor: Annotated[Actor, Depends(holder_of)]) -> Actor:
    """An admin of the installation, or a machine with a key for nothing else. Raises ActError 403 for all others."""
    if actor.role not in (Role.ADMIN, Role.METRICS):
        raise ActError(f"the metrics are not for keys with the role {actor.role}: issue one with the role metrics", 403)
    return actor


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, _: Annotated[Actor, Depends(reader_of)]) -> Response:
    """Totals of the ledger and the state of this machine's processes, as Prometheus text or OpenMetrics."""
    scrape: Scrape | None = request.app.state.scrape
    if scrape is None:
        raise ActError("this process follows no ledger", 404)
    body, content_type = await scrape(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})
