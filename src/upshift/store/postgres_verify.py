"""Is the ledger in a PostgreSQL database sound? Read as of one moment, a piece at a time."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from upshift.store.postgres import Connection, troubles
from upshift.store.postgres_schema import VERSION, check_version
from upshift.store.retention import retained_from
from upshift.store.schema import StoreVersionError
from upshift.store.verify import Verification, check

_SECONDS = 3600.0
"""A whole month of calls may have to be sorted before the first row comes."""
_PIECE = 5_000


def verify_postgres(url: str) -> Verification:
    """Read the whole store as of now; a gateway may go on writing meanwhile.

    Raises StoreTroubleError when it cannot be read and StoreVersionError when it is not ours or not up to date.
    """
    with troubles(), Connection.open(url, _SECONDS) as db:
        found = check_version(db)
        if found < VERSION:
            raise StoreVersionError(f"the store has schema version {found}; migrate it to {VERSION} first")
        # This process may be slow between two pieces, which is no reason to end its transaction.
        db.execute("SET idle_in_transaction_session_timeout = 0")
        db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        numbers = count(1)

        def source(sql: str) -> Iterator[Any]:
            cursor = db.cursor(f"verify_{next(numbers)}")
            cursor.itersize = _PIECE
            return iter(cursor.execute(sql))

        return check(source, retained_from(db))
