"""Is the condition of a file told as it is, whichever version wrote it last?"""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from upshift.store.condition import condition
from upshift.store.schema import CURRENT_DDL, VERSION, prepare


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file from which months were dropped."""
    found = tmp_path / "ledger.db"
    prepare(found)
    with sqlite3.connect(found) as db:
        db.execute("UPDATE rollup_state SET kept_from = 1793491200000000")
    db.close()
    return found


def test_a_file_of_before_the_last_step_is_told_about_in_full(path: Path) -> None:
    found = condition(path)
    assert (found.version, found.pending) == (VERSION, 0)
    assert found.kept_from is not None
    with sqlite3.connect(path) as db:
        for statement in CURRENT_DDL.strip().split("\n"):
            db.execute(f"DROP INDEX {statement.split()[2]}")
        db.execute(f"PRAGMA user_version = {1 << 16 | 3}")
    db.close()
    older = condition(path)
    assert (older.version, older.pending) == (3, VERSION - 3)
    assert msgspec.structs.replace(older, version=VERSION, pending=0, bytes=found.bytes) == found


def test_of_a_newer_file_nothing_is_pending(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {1 << 16 | VERSION + 1}")
    db.close()
    assert condition(path).pending == 0
