"""Where is feedback sent to and seen in the admin API, and where are metrics?"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from upshift.admin import feedback, measured
from upshift.admin.desk import Actor, Desk
from upshift.admin.door import actor_of, desk_of, responses

router = APIRouter(prefix="/api/v1", responses=responses(401, 403, 429))

InDesk = Annotated[Desk, Depends(desk_of)]
Anyone = Annotated[Actor, Depends(actor_of)]


async def _body(request: Request) -> bytes:
    return await request.body()


_REPORTS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One report, a list of them, or one per line.",
        "content": {
            "application/json": {"schema": {"type": ["array", "object"]}},
            "application/jsonl": {"schema": {"type": "string"}},
        },
    }
}


@router.post("/feedback", openapi_extra=_REPORTS, responses=responses(400, 404, 413))
def add(desk: InDesk, actor: Anyone, body: Annotated[bytes, Depends(_body)]) -> feedback.AddedView:
    """Report how finished work was: all reports of a post are kept, or none; each once by its kind and id."""
    return feedback.add(desk, actor, body)


@router.get("/feedback", responses=responses(400, 404))
def listed(
    desk: InDesk,
    actor: Anyone,
    where: Annotated[list[str], Query(default_factory=list, description="Conditions like agent=ada; all must hold.")],
    since: Annotated[str, Query(description="Like 7d or 2026-11-01; from the beginning unless said.")] = "",
    until: Annotated[str, Query(description="Like since; now unless said.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="At most so many, the latest first.")] = 100,
) -> list[feedback.ReportView]:
    """What was reported, the latest first."""
    return feedback.listed(desk, actor, feedback.conditions(where), since, until, limit)


@router.get("/metrics", responses=responses(400))
def metrics(
    desk: InDesk,
    actor: Anyone,
    metric: Annotated[list[str], Query(default_factory=list, description="Only these; all unless said.")],
    agent: Annotated[str, Query(description="Of one agent.")] = "",
    interface: Annotated[str, Query(description="Of one interface.")] = "",
    workload: Annotated[str, Query(description="Of one workload.")] = "",
    pod: Annotated[str, Query(description="Of one pod.")] = "",
    since: Annotated[str, Query(description="Like 7d or 2026-11-01; seven days unless said.")] = "",
    until: Annotated[str, Query(description="Like since; now unless said.")] = "",
) -> measured.MetricsView:
    """Named metrics of one agent, interface, workload or pod, or of the whole system; unknown is null, never zero."""
    whose = measured.scope(agent, interface, workload, pod)
    return measured.metrics(desk, actor, whose, since, until, metric)
