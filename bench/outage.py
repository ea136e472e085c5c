"""How many calls fail while one of two providers is out, by how it goes out and by what the plan lets be repeated?

    python -m bench.outage [--seconds 15] [--callers 64] [--json]

A gateway, and two simulated providers of the same model that answer at a model's pace, all processes of their own.
Callers call without a pause, half of them for streams, and never repeat a call themselves. For the middle third of the
time the first provider says 503, or stops as servers do (no new connections, what is being answered is answered), or
is killed in the middle of whatever it was answering, or stands still (SIGSTOP). Exits with 1 where more than one call
in a thousand fails that should not, or where the first provider serves nobody at the end.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table
from tests.end_to_end.callers import Line

from bench.process import Server, free_port, launch, wait_listening
from upshift.http.exchange import Exchange
from upshift.http.limits import ServerLimits
from upshift.http.server import serve
from upshift.simulated.provider import Options, Simulated
from upshift.traffic.snapshot import Unsure

HERE = Path(__file__).parent
MOST_FAILED = 0.001
HOWS = ("says 503", "stops", "is killed", "stands still")
HELD = {
    "says 503": (*Unsure,),
    "stops": (Unsure.OUTAGE, Unsure.ALWAYS),
    "is killed": (Unsure.OUTAGE, Unsure.ALWAYS),
    "stands still": (Unsure.ALWAYS,),
}
"""Under which rules at most one call in a thousand may fail."""
FIRST_BYTE_SECONDS = 2
PATIENCE = 40.0
"""Seconds; a circuit is tried again after half a minute at the latest."""
_PLAN = """
upshift: 1
name: outage
providers:
  first: {dialect: openai, base_url: "http://127.0.0.1:FIRST/v1", timeouts: {first_byte: WAITs}}
  second: {dialect: openai, base_url: "http://127.0.0.1:SECOND/v1", timeouts: {first_byte: WAITs}}
models:
  big: {provider: first, id: big-mini, context: 200k, max_output: 8192, price: {input: $2, output: $10},
        offers: [{provider: second, id: big-mini, price: {input: $3, output: $12}}]}
model_tiers: {worker: [big]}
tiers: [standard]
gates: {ample: {overage: hard-cap, ceilings: {standard: {month: 900000M}}}}
tenants: {bench: {owner: bench@example.com, timezone: UTC, users: {load: {tier: standard}}}}
workloads:
"""
_WORKLOAD = """\
  RULE: {owner: bench@example.com, status: committed, models: {primary: worker}, gate: ample,
         route: {retry_unsure: RULE}}
"""


class Outcome(msgspec.Struct, kw_only=True):
    """What callers saw. `failed`: had no byte of an answer but an error; `broken`: lost an answer that had begun."""

    how: str
    rule: str
    calls: int
    failed: int
    statuses: dict[str, int]
    broken: int
    repeated: int
    """Calls that were served elsewhere after an attempt that may have been billed."""
    back_seconds: float
    """From the provider's return until it serves again."""

    @property
    def failed_share(self) -> float:
        return self.failed / self.calls

    @property
    def ok(self) -> bool:
        held = Unsure(self.rule) in HELD[self.how]
        return self.back_seconds >= 0 and (not held or self.failed_share <= MOST_FAILED)


@dataclass
class Place:
    """What runs, and where."""

    folder: Path
    gateway: int
    first: int
    keys: dict[Unsure, str]
    provider: Server


@dataclass
class _Seen:
    calls: int = 0
    broken: int = 0
    repeated: int = 0
    failed: Counter[int] = field(default_factory=Counter)
    back: float = -1.0


def _provider(folder: Path, port: int) -> Server:
    command = [sys.executable, "-m", "bench.outage", "--provider", str(port)]
    server = launch(command, core=max(os.sched_getaffinity(0)), log=folder / f"provider-{port}.log")
    wait_listening(server, port, 30)
    return server


@contextlib.asynccontextmanager
async def _running() -> AsyncIterator[Place]:
    upshift = [sys.executable, "-m", "upshift"]
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as servers:
        folder = Path(name)
        first, second, port, db = free_port(), free_port(), free_port(), str(folder / "ledger.db")
        text = (
            _PLAN.replace("FIRST", str(first)).replace("SECOND", str(second)).replace("WAIT", str(FIRST_BYTE_SECONDS))
        )
        text += "".join(_WORKLOAD.replace("RULE", rule) for rule in Unsure)
        (folder / "plan.yaml").write_text(text)
        said = [_said([*upshift, "plan", "apply", str(folder / "plan.yaml"), "--yes", "--db", db, "--json"])]
        scope = ["--tenant", "bench", "--user", "load", "--db", db, "--json"]
        said += [_said([*upshift, "key", "issue", "--name", rule, "--workload", rule, *scope]) for rule in Unsure]
        keys = {rule: json.loads(each)["secret"] for rule, each in zip(Unsure, said[1:], strict=True)}
        provider = _provider(folder, first)
        servers.callback(_provider(folder, second).stop)
        command = [*upshift, "serve", "--port", str(port), "--admin-port", "0", "--db", db]
        gateway = launch(command, core=min(os.sched_getaffinity(0)), log=folder / "gateway.log")
        servers.callback(gateway.stop)
        wait_listening(gateway, port, 30)
        place = Place(folder, port, first, keys, provider)
        try:
            yield place
        finally:
            place.provider.stop()
        gateway.stop()
        _said([*upshift, "verify", "--db", db, "--json"])


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:5])} failed: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout


_SIGNALS = {
    "says 503": signal.SIGUSR1,
    "stops": signal.SIGTERM,
    "is killed": signal.SIGKILL,
    "stands still": signal.SIGSTOP,
}


async def _back(place: Place, how: str) -> None:
    """The first provider is as it was before."""
    if how == "says 503":
        os.kill(place.provider.pid, signal.SIGUSR1)
    elif how == "stands still":
        os.kill(place.provider.pid, signal.SIGCONT)
    else:
        await asyncio.to_thread(place.provider.process.wait)
        place.provider = await asyncio.to_thread(_provider, place.folder, place.first)


async def provide(port: int) -> None:
    """Be a provider until told to stop; SIGUSR1 makes it say 503, and serve again."""
    simulated, down, stopping = Simulated(Options(seed=7, speed=1.0)), asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        if down.is_set():
            exchange.respond(503, [(b"content-type", b"application/json")], b'{"error":{"message":"down"}}')
        else:
            await simulated.handle(exchange)

    server = await serve(
        handle, "127.0.0.1", port, limits=ServerLimits(), on_error=lambda error: print(repr(error)),
        on_bad_request=lambda status, reason, target, headers: ([], reason.encode()),
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: down.clear() if down.is_set() else down.set())
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    await server.shutdown(10.0)


async def _call(line: Line, secret: str, seen: _Seen, *, stream: bool) -> None:
    heard = await line.call(secret, "Hi [[simulate: output_tokens=12]]", max_tokens=50, stream=stream)
    seen.calls += 1
    if heard.status != 200:
        seen.failed[heard.status] += 1
    elif not heard.whole or (heard.streamed and b"[DONE]" not in heard.body):
        seen.broken += 1
    else:
        tried = heard.headers.get("x-upshift-tried", "")
        seen.repeated += any(word in tried for word in ("reset", "timeout"))


def _served(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/simulated/stats", timeout=10) as answer:
        return int(json.load(answer)["answered"])


async def measure(place: Place, how: str, rule: Unsure, callers: int, seconds: float) -> Outcome:
    """One outage under load."""
    seen, began = _Seen(), time.monotonic()

    async def caller(number: int) -> None:
        async with Line(place.gateway) as line:
            # Until the provider serves again, or half a minute has shown that it does not.
            while (passed := time.monotonic() - began) < seconds or (seen.back < 0 and passed < seconds + PATIENCE):
                await _call(line, place.keys[rule], seen, stream=number % 2 == 1)

    calling = [asyncio.create_task(caller(number)) for number in range(callers)]
    await asyncio.sleep(seconds / 3)
    os.kill(place.provider.pid, _SIGNALS[how])
    await asyncio.sleep(seconds / 3)
    await _back(place, how)
    back = time.monotonic()
    served = await asyncio.to_thread(_served, place.first)
    while time.monotonic() < back + PATIENCE and seen.back < 0:
        await asyncio.sleep(0.05)
        # At least as many as there are callers: more than the trial of a circuit, or what had waited there.
        if await asyncio.to_thread(_served, place.first) >= served + callers:
            seen.back = time.monotonic() - back
    await asyncio.gather(*calling)
    return Outcome(
        how=how, rule=rule, calls=seen.calls, failed=seen.failed.total(), broken=seen.broken, repeated=seen.repeated,
        statuses={str(status): count for status, count in sorted(seen.failed.items())},
        back_seconds=round(seen.back, 2),
    )  # fmt: skip


async def all_of(callers: int, seconds: float) -> list[Outcome]:
    """Every way of going out under every rule, in one run."""
    async with _running() as place:
        return [await measure(place, how, rule, callers, seconds) for how in HOWS for rule in Unsure]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show, keep, and return 1 where too many calls failed."""
    reader = argparse.ArgumentParser(prog="python -m bench.outage", description=(__doc__ or "").split("\n")[0])
    reader.add_argument("--seconds", type=float, default=15.0, help="for each outage, with a third before and after it")
    reader.add_argument("--callers", type=int, default=64)
    reader.add_argument("--json", action="store_true")
    reader.add_argument("--out", type=Path, default=HERE / "results" / "outage.json")
    reader.add_argument("--provider", type=int, help=argparse.SUPPRESS)
    given = reader.parse_args(arguments)
    if given.provider:
        uvloop.run(provide(given.provider))
        return 0
    found = asyncio.run(all_of(given.callers, given.seconds))
    rows = [{**msgspec.to_builtins(each), "failed_share": round(each.failed_share, 5)} for each in found]
    text = json.dumps(
        {"callers": given.callers, "seconds": given.seconds, "first_byte_seconds": FIRST_BYTE_SECONDS, "outages": rows},
        indent=1,
    )
    given.out.write_text(text + "\n")
    if given.json:
        print(text)
    else:
        table = Table(
            "the first provider", "retry_unsure", "calls", "failed", "share", "broken", "repeated", "back after"
        )
        for each in found:
            table.add_row(
                each.how, each.rule, f"{each.calls:,}", str(each.failed), f"{each.failed_share:.2%}", str(each.broken),
                str(each.repeated), f"{each.back_seconds:.1f} s",
            )  # fmt: skip
        Console().print(table)
    return int(not all(each.ok for each in found))


if __name__ == "__main__":
    sys.exit(main())
