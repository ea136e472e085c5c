"""Does verification see every way in which a ledger file can be wrong?"""

import sqlite3
from pathlib import Path

import pytest
from tests.conformance.ledger import ALICE, ALICE_TODAY, NOW, ceiling, let_in, record, tokens

from upshift.model.entry import Decision, Grant
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import verify


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    ledger = await SqliteLedger.open(path, NOW)
    for number in range(3):
        ticket = await let_in(ledger, f"r{number}", ceiling(tokens(10), 1000, ALICE, ALICE_TODAY))
        await ledger.durable(ticket.mark)
        ledger.extend(ticket, lambda _: tokens(2), NOW)
        await ledger.durable(ledger.settle(ticket, NOW, tokens(4), record(f"r{number}", tokens(4))))
    await let_in(ledger, "open", ceiling(tokens(10), 1000, ALICE))
    ledger.append(Grant("g1", NOW, (ALICE,), tokens(1), "mia", "more"))
    await ledger.durable(ledger.note(record("noted"), NOW))
    await ledger.close()
    return path


def test_a_sound_file(path: Path) -> None:
    found = verify(path)
    assert found.problems == ()
    assert found.ok
    assert (found.entries, found.calls, found.open_holds) == (12, 4, 1)


async def test_the_digest_stands_for_the_whole_file(path: Path) -> None:
    before = verify(path)
    ledger = await SqliteLedger.open(path, NOW)
    await ledger.durable(ledger.append(Decision("d", NOW, "override", "", "", "mia", {})) or 0)
    await ledger.close()
    after = verify(path)
    assert after.ok
    assert after.digest != before.digest
    assert after.open_holds == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE entries SET nano = nano + 1 WHERE seq = 3", "not what was written"),
        ("UPDATE entries SET nano = nano + 1 WHERE seq = 3", "count different amounts"),
        ("UPDATE entries SET at = at + 1 WHERE seq = 1", "not what was written"),
        ("UPDATE calls SET user = 'bob' WHERE seq = 3", "not what was written"),
        ("UPDATE calls SET counted = 0 WHERE seq = 3", "count different amounts"),
        ("UPDATE calls SET request = 'x' WHERE seq = 3", "has the record of x"),
        ("UPDATE budgets SET user = 'bob'", "not what was written"),
        ("UPDATE counters SET settled_tokens = 0", "its entries say"),
        ("DELETE FROM counters WHERE budget = 1", "is missing"),
        ("DELETE FROM calls WHERE seq = 3", "without its call's record"),
        ("DELETE FROM entries WHERE seq = 3", "record without the entry"),
        ("DELETE FROM entries WHERE seq = 1", "closed without a hold"),
        ("DELETE FROM entries WHERE seq = 2", "another amount than was held"),
        ("DELETE FROM entries WHERE seq = 5", "not all there"),
        ("DELETE FROM groups WHERE first_seq = 1", "ends at entry 0"),
        ("DELETE FROM groups WHERE last_seq = (SELECT max(last_seq) FROM groups)", "that no group covers"),
        ("UPDATE calls SET seq = 1 WHERE seq = 3", "hold has a call's record"),
        ("DROP INDEX entries_once; UPDATE entries SET id = 'r0' WHERE seq = 6", "closed more than once"),
        ("DROP INDEX entries_once; UPDATE entries SET id = 'r0' WHERE seq = 4", "opened more than once"),
        ("UPDATE entries SET id = 'r0' WHERE seq = 8", "held after it was closed"),
    ],
)
def test_tampering_is_seen(path: Path, change: str, said: str) -> None:
    db = sqlite3.connect(path)
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    db.executescript(change)
    db.close()
    found = verify(path)
    assert not found.ok
    assert any(said in problem.what for problem in found.problems), found.problems


@pytest.mark.parametrize("table", ["entries", "calls", "groups", "budgets"])
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "UPDATE {} SET rowid = 9"])
def test_the_file_refuses_changes_of_what_was_appended(path: Path, table: str, verb: str) -> None:
    db = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(verb.format(table))
    db.close()
