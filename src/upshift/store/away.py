"""While the database is away, which entries are on this machine's disk instead, and when is that over?

The ledger's writer goes on trying to write its queue. Meanwhile what it has not written goes to the log as well, and
counts as durable from there. Once the database writes again nothing more goes to the log; when all that is in it has
been written, the log is cleared.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice

import msgspec

from upshift.model.entry import Entry
from upshift.store.away_log import AwayLog
from upshift.store.backend import StoreTroubleError

SLOW_SECONDS = 2.0
"""A database that has written nothing of what is queued for so long is away, whether it complains or not."""
_LARGEST_GROUP = 4096
_SILENT = "the database does not answer"


class Episode(msgspec.Struct, frozen=True):
    """The database was away, and has been told everything since."""

    number: int
    millis: int
    entries: int
    """So many had been acknowledged from the log."""
    why: str


class Away:
    """For one event loop. `changed` is called when there is more in the log, or it cannot be written."""

    def __init__(self, log: AwayLog, changed: Callable[[], object], slow_seconds: float = SLOW_SECONDS) -> None:
        self._log = log
        self._changed = changed
        self._slow = slow_seconds
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "ledger-away")
        self._queued: deque[Entry] = deque()
        """What is not known to be in the database, from entry `_written` + 1 on."""
        self._left: deque[Entry] = deque()
        """What of it is to go to the log, from entry `logged` + 1 on."""
        self._written = 0
        self.logged = 0
        """Every entry up to this mark is in the log or in the database."""
        self._heard = self._since = self._loop.time()
        self._first = 0
        self._because = ""
        self._count = 0
        self._busy = False
        self._anew = False
        """`_left` is not what it has to be."""
        self._used = False
        """Something is in the log."""
        self._closed = False
        self.why = ""
        """Why the database is away; empty while it is not."""
        self.trouble = ""
        """Why the log cannot be written either; empty while it can."""
        self.over: list[Episode] = []
        """Those that nobody has told of yet."""

    @property
    def owes(self) -> bool:
        """Whether something may have been acknowledged that the database does not have yet."""
        return self._busy or self.logged > self._written

    @property
    def owed(self) -> int:
        """How many entries were acknowledged from the log that the database is not known to have."""
        return max(0, self.logged - self._written)

    def put(self, entry: Entry) -> None:
        """An entry was queued."""
        if not self._queued:
            self._heard = self._loop.time()
        self._queued.append(entry)
        if self.why:
            self._left.append(entry)
            self._go_on()

    def begin(self, why: str) -> None:
        """The database cannot write."""
        if self.why or self._closed:
            return
        if not self._used:
            self._since, self._first, self._because = self._loop.time(), self._written, why
        self.why = why
        self._anew = True
        self._go_on()

    def written(self, count: int) -> None:
        """So many more are in the database."""
        for _ in range(count):
            self._queued.popleft()
        self._written += count
        self._heard = self._loop.time()
        self.why = self.trouble = ""
        self._end()

    def look(self) -> None:
        """To be called about once a second."""
        if self.why:
            self._go_on()
        elif self._queued and self._loop.time() - self._heard > self._slow:
            self.begin(_SILENT)

    def close(self) -> None:
        """Nothing more goes to the log, which is somebody else's to close; waits for what is going there now.

        What the database was not told is among the log's entries then, for whoever comes next.
        """
        self._closed = True
        self._thread.shutdown()
        with suppress(StoreTroubleError):
            self._log.read()

    def _go_on(self) -> None:
        if self._busy or self._closed:
            return
        if self._anew:
            self._anew = False
            self.logged = max(self.logged, self._written)
            self._left = deque(islice(self._queued, self.logged - self._written, None))
        if not self._left:
            return
        self._busy = self._used = True
        group = tuple(islice(self._left, _LARGEST_GROUP))
        until = self.logged + len(group)
        self._loop.run_in_executor(self._thread, self._log.append, group).add_done_callback(
            lambda done: self._appended(until, len(group), done)
        )

    def _appended(self, until: int, count: int, done: asyncio.Future[None]) -> None:
        self._busy = False
        error = done.exception()
        # In trouble it is tried again when it is looked at next.
        self.trouble = "" if error is None else str(error)
        if error is None:
            self.logged = until
            for _ in range(count):
                self._left.popleft()
            if self.why:
                self._go_on()
        self._changed()
        self._end()

    def _end(self) -> None:
        """Clear the log, once all that is in it is in the database."""
        if not self._used or self.why or self.owes:
            return
        self._used = False
        acknowledged = self.logged - self._first
        if acknowledged > 0:
            self._count += 1
            millis = round(1000 * (self._loop.time() - self._since))
            self.over.append(Episode(self._count, millis, acknowledged, self._because))
        if not self._closed:
            # One that cannot be cleared is told to the database once more at the next start, which changes nothing.
            self._loop.run_in_executor(self._thread, self._log.clear).add_done_callback(lambda done: done.exception())
