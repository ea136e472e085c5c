"""Are totals kept up to date, and old months looked for now and then, whatever goes wrong in between?"""

from pathlib import Path

import pytest
from tests.conformance.ledger import PLAN
from tests.postgres import Server, database_url, postgres

from upshift.engine.upkeep import Upkeep
from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.store import keeper_seat
from upshift.store.backend import StoreTroubleError
from upshift.store.engines import keeping, open_journal
from upshift.store.place import parse
from upshift.store.postgres import Connection
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.totals import DAY

__all__ = ["database_url", "postgres"]

NOW = 1_795_000_000_000_000


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> int:
        return self.at


async def write(url: str, request: str, started: int) -> None:
    seat = keeper_seat.take(url, "", "", 0.0)
    assert seat is not None
    ledger = await PostgresLedger.open(url, seat, started)
    ledger.note(Metered(request=RequestId(request), started=started, plan=PLAN, tenant="acme"), started)
    await ledger.close()


def months(url: str) -> int:
    with Connection.open(url) as db:
        row = db.execute("SELECT count(*) FROM calls").fetchone()
    assert row is not None
    return int(row[0])


async def test_totals_follow_and_months_go(database_url: str) -> None:
    clock, store = Clock(), keeping(parse(database_url))
    await write(database_url, "old", NOW - 100 * DAY)
    await write(database_url, "new", NOW)
    upkeep = Upkeep(store, clock.now, retain_days=200)
    assert (upkeep.tick(), upkeep.tick()) == (2, 0)
    assert months(database_url) == 2
    upkeep = Upkeep(store, clock.now, retain_days=30)
    upkeep.tick()
    assert months(database_url) == 1
    await write(database_url, "late", NOW - 100 * DAY)
    assert upkeep.tick() == 1
    assert months(database_url) == 2
    clock.at += DAY
    upkeep.tick()
    assert months(database_url) == 1


async def test_a_server_that_is_away_is_waited_for(postgres: Server, database_url: str) -> None:
    store = keeping(parse(database_url))
    await write(database_url, "r1", NOW)
    upkeep = Upkeep(store, Clock().now, retain_days=0)
    postgres.stop()
    with pytest.raises(StoreTroubleError):
        upkeep.tick()
    postgres.start()
    assert upkeep.tick() == 1


async def test_a_file_is_kept_in_shape_as_well(tmp_path: Path) -> None:
    path = tmp_path / "upshift.db"
    ledger = await SqliteLedger.open(path, NOW)
    for request, started in (("old", NOW - 100 * DAY), ("new", NOW)):
        record = Metered(request=RequestId(request), started=started, plan=PLAN, tenant="acme")
        await ledger.durable(ledger.note(record, started))
    await ledger.close()
    upkeep = Upkeep(keeping(path), Clock().now, retain_days=30)
    assert (upkeep.tick(), upkeep.tick()) == (2, 0)
    journal = open_journal(path)
    assert [each.record.request for each in journal.calls()] == ["new"]
    assert journal.usage([], 0, NOW + 1)[0].calls == 2
    journal.close()
