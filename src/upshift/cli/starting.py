"""Which command runs an installation: settings, plan, first key, gateway, admin process?"""

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvloop
from rich.text import Text

from upshift.admin.desk import Desk
from upshift.app import Gateway, channels, run_gateway
from upshift.cli.child import Child
from upshift.cli.logs import configure
from upshift.cli.plan_reading import read, show_consequences, show_problems
from upshift.cli.terminal import desk_at, err, fail, failing, local_admin, meaning, out
from upshift.cli.workers import run_workers
from upshift.settings import LIVE_FOLDER, PREFIX, Settings, from_environment, to_environment
from upshift.store.ledger import LedgerUnavailableError
from upshift.store.lock import LedgerInUseError

log = structlog.get_logger()

app = typer.Typer(add_completion=False)

_ADMIN_END_SECONDS = 8.0

Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the gateway; 0 takes a free one.")]


@app.command()
def serve(
    plan: Annotated[list[Path] | None, typer.Option(help="Apply this plan first; may be repeated.")] = None,
    db: Annotated[str | None, typer.Option(help="The database: file or URL.", show_default="upshift.db")] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind.", show_default="127.0.0.1")] = None,
    port: Port = None,
    admin_host: Annotated[str | None, typer.Option(help="Address of the admin API.")] = None,
    admin_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the admin API.")] = None,
    no_admin: Annotated[bool, typer.Option("--no-admin", help="No admin API, and no e-mails.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Gateway processes that share the port.")] = None,
    strict: Annotated[bool | None, typer.Option("--strict", help="Wait for the disk before each call.")] = None,
    grace: Annotated[float | None, typer.Option(min=0, help="Seconds that calls may go on after a stop.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One line of JSON on stdout when it is ready.")] = False,
) -> None:
    """Run the gateway and its admin API. Every option is also a variable, UPSHIFT_DB and so on: docs/settings.md."""
    settings = settings_or_exit(
        db=db,
        host=host,
        port=port,
        admin_host=admin_host,
        admin_port=admin_port,
        workers=workers,
        strict=strict,
        grace_seconds=grace,
        log_level=log_level,
    )
    configure(settings.log_level)
    ways_out = meaning(channels, settings)
    if no_admin and ways_out:
        err().print("without the admin process no alert is sent", style="yellow")
    with desk_at(settings.db, json_, create=True) as desk:
        if plan:
            _apply(desk, plan, json_)
        desk.need_snapshot()
        _first_key(desk)
    with failing(json_), _live_folder() as told_in:
        sock = None if no_admin else _listen(settings)
        try:
            if settings.workers > 1 or not isinstance(settings.db, Path):
                uvloop.run(_serve_with_workers(settings, sock, told_in, json_))
            else:
                uvloop.run(_serve(settings, sock, told_in, json_))
        except (LedgerInUseError, LedgerUnavailableError) as error:
            fail(str(error), as_json=json_)


def settings_or_exit(**given: Any) -> Settings:
    """Settings of the environment, with those of the command line on top. What is wrong is a wrong usage."""
    return meaning(_settings, {name: value for name, value in given.items() if value is not None})


def _settings(given: dict[str, Any]) -> Settings:
    told = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}
    return from_environment({**os.environ, **{PREFIX + name.upper(): value for name, value in told.items()}})


def _apply(desk: Desk, files: Sequence[Path], as_json: bool) -> None:
    checked = read(files, as_json)
    show_problems(err(), checked.warnings)
    before = desk.journal.plan_in_force()
    if before is None or before.hash != checked.snapshot.hash:
        consequences = desk.apply(checked, local_admin())
        if before is not None:
            show_consequences(err(), consequences)


def _first_key(desk: Desk) -> None:
    issued = desk.first_admin()
    if issued is not None:
        err().print(Text("admin key (shown this once): ").append(issued.secret, "bold green"), soft_wrap=True)


def _listen(settings: Settings) -> socket.socket:
    return _bound(settings.admin_host, settings.admin_port, "admin API", "--admin-port")


def _bound(host: str, port: int, what: str, option: str) -> socket.socket:
    """A socket that listens. Raises OSError that says what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        text = f"the {what} cannot listen on {host}:{port}: {error.strerror}; choose another {option}"
        raise OSError(text) from error


@contextlib.asynccontextmanager
async def _admin(
    settings: Settings, sock: socket.socket | None, told_in: Path | None
) -> AsyncIterator[Callable[[], None]]:
    """Gives what starts the admin process on its socket, where there is to be one; ends it at the end."""
    starting: list[asyncio.Task[None]] = []
    child = None
    if sock is not None:
        fd = sock.fileno()
        told = {**to_environment(settings), **_told(told_in)}
        child = Child("admin", ["admin-process", "--fd", str(fd)], (fd,), told)

    def start() -> None:
        if child is not None:
            starting.append(asyncio.create_task(child.start()))

    try:
        yield start
    finally:
        await asyncio.gather(*starting)
        if child is not None:
            await child.stop(_ADMIN_END_SECONDS)
        if sock is not None:
            sock.close()


@contextlib.contextmanager
def _live_folder() -> Iterator[Path | None]:
    """Where the processes say how they are doing; nobody else's, and short, as paths of Unix sockets have to be."""
    try:
        made = tempfile.TemporaryDirectory(prefix="upshift-", ignore_cleanup_errors=True)
    except OSError as error:
        log.warning("serve.no_folder", problem=str(error), note="the metrics say nothing of the gateway's state")
        yield None
        return
    with made as folder:
        yield Path(folder)


def _told(folder: Path | None) -> dict[str, str]:
    return {} if folder is None else {LIVE_FOLDER: str(folder)}


async def _serve_with_workers(
    settings: Settings, sock: socket.socket | None, told_in: Path | None, as_json: bool
) -> None:
    async with _admin(settings, sock, told_in) as start_admin:
        with _bound(settings.host, settings.port, "gateway", "--port") as calls:

            def ready() -> None:
                start_admin()
                with desk_at(settings.db, as_json) as desk:
                    plan = desk.need_snapshot().hash
                _announce(settings, calls.getsockname()[1], sock, plan, as_json)

            await run_workers(settings, calls, ready, _told(told_in))


async def _serve(settings: Settings, sock: socket.socket | None, told_in: Path | None, as_json: bool) -> None:
    async with _admin(settings, sock, told_in) as start_admin:

        def ready(gateway: Gateway) -> None:
            start_admin()
            _announce(settings, gateway.port, sock, gateway.flow.regime.in_force.snapshot.hash, as_json)

        await run_gateway(settings, ready, told_in=told_in)


def _announce(settings: Settings, port: int, admin: socket.socket | None, plan: str, as_json: bool) -> None:
    """Say where everything is."""
    urls = {
        "gateway": _url(settings.host, port),
        "admin": None if admin is None else _url(settings.admin_host, admin.getsockname()[1]),
        "plan": plan,
        "pid": os.getpid(),
    }
    if as_json:
        sys.stdout.write(json.dumps(urls) + "\n")
        sys.stdout.flush()
        return
    console = out()
    console.print(Text("gateway  ", "bold").append(f"{urls['gateway']}  (openai: {urls['gateway']}/v1)", "default"))
    console.print(Text("admin    ", "bold").append(str(urls["admin"] or "none"), "default"))
    console.print(Text("plan     ", "bold").append(plan, "default"))


def _url(host: str, port: int) -> str:
    """A URL that a client on this machine can use."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
