"""Is the journal in the ledger's SQLite file a journal?"""

import sqlite3
from pathlib import Path

import pytest
from tests.conformance.journal import JournalConformance, Place
from tests.conformance.ledger import NOW, PLAN

from upshift.model.feedback import Origin, Quality, Reported, Source
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Journal
from upshift.store.ledger import Ledger
from upshift.store.schema import VERSION
from upshift.store.sqlite_journal import SqliteJournal
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import Verification, verify

TOTALS = (
    "facets",
    "facet_names",
    "facet_labels",
    "facet_spans",
    "session_spans",
    "facet_days",
    "facet_months",
    "outline_days",
    "outline_hours",
    "rollup_state",
)


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path

    def journal(self) -> Journal:
        return SqliteJournal(self._path)

    async def ledger(self) -> Ledger:
        return await SqliteLedger.open(self._path, NOW)

    def verified(self) -> Verification:
        return verify(self._path)


class TestSqliteJournal(JournalConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return _File(tmp_path / "ledger.db")


def test_a_file_that_cannot_be_opened_is_trouble(tmp_path: Path) -> None:
    with pytest.raises(StoreTroubleError):
        SqliteJournal(tmp_path / "missing" / "ledger.db")


def test_a_file_of_the_first_version_gets_what_was_added(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    journal = SqliteJournal(path)
    journal.apply_plan(PLAN, b"one", "pilot", "mia", NOW)
    journal.close()
    with sqlite3.connect(path) as db:
        for table in (*TOTALS, "feedback"):
            db.execute(f"DROP TABLE {table}")
        db.execute("DROP INDEX budgets_current")
        db.execute("PRAGMA user_version = 1")
    db.close()
    journal = SqliteJournal(path)
    report = Reported(Quality("acme/1", NOW, Origin(agent="ada"), 0.5), "acme", "k", Source.CALLER, NOW)
    assert journal.add_feedback([report]) == 1
    assert journal.plan_in_force() is not None
    journal.close()
    with sqlite3.connect(path) as db:
        stamp = db.execute("PRAGMA user_version").fetchone()[0]
        assert (stamp & 0xFFFF, stamp >> 16) == (VERSION, 1)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute("DELETE FROM feedback")
    db.close()
    assert verify(path).ok
