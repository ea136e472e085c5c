"""What does a user see of their own budget: how much is used, at what pace, what happens at the ceiling?"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from upshift.admin import budgets as budgets_of
from upshift.admin.budgets import BudgetView
from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.door import SignIns
from upshift.console.door import InDesk, Present, Seat, present
from upshift.console.frame import InFrame
from upshift.console.roles import May
from upshift.model.budget import Bucket
from upshift.model.ids import WorkloadId
from upshift.model.key import Role
from upshift.model.span import Window, period_of
from upshift.store.journal import Dimension, Used
from upshift.traffic.identify import digest
from upshift.traffic.snapshot import Overage

router = APIRouter()

PATH = "/console/mine"
WIDGET = "/mine/widget"
"""The end of the one path that other sites may frame."""

_CALLS = 8


class Own(msgspec.Struct, frozen=True):
    """What a user has of one workload."""

    workload: str
    name: str
    lines: tuple[BudgetView, ...]
    steps: tuple[str, ...]
    """What happens at the ceiling, in order."""
    degraded: bool
    """Whether the budget model tier answers now."""
    metered: bool
    """Whether use is invoiced now."""


@router.get("/mine")
def mine(request: Request, desk: InDesk, seat: Present, frame: InFrame) -> Response:
    """All budgets of whoever is signed in."""
    if not seat.may(May.MINE) or not seat.user:
        raise ActError("you are signed in as nobody who makes calls: there is no budget of yours; see Budgets", 403)
    month = period_of(Window.MONTH, "UTC", desk.now())
    where = {Dimension.TENANT: seat.actor.tenant, Dimension.USER: seat.user}
    models: Sequence[Used] = desk.journal.usage([Dimension.SERVED_MODEL], month.start, desk.now() + 1, where)
    found = {
        "owned": owned(desk, seat),
        "user": seat.user,
        "models": sorted((each for each in models if each.group[0]), key=lambda each: -each.cost),
        "calls": desk.journal.calls(where, _CALLS),
    }
    return frame.page(request, seat, "mine.html", found)


@router.get("/mine/widget")
async def widget(
    request: Request, desk: InDesk, frame: InFrame, user: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """The same in little, to be shown elsewhere: for whoever is signed in, or for a caller's key in `authorization`.

    An application's key names the `user`.
    """
    seat = await _holder(request, desk, user)
    if not seat.may(May.MINE) or not seat.user:
        raise ActError("a budget is one user's: use a user's key, or name the user of an application's", 403)
    rows = await run_in_threadpool(owned, desk, seat)
    return frame.page(request, None, "widget.html", {"owned": rows, "user": seat.user})


def owned(desk: Desk, seat: Seat) -> list[Own]:
    """The budgets of a seat's user, by workload. Raises ActError before the first plan, and for users without any."""
    snapshot = desk.need_snapshot()
    lines = budgets_of.budgets(desk, seat.actor, seat.actor.tenant, seat.user)
    consents = {(each.tenant, each.workload) for each in desk.journal.consents()}
    found = []
    for id_ in dict.fromkeys(line.workload for line in lines):
        if seat.workloads and id_ not in seat.workloads:
            continue
        workload = snapshot.workloads[WorkloadId(id_)]
        own = tuple(line for line in lines if line.workload == id_)
        agreed = (seat.actor.tenant, id_) in consents
        steps = [each for each in workload.gate.ladder if each is not Overage.HARD_CAP]
        steps = [each for each in steps if each is not Overage.PAY_AS_YOU_GO or agreed]
        full = any(share is not None and share >= 1 for line in own for share in _shares(line))
        found.append(
            Own(
                workload=id_,
                name=workload.name,
                lines=tuple(line for line in own if line.bucket == Bucket.INCLUDED.value or _used(line)),
                steps=(*(each.value for each in steps), Overage.HARD_CAP.value),
                degraded=full and steps[:1] == [Overage.SOFT_CAP],
                metered=full and steps[:1] == [Overage.PAY_AS_YOU_GO],
            )
        )
    return found


def _shares(line: BudgetView) -> tuple[float | None, ...]:
    return (line.tokens.share, line.money.share) if line.bucket == Bucket.INCLUDED.value else ()


def _used(line: BudgetView) -> bool:
    return bool(line.tokens.used or line.tokens.held or line.money.used or line.money.held)


async def _holder(request: Request, desk: Desk, user: str) -> Seat:
    """Who asks for the widget. Raises SignInNeededError, ActError 401, TooManyFailuresError."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return await run_in_threadpool(present, request, desk)
    sign_ins: SignIns = request.app.state.sign_ins
    address = request.client.host if request.client is not None else ""
    sign_ins.check(address)
    try:
        key = await run_in_threadpool(desk.live_key, digest(secret.strip()))
    except ActError:
        sign_ins.failed(address)
        raise
    named = key.user or (user if key.role is Role.CALLER else "")
    return Seat(Actor(f"{key.name} ({key.id})", key.role, key.tenant, key.name), "", named, key.workloads)
