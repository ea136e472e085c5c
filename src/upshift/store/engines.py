"""Which engine serves a place?"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from upshift.model.span import Instant
from upshift.store.group import troubles
from upshift.store.journal import Journal
from upshift.store.place import Place
from upshift.store.retained import Outcome
from upshift.store.schema import prepare as prepare_file
from upshift.store.sqlite_journal import SqliteJournal
from upshift.store.sqlite_retention import FileKeeping
from upshift.store.verify import Verification
from upshift.store.verify import verify as verify_file

# The driver of PostgreSQL takes a fifth of a second to import, and the tools of its migrations a second, which every
# command and every start on a file would pay for; hence by name.
_POSTGRES = "upshift.store.postgres_journal"
_POSTGRES_VERIFY = "upshift.store.postgres_verify"
_RETENTION = "upshift.store.retention"
_MIGRATE = "upshift.store.migrate"


class Keeping(Protocol):
    """Both raise StoreTroubleError."""

    def catch_up(self) -> int:
        """Add what is new to the totals; returns how many calls that was."""

    def retain(self, now: Instant, days: int, by: str = "system") -> Sequence[Outcome]:
        """Drop every whole month (UTC) that ended so many days ago, the oldest first; 0 drops nothing."""


def open_journal(place: Place) -> Journal:
    """The journal at a place; a file is created. Raises StoreVersionError, StoreTroubleError."""
    if isinstance(place, Path):
        return SqliteJournal(place)
    journal: Journal = importlib.import_module(_POSTGRES).PostgresJournal(place.url)
    return journal


def prepare(place: Place) -> bool:
    """Make the tables, or bring them to this version; True when there was something to do in PostgreSQL.

    Raises StoreVersionError, StoreTroubleError.
    """
    if isinstance(place, Path):
        with troubles():
            prepare_file(place)
        return False
    done: bool = importlib.import_module(_MIGRATE).prepare(place.url)
    return done


def keeping(place: Place) -> Keeping:
    """What has to be done for a store now and then."""
    if isinstance(place, Path):
        return FileKeeping(place)
    found: Keeping = importlib.import_module(_RETENTION).Keeping(place.url)
    return found


def verify(place: Place) -> Verification:
    """Read a whole ledger from end to end. Raises StoreVersionError, StoreTroubleError."""
    if isinstance(place, Path):
        with troubles():
            return verify_file(place)
    found: Verification = importlib.import_module(_POSTGRES_VERIFY).verify_postgres(place.url)
    return found
