"""Do ceilings hold and records last when gateways share one PostgreSQL and everything is killed, paused and restarted?

Rounds of: several replicas (`upshift serve` on one database), a crowd of clients against ceilings worth part of what
they ask for, and faults at random. Then three books are compared: what clients saw, what the simulated provider
billed, and what the ledger says.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psycopg
from rich.console import Console
from tests.end_to_end.callers import Heard, Line
from tests.postgres import Server

from bench.process import free_port

INPUT, OUTPUT = 30, 40
"""Tokens of every call, as the provider bills them: no more for its input than so many bytes are held at."""
_NEEDS = re.compile(rb"needs at least ([0-9]+) tokens")
PLAN = """
upshift: 1
name: faults
providers: {openai: {dialect: openai, base_url: "SIMULATED/v1"}}
models: {big: {provider: openai, context: 200k, max_output: 32k, price: {input: $2, output: $10}}}
model_tiers: {premium: [big]}
tiers: [all]
tenants: {acme: {timezone: UTC, owner: ada@acme.example, default_tier: all, users: {}}}
gates: {hard: {overage: hard-cap, ceilings: {all: {month: LIMIT}}, patience: 20s}}
workloads: {chat: {owner: sam, status: committed, models: {primary: premium}, gate: hard}}
"""


@dataclass(frozen=True)
class Size:
    """One round: `share` is how much of what is asked for the ceilings are worth."""

    replicas: int = 3
    clients: int = 500
    calls: int = 20_000
    users: int = 40
    share: float = 1 / 3
    faults: int = 12
    seed: int = 1

    @property
    def limit(self) -> int:
        """Tokens per user."""
        return int(self.calls * self.share / self.users) * (INPUT + OUTPUT)


class Findings(msgspec.Struct, kw_only=True):
    """What a round came to. `overshoot`, `refused_early`, `missing` and `doubled` have to be 0."""

    seed: int
    calls: int
    served: int
    refused: int
    unavailable: int
    """Told to come again (503): no keeper or no database for longer than a call waits."""
    broken: int
    """The connection ended before the answer did."""
    faults: dict[str, int]
    billed: int
    recorded: int
    lost: int
    """In flight when their gateway died: counted at what they held."""
    late: int
    """Calls counted as lost whose end came to light afterwards."""
    unrecorded: int
    """Billed, and neither recorded nor counted as lost: sent before the hold's commit by a process that was killed."""
    overshoot: int
    """Tokens settled past a ceiling, over all users."""
    refused_early: int
    """Refused as over budget, though what had been settled by then (by the time of the entries), and what was in flight
    and lost afterwards, left room for it."""
    missing: int
    """Answers that a client had whole, without a record, or whose record says something else. One whose gateway woke up
    too late is recorded as lost, and its true figures in a decision: those are `late`."""
    doubled: int
    """Provider's answers that were recorded twice."""
    verified: bool
    seconds: float

    @property
    def ok(self) -> bool:
        return self.verified and not (self.overshoot or self.refused_early or self.missing or self.doubled)


@dataclass
class Replica:
    """One `upshift serve` with all its processes."""

    number: int
    command: list[str]
    env: dict[str, str]
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def pids(self) -> list[int]:
        """All its processes, the parent first."""
        assert self.process is not None
        return list(_tree(self.process.pid))

    def kill(self) -> None:
        """All at once, as a machine that loses its power."""
        for pid in reversed(self.pids()):
            _signal(pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        _signal(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@dataclass
class Saw:
    """What the clients saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    whole: list[Heard] = field(default_factory=list)
    needed: dict[str, int] = field(default_factory=dict)
    """Tokens that each refused call needed at least, as its refusal says."""


class Round:
    """One installation with its clients and its misfortunes."""

    def __init__(self, size: Size, postgres: Server, folder: Path, env: dict[str, str]) -> None:
        self.size = size
        self.postgres = postgres
        self.folder = folder
        self.draw = random.Random(size.seed)
        self.saw = Saw()
        self.faults: Counter[str] = Counter()
        self.database = postgres.new_database()
        self.url = postgres.url(self.database)
        self.env = env | {"UPSHIFT_DB": self.url}
        self.replicas: list[Replica] = []
        self.secrets: list[str] = []
        self.left = size.calls
        self.provider = ""

    def _upshift(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "upshift", *words],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"upshift {' '.join(words)}: {done.stderr[-1000:]}")
        return done.stdout

    def start(self, provider: str) -> None:
        """Plan, key, replicas; returns when all of them listen."""
        self.provider = provider
        plan = self.folder / "plan.yaml"
        plan.write_text(PLAN.replace("SIMULATED", provider).replace("LIMIT", str(self.size.limit)))
        self._upshift("plan", "apply", str(plan), "--yes", "--json")
        told = self._upshift("key", "issue", "--tenant", "acme", "--name", "load", "--workload", "chat", "--json")
        self.secrets = [json.loads(told)["secret"]]
        for number in range(self.size.replicas):
            port = free_port()
            command = [sys.executable, "-m", "upshift", "serve", "--port", str(port), "--no-admin"]
            self.replicas.append(Replica(number, command, self.env, port, self.folder / f"replica-{number}.log"))
        for replica in self.replicas:
            replica.start()
        for replica in self.replicas:
            self._wait(replica)

    def _wait(self, replica: Replica, seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if _answers(replica.port):
                return
            time.sleep(0.05)
        raise RuntimeError(f"replica {replica.number} does not listen: {replica.log.read_text()[-2000:]}")

    async def run(self) -> None:
        """All calls, with faults among them."""
        chaos = asyncio.create_task(self._chaos())
        await asyncio.gather(*[self._client(number) for number in range(self.size.clients)])
        # A misfortune that has begun comes to its end: what was paused goes on, what was stopped is started.
        await chaos

    async def _client(self, number: int) -> None:
        draw = random.Random(f"{self.size.seed}/{number}")
        lines: dict[int, Line] = {}
        while self.left > 0:
            self.left -= 1
            port = draw.choice(self.replicas).port
            try:
                line = lines.get(port)
                if line is None:
                    line = lines[port] = await Line(port).__aenter__()
                heard = await self._call(line, draw)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                self.saw.outcomes["broken"] += 1
                gone = lines.pop(port, None)
                if gone is not None:
                    gone.hang_up()
                await asyncio.sleep(0.05)
                continue
            self._judge(heard)
        for line in lines.values():
            line.hang_up()

    async def _call(self, line: Line, draw: random.Random) -> Heard:
        user = f"user-{draw.randrange(self.size.users)}"
        text = f"[[simulate: input_tokens={INPUT}, output_tokens={OUTPUT}]]"
        return await asyncio.wait_for(
            line.call(self.secrets[0], text, stream=draw.random() < 0.3, max_tokens=OUTPUT, user=user), 60
        )

    def _judge(self, heard: Heard) -> None:
        if heard.status == 200:
            self.saw.outcomes["served"] += 1
            self.saw.whole.append(heard)
        elif heard.status in (402, 429):
            self.saw.outcomes["refused"] += 1
            if found := _NEEDS.search(heard.body):
                self.saw.needed[heard.request] = int(found[1])
        elif heard.status == 503:
            self.saw.outcomes["unavailable"] += 1
        else:
            self.saw.outcomes[f"status-{heard.status}"] += 1

    # Misfortune

    async def _chaos(self) -> None:
        kinds = (self._kill_one, self._kill_all, self._pause_one, self._restart_database)
        done = 0
        while self.left > 0 and done < self.size.faults:
            # Spread over the round by the calls that are left, so that a slow machine meets as many.
            due = self.size.calls * (1 - (done + 0.5) / self.size.faults)
            if self.left > due:
                await asyncio.sleep(0.02)
                continue
            kind = self.draw.choice(kinds)
            self.faults[kind.__name__.lstrip("_")] += 1
            await kind()
            done += 1

    async def _kill_one(self) -> None:
        replica = self.draw.choice(self.replicas)
        await asyncio.to_thread(_kill_some, replica, self.draw)
        await asyncio.to_thread(self._revive, replica)

    async def _kill_all(self) -> None:
        replica = self.draw.choice(self.replicas)
        await asyncio.to_thread(replica.kill)
        await asyncio.sleep(self.draw.uniform(0, 1))
        await asyncio.to_thread(self._revive, replica)

    async def _pause_one(self) -> None:
        pid = self.draw.choice(self.draw.choice(self.replicas).pids())
        _signal(pid, signal.SIGSTOP)
        await asyncio.sleep(self.draw.choice((0.2, 1.0, 5.0)))
        _signal(pid, signal.SIGCONT)

    async def _restart_database(self) -> None:
        await asyncio.to_thread(self.postgres.stop)
        await asyncio.sleep(self.draw.uniform(0, 1.5))
        await asyncio.to_thread(self.postgres.start)

    def _revive(self, replica: Replica) -> None:
        assert replica.process is not None
        if replica.process.poll() is not None:
            replica.start()
        self._wait(replica)

    # The books

    def stop(self) -> None:
        for replica in self.replicas:
            replica.stop()

    def compare(self, bills: Sequence[dict[str, object]], seconds: float) -> Findings:
        """Clients against provider against ledger; everything has ended by now."""
        verified = json.loads(self._upshift("verify", "--json"))
        with psycopg.connect(self.url) as db:
            rows = db.execute(
                # What was lost was in flight since it started, and may have ended by then in a keeper's memory.
                "SELECT CASE outcome WHEN 'lost' THEN started ELSE at END AS moment, request, \"user\", outcome, "
                "upstream_id, counted_tokens, input, output, reason "
                "FROM calls JOIN profiles ON profiles.id = calls.profile ORDER BY moment, seq"
            ).fetchall()
            told = db.execute("SELECT id FROM deeds WHERE topic = 'late-closing'").fetchall()
        late = {id_.removeprefix("late-closing/") for (id_,) in told}
        settled: Counter[str] = Counter()
        early = 0
        for _, request, user, outcome, _, counted, _, _, _ in rows:
            if (
                outcome == "refused"
                and settled[user] + self.saw.needed.get(request, self.size.limit) <= self.size.limit
            ):
                early += 1
            settled[user] += counted
        known = {row[1]: row for row in rows}
        recorded = Counter(row[4] for row in rows if row[4])
        missing = sum(
            heard.request not in late and not _agrees(known.get(heard.request), heard) for heard in self.saw.whole
        )
        lost = sum(row[3] == "lost" for row in rows)
        unmatched = sum(bill["request_id"] not in recorded for bill in bills)
        return Findings(
            seed=self.size.seed,
            calls=self.size.calls,
            served=self.saw.outcomes["served"],
            refused=self.saw.outcomes["refused"],
            unavailable=self.saw.outcomes["unavailable"],
            broken=self.saw.outcomes["broken"],
            faults=dict(self.faults),
            billed=len(bills),
            recorded=len(rows),
            lost=lost,
            late=len(late),
            unrecorded=max(0, unmatched - lost),
            overshoot=sum(max(0, spent - self.size.limit) for spent in settled.values()),
            refused_early=early,
            missing=missing,
            doubled=sum(count - 1 for count in recorded.values()),
            verified=bool(verified["ok"]),
            seconds=round(seconds, 1),
        )


def _kill_some(replica: Replica, draw: random.Random) -> None:
    pids = replica.pids()
    _signal(draw.choice(pids[1:] or pids), signal.SIGKILL)


def _agrees(row: tuple[object, ...] | None, heard: Heard) -> bool:
    # An answer that its ceiling has ended is whole too: it says so itself.
    return row is not None and row[3] in ("served", "cut") and (row[6], row[7]) == heard.used()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def play(size: Size, postgres: Server, folder: Path) -> Findings:
    """One round, from an empty database to the comparison."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("UPSHIFT_")}
    with ExitStack() as stack:
        simulate = [sys.executable, "-m", "upshift", "simulate", "--port", "0", "--json", "--seed", str(size.seed)]
        provider = stack.enter_context(
            subprocess.Popen(simulate, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        )
        stack.callback(provider.kill)
        assert provider.stdout is not None
        url = json.loads(provider.stdout.readline())["url"]
        round_ = Round(size, postgres, folder, env)
        stack.callback(round_.stop)
        round_.start(url)
        began = time.monotonic()
        asyncio.run(round_.run())
        seconds = time.monotonic() - began
        round_.stop()
        with urllib.request.urlopen(f"{url}/simulated/bills", timeout=60.0) as told:
            return round_.compare(json.load(told), seconds)


def main(words: Sequence[str]) -> int:
    """Plays the rounds; 1 when one of them found something that must not be."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--faults", type=int, default=12, help="per round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "faults.json")
    asked = parser.parse_args(words)
    console, found = Console(), list[Findings]()
    with tempfile.TemporaryDirectory(prefix="upshift-faults-") as folder:
        home = Path(tempfile.mkdtemp(prefix="postgres-"))
        postgres = Server(home)
        try:
            for number in range(asked.rounds):
                place = Path(folder) / str(number)
                place.mkdir()
                size = Size(asked.replicas, asked.clients, asked.calls, faults=asked.faults, seed=asked.seed + number)
                findings = play(size, postgres, place)
                found.append(findings)
                console.print(f"round {number + 1} of {asked.rounds}: {'ok' if findings.ok else 'FAILED'} {findings}")
                asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        finally:
            postgres.stop()
    return 0 if all(each.ok for each in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
