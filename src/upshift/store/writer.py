"""How do entries go from the event loop to the disk without either waiting for the other?"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TypeAlias

import msgspec

from upshift.model.entry import Adjust, Decision, Entry, Grant, Hold, Settle
from upshift.store.backend import FencedError, Groups, StoreTroubleError
from upshift.store.draft import ConflictError
from upshift.store.rows import storable

LARGEST_GROUP = 4096
LOOK_SECONDS = 0.2
"""How often the inbox of other processes is looked at."""
LINGER_SECONDS = 0.002
"""How long holds may wait in memory for the record of a quick answer, to be written with it."""
_FIRST_RETRY, _LAST_RETRY = 0.01, 1.0


class Written(msgspec.Struct, frozen=True):
    """`count` more entries are on disk, but for those `refused` (with their positions): they had happened before."""

    count: int
    refused: tuple[tuple[int, Entry], ...]


class Trouble(msgspec.Struct, frozen=True):
    """The oldest entries cannot be written; they are kept and tried again."""

    what: str


class Asked(msgspec.Struct, frozen=True):
    """What other processes left in the inbox."""

    entries: tuple[Adjust | Grant, ...]


class Stopped(msgspec.Struct, frozen=True):
    """The thread has ended and its connection is closed; `why` is empty unless it had to."""

    why: str


News: TypeAlias = Written | Trouble | Asked | Stopped


class Writer:
    """One thread that commits whatever is queued, and starts again as soon as a commit has ended.

    `report` is called on this thread, once per commit that is on disk. A group of nothing but holds that nobody waits
    for is written without waiting for the disk: it is there as soon as the next one is, or when the queue stays empty.
    """

    def __init__(self, groups: Groups, report: Callable[[News], object]) -> None:
        self._groups = groups
        self._report = report
        self._queue: deque[Entry] = deque()
        # A queue of nothing wakes a thread at a tenth of the cost of an Event, and is rung once per sleep.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle = False
        self._lazy = False
        self._closing = False
        self._abandoned = threading.Event()
        self._looked = 0.0
        self._wanted = 0
        self._reported = 0
        self._unsynced = 0
        """How many of the entries after those reported are written, but perhaps not on disk."""
        self._unsynced_since = 0.0
        self._refusals: list[tuple[int, Entry]] = []
        """Those of them that were refused, with positions after the last one reported."""
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue an entry. Only for the event loop's thread."""
        self._queue.append(entry)
        # The thread says that it is idle before it looks at the queue a last time, so this is never missed.
        if self._idle or (self._lazy and type(entry) is not Hold):
            self._ring()

    def want(self, mark: int) -> None:
        """Somebody waits for the first `mark` entries to be on disk. Only for the event loop's thread."""
        if mark > self._wanted:
            self._wanted = mark
            if self._idle or self._lazy:
                self._ring()

    def close(self) -> None:
        """Write what is queued, then stop."""
        self._closing = True
        self._bell.put(None)

    def abandon(self) -> None:
        """Stop after the commit that is under way, and wait for that; what is queued is dropped."""
        self._abandoned.set()
        self._bell.put(None)
        self._thread.join()

    def _ring(self) -> None:
        # It has to be rung once: whatever else comes before the thread is awake is found by it anyway.
        self._idle = self._lazy = False
        self._bell.put(None)

    def _sleep(self, seconds: float) -> None:
        try:
            self._bell.get(timeout=seconds)
        except queue.Empty:
            return

    def _run(self) -> None:
        why = ""
        try:
            while not self._abandoned.is_set():
                entries = self._take()
                if entries:
                    self._write(entries)
                elif self._unsynced:
                    self._sync()
                elif self._closing:
                    break
                self._look()
        except FencedError as error:
            why = str(error)
        except BaseException as bug:  # noqa: BLE001 - the edge of the thread: a silent end would freeze all callers
            why = repr(bug)
        self._groups.close()
        self._report(Stopped(why))

    def _take(self) -> list[Entry]:
        queue = self._queue
        if not queue:
            self._idle = True
            if not queue and not self._closing and not self._abandoned.is_set() and not self._awaited():
                self._sleep(LOOK_SECONDS)
            self._idle = False
        if queue and self._wanted <= self._reported and all(type(entry) is Hold for entry in tuple(queue)):
            self._linger()
        return list(map(deque.popleft, repeat(queue, min(len(queue), LARGEST_GROUP))))

    def _linger(self) -> None:
        """Leave holds that nobody waits for in the queue for a moment: the record of a quick answer comes with them."""
        self._lazy = True
        # Again, since a record may have come before it was said that one is waited for.
        if self._wanted <= self._reported and all(type(entry) is Hold for entry in tuple(self._queue)):
            self._sleep(LINGER_SECONDS)
        self._lazy = False

    def _write(self, entries: Sequence[Entry]) -> None:
        delay, mended = _FIRST_RETRY, False
        count, left = len(entries), list(enumerate(entries, self._unsynced))
        durable = self._wanted > self._reported or any(type(entry) is not Hold for entry in entries) or self._late()
        while not self._abandoned.is_set():
            try:
                if entries:
                    self._groups.write(entries, durable=durable)
                if not self._unsynced:
                    self._unsynced_since = time.monotonic()
                self._unsynced += count
                if durable and entries:
                    self._told()
                return
            except (ValueError, OverflowError):
                if mended:
                    raise
                mended, left = True, [(at, storable(entry)) for at, entry in left]
                entries = [entry for _, entry in left]
            except (ConflictError, StoreTroubleError) as error:
                known = self._refused(error, entries)
                if known:
                    self._refusals += [left[at] for at in known]
                    left = [told for at, each in enumerate(left) if (told := instead(each, at in known))]
                    entries = [entry for _, entry in left]
                    continue
                self._report(Trouble(str(error)))
                self._abandoned.wait(delay)
                delay = min(_LAST_RETRY, delay * 2)
                self._reconnect()

    def _awaited(self) -> bool:
        return self._unsynced > 0 and self._wanted > self._reported

    def _late(self) -> bool:
        """Whether what is written has waited for the disk long enough."""
        return self._unsynced > 0 and time.monotonic() - self._unsynced_since > LOOK_SECONDS

    def _sync(self) -> None:
        delay = _FIRST_RETRY
        while not self._abandoned.is_set():
            try:
                self._groups.sync()
            except StoreTroubleError as error:
                self._report(Trouble(str(error)))
                self._abandoned.wait(delay)
                delay = min(_LAST_RETRY, delay * 2)
                continue
            self._told()
            return

    def _told(self) -> None:
        count, refused = self._unsynced, tuple(self._refusals)
        self._reported += count
        self._unsynced = 0
        self._refusals.clear()
        self._report(Written(count, refused))

    def _refused(self, error: Exception, entries: Sequence[Entry]) -> set[int]:
        if not isinstance(error, ConflictError):
            return set()
        try:
            return set(self._groups.refused(entries))
        except StoreTroubleError:
            return set()

    def _reconnect(self) -> None:
        try:
            self._groups.reconnect()
        except StoreTroubleError as error:
            self._report(Trouble(str(error)))

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        try:
            asked = self._groups.inbox()
        except StoreTroubleError:
            # Nothing of ours is at stake: whoever asked finds it in the inbox until a look succeeds.
            return
        if asked:
            self._report(Asked(tuple(asked)))


def instead(each: tuple[int, Entry], known: bool) -> tuple[int, Entry] | None:
    """A refused entry is left out; for one that would have cost something, a decision says that it was."""
    position, entry = each
    if not known:
        return each
    if not isinstance(entry, Settle):
        return None
    told = Decision(
        id=f"duplicate-request/{entry.request}/{entry.at}",
        at=entry.at,
        kind="duplicate-request",
        tenant=entry.record.tenant,
        subject=entry.request,
        by="system",
        detail={"tokens": entry.amount.tokens, "nano": entry.amount.nano},
    )
    return position, told
