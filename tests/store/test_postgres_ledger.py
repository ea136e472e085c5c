"""Does the ledger on PostgreSQL keep the contract through lost connections, hung servers and a change of keepers?"""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.conformance.ledger import (
    ALICE,
    ALICE_TODAY,
    BOB,
    NOW,
    PLAN,
    LedgerConformance,
    at,
    ceiling,
    let_in,
    record,
    settled,
    tokens,
    turns,
)
from tests.postgres import Server
from tests.store.postgres_place import PostgresPlace, Proxy
from tests.store.test_ledger_machine import Machine

from upshift.model.budget import Balance
from upshift.model.entry import Decision, Entry, Grant, Hold, Note, Settle
from upshift.model.ids import RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import MICROS
from upshift.model.tokens import Certainty
from upshift.store.backend import FencedError, StoreTroubleError
from upshift.store.draft import ConflictError
from upshift.store.group import GroupWriter
from upshift.store.ledger import DuplicateRequestError, LedgerUnavailableError, Rule, Ticket
from upshift.store.postgres_groups import PostgresGroups
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.rows import encode
from upshift.store.schema import prepare

R1, R2 = RequestId("r1"), RequestId("r2")
HOLD = Hold(R1, NOW, PLAN, (ALICE,), tokens(5))
SETTLE = Settle(R1, NOW, (ALICE,), tokens(5), tokens(3), record("r1", tokens(3)))
YEAR = 365 * 86_400 * MICROS


@pytest.fixture
def place(postgres: Server) -> Iterator[PostgresPlace]:
    place = PostgresPlace(postgres)
    yield place
    place.leave()


@pytest.fixture
def groups(place: PostgresPlace) -> Iterator[PostgresGroups]:
    groups = PostgresGroups(place.url, place.seat().epoch)
    yield groups
    groups.close()


@pytest.fixture
def proxy(postgres: Server) -> Iterator[Proxy]:
    proxy = Proxy(postgres.port)
    yield proxy
    proxy.close()


class TestPostgresLedger(LedgerConformance):
    @pytest.fixture
    def place(self, postgres: Server) -> Iterator[PostgresPlace]:
        place = PostgresPlace(postgres)
        yield place
        place.leave()


def test_the_promises_hold_whatever_happens(postgres: Server) -> None:
    class OnPostgres(Machine):
        def __init__(self) -> None:
            super().__init__(lambda: PostgresPlace(postgres))

    run_state_machine_as_test(
        OnPostgres,
        settings=settings(
            max_examples=8,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )


async def test_a_lost_call_says_what_it_was(place: PostgresPlace) -> None:
    ledger = await place.open()
    opening = Metered(request=R1, started=NOW - 5, plan=PLAN, tenant="acme", user="alice", session="s1", streamed=True)
    answer = await ledger.decide(R1, PLAN, at, ceiling(tokens(60), 100, ALICE), 0.0, opening)
    ticket = await let_in(ledger, "r2", ceiling(tokens(10), 100, ALICE_TODAY))
    assert isinstance(answer, tuple)
    await ledger.extend(answer[1], lambda _: tokens(3), NOW)
    await ledger.durable(ticket.mark)
    await settled(ledger, await let_in(ledger, "r3", ceiling(tokens(1), 100, ALICE)), tokens(1))
    ledger.abandon()
    again = await place.open()
    assert again.recovered.requests == ("r1", "r2")
    assert again.recovered.amount == tokens(73)
    await again.close()
    assert (await place.open()).recovered.requests == ()
    assert place.records()[R1] == msgspec.structs.replace(
        opening,
        workload="chat",
        outcome=Outcome.LOST,
        reason="lost",
        certainty=Certainty.UNKNOWN,
        cost=None,
        counted=63000,
        counted_tokens=63,
    )


async def test_what_was_open_may_be_left_open(place: PostgresPlace) -> None:
    ledger = await place.open()
    await settled(ledger, await let_in(ledger, "r0", ceiling(tokens(5), 100, ALICE)), tokens(5))
    await ledger.durable((await let_in(ledger, "r1", ceiling(tokens(5), 100, ALICE))).mark)
    ledger.abandon()
    again = await PostgresLedger.open(place.url, place.seat(), NOW, keep_open=True)
    ((ticket, found),) = again.taken_over
    assert (ticket.request, found.held, again.open_requests()) == (R1, tokens(5), (R1,))
    assert again.outcome_of(R1) is None
    assert again.outcome_of(RequestId("r0")) is Outcome.SERVED
    await settled(again, await let_in(again, "r2", ceiling(tokens(5), 100, ALICE)), tokens(5))
    assert place.verify().open_holds == 1
    await again.durable(again.settle(ticket, NOW, tokens(3), record("r1", tokens(3))))
    await again.close()
    assert place.balances() == {ALICE: Balance(settled=tokens(13))}


async def test_text_that_it_cannot_take_does_not_stop_the_others(place: PostgresPlace) -> None:
    ledger = await place.open()
    odd = Metered(request=R1, started=2**80, plan=PLAN, session="\udcff\0", latency_us=2**70, upstream_id='a\\"b\n{},')
    ledger.note(odd, NOW)
    await ledger.durable(ledger.note(record("r2"), NOW))
    assert ledger.healthy
    kept = place.records()[R1]
    assert (kept.session, kept.latency_us, kept.upstream_id) == ("??", 2**63 - 1, 'a\\"b\n{},')


async def test_an_id_of_long_ago_is_refused_when_it_is_written(place: PostgresPlace) -> None:
    ledger = await place.open()
    await settled(ledger, await let_in(ledger, "r1", ceiling(tokens(5), 100, ALICE)), tokens(5))
    await ledger.close()
    again = await place.open()
    ticket = await let_in(again, "r1", ceiling(tokens(7), 100, ALICE))
    with pytest.raises(DuplicateRequestError):
        await again.durable(ticket.mark)
    assert again.balance(ALICE) == Balance(settled=tokens(5))


# Groups


def test_a_request_that_was_closed_is_not_held_again(groups: PostgresGroups, place: PostgresPlace) -> None:
    again: list[Entry] = [HOLD, SETTLE, HOLD]
    with pytest.raises(ConflictError):
        groups.write(again)
    assert groups.refused(again) == [2]
    assert place.rows("SELECT * FROM groups") == []
    groups.write(again[:2])
    with pytest.raises(ConflictError):
        groups.write([HOLD])
    # Its time of start does not make it another call, not for a month at least.
    later = msgspec.structs.replace(record("r1"), started=NOW + 86_400 * MICROS)
    with pytest.raises(ConflictError):
        groups.write([Note(R1, NOW, later)])
    assert groups.refused([HOLD, SETTLE, Note(R2, NOW, record("r2")), Note(R1, NOW, later)]) == [0, 1, 3]


def test_what_was_rolled_back_is_made_again(groups: PostgresGroups, place: PostgresPlace) -> None:
    decision = Decision("d", NOW, "override", "", "", "mia", {})
    with pytest.raises(ConflictError):
        groups.write([HOLD, decision, decision])
    assert place.rows("SELECT * FROM profiles") == place.rows("SELECT * FROM budgets") == []
    assert groups.refused([HOLD, decision, decision]) == [2]
    groups.write([HOLD, decision])
    groups.write([SETTLE])
    assert place.balances() == {ALICE: Balance(settled=tokens(3))}


def test_the_same_entries_have_the_same_digest_in_both_databases(
    groups: PostgresGroups, place: PostgresPlace, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.db"
    prepare(path)
    other = GroupWriter(path)
    odd = msgspec.structs.replace(record("r2"), session='ä"\\', streamed=True, cost=None)
    entries: list[list[Entry]] = [
        [HOLD, Note(R2, NOW, odd)],
        [SETTLE, Grant("g", NOW, (ALICE, BOB), tokens(2), "mia", "x")],
    ]
    for group in entries:
        groups.write(group)
        other.write(group)
    other.close()
    query = "SELECT last_seq, first_seq, low, digest FROM groups ORDER BY last_seq"
    db = sqlite3.connect(path)
    assert place.rows(query) == db.execute(query).fetchall()
    db.close()


def test_every_month_has_a_partition_before_it_is_needed(groups: PostgresGroups, place: PostgresPlace) -> None:
    for number, started in enumerate((NOW, NOW + YEAR, -YEAR, 0, 2**62, NOW)):
        request = f"a{number}"
        groups.write([Note(RequestId(request), NOW, msgspec.structs.replace(record(request), started=started))])
    found = {name for (name,) in place.rows("SELECT DISTINCT tableoid::regclass::text FROM calls")}
    assert found == {"calls_1970_01", "calls_2026_11", "calls_2027_11", "calls_9999_12"}
    there = {
        name
        for (name,) in place.rows(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'calls'::regclass"
        )
    }
    assert there == found | {"calls_1970_02", "calls_2026_12", "calls_2027_12"}


def test_a_partition_that_went_missing_is_made_again(groups: PostgresGroups, place: PostgresPlace) -> None:
    groups.write([Note(R1, NOW, record("r1"))])
    place.do("ALTER TABLE calls DETACH PARTITION calls_2026_11")
    place.do("ALTER TABLE calls_2026_11 RENAME TO kept")
    with pytest.raises(StoreTroubleError, match="no partition"):
        groups.write([Note(R2, NOW, record("r2"))])
    groups.write([Note(R2, NOW, record("r2"))])
    assert set(place.records()) == {R2}
    place.do("CREATE TABLE late AS SELECT * FROM calls_2026_11")
    place.do("INSERT INTO calls_2026_11 SELECT * FROM kept")


# Keepers


async def test_who_lost_the_seat_writes_nothing_more(place: PostgresPlace) -> None:
    ledger = await place.open()
    await settled(ledger, await let_in(ledger, "r1", ceiling(tokens(5), 100, ALICE)), tokens(5))
    late = await let_in(ledger, "r2", ceiling(tokens(5), 100, ALICE))
    await ledger.durable(late.mark)
    new = await place.open()
    assert new.recovered.requests == ("r2",)
    with pytest.raises(LedgerUnavailableError, match="another process keeps"):
        await ledger.durable(ledger.settle(late, NOW, tokens(5), record("r2", tokens(5))))
    assert not ledger.healthy
    assert "another process keeps" in await ledger.ended()
    with pytest.raises(LedgerUnavailableError):
        await let_in(ledger, "r3", ceiling(tokens(5), 100, ALICE))
    assert place.balances() == {ALICE: Balance(settled=tokens(10))}
    assert set(place.records()) == {"r1", "r2"}


def test_a_fenced_writer_says_so(groups: PostgresGroups, place: PostgresPlace) -> None:
    place.seat()
    with pytest.raises(FencedError):
        groups.write([HOLD])
    assert place.rows("SELECT * FROM groups") == []


# Trouble


async def on_disk(ledger: PostgresLedger, mark: int) -> None:
    """However long it takes."""
    while True:
        try:
            return await ledger.durable(mark)
        except LedgerUnavailableError:
            # Of a ledger that has ended at once, and then the loop needs its turn, or the test could not even be ended.
            await asyncio.sleep(0.01)


async def admitted(ledger: PostgresLedger, request: str, rule: Rule) -> Ticket:
    """However long it takes until somebody is let in."""
    while True:
        try:
            return await let_in(ledger, request, rule)
        except LedgerUnavailableError:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("obey", [True, False])
async def test_a_commit_without_an_answer_is_done_once(place: PostgresPlace, proxy: Proxy, obey: bool) -> None:
    ledger = await place.open(place.server.url(place.name, proxy.port))
    ticket = await let_in(ledger, "r1", ceiling(tokens(5), 100, ALICE))
    proxy.obey, proxy.word = obey, b"COMMIT"
    marks = [ledger.settle(ticket, NOW, tokens(3), record("r1", tokens(3)))]
    marks.append(ledger.note(record("r2"), NOW))
    for mark in marks:
        await ledger.durable(mark)
    assert proxy.cuts == 1
    await settled(ledger, await let_in(ledger, "r3", ceiling(tokens(5), 100, ALICE)), tokens(5))
    assert ledger.healthy
    await ledger.close()
    assert place.balances() == {ALICE: Balance(settled=tokens(8))}
    assert place.verify().calls == 3


async def test_a_decision_of_somebody_else_after_a_commit_without_an_answer(place: PostgresPlace, proxy: Proxy) -> None:
    groups = PostgresGroups(place.server.url(place.name, proxy.port), place.seat().epoch)
    proxy.obey, proxy.word = True, b"COMMIT"
    with pytest.raises(StoreTroubleError):
        groups.write([HOLD, SETTLE])
    other = PostgresGroups(place.url, place.rows("SELECT epoch FROM keeper")[0][0])
    other.write([Decision("d", NOW, "override", "", "", "mia", {})])
    other.close()
    groups.reconnect()
    groups.write([HOLD, SETTLE])
    groups.write([Note(R2, NOW, record("r2"))])
    groups.close()
    assert place.verify().entries == 4


def test_a_session_that_hears_nothing_of_its_end_is_not_waited_for(place: PostgresPlace, proxy: Proxy) -> None:
    """It holds the lock, and its server would undo it by itself only after a while."""
    groups = PostgresGroups(place.server.url(place.name, proxy.port), place.seat().epoch, 60.0)
    proxy.untold, proxy.word = True, b"INSERT INTO"
    with pytest.raises(StoreTroubleError):
        groups.write([HOLD, SETTLE])
    groups.reconnect()
    groups.write([HOLD, SETTLE])
    groups.close()
    said = b""
    # We ended it, and not the server by itself.
    while b"due to administrator command" not in said:
        said += proxy.unheard.get(timeout=60)
    assert place.verify().entries == 2


async def test_a_line_that_is_cut_again_and_again_loses_and_doubles_nothing(place: PostgresPlace, proxy: Proxy) -> None:
    ledger = await place.open(place.server.url(place.name, proxy.port))
    expected = 0
    for number in range(300):
        if number % 15 == 0:
            # Every message has a NUL, so whatever is said next to the server is cut.
            proxy.obey, proxy.word = number % 2 == 0, b"\0"
        ticket = await let_in(ledger, f"r{number}", ceiling(tokens(5), 10**9, ALICE))
        mark = ledger.settle(ticket, NOW, tokens(number), record(f"r{number}", tokens(number)))
        expected += number
        if number % 4 == 0:
            await on_disk(ledger, mark)
            assert ledger.healthy
    await ledger.close()
    assert proxy.cuts > 10
    assert place.balances() == {ALICE: Balance(settled=tokens(expected))}
    assert place.verify().calls == 300


async def test_a_restart_of_the_server_loses_and_doubles_nothing(place: PostgresPlace) -> None:
    ledger = await place.open()
    done: asyncio.Queue[str] = asyncio.Queue()
    stop = asyncio.Event()

    async def worker(name: str) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            request = f"{name}-{number}"
            try:
                ticket = await let_in(ledger, request, ceiling(tokens(5), 10**9, ALICE, ALICE_TODAY), 30.0)
            except LedgerUnavailableError:
                await asyncio.sleep(0.01)
                continue
            await ledger.durable(ledger.settle(ticket, NOW, tokens(3), record(request, tokens(3))))
            done.put_nowait(request)

    workers = [asyncio.create_task(worker(f"w{number}")) for number in range(20)]
    seen: list[str] = []
    for restart in range(3):
        if restart:
            await asyncio.to_thread(place.server.stop)
            await asyncio.to_thread(place.server.start)
        seen += [await done.get() for _ in range(200)]
    stop.set()
    await asyncio.gather(*workers)
    await ledger.close()
    while not done.empty():
        seen.append(done.get_nowait())
    assert sorted(place.counted()) == sorted(seen)
    assert place.balances()[ALICE] == Balance(settled=tokens(3 * len(seen)))


async def test_while_the_server_hangs_nothing_new_is_admitted_and_nothing_is_lost(place: PostgresPlace) -> None:
    ledger = await place.open(give_up_seconds=4.0)
    await on_disk(ledger, ledger.note(record("first"), NOW))
    place.server.pause()
    try:
        mark = ledger.note(record("r1"), NOW)
        with pytest.raises(LedgerUnavailableError):
            await ledger.durable(mark)
        assert not ledger.healthy
        with pytest.raises(LedgerUnavailableError):
            await let_in(ledger, "late", ceiling(tokens(1), 10, ALICE))
    finally:
        place.server.go_on()
    await on_disk(ledger, mark)
    ticket = await admitted(ledger, "r2", ceiling(tokens(1), 10, ALICE))
    await on_disk(ledger, ledger.settle(ticket, NOW, tokens(1), record("r2", tokens(1))))
    await ledger.close()
    assert set(place.records()) == {"first", "r1", "r2"}


KILLED = """
import asyncio, sys
from tests.conformance.ledger import ALICE, ALICE_TODAY, NOW, ceiling, let_in, record, tokens
from upshift.store.keeper_seat import give_up, take, who
from upshift.store.postgres_ledger import PostgresLedger

async def main():
    url, run = sys.argv[1:]
    before = who(url)
    if before is not None:
        give_up(before)
    ledger = await PostgresLedger.open(url, take(url, "here", "secret", 600.0), NOW)
    async def worker(name):
        number = 0
        while True:
            number += 1
            request = f"{run}-{name}-{number}"
            ticket = await let_in(ledger, request, ceiling(tokens(5), 10**9, ALICE, ALICE_TODAY), 30.0)
            await ledger.durable(ledger.settle(ticket, NOW, tokens(3), record(request, tokens(3))))
            print(request, flush=True)
    await asyncio.gather(*(worker(name) for name in range(20)))

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(place: PostgresPlace, tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    root = Path(__file__).parents[2]
    acknowledged: list[str] = []
    for run in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), place.url, str(run), cwd=root, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"},
        )  # fmt: skip
        assert process.stdout is not None
        acknowledged += [(await process.stdout.readline()).decode().strip() for _ in range(40 + 17 * run)]
        process.send_signal(signal.SIGKILL)
        rest = (await process.stdout.read()).decode()
        # The last line may be torn, since it was being written when the process died.
        acknowledged += rest.splitlines()[: rest.count("\n")]
        await process.wait()
    ledger = await place.open()
    balance, today = ledger.balance(ALICE), ledger.balance(ALICE_TODAY)
    await ledger.close()
    records = place.records().values()
    served = {record.request for record in records if record.outcome is Outcome.SERVED}
    lost = [record for record in records if record.outcome is Outcome.LOST]
    assert len(acknowledged) == len(set(acknowledged))
    assert set(acknowledged) <= served
    assert balance == today == Balance(settled=tokens(3 * len(served) + 5 * len(lost)))
    assert place.verify().open_holds == 0


async def test_a_grant_from_another_process_reaches_the_counter_once(place: PostgresPlace) -> None:
    ledger = await place.open()
    first = await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
    waiting = asyncio.create_task(let_in(ledger, "r2", ceiling(tokens(60), 100, ALICE), 30.0))
    await turns()
    grant = Grant("g1", NOW, (ALICE,), tokens(60), "mia", "quarter end")
    with psycopg.connect(place.url, autocommit=True) as db:
        db.execute("INSERT INTO requests_in (id, document) VALUES (%s, %s)", (grant.id, encode(grant)))
    await settled(ledger, await waiting, tokens(60))
    assert ledger.balance(ALICE) == Balance(settled=tokens(60), held=tokens(100), granted=tokens(60))
    ledger.release(first, NOW, record("r1"))
    await ledger.close()
    again = await place.open()
    assert again.balance(ALICE) == Balance(settled=tokens(60), granted=tokens(60))
    assert again.append(grant) is None
    assert place.rows("SELECT count(*) FROM requests_in WHERE taken IS NULL") == [(0,)]


async def test_a_counter_is_looked_up_again_after_a_restart(place: PostgresPlace) -> None:
    ledger = await place.open()
    await settled(ledger, await let_in(ledger, "r1", ceiling(tokens(5), 100, ALICE)), tokens(5))
    await asyncio.to_thread(place.server.stop)
    refusals: list[str] = []
    # Asked again when that was a moment ago, unless this machine has slept in between.
    while not any("a moment ago" in each for each in refusals) and len(refusals) < 20:
        with pytest.raises(LedgerUnavailableError, match="cannot be read") as caught:
            ledger.balance(BOB)
        refusals.append(str(caught.value))
    assert "a moment ago" in refusals[-1]
    assert "a moment ago" not in refusals[0]
    await asyncio.to_thread(place.server.start)
    ledger.abandon()
    again = await place.open()
    place.do(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    assert again.balance(BOB) == Balance()


async def test_counters_that_rest_are_read_again(place: PostgresPlace) -> None:
    ledger = await place.open()
    await settled(ledger, await let_in(ledger, "r1", ceiling(tokens(5), 100, ALICE)), tokens(5))
    await ledger.close()
    again = await place.open()
    assert again.balance(ALICE) == Balance(settled=tokens(5))
    assert again.balance(BOB) == Balance()
