"""Does a browser on the live view see every call that the ledger has, each second, and stay as it is?

    python -m bench.live [--rate 500] [--seconds 60] [--json]

`upshift serve` as a user runs it, before the simulated provider. Chromium opens the traffic page while nothing has been
called yet; then calls come at a steady rate. What the page's stream told is held against the ledger, call by call. The
admin process is timed with the page open and, under the same load, without it: the difference is what looking costs.
"""

import argparse
import contextlib
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from playwright.sync_api import CDPSession, Page, sync_playwright
from rich.console import Console
from rich.table import Table
from tests.browser import FLAGS, chromium

from bench.gateway import Machine, machine
from bench.load import Load, open_loop
from bench.peers import HERE, Peer, Place, start_upshift
from bench.process import Server, cpu_seconds, family_of, free_port, launch, wait_listening

RESULTS = HERE / "results" / "live.json"
_SIZE = 600
_START_SECONDS = 60.0
_HEAP_SECONDS = 5.0
"""How often the page's heap is looked at, after it was tidied."""
_SETTLE_SECONDS = 6.0
"""How long after the last call the page is left to hear of it."""
_LISTEN = """
window.looks = [];
window.EventSource = class extends EventSource {
  set onmessage(then) {
    super.onmessage = (event) => {
      const {calls, late, more, missed, trouble, refused} = JSON.parse(event.data);
      window.looks.push([performance.now(), calls, late, more, missed, trouble, refused]);
      then(event);
    };
  }
};
"""


class Heap(msgspec.Struct, frozen=True):
    """The page at one moment: what scripts hold, tidied, and how many nodes it has."""

    second: float
    kib: float
    nodes: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    date: str
    machine: Machine
    load_of_machine: tuple[float, float]
    """Processes that ran or waited to, in the mean of a minute, before and after."""
    rate: float
    """Calls per second that were asked for."""
    seconds: float
    answers: int
    errors: int
    p50_ms: float
    p99_ms: float
    in_ledger: int
    told: int
    """Calls that the page's stream told of."""
    looks: int
    missed_looks: int
    cut_looks: int
    """Looks that had more calls than are read."""
    longest_gap_seconds: float
    """Between two looks, as the browser heard them."""
    most_in_a_look: int
    heap: tuple[Heap, ...]
    heap_kib_per_minute: float
    """Of a straight line through the second half."""
    admin_ms_per_second: float
    """CPU time of the admin process with the page open,"""
    admin_ms_per_second_unwatched: float
    """and under the same load without."""
    ms_per_look: float
    """The difference, by looks."""
    reloads: int


def admin_of(peer: Peer) -> int:
    """The admin process of an `upshift serve`."""
    for pid in family_of(peer.server.pid):
        if b"admin-process" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise RuntimeError("there is no admin process")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[Peer, int, Path]]:
    """Provider and gateway; the admin's port, and the ledger."""
    provider, admin = free_port(), free_port()
    simulated = launch(
        [sys.executable, "-m", "upshift.simulated", "--port", str(provider)], core=None, log=folder / "provider.log"
    )
    servers: list[Server] = [simulated]
    try:
        peer = start_upshift(Place(folder, None, provider, provider), "--admin-port", str(admin))
        servers.append(peer.server)
        for port in (peer.port, admin):
            wait_listening(peer.server, port, _START_SECONDS)
        yield peer, admin, folder / "ledger.db"
    finally:
        for each in reversed(servers):
            each.stop()


def key_of(db: Path) -> str:
    """A new admin's key."""
    words = [sys.executable, "-m", "upshift", "key", "issue", "--role", "admin", "--name", "bench", "--json"]
    done = subprocess.run([*words, "--db", str(db)], capture_output=True, check=True, timeout=60)
    found: dict[str, Any] = msgspec.json.decode(done.stdout)
    return str(found["secret"])


def heap(session: CDPSession, page: Page, second: float) -> Heap:
    """What is left once the collector was there."""
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    return Heap(round(second, 1), round(used / 1024, 1), page.evaluate("document.querySelectorAll('*').length"))


def watch(page: Page, session: CDPSession, loading: "Future[list[Load]]", began: float) -> list[Heap]:
    """Look at the page now and then until the calls are over and told of."""
    found: list[Heap] = []
    while not loading.done():
        page.wait_for_timeout(_HEAP_SECONDS * 1000)
        found.append(heap(session, page, time.monotonic() - began))
    page.wait_for_timeout(_SETTLE_SECONDS * 1000)
    return found


def counted(db: Path) -> int:
    """Calls in the ledger."""
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as ledger:
        return int(ledger.execute("SELECT count(*) FROM calls").fetchone()[0])


def per_minute(heaps: Sequence[Heap]) -> float:
    """By how many KiB a line through the second half of them grows."""
    half = heaps[len(heaps) // 2 :]
    if len(half) < 2:
        return 0.0
    middle = sum(each.second for each in half) / len(half)
    mean = sum(each.kib for each in half) / len(half)
    spread = sum((each.second - middle) ** 2 for each in half)
    return 60 * sum((each.second - middle) * (each.kib - mean) for each in half) / spread if spread else 0.0


def _quantile(values: Sequence[float], share: float) -> float:
    return round(1000 * sorted(values)[int(share * (len(values) - 1))], 2) if values else 0.0


def measure(rate: float, seconds: float) -> Result:
    """Run it. Raises RuntimeError where something cannot be started."""
    path, before = chromium(), os.getloadavg()[0]
    if path is None:
        raise RuntimeError("there is no Chromium here; python -m tests.browser installs one")
    with (
        tempfile.TemporaryDirectory(prefix="upshift-live-") as name,
        served(Path(name)) as (peer, admin_port, db),
        ThreadPoolExecutor(1) as pool,
        sync_playwright() as playwright,
    ):
        admin = admin_of(peer)
        target = peer.target(_SIZE)
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        page = browser.new_page()
        navigations: list[str] = []
        page.on("framenavigated", lambda frame: navigations.append(frame.url))
        page.goto(f"http://127.0.0.1:{admin_port}/console/sign-in")
        page.fill("input[name=key]", key_of(db))
        page.click("button[type=submit], form button")
        page.wait_for_url("**/console/")
        page.add_init_script(_LISTEN)
        there = counted(db)
        page.goto(f"http://127.0.0.1:{admin_port}/console/traffic")
        page.wait_for_function("window.looks.length > 0")
        session, navigated = page.context.new_cdp_session(page), len(navigations)
        cpu, began = cpu_seconds(admin), time.monotonic()
        loading = pool.submit(open_loop, [target], rate=rate, seconds=seconds, asleep=True)
        heaps = watch(page, session, loading, began)
        spent, took = cpu_seconds(admin) - cpu, time.monotonic() - began
        looks = page.evaluate("window.looks")
        reloads = len(navigations) - navigated
        told, in_ledger = sum(each[1] for each in looks), counted(db) - there
        browser.close()
        (load,) = loading.result()
        cpu, began = cpu_seconds(admin), time.monotonic()
        open_loop([target], rate=rate, seconds=seconds / 2, asleep=True)
        time.sleep(_SETTLE_SECONDS)
        rest = (cpu_seconds(admin) - cpu) / (time.monotonic() - began)
    return Result(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        load_of_machine=(round(before, 1), round(os.getloadavg()[0], 1)),
        rate=rate,
        seconds=seconds,
        answers=load.answers,
        errors=load.errors,
        p50_ms=_quantile(load.latencies, 0.5),
        p99_ms=_quantile(load.latencies, 0.99),
        in_ledger=in_ledger,
        told=told,
        looks=len(looks),
        missed_looks=sum(each[4] for each in looks),
        cut_looks=sum(bool(each[3]) for each in looks),
        longest_gap_seconds=round(max((after[0] - one[0] for one, after in pairwise(looks)), default=0) / 1000, 2),
        most_in_a_look=max((each[1] for each in looks), default=0),
        heap=tuple(heaps),
        heap_kib_per_minute=round(per_minute(heaps), 1),
        admin_ms_per_second=round(1000 * spent / took, 1),
        admin_ms_per_second_unwatched=round(1000 * rest, 1),
        ms_per_look=round(1000 * (spent - rest * took) / max(1, len(looks)), 1),
        reloads=reloads,
    )


def main(words: Sequence[str]) -> int:
    """Exit code 1 when the page was not told of every call."""
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0, help="calls per second (default: 500)")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    found = measure(asked.rate, asked.seconds)
    asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    if asked.json:
        print(asked.out.read_text())
    else:
        table = Table("WHAT", "FIGURE")
        for name in found.__struct_fields__:
            if name not in ("machine", "heap"):
                table.add_row(name.replace("_", " "), str(getattr(found, name)))
        heaps = ", ".join(f"{each.kib:,.0f}" for each in found.heap)
        table.add_row("heap in KiB", heaps)
        Console().print(table)
    return 0 if found.told == found.in_ledger and not found.missed_looks else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
