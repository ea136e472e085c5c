"""How do entries go from the event loop to the disk without either waiting for the other?"""

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from upshift.model.entry import Adjust, Decision, Entry, Grant, Settle
from upshift.store.group import GroupWriter
from upshift.store.rows import storable

LARGEST_GROUP = 4096
LOOK_SECONDS = 0.2
"""How often the inbox of other processes is looked at."""
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

    `report` is called on this thread, once per commit.
    """

    def __init__(self, groups: GroupWriter, report: Callable[[News], object]) -> None:
        self._groups = groups
        self._report = report
        self._queue: deque[Entry] = deque()
        self._wake = threading.Event()
        self._idle = False
        self._closing = False
        self._abandoned = threading.Event()
        self._looked = 0.0
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Queue an entry. Only for the event loop's thread."""
        self._queue.append(entry)
        # The thread says that it is idle before it looks at the queue a last time, so this is never missed.
        if self._idle:
            self._wake.set()

    def close(self) -> None:
        """Write what is queued, then stop."""
        self._closing = True
        self._wake.set()

    def abandon(self) -> None:
        """Stop after the commit that is under way, and wait for that; what is queued is dropped."""
        self._abandoned.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        why = ""
        try:
            while not self._abandoned.is_set():
                entries = self._take()
                if entries:
                    self._write(entries)
                elif self._closing:
                    break
                self._look()
        except BaseException as bug:  # noqa: BLE001 - the edge of the thread: a silent end would freeze all callers
            why = repr(bug)
        self._groups.close()
        self._report(Stopped(why))

    def _take(self) -> list[Entry]:
        queue = self._queue
        if not queue:
            self._idle = True
            if not queue and not self._closing and not self._abandoned.is_set():
                self._wake.wait(LOOK_SECONDS)
            self._idle = False
            self._wake.clear()
        return [queue.popleft() for _ in range(min(len(queue), LARGEST_GROUP))]

    def _write(self, entries: Sequence[Entry]) -> None:
        count, delay = len(entries), _FIRST_RETRY
        left = list(enumerate(entries))
        refused: list[tuple[int, Entry]] = []
        mended = False
        while not self._abandoned.is_set():
            try:
                if left:
                    self._groups.write([entry for _, entry in left])
                self._report(Written(count, tuple(refused)))
                return
            except (ValueError, OverflowError):
                if mended:
                    raise
                mended, left = True, [(at, storable(entry)) for at, entry in left]
            except sqlite3.Error as error:
                known = self._refused(error, [entry for _, entry in left])
                if known:
                    refused += [left[at] for at in known]
                    left = [told for at, each in enumerate(left) if (told := _instead(each, at in known))]
                    continue
                self._report(Trouble(str(error)))
                self._abandoned.wait(delay)
                delay = min(_LAST_RETRY, delay * 2)
                self._reconnect()

    def _refused(self, error: sqlite3.Error, entries: Sequence[Entry]) -> set[int]:
        if not isinstance(error, sqlite3.IntegrityError):
            return set()
        try:
            return set(self._groups.refused(entries))
        except sqlite3.Error:
            return set()

    def _reconnect(self) -> None:
        try:
            self._groups.reconnect()
        except sqlite3.Error as error:
            self._report(Trouble(str(error)))

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        try:
            asked = self._groups.inbox()
        except sqlite3.Error:
            # Nothing of ours is at stake: whoever asked finds it in the inbox until a look succeeds.
            return
        if asked:
            self._report(Asked(tuple(asked)))


def _instead(each: tuple[int, Entry], known: bool) -> tuple[int, Entry] | None:
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
