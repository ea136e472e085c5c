"""What does translation cost: how many calls does a second of CPU time carry where the provider speaks another dialect?

    python -m bench.translation [--seconds N] [--rounds N] [--json] [--out FILE]

One gateway with keys, ceilings and its durable ledger on; a client that speaks Chat Completions; a provider that
answers the same words at once in Chat Completions (passed on as it is), in Anthropic Messages, in Responses and in
Gemini's dialect. Rounds take turns, so that what else the machine does hits all alike. Exits with 1 where a
translated call, whole or streamed, costs more than 1 / 0.7 of a native one.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench.load import Target, chat_request, closed_loop
from bench.process import cpu_seconds, free_port, launch, wait_listening
from bench.upstream import chat_answer, stream_events
from upshift.http.exchange import Exchange
from upshift.http.limits import ServerLimits
from upshift.http.server import serve
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.translate import Translation
from upshift.traffic.translate.words import Asked

LEAST_SHARE = 0.7
NATIVE = Dialect.OPENAI
FOREIGN = (Dialect.ANTHROPIC, Dialect.RESPONSES, Dialect.GEMINI)
CONNECTIONS = 32
SIZE = 2_000
_GAP_SECONDS = 0.002
_PLAN = """
upshift: 1
name: bench
providers: {PROVIDERS}
models: {MODELS}
model_tiers: {worker: [NAMES]}
tiers: [standard]
gates: {ample: {overage: hard-cap, ceilings: {standard: {month: 900000M}}}}
tenants: {bench: {owner: bench@example.com, timezone: UTC, users: {load: {tier: standard}}}}
workloads: {load: {owner: bench@example.com, status: committed, models: {primary: worker}, gate: ample}}
"""


def plan(upstream: int) -> str:
    """A provider and a model for each dialect, all at one upstream."""
    providers = ", ".join(
        f'{each}: {{dialect: {each}, base_url: "http://127.0.0.1:{upstream}'
        f'{"/v1" if each in (Dialect.OPENAI, Dialect.RESPONSES) else ""}"}}'
        for each in (NATIVE, *FOREIGN)
    )
    models = ", ".join(
        f"m-{each}: {{provider: {each}, context: 200k, max_output: 8192, price: {{input: 3.00, output: 15.00}}}}"
        for each in (NATIVE, *FOREIGN)
    )
    names = ", ".join(f"m-{each}" for each in (NATIVE, *FOREIGN))
    return _PLAN.replace("PROVIDERS", providers).replace("MODELS", models).replace("NAMES", names)


def answers() -> dict[bytes, tuple[bytes, list[bytes]]]:
    """The same answer, whole and as a stream's events, by the path that asks for it."""
    whole, events = chat_answer(800).encode(), stream_events()
    found = {b"/v1/chat/completions": (whole, events)}
    paths = {Dialect.ANTHROPIC: b"/v1/messages", Dialect.RESPONSES: b"/v1/responses", Dialect.GEMINI: b"/v1beta"}
    for dialect in FOREIGN:
        translation = Translation(dialect, NATIVE)
        stream = translation.stream("bench", Asked(wants_usage=True))
        said = [*(stream.feed(event) for event in events), stream.finish()]
        found[paths[dialect]] = (translation.reply(whole, "bench", Asked())[0], [each for each in said if each])
    return found


async def answer(known: dict[bytes, tuple[bytes, list[bytes]]], exchange: Exchange) -> None:
    """What the upstream says."""
    path = exchange.path
    whole, events = known[path if path in known else b"/v1beta"]
    if b"streamGenerate" not in path and b'"stream":true' not in exchange.body.replace(b" ", b""):
        exchange.respond(200, [(b"content-type", b"application/json")], whole)
        return
    exchange.start(200, [(b"content-type", b"text/event-stream")])
    for event in events:
        exchange.write(event)
        await asyncio.sleep(_GAP_SECONDS)
    exchange.end()


async def upstream(port: int) -> None:
    """Answer until ended."""
    limits = ServerLimits()
    await serve(
        partial(answer, answers()), "127.0.0.1", port, limits=limits, on_error=lambda error: print(repr(error)),
        on_bad_request=lambda status, reason, target, headers: ([], reason.encode()),
    )  # fmt: skip
    await asyncio.Event().wait()


def measure(seconds: float, rounds: int) -> dict[str, dict[Dialect, list[float]]]:
    """Answers per second of the gateway's CPU time, whole and streamed, by the provider's dialect, of each round."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        place, behind, port = Path(folder), free_port(), free_port()
        (place / "plan.yaml").write_text(plan(behind))
        upshift = [sys.executable, "-m", "upshift"]
        scope = ["--tenant", "bench", "--user", "load", "--name", "bench"]
        db = ["--db", str(place / "ledger.db")]
        for words in (["plan", "apply", str(place / "plan.yaml"), "--yes"], ["key", "issue", *scope]):
            done = subprocess.run([*upshift, *words, *db, "--json"], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"upshift {' '.join(words[:2])} failed: {(done.stderr or done.stdout)[-500:]}")
        key = {"Authorization": f"Bearer {json.loads(done.stdout)['secret']}"}
        servers = [
            launch([sys.executable, "-m", "bench.translation", "--upstream", str(behind)], core=cores[-1],
                   log=place / "upstream.log"),
            launch([*upshift, "serve", "--port", str(port), "--admin-port", "0", *db], core=cores[0],
                   log=place / "upshift.log"),
        ]  # fmt: skip
        try:
            wait_listening(servers[0], behind, 20)
            wait_listening(servers[1], port, 20)
            return _rounds(port, key, partial(cpu_seconds, servers[1].process.pid), seconds, rounds)
        finally:
            for server in servers:
                server.process.terminate()
                server.process.wait(10)


def _rounds(
    port: int, key: dict[str, str], meter: partial[float], seconds: float, rounds: int
) -> dict[str, dict[Dialect, list[float]]]:
    rates: dict[str, dict[Dialect, list[float]]] = {}
    for _ in range(rounds):
        for streaming in (False, True):
            for dialect in (NATIVE, *FOREIGN):
                path = "/v1/chat/completions"
                request = chat_request(port, path, key, f"m-{dialect}", size=SIZE, streaming=streaming)
                load = closed_loop(
                    Target(port, request, streaming), meter, connections=CONNECTIONS, warm=0.3, seconds=seconds
                )
                if load.errors:
                    raise RuntimeError(f"{dialect}: {load.errors} errors, as {load.error_samples[0]}")
                kind = rates.setdefault("streamed" if streaming else "whole", {})
                kind.setdefault(dialect, []).append(load.answers / load.cpu_seconds)
    return rates


def _typical(rates: Mapping[Dialect, Sequence[float]], digits: int) -> dict[Dialect, float]:
    return {dialect: round(statistics.median(each), digits) for dialect, each in rates.items()}


def _shares(rates: Mapping[Dialect, Sequence[float]]) -> dict[Dialect, float]:
    """Of the native rate of the same round, since what else the machine does changes from one to the next."""
    of_round = {
        each: [rate / native for rate, native in zip(rates[each], rates[NATIVE], strict=True)] for each in FOREIGN
    }
    return _typical(of_round, 3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show, and return 1 where translation costs too much."""
    reader = argparse.ArgumentParser(prog="python -m bench.translation", description=(__doc__ or "").split("\n")[0])
    reader.add_argument("--seconds", type=float, default=2.0, help="for each measurement (default: 2)")
    reader.add_argument("--rounds", type=int, default=3)
    reader.add_argument("--json", action="store_true")
    reader.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "translation.json")
    reader.add_argument("--upstream", type=int, help=argparse.SUPPRESS)
    given = reader.parse_args(arguments)
    if given.upstream:
        uvloop.run(upstream(given.upstream))
    measured = measure(given.seconds, given.rounds)
    found = {kind: _typical(rates, 1) for kind, rates in measured.items()}
    shares = {kind: _shares(rates) for kind, rates in measured.items()}
    text = json.dumps(
        {
            "python": platform.python_version(),
            "seconds": given.seconds,
            "rounds": given.rounds,
            "least_share": LEAST_SHARE,
            "answers_per_core_second": found,
            "share_of_native": shares,
        },
        indent=1,
    )
    given.out.write_text(text + "\n")
    if given.json:
        print(text)
    else:
        table = Table("answers", "provider speaks", "per second of CPU time", "share of native")
        for kind, rates in found.items():
            for dialect, rate in rates.items():
                table.add_row(kind, dialect, f"{rate:,.0f}", f"{shares[kind].get(dialect, 1.0):.2f}")
        Console().print(table)
    return int(any(share < LEAST_SHARE for each in shares.values() for share in each.values()))


if __name__ == "__main__":
    sys.exit(main())
