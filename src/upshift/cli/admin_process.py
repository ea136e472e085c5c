"""Which command is the admin process? Started by serve, with a listening socket and a pipe to it."""

import os
import socket
from typing import Annotated

import typer
import uvloop

from upshift.admin_app import run_admin
from upshift.cli.logs import configure
from upshift.cli.starting import settings_or_exit
from upshift.cli.terminal import failing
from upshift.cli.worker_process import told_in

app = typer.Typer(add_completion=False)


@app.command()
def admin_process(fd: Annotated[int, typer.Option(min=3, help="File descriptor of the listening socket.")]) -> None:
    """Serve the admin API and send alerts, until the gateway's process ends."""
    settings = settings_or_exit()
    configure(settings.log_level)
    with failing(False), socket.socket(fileno=fd) as sock:
        uvloop.run(run_admin(settings, sock, told_in(), os.environ))
