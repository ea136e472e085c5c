"""Does a gateway under steady load stay as it is: memory, descriptors, threads, answers, ledger?

    python -m bench.soak [--minutes 60] [--rate 200] [--json]

Three of four requests are answered whole, one is streamed. Each half minute the gateway's processes are looked at; a
straight line through each figure after the first sixth, in which caches fill, says what it grows by in an hour.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench.load import Load, open_loop
from bench.peers import HERE, Place, start_nginx_upstream, start_stream_upstream, start_upshift, wait_ready
from bench.process import cpu_seconds, family_of, free_port, parse_resident

SLICE_SECONDS = 30.0
FILLING = 6
"""The first sixth of the run is not judged."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one process is at one moment. Memory in MiB."""

    minute: float
    resident_mib: float
    descriptors: int
    threads: int


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """How a process changed: first and last look that count, and the slope of a line through all of them."""

    process: str
    looks: int
    resident_mib: tuple[float, float]
    mib_per_hour: float
    descriptors: tuple[int, int]
    descriptors_per_hour: float
    threads: tuple[int, int]


class Soaked(msgspec.Struct, frozen=True, kw_only=True):
    """What is written to soak.json."""

    date: str
    minutes: float
    rate: float
    answers: int
    errors: int
    error_samples: list[str]
    p50_ms: tuple[float, float]
    p99_ms: tuple[float, float]
    """Of the first and of the last sixth."""
    cores_busy: float
    ledger_mib: float
    verified: bool
    trends: list[Trend]


def look(pid: int, minute: float) -> Look | None:
    """One process now; None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Look(minute=minute, resident_mib=parse_resident(status), descriptors=descriptors, threads=threads)


def per_hour(minutes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of the least-squares line, per hour; 0 for fewer than two looks."""
    return statistics.linear_regression(minutes, values).slope * 60 if len(minutes) > 1 else 0.0


def trend(process: str, looks: Sequence[Look]) -> Trend:
    """What became of one process."""
    minutes = [each.minute for each in looks]
    first, last = looks[0], looks[-1]
    return Trend(
        process=process,
        looks=len(looks),
        resident_mib=(round(first.resident_mib, 1), round(last.resident_mib, 1)),
        mib_per_hour=round(per_hour(minutes, [each.resident_mib for each in looks]), 2),
        descriptors=(first.descriptors, last.descriptors),
        descriptors_per_hour=round(per_hour(minutes, [float(each.descriptors) for each in looks]), 2),
        threads=(first.threads, last.threads),
    )


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    return "admin" if "admin-process" in words else words[3] if len(words) > 3 else words[0]


def _quantile(loads: Sequence[Load], share: float) -> float:
    all_of_them = sorted(latency for load in loads for latency in load.latencies)
    return round(1000 * all_of_them[int(share * (len(all_of_them) - 1))], 2) if all_of_them else 0.0


def soak(minutes: float, rate: float, say: Console) -> Soaked:
    """Run it. Raises RuntimeError when something cannot be started."""
    cores = sorted(os.sched_getaffinity(0))
    upstream_port, stream_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="upshift-soak-") as folder:
        tmp = Path(folder)
        tmp.chmod(0o755)
        upstreams = [
            start_nginx_upstream(tmp, cores[-1], upstream_port),
            start_stream_upstream(tmp, cores[-1], stream_port),
        ]
        peer = start_upshift(Place(tmp, cores[0], upstream_port, stream_port))
        try:
            wait_ready(peer)
            looks: dict[int, list[Look]] = {}
            names: dict[int, str] = {}
            loads: list[Load] = []
            before, began = cpu_seconds(peer.server.pid), time.monotonic()
            targets = [peer.target(600), peer.target(16_000), peer.target(600), peer.target(600, streaming=True)]
            slices = max(2, round(minutes * 60 / SLICE_SECONDS))
            for _ in range(slices):
                loads += open_loop(targets, rate=rate / len(targets), seconds=SLICE_SECONDS, asleep=True)
                minute = (time.monotonic() - began) / 60
                for pid in family_of(peer.server.pid):
                    found = look(pid, minute)
                    if found is not None:
                        names.setdefault(pid, _name(pid))
                        looks.setdefault(pid, []).append(found)
                served, failed = sum(load.answers for load in loads), sum(load.errors for load in loads)
                memory = sum(each[-1].resident_mib for each in looks.values())
                say.print(f"{minute:5.1f} min  {served} answers  {failed} errors  {memory:.0f} MiB", highlight=False)
            busy = (cpu_seconds(peer.server.pid) - before) / (time.monotonic() - began)
            peer.server.process.terminate()
            peer.server.process.wait(30)
            verify = [sys.executable, "-m", "upshift", "verify", "--db", str(tmp / "ledger.db"), "--json"]
            sound = subprocess.run(verify, capture_output=True, check=False).returncode == 0
            size = sum(path.stat().st_size for path in tmp.glob("ledger.db*")) / 2**20
        finally:
            peer.server.stop()
            for each in upstreams:
                each.stop()
    part = len(loads) // FILLING or 1
    judged = {pid: each[len(each) // FILLING :] for pid, each in looks.items()}
    return Soaked(
        date=time.strftime("%Y-%m-%d"),
        minutes=round(minutes, 1),
        rate=rate,
        answers=sum(load.answers for load in loads),
        errors=sum(load.errors for load in loads),
        error_samples=[sample for load in loads for sample in load.error_samples][:5],
        p50_ms=(_quantile(loads[:part], 0.5), _quantile(loads[-part:], 0.5)),
        p99_ms=(_quantile(loads[:part], 0.99), _quantile(loads[-part:], 0.99)),
        cores_busy=round(busy, 3),
        ledger_mib=round(size, 1),
        verified=sound,
        trends=[trend(names[pid], each) for pid, each in judged.items() if len(each) > 1],
    )


def main(words: Sequence[str]) -> int:
    """Runs it, says what came, and writes results/soak.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second (default: 200)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "soak.json")
    asked = parser.parse_args(words)
    found = soak(asked.minutes, asked.rate, Console(stderr=True))
    asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    if asked.json:
        print(asked.out.read_text())
    else:
        table = Table("process", "MiB", "MiB per hour", "descriptors", "per hour", "threads")
        for each in found.trends:
            table.add_row(
                each.process,
                f"{each.resident_mib[0]:g} -> {each.resident_mib[1]:g}",
                f"{each.mib_per_hour:+.2f}",
                f"{each.descriptors[0]} -> {each.descriptors[1]}",
                f"{each.descriptors_per_hour:+.2f}",
                f"{each.threads[0]} -> {each.threads[1]}",
            )
        Console().print(table, f"{found.answers} answers, {found.errors} errors, verified: {found.verified}")
    return 0 if found.verified and not found.errors else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
