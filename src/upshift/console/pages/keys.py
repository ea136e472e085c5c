"""Who holds a key, and how is one issued and revoked?"""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from upshift.admin.moments import future
from upshift.admin.views import KeyView, key_view
from upshift.console.door import InDesk, Seat, Seated, allowed, genuine
from upshift.console.frame import InFrame, TableAsked
from upshift.console.roles import May
from upshift.console.table import Column, Kind, Table
from upshift.model.key import Role

router = APIRouter(dependencies=[Depends(allowed(May.KEYS))])

COLUMNS = (
    Column[KeyView]("name", "Name", lambda row: row.name, link=lambda row: f"/console/keys?q={row.id}"),
    Column[KeyView]("hint", "Key", lambda row: f"{row.hint}…", Kind.CODE),
    Column[KeyView]("state", "State", lambda row: row.state.value, Kind.STATE),
    Column[KeyView]("role", "Role", lambda row: row.role, Kind.WORDS),
    Column[KeyView]("tenant", "Tenant", lambda row: row.tenant, wide=True),
    Column[KeyView]("user", "User", lambda row: row.user, wide=True),
    Column[KeyView]("workloads", "Workloads", lambda row: ", ".join(row.workloads), wide=True),
    Column[KeyView]("created", "Issued", lambda row: row.created, Kind.DAY, wide=True),
    Column[KeyView]("expires", "Expires", lambda row: row.expires, Kind.DAY, wide=True),
    Column[KeyView]("id", "Id", lambda row: row.id, Kind.CODE, wide=True),
)


@router.get("/keys")
def keys(request: Request, desk: InDesk, seat: Seated, frame: InFrame, asked: TableAsked) -> Response:
    """All keys, never their secrets."""
    now = desk.now()
    rows = [key_view(each, now) for each in desk.keys(seat.actor)]
    chosen = next((row for row in rows if row.id == asked.search), None)
    found = {"roles": _offered(seat), "chosen": chosen}
    return frame.listing(request, seat, "keys.html", Table(COLUMNS, rows, asked, first="-created"), found)


@router.post("/keys")
def issue(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    frame: InFrame,
    name: Annotated[str, Form(max_length=200)] = "",
    role: Annotated[Role, Form()] = Role.CALLER,
    tenant: Annotated[str, Form(max_length=200)] = "",
    user: Annotated[str, Form(max_length=200)] = "",
    workloads: Annotated[str, Form(max_length=2000)] = "",
    expires: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Issue a key; its secret is on the answer and nowhere else."""
    issued = desk.issue(
        seat.actor,
        role=role,
        name=name,
        tenant=tenant or seat.actor.tenant,
        user=user,
        workloads=[each.strip() for each in workloads.split(",") if each.strip()],
        expires=future(expires, desk.now()) if expires else None,
    )
    return frame.page(request, seat, "_issued.html", {"secret": issued.secret, "key": key_view(issued.key, desk.now())})


@router.post("/keys/{id}/revoke")
def revoke(desk: InDesk, seat: Annotated[Seat, Depends(genuine)], id: str) -> Response:
    """End a key now."""
    desk.revoke(seat.actor, id)
    return RedirectResponse("/console/keys", 303)


def _offered(seat: Seat) -> list[Role]:
    if seat.actor.tenant:
        return [Role.CALLER, Role.TENANT_ADMIN]
    return list(Role)
