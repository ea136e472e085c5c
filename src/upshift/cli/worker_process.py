"""Which command is one gateway among several? Started by serve, with the listening socket and a pipe to it."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from upshift.app import Gateway, keeper_of, run_gateway
from upshift.cli.logs import configure
from upshift.cli.starting import settings_or_exit
from upshift.cli.terminal import failing
from upshift.cli.workers import SECRET
from upshift.keeper.address import Address
from upshift.settings import LIVE_FOLDER
from upshift.store.place import PostgresUrl

PARENT = 0
"""Standard input is the pipe that ends with the parent."""

app = typer.Typer(add_completion=False)

Keeper = Annotated[str, typer.Option(help="Where the keeper of a file listens.")]


@app.command()
def gateway_process(
    fd: Annotated[int, typer.Option(min=3, help="File descriptor of the listening socket.")], keeper: Keeper = ""
) -> None:
    """Serve calls, with the ledger of the keeper, until told to stop. Says on stdout when it is ready."""
    settings = settings_or_exit()
    configure(settings.log_level)

    def ready(gateway: Gateway) -> None:
        sys.stdout.write(json.dumps({"pid": os.getpid(), "plan": gateway.flow.regime.in_force.snapshot.hash}) + "\n")
        sys.stdout.flush()

    find = keeper_of(settings.db) if isinstance(settings.db, PostgresUrl) else _at(Address(keeper, secret()))
    with failing(False):
        uvloop.run(run_gateway(settings, ready, find, socket.socket(fileno=fd), PARENT, told_in()))


def _at(address: Address) -> Callable[[], Awaitable[Address | None]]:
    async def find() -> Address | None:
        await asyncio.sleep(0)
        return address

    return find


def told_in() -> Path | None:
    """The folder in which the processes of this machine say how they are doing; None where nobody asks."""
    folder = os.environ.get(LIVE_FOLDER)
    return Path(folder) if folder else None


def secret() -> str:
    """What gateways and the keeper of a file show each other that they know."""
    return os.environ.get(SECRET, "")
