"""Which calls closed since one last looked, for however many look on, and was that all of them?"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec
import structlog
from starlette.concurrency import run_in_threadpool

from upshift.admin.desk import Desk
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Call

log = structlog.get_logger()

LIVE_SECONDS = 1.0
_PAGE = 250
_MOST = 5_000
"""Calls of one look; at more in a second, the earlier ones of it are not read."""


class Batch(msgspec.Struct, frozen=True):
    """The calls that closed between two looks, the latest first."""

    number: int
    """Counts looks, so that whoever was too slow for one knows."""
    calls: tuple[Call, ...] = ()
    more: bool = False
    """Whether there were more than are read in one look."""
    trouble: bool = False
    """Whether the ledger could not be read; what closed meanwhile comes with the next look."""


async def _a_second() -> None:
    await asyncio.sleep(LIVE_SECONDS)


class Feed:
    """The calls that close now, read once a second however many look on."""

    def __init__(
        self, desk: Desk, pause: Callable[[], Awaitable[object]] = _a_second, *, most: int = _MOST, page: int = _PAGE
    ) -> None:
        """Looks again after each `pause`, at no more than about `most` calls."""
        self._desk = desk
        self._pause, self._most, self._page = pause, most, page
        self._last = -1
        self._news = asyncio.Condition()
        self._batch = Batch(0)
        self._reader: asyncio.Task[None] | None = None
        self._watching = 0

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Every second the calls that closed in it; nothing is read while nobody listens.

        Who is slower than that misses some: their numbers tell.
        """
        self._watching += 1
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        batch = self._batch
        try:
            while True:
                async with self._news:
                    while self._batch is batch:
                        await self._news.wait()
                    batch = self._batch
                yield batch
        finally:
            self._watching -= 1

    async def _read(self) -> None:
        try:
            self._last = -1
            while self._watching:
                try:
                    batch = await run_in_threadpool(self._since)
                except StoreTroubleError as error:
                    log.warning("console.live", problem=str(error))
                    batch = Batch(self._batch.number + 1, trouble=True)
                async with self._news:
                    self._batch = batch
                    self._news.notify_all()
                await self._pause()
        finally:
            self._reader = None

    def _since(self) -> Batch:
        """What closed since the last look; the first one only finds where to begin."""
        number, journal = self._batch.number + 1, self._desk.journal
        if self._last < 0:
            newest = journal.calls({}, 1)
            self._last = newest[0].seq if newest else 0
            return Batch(number)
        found: list[Call] = []
        before = None
        while len(found) < self._most:
            page = journal.calls({}, self._page, before)
            fresh = [each for each in page if each.seq > self._last]
            found += fresh
            if len(fresh) < self._page:
                break
            before = fresh[-1].seq
        more = len(found) >= self._most
        if found:
            self._last = found[0].seq
        return Batch(number, tuple(found), more)
