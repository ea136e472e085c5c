"""How long does the server take for each page of the console, and for usage over the API, with a month of calls?

    python -m bench.pages --records 10000000 [--sqlite] [--json]

A PostgreSQL server of its own is started, filled by quick.py and thrown away, or with --sqlite a file is filled by
quick_file.py; with --db a database that was filled so is read. The plan has 300 workloads. Cold is the first time that
a new process is asked; warm is the median of `--runs`. What counts is CPU time of this process and the database, which
other work on the machine does not change by much.
"""

import argparse
import contextlib
import functools
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from starlette.testclient import TestClient

from bench import quick, quick_file
from bench.gateway import Machine, machine
from bench.ledger import server
from bench.month import END, TENANTS, WORKLOADS
from bench.process import cpu_seconds, parse_stat
from upshift.admin.api import create_api
from upshift.admin.desk import Actor, Desk
from upshift.admin_app import settle
from upshift.console.app import MENU, create_console
from upshift.model.key import Role
from upshift.store.engines import keeping, open_journal, prepare, verify
from upshift.store.journal import Journal
from upshift.store.place import Place, PostgresUrl, parse
from upshift.store.postgres import Connection
from upshift.store.schema import connect

RESULTS = Path(__file__).parent / "results" / "pages.json"
OF_SQLITE = RESULTS.with_name("pages_sqlite.json")
MOST_MS = 300.0
PLANNED = 300
"""Workloads of the plan."""
NOW = END - 1_000_000
BEING_COMPUTED = "being computed"
"""What a page says whose forecast is not made yet."""
_POLL_SECONDS, _MOST_POLLS = 0.5, 120
_ROOT = Actor("bench", Role.ADMIN, "", "bench")

_WORKLOAD = """
  {id}:
    name: Workload {id}
    owner: ann
    status: {status}
    ships: {ships}
    pod: pod-{pod}
    models: {{primary: premium, degrade_to: budget}}
    gate: soft
    users: {{free: 200..400..700, pro: 90}}
    estimate: {{sessions: 9..12..16, turns: 6, input: 0.9k..1.4k..2.2k, output: 260, cached: 30%, session: 5m..9m..20m,
      busy: 3, burst: 2.5, growth: 1%..2%..4%, ops: 0.4h}}
"""
_PLAN = """
upshift: 1
name: large
budgets:
  tokens: {{owners: [product], forecast: monthly, review: monthly, year: $9M}}
  compute: {{owners: [platform], forecast: monthly, review: monthly, headroom: 35%, sessions_per_unit: 40, unit: $18}}
  ops: {{owners: [ops], forecast: quarterly, review: quarterly}}
  buffer: 18%
ops: {{fte: 40h, first_quarter: 12h..14h..16h, platform: 4h, ceilings: {{Q4-2026: 90h, Q1-2027: 120h}}}}
providers:
  provider: {{dialect: openai, base_url: "http://127.0.0.1:9/v1"}}
models:
  large: {{provider: provider, context: 128k, price: {{input: $3, output: $15}}}}
  medium: {{provider: provider, context: 128k, price: {{input: $1, output: $5}}}}
  small: {{provider: provider, context: 128k, price: {{input: $0.10, output: $0.50}}}}
model_tiers: {{premium: [large, medium], budget: [small]}}
tiers: [free, pro]
tenants:{tenants}
pods: {{{pods}}}
gates:
  soft:
    overage: soft-cap
    ceilings: {{free: {{month: 300k}}, pro: {{month: {{tokens: 900k, money: $10}}, day: 50k}}}}
workloads:{workloads}
"""


class Page(msgspec.Struct, frozen=True):
    """One address; milliseconds of the server, and bytes of the answer."""

    path: str
    status: int
    cold_ms: float
    warm_ms: float
    worst_ms: float
    cpu_ms: float
    """Of this process, of one warm answer in the mean: what others do on the same machine is not in it."""
    database_cpu_ms: float | None
    """The same of the database server; None for one that is not on this machine."""
    size: int

    @property
    def total_cpu_ms(self) -> float:
        """Of process and database."""
        return self.cpu_ms + (self.database_cpu_ms or 0.0)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    date: str
    machine: Machine
    records: int
    workloads: int
    runs: int
    pages: tuple[Page, ...]
    load: tuple[float, float]
    """Processes that ran or waited to, in the mean of a minute, before and after."""
    over: tuple[str, ...]
    """Pages whose CPU time is over the target, and those that were not answered."""


def plan() -> str:
    """A plan whose workloads have calls, five of them, and many that have none."""
    ids = [*WORKLOADS, *(f"more-{number}" for number in range(PLANNED - len(WORKLOADS)))]
    pods = sorted({len(each) for each in ids})
    statuses = ("committed", "planned", "candidate")
    rows = [
        _WORKLOAD.format(
            id=each, pod=len(each), ships=f"Q{1 + at % 4}-2027", status=statuses[0 if at < len(WORKLOADS) else at % 3]
        )
        for at, each in enumerate(ids)
    ]
    tenants = "".join(f"\n  tenant-{each}: {{owner: o@t{each}.example, default_tier: free}}" for each in range(TENANTS))
    return _PLAN.format(tenants=tenants, pods=", ".join(f"pod-{each}: {{}}" for each in pods), workloads="".join(rows))


def apply(journal: Journal) -> None:
    """Put the plan in force; nobody signs three hundred workloads here."""
    desk = Desk(journal, lambda: NOW)
    checked = desk.check(plan())
    journal.apply_plan(checked.snapshot.hash, checked.document.encode(), "large", "bench", NOW)


def paths(journal: Journal) -> list[str]:
    """All pages of the menu, what they lead to, and what the API has of usage."""
    (call,) = journal.calls({}, 1)
    record = call.record
    user = f"{record.tenant}/{record.workload}/{record.user}"
    first = WORKLOADS[0]
    api = "/api/v1"
    return [
        *(entry.path for entry in MENU if entry.title != "My budget"),
        f"/console/workloads/{first}",
        f"/console/budgets/{user}",
        "/console/capacity/forecast",
        "/console/capacity/most",
        "/console/capacity/team",
        f"/console/traffic?workload={first}",
        f"/console/traffic?user={record.user}",
        "/console/traffic?outcome=refused",
        "/console/traffic?user=nobody",
        f"/console/traffic?session={record.session}",
        f"/console/traffic/{record.request}",
        *(f"/console/ledger?kind={kind}" for kind in ("calls", "hold", "all", "decision", "grant", "alert")),
        "/console/ledger?until=2026-10-10",
        "/console/ledger/reconcile",
        f"{api}/usage?by=workload&by=day",
        f"{api}/usage?by=user",
        f"{api}/usage?by=tenant&by=served_model",
        f"{api}/usage?by=workload&by=day&zone=Europe/Berlin",
        f"{api}/usage?by=day&where=user={record.user}",
        f"{api}/budgets?tenant={record.tenant}",
        f"{api}/budgets?tenant={record.tenant}&user={record.user}",
        f"{api}/calls",
        f"{api}/burn",
        f"{api}/interfaces",
        f"{api}/portfolio",
    ]


@contextlib.contextmanager
def browser(place: Place) -> Iterator[TestClient]:
    """Somebody with an admin's key, at an admin process that was just started."""
    journal = open_journal(place)
    desk = Desk(journal, lambda: NOW)
    whole = functools.partial(verify, place)
    api = create_api(desk, whole)
    api.mount("/console", create_console(desk, whole))
    settle()
    issued = desk.issue(_ROOT, role=Role.ADMIN, name="bench")
    with TestClient(api, raise_server_exceptions=False, follow_redirects=False) as client:
        answer = client.post("/console/sign-in", data={"key": issued.secret})
        if answer.status_code != 303:
            raise SystemExit(f"sign-in: {answer.status_code}")
        client.headers["authorization"] = f"Bearer {issued.secret}"
        yield client
    journal.close()


def measured(client: TestClient, path: str, runs: int, postmaster: int | None) -> Page:
    """One address, again and again; where it first says that it is being computed, until it does not."""
    began = time.perf_counter()
    answer = client.get(path)
    cold = time.perf_counter() - began
    for _ in range(_MOST_POLLS):
        if BEING_COMPUTED not in answer.text:
            break
        time.sleep(_POLL_SECONDS)
        answer = client.get(path)
    taken, cpu, database = [], time.process_time(), _spent_by(postmaster)
    for _ in range(runs):
        began = time.perf_counter()
        answer = client.get(path)
        taken.append((time.perf_counter() - began) * 1000)
    own = (time.process_time() - cpu) / runs * 1000
    theirs = None if postmaster is None else (_spent_by(postmaster) - database) / runs * 1000
    found = Page(
        path, answer.status_code, round(cold * 1000, 1), round(statistics.median(taken), 1), round(max(taken), 1),
        round(own, 1), None if theirs is None else round(theirs, 1), len(answer.content),
    )  # fmt: skip
    print(f"{found.warm_ms:9.1f} ms {found.total_cpu_ms:9.1f} ms CPU  {path}", file=sys.stderr, flush=True)
    return found


def _spent_by(postmaster: int | None) -> float:
    return 0.0 if postmaster is None else cpu_seconds(postmaster)


def postmaster_of(place: Place) -> int | None:
    """The process that all of the database's are children of; None where it is on another machine, or a file."""
    if isinstance(place, Path):
        return None
    with Connection.open(place.url) as db:
        row = db.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        try:
            stat = parse_stat(Path(f"/proc/{row[0]}/stat").read_text())
        except FileNotFoundError:
            return None
    return stat.parent


def fill(place: Place, records: int) -> None:
    """Fill an empty database and sum it up."""
    prepare(place)
    if isinstance(place, Path):
        with contextlib.closing(connect(place)) as file:
            quick_file.fill(file, records)
            keeping(place).catch_up()
            file.execute("ANALYZE")
        return
    with Connection.open(place.url, 24 * 3600.0) as db:
        quick.fill(db, records)
        keeping(place).catch_up()
        db.execute("VACUUM ANALYZE")


@contextlib.contextmanager
def own(folder: Path, *, sqlite: bool) -> Iterator[Place]:
    """An empty database."""
    if sqlite:
        yield folder / "upshift.db"
        return
    with server(folder) as url:
        yield PostgresUrl(url, url)


def measure(place: Place, runs: int) -> Result:
    """Time everything on a database that is filled."""
    journal = open_journal(place)
    # Another version of this program may have filled it, and compiled the plan otherwise.
    apply(journal)
    asked = paths(journal)
    records = journal.usage([], 0, END)[0].calls
    journal.close()
    postmaster, before = postmaster_of(place), os.getloadavg()[0]
    with browser(place) as client:
        pages = tuple(measured(client, path, runs, postmaster) for path in asked)
    return Result(
        date=datetime.now(UTC).isoformat(timespec="seconds"), machine=machine(), records=records, workloads=PLANNED,
        runs=runs, load=(round(before, 1), round(os.getloadavg()[0], 1)), pages=pages,
        over=tuple(each.path for each in pages if each.total_cpu_ms > MOST_MS or each.status != 200),
    )  # fmt: skip


def show(result: Result) -> None:
    """As a table."""
    table = Table("PAGE", "COLD MS", "WARM MS", "WORST MS", "CPU MS", "DB CPU MS", "KB")
    for each in result.pages:
        mark = "  over" if each.path in result.over else ""
        figures = (
            each.cold_ms, each.warm_ms, each.worst_ms, each.cpu_ms, each.database_cpu_ms or 0.0, each.size / 1000,
        )  # fmt: skip
        table.add_row(each.path + mark, *(f"{figure:,.1f}" for figure in figures))
    Console(width=140).print(table)


def main(words: Sequence[str]) -> int:
    """Exit code 1 when a page takes longer than it may."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sqlite", action="store_true", help="a file instead of a server of PostgreSQL")
    parser.add_argument("--db", help="a database that was filled so, instead of one of its own")
    parser.add_argument("--out", type=Path, help="where the result goes; results/ unless said")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="bench-pages-"))
    try:
        given = parse(arguments.db) if arguments.db else None
        with contextlib.nullcontext(given) if given else own(folder, sqlite=arguments.sqlite) as place:
            if not given:
                fill(place, arguments.records)
            result = measure(place, arguments.runs)
            of_file = isinstance(place, Path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out = arguments.out or (OF_SQLITE if of_file else RESULTS)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    if arguments.json:
        print(out.read_text())
    else:
        show(result)
    return 1 if result.over else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
