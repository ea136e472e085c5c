"""Do totals keep up with a PostgreSQL database, and do old months of it go?"""

import pytest
from tests.conformance.keeping import KeepingConformance, Place
from tests.conformance.ledger import NOW
from tests.postgres import database_url, postgres

from upshift.store import keeper_seat
from upshift.store.engines import Keeping
from upshift.store.journal import Journal
from upshift.store.ledger import Ledger
from upshift.store.postgres import Connection
from upshift.store.postgres_journal import PostgresJournal
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.postgres_verify import verify_postgres
from upshift.store.retention import Keeping as ServerKeeping
from upshift.store.rollup import lag, roll_up
from upshift.store.verify import Verification

__all__ = ["database_url", "postgres"]


class _Database:
    examples = 8

    def __init__(self, url: str) -> None:
        self._url = url

    def journal(self) -> Journal:
        return PostgresJournal(self._url)

    async def ledger(self) -> Ledger:
        seat = keeper_seat.take(self._url, "", "", 0.0)
        assert seat is not None
        return await PostgresLedger.open(self._url, seat, NOW)

    def keeping(self) -> Keeping:
        return ServerKeeping(self._url)

    def roll_up(self, piece: int) -> int | None:
        with Connection.open(self._url) as db:
            return roll_up(db, piece)

    def behind(self) -> int:
        with Connection.open(self._url) as db:
            return lag(db)

    def verified(self) -> Verification:
        return verify_postgres(self._url)


class TestPostgresKeeping(KeepingConformance):
    @pytest.fixture
    def place(self, database_url: str) -> Place:
        return _Database(database_url)
