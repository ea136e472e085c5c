"""Does everything arrive in another store, verified, or nothing at all?"""

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from tests.conformance.journal import key
from tests.conformance.ledger import ALICE, NOW, PLAN, ceiling, let_in, record, tokens
from tests.postgres import Server, database_url, postgres

from upshift.model.entry import Alert, Decision, Grant
from upshift.model.feedback import Origin, Quality, Reported, Source
from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.model.span import MICROS
from upshift.store import engines, keeper_seat
from upshift.store.journal import Dimension, Journal
from upshift.store.lock import LedgerInUseError
from upshift.store.move import MoveError, move
from upshift.store.place import Place, PostgresUrl, parse
from upshift.store.postgres import Connection
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.sqlite_ledger import SqliteLedger

__all__ = ["database_url", "postgres"]


def silent(table: str, done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A file with something in every table, an open hold included."""
    path = tmp_path / "upshift.db"
    asyncio.run(fill(path))
    return path


async def fill(path: Path) -> None:
    ledger = await SqliteLedger.open(path, NOW)
    for number in range(40):
        ticket = await let_in(ledger, f"r{number}", ceiling(tokens(5), 1000, ALICE))
        ledger.settle(ticket, NOW + number, tokens(3), record(f"r{number}", tokens(3)))
    for month in range(3):
        started = NOW - month * 31 * 86_400 * MICROS
        ledger.note(
            Metered(request=RequestId(f"n{month}"), started=started, plan=PLAN, user='é"\\ \t\n{}', cost=None), NOW
        )
    ledger.append(Grant("g1", NOW, (ALICE,), tokens(9), "mia", "more"))
    ledger.append(Alert("al1", NOW, ALICE, 70, "tokens", 71, 100, None, PLAN))
    await let_in(ledger, "open", ceiling(tokens(5), 1000, ALICE))
    await ledger.flushed()
    ledger.abandon()
    journal = engines.open_journal(path)
    journal.apply_plan(PLAN, b"\x00one", "pilot", "mia", NOW)
    for number in (3, 1, 2):
        journal.add_key(key(f"k{number}"))
    journal.decide(Decision("d1", NOW, "override", "acme", "gate 2", "mia", {"x": None}))
    journal.ask(Grant("g2", NOW, (ALICE,), tokens(1), "mia", "more"))
    journal.claim_delivery("al1", "mail", NOW)
    for number in (3, 1, 2):
        report = Quality(f"acme/{number}", NOW, Origin(agent="ada"), 0.5)
        journal.add_feedback([Reported(report, "acme", "k", Source.CALLER, NOW)])
    journal.close()


def told(journal: Journal) -> list[object]:
    """What people's tools are told."""
    answers: list[object] = [
        journal.plans(), journal.keys(), journal.consents(), journal.decisions(), journal.calls(limit=1000),
        journal.balances(), journal.alerts(), journal.feedback(),
        journal.usage([Dimension.WORKLOAD, Dimension.DAY], 0, NOW * 2),
    ]  # fmt: skip
    journal.close()
    return answers


def test_a_file_moves_to_a_server_and_back(full: Path, database_url: str, tmp_path: Path) -> None:
    before, digest = told(engines.open_journal(full)), engines.verify(full).digest
    server, back = parse(database_url), tmp_path / "back.db"
    moved = move(full, server, silent)
    assert moved.digest == digest
    assert moved.rows["calls"] == 43
    assert moved.rows["keys"] == 3
    assert all(moved.rows[table] for table in moved.rows)
    assert told(engines.open_journal(server)) == before
    assert told(engines.open_journal(full)) == before
    again = move(server, back, silent)
    assert again == moved
    assert told(engines.open_journal(back)) == before


async def test_what_was_in_flight_is_recovered_after_the_move(full: Path, database_url: str) -> None:
    move(full, parse(database_url), silent)
    seat = keeper_seat.take(database_url, "", "", 60.0)
    assert seat is not None
    ledger = await PostgresLedger.open(database_url, seat, NOW)
    assert ledger.recovered.requests == ("open",)
    await ledger.durable(ledger.append(Grant("g3", NOW, (ALICE,), tokens(1), "mia", "more")) or 0)
    await ledger.close()
    verified = engines.verify(parse(database_url))
    assert verified.ok, verified.problems
    journal = engines.open_journal(parse(database_url))
    journal.add_key(key("k4"))
    found = journal.keys()
    assert [each.id for each in found] == ["k3", "k1", "k2", "k4"]
    journal.close()


def test_a_target_that_is_not_empty_is_refused(full: Path, database_url: str) -> None:
    journal = engines.open_journal(parse(database_url))
    journal.add_key(key("k9"))
    journal.close()
    with pytest.raises(MoveError, match=r"not empty"):
        move(full, parse(database_url), silent)
    with pytest.raises(MoveError, match=r"not empty"):
        move(parse(database_url), full, silent)


async def test_a_running_gateway_keeps_its_store(full: Path, database_url: str) -> None:
    ledger = await SqliteLedger.open(full, NOW)
    with pytest.raises(LedgerInUseError):
        move(full, parse(database_url), silent)
    await ledger.close()
    seat = keeper_seat.take(database_url, "host:1", "", 60.0)
    assert seat is not None
    with pytest.raises(MoveError, match="host:1"):
        move(full, parse(database_url), silent)
    keeper_seat.give_up(seat)
    move(full, parse(database_url), silent)


def test_interrupted_it_leaves_nothing_and_can_be_repeated(full: Path, database_url: str, tmp_path: Path) -> None:
    class _EnoughError(Exception):
        pass

    def interrupt(table: str, done: int, total: int) -> None:
        if table == "deliveries":
            raise _EnoughError

    targets: list[Place] = [parse(database_url), tmp_path / "other.db"]
    for target in targets:
        with pytest.raises(_EnoughError):
            move(full, target, interrupt)
        journal = engines.open_journal(target)
        assert (journal.calls(), journal.keys(), journal.balances()) == ([], [], [])
        journal.close()
        assert move(full, target, silent).rows["calls"] == 43


def test_nobody_writes_while_it_is_moved(full: Path, database_url: str) -> None:
    def write(table: str, done: int, total: int) -> None:
        other = sqlite3.connect(full, timeout=0)
        with contextlib.closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("UPDATE changes SET number = number + 1")

    move(full, parse(database_url), write)


def test_text_that_the_server_cannot_keep_is_named(full: Path, database_url: str) -> None:
    with contextlib.closing(sqlite3.connect(full, isolation_level=None)) as db:
        db.execute("INSERT INTO deliveries VALUES ('a' || char(0), 'mail', 1, 1, NULL, NULL, '')")
    with pytest.raises(MoveError, match="NUL"):
        move(full, parse(database_url), silent)


def test_what_is_not_there_is_said(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(MoveError, match="no database"):
        move(tmp_path / "missing.db", parse(database_url), silent)


def test_a_copy_that_differs_is_not_kept(full: Path, database_url: str) -> None:
    with contextlib.closing(sqlite3.connect(full, isolation_level=None)) as db:
        db.execute("DROP TRIGGER calls_no_update")
        db.execute("UPDATE calls SET cost = cost + 1 WHERE seq = (SELECT min(seq) FROM calls)")
    with pytest.raises(MoveError, match="does not verify"):
        move(full, parse(database_url), silent)


def test_months_that_were_dropped_stay_where_they_were(postgres: Server, database_url: str, tmp_path: Path) -> None:
    url = parse(database_url)
    assert isinstance(url, PostgresUrl)
    with Connection.open(database_url) as db:
        db.execute(
            "INSERT INTO deeds (seq, kind, id, at, plan, topic, keys, tokens, nano, detail) VALUES "
            """(1, 'decision', 'x', 0, '', 'retention', '[]', 0, 0, '{"by":"","detail":{"last_seq":5}}')"""
        )
    with pytest.raises(MoveError, match="dropped"):
        move(url, tmp_path / "new.db", silent)
