"""How does a process tell the admin process of its machine how it is doing? On a socket of its own, when asked.

Everything told is read from what exists anyway; calls count nothing for it.
"""

import asyncio
import contextlib
import os
import resource
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from upshift.gateway.call import Routes
from upshift.gateway.clock import SystemClock
from upshift.model.ids import RequestId
from upshift.model.live import BooksUse, Live, UpstreamUse
from upshift.model.span import Instant
from upshift.traffic.health import Board

_BEAT_SECONDS = 0.5
_KEPT_SECONDS = 15.0


class Books(Protocol):
    """What is asked of a ledger."""

    @property
    def healthy(self) -> bool: ...

    @property
    def mark(self) -> int:
        """Its last entry."""

    @property
    def unwritten(self) -> int:
        """How many entries up to that are not known to be on disk."""

    @property
    def away(self) -> str:
        """Why entries go to a log on the keeper's own disk instead of the database; empty while they do not."""

    @property
    def owed(self) -> int:
        """Entries that were acknowledged from that log and that the database does not have yet."""

    def open_requests(self) -> Sequence[RequestId]:
        """Calls that hold something."""


def _no_books() -> None:
    """Of a process that writes to no ledger."""


class Pulse:
    """Beats twice a second on an event loop: how late it is, and since when entries have been waiting for the disk."""

    def __init__(self, books: Callable[[], Books | None] = _no_books, now: Callable[[], Instant] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._books = books
        self._now = now or SystemClock().now
        self._away_since: Instant | None = None
        self._owes = False
        self._told: Instant | None = None
        self._late: deque[float] = deque(maxlen=int(_KEPT_SECONDS / _BEAT_SECONDS))
        self._marks: deque[tuple[float, int]] = deque()
        """When the ledger's last entry was which, for as long as one of them is not on disk."""
        self._due = self._loop.time() + _BEAT_SECONDS
        self._timer = self._loop.call_at(self._due, self._beat)

    @property
    def lag_seconds(self) -> float:
        # A loop that is stuck right now does not come to its beat either.
        return max(0.0, self._loop.time() - self._due, *self._late)

    def books(self) -> BooksUse | None:
        """How the ledger is doing."""
        books = self._books()
        if books is None:
            return None
        self._forget(books)
        self._look_at_the_database(books)
        seconds = self._loop.time() - self._marks[0][0] if self._marks else 0.0
        return BooksUse(
            healthy=books.healthy,
            holds=len(books.open_requests()),
            unwritten=books.unwritten,
            unwritten_seconds=seconds,
            away=bool(books.away),
            away_since=self._away_since,
            owed=books.owed,
            told=self._told,
        )

    def stop(self) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        now = self._loop.time()
        self._late.append(now - self._due)
        books = self._books()
        if books is None:
            self._marks.clear()
        else:
            self._forget(books)
            self._look_at_the_database(books)
            if books.unwritten and (not self._marks or self._marks[-1][1] < books.mark):
                self._marks.append((now, books.mark))
        self._due = now + _BEAT_SECONDS
        self._timer = self._loop.call_at(self._due, self._beat)

    def _look_at_the_database(self, books: Books) -> None:
        if not books.away:
            self._away_since = None
        elif self._away_since is None:
            self._away_since = self._now()
        if books.owed:
            self._owes = True
        elif self._owes and not books.away:
            self._owes, self._told = False, self._now()

    def _forget(self, books: Books) -> None:
        on_disk = books.mark - books.unwritten
        while self._marks and self._marks[0][1] <= on_disk:
            self._marks.popleft()


def live(process: str, started: Instant, pulse: Pulse) -> Live:
    """What every process can say of itself; only on its event loop."""
    return Live(
        process=process,
        pid=os.getpid(),
        started=started,
        memory_bytes=_memory(),
        open_fds=_open_fds(),
        tasks=len(asyncio.all_tasks()),
        lag_seconds=pulse.lag_seconds,
        books=pulse.books(),
    )


def upstreams(routes: Routes, board: Board, now: Instant) -> tuple[UpstreamUse, ...]:
    """The providers that were sent something so far."""
    return tuple(
        UpstreamUse(
            route.provider.id,
            route.upstream.open_connections,
            route.upstream.idle_connections,
            board.circuit(route.provider.id).state(now).value,
        )
        for route in routes.known()
    )


class LivePort:
    """Answers whoever connects with one look, as JSON, and hangs up. The folder decides who may."""

    def __init__(self, path: Path, server: asyncio.Server) -> None:
        self._path = path
        self._server = server

    def close(self) -> None:
        self._server.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


async def serve_live(folder: Path, look: Callable[[], Live]) -> LivePort:
    """Listen in a folder that only this installation's processes can read. Raises OSError."""
    first = look()
    path = folder / f"{first.process}-{first.pid}"

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(msgspec.json.encode(look()))
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    return LivePort(path, await asyncio.start_unix_server(tell, path))


def _memory() -> int | None:
    """Bytes that are resident now; where only the most is known, that."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * resource.getpagesize()


def _open_fds() -> int | None:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(folder))
    return None
