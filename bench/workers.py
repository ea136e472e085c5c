"""What does a second worker bring? Answers per core-second of one gateway process, and of workers that share a keeper.

    python -m bench.workers [--workers 2] [--rounds 5] [--seconds 3] [--json]

All processes of a gateway are bound to one core, as in bench.gateway: their cost per answer is what decides how N cores
scale, and a machine with as few cores as this bench needs cannot show it in seconds of the clock.
"""

import argparse
import gc
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from bench.load import closed_loop
from bench.peers import HERE, Peer, Place, start_nginx_upstream, start_stream_upstream, start_upshift, wait_ready
from bench.process import cpu_seconds, free_port

CONNECTIONS = 64


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of the rounds, in answers per core-second. `brings`: how many times one process N workers are worth."""

    workers: int
    one_process: float
    with_workers: float
    brings: float
    errors: int


def compare(workers: int, rounds: int, seconds: float) -> Compared:
    """Both in turn, so that a disturbance of the machine meets both alike. RuntimeError where one will not start."""
    cores = sorted(os.sched_getaffinity(0))
    upstream_port, stream_port = free_port(), free_port()
    rates: dict[str, list[float]] = {"one": [], "many": []}
    errors = 0
    with tempfile.TemporaryDirectory(prefix="upshift-workers-") as folder:
        tmp = Path(folder)
        tmp.chmod(0o755)
        servers = [
            start_nginx_upstream(tmp, cores[-1], upstream_port),
            start_stream_upstream(tmp, cores[-1], stream_port),
        ]
        peers: dict[str, Peer] = {}
        try:
            for name, words in (("one", ()), ("many", ("--workers", str(workers)))):
                (tmp / name).mkdir()
                peers[name] = start_upshift(Place(tmp / name, cores[0], upstream_port, stream_port), *words)
                servers.append(peers[name].server)
                wait_ready(peers[name])
            for _ in range(rounds):
                for name, peer in peers.items():
                    gc.collect()
                    load = closed_loop(
                        peer.target(600),
                        lambda peer=peer: cpu_seconds(peer.server.pid),  # type: ignore[misc]
                        connections=CONNECTIONS,
                        warm=1.0,
                        seconds=seconds,
                    )
                    rates[name].append(load.answers / max(load.cpu_seconds, 0.01))
                    errors += load.errors
        finally:
            for server in servers:
                server.stop()
    one, many = statistics.median(rates["one"]), statistics.median(rates["many"])
    return Compared(
        workers=workers,
        one_process=round(one, 1),
        with_workers=round(many, 1),
        brings=round(workers * many / one, 2),
        errors=errors,
    )


def main(words: Sequence[str]) -> int:
    """Compares, says so, and writes results/workers.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "workers.json")
    asked = parser.parse_args(words)
    found = compare(asked.workers, asked.rounds, asked.seconds)
    asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    if asked.json:
        print(asked.out.read_text())
    else:
        Console().print(
            f"one process {found.one_process:.0f}, {found.workers} workers {found.with_workers:.0f} answers per "
            f"core-second: on {found.workers} cores they are worth {found.brings} of the one"
        )
    return 0 if not found.errors else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
