"""How does a tenant's admin agree to pay-as-you-go for a workload, and take it back?"""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form
from starlette.responses import RedirectResponse, Response

from upshift.admin.amounts import amount
from upshift.admin.desk import ActError
from upshift.console.door import InDesk, Seat, allowed, genuine
from upshift.console.roles import May

router = APIRouter(dependencies=[Depends(allowed(May.OPT_IN))])


@router.post("/consents/{tenant}/{workload}/{user:path}")
def decide(
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    tenant: str,
    workload: str,
    user: str,
    act: Annotated[str, Form(max_length=10)] = "",
    limit: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Opt in, with a limit per month in money or the gate's own, or out. Kept with who did it.

    `user` is whose page to come back to.
    """
    desk.only_seen(seat.actor, tenant)
    if act == "in":
        nano = amount(None, limit).nano if limit.strip() else None
        desk.opt_in(seat.actor, tenant=tenant, workload=workload, limit=nano)
    elif act == "out":
        desk.opt_out(seat.actor, tenant=tenant, workload=workload)
    else:
        raise ActError("say whether to opt 'in' or 'out'")
    place = "/".join(quote(each, safe="") for each in (tenant, workload, user))
    return RedirectResponse(f"/console/budgets/{place}", 303)
