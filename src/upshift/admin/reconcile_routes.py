"""How is a bill held against the ledger over the admin API?"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.door import admin_of, desk_of, responses
from upshift.admin.reconcile_views import CorrectionView, ReconciledView, correction_view, reconciled_view
from upshift.admin.reconciling import Asked, correct, read_files, reconcile
from upshift.admin.tolerances import LIKE, narrowed, tolerance

router = APIRouter(prefix="/api/v1", responses=responses(401, 403, 429))

_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A usage or cost report of OpenAI or Anthropic, or a bill by request: JSON or CSV.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("application/json", "text/csv")
        },
    }
}


async def _body(request: Request) -> bytes:
    found = await request.body()
    if not found:
        raise ActError("send the provider's export as the body")
    return found


class AdjustedView(ReconciledView):
    """A bill held against the record, and what was written because of it."""

    written: tuple[CorrectionView, ...]
    """Corrections that were written now; those that were written before are not written again."""


@router.post("/reconcile", openapi_extra=_FILE, responses=responses(400, 404, 409, 413))
def reconcile_bill(
    desk: Annotated[Desk, Depends(desk_of)],
    actor: Annotated[Actor, Depends(admin_of)],
    data: Annotated[bytes, Depends(_body)],
    provider: Annotated[str, Query(description="Whose bill it is: a provider of the plan.")],
    within: Annotated[list[str], Query(alias="tolerance", default_factory=list, description=f"Like {LIKE}.")],
    only: Annotated[list[str], Query(default_factory=list, description="Only lines like project=proj_1 or tier=….")],
    name: Annotated[str, Query(max_length=200, description="What the file is called in places.")] = "bill",
    since: Annotated[str, Query(description="Like 7d or 2026-11-01; what the file speaks of unless said.")] = "",
    until: Annotated[str, Query(description="Like since.")] = "",
    reason: Annotated[str, Query(max_length=1000, description="Given: write the corrections, for this reason.")] = "",
) -> AdjustedView:
    """Compare a provider's export with the ledger: matched, different, missing, and the amount at stake."""
    asked = Asked(provider=provider, since=since, until=until, tolerance=tolerance(within), only=narrowed(only))
    found = reconcile(desk, actor, read_files([(name, data)]), asked)
    written = correct(desk, actor, found.corrections, reason) if reason else []
    shown = reconciled_view(found)
    return AdjustedView(**dict(shown), written=tuple(map(correction_view, written)))
