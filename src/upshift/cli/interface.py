"""Which commands show and switch interfaces between agents, and draft their contracts?"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from upshift.admin.interfaces import (
    InterfacesView,
    InterfaceView,
    SwitchedView,
    activate,
    deactivate,
    interfaces,
    share_traffic,
)
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, err, failing, local_admin, meaning, out, table
from upshift.traffic.drafting import draft as draft_of
from upshift.traffic.drafting import samples_in

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Interfaces between agents: show, activate, deactivate, draft."
)

Name = Annotated[str, typer.Argument(help="The interface, as the plan names it.")]


@app.command("list")
def list_(
    since: Annotated[str, typer.Option(help="Count calls since 7d, 12h or 2026-11-01; 7d unless said.")] = "",
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Contracts, overdue reviews, whether calls pass, and what they came to."""
    with desk_at(db, json_) as desk:
        view = meaning(interfaces, desk, since, option="--since")
    if json_:
        emit(view)
    else:
        _show(view)


@app.command("activate")
def activate_(name: Name, db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """Let calls pass over an interface whose contract is complete."""
    with desk_at(db, json_) as desk:
        _switched(activate(desk, local_admin(), name), as_json=json_)


@app.command("deactivate")
def deactivate_(name: Name, db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """Let no more calls pass over an interface."""
    with desk_at(db, json_) as desk:
        _switched(deactivate(desk, local_admin(), name), as_json=json_)


@app.command()
def share(
    agent: Annotated[str, typer.Argument(help="The agent, as the plan names it.")],
    percent: Annotated[float, typer.Argument(min=0, max=100, help="Per cent of the sessions, 100 for all.")],
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Let an agent take part in a share of the sessions of those who speak to it; a session never flips."""
    with desk_at(db, json_) as desk:
        _switched(share_traffic(desk, local_admin(), agent, percent / 100), as_json=json_)


@app.command()
def draft(
    file: Annotated[str, typer.Argument(help="Observed payloads, one JSON value a line; - for standard input.")],
    json_: Json = False,
) -> None:
    """A JSON Schema that takes observed payloads, for a person to review. Nothing applies it."""
    with failing(json_):
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    emit(meaning(lambda: draft_of(samples_in(text.splitlines()))))
    if not json_:
        err().print("a draft: read it, tighten it, and put it under 'payload:' of an interface", style="dim")


def _switched(view: SwitchedView, *, as_json: bool) -> None:
    if as_json:
        emit(view)
    else:
        out().print(view.says + ("" if view.changed else " (as before)"))


def _show(view: InterfacesView) -> None:
    console = out()
    console.print(f"{view.since} to {view.until}", style="dim")
    numbers = ("CALLS", "REFUSED", "FAILED", "VIOLATIONS", "P95", "SHARE")
    rows = table("INTERFACE", "FROM", "TO", "CONTRACT", "STATE", *numbers, "REVIEW", numbers=numbers)
    for each in view.interfaces:
        rows.add_row(
            each.name,
            each.caller,
            each.callee,
            f"{each.version} {each.enforcement}" if each.version else "none",
            Text("active", "green") if each.active else Text("closed", "yellow"),
            f"{each.calls:,}",
            f"{each.refused:,}",
            f"{each.failed:,}",
            Text(f"{each.violations:,}", "red" if each.violations else ""),
            "" if each.p95_seconds is None else f"{each.p95_seconds:.2f} s",
            f"{each.share:.0%}",
            _review(each),
        )
    console.print(rows)
    for each in view.interfaces:
        if each.closed_because:
            console.print(Text(f"{each.name}: {each.closed_because}", "yellow"))
        for text in each.unkept:
            console.print(Text(f"{each.name}: {text}", "red"))
        if each.lacks:
            console.print(Text(f"{each.name} lacks: {', '.join(each.lacks)}", "yellow"))
    if view.elsewhere:
        console.print(Text(f"{view.elsewhere:,} calls between agents without an interface were refused", "yellow"))


def _review(each: InterfaceView) -> Text:
    if each.overdue_days is not None:
        when = f"{each.overdue_days} days overdue" if each.reviewed else "never reviewed"
        return Text(when, "red")
    return Text(each.reviewed or "not asked for", "" if each.reviewed else "yellow")
