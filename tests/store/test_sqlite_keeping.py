"""Do totals keep up with an SQLite file, and do old months of it go, also when that was cut off on the way?"""

import sqlite3
from pathlib import Path

import pytest
from tests.conformance.keeping import LATER, KeepingConformance, Place, three_months
from tests.conformance.ledger import NOW

from upshift.store.backend import StoreTroubleError
from upshift.store.engines import Keeping
from upshift.store.journal import Journal
from upshift.store.ledger import Ledger
from upshift.store.retained import RetentionError
from upshift.store.schema import connect, prepare
from upshift.store.sqlite_journal import SqliteJournal
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.sqlite_retention import FileKeeping
from upshift.store.sqlite_rollup import lag, roll_up
from upshift.store.verify import Verification, verify


class _File:
    examples = 24

    def __init__(self, path: Path) -> None:
        self._path = path

    def journal(self) -> Journal:
        return SqliteJournal(self._path)

    async def ledger(self) -> Ledger:
        return await SqliteLedger.open(self._path, NOW)

    def keeping(self) -> Keeping:
        return FileKeeping(self._path, piece=3)

    def roll_up(self, piece: int) -> int | None:
        db = connect(self._path)
        try:
            return roll_up(db, piece)
        finally:
            db.close()

    def behind(self) -> int:
        db = connect(self._path)
        try:
            return lag(db)
        finally:
            db.close()

    def verified(self) -> Verification:
        return verify(self._path)


class TestSqliteKeeping(KeepingConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return _File(tmp_path / "ledger.db")


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    ledger = await SqliteLedger.open(path, NOW)
    await three_months(ledger)
    await ledger.close()
    return path


def test_what_was_cut_off_is_deleted_the_next_time(path: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.db"
    with sqlite3.connect(path) as db:
        db.execute("VACUUM INTO ?", (str(before),))
    db.close()
    FileKeeping(path).retain(LATER, 30)
    with sqlite3.connect(path) as db:
        db.execute("ATTACH ? AS before", (str(before),))
        # As if the process had died after the decision, with some calls deleted.
        db.execute("INSERT INTO calls SELECT * FROM before.calls WHERE seq BETWEEN 5 AND 12")
    db.close()
    journal = SqliteJournal(path)
    assert journal.usage([], 0, LATER)[0].calls == 30
    assert verify(path).ok
    assert FileKeeping(path).retain(LATER, 30) == []
    assert len(journal.calls()) == 10
    assert len(journal.decisions(["retention"])) == 1
    journal.close()


def test_nothing_but_what_was_dropped_can_be_deleted(path: Path) -> None:
    with sqlite3.connect(path) as db:
        for table in ("calls", "holds", "deeds"):
            db.execute(f"DELETE FROM {table} WHERE false")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            db.execute("DELETE FROM calls")
    db.close()
    FileKeeping(path).retain(LATER, 30)
    with sqlite3.connect(path) as db, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute("DELETE FROM calls WHERE started = (SELECT max(started) FROM calls)")
    db.close()


@pytest.mark.parametrize("table", ["facet_days", "outline_days", "outline_hours"])
def test_nothing_is_dropped_when_totals_are_wrong(path: Path, table: str) -> None:
    FileKeeping(path).catch_up()
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE {table} SET output = output + 1")
    db.close()
    with pytest.raises(RetentionError, match="2026-08"):
        FileKeeping(path).retain(LATER, 30)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM calls").fetchone() == (30,)
    db.close()


def test_two_who_roll_up_at_once_add_nothing_twice(path: Path) -> None:
    one, other = connect(path), connect(path)
    # The other one is there first, between what this one reads and what it writes.
    one.set_trace_callback(lambda sql: roll_up(other) and None if sql == "BEGIN IMMEDIATE" else None)
    assert roll_up(one) == 0
    one.set_trace_callback(None)
    assert one.execute("SELECT sum(calls) FROM outline_days").fetchone() == (30,)
    one.close()
    other.close()


def test_a_file_that_is_no_ledger_is_trouble(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("this is no database, though it is long enough for one to be looked for" * 20)
    with pytest.raises(StoreTroubleError):
        FileKeeping(path).catch_up()


def test_latencies_are_kept_as_one_number(path: Path) -> None:
    FileKeeping(path, piece=4).catch_up()
    prepare(path)
    with sqlite3.connect(path) as db:
        (found,) = db.execute("SELECT latencies FROM outline_days ORDER BY calls DESC LIMIT 1").fetchone()
    db.close()
    # A millisecond is in bucket floor(log2(1000) * 8).
    assert found.startswith("79:")
