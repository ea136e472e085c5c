"""Who waits for which entry to be on disk, and for how long may they?"""

import asyncio
from bisect import bisect_right, insort
from collections.abc import Callable
from operator import itemgetter
from typing import TypeAlias

from upshift.store.ledger import DuplicateRequestError, LedgerUnavailableError

Waiting: TypeAlias = tuple[int, float, asyncio.Future[None]]
"""A mark that somebody waits for, since when, and what is told him."""
_mark: Callable[[Waiting], int] = itemgetter(0)


class Marks:
    """What is on disk so far, and the calls that wait for more. For one event loop."""

    def __init__(self, patience_seconds: float, want: Callable[[int], object]) -> None:
        """`want` is called with every mark that somebody begins to wait for."""
        self.durable = 0
        """Every entry up to this mark is on disk."""
        self._patience = patience_seconds
        self._want = want
        self._loop = asyncio.get_running_loop()
        self._refused: set[int] = set()
        self._waiting: list[Waiting] = []
        """In the order of their marks."""
        self._over = ""
        self._done = self._loop.create_future()
        self._done.set_result(None)

    def reached(self, mark: int) -> asyncio.Future[None]:
        """To be awaited. LedgerUnavailableError when that takes too long, DuplicateRequestError for one refused."""
        if mark <= self.durable:
            if mark not in self._refused:
                return self._done
            refused = self._loop.create_future()
            refused.set_exception(_closed_before(mark))
            return refused
        written = self._loop.create_future()
        if self._over:
            written.set_exception(LedgerUnavailableError(self._over))
            return written
        self._want(mark)
        insort(self._waiting, (mark, self._loop.time(), written), key=_mark)
        return written

    def refuse(self, mark: int) -> None:
        """This entry will never be on disk, though those after it will."""
        self._refused.add(mark)

    def advance(self, durable: int) -> None:
        """Entries up to `durable` are on disk; whoever waited for them goes on."""
        self.durable = durable
        waiting, refused = self._waiting, self._refused
        count = bisect_right(waiting, durable, key=_mark)
        for mark, _, written in waiting[:count]:
            if written.done():
                continue
            if mark in refused:
                written.set_exception(_closed_before(mark))
            else:
                written.set_result(None)
        del waiting[:count]

    def give_up(self, why: str) -> bool:
        """Disappoint those who have waited too long; True when there were any."""
        oldest = self._loop.time() - self._patience
        return self._fail(why, oldest)

    def end(self, why: str) -> None:
        """Nothing more will be written: disappoint everybody, now and later."""
        self._over = why
        self._fail(why, self._loop.time())

    def _fail(self, why: str, since: float) -> bool:
        later = []
        for waiting in self._waiting:
            _, began, written = waiting
            if began > since:
                later.append(waiting)
            elif not written.done():
                written.set_exception(LedgerUnavailableError(f"entries cannot be written: {why}"))
        failed = len(later) < len(self._waiting)
        self._waiting = later
        return failed


def _closed_before(mark: int) -> DuplicateRequestError:
    return DuplicateRequestError(f"the request of entry {mark} was closed long ago")
