"""Do several gateway processes on one machine behave as one, whoever of them dies or is renewed?"""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.end_to_end.callers import Line
from tests.end_to_end.stack import ADMIN, plan_text

from upshift.app import open_desk
from upshift.model.metered import Outcome
from upshift.simulated.provider import Options
from upshift.simulated.serving import serve_simulated
from upshift.store.verify import verify

CLIENTS = 20
PATIENCE = 150
"""Seconds for what a slow machine with much else to do takes a while for: processes start, each of which imports much."""


class Serving:
    """`upshift serve --workers 2` with its provider."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, secret: str, db: Path) -> None:
        self.process = process
        self.port = port
        self.secret = secret
        self.db = db
        self.heard: Counter[int] = Counter()
        self.broken = 0
        self.enough = asyncio.Event()

    def children(self, name: str) -> list[int]:
        """Process ids of one kind."""
        pid = self.process.pid
        found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return [each for each in found if name.encode() in command(each)]

    async def client(self) -> None:
        """Call after call on one connection, as long as it is kept; a new one where it was said that it ends."""
        while not self.enough.is_set():
            try:
                async with Line(self.port) as line:
                    while not self.enough.is_set():
                        heard = await asyncio.wait_for(line.call(self.secret, "[[simulate: output_tokens=20]]"), 120)
                        self.heard[heard.status] += 1
                        if heard.headers.get("connection") == "close":
                            break
            except (OSError, asyncio.IncompleteReadError):
                self.broken += 1

    async def until(self, calls: int) -> None:
        """Wait for so many more answers."""
        goal = self.heard.total() + calls
        async with asyncio.timeout(PATIENCE):
            while self.heard.total() < goal:  # noqa: ASYNC110 - clients count; nobody would set an event
                await asyncio.sleep(0.01)


def command(process: int) -> bytes:
    """Its words; none of one that has ended meanwhile."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@asynccontextmanager
async def serving(folder: Path, limit: str) -> AsyncIterator[Serving]:
    db = folder / "ledger.db"
    provider = await serve_simulated("127.0.0.1", 0, Options(vary=True))
    with (folder / "log").open("wb") as log:
        desk = open_desk(db)
        desk.apply(desk.check(plan_text(f"http://127.0.0.1:{provider.port}", limit)), ADMIN)
        secret = desk.issue(ADMIN, name="alice", tenant="acme", user="alice", workloads=["chat"]).secret
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "upshift", "serve", "--db", str(db), "--port", "0"),
            *("--workers", "2", "--no-admin", "--json"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout
    try:
        said = json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE))
        yield Serving(process, int(said["gateway"].rpartition(":")[2]), secret, db)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()
        await provider.close()


async def test_a_ceiling_holds_over_all_workers(tmp_path: Path) -> None:
    async with serving(tmp_path, "5k") as it:
        clients = [asyncio.create_task(it.client()) for _ in range(CLIENTS)]
        async with asyncio.timeout(PATIENCE):
            while not it.heard[402]:  # noqa: ASYNC110 - clients count; nobody would set an event
                await asyncio.sleep(0.01)
        await it.until(50)
        it.enough.set()
        await asyncio.gather(*clients)
        assert set(it.heard) == {200, 402}
        it.process.send_signal(signal.SIGTERM)
        await it.process.wait()
        journal = open_desk(it.db).journal
        # The clock is the machine's, so a month may have ended under way.
        used = [each.balance.settled.tokens for each in journal.balances() if each.key.window == "month"]
        assert 4_900 <= max(used) <= 5_000
        assert verify(it.db).ok


async def test_renewed_under_load_without_a_failed_call(tmp_path: Path) -> None:
    async with serving(tmp_path, "100M") as it:
        clients = [asyncio.create_task(it.client()) for _ in range(CLIENTS)]
        await it.until(200)
        before = set(it.children("gateway-process"))
        it.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            while before & set(it.children("gateway-process")):  # noqa: ASYNC110 - as one looks at a process list
                await asyncio.sleep(0.05)
        await it.until(200)
        it.enough.set()
        await asyncio.gather(*clients)
        assert len(it.children("gateway-process")) == 2
        assert (set(it.heard), it.broken) == ({200}, 0)
        it.process.send_signal(signal.SIGTERM)
        assert await it.process.wait() == 0
        found = verify(it.db)
        assert (found.ok, found.open_holds, found.calls) == (True, 0, it.heard.total()), found.problems


@pytest.mark.parametrize("kind", ["gateway-process", "keeper-process"])
async def test_a_process_that_is_killed_is_replaced_and_what_it_had_is_counted(tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path, "100M") as it:
        clients = [asyncio.create_task(it.client()) for _ in range(CLIENTS)]
        await it.until(200)
        os.kill(it.children(kind)[0], signal.SIGKILL)
        await it.until(300)
        it.enough.set()
        await asyncio.gather(*clients)
        it.process.send_signal(signal.SIGTERM)
        await it.process.wait()
        assert set(it.heard) == {200}
        if kind == "keeper-process":
            # Clients see nothing of it: their calls wait for the next keeper.
            assert it.broken == 0
        found = verify(it.db)
        assert (found.ok, found.open_holds) == (True, 0), found.problems
        records = [call.record for call in open_desk(it.db).journal.calls(limit=100_000)]
        outcomes = Counter(record.outcome for record in records)
        # One whose client had gone with its gateway may have been served all the same.
        assert it.heard[200] <= outcomes[Outcome.SERVED] <= it.heard[200] + it.broken
        assert outcomes[Outcome.LOST] <= it.broken
