"""Do totals and what is sent follow a ledger on PostgreSQL as they do one in a file?"""

import msgspec
from tests.admin.installation import NOW, Installation, alert
from tests.engine.test_totals import MINUTE, added, sums, timed, times
from tests.postgres import database_url, postgres  # noqa: F401 - fixtures

from upshift.engine.follow import calls_after, last_call
from upshift.engine.totals import Follower
from upshift.store import keeper_seat
from upshift.store.engines import open_journal
from upshift.store.place import parse
from upshift.store.postgres_ledger import PostgresLedger


async def test_totals_are_those_of_all_calls(database_url: str, installation: Installation) -> None:  # noqa: F811 - the fixture
    journal = open_journal(parse(database_url))
    told = [
        msgspec.structs.replace(
            installation.call(at=NOW - each * MINUTE), latency_us=each * 1_000, first_byte_us=each % 5, overhead_us=each
        )
        for each in (40_000, 90, 20, 5, 1)
    ]
    seat = keeper_seat.take(database_url, "here", "secret", 600.0)
    assert seat is not None
    ledger = await PostgresLedger.open(database_url, seat, NOW)
    follower = Follower(journal, lambda: NOW)
    for part in (told[:3], told[3:]):
        for record in part:
            # Only what is recorded counts here: no budget was charged.
            ledger.note(msgspec.structs.replace(record, cost=0, counted=0, counted_tokens=0), record.started)
        ledger.append(alert(70 if part[0] is told[0] else 90))
        await ledger.flushed()
        follower.tick()
    await ledger.close()
    later = Follower(journal, lambda: NOW)
    later.tick()
    noted = [msgspec.structs.replace(each, cost=0, counted=0, counted_tokens=0) for each in told]
    assert sums(follower) == sums(later) == added(noted)
    assert times(follower) == timed(noted[3:])
    found = [call.record.request for _, calls in calls_after(journal, 0, last_call(journal), 2) for call in calls]
    assert found == [each.request for each in told]
    journal.close()
