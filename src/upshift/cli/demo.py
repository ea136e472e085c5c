"""`upshift demo`: the whole system in a minute, against a simulated provider."""

import contextlib
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from upshift.demo.report import show
from upshift.demo.run import DemoError, act, curl_line, stage

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop when the replay is over, instead of going on.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    calls: Annotated[int, typer.Option(min=1, max=19_366, help="Calls of the trace to replay.")] = 900,
    seconds: Annotated[float, typer.Option(min=1, help="Squeeze them into so many seconds.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Same seed, same script.")] = 1,
    port: Annotated[int, typer.Option(help="Port of the gateway; another is taken if it is busy.")] = 8787,
    admin_port: Annotated[int, typer.Option(help="Port of the admin API.")] = 8788,
    folder: Annotated[Path | None, typer.Option(help="Where to keep plan, ledger and logs. Emptied first.")] = None,
) -> None:
    """Start gateway, admin API and a simulated provider, and replay a public trace through the official SDKs.

    Exits with 0 only if the ledger verifies.
    """
    console = Console(stderr=as_json)
    where = folder or Path(tempfile.gettempdir()) / "upshift-demo"
    if folder is not None and folder.exists() and any(folder.iterdir()) and not (folder / "upshift.db").exists():
        console.print(f"[red]{folder} is not empty and not a demo's folder; name another[/red]")
        raise typer.Exit(2)
    try:
        with (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            ) as bar,
            contextlib.ExitStack() as stack,
        ):
            days = bar.add_task("the days before", total=1.0)
            on = stack.enter_context(
                stage(
                    where, port, admin_port,
                    lambda text: console.print(f"[dim]{text} ...[/dim]"),
                    lambda share: bar.update(days, completed=share),
                )
            )  # fmt: skip
            bar.remove_task(days)
            task = bar.add_task("replaying a public trace through the openai and anthropic SDKs", total=calls)
            result, seen = act(on, calls, seconds, seed, lambda done: bar.update(task, completed=done))
            bar.stop()
            if as_json:
                sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
            else:
                show(result, seen, console)
            if not once:
                console.print(
                    f"\nThe gateway goes on. Base URL [bold]{on.gateway}[/bold] (OpenAI: {on.gateway}/v1),"
                    f" console [bold]{on.admin}/console/[/bold] (sign in with the admin key)\n"
                    f"  key        {on.visitor}\n  admin key  {on.admin_key}\n"
                    f"  plan, ledger and logs in {on.folder}\nTry:"
                )
                console.print(curl_line(on), soft_wrap=True, highlight=False, markup=False)
                console.print("Stop with Ctrl-C.")
                _until_interrupted()
    except DemoError as error:
        console.print(f"[red]{error}[/red]", markup=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if result.verified else 1)


def _until_interrupted() -> None:
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    over.wait()
