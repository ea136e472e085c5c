"""Which calls closed since one last looked, for however many look on, and was that all of them?"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from types import MappingProxyType

import msgspec
import structlog
from starlette.concurrency import run_in_threadpool

from upshift.admin.desk import Desk
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Call, Dimension

log = structlog.get_logger()

LIVE_SECONDS = 1.0
_PAGE = 250
_MOST = 5_000
"""Calls of one look; at more in a second, the earlier ones of it are not read."""
_ALL: Mapping[Dimension, str] = MappingProxyType({})


class Batch(msgspec.Struct, frozen=True):
    """The calls that closed between two looks, the latest first."""

    number: int
    """Counts looks, so that whoever was too slow for one knows."""
    calls: tuple[Call, ...] = ()
    more: bool = False
    """Whether there were more than are read in one look."""
    trouble: bool = False
    """Whether the ledger could not be read; what closed meanwhile comes with the next look."""
    after: int = -1
    """The entry after which they are,"""
    upto: int = -1
    """and the one up to which; -1 while that is not known."""
    late: int = 0
    """How many of them closed before the look before: whoever joins may have come from there."""


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

    async def batches(
        self, since: int | None = None, where: Mapping[Dimension, str] = _ALL
    ) -> AsyncGenerator[Batch, None]:
        """Every second the calls that closed in it; nothing is read while nobody listens.

        Who has seen all up to the entry `since` gets with the first what closed after that and matches `where`, so that
        between a page and its stream nothing is lost. Who is slower than a second misses some: their numbers tell.
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
                told = batch
                if since is not None and not batch.trouble:
                    told = await self._joined(batch, since, where)
                    if not told.trouble:
                        # Looks that went by while it was read are late as well.
                        gone_by = batch is not self._batch
                        since = max(since, batch.upto) if gone_by or batch.upto < since else None
                yield told
        finally:
            self._watching -= 1

    async def _joined(self, batch: Batch, since: int, where: Mapping[Dimension, str]) -> Batch:
        """A look as it is for whoever has seen all up to an entry."""
        if since >= batch.after:
            return msgspec.structs.replace(batch, calls=tuple(each for each in batch.calls if each.seq > since))
        try:
            late, more = await run_in_threadpool(self._closed, since, batch.after + 1, where)
        except StoreTroubleError as error:
            log.warning("console.live", problem=str(error))
            return Batch(batch.number, trouble=True)
        return msgspec.structs.replace(
            batch, calls=(*batch.calls, *late), more=batch.more or more, after=since, late=len(late)
        )  # fmt: skip

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
        number = self._batch.number + 1
        if self._last < 0:
            newest = self._desk.journal.calls({}, 1)
            self._last = newest[0].seq if newest else 0
            return Batch(number, after=self._last, upto=self._last)
        after = self._last
        found, more = self._closed(after, None, _ALL)
        if found:
            self._last = found[0].seq
        return Batch(number, tuple(found), more, after=after, upto=self._last)

    def _closed(self, after: int, before: int | None, where: Mapping[Dimension, str]) -> tuple[list[Call], bool]:
        """The calls of entries between two, the latest first; and whether there are more than are read."""
        found: list[Call] = []
        while len(found) < self._most:
            page = self._desk.journal.calls(where, self._page, before)
            fresh = [each for each in page if each.seq > after]
            found += fresh
            if len(fresh) < self._page:
                break
            before = fresh[-1].seq
        return found, len(found) >= self._most
