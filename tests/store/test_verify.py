"""Does verification see every way in which a ledger file can be wrong?"""

import sqlite3
from pathlib import Path

import msgspec
import pytest
from tests.conformance.ledger import ALICE, ALICE_TODAY, NOW, ceiling, let_in, record, tokens

from upshift.model.entry import Decision, Grant
from upshift.store.rows import held_from, pack
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import verify


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    ledger = await SqliteLedger.open(path, NOW)
    for number in range(3):
        ticket = await let_in(ledger, f"r{number}", ceiling(tokens(10), 1000, ALICE, ALICE_TODAY))
        await ledger.durable(ticket.mark)
        await ledger.extend(ticket, lambda _: tokens(2), NOW)
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


TWICE = "DROP INDEX calls_once; UPDATE calls SET request = 'r0' WHERE seq = 6"
TORN = "UPDATE holds SET document = x'91' WHERE last_seq = 1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE calls SET counted = counted + 1 WHERE seq = 3", "not what was written"),
        ("UPDATE calls SET counted = counted + 1 WHERE seq = 3", "its entries say"),
        ("UPDATE calls SET counted = 'much' WHERE seq = 3", "not a number"),
        ("UPDATE calls SET at = at + 1 WHERE seq = 3", "not what was written"),
        ("UPDATE calls SET held_tokens = 0 WHERE seq = 3", "another amount than was held"),
        ("UPDATE calls SET request = 'x' WHERE seq = 3", "x was closed without a hold"),
        ("UPDATE calls SET profile = 99 WHERE seq = 3", "no profile of a call"),
        ("UPDATE profiles SET user = 'bob' WHERE id = 2", "not what was written"),
        ("UPDATE profiles SET kind = 'note' WHERE kind = 'settle'", "noted though it held"),
        ("UPDATE profiles SET kind = 'note' WHERE kind = 'settle'", "note of r0 counts"),
        ("UPDATE profiles SET kind = 'note' WHERE kind = 'hold'", "no profile of a hold"),
        ("DELETE FROM profiles WHERE id = 1", "no profile of a hold"),
        ("INSERT INTO profiles SELECT 99, 99, kind, keys, plan, tenant, user, tier, workload, pod, project, agent, "
         "key, dialect, streamed, requested_model, served_model, provider, outcome, status, bucket, reason, certainty "
         "FROM profiles WHERE id = 1", "profile that no group covers"),
        ("UPDATE deeds SET nano = nano + 1", "not what was written"),
        ("UPDATE deeds SET nano = 'much'", "not a number"),
        ("UPDATE budgets SET user = 'bob'", "not what was written"),
        ("UPDATE counters SET settled_tokens = 0", "its entries say"),
        ("DELETE FROM counters WHERE budget = 1", "is missing"),
        ("DELETE FROM calls WHERE seq = 3", "not all there"),
        ("DELETE FROM deeds", "not all there"),
        ("DELETE FROM holds WHERE last_seq = 1", "held more but was not open"),
        ("DELETE FROM holds", "closed without a hold"),
        ("UPDATE holds SET last_seq = 0 WHERE last_seq = 1", "holds that no group covers"),
        (TORN, "cannot be read"),
        (TORN, "not what was written"),
        ("DELETE FROM groups WHERE first_seq = 1", "ends at entry 0"),
        ("DELETE FROM groups WHERE last_seq = (SELECT max(last_seq) FROM groups)", "that no group covers"),
        ("DELETE FROM groups", "holds that no group covers"),
        (TWICE, "closed more than once"),
        (TWICE, "closed without a hold"),
    ],
)  # fmt: skip
def test_tampering_is_seen(path: Path, change: str, said: str) -> None:
    db = unlocked(path)
    db.executescript(change)
    db.close()
    complains(path, said)


def unlocked(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    return db


def complains(path: Path, said: str) -> None:
    found = verify(path)
    assert not found.ok
    assert any(said in problem.what for problem in found.problems), found.problems


@pytest.mark.parametrize(
    ("seq", "change", "said"),
    [
        (1, {"tokens": 11}, "not what was written"),
        (1, {"at": NOW + 1}, "not what was written"),
        (1, {"tokens": 11}, "another amount than was held"),
        (1, {"extends": True}, "held more but was not open"),
        (2, {"extends": False}, "opened more than once"),
        (4, {"request": "r0"}, "held after it was closed"),
        (4, {"seq": 5}, "not all there"),
        (4, {"profile": 99}, "no profile of a hold"),
    ],
)
def test_tampering_with_a_hold_is_seen(path: Path, seq: int, change: dict[str, object], said: str) -> None:
    db = unlocked(path)
    found = "SELECT last_seq, document FROM holds WHERE last_seq >= ? ORDER BY last_seq"
    last_seq, document = db.execute(found, (seq,)).fetchone()
    held = [msgspec.structs.replace(each, **change) if each.seq == seq else each for each in held_from(document)]
    db.execute("UPDATE holds SET document = ? WHERE last_seq = ?", (pack(held), last_seq))
    db.commit()
    db.close()
    complains(path, said)


@pytest.mark.parametrize("table", ["holds", "calls", "profiles", "deeds", "groups", "budgets"])
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "UPDATE {} SET rowid = 9"])
def test_the_file_refuses_changes_of_what_was_appended(path: Path, table: str, verb: str) -> None:
    db = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(verb.format(table))
    db.close()
