"""What does `upshift` do before a command is chosen?"""

import gc
import sys
from typing import Annotated

import typer

from upshift import __version__
from upshift.cli.lazy import LazyGroup

app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"upshift {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Upshift: a plan in YAML, enforced on every call to a model, and a ledger of what was used.

    Begin with: upshift init, or see it at work: upshift demo
    """


def main() -> None:
    """The entry point. Exit codes: 0 done, 1 refused or failed, 2 wrong usage."""
    # What a command loads stays until it ends: the collector of cycles need not look through it every 700 objects.
    gc.set_threshold(50_000, 20, 50)
    app(prog_name="upshift")
