"""Does a provider's bill agree with the ledger, and how are calls that it tells more of corrected?"""

import secrets
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from starlette.responses import RedirectResponse, Response

from upshift.admin.desk import ActError
from upshift.admin.reconcile_views import FiguresView, FindingView, reconciled_view
from upshift.admin.reconciling import Asked, Reconciled, correct, read_files, reconcile
from upshift.admin.tolerances import tolerance
from upshift.console.door import InDesk, Seat, Seated, allowed, genuine
from upshift.console.frame import InFrame, TableAsked
from upshift.console.roles import May
from upshift.console.table import Column, Kind, Table

router = APIRouter(dependencies=[Depends(allowed(May.RECONCILE))])

_MOST = 16
_FILES = 20


class Bill(msgspec.Struct, frozen=True):
    """A bill that was held against the ledger, as of then."""

    by: str
    files: tuple[str, ...]
    found: Reconciled


class Bills:
    """The last few bills that were looked at. They are not kept beyond this process: the file is the sender's."""

    def __init__(self) -> None:
        self._kept: dict[str, Bill] = {}

    def keep(self, bill: Bill) -> str:
        """The name it is found by."""
        while len(self._kept) >= _MOST:
            self._kept.pop(next(iter(self._kept)), None)
        name = secrets.token_urlsafe(12)
        self._kept[name] = bill
        return name

    def find(self, name: str, by: str) -> Bill:
        """Somebody's own bill. Raises ActError."""
        bill = self._kept.get(name)
        if bill is None or bill.by != by:
            raise ActError("this comparison is not kept any more; send the bill again", 404)
        return bill


def _side(side: FiguresView | None, name: str) -> int | None:
    found = None if side is None else getattr(side, name)
    return found if isinstance(found, int) else None


def _tokens(side: FiguresView | None) -> int | None:
    parts = [_side(side, "input"), _side(side, "output")]
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _stake(row: FindingView) -> int | None:
    return row.stake_billed_nano if row.stake_billed_nano is not None else row.stake_plan_nano


COLUMNS = (
    Column[FindingView]("start", "From", lambda row: row.start, Kind.TIME),
    Column[FindingView]("verdict", "Verdict", lambda row: row.verdict.value, Kind.STATE),
    Column[FindingView]("model", "Model", lambda row: row.model or "all"),
    Column[FindingView](
        "request", "Request", lambda row: row.request or row.upstream_id, Kind.CODE, wide=True,
        link=lambda row: f"/console/traffic/{row.request}" if row.request else "",
    ),
    Column[FindingView]("billed_tokens", "Billed", lambda row: _tokens(row.billed), Kind.TOKENS, wide=True),
    Column[FindingView]("recorded_tokens", "Recorded", lambda row: _tokens(row.recorded), Kind.TOKENS, wide=True),
    Column[FindingView](
        "billed", "Billed", lambda row: _side(row.billed, "cost_nano"), Kind.MONEY, wide=True, missing="–"
    ),
    Column[FindingView](
        "recorded", "Recorded", lambda row: _side(row.recorded, "cost_nano"), Kind.MONEY, wide=True, missing="–"
    ),
    Column[FindingView]("stake", "At stake", _stake, Kind.MONEY),
    Column[FindingView]("causes", "Why", lambda row: "; ".join(each.says for each in row.causes), wide=True),
)  # fmt: skip


@router.get("/ledger/reconcile")
def form(request: Request, desk: InDesk, seat: Seated, frame: InFrame) -> Response:
    """The form to send a bill with."""
    return frame.page(request, seat, "reconcile.html", {"providers": sorted(desk.need_snapshot().providers)})


@router.post("/ledger/reconcile")
def send(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    provider: Annotated[str, Form(max_length=200)] = "",
    files: Annotated[list[UploadFile] | None, File()] = None,
    since: Annotated[str, Form(max_length=40)] = "",
    until: Annotated[str, Form(max_length=40)] = "",
    within: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Hold a bill against the ledger. Nothing is written."""
    sent = [each for each in files or () if each.filename]
    if not 0 < len(sent) <= _FILES:
        raise ActError(f"choose the provider's export: one file, or all pages of it (at most {_FILES})")
    asked = Asked(
        provider=provider,
        since=since,
        until=until,
        tolerance=tolerance([part.strip() for part in within.split(",") if part.strip()]),
    )
    exports = read_files([(each.filename or "bill", each.file.read()) for each in sent])
    bill = Bill(
        seat.actor.name,
        tuple((each.filename or "bill")[:100] for each in sent),
        reconcile(desk, seat.actor, exports, asked),
    )
    return RedirectResponse(f"/console/ledger/reconcile/{_bills(request).keep(bill)}", 303)


@router.get("/ledger/reconcile/{name}")
def compared(request: Request, seat: Seated, frame: InFrame, asked: TableAsked, name: str) -> Response:
    """What matched, what is missing, what differs; and calls that are known after all."""
    bill = _bills(request).find(name, seat.actor.name)
    view = reconciled_view(bill.found)
    open_ = sum(not each.done and not each.why_not for each in view.corrections)
    found = {"found": view, "files": bill.files, "open": open_, "written": request.query_params.get("written", "")}
    return frame.listing(request, seat, "reconciled.html", Table(COLUMNS, view.findings, asked), found)


@router.post("/ledger/reconcile/{name}")
def write(
    request: Request,
    desk: InDesk,
    seat: Annotated[Seat, Depends(genuine)],
    name: str,
    reason: Annotated[str, Form(max_length=1000)] = "",
) -> Response:
    """Give calls that are known now their true cost, once however often it is asked."""
    bills = _bills(request)
    bill = bills.find(name, seat.actor.name)
    written = {each.known.record.request: each for each in correct(desk, seat.actor, bill.found.corrections, reason)}
    corrections = tuple(written.get(each.known.record.request, each) for each in bill.found.corrections)
    kept = msgspec.structs.replace(bill, found=msgspec.structs.replace(bill.found, corrections=corrections))
    return RedirectResponse(f"/console/ledger/reconcile/{bills.keep(kept)}?written={len(written)}", 303)


def _bills(request: Request) -> Bills:
    found = request.app.state.bills
    assert isinstance(found, Bills)
    return found
