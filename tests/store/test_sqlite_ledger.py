"""Does the embedded ledger keep the contract, survive crashes and full disks, and tell when it cannot write?"""

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.ledger import (
    ALICE,
    ALICE_TODAY,
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

from upshift.model.budget import NOTHING, Balance
from upshift.model.entry import Grant
from upshift.model.ids import KeyId, RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.tokens import Certainty
from upshift.store.ledger import LedgerUnavailableError
from upshift.store.lock import LedgerInUseError
from upshift.store.schema import VERSION, StoreVersionError
from upshift.store.sqlite_journal import SqliteJournal
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import verify


class SqlitePlace:
    """A file in a temporary folder; checks when it is left that the file is sound."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: list[SqliteLedger] = []

    async def open(self) -> SqliteLedger:
        ledger = await SqliteLedger.open(self.path, NOW)
        self._opened.append(ledger)
        return ledger

    def leave(self) -> None:
        for ledger in self._opened:
            ledger.abandon()
        found = verify(self.path)
        assert found.ok, found.problems


@pytest.fixture
def place(tmp_path: Path) -> Iterator[SqlitePlace]:
    place = SqlitePlace(tmp_path / "ledger.db")
    yield place
    place.leave()


class TestSqliteLedger(LedgerConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[SqlitePlace]:
        place = SqlitePlace(tmp_path / "ledger.db")
        yield place
        place.leave()


async def test_one_gateway_per_file(place: SqlitePlace) -> None:
    ledger = await place.open()
    with pytest.raises(LedgerInUseError, match=f"in use by process {os.getpid()}"):
        await place.open()
    await ledger.close()
    await (await place.open()).close()


async def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (name)")
    other.close()
    with pytest.raises(StoreVersionError, match="something else"):
        await SqliteLedger.open(path, NOW)
    newer = tmp_path / "newer.db"
    with sqlite3.connect(newer) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StoreVersionError, match="99"):
        await SqliteLedger.open(newer, NOW)


async def test_additions_of_a_newer_program_are_no_obstacle(place: SqlitePlace) -> None:
    await (await place.open()).close()
    db = sqlite3.connect(place.path)
    db.execute(f"PRAGMA user_version = {1 << 16 | VERSION + 1}")
    for table in ("calls", "profiles", "deeds", "budgets", "counters", "groups", "holds"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'")
    db.close()
    ledger = await place.open()
    ledger.append(_grant("g1", 60))
    await settled(ledger, await let_in(ledger, "r1", ceiling(tokens(5), 100, ALICE)), tokens(5))
    await ledger.close()
    db = sqlite3.connect(place.path)
    db.execute(f"PRAGMA user_version = {VERSION + 1 << 16 | VERSION + 1}")
    db.close()
    with pytest.raises(StoreVersionError, match=f"version {VERSION + 1}"):
        await place.open()
    db = sqlite3.connect(place.path)
    db.execute("PRAGMA user_version = 1")
    db.close()


async def test_a_lost_call_says_what_it_was(place: SqlitePlace) -> None:
    ledger = await place.open()
    opening = Metered(
        request=RequestId("r1"),
        started=NOW - 5,
        plan=PLAN,
        tenant="acme",
        user="alice",
        workload="chat",
        tier="gold",
        key=KeyId("k1"),
        session="s1",
        dialect="openai",
        streamed=True,
        requested_model="large",
        served_model="small",
        provider="p",
    )
    rule = ceiling(tokens(60), 100, ALICE)
    answer = await ledger.decide(RequestId("r1"), PLAN, at, rule, 0.0, opening)
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

    journal = SqliteJournal(place.path)
    lost = journal.call(RequestId("r1"))
    bare = journal.call(RequestId("r2"))
    (decision,) = journal.decisions(["recovery"])
    journal.close()
    assert decision.detail == {"calls": 2, "tokens": 73, "nano": 73000}
    assert lost is not None
    assert bare is not None
    assert lost.record == Metered(
        request=RequestId("r1"),
        started=NOW - 5,
        plan=PLAN,
        tenant="acme",
        user="alice",
        workload="chat",
        tier="gold",
        key=KeyId("k1"),
        session="s1",
        dialect="openai",
        streamed=True,
        requested_model="large",
        served_model="small",
        provider="p",
        outcome=Outcome.LOST,
        reason="lost",
        certainty=Certainty.UNKNOWN,
        cost=None,
        counted=63000,
        counted_tokens=63,
    )
    assert (bare.record.tenant, bare.record.user, bare.record.workload) == ("acme", "alice", "chat")


async def test_text_that_is_not_unicode_does_not_stop_the_others(place: SqlitePlace) -> None:
    ledger = await place.open()
    odd = Metered(request=RequestId("r1"), started=NOW, plan=PLAN, session="\udcff", latency_us=2**70)
    good = record("r2")
    ledger.note(odd, NOW)
    await ledger.durable(ledger.note(good, NOW))
    assert ledger.healthy
    await ledger.close()
    journal = SqliteJournal(place.path)
    kept = journal.call(RequestId("r1"))
    journal.close()
    assert kept is not None
    assert kept.record.session == "?"
    assert kept.record.latency_us == 2**63 - 1


async def test_a_closed_ledger_says_so(place: SqlitePlace) -> None:
    ledger = await place.open()
    mark = ledger.note(record("r1"), NOW)
    await ledger.close()
    await ledger.close()
    await ledger.durable(mark)
    assert not ledger.healthy
    with pytest.raises(LedgerUnavailableError):
        await ledger.durable(mark + 1)


async def test_while_the_disk_is_full_nothing_new_is_admitted_and_nothing_is_lost(tmp_path: Path) -> None:
    """The log cannot grow beyond a limit on file size; then the limit is lifted."""
    path = tmp_path / "ledger.db"
    script = tmp_path / "full.py"
    script.write_text(FULL_DISK)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(path), cwd=Path(__file__).parents[2], env=_environment(),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 0
    assert out.decode().split() == ["unavailable", "refused", "healthy", "durable"]
    found = verify(path)
    assert found.ok, found.problems
    assert found.calls == 2001


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from tests.conformance.ledger import ALICE, NOW, ceiling, let_in, record, tokens
from upshift.store.ledger import LedgerUnavailableError
from upshift.store.sqlite_ledger import SqliteLedger

async def on_disk(ledger, mark):
    while True:
        try:
            return await ledger.durable(mark)
        except LedgerUnavailableError:
            await asyncio.sleep(0.01)

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    ledger = await SqliteLedger.open(Path(sys.argv[1]), NOW, give_up_seconds=0.5)
    await on_disk(ledger, ledger.note(record("first"), NOW))
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, resource.RLIM_INFINITY))
    for number in range(2000):
        mark = ledger.note(record(f"r{number}"), NOW)
    try:
        await ledger.durable(mark)
    except LedgerUnavailableError:
        print("unavailable")
    # What fitted may have been written just now: then the next group has to fail before anybody knows.
    while ledger.healthy:
        await asyncio.sleep(0.01)
    try:
        await let_in(ledger, "late", ceiling(tokens(1), 10, ALICE))
    except LedgerUnavailableError:
        print("refused")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    while not ledger.healthy:
        await asyncio.sleep(0.01)
    print("healthy")
    await on_disk(ledger, mark)
    print("durable")
    await ledger.close()

asyncio.run(main())
"""


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": f"{root}:{root / 'src'}"}


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.conformance.ledger import ALICE, ALICE_TODAY, NOW, ceiling, let_in, record, tokens
from upshift.store.sqlite_ledger import SqliteLedger

async def main():
    run = sys.argv[2]
    ledger = await SqliteLedger.open(Path(sys.argv[1]), NOW)
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


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    acknowledged: list[str] = []
    for run in range(5):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), str(path), str(run), cwd=Path(__file__).parents[2], env=_environment(),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        acknowledged += [(await process.stdout.readline()).decode().strip() for _ in range(40 + 17 * run)]
        process.send_signal(signal.SIGKILL)
        rest = (await process.stdout.read()).decode()
        # The last line may be torn, since it was being written when the process died.
        acknowledged += rest.splitlines()[: rest.count("\n")]
        await process.wait()
    ledger = await SqliteLedger.open(path, NOW)
    balance, today = ledger.balance(ALICE), ledger.balance(ALICE_TODAY)
    await ledger.close()
    journal = SqliteJournal(path)
    calls = journal.calls(limit=1_000_000)
    journal.close()
    served = {call.record.request for call in calls if call.record.outcome is Outcome.SERVED}
    lost = [call for call in calls if call.record.outcome is Outcome.LOST]
    assert len(acknowledged) == len(set(acknowledged))
    assert set(acknowledged) <= served
    assert balance == today == Balance(settled=tokens(3 * len(served) + 5 * len(lost)))
    found = verify(path)
    assert found.ok, found.problems
    assert found.open_holds == 0


async def test_another_process_may_write_beside_it(place: SqlitePlace) -> None:
    ledger = await place.open()
    journal = SqliteJournal(place.path)

    async def gateway() -> None:
        for number in range(100):
            ticket = await let_in(ledger, f"r{number}", ceiling(tokens(5), 10**6, ALICE))
            await settled(ledger, ticket, tokens(5))

    def console() -> None:
        for number in range(30):
            journal.apply_plan(PLAN if number % 2 else PLAN[::-1], b"{}", "plan", "mia", NOW)  # type: ignore[arg-type]  # any hash

    await asyncio.gather(gateway(), asyncio.to_thread(console))
    assert len(journal.plans()) == 30
    journal.close()
    assert ledger.balance(ALICE) == Balance(settled=tokens(500))
    await ledger.close()


async def test_a_grant_from_another_process_reaches_the_counter_once(place: SqlitePlace) -> None:
    from_outside = SqliteJournal(place.path)
    ledger = await place.open()
    first = await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
    waiting = asyncio.create_task(let_in(ledger, "r2", ceiling(tokens(60), 100, ALICE), 30.0))
    await turns()
    grant = _grant("g1", 60)
    assert from_outside.ask(grant)
    assert not from_outside.ask(grant)
    await settled(ledger, await waiting, tokens(60))
    assert ledger.balance(ALICE) == Balance(settled=tokens(60), held=tokens(100), granted=tokens(60))
    ledger.release(first, NOW, record("r1"))
    await ledger.close()
    assert not from_outside.ask(grant)
    from_outside.close()
    again = await place.open()
    assert again.balance(ALICE) == Balance(settled=tokens(60), granted=tokens(60))
    assert again.append(grant) is None
    await again.close()


def _grant(id_: str, count: int) -> Grant:
    return Grant(id_, NOW, (ALICE,), tokens(count), "mia", "quarter end")


async def test_the_record_says_what_the_counters_were_charged(place: SqlitePlace) -> None:
    ledger = await place.open()
    ticket = await let_in(ledger, "r1", ceiling(tokens(10), 100, ALICE))
    ledger.settle(ticket, NOW, tokens(4), record("r1", NOTHING))
    other = await let_in(ledger, "r2", ceiling(tokens(10), 100, ALICE))
    await ledger.durable(ledger.release(other, NOW, record("r2", tokens(9))))
    await ledger.close()
    journal = SqliteJournal(place.path)
    counted = {call.record.request: call.record.counted_tokens for call in journal.calls()}
    journal.close()
    assert counted == {"r1": 4, "r2": 0}


async def test_a_note_of_a_call_that_holds_is_a_mistake(place: SqlitePlace) -> None:
    ledger = await place.open()
    ticket = await let_in(ledger, "r1", ceiling(tokens(10), 100, ALICE))
    with pytest.raises(ValueError, match="has to be settled"):
        ledger.note(record("r1"), NOW)
    ledger.release(ticket, NOW, record("r1"))
    ledger.note(record("r1"), NOW)
    await ledger.close()
