"""How much later does each chunk of a stream arrive because it went through a gateway?

    python -m bench.chunks [--streams 20] [--rounds 5] [--real-time] [--json]

The upstream writes the time into each chunk; whoever receives it, on the same machine and clock, subtracts. Streams go
to the upstream directly, through nginx, and through Upshift, in turn. The first chunk is told apart: it waits for the
call's hold and for the beginning of an answer. The last ones, which wait for the record to be on disk, are not chunks
with text.

A gateway that is ready to run waits for a core while something else is running there. How long it did is told apart,
and with --real-time (root) what is measured runs before all else on the machine.
"""

import argparse
import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from bench.peers import HERE, Peer, Place, start_nginx, start_nginx_upstream, start_upshift, wait_ready
from bench.process import Server, at_rest, cpu_seconds, family_of, free_port, launch, wait_listening, waited_seconds
from bench.upstream import CHUNKS, Streaming, framed, stream_events

SENT_AT = re.compile(rb"@(\d+)@")
_TEXT = b'"content":" ceiling"'
_UNSET = b"@%020d@" % 0


def _unstamped() -> list[bytes]:
    return framed([event.replace(_TEXT, b'"content":"' + _UNSET + b'"') for event in stream_events()])


class Stamping(Streaming):
    """A stream whose chunks say when they were written, in nanoseconds of the machine's monotonic clock."""

    def piece(self, number: int) -> bytes:
        return super().piece(number).replace(_UNSET, b"@%020d@" % time.monotonic_ns())


async def serve(port: int) -> None:
    """Streams on `port` of loopback until the process is ended."""
    loop = asyncio.get_running_loop()
    pieces = _unstamped()
    server = await loop.create_server(lambda: Stamping(pieces, loop), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


class Listener(asyncio.Protocol):
    """Sends one request; `late` has the delay of each chunk, in seconds, once `ended` is done."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._rest = b""
        self.late: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self._rest + data
        end = 0
        for found in SENT_AT.finditer(data):
            self.late.append((now - int(found[1])) / 1e9)
            end = found.end()
        self._rest = data[end:][-64:]
        if b"[DONE]" in data:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Lateness(msgspec.Struct, frozen=True, kw_only=True):
    """Of one way, in milliseconds: medians over the rounds."""

    way: str
    chunks: int
    p50_ms: float
    p99_ms: float
    added_p50_ms: float
    added_p99_ms: float
    first_p50_ms: float
    cpu_us: float
    """Of the gateway, all its processes and threads, per chunk: a call's beginning and end are in it."""
    waited_us: float
    """Per chunk, that the gateway's processes were ready to run and something else had their core."""
    real_time: bool


async def listen(port: int, request: bytes, streams: int) -> list[list[float]]:
    """Open the streams a little apart, as clients do; how late the chunks of each were."""
    loop = asyncio.get_running_loop()
    listeners = []
    for _ in range(streams):
        _, listener = await loop.create_connection(lambda: Listener(request), "127.0.0.1", port)
        listeners.append(listener)
        await asyncio.sleep(0.003)
    await asyncio.wait_for(asyncio.gather(*(each.ended for each in listeners)), 60)
    for each in listeners:
        if len(each.late) != CHUNKS - 1:
            raise RuntimeError(f"a stream had {len(each.late)} chunks with a time, expected {CHUNKS - 1}")
    return [each.late for each in listeners]


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return 1000 * ordered[int(share * (len(ordered) - 1))]


def _first_of_all(pids: Sequence[int]) -> None:
    """Let these processes run whenever they can, whatever else there is to do. Raises PermissionError."""
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(task), os.SCHED_RR, os.sched_param(1))


def measure(streams: int, rounds: int, real_time: bool, say: Console) -> list[Lateness]:
    """Each way in turn, round after round. The gateways have one core, what asks and what answers another."""
    cores = sorted(os.sched_getaffinity(0))
    upstream_port, stream_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="upshift-chunks-") as folder:
        tmp = Path(folder)
        tmp.chmod(0o755)
        stamping = [sys.executable, "-m", "bench.chunks", "--serve", str(stream_port)]
        servers: list[Server] = [
            start_nginx_upstream(tmp, cores[-1], upstream_port),
            launch(stamping, core=cores[-1], log=tmp / "stream.log", env={"PYTHONPATH": str(HERE.parent)}),
        ]
        taken: dict[str, list[Round]] = {"direct": [], "nginx": [], "upshift": []}
        try:
            wait_listening(servers[1], stream_port, 10)
            peers: dict[str, Peer] = {}
            for name, start in (("nginx", start_nginx), ("upshift", start_upshift)):
                (tmp / name).mkdir()
                (tmp / name).chmod(0o755)
                peers[name] = start(Place(tmp / name, cores[0], upstream_port, stream_port))
                servers.append(peers[name].server)
                wait_ready(peers[name])
            # Its admin process is still starting, on the same core.
            at_rest(peers["upshift"].server.pid)
            os.sched_setaffinity(0, {cores[-1]})
            if real_time:
                mine = [os.getpid(), servers[1].pid, *family_of(peers["nginx"].server.pid)]
                _first_of_all([*mine, peers["upshift"].server.pid])
            asked = peers["nginx"].target(streaming=True)
            for number in range(rounds):
                taken["direct"].append(_round(0, stream_port, asked.request, streams))
                for name, peer in peers.items():
                    request = peer.target(streaming=True).request
                    taken[name].append(_round(peer.server.pid, peer.port, request, streams))
                say.print(f"round {number + 1} of {rounds}", highlight=False)
        finally:
            os.sched_setaffinity(0, cores)
            for server in servers:
                server.stop()
    return [_told(name, each, taken["direct"], real_time) for name, each in taken.items()]


class Round(msgspec.Struct, frozen=True):
    """Delays of the chunks of each stream, and the gateway's figures, all in seconds."""

    late: list[list[float]]
    cpu: float
    waited: float


def _round(gateway: int, port: int, request: bytes, streams: int) -> Round:
    """`gateway` is its process; 0 where there is none."""
    cpu, waited = (cpu_seconds(gateway), waited_seconds(gateway)) if gateway else (0.0, 0.0)
    late = uvloop.run(listen(port, request, streams))
    if not gateway:
        return Round(late, 0.0, 0.0)
    return Round(late, cpu_seconds(gateway) - cpu, waited_seconds(gateway) - waited)


def _told(way: str, rounds: list[Round], direct: list[Round], real_time: bool) -> Lateness:
    def middle(share: float, of: list[Round]) -> float:
        return statistics.median(_quantile([late for each in one.late for late in each[1:]], share) for one in of)

    first = statistics.median(_quantile([each[0] for each in one.late], 0.5) for one in rounds)
    p50, p99 = middle(0.5, rounds), middle(0.99, rounds)
    chunks = sum(len(each) for one in rounds for each in one.late)
    return Lateness(
        way=way,
        chunks=chunks,
        p50_ms=round(p50, 3),
        p99_ms=round(p99, 3),
        added_p50_ms=round(p50 - middle(0.5, direct), 3),
        added_p99_ms=round(p99 - middle(0.99, direct), 3),
        first_p50_ms=round(first, 3),
        cpu_us=round(1e6 * sum(one.cpu for one in rounds) / chunks, 1),
        waited_us=round(1e6 * sum(one.waited for one in rounds) / chunks, 1),
        real_time=real_time,
    )


def main(words: Sequence[str]) -> int:
    """Measures, shows it, and writes results/chunks.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.chunks", description=__doc__)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--real-time", action="store_true", help="before all else that runs on this machine")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "chunks.json")
    asked = parser.parse_args(words)
    if asked.serve:
        uvloop.run(serve(asked.serve))
        return 0
    found = measure(asked.streams, asked.rounds, asked.real_time, Console(stderr=True))
    asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    if asked.json:
        print(asked.out.read_text())
    else:
        table = Table("way", "chunks", "p50 ms", "p99 ms", "added p50", "added p99", "first p50", "CPU us", "waited us")
        for each in found:
            figures = (each.p50_ms, each.p99_ms, each.added_p50_ms, each.added_p99_ms, each.first_p50_ms)
            shares = (each.cpu_us, each.waited_us)
            table.add_row(
                each.way, str(each.chunks), *(f"{one:.2f}" for one in figures), *(f"{one:.0f}" for one in shares)
            )
        Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
