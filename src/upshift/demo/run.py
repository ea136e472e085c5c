"""How are the demo's processes started, fed and stopped?"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from calendar import month_name
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import msgspec

from upshift.admin.desk import Actor, Desk
from upshift.admin.portfolio import sign
from upshift.app import open_desk
from upshift.demo.past import DAY, LASTED, Past, live
from upshift.demo.replay import Clients, Seen, replay
from upshift.demo.report import Report, report
from upshift.demo.story import CAST, Part, script
from upshift.demo.team import TENANT, WORKLOAD
from upshift.gateway.clock import HandClock
from upshift.model.ids import KeyId
from upshift.model.key import Role
from upshift.model.quarter import Quarter
from upshift.model.span import Instant, to_datetime
from upshift.planning.outline import BudgetLine, Outline, Status
from upshift.simulated.traces import conversation

START_SECONDS = 60.0


class DemoError(Exception):
    """The demo could not be run; says why."""


class Stage(msgspec.Struct, frozen=True):
    """Where the demo runs: its folder, addresses, and a key of its own for whoever watches."""

    folder: Path
    db: Path
    gateway: str
    admin: str
    provider: str
    secrets: Mapping[Part, str]
    visitor: str
    admin_key: str
    past: Past


class _Keys(msgspec.Struct, frozen=True):
    secrets: dict[Part, str]
    visitor: str
    admin: str
    engineer: Actor
    team: KeyId


@contextlib.contextmanager
def stage(
    folder: Path, port: int, admin_port: int, say: Callable[[str], None], seen: Callable[[float], None]
) -> Iterator[Stage]:
    """Set everything up in an empty folder, and take the processes down again at the end.

    Ports that are taken are replaced by free ones. `seen` is told how much of the past has been lived through, 0 to 1.
    Raises DemoError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    port, admin_port, provider_port = _free(port), _free(admin_port), _free(0)
    provider = f"http://127.0.0.1:{provider_port}"
    plan = folder / "plan.yaml"
    template = files("upshift.demo").joinpath("plan.yaml").read_text()
    until = time.time_ns() // 1000
    clock = HandClock(until - LASTED)
    plan.write_text(_filled(template, provider, until))
    db = folder / "upshift.db"
    processes: list[subprocess.Popen[str]] = []
    try:
        say("starting the simulated provider")
        processes.append(
            _start(folder, "provider", ["-m", "upshift.simulated", "--port", str(provider_port), "--speed", "20"])
        )
        _wait_for(provider_port, processes[-1], folder / "provider.log")
        desk = open_desk(db, clock)
        try:
            keys = _keys(desk, plan)
            say(f"simulating the last {LASTED // DAY} days of a team of agents on a fast clock")
            past = asyncio.run(live(db, desk, clock, keys.engineer, keys.team, until, seen))
        finally:
            desk.journal.close()
        say("starting the gateway")
        processes.append(
            _start(
                folder,
                "gateway",
                [
                    *("-m", "upshift", "serve", "--plan", str(plan), "--db", str(db), "--json"),
                    *("--port", str(port), "--admin-port", str(admin_port)),
                ],
            )
        )
        _wait_for(port, processes[-1], folder / "gateway.log")
        yield Stage(
            folder=folder,
            db=db,
            gateway=f"http://127.0.0.1:{port}",
            admin=f"http://127.0.0.1:{admin_port}",
            provider=provider,
            secrets=keys.secrets,
            visitor=keys.visitor,
            admin_key=keys.admin,
            past=past,
        )
    finally:
        for process in reversed(processes):
            _stop(process)


def act(on: Stage, calls: int, seconds: float, seed: int, progress: Callable[[int], None]) -> tuple[Report, Seen]:
    """Replay the trace, then read the ledger back."""
    lines = script(conversation(), calls, seconds, seed)
    began, started = time.time_ns() // 1000, time.monotonic()

    async def play() -> Seen:
        clients = Clients(on.gateway, on.secrets)
        try:
            return await replay(clients, lines, progress)
        finally:
            await clients.close()

    seen = asyncio.run(play())
    desk = open_desk(on.db)
    try:
        took = time.monotonic() - started
        return report(desk.journal, on.db, seen, began, time.time_ns() // 1000 + 1, took, on.past), seen
    finally:
        desk.journal.close()


def _keys(desk: Desk, plan: Path) -> _Keys:
    """Apply the plan and issue a key per user, one for the app, one for the team, and one for whoever watches."""
    first = desk.first_admin()
    if first is None:
        raise DemoError("the demo's folder was not empty")
    admin = Actor("demo", Role.ADMIN)
    checked = desk.check([plan])
    engineer = _sign(desk, admin, checked.outline)
    desk.apply(checked, admin)
    app = desk.issue(admin, name="sales-app", tenant="acme", workloads=["call-summaries"]).secret
    secrets = {
        part: app
        if part.app
        else desk.issue(admin, name=f"{part.user}'s key", tenant=part.tenant, user=part.user).secret
        for part in CAST
    }
    consenting = desk.issue(admin, role=Role.TENANT_ADMIN, name="ada", tenant="acme").secret
    desk.opt_in(desk.actor_of(consenting), tenant="acme", workload="call-summaries", limit=None)
    visitor = desk.issue(admin, name="you", tenant="globex", user="you", workloads=["docs-qa"]).secret
    team = desk.issue(admin, name="research desk", tenant=TENANT, workloads=[WORKLOAD]).key.id
    return _Keys(secrets, visitor, first.secret, engineer, team)


def _filled(template: str, provider: str, now: Instant) -> str:
    """The plan with its provider, with quarters and a year that are not over, and contracts that were read lately."""
    present = Quarter.of(to_datetime(now).date())
    words = ("${THIS_QUARTER}", "${NEXT_QUARTER}", "${QUARTER_AFTER}")
    began = to_datetime(now - LASTED)
    reviewed = to_datetime(now - LASTED - 30 * DAY).date().isoformat()
    text = template.replace("${SIMULATED}", provider).replace("${REVIEWED}", reviewed)
    text = text.replace("${YEAR_BEGINS}", month_name[began.month])
    for ahead, word in enumerate(words):
        text = text.replace(word, str(present.plus(ahead)))
    return text


def _sign(desk: Desk, admin: Actor, outline: Outline) -> Actor:
    """Both sides sign for what is planned and committed; of what is still a candidate only engineering did.

    Returns who signs for engineering.
    """
    engineer, accountant = (
        desk.actor_of(desk.issue(admin, role=role, name=name).secret)
        for role, name in ((Role.ENGINEERING, "Edith Okoye"), (Role.FINANCE, "Fay Meyer"))
    )
    for person in (engineer, accountant):
        for row in outline.rows:
            if row.estimate is not None and (row.status is not Status.CANDIDATE or person is engineer):
                sign(desk, person, outline, workload=row.id, budgets=tuple(BudgetLine))
    return engineer


def _start(folder: Path, name: str, arguments: list[str]) -> subprocess.Popen[str]:
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            [sys.executable, *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )


def _wait_for(port: int, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"{log.stem} ended at once:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise DemoError(f"{log.stem} did not listen within {START_SECONDS:.0f} s; see {log}")


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free(port: int) -> int:
    """`port` if nothing listens there, else any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def curl_line(on: Stage) -> str:
    """A line to try."""
    body = json.dumps({"model": "gpt-6.1-sol", "messages": [{"role": "user", "content": "Hello"}]})
    return (
        f"curl -i {on.gateway}/v1/chat/completions -H 'authorization: Bearer {on.visitor}'"
        f" -H 'content-type: application/json' -d '{body}'"
    )
