"""How is a ledger kept in one SQLite file, by one process at a time?"""

import contextlib
from pathlib import Path
from typing import Self

from upshift.model.budget import EMPTY, Amount, Balance, BudgetKey
from upshift.model.ids import RequestId
from upshift.model.metered import Outcome
from upshift.model.span import Instant
from upshift.store.counting import GIVE_UP_SECONDS, CountingLedger
from upshift.store.group import FIND_BUDGET, KNOWN_DEED, OUTCOME, GroupWriter, troubles
from upshift.store.lock import FileLock
from upshift.store.recovery import NONE_RECOVERED, open_holds, recover
from upshift.store.schema import COUNTER_COLUMNS, connect, prepare

_COUNTER = f"SELECT {', '.join(COUNTER_COLUMNS[1:])} FROM counters WHERE budget = ({FIND_BUDGET})"  # noqa: S608 - our own text


class SqliteLedger(CountingLedger):
    """The embedded ledger."""

    @classmethod
    async def open(
        cls, path: Path, at: Instant, give_up_seconds: float = GIVE_UP_SECONDS, *, keep_open: bool = False
    ) -> Self:
        """Open or create the file and close what a crash left open (see `recovered`), dated `at`.

        With `keep_open` that is left open, for whoever knows better how it ended (see `taken_over`).

        Raises LedgerInUseError, StoreVersionError, or sqlite3.Error or StoreTroubleError when the file cannot be read
        or written.
        """
        lock = FileLock(path)
        with contextlib.ExitStack() as undo_all:
            undo_all.callback(lock.free)
            prepare(path)
            groups = GroupWriter(path)
            undo_all.callback(groups.close)
            found = open_holds(groups) if keep_open else ()
            recovered = NONE_RECOVERED if keep_open else recover(groups, at)
            ledger = cls(groups, _SqliteLookup(path, lock), give_up_seconds, recovered)
            ledger.take_over(found)
            undo_all.pop_all()
        return ledger


class _SqliteLookup:
    """The `Lookup` of a file that is locked."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self._path = path
        self._lock = lock
        self._file = _identity(path)
        self._db = connect(path)

    def balance(self, key: BudgetKey) -> Balance:
        name = (key.tenant, key.user, key.workload, key.bucket.value, key.window, key.period)
        with troubles():
            row = self._db.execute(_COUNTER, name).fetchone()
        return EMPTY if row is None else Balance(Amount(*row[0:2]), Amount(*row[2:4]), Amount(*row[4:6]))

    def known(self, id_: str) -> bool:
        with troubles():
            return self._db.execute(KNOWN_DEED, (id_,)).fetchone() is not None

    def outcome(self, request: RequestId) -> Outcome | None:
        with troubles():
            row = self._db.execute(OUTCOME, (request,)).fetchone()
        return None if row is None else Outcome(row[0])

    def gone(self) -> str:
        if _identity(self._path) == self._file:
            return ""
        return f"{self._path} was removed or replaced under the running gateway; restart it"

    def close(self) -> None:
        self._db.close()
        self._lock.free()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to; None for none. Writing to one that nobody can find again is not keeping records."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
