"""Is the ledger whole, what does it hold, who decided what, and how is it taken away?"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from upshift.admin.export import Form, What, export
from upshift.admin.export_routes import as_file
from upshift.admin.moments import past
from upshift.admin.views import verification_view
from upshift.console.door import InDesk, Seat, Seated, allowed, genuine
from upshift.console.frame import InFrame, TableAsked
from upshift.console.roles import May
from upshift.console.shown import DASH
from upshift.console.table import Column, Kind, Table
from upshift.model.metered import Outcome
from upshift.model.span import show_instant
from upshift.store.entries import CALLS, DEEDS, EntryKind, Kept
from upshift.store.journal import Dimension

router = APIRouter()

_PAGE = 100

SHOWN: Mapping[str, tuple[str, frozenset[EntryKind]]] = MappingProxyType(
    {
        "": ("what people decided", DEEDS),
        "calls": ("how calls ended", CALLS),
        "hold": ("what calls held", frozenset({EntryKind.HOLD})),
        "all": ("everything", frozenset(EntryKind)),
        **{
            kind.value: (says, frozenset({kind}))
            for kind, says in (
                (EntryKind.DECISION, "decisions alone"),
                (EntryKind.GRANT, "ceilings lifted"),
                (EntryKind.ADJUST, "corrections"),
                (EntryKind.ALERT, "alerts"),
            )
        },
    }
)
"""What can be looked at, by its name in the URL."""


def _link(row: Kept) -> str:
    return f"/console/traffic/{row.id}" if row.kind in CALLS or row.kind is EntryKind.HOLD else ""


def _whose(row: Kept) -> str:
    return " · ".join(part for part in (row.user, row.workload, row.tenant) if part)


COLUMNS = (
    Column[Kept]("at", "When", lambda row: show_instant(row.at), Kind.TIME, link=_link),
    Column[Kept]("kind", "Entry", lambda row: row.kind.value, Kind.WORDS, wide=True),
    Column[Kept]("what", "What", lambda row: row.what or row.kind.value, Kind.WORDS),
    Column[Kept]("about", "About", lambda row: row.about),
    Column[Kept]("whose", "Whose", _whose),
    Column[Kept]("tokens", "Tokens", lambda row: row.tokens or None, Kind.TOKENS, wide=True, missing=DASH),
    Column[Kept]("nano", "Money", lambda row: row.nano or None, Kind.MONEY, wide=True, missing=DASH),
    Column[Kept]("by", "By", lambda row: row.by, wide=True),
    Column[Kept]("reason", "Detail", lambda row: row.reason, wide=True),
    Column[Kept]("tenant", "Tenant", lambda row: row.tenant, wide=True),
    Column[Kept]("id", "Id", lambda row: row.id, Kind.CODE, wide=True),
    Column[Kept]("seq", "No.", lambda row: row.seq, Kind.COUNT, wide=True),
)


@router.get("/ledger")
def ledger(
    request: Request,
    desk: InDesk,
    seat: Seated,
    frame: InFrame,
    asked: TableAsked,
    kind: Annotated[str, Query(max_length=20)] = "",
    until: Annotated[str, Query(max_length=40)] = "",
    before: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """Entries, the latest first, by kind and time; and what can be done with the ledger."""
    tenant = seat.actor.tenant
    # What calls hold for a moment says nothing that their ends do not, and finding one tenant's would read them all.
    offered = {name: says for name, (says, kinds) in SHOWN.items() if not tenant or EntryKind.HOLD not in kinds}
    chosen = kind if kind in offered else ""
    moment = past(until, desk.now()) if until else None
    rows = desk.journal.entries(SHOWN[chosen][1], _PAGE, before, moment, tenant)
    older = asked.url(before=str(rows[-1].seq)) if len(rows) == _PAGE else ""
    found = {"kinds": offered, "kind": chosen, "until": until, "older": older, "newest": before is None}
    return frame.listing(request, seat, "ledger.html", Table(COLUMNS, rows, asked), found)


@router.get("/ledger/export", dependencies=[Depends(allowed(May.EXPORT))])
def take_away(
    desk: InDesk,
    seat: Seated,
    what: What = What.FOCUS,
    form: Form = Form.CSV,
    since: Annotated[str, Query(max_length=40)] = "",
    until: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Costs or calls as a file."""
    return as_file(export(desk, seat.actor, what, since, until), form)


@router.post("/ledger/verify", dependencies=[Depends(allowed(May.VERIFY))])
def verify(request: Request, desk: InDesk, seat: Annotated[Seat, Depends(genuine)], frame: InFrame) -> Response:
    """Read the whole ledger from end to end."""
    lost = desk.journal.usage([], 0, desk.now() + 1, {Dimension.OUTCOME: Outcome.LOST.value})
    view = verification_view(request.app.state.verify(), lost[0].calls if lost else 0)
    return frame.page(request, seat, "_verified.html", {"found": view})
