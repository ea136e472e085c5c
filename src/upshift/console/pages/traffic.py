"""Which calls go through, now and before, and what happened to one of them?"""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from upshift.admin import reports
from upshift.admin.desk import ActError
from upshift.console.door import InDesk, Seated, still_present
from upshift.console.frame import InFrame, TableAsked, all_of_it
from upshift.console.live import Feed
from upshift.console.steps import steps
from upshift.console.table import Column, Kind, Table
from upshift.model.budget import Bucket
from upshift.model.ids import RequestId
from upshift.model.metered import Outcome
from upshift.model.span import show_instant
from upshift.store.journal import Call, Dimension

router = APIRouter()

_PAGE = 100
_TAKEN = 2_000
_OFFERED = 7
_LIVE_ROWS = 25

FILTERS = (
    Dimension.WORKLOAD, Dimension.TENANT, Dimension.USER, Dimension.SERVED_MODEL, Dimension.PROVIDER,
    Dimension.OUTCOME, Dimension.BUCKET, Dimension.REASON, Dimension.SESSION, Dimension.AGENT,
)  # fmt: skip

COLUMNS = (
    Column[Call](
        "started", "Started", lambda row: show_instant(row.record.started), Kind.TIME,
        link=lambda row: f"/console/traffic/{row.record.request}",
    ),
    Column[Call]("outcome", "Outcome", lambda row: row.record.outcome.value, Kind.STATE),
    Column[Call]("workload", "Workload", lambda row: row.record.workload),
    Column[Call]("user", "User", lambda row: row.record.user),
    Column[Call]("model", "Served by", lambda row: row.record.served_model, wide=True),
    Column[Call]("provider", "Provider", lambda row: row.record.provider, wide=True),
    Column[Call]("reason", "Why", lambda row: row.record.reason, Kind.WORDS, wide=True),
    Column[Call]("tokens", "Tokens", lambda row: row.record.usage.total, Kind.TOKENS, wide=True),
    Column[Call]("cost", "Cost", lambda row: row.record.cost, Kind.MONEY, wide=True),
    Column[Call]("latency", "Took", lambda row: row.record.latency_us / 1000, Kind.MS, wide=True),
)  # fmt: skip


@router.get("/traffic")
def traffic(
    request: Request,
    desk: InDesk,
    seat: Seated,
    frame: InFrame,
    asked: TableAsked,
    before: Annotated[int | None, Query(ge=1, le=reports.MOST_SEQ)] = None,
) -> Response:
    """Calls, the latest first; any dimension in the URL narrows them, like ?workload=support&outcome=refused."""
    query = request.query_params
    only = {each: query[each.value] for each in FILTERS if query.get(each.value)}
    where = reports.own(desk, seat.actor, only)

    def everything() -> Iterator[Call]:
        top = None
        while some := desk.journal.calls(where, _TAKEN, top):
            yield from some
            top = some[-1].seq

    taken = all_of_it(request, COLUMNS, everything(), asked)
    if taken is not None:
        return taken
    calls = desk.journal.calls(where, _PAGE, before)
    table = Table(COLUMNS, calls, asked)
    older = asked.url(before=str(calls[-1].seq)) if len(calls) == _PAGE else ""
    found = {
        "only": only,
        "filters": [each for at, each in enumerate(FILTERS) if at < _OFFERED or each in only],
        "choices": {Dimension.OUTCOME: list(Outcome), Dimension.BUCKET: list(Bucket)},
        "older": older,
        "newest": before is None,
        "upto": max((each.seq for each in calls), default=0),
    }
    return frame.listing(request, seat, "traffic.html", table, found)


@router.get("/traffic/live")
async def live(
    request: Request,
    desk: InDesk,
    seat: Seated,
    frame: InFrame,
    since: Annotated[int | None, Query(ge=0, description="The last entry that the page has.")] = None,
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
) -> Response:
    """Server-sent events: each second how many calls closed, and rows of the latest. They end with the session."""
    feed: Feed = request.app.state.feed
    tenant = seat.actor.tenant
    where = reports.own(desk, seat.actor, {})
    begin = since if last_event_id is None else last_event_id

    async def events() -> AsyncIterator[str]:
        yield "retry: 2000\n\n"
        last, upto = 0, -1 if begin is None else begin
        async for batch in feed.batches(begin, where):
            if not await run_in_threadpool(still_present, request, desk):
                yield "event: over\ndata: signed out\n\n"
                return
            # Whatever looks went by: what closed in them is in this one.
            whole = 0 <= batch.after <= upto
            mine = [call for call in batch.calls if tenant in ("", call.record.tenant)]
            said = {
                "calls": len(mine),
                "more": batch.more,
                "late": batch.late,
                "shown": min(len(mine), _LIVE_ROWS),
                "missed": batch.number - last - 1 if last and not whole else 0,
                "trouble": batch.trouble,
                "refused": sum(call.record.outcome is Outcome.REFUSED for call in mine),
                "rows": frame.part("_calls.html", {"calls": mine[:_LIVE_ROWS], "columns": COLUMNS}) if mine else "",
            }
            last, upto = batch.number, max(upto, batch.upto)
            # A browser that connects again says which it had last; its page may be younger than the look.
            id_ = f"id: {upto}\n" if batch.upto >= 0 else ""
            yield f"{id_}data: {msgspec.json.encode(said).decode()}\n\n"

    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


@router.get("/traffic/{id}")
def call(request: Request, desk: InDesk, seat: Seated, frame: InFrame, id: str) -> Response:
    """One call's whole story."""
    found = desk.journal.call(RequestId(id))
    if found is None or seat.actor.tenant not in ("", found.record.tenant):
        raise ActError(f"no call {id[:80]!r} is recorded", 404)
    plans = {each.hash: each for each in desk.journal.plans()}
    return frame.page(
        request, seat, "call.html",
        {"call": found, "record": found.record, "steps": steps(found.record), "applied": plans.get(found.record.plan)},
    )  # fmt: skip
