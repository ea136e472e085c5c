"""Is the journal in the ledger's SQLite file a journal?"""

from pathlib import Path

import pytest
from tests.conformance.journal import JournalConformance, Place
from tests.conformance.ledger import NOW

from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Journal
from upshift.store.ledger import Ledger
from upshift.store.sqlite_journal import SqliteJournal
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import Verification, verify


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
