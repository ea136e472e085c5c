"""What has a gateway told the keeper, or been told by it, that is not known to be on disk, and who waits for that?

Two kinds of marks, so that neither has to wait for the other's numbers: holds are even, since the keeper decides when
they are made; numbered messages are odd. Each kind is in the order of time.
"""

import asyncio
from collections import deque
from collections.abc import Iterator

from upshift.keeper.messages import Numbered
from upshift.store.ledger import DuplicateRequestError, LedgerUnavailableError


class Receipts:
    """For one event loop."""

    def __init__(self) -> None:
        self.numbered: deque[Numbered] = deque()
        """To be said again to a new keeper: those that are not known to be on disk."""
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._on_disk = 0
        self._hold = 0
        self._unsaved: dict[int, int] = {}
        """Mark and entry of holds that are not known to be on disk; -1 when no keeper has said the entry yet."""
        self._entries: deque[tuple[int, int]] = deque()
        """The same the other way round, in the keeper's order."""
        self._barred: set[int] = set()
        self._waiting: dict[int, list[tuple[float, asyncio.Future[None]]]] = {}
        self._done = self._loop.create_future()
        self._done.set_result(None)

    @property
    def last(self) -> int:
        """The mark of the last numbered message."""
        return 2 * self._number + 1

    def next(self) -> int:
        """The number of the next message."""
        self._number += 1
        return self._number

    def keep(self, message: Numbered) -> int:
        """Remember a message until it is on disk; returns its mark."""
        self.numbered.append(message)
        return 2 * message.number + 1

    def held(self, entry: int) -> int:
        """The keeper has made a hold, which is this entry of its own; returns the mark."""
        self._hold = mark = self._hold + 2
        self._unsaved[mark] = entry
        self._entries.append((entry, mark))
        return mark

    def held_again(self, mark: int, entry: int) -> int | None:
        """A new keeper has a hold as this entry; returns the entry when somebody waits for it to be on disk."""
        if mark not in self._unsaved:
            return None
        self._unsaved[mark] = entry
        self._entries.append((entry, mark))
        return entry if mark in self._waiting else None

    def forget(self, mark: int) -> None:
        """Nobody will ask for this hold any more."""
        self._unsaved.pop(mark, None)

    def lost(self) -> None:
        """The keeper has gone, and with it what its entries meant."""
        self._entries.clear()
        self._unsaved = dict.fromkeys(self._unsaved, -1)

    def entry_of(self, mark: int) -> int | None:
        """The keeper's entry of a hold that is not known to be on disk; None for any other."""
        entry = self._unsaved.get(mark, -1)
        return entry if entry >= 0 else None

    def reached(self, mark: int) -> asyncio.Future[None]:
        """To be awaited. DuplicateRequestError for what will never be there."""
        if mark in self._barred:
            barred = self._loop.create_future()
            barred.set_exception(DuplicateRequestError("the request was closed long ago"))
            return barred
        if mark <= 2 * self._on_disk + 1 if mark & 1 else mark not in self._unsaved:
            return self._done
        written = self._loop.create_future()
        self._waiting.setdefault(mark, []).append((self._loop.time(), written))
        return written

    def saved(self, number: int, entry: int) -> Iterator[Numbered]:
        """On disk are messages up to `number`, which are given back, and the keeper's entries up to `entry`."""
        numbered, waiting = self.numbered, self._waiting
        while numbered and numbered[0].number <= number:
            told = numbered.popleft()
            self._on_disk = told.number
            if waiting:
                self._wake(2 * told.number + 1)
            yield told
        entries = self._entries
        while entries and entries[0][0] <= entry:
            mark = entries.popleft()[1]
            self._unsaved.pop(mark, None)
            if waiting:
                self._wake(mark)

    def bar(self, mark: int) -> None:
        """This will never be on disk, since its request was closed before."""
        self._unsaved.pop(mark, None)
        self._barred.add(mark)
        for _, written in self._waiting.pop(mark, ()):
            if not written.done():
                written.set_exception(DuplicateRequestError("the request was closed long ago"))

    def _wake(self, mark: int) -> None:
        for _, written in self._waiting.pop(mark, ()):
            if not written.done():
                written.set_result(None)

    def give_up(self, oldest: float, why: str) -> None:
        """Disappoint those who have waited since before `oldest`, by the loop's clock."""
        for mark, waiting in tuple(self._waiting.items()):
            for since, written in waiting:
                if since < oldest and not written.done():
                    written.set_exception(LedgerUnavailableError(f"entries cannot be written: {why}"))
            left = [each for each in waiting if not each[1].done()]
            if left:
                self._waiting[mark] = left
            else:
                del self._waiting[mark]
