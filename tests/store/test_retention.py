"""Do old months go whole, with their totals kept and a decision that says so, and only when nothing needs them?"""

from datetime import UTC, datetime

import msgspec
import pytest
from tests.conformance.ledger import ALICE, PLAN, ceiling, let_in, record, tokens
from tests.postgres import Server, database_url, postgres

from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.model.span import to_instant
from upshift.model.tokens import Usage
from upshift.store import keeper_seat
from upshift.store.postgres import Connection
from upshift.store.postgres_journal import PostgresJournal
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.postgres_verify import verify_postgres
from upshift.store.retained import Dropped, Kept, RetentionError, said
from upshift.store.retention import Keeping, retain, retained_from
from upshift.store.rollup import Rollups
from upshift.store.totals import DAY, HOUR

__all__ = ["database_url", "postgres"]

AUGUST, SEPTEMBER, NOVEMBER = (to_instant(datetime(2026, month, 1, tzinfo=UTC)) for month in (8, 9, 11))
NOW = NOVEMBER + 20 * DAY


async def opened(url: str) -> PostgresLedger:
    seat = keeper_seat.take(url, "", "", 0.0)
    assert seat is not None
    return await PostgresLedger.open(url, seat, NOW)


def call(request: str, started: int) -> Metered:
    usage = Usage(100, 40, 3, 2, 20, 5)
    made = Metered(request=RequestId(request), started=started, plan=PLAN, tenant="acme", usage=usage, cost=7)
    return msgspec.structs.replace(made, latency_us=1000, workload="chat")


async def three_months(url: str) -> None:
    ledger = await opened(url)
    for number in range(30):
        started = AUGUST + number * 25 * HOUR if number < 20 else NOVEMBER + number * HOUR
        ledger.note(call(f"r{number}", started + 1), started + 1)
    await ledger.flushed()
    await ledger.close()


async def test_calls_that_come_late_are_kept_and_dropped_with_the_next_look(database_url: str) -> None:
    await three_months(database_url)
    ledger = await opened(database_url)
    retain(database_url, NOW, 30)
    await ledger.durable(ledger.note(call("late", AUGUST + 5), NOW))
    journal = PostgresJournal(database_url)
    assert journal.usage([], AUGUST, SEPTEMBER)[0].calls == 21
    (done, _) = retain(database_url, NOW, 30)
    assert isinstance(done, Dropped)
    assert done.calls == 1
    assert journal.usage([], AUGUST, SEPTEMBER)[0].calls == 21
    await ledger.durable(ledger.note(call("now", NOW), NOW))
    await ledger.close()
    journal.close()


async def test_what_calls_held_goes_with_them(database_url: str) -> None:
    ledger = await opened(database_url)
    ticket = await let_in(ledger, "old", ceiling(tokens(5), 100, ALICE))
    held = msgspec.structs.replace(record("old", tokens(3)), started=AUGUST)
    await ledger.durable(ledger.settle(ticket, AUGUST, tokens(3), held))
    still = await let_in(ledger, "open", ceiling(tokens(5), 100, ALICE))
    await ledger.durable(ledger.note(call("c", AUGUST), AUGUST))
    (kept, _) = retain(database_url, NOW, 30)
    assert isinstance(kept, Kept)
    assert "still open" in kept.why
    await ledger.durable(ledger.settle(still, NOW, tokens(1), msgspec.structs.replace(record("open"), started=NOW)))
    with Connection.open(database_url) as db:
        assert db.execute("SELECT count(*) FROM holds").fetchone() != (0,)
        assert "2026-08: 2 calls dropped" in said(Keeping(database_url).retain(NOW, 30)[0])
        low = db.execute("SELECT count(*) FROM holds WHERE last_seq <= %s", (retained_from(db),)).fetchone()
        assert low == (0,)
        with pytest.raises(Exception, match="append-only"):
            db.execute("DELETE FROM deeds")
        with pytest.raises(Exception, match="append-only"):
            db.execute("DELETE FROM calls")
    await ledger.close()
    verified = verify_postgres(database_url)
    assert verified.ok, verified.problems
    with Connection.open(database_url) as db:
        db.execute("ALTER TABLE deeds DISABLE TRIGGER USER")
        db.execute("UPDATE deeds SET at = at + 1 WHERE topic = 'retention'")
    assert not verify_postgres(database_url).ok


async def test_a_month_that_somebody_reads_is_kept(database_url: str) -> None:
    await three_months(database_url)
    with Connection.open(database_url) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM calls")
        (kept, *_) = retain(database_url, NOW, 30)
        assert isinstance(kept, Kept)
        assert "reading" in kept.why
        reader.execute("ROLLBACK")
    assert isinstance(retain(database_url, NOW, 30)[0], Dropped)


async def test_wrong_totals_keep_their_calls(database_url: str) -> None:
    await three_months(database_url)
    Rollups(database_url).catch_up()
    with Connection.open(database_url) as db:
        db.execute("UPDATE outline_hours SET cost = cost + 1 WHERE hour = (SELECT min(hour) FROM outline_hours)")
        with pytest.raises(RetentionError, match="2026-08"):
            retain(database_url, NOW, 30)
        assert db.execute("SELECT count(*) FROM calls").fetchone() == (30,)


async def test_nothing_goes_unless_it_is_asked_for(postgres: Server, database_url: str) -> None:
    await three_months(database_url)
    assert retain(database_url, NOW, 0) == []
    assert retain(database_url, NOW, 365) == []
