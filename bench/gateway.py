"""How many calls does a second of CPU time carry through Upshift, and through the others beside it?"""

import argparse
import contextlib
import datetime
import functools
import gc
import os
import platform
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.chart import Bar, Panel, chart
from bench.figures import (
    Latency,
    Promise,
    Rate,
    Row,
    StreamRow,
    latency,
    promises,
    rate,
    stream_rows,
    summary,
)
from bench.load import Load, Target, chat_request, closed_loop, open_loop
from bench.peers import (
    CHAT,
    Declared,
    Peer,
    Place,
    nginx_version,
    read_peers,
    start_declared,
    start_litellm,
    start_nginx,
    start_nginx_upstream,
    start_stream_upstream,
    start_upshift,
    wait_ready,
)
from bench.process import cpu_seconds, free_port, resident_mib
from bench.upstream import CHUNKS, GAP_SECONDS

CONNECTIONS = 64
LATENCY_RATE = 50.0
SIZES = (16_000, 100_000)
HEADLINE = 600
SLOW = 500.0
"""Requests per core-second."""
BUILT_IN: dict[str, Callable[[Place], Peer]] = {
    "nginx": start_nginx,
    "upshift": start_upshift,
    "litellm": start_litellm,
}
MEANING = {
    "requests_per_core_second": "right answers per second of CPU time of the gateway's whole process tree, "
    f"not streamed, {HEADLINE}-byte requests, {CONNECTIONS} connections; median of the rounds",
    "chunks_per_core_second": f"the same for streamed chunks: {CHUNKS} and one with usage per stream, "
    f"{GAP_SECONDS * 1000:.0f} ms apart, {CONNECTIONS} streams at once",
    "p50_ms, p99_ms": f"through the gateway at {LATENCY_RATE:.0f} requests per second; *_added_ms: above the upstream "
    "asked directly in turn",
    "cores_busy": "CPU seconds per second: well below 1, the load is the limit and not the gateway",
    "rss_mib": "resident memory of the process tree after the load",
    "errors": "answers that were not a complete 200 with usage; never counted as requests",
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long each part of a round takes, in seconds, and how many rounds there are."""

    rounds: int
    seconds: float
    sizes_seconds: float
    latency_seconds: float
    warm: float


DEFAULT = Schedule(rounds=5, seconds=2.5, sizes_seconds=1.5, latency_seconds=5.0, warm=0.5)
QUICK = Schedule(rounds=1, seconds=2.0, sizes_seconds=1.0, latency_seconds=3.0, warm=0.4)


@dataclass(slots=True)
class Taken:
    """The rounds of one gateway, by what was sent."""

    plain: list[Load] = field(default_factory=list)
    streams: list[Load] = field(default_factory=list)
    sizes: dict[int, list[Load]] = field(default_factory=lambda: {size: [] for size in SIZES})
    slow: list[Load] = field(default_factory=list)
    direct: list[Load] = field(default_factory=list)
    resident: float = 0.0


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    cpu: str
    cores: int
    memory_mib: int
    kernel: str
    python: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is written to gateway.json."""

    rows: list[Row]
    streaming: list[StreamRow]
    sizes: dict[str, dict[str, Rate]]
    latency: dict[str, Latency]
    promises: list[Promise]
    failed: dict[str, str]
    meaning: dict[str, str]
    date: str
    machine: Machine
    versions: dict[str, str]
    rounds: int
    seconds: float
    connections: int


def machine() -> Machine:
    """This one."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=model[1] if model else platform.machine(),
        cores=os.cpu_count() or 1,
        memory_mib=pages // 2**20,
        kernel=platform.release(),
        python=platform.python_version(),
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No garbage collection in the load generator while it measures."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Bench:
    """One run: what is started, what was taken, what failed."""

    def __init__(self, place: Place, schedule: Schedule, say: Console) -> None:
        self._place = place
        self._schedule = schedule
        self._say = say
        self.peers: list[Peer] = []
        self.taken: dict[str, Taken] = {}
        self.failed: dict[str, str] = {}

    def start(self, wanted: Sequence[tuple[str, Callable[[Place], Peer]]]) -> None:
        """Starts all of them, then waits for each; one that does not come up is reported and left out."""
        for name, starter in wanted:
            try:
                self.peers.append(starter(self._place))
            except (OSError, RuntimeError, ValueError, KeyError) as error:
                self._fail(name, f"did not start: {error}")
        for peer in list(self.peers):
            began = time.monotonic()
            try:
                wait_ready(peer)
            except (OSError, RuntimeError) as error:
                self._fail(peer.name, f"did not answer: {error} | {peer.server.last_words(500)}")
                continue
            self.taken[peer.name] = Taken()
            self._say.print(f"{peer.name} {peer.version} answers after {time.monotonic() - began:.1f} s more")

    def _fail(self, name: str, why: str) -> None:
        self.failed[name] = why
        self._say.print(f"{name} {why}", style="red", markup=False)
        for peer in [peer for peer in self.peers if peer.name == name]:
            peer.server.stop()
            self.peers.remove(peer)

    def stop(self) -> None:
        """Ends all gateways that still run."""
        for peer in self.peers:
            peer.server.stop()

    def measure(self) -> None:
        """All rounds, the gateways in turn within each part: A B C A B C, never A A B B."""
        for number in range(self._schedule.rounds):
            self._say.print(f"round {number + 1} of {self._schedule.rounds}")
            for part in (self._plain, self._streams, self._sizes, self._latency):
                for peer in [peer for peer in self.peers if number % 2 == 0 or not self._slow(peer)]:
                    try:
                        with quiet():
                            part(peer)
                    except OSError as error:
                        self._fail(peer.name, f"broke down: {error}")

    def _slow(self, peer: Peer) -> bool:
        # A gateway that takes most of the time and is thousands apart from the others sits out every other round.
        loads = self.taken[peer.name].plain
        return bool(loads) and rate(loads).median < SLOW

    def _closed(self, peer: Peer, target: Target, seconds: float) -> Load:
        return closed_loop(
            target,
            lambda: cpu_seconds(peer.server.pid),
            connections=CONNECTIONS,
            warm=self._schedule.warm,
            seconds=seconds,
        )

    def _plain(self, peer: Peer) -> None:
        taken = self.taken[peer.name]
        taken.plain.append(self._closed(peer, peer.target(HEADLINE), self._schedule.seconds))
        taken.resident = max(taken.resident, resident_mib(peer.server.pid))

    def _streams(self, peer: Peer) -> None:
        if peer.streaming:
            target = peer.target(HEADLINE, streaming=True)
            self.taken[peer.name].streams.append(self._closed(peer, target, self._schedule.seconds))

    def _sizes(self, peer: Peer) -> None:
        for size in SIZES:
            load = self._closed(peer, peer.target(size), self._schedule.sizes_seconds)
            self.taken[peer.name].sizes[size].append(load)

    def _latency(self, peer: Peer) -> None:
        port = self._place.upstream_port
        direct = Target(port, chat_request(port, CHAT, {}, "bench", size=HEADLINE, streaming=False))
        targets = [direct, peer.target(HEADLINE)]
        beside, through = open_loop(targets, rate=LATENCY_RATE, seconds=self._schedule.latency_seconds)
        self.taken[peer.name].direct.append(beside)
        self.taken[peer.name].slow.append(through)

    def report(self) -> Report:
        """What came of it."""
        rates = {name: rate(taken.plain) for name, taken in self.taken.items() if taken.plain}
        streams = {name: rate(taken.streams, chunks=True) for name, taken in self.taken.items() if taken.streams}
        delays = {name: latency(taken.slow, taken.direct) for name, taken in self.taken.items() if taken.slow}
        sizes = {str(HEADLINE): rates} | {
            str(size): {name: rate(taken.sizes[size]) for name, taken in self.taken.items() if taken.sizes[size]}
            for size in SIZES
        }
        rows = summary(rates, delays, {name: taken.resident for name, taken in self.taken.items()})
        return Report(
            rows=rows,
            streaming=stream_rows(streams),
            sizes=sizes,
            latency=delays,
            promises=promises(rows),
            failed=self.failed,
            meaning=MEANING,
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            machine=machine(),
            versions={"upstream nginx": nginx_version()} | {peer.name: peer.version for peer in self.peers},
            rounds=self._schedule.rounds,
            seconds=self._schedule.seconds,
            connections=CONNECTIONS,
        )


def _cell(value: float | None, form: str = ",.0f") -> str:
    return "–" if value is None else format(value, form)


def show(report: Report, say: Console) -> None:
    """The tables, for a person."""
    table = Table(title="Requests per core-second (keys, ceilings and durable ledger on for upshift)")
    for column in ("gateway", "req/core-s", "min", "max", "× nginx", "busy", "+p50 ms", "+p99 ms", "MiB", "errors"):
        table.add_column(column, justify="left" if column == "gateway" else "right")
    for row in report.rows:
        table.add_row(
            row.name,
            *(_cell(value) for value in (row.requests_per_core_second, row.least, row.most)),
            _cell(row.ratio_to_nginx, ".3g"),
            _cell(row.cores_busy, ".2f"),
            _cell(row.p50_added_ms, ".2f"),
            _cell(row.p99_added_ms, ".2f"),
            _cell(row.rss_mib),
            str(row.errors),
            style="bold" if row.name == "upshift" else None,
        )
    say.print(table)
    table = Table(title="By size of the request, and streamed")
    for column in ("gateway", *(f"{int(size) / 1000:g} KB" for size in report.sizes), "chunks/core-s", "× nginx"):
        table.add_column(column, justify="left" if column == "gateway" else "right")
    streams = {row.name: row for row in report.streaming}
    for row in report.rows:
        by_size = [rates[row.name].median if row.name in rates else None for rates in report.sizes.values()]
        stream = streams.get(row.name)
        chunks, ratio = (stream.chunks_per_core_second, stream.ratio_to_nginx) if stream else (None, None)
        table.add_row(row.name, *(_cell(value) for value in by_size), _cell(chunks), _cell(ratio, ".3g"))
    say.print(table)
    for promise in report.promises:
        verdict = {True: "kept", False: "MISSED", None: "not measured"}[promise.met]
        say.print(f"{promise.what} {promise.wanted:g}: {_cell(promise.measured, '.3g')}  {verdict}")
    for text in faults(report):
        say.print(text, style="red", markup=False)


def faults(report: Report) -> list[str]:
    """Everything that makes a figure doubtful or missing, a line each."""
    lines = [f"{name} {why}" for name, why in report.failed.items()]
    lines += [f"{row.name}: {row.errors} errors: {row.error_samples}" for row in report.rows if row.errors]
    lines += [
        f"{row.name}, streamed: {row.errors} errors: {row.error_samples}" for row in report.streaming if row.errors
    ]
    for size, rates in report.sizes.items():
        if size != str(HEADLINE):
            wrong = [(name, rate) for name, rate in rates.items() if rate.errors]
            lines += [f"{name}, {size} bytes: {rate.errors} errors: {rate.error_samples}" for name, rate in wrong]
    return lines


def picture(report: Report) -> str:
    """The chart of a report."""
    where = f"{report.machine.cores} cores, {report.machine.cpu}, {report.date[:10]}; logarithmic"
    return chart(
        [
            Panel(
                "Requests per second of CPU time",
                f"not streamed, {HEADLINE}-byte requests, {report.connections} connections; {where}",
                [
                    Bar(row.name, row.requests_per_core_second or 0, row.ratio_to_nginx, bool(row.errors))
                    for row in report.rows
                ],
            ),
            Panel(
                "Streamed chunks per second of CPU time",
                f"{CHUNKS + 1} chunks per stream, {GAP_SECONDS * 1000:.0f} ms apart, "
                f"{report.connections} streams at once",
                [
                    Bar(row.name, row.chunks_per_core_second, row.ratio_to_nginx, bool(row.errors))
                    for row in report.streaming
                ],
            ),
        ]
    )


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: under 90 s, only a hint")
    parser.add_argument("--peers", type=Path, metavar="FILE.toml", help="further gateways; see peers.example.toml")
    parser.add_argument("--only", metavar="A,B", help="only these gateways")
    parser.add_argument("--rounds", type=int, help="rounds to take medians of")
    parser.add_argument("--seconds", type=float, help="seconds of each measurement")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of tables")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", metavar="DIR")
    return parser.parse_args(words)


def _schedule(arguments: argparse.Namespace) -> Schedule:
    base = QUICK if arguments.quick else DEFAULT
    seconds = arguments.seconds or base.seconds
    scale = seconds / base.seconds
    return Schedule(
        rounds=arguments.rounds or base.rounds,
        seconds=seconds,
        sizes_seconds=base.sizes_seconds * scale,
        latency_seconds=base.latency_seconds * scale,
        warm=base.warm,
    )


def _wanted(declared: Sequence[Declared], only: str | None) -> list[tuple[str, Callable[[Place], Peer]]]:
    starters = dict(BUILT_IN)
    for one in declared:
        starters[one.name] = functools.partial(start_declared, one)
    names = only.split(",") if only else list(starters)
    if unknown := set(names) - set(starters):
        raise SystemExit(f"unknown gateway {', '.join(sorted(unknown))}; there are {', '.join(starters)}")
    return [(name, starters[name]) for name in names]


def main(words: Sequence[str]) -> int:
    """Runs the bench. The exit status is 1 where a gateway failed or answered wrongly, else 0."""
    arguments = _arguments(words)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the bench wants two cores: one for the gateway alone, one for load and upstream")
    wanted = _wanted(read_peers(arguments.peers) if arguments.peers else [], arguments.only)
    say = Console(stderr=arguments.json)
    # Ended from outside, the servers still have to be.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with contextlib.ExitStack() as stack:
        tmp = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="upshift-bench-")))
        place = Place(tmp, core=cores[0], upstream_port=free_port(), stream_port=free_port())
        os.sched_setaffinity(0, {cores[1]})
        stack.callback(start_nginx_upstream(tmp, cores[1], place.upstream_port).stop)
        stack.callback(start_stream_upstream(tmp, cores[1], place.stream_port).stop)
        bench = Bench(place, _schedule(arguments), say)
        stack.callback(bench.stop)
        bench.start(wanted)
        bench.measure()
        report = bench.report()
    arguments.out.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2)
    (arguments.out / "gateway.json").write_bytes(encoded + b"\n")
    (arguments.out / "gateway.svg").write_text(picture(report))
    if arguments.json:
        sys.stdout.write(encoded.decode() + "\n")
    else:
        show(report, say)
        say.print(f"written to {arguments.out}/gateway.json and gateway.svg")
    return 1 if faults(report) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
