"""How is a ledger kept in a PostgreSQL database, by whoever has the seat?"""

import contextlib
import time
from collections.abc import Sequence
from typing import Any, Self

import psycopg
from psycopg.rows import TupleRow

from upshift.model.budget import EMPTY, Amount, Balance, BudgetKey
from upshift.model.ids import RequestId
from upshift.model.metered import Outcome
from upshift.model.span import Instant
from upshift.store.away_log import AwayLog
from upshift.store.backend import StoreTroubleError
from upshift.store.counting import GIVE_UP_SECONDS, CountingLedger
from upshift.store.keeper_seat import Seat
from upshift.store.postgres import Connection, troubles
from upshift.store.postgres_groups import PostgresGroups
from upshift.store.postgres_schema import VERSION, check_version, names
from upshift.store.recovery import NONE_RECOVERED, open_holds, recover
from upshift.store.replay import tell_log
from upshift.store.rows import key_from
from upshift.store.schema import BUDGET_COLUMNS, COUNTER_COLUMNS, StoreVersionError

_LOOKUP_SECONDS = 1.0
_REST_SECONDS = 3.0
"""After a look-up failed, the next is refused for so long rather than hold up the event loop again."""
_LATEST = 50_000
"""So many counters, those that came into being last, are read at the start: nearly all that today's calls touch."""

_NAME, _FIGURES = names(BUDGET_COLUMNS[2:]), names(COUNTER_COLUMNS[1:])
_BUDGET = f"SELECT id FROM budgets WHERE ({_NAME}) = (%s, %s, %s, %s, %s, %s)"  # noqa: S608 - our own names
_COUNTER = f"SELECT {_FIGURES} FROM counters WHERE budget = ({_BUDGET})"  # noqa: S608 - our own names
_OUTCOME = "SELECT outcome FROM calls JOIN profiles ON profiles.id = calls.profile WHERE request = %s"
_NEWEST = f"SELECT {_NAME}, {_FIGURES} FROM counters JOIN budgets ON id = budget ORDER BY budget DESC LIMIT {_LATEST}"  # noqa: S608 - our own names


class PostgresLedger(CountingLedger):
    """The ledger of an installation with a database server. There may be one at a time, which the seat sees to."""

    @classmethod
    async def open(
        cls,
        url: str,
        seat: Seat,
        at: Instant,
        give_up_seconds: float = GIVE_UP_SECONDS,
        *,
        keep_open: bool = False,
        log: AwayLog | None = None,
        serve_on: bool = True,
        lookup_seconds: float = _LOOKUP_SECONDS,
    ) -> Self:
        """Close what a crash left open (see `recovered`), dated `at`. The tables have to be there: see `migrate`.

        With `keep_open` that is left open, for whoever knows better how it ended (see `taken_over`). With `log`, what
        is in it is told to the database first, and with `serve_on` the ledger goes on with it while the database is
        away. For `lookup_seconds` a counter that is not in memory may hold up everything.

        Raises StoreVersionError, FencedError when the seat is lost, or StoreTroubleError.
        """
        with contextlib.ExitStack() as undo_all:
            lookup = _PostgresLookup(url, lookup_seconds)
            undo_all.callback(lookup.close)
            lookup.check()
            groups = PostgresGroups(url, seat.epoch, give_up_seconds / 2)
            undo_all.callback(groups.close)
            if log is not None:
                tell_log(groups, lookup.outcome, log, seat.epoch, at)
            found = open_holds(groups) if keep_open else ()
            recovered = NONE_RECOVERED if keep_open else recover(groups, at)
            ledger = cls(groups, lookup, give_up_seconds, recovered, log if serve_on else None)
            ledger.take_over(found)
            undo_all.pop_all()
        newest = lookup.newest()
        ledger.know(newest, complete=len(newest) < _LATEST)
        return ledger


class _PostgresLookup:
    """The `Lookup` of a PostgreSQL database."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._failed = -_REST_SECONDS
        with troubles():
            self._db = Connection.open(url, seconds)

    def check(self) -> None:
        """Raises StoreVersionError."""
        with troubles():
            found = check_version(self._db)
        if found < VERSION:
            raise StoreVersionError(f"the store has schema version {found}; migrate it to {VERSION} first")

    def newest(self) -> list[tuple[BudgetKey, Balance]]:
        """The counters that came into being last."""
        with troubles():
            rows = self._db.execute(_NEWEST).fetchall()
        return [(key_from(row[:6]), _balance(row[6:])) for row in rows]

    def balance(self, key: BudgetKey) -> Balance:
        row = self._ask(_COUNTER, (key.tenant, key.user, key.workload, key.bucket.value, key.window, key.period))
        return EMPTY if row is None else _balance(row)

    def known(self, id_: str) -> bool:
        return self._ask("SELECT 1 FROM deeds WHERE id = %s", (id_,)) is not None

    def outcome(self, request: RequestId) -> Outcome | None:
        row = self._ask(_OUTCOME, (request,))
        return None if row is None else Outcome(row[0])

    def _ask(self, sql: str, parameters: Sequence[Any]) -> TupleRow | None:
        if time.monotonic() - self._failed < _REST_SECONDS:
            raise StoreTroubleError("the database did not answer a moment ago")
        try:
            with troubles():
                return self._once_more(sql, parameters)
        except StoreTroubleError:
            self._failed = time.monotonic()
            raise

    def _once_more(self, sql: str, parameters: Sequence[Any]) -> TupleRow | None:
        began = time.monotonic()
        if not self._db.closed:
            try:
                return self._db.execute(sql, parameters).fetchone()
            except psycopg.OperationalError:
                # One that was closed by a restart says so at once, and then it is worth another try.
                if time.monotonic() - began > self._seconds / 2:
                    raise
                self._db.close()
        self._db = Connection.open(self._url, self._seconds)
        return self._db.execute(sql, parameters).fetchone()

    def gone(self) -> str:
        """A database that was dropped does not take anything any more, so there is nothing to look for."""
        return ""

    def close(self) -> None:
        self._db.close()


def _balance(row: Sequence[int]) -> Balance:
    return Balance(Amount(*row[0:2]), Amount(*row[2:4]), Amount(*row[4:6]))
