"""Do ceilings hold and records last when gateways share one PostgreSQL and everything is killed, paused and restarted?

Rounds of: several replicas (`upshift serve` on one database), a crowd of clients against ceilings worth part of what
they ask for, and faults at random. Then three books are compared: what clients saw, what the simulated provider
billed, and what the ledger says.

Faults: processes killed and paused, the database stopped, hanging, slow to commit or out of one replica's reach,
connections reset on either side of a gateway, and clocks that are wrong by up to a minute and a half.
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg
from rich.console import Console
from tests.end_to_end.callers import Heard, Line
from tests.postgres import Server

from bench.fault_books import Findings, Saw, compare, read
from bench.process import free_port
from upshift.store.away_log import AwayLog

INPUT, OUTPUT = 30, 40
"""Tokens of every call, as the provider bills them: no more for its input than so many bytes are held at."""
SKEWS = (0, 90, -45)
"""Seconds by which the clock of each replica's machine is wrong, over and over."""
AWAY_SECONDS = 30
_SKEW = Path(__file__).parent / "skew"
# A trigger that is put off to the commit is where a server that waits for its disk waits too: with the group's locks
# held, and nothing of it seen by others. Stopping the process that writes the WAL would not do: who commits writes it.
_SLOW = """
CREATE OR REPLACE FUNCTION bench_slow_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(SECONDS); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER bench_slow_disk AFTER INSERT ON groups DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION bench_slow_disk();
"""
_NOT_SLOW = "DROP TRIGGER IF EXISTS bench_slow_disk ON groups"
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


_ADOPTED = re.compile(r'"tokens": ?(\d+).*"keeper\.adopted_late"')


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
    on_store_trouble: str = "refuse"
    seconds: float = 60.0
    """So long the calls would take if nothing delayed them, so that there is time for all faults among them."""

    @property
    def limit(self) -> int:
        """Tokens per user."""
        return int(self.calls * self.share / self.users) * (INPUT + OUTPUT)


@dataclass
class Replica:
    """One `upshift serve` with all its processes."""

    number: int
    command: list[str]
    env: dict[str, str]
    port: int
    skew: int
    """Seconds by which its clock is wrong."""
    log: Path
    door: int
    """The port that clients use: of whatever passes their bytes on."""
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
        self.resets: subprocess.Popen[str] | None = None

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
        ports = [free_port() for _ in range(self.size.replicas)]
        # First those of the databases, as each replica has it, then those of clients.
        doors = self._reset_at_will([self.postgres.port] * len(ports) + ports)
        for number, port in enumerate(ports):
            command = [sys.executable, "-m", "upshift", "serve", "--port", str(port), "--no-admin"]
            log, skew = self.folder / f"replica-{number}.log", SKEWS[number % len(SKEWS)]
            env = self.env | {
                "UPSHIFT_DB": self.postgres.url(self.database, doors[number]),
                "UPSHIFT_ON_STORE_TROUBLE": self.size.on_store_trouble,
                "UPSHIFT_AWAY_SECONDS": str(AWAY_SECONDS),
                "UPSHIFT_AWAY_LOG": str(self.folder / f"away-{number}"),
                "BENCH_CLOCK_SKEW_SECONDS": str(skew),
                "PYTHONPATH": os.pathsep.join([str(_SKEW), *filter(None, [os.environ.get("PYTHONPATH", "")])]),
            }
            self.replicas.append(Replica(number, command, env, port, skew, log, doors[len(ports) + number]))
        for replica in self.replicas:
            replica.start()
        for replica in self.replicas:
            self._wait(replica)

    def _reset_at_will(self, ports: Sequence[int]) -> list[int]:
        command = [sys.executable, "-m", "bench.resets", *map(str, ports)]
        self.resets = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.resets.stdout is not None
        doors: list[int] = json.loads(self.resets.stdout.readline())
        return doors

    def _tell_resets(self, word: str, number: int) -> None:
        assert self.resets is not None
        assert self.resets.stdin is not None
        self.resets.stdin.write(f"{word} {number}\n")
        self.resets.stdin.flush()

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
        pause = self.size.seconds * self.size.clients / self.size.calls
        while self.left > 0:
            self.left -= 1
            await asyncio.sleep(draw.uniform(0, 2 * pause))
            replica = draw.choice(self.replicas)
            port = replica.door
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
            self._judge(heard, replica)
        for line in lines.values():
            line.hang_up()

    async def _call(self, line: Line, draw: random.Random) -> Heard:
        # One after the other, some at a time, so that budgets come to their end from the first fault to the last.
        present = self.size.users // 4
        first = int((1 - self.left / self.size.calls) * (self.size.users - present))
        user = f"user-{first + draw.randrange(present)}"
        text = f"[[simulate: input_tokens={INPUT}, output_tokens={OUTPUT}]]"
        return await asyncio.wait_for(
            line.call(self.secrets[0], text, stream=draw.random() < 0.3, max_tokens=OUTPUT, user=user), 60
        )

    def _judge(self, heard: Heard, replica: Replica) -> None:
        self.saw.replica[heard.request] = replica.number
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
        kinds = (
            self._kill_one, self._kill_all, self._pause_one, self._restart_database, self._kill_without_database,
            self._hang_database, self._slow_disk, self._reset_database, self._cut_database, self._reset_clients,
        )  # fmt: skip
        # All of them once, before any comes again: a round meets more kinds than chance would choose.
        order: list[Callable[[], Awaitable[None]]] = []
        done = 0
        while self.left > 0 and done < self.size.faults:
            # Spread over the round by the calls that are left, so that a slow machine meets as many.
            due = self.size.calls * (1 - (done + 0.5) / self.size.faults)
            if self.left > due:
                await asyncio.sleep(0.02)
                continue
            if not order:
                order = self.draw.sample(kinds, len(kinds))
            kind = order.pop()
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
        # The longest is more than any keeper serves on, and than any call waits.
        await asyncio.sleep(self.draw.choice((0.2, 1.5, 6.0, AWAY_SECONDS + 5.0)))
        await asyncio.to_thread(self.postgres.start)

    async def _kill_without_database(self) -> None:
        """A keeper that has gone on without its database dies with what only it knows."""
        await asyncio.to_thread(self.postgres.stop)
        try:
            await asyncio.sleep(self.draw.uniform(0.5, 3.0))
            for replica in self.replicas:
                if self.draw.random() < 0.5:
                    await asyncio.to_thread(replica.kill)
                else:
                    for pid in filter(_is_keeper, replica.pids()):
                        _signal(pid, signal.SIGKILL)
        finally:
            await asyncio.to_thread(self.postgres.start)
        # All before any is waited for: one alone has to wait until the seat of a keeper that is not back is over, and
        # then decides without that one's log.
        for replica in self.replicas:
            _start_again(replica)
        for replica in self.replicas:
            await asyncio.to_thread(self._wait, replica)

    async def _hang_database(self) -> None:
        await asyncio.to_thread(self.postgres.pause)
        await asyncio.sleep(self.draw.choice((0.5, 2.5, 5.0)))
        await asyncio.to_thread(self.postgres.go_on)

    async def _slow_disk(self) -> None:
        """Every commit takes as long as on a disk that is slow, or nearly dead."""
        seconds = self.draw.choice((0.05, 0.5, 4.0))
        await asyncio.to_thread(self._sql, _SLOW.replace("SECONDS", str(seconds)))
        await asyncio.sleep(self.draw.uniform(2.0, 6.0))
        await asyncio.to_thread(self._sql, _NOT_SLOW)

    def _sql(self, statement: str) -> None:
        # The table is locked by whoever writes; a fault that does not get its turn at once waits for it.
        while True:
            try:
                self.postgres.sql(self.database, f"SET lock_timeout = '500ms'; {statement}")
                return
            except psycopg.errors.LockNotAvailable:
                time.sleep(0.05)

    async def _reset_database(self) -> None:
        """Half the connections of one replica's processes to the database, again and again."""
        number = self.draw.randrange(len(self.replicas))
        for _ in range(self.draw.randint(1, 8)):
            self._tell_resets("reset", number)
            await asyncio.sleep(self.draw.uniform(0, 0.5))

    async def _cut_database(self) -> None:
        """One replica's processes cannot reach the database; the others can."""
        number = self.draw.randrange(len(self.replicas))
        self._tell_resets("cut", number)
        await asyncio.sleep(self.draw.choice((1.0, 4.0, 8.0)))
        self._tell_resets("mend", number)

    async def _reset_clients(self) -> None:
        number = len(self.replicas) + self.draw.randrange(len(self.replicas))
        for _ in range(self.draw.randint(1, 5)):
            self._tell_resets("reset", number)
            await asyncio.sleep(self.draw.uniform(0, 0.5))

    def _revive(self, replica: Replica) -> None:
        _start_again(replica)
        self._wait(replica)

    # The books

    def stop(self) -> None:
        for replica in self.replicas:
            replica.stop()

    def tell_what_is_left(self) -> None:
        """A replica that ended while it owed something to the database tells it when it is started once more."""
        for replica in self.replicas:
            if _owes(self.folder / f"away-{replica.number}"):
                replica.start()
                self._wait(replica)
                replica.stop()

    def leave(self) -> None:
        self.stop()
        if self.resets is not None:
            self.resets.kill()
            self.resets.wait()

    def compare(self, bills: Sequence[dict[str, object]], seconds: float, kept: Path | None) -> Findings:
        """Everything has ended by now. What goes wrong is left in the folder `kept`, to be looked into."""
        size, books = self.size, read(self.url)
        found = compare(
            books,
            self.saw,
            bills,
            size.limit,
            [replica.skew for replica in self.replicas],
            verified=bool(json.loads(self._upshift("verify", "--json"))["ok"]),
            seed=size.seed,
            calls=size.calls,
            on_store_trouble=size.on_store_trouble,
            faults=dict(self.faults),
            adopted_late=sum(int(told) for each in self.replicas for told in _ADOPTED.findall(each.log.read_text())),
            seconds=seconds,
        )
        if kept is not None and not found.ok:
            kept.mkdir(parents=True, exist_ok=True)
            all_of_it = {"rows": books.rows, "replica": self.saw.replica, "needed": self.saw.needed, "bills": bills}
            (kept / f"round-{size.seed}.json").write_bytes(msgspec.json.encode(all_of_it))
            for replica in self.replicas:
                shutil.copy(replica.log, kept / f"round-{size.seed}-replica-{replica.number}.log")
        return found


def _start_again(replica: Replica) -> None:
    assert replica.process is not None
    if replica.process.poll() is not None:
        replica.start()


def _owes(path: Path) -> bool:
    if not path.exists():
        return False
    log = AwayLog(path)
    log.close()
    return bool(log.entries)


def _is_keeper(pid: int) -> bool:
    with suppress(OSError):
        return b"keeper-process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _kill_some(replica: Replica, draw: random.Random) -> None:
    pids = replica.pids()
    _signal(draw.choice(pids[1:] or pids), signal.SIGKILL)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def play(size: Size, postgres: Server, folder: Path, kept: Path | None = None) -> Findings:
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
        stack.callback(round_.leave)
        round_.start(url)
        began = time.monotonic()
        asyncio.run(round_.run())
        seconds = time.monotonic() - began
        round_.stop()
        round_.tell_what_is_left()
        with urllib.request.urlopen(f"{url}/simulated/bills", timeout=60.0) as told:
            return round_.compare(json.load(told), seconds, kept)


def main(words: Sequence[str]) -> int:
    """Plays the rounds; 1 when one of them found something that must not be."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="that the calls take if nothing delays them")
    parser.add_argument("--faults", type=int, default=12, help="per round")
    parser.add_argument(
        "--on-store-trouble", choices=("refuse", "serve-on", "both"), default="both", help="both: by turns"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the ledger and the logs of rounds that fail")
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
                by_turns = ("serve-on", "refuse")[number % 2]
                size = Size(
                    asked.replicas, asked.clients, asked.calls, faults=asked.faults, seed=asked.seed + number,
                    on_store_trouble=by_turns if asked.on_store_trouble == "both" else asked.on_store_trouble,
                    seconds=asked.seconds,
                )  # fmt: skip
                findings = play(size, postgres, place, asked.keep)
                found.append(findings)
                console.print(f"round {number + 1} of {asked.rounds}: {'ok' if findings.ok else 'FAILED'} {findings}")
                asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        finally:
            postgres.stop()
    return 0 if all(each.ok for each in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
