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
        self.refusing = False
        """Whether any mark was ever refused."""
        self._refused: set[int] = set()
        self._waiting: list[tuple[int, float, asyncio.Future[None]]] = []
        self._over = ""

    async def reached(self, mark: int) -> None:
        """Wait for a mark. Raises LedgerUnavailableError when that takes too long, DuplicateRequestError if refused."""
        if mark > self.durable:
            if self._over:
                raise LedgerUnavailableError(self._over)
            written = self._loop.create_future()
            self._waiting.append((mark, self._loop.time(), written))
            await written
        if mark in self._refused:
            raise DuplicateRequestError(f"the request of entry {mark} was closed long ago")

    def refuse(self, mark: int) -> None:
        """This entry will never be on disk, though those after it will."""
        self.refusing = True
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
                written.set_result(None)
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
