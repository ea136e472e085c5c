"""Is the ledger whole, what does it hold, who decided what, and how is it taken away?"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from upshift.admin.export import Form, What, export
from upshift.admin.export_routes import as_file
from upshift.admin.moments import past
from upshift.admin.reports import MOST_SEQ
from upshift.admin.views import verification_view
from upshift.console import decided
from upshift.console.door import InDesk, Seat, Seated, allowed, genuine
from upshift.console.frame import InFrame, TableAsked, all_of_it
from upshift.console.roles import May
from upshift.console.shown import DASH, budget_path
from upshift.console.table import Column, Kind, Table
from upshift.model.key import Role
from upshift.model.metered import Outcome
from upshift.model.span import show_instant
from upshift.store.entries import CALLS, DEEDS, EntryKind, Kept
from upshift.store.journal import Dimension

router = APIRouter()

_PAGE = 100
_TAKEN = 2_000

SHOWN: Mapping[str, tuple[str, frozenset[EntryKind]]] = MappingProxyType(
    {
        "": ("decisions, grants and alerts", DEEDS),
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
    return f"/console/traffic/{quote(row.id, safe='')}" if row.kind in CALLS or row.kind is EntryKind.HOLD else ""


def _budget(row: Kept) -> str:
    return budget_path(row.tenant, row.workload, row.user) if row.tenant and row.workload and row.user else ""


def _whose(row: Kept) -> str:
    return " · ".join(part for part in (row.user, row.workload, row.tenant) if part)


def columns(role: Role) -> tuple[Column[Kept], ...]:
    """Those of a role, with links to what it may see."""

    def about(row: Kept) -> str:
        return decided.place(role, row.what, row.about) if row.kind is EntryKind.DECISION else ""

    return tuple(msgspec.structs.replace(each, link=about) if each.name == "about" else each for each in COLUMNS)


def _said(found: Sequence[Column[Kept]], rows: Sequence[Kept]) -> list[Column[Kept]]:
    """Columns that no row of the page has anything in are left to the exports, so that the others have room."""
    said = {each.name for each in found if any(each.value(row) not in ("", None) for row in rows)}
    return [each if each.name in said else msgspec.structs.replace(each, taken_only=True) for each in found]


COLUMNS = (
    Column[Kept]("at", "When", lambda row: show_instant(row.at), Kind.TIME, link=_link),
    Column[Kept]("kind", "Entry", lambda row: row.kind.value, Kind.WORDS, taken_only=True),
    Column[Kept]("what", "What", lambda row: row.what or row.kind.value, Kind.WORDS),
    Column[Kept]("about", "About", lambda row: row.about),
    Column[Kept]("whose", "Whose", _whose, link=_budget),
    Column[Kept]("tokens", "Tokens", lambda row: row.tokens or None, Kind.TOKENS, wide=True, missing=DASH),
    Column[Kept]("nano", "Money", lambda row: row.nano or None, Kind.MONEY, wide=True, missing=DASH),
    Column[Kept]("by", "By", lambda row: row.by, wide=True),
    Column[Kept]("reason", "Detail", lambda row: row.reason, wide=True),
    Column[Kept]("tenant", "Tenant", lambda row: row.tenant, taken_only=True),
    Column[Kept]("id", "Id", lambda row: row.id, Kind.CODE, taken_only=True),
    Column[Kept]("seq", "No.", lambda row: row.seq, Kind.COUNT, taken_only=True),
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
    before: Annotated[int | None, Query(ge=1, le=MOST_SEQ)] = None,
) -> Response:
    """Entries, the latest first, by kind and time; and what can be done with the ledger."""
    tenant = seat.actor.tenant
    # What calls hold for a moment says nothing that their ends do not, and finding one tenant's would read them all.
    offered = {name: says for name, (says, kinds) in SHOWN.items() if not tenant or EntryKind.HOLD not in kinds}
    chosen = kind if kind in offered else ""
    moment = past(until, desk.now()) if until else None

    def everything() -> Iterator[Kept]:
        kinds, top = SHOWN[chosen][1], None
        while some := desk.journal.entries(kinds, _TAKEN, top, moment, tenant):
            yield from some
            top = some[-1].seq

    taken = all_of_it(request, columns(seat.actor.role), everything(), asked)
    if taken is not None:
        return taken
    rows = desk.journal.entries(SHOWN[chosen][1], _PAGE, before, moment, tenant)
    older = asked.url(before=str(rows[-1].seq)) if len(rows) == _PAGE else ""
    found = {"kinds": offered, "kind": chosen, "until": until, "older": older, "newest": before is None}
    return frame.listing(request, seat, "ledger.html", Table(_said(columns(seat.actor.role), rows), rows, asked), found)


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
