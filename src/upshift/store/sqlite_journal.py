"""How do plans, keys, consents, decisions, reports and alerts live in the ledger's SQLite file?"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from upshift.model.entry import Decision
from upshift.model.span import Instant
from upshift.store.group import append_decision, troubles
from upshift.store.journal import Dimension, Used
from upshift.store.schema import connect, prepare
from upshift.store.sql_journal import Fields, Session, SqlJournal
from upshift.store.sqlite_reports import usage
from upshift.store.totals import Asked


class SqliteJournal(SqlJournal):
    """A connection of its own, for one process; its threads take turns."""

    _REACH = "SELECT 0, last_seq FROM rollup_state"

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises StoreVersionError, or StoreTroubleError when it cannot be read."""
        with troubles():
            prepare(path)
            self._db = connect(path, any_thread=True)
        self._turn = threading.Lock()

    def close(self) -> None:
        with self._turn:
            self._db.close()

    def _read(self, sql: str, values: Sequence[object] = ()) -> list[Fields]:
        with self._turn, troubles():
            return self._db.execute(sql, values).fetchall()

    def _change(self, sql: str, values: Sequence[object]) -> int:
        with self._turn, troubles():
            return self._db.execute(sql, values).rowcount

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with self._turn, troubles():
            db = self._db
            db.execute("BEGIN IMMEDIATE")
            try:
                yield _Transaction(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _keys(self) -> list[Fields]:
        return self._read("SELECT document FROM keys ORDER BY rowid")

    def usage(
        self,
        by: Sequence[Dimension],
        since: Instant,
        until: Instant,
        where: Mapping[Dimension, str] | None = None,
        *,
        latencies: bool = True,
    ) -> Sequence[Used]:
        with self._turn, troubles():
            return usage(self._db, Asked(tuple(by), since, until, where or {}, latencies))


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Fields]:
        return self._db.execute(sql, values).fetchall()

    def append(self, decision: Decision) -> bool:
        return append_decision(self._db, decision)
