"""Is the ledger whole, who decided what, and how is it taken away?"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from upshift.admin.views import DecisionView, decision_view, verification_view
from upshift.console.door import InDesk, Seat, Seated, allowed, genuine
from upshift.console.frame import InFrame, TableAsked
from upshift.console.roles import May
from upshift.console.table import Column, Kind, Table
from upshift.model.metered import Outcome
from upshift.store.journal import Dimension

router = APIRouter()

_MOST = 2_000

COLUMNS = (
    Column[DecisionView]("at", "When", lambda row: row.at, Kind.TIME),
    Column[DecisionView]("kind", "What", lambda row: row.kind, Kind.WORDS),
    Column[DecisionView]("subject", "About", lambda row: row.subject),
    Column[DecisionView]("by", "By", lambda row: row.by),
    Column[DecisionView]("tenant", "Tenant", lambda row: row.tenant, wide=True),
    Column[DecisionView](
        "detail", "Detail", lambda row: ", ".join(f"{name} {value}" for name, value in row.detail.items()), wide=True
    ),
)


@router.get("/ledger")
def ledger(request: Request, desk: InDesk, seat: Seated, frame: InFrame, asked: TableAsked) -> Response:
    """Decisions, and what can be done with the ledger."""
    found = desk.journal.decisions((), _MOST)
    rows = [decision_view(each) for each in found if seat.actor.tenant in ("", each.tenant)]
    return frame.listing(request, seat, "ledger.html", Table(COLUMNS, rows, asked), {"most": _MOST})


@router.post("/ledger/verify")
def verify(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    frame: InFrame,
    _: Annotated[Seat, Depends(allowed(May.VERIFY))],
) -> Response:
    """Read the whole ledger from end to end."""
    lost = desk.journal.usage([], 0, desk.now() + 1, {Dimension.OUTCOME: Outcome.LOST.value})
    view = verification_view(request.app.state.verify(), lost[0].calls if lost else 0)
    return frame.page(request, seat, "_verified.html", {"found": view})
