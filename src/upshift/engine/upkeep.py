"""Do totals keep up with the ledger, and do old months go when they should? Looked at again and again."""

import asyncio
from collections.abc import Callable

import structlog

from upshift.model.span import MICROS, Instant
from upshift.store.backend import StoreTroubleError
from upshift.store.engines import Keeping
from upshift.store.retained import said

log = structlog.get_logger()

_RETAIN_SECONDS = 3600.0
"""How often it is looked for months that are old enough."""


class Upkeep:
    """Keeps totals up to date, and no calls for longer than `retain_days`; 0 keeps them for ever."""

    def __init__(self, keeping: Keeping, now: Callable[[], Instant], retain_days: int) -> None:
        self._keeping = keeping
        self._now = now
        self._retain_days = retain_days
        self._next: Instant = 0

    def tick(self) -> int:
        """Do what is due; returns how many calls were added to the totals. Blocking: call it off the event loop."""
        added, now = self._keeping.catch_up(), self._now()
        if self._retain_days and now >= self._next:
            self._next = now + int(_RETAIN_SECONDS * MICROS)
            for each in self._keeping.retain(now, self._retain_days):
                log.info("retention", what=said(each))
        return added

    async def watch(self, every_seconds: float) -> None:
        """Tick for ever; run as a task."""
        while True:
            try:
                await asyncio.to_thread(self.tick)
            except StoreTroubleError as error:
                log.warning("totals.behind", problem=str(error))
            await asyncio.sleep(every_seconds)
