"""Which command is the keeper of the ledger? Started by serve, with a pipe to it."""

import typer
import uvloop

from upshift.cli.logs import configure
from upshift.cli.starting import settings_or_exit
from upshift.cli.terminal import failing
from upshift.cli.worker_process import PARENT, Keeper, secret, told_in
from upshift.keeper_app import run_keeper

app = typer.Typer(add_completion=False)


@app.command()
def keeper_process(keeper: Keeper = "") -> None:
    """Keep the ledger for the gateways of this machine, or be a candidate for that of a database."""
    settings = settings_or_exit()
    configure(settings.log_level)
    with failing(False):
        uvloop.run(run_keeper(settings, PARENT, keeper, secret(), told_in()))
