"""Does the ledger go on while its database is away, and does the database hear of everything, once?"""

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.conformance.ledger import ALICE, BOB, NOW, PLAN, ceiling, let_in, record, tokens
from tests.postgres import Server
from tests.store.postgres_place import PostgresPlace

from upshift.model.budget import Balance
from upshift.model.entry import Decision, Entry, Hold, Note, Release, Settle
from upshift.model.ids import RequestId
from upshift.model.metered import Outcome
from upshift.store.away_log import AwayLog, Sat
from upshift.store.group import GroupWriter
from upshift.store.ledger import Deny, LedgerUnavailableError
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.recovery import open_holds
from upshift.store.replay import tell_log
from upshift.store.schema import connect, prepare
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import verify

BACK_SECONDS = 60.0


@pytest.fixture
def place(postgres: Server) -> Iterator[PostgresPlace]:
    place = PostgresPlace(postgres)
    yield place
    place.leave()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AwayLog]:
    log = AwayLog(tmp_path / "upshift.away")
    yield log
    log.close()


@pytest.fixture
async def ledger(place: PostgresPlace, log: AwayLog) -> AsyncIterator[PostgresLedger]:
    ledger = await place.open(log=log)
    yield ledger
    ledger.abandon()


async def call(ledger: PostgresLedger, request: str, spent: int = 3, limit: int = 10**9) -> None:
    """One call from its hold to its record on disk."""
    ticket = await let_in(ledger, request, ceiling(tokens(5), limit, ALICE))
    await ledger.durable(ledger.settle(ticket, NOW, tokens(spent), record(request, tokens(spent))))


async def home(ledger: PostgresLedger) -> None:
    """Until the database has been told everything."""
    async with asyncio.timeout(BACK_SECONDS):
        while ledger.away or ledger.owes:  # noqa: ASYNC110 - asked for again and again, as a health check does
            await asyncio.sleep(0.01)


def read_only(place: PostgresPlace) -> None:
    # As after a fail-over to a standby, or by a disk that is full to its last byte.
    place.do(f"ALTER DATABASE {place.name} SET default_transaction_read_only = on")
    place.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'upshift%'")


def writable(place: PostgresPlace) -> None:
    place.server.sql("postgres", f"ALTER DATABASE {place.name} RESET default_transaction_read_only")
    place.server.sql(
        "postgres",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{place.name}' "
        "AND pid <> pg_backend_pid()",
    )


Fault = tuple[Callable[[PostgresPlace], None], Callable[[PostgresPlace], None]]
FAULTS: dict[str, Fault] = {
    "stopped": (lambda place: place.server.stop(), lambda place: place.server.start()),
    "hanging": (lambda place: place.server.pause(), lambda place: place.server.go_on()),
    "read-only": (read_only, writable),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_calls_go_on_without_the_database(
    place: PostgresPlace, ledger: PostgresLedger, log: AwayLog, fault: str
) -> None:
    breaks, mends = FAULTS[fault]
    await call(ledger, "before")
    await asyncio.to_thread(breaks, place)
    try:
        for number in range(5):
            await call(ledger, f"away-{number}")
        assert ledger.away
        assert ledger.owes
        assert ledger.owed >= 9
        assert ledger.healthy
        # A counter that nobody has touched is empty, as long as all of them are in memory.
        ticket = await let_in(ledger, "bob", ceiling(tokens(5), 5, BOB))
        await ledger.durable(ticket.mark)
        assert isinstance(
            await ledger.decide(RequestId("more"), PLAN, lambda: NOW, ceiling(tokens(1), 5, BOB), 0.0), Deny
        )
    finally:
        await asyncio.to_thread(mends, place)
    await home(ledger)
    assert ledger.owed == 0
    await call(ledger, "after")
    await ledger.durable(ledger.release(ticket, NOW, record("bob")))
    assert set(place.records()) == {"before", *(f"away-{number}" for number in range(5)), "after", "bob"}
    assert place.balances()[ALICE] == Balance(settled=tokens(21))
    (episode,) = ledger.told()
    assert episode.entries >= 11
    assert not ledger.told()
    again = AwayLog(log.path.with_name("copy"))
    again.close()
    assert again.entries == []


async def test_a_ceiling_holds_over_the_time_without_the_database(place: PostgresPlace, ledger: PostgresLedger) -> None:
    await call(ledger, "before", 5, 12)
    place.server.stop()
    try:
        await call(ledger, "away", 5, 12)
        rule = ceiling(tokens(5), 12, ALICE)
        assert isinstance(await ledger.decide(RequestId("more"), PLAN, lambda: NOW, rule, 0.0), Deny)
    finally:
        place.server.start()
    await home(ledger)
    assert place.balances()[ALICE] == Balance(settled=tokens(10))


async def test_what_a_dead_process_acknowledged_is_told_by_its_log(
    place: PostgresPlace, ledger: PostgresLedger, log: AwayLog, tmp_path: Path
) -> None:
    held = await let_in(ledger, "before", ceiling(tokens(5), 100, ALICE))
    await ledger.durable(held.mark)
    place.server.stop()
    try:
        await call(ledger, "away")
        await ledger.durable(ledger.settle(held, NOW, tokens(4), record("before", tokens(4))))
        open_ = await let_in(ledger, "open", ceiling(tokens(5), 100, ALICE))
        await ledger.durable(open_.mark)
        ledger.abandon()
        log.close()
        shutil.copy(log.path, tmp_path / "copy")
    finally:
        place.server.start()
    for path in (log.path, tmp_path / "copy"):
        # A log that is told once more, by whoever did not know that it had been told, changes nothing.
        again = AwayLog(path)
        assert again.entries
        follower = await place.open(log=again)
        assert follower.balance(ALICE) == Balance(settled=tokens(12))
        assert not again.entries
        follower.abandon()
        again.close()
    assert place.counted() == {"away": 3, "before": 4, "open": 5}
    assert place.records()[RequestId("open")].outcome is Outcome.LOST
    assert [kind for (kind,) in place.rows("SELECT topic FROM deeds ORDER BY seq")] == ["store-away", "recovery"]


async def test_the_same_process_is_the_keeper_again(place: PostgresPlace, ledger: PostgresLedger, log: AwayLog) -> None:
    """As after its seat's time was over before the database was back."""
    place.server.stop()
    try:
        await call(ledger, "away")
        ledger.abandon()
    finally:
        place.server.start()
    assert log.entries
    again = await place.open(log=log)
    assert again.balance(ALICE) == Balance(settled=tokens(3))
    assert not log.entries
    await call(again, "after")
    assert place.counted() == {"away": 3, "after": 3}


async def test_a_log_that_cannot_be_written_refuses(place: PostgresPlace, ledger: PostgresLedger, log: AwayLog) -> None:
    await call(ledger, "before")
    place.server.stop()
    try:
        log.close()
        ticket = await let_in(ledger, "away", ceiling(tokens(5), 100, ALICE))
        while ledger.healthy:  # noqa: ASYNC110 - until the writer has noticed
            await asyncio.sleep(0.01)
        with pytest.raises(LedgerUnavailableError, match="Bad file descriptor"):
            await let_in(ledger, "more", ceiling(tokens(5), 100, ALICE))
    finally:
        place.server.start()
    await ledger.durable(ledger.release(ticket, NOW, record("away")))
    assert set(place.records()) == {"before", "away"}


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.conformance.ledger import ALICE, ALICE_TODAY, NOW, ceiling, let_in, record, tokens
from upshift.store.away_log import AwayLog, Sat
from upshift.store.keeper_seat import take
from upshift.store.postgres_ledger import PostgresLedger

async def main():
    url, path = sys.argv[1:]
    log = AwayLog(Path(path))
    seat = take(url, "here", "secret", 600.0)
    log.sit(Sat(seat.epoch, seat.secret))
    ledger = await PostgresLedger.open(url, seat, NOW, log=log, lookup_seconds=20.0)
    async def worker(name):
        number = 0
        while True:
            number += 1
            request = f"{name}-{number}"
            ticket = await let_in(ledger, request, ceiling(tokens(5), 10**9, ALICE, ALICE_TODAY))
            await ledger.durable(ledger.settle(ticket, NOW, tokens(3), record(request, tokens(3))))
            print(request, "away" if ledger.away else "home", flush=True)
    await asyncio.gather(*(worker(name) for name in range(20)))

asyncio.run(main())
"""


async def test_what_was_acknowledged_without_the_database_survives_kill_9(place: PostgresPlace, tmp_path: Path) -> None:
    script, path = tmp_path / "killed.py", tmp_path / "upshift.away"
    script.write_text(KILLED)
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), place.url, str(path), cwd=root, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"},
    )  # fmt: skip
    assert process.stdout is not None
    said = [(await process.stdout.readline()).decode() for _ in range(50)]
    await asyncio.to_thread(place.server.stop)
    try:
        while sum(each.endswith("away\n") for each in said) < 200:
            said.append((await process.stdout.readline()).decode())
            assert said[-1], "it has ended"
        process.send_signal(signal.SIGKILL)
        rest = (await process.stdout.read()).decode()
        await process.wait()
    finally:
        await asyncio.to_thread(place.server.start)
    # The last line may be torn, since it was being written when the process died.
    acknowledged = {each.split()[0] for each in [*said, *rest.splitlines()[: rest.count("\n")]]}
    log = AwayLog(path)
    assert log.entries
    ledger = await place.open(log=log)
    balance = ledger.balance(ALICE)
    ledger.abandon()
    log.close()
    served = {record.request for record in place.records().values() if record.outcome is Outcome.SERVED}
    lost = len(place.records()) - len(served)
    assert acknowledged <= served
    assert balance == Balance(settled=tokens(3 * len(served) + 5 * lost))


# What part of the log had reached the database does not matter. On a file, which is quick to make.

R1, R2, R3, R4 = map(RequestId, ("r1", "r2", "r3", "r4"))
BEFORE: tuple[Entry, ...] = (Hold(R1, NOW, PLAN, (ALICE,), tokens(5), record("r1")),)
LOGGED: tuple[Entry, ...] = (
    Hold(R1, NOW + 1, PLAN, (ALICE,), tokens(2)),
    Hold(R2, NOW + 1, PLAN, (ALICE, BOB), tokens(7), record("r2")),
    Hold(R1, NOW + 1, PLAN, (ALICE,), tokens(2)),
    Note(R3, NOW + 2, record("r3", outcome=Outcome.REFUSED)),
    Settle(R1, NOW + 2, (ALICE,), tokens(9), tokens(8), record("r1", tokens(8))),
    Decision("d1", NOW + 2, "late-closing", "acme", "r0", "system", {"tokens": 1}),
    Hold(R4, NOW + 3, PLAN, (BOB,), tokens(4), record("r4")),
    Release(R2, NOW + 3, (ALICE, BOB), tokens(7), record("r2")),
)


def tell(path: Path, log: Path, entries: Sequence[Entry], epoch: int) -> int:
    """Keep a log of these entries, by who sat in seat 1, and tell it to whoever sits in this one."""
    kept = AwayLog(log)
    kept.sit(Sat(1, "secret"))
    kept.append(entries)
    kept.close()
    kept = AwayLog(log)
    groups, db = GroupWriter(path), connect(path)
    try:
        return tell_log(groups, lambda request: _outcome(db, request), kept, epoch, NOW + 9)
    finally:
        groups.close()
        db.close()
        kept.close()


def _outcome(db: sqlite3.Connection, request: RequestId) -> Outcome | None:
    row = db.execute(
        "SELECT outcome FROM calls JOIN profiles ON profiles.id = calls.profile WHERE request = ?", (request,)
    ).fetchone()
    return None if row is None else Outcome(row[0])


def write(path: Path, *groups: Sequence[Entry]) -> None:
    writer = GroupWriter(path)
    open_holds(writer)
    for each in groups:
        if each:
            writer.write(each)
    writer.close()


async def balances(path: Path) -> tuple[Balance, Balance]:
    ledger = await SqliteLedger.open(path, NOW + 10, keep_open=True)
    try:
        return ledger.balance(ALICE), ledger.balance(BOB)
    finally:
        ledger.abandon()


@pytest.mark.parametrize("reached", range(len(LOGGED) + 1))
async def test_whatever_part_of_the_log_had_reached_the_database(tmp_path: Path, reached: int) -> None:
    path = tmp_path / "upshift.db"
    prepare(path)
    write(path, BEFORE, LOGGED[:reached])
    assert tell(path, tmp_path / "log", LOGGED, 2) == len(LOGGED) - reached
    assert tell(path, tmp_path / "log", LOGGED, 3) == 0
    assert await balances(path) == (Balance(settled=tokens(8)), Balance(held=tokens(4)))
    found = verify(path)
    assert found.ok, found.problems
    assert found.open_holds == 1


async def test_somebody_else_was_the_keeper_meanwhile(tmp_path: Path) -> None:
    """What others made of a call stands; what nobody else knew of is told; what was lost is told as it was."""
    path = tmp_path / "upshift.db"
    prepare(path)
    lost = record("r1", tokens(5), Outcome.LOST)
    theirs = (
        # The first keeper's hold was all that the second one knew of the first call.
        Settle(R1, NOW + 2, (ALICE,), tokens(5), tokens(5), lost),
        # The gateway presented the fourth one, which goes on.
        Hold(R4, NOW + 4, PLAN, (BOB,), tokens(4), record("r4")),
    )
    write(path, BEFORE, theirs)
    assert tell(path, tmp_path / "log", LOGGED, 3) == 5
    assert await balances(path) == (Balance(settled=tokens(5)), Balance(held=tokens(4)))
    db = connect(path)
    assert [id_ for (id_,) in db.execute("SELECT id FROM deeds ORDER BY seq")] == [
        "late-closing/r1", "d1", "store-away/3/told",
    ]  # fmt: skip
    db.close()
    assert verify(path).ok
    assert tell(path, tmp_path / "log", LOGGED, 4) == 0


async def test_a_call_that_others_hold_is_closed_with_what_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "upshift.db"
    prepare(path)
    write(path, BEFORE)
    tell(path, tmp_path / "log", LOGGED, 5)
    assert await balances(path) == (Balance(settled=tokens(8)), Balance(held=tokens(4)))
    assert verify(path).ok


def test_an_empty_log_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "upshift.db"
    prepare(path)
    assert tell(path, tmp_path / "log", (), 2) == 0
    assert verify(path).entries == 0
