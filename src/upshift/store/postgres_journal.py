"""How do plans, keys, consents, decisions, reports and alerts live in a PostgreSQL database?"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import psycopg

from upshift.model.entry import Decision
from upshift.model.span import Instant
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Dimension, Used
from upshift.store.postgres import Connection, troubles
from upshift.store.postgres_decision import append_decision
from upshift.store.postgres_groups import LOCK
from upshift.store.postgres_reports import conditions, usage
from upshift.store.postgres_schema import VERSION, check_version
from upshift.store.schema import StoreVersionError
from upshift.store.sql_journal import Fields, Session, SqlJournal
from upshift.store.totals import Asked

_SECONDS = 60.0
"""Reports may take longer than what the path of a call waits for."""
_IDLE = 4
"""So many connections are kept while nobody uses them."""

T = TypeVar("T")


class PostgresJournal(SqlJournal):
    """A few connections, for all threads of one process; one that broke is replaced."""

    _REACH = "SELECT spanned_from, last_seq FROM rollup_state WHERE months_seq = last_seq AND spanned_from >= 0"

    def __init__(self, url: str) -> None:
        """Raises StoreVersionError when the tables are missing or too old, StoreTroubleError."""
        self._url = url
        self._turn = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False
        found = self._with(check_version)
        if found < VERSION:
            self.close()
            raise StoreVersionError(
                f"the store has schema version {found} and this program needs {VERSION}; run: upshift db migrate"
            )

    def close(self) -> None:
        with self._turn:
            self._closed = True
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    @contextmanager
    def _borrowed(self, db: Connection) -> Iterator[Connection]:
        """Kept for the next only if nothing went wrong."""
        try:
            yield db
        except BaseException:
            db.close()
            raise
        with self._turn:
            keep = not self._closed and len(self._idle) < _IDLE
            if keep:
                self._idle.append(db)
        if not keep:
            db.close()

    def _connect(self) -> Connection:
        with self._turn:
            if self._closed:
                raise StoreTroubleError("the journal is closed")
        return Connection.open(self._url, _SECONDS)

    def _used(self) -> Connection | None:
        with self._turn:
            return self._idle.pop() if self._idle else None

    def _with(self, task: Callable[[Connection], T]) -> T:
        """Run a task that may be run again: what an old connection says may only mean that the server was away."""
        with troubles():
            db = self._used()
            if db is not None:
                try:
                    with self._borrowed(db):
                        return task(db)
                except psycopg.OperationalError as error:
                    if not _lost(error):
                        raise
                self._forget()
            with self._borrowed(self._connect()) as fresh:
                return task(fresh)

    def _forget(self) -> None:
        """When one connection is lost, the others that lay idle are too."""
        while (db := self._used()) is not None:
            db.close()

    def _read(self, sql: str, values: Sequence[object] = ()) -> list[Fields]:
        return self._with(lambda db: db.execute(_dialect(sql), values).fetchall())

    def _change(self, sql: str, values: Sequence[object]) -> int:
        with self._transaction() as db:
            return db.execute(_dialect(sql), values).rowcount

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with self._transaction() as db:
            db.execute(LOCK)
            yield _Transaction(db)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with troubles(), self._borrowed(self._begin()) as db:
            yield db
            db.execute("COMMIT")

    def _begin(self) -> Connection:
        """A connection that was there a moment ago, with a transaction open: what follows must not be done twice."""
        db = self._used()
        if db is not None:
            try:
                db.execute("BEGIN")
            except psycopg.OperationalError:
                db.close()
                self._forget()
            else:
                return db
        db = self._connect()
        db.execute("BEGIN")
        return db

    def _keys(self) -> list[Fields]:
        return self._read("SELECT document FROM keys ORDER BY number")

    def _conditions(self, where: Mapping[Dimension, str]) -> tuple[str, list[str]]:
        return conditions(where)

    def usage(
        self,
        by: Sequence[Dimension],
        since: Instant,
        until: Instant,
        where: Mapping[Dimension, str] | None = None,
        *,
        latencies: bool = True,
    ) -> Sequence[Used]:
        asked = Asked(tuple(by), since, until, where or {}, latencies)
        return self._with(lambda db: usage(db, asked))


class _Transaction:
    def __init__(self, db: Connection) -> None:
        self._db = db

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Fields]:
        done = self._db.execute(_dialect(sql), values)
        return done.fetchall() if done.description is not None else []

    def append(self, decision: Decision) -> bool:
        return append_decision(self._db, decision)


def _dialect(sql: str) -> str:
    """The statements of `SqlJournal` are ours and have question marks only where values go."""
    return sql.replace("?", "%s")


def _lost(error: psycopg.OperationalError) -> bool:
    """Whether it was the connection that failed, or the server ended it, rather than what was asked."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
