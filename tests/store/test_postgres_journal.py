"""Is the journal in a PostgreSQL database a journal, also when the server goes away and comes back?"""

import threading

import pytest
from tests.conformance.journal import JournalConformance, Place, key
from tests.conformance.ledger import NOW, PLAN
from tests.postgres import Server, database_url, postgres

from upshift.model.ids import RequestId
from upshift.store import keeper_seat
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Dimension, Journal
from upshift.store.ledger import Ledger
from upshift.store.postgres_journal import PostgresJournal
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.postgres_verify import verify_postgres
from upshift.store.schema import StoreVersionError
from upshift.store.verify import Verification

__all__ = ["database_url", "postgres"]


class _Database:
    def __init__(self, url: str) -> None:
        self._url = url

    def journal(self) -> Journal:
        return PostgresJournal(self._url)

    async def ledger(self) -> Ledger:
        seat = keeper_seat.take(self._url, "", "", 0.0)
        assert seat is not None
        return await PostgresLedger.open(self._url, seat, NOW)

    def verified(self) -> Verification:
        return verify_postgres(self._url)


class TestPostgresJournal(JournalConformance):
    @pytest.fixture
    def place(self, database_url: str) -> Place:
        return _Database(database_url)


def test_a_restarted_server_is_found_again(postgres: Server, database_url: str) -> None:
    journal = PostgresJournal(database_url)
    journal.apply_plan(PLAN, b"one", "pilot", "mia", NOW)
    postgres.stop()
    with pytest.raises(StoreTroubleError):
        journal.version()
    postgres.start()
    before = journal.version()
    postgres.stop()
    postgres.start()
    journal.add_key(key("k1"))
    assert journal.version() == before + 1
    postgres.stop()
    postgres.start()
    assert journal.version() == before + 1
    journal.close()


def test_threads_share_a_journal(database_url: str) -> None:
    journal = PostgresJournal(database_url)

    def issue(first: int) -> None:
        for number in range(first, first + 10):
            journal.add_key(key(f"k{number}"))
            journal.version()

    threads = [threading.Thread(target=issue, args=(first,)) for first in range(0, 80, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.keys()) == 80
    journal.close()
    found = verify_postgres(database_url)
    assert found.ok, found.problems
    assert found.entries == 80


def test_a_database_without_tables_is_refused(postgres: Server) -> None:
    name = postgres.empty_database()
    with pytest.raises(StoreVersionError, match="upshift db migrate"):
        PostgresJournal(postgres.url(name))
    postgres.drop(name)


def test_text_that_no_row_can_have_is_a_wrong_value(database_url: str) -> None:
    journal = PostgresJournal(database_url)
    with pytest.raises(ValueError, match="NUL"):
        journal.call(RequestId("a\0b"))
    with pytest.raises(ValueError, match="NUL"):
        journal.calls({Dimension.USER: "\0"})
    assert journal.calls() == []
    journal.close()
