"""Who waits for which entry to be on disk, and for how long may they?"""

import asyncio

from upshift.store.ledger import DuplicateRequestError, LedgerUnavailableError


class Marks:
    """What is on disk so far, and the calls that wait for more. For one event loop."""

    def __init__(self, patience_seconds: float) -> None:
        self.durable = 0
        """Every entry up to this mark is on disk."""
        self._patience = patience_seconds
        self._loop = asyncio.get_running_loop()
        self._refused: set[int] = set()
        self._waiting: list[tuple[int, float, asyncio.Future[None]]] = []
        self._over = ""
        self._done = self._loop.create_future()
        self._done.set_result(None)

    def reached(self, mark: int) -> asyncio.Future[None]:
        """To be awaited. LedgerUnavailableError when that takes too long, DuplicateRequestError for one refused."""
        if mark <= self.durable and mark not in self._refused:
            return self._done
        written = self._loop.create_future()
        if mark <= self.durable:
            self._tell(mark, written)
        elif self._over:
            written.set_exception(LedgerUnavailableError(self._over))
        else:
            self._waiting.append((mark, self._loop.time(), written))
        return written

    def _tell(self, mark: int, written: asyncio.Future[None]) -> None:
        if mark in self._refused:
            written.set_exception(DuplicateRequestError(f"the request of entry {mark} was closed long ago"))
        else:
            written.set_result(None)

    def refuse(self, mark: int) -> None:
        """This entry will never be on disk, though those after it will."""
        self._refused.add(mark)

    def advance(self, durable: int) -> None:
        """Entries up to `durable` are on disk; whoever waited for them goes on."""
        self.durable = durable
        later = []
        for waiting in self._waiting:
            mark, _, written = waiting
            if mark > durable:
                later.append(waiting)
            elif not written.done():
                self._tell(mark, written)
        self._waiting = later

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
