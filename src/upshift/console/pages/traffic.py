"""Which calls go through, now and before, and what happened to one of them?"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from upshift.admin import reports
from upshift.admin.desk import ActError, Desk
from upshift.console.door import InDesk, Seated
from upshift.console.frame import InFrame, TableAsked
from upshift.console.table import Column, Kind, Table
from upshift.model.ids import RequestId
from upshift.model.span import show_instant
from upshift.store.journal import Call, Dimension

router = APIRouter()

_PAGE = 100
_LIVE_SECONDS = 1.0
_LIVE_ROWS = 25
_LIVE_READ = 2_000

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
    Column[Call]("cost", "Cost", lambda row: row.record.cost, Kind.MONEY),
    Column[Call]("latency", "Took", lambda row: row.record.latency_us / 1000, Kind.MS),
)  # fmt: skip


class Step(msgspec.Struct, frozen=True):
    """One step of a call's story."""

    name: str
    says: str
    state: str = "done"
    """done, stopped (it ended here) or skipped."""


class Feed:
    """The calls that close now, read once a second however many look on."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._last = -1
        self._news = asyncio.Condition()
        self._batch: tuple[Call, ...] = ()
        self._reader: asyncio.Task[None] | None = None
        self._watching = 0

    async def batches(self) -> AsyncIterator[tuple[Call, ...]]:
        """Every second the calls that closed in it, the latest first; nothing is read while nobody listens."""
        self._watching += 1
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        try:
            while True:
                async with self._news:
                    await self._news.wait()
                    batch = self._batch
                yield batch
        finally:
            self._watching -= 1

    async def _read(self) -> None:
        try:
            self._last = await run_in_threadpool(self._newest)
            while self._watching:
                await asyncio.sleep(_LIVE_SECONDS)
                batch = await run_in_threadpool(self._since)
                async with self._news:
                    self._batch = batch
                    self._news.notify_all()
        finally:
            self._reader = None

    def _newest(self) -> int:
        found = self._desk.journal.calls({}, 1)
        return found[0].seq if found else 0

    def _since(self) -> tuple[Call, ...]:
        found = tuple(each for each in self._desk.journal.calls({}, _LIVE_READ) if each.seq > self._last)
        if found:
            self._last = found[0].seq
        return found


@router.get("/traffic")
def traffic(
    request: Request,
    desk: InDesk,
    seat: Seated,
    frame: InFrame,
    asked: TableAsked,
    before: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """Calls, the latest first; any dimension in the URL narrows them, like ?workload=support&outcome=refused."""
    query = request.query_params
    only = {each: query[each.value] for each in FILTERS if query.get(each.value)}
    where = reports.own(desk, seat.actor, only)
    calls = desk.journal.calls(where, _PAGE, before)
    table = Table(COLUMNS, calls, asked)
    older = asked.url(before=str(calls[-1].seq)) if len(calls) == _PAGE else ""
    found = {"only": only, "filters": FILTERS, "older": older, "newest": before is None}
    return frame.listing(request, seat, "traffic.html", table, found)


@router.get("/traffic/live")
async def live(request: Request, seat: Seated, frame: InFrame) -> Response:
    """Server-sent events: each second how many calls closed, and rows of the latest."""
    feed: Feed = request.app.state.feed
    tenant = seat.actor.tenant

    async def events() -> AsyncIterator[str]:
        yield "retry: 2000\n\n"
        async for batch in feed.batches():
            mine = [call for call in batch if tenant in ("", call.record.tenant)]
            said = {
                "calls": len(mine),
                "refused": sum(call.record.outcome.value == "refused" for call in mine),
                "cost": sum(call.record.cost or 0 for call in mine),
                "rows": frame.part("_calls.html", {"calls": mine[:_LIVE_ROWS], "columns": COLUMNS}) if mine else "",
            }
            yield f"data: {msgspec.json.encode(said).decode()}\n\n"

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
        {"call": found, "record": found.record, "steps": steps(found), "applied": plans.get(found.record.plan)},
    )  # fmt: skip


def steps(call: Call) -> Sequence[Step]:
    """What each step of the request path said, as far as the record tells."""
    record = call.record
    refused = record.outcome.value == "refused"
    says: Mapping[str, str] = {
        "accept": f"{record.dialect or 'an unknown dialect'}, {'streamed' if record.streamed else 'in one piece'},"
        f" asked for {record.requested_model or 'the workload'}",
        "identify": f"{record.user or 'nobody'} of {record.tenant or 'no tenant'}, by key {record.key or 'none'}",
        "dispatch": f"workload {record.workload}" + (f" of pod {record.pod}" if record.pod else "")
        if record.workload
        else "no workload",
        "route": f"{record.served_model} at {record.provider}" if record.served_model else "nowhere",
        "gate": f"{record.bucket.value}: {record.counted_tokens:,} tokens counted" if not refused else "refused",
        "call": f"first byte after {record.first_byte_us / 1000:.0f} ms, all after {record.latency_us / 1000:.0f} ms"
        if record.provider
        else "nothing was sent",
        "meter": f"{record.usage.input:,} in, {record.usage.output:,} out, {record.certainty.value}",
        "answer": f"status {record.status}" + (f", {record.reason}" if record.reason else ""),
    }
    stopped = next((name for name, has in _STOPS.items() if not getattr(record, has)), "gate") if refused else ""
    made: list[Step] = []
    for name, text in says.items():
        over = bool(stopped) and bool(made) and any(step.state == "stopped" for step in made)
        state = "stopped" if name == stopped else "skipped" if over and name != "answer" else "done"
        made.append(Step(name, (record.reason or text) if state == "stopped" else text, state))
    return made


_STOPS = {"accept": "dialect", "identify": "tenant", "dispatch": "workload"}
