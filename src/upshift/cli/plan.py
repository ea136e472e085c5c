"""Which commands check, compare, apply and show plans?"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from upshift.admin.views import applied_view, applied_views, check_view, problem_view
from upshift.cli.lazy import PlanGroup
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, err, fail, failing, out, table
from upshift.gateway.clock import SystemClock
from upshift.model.span import show_instant, to_datetime
from upshift.plan_file import Checked, Consequence, NotServed, PlanError, Problem, Severity, json_schema, load
from upshift.traffic.vendors import single_providers

app = typer.Typer(
    cls=PlanGroup, add_completion=False, no_args_is_help=True, help="Check, compare, apply and show plans."
)

Files = Annotated[list[Path], typer.Argument(help="The plan: files, or folders of them, that make one plan.")]


@app.command()
def check(files: Files, json_: Json = False) -> None:
    """Check a plan without a database; every problem with its place."""
    checked = read(files, json_)
    if json_:
        emit(check_view(checked))
        return
    console, snapshot = out(), checked.snapshot
    show_problems(console, checked.warnings)
    console.print(Text("ok ", "bold green").append(f"plan {snapshot.name}, {len(snapshot.workloads)} workloads served"))
    for each in checked.not_served:
        console.print(f"   {each.workload} is {each.status}, and not served{_because(each)}")
    alone = [f"{model.name} ({model.provider.id})" for model in single_providers(snapshot)]
    if alone:
        console.print(f"   with one provider only: {', '.join(alone)}", style="dim")
    console.print(f"   hash {snapshot.hash}", style="dim")


@app.command()
def show(db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """The plan in force."""
    with desk_at(db, json_) as desk:
        snapshot, applied = desk.need_snapshot(), desk.journal.plan_in_force()
    if applied is None:
        fail("no plan is in force yet", as_json=json_)
    if json_:
        emit({"applied": applied_view(applied), "document": json.loads(applied.document)})
        return
    console = out()
    console.print(f"plan {applied.name}, applied {show_instant(applied.at)} by {applied.by}")
    console.print(f"hash {applied.hash}\n", style="dim")
    rows = table("WORKLOAD", "TENANTS", "MODELS", "AFTER A SOFT CAP", "GATE", "AT THE CEILING")
    for each in snapshot.workloads.values():
        rows.add_row(
            each.id,
            ", ".join(sorted(each.tenants)),
            ", ".join(model.name for model in each.primary),
            ", ".join(model.name for model in each.substitutes),
            each.gate.id,
            ", then ".join(each.gate.ladder),
        )
    console.print(rows)


@app.command()
def history(db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """Every plan that was put in force, the latest first."""
    with desk_at(db, json_) as desk:
        plans = applied_views(desk.journal)
    if json_:
        emit(plans)
        return
    rows = table("NUMBER", "AT", "NAME", "HASH", "BY", "RESTORES", numbers=("NUMBER", "RESTORES"))
    for each in plans:
        restores = "" if each.restores is None else str(each.restores)
        rows.add_row(str(each.number), each.at, each.name, each.hash[:16], each.by, restores)
    out().print(rows)


@app.command()
def schema(json_: Json = False) -> None:
    """The JSON Schema of a plan, for editors. Always JSON."""
    emit(json_schema())


def read(files: Sequence[Path], as_json: bool) -> Checked:
    """The plan of some files; its problems are shown and end the command."""
    with failing(as_json):
        try:
            return load(files, today=to_datetime(SystemClock().now()).date())
        except PlanError as error:
            problems = error.problems
    if as_json:
        emit({"ok": False, "hash": "", "problems": [problem_view(each) for each in problems], "not_served": []})
    show_problems(err(), problems)
    errors = sum(each.severity is Severity.ERROR for each in problems)
    err().print(f"{errors} {'error' if errors == 1 else 'errors'}: the plan cannot be applied", style="bold red")
    raise typer.Exit(1)


def _because(each: NotServed) -> str:
    if not each.lacks:
        return ""
    return f": it stays one until it states {', '.join(each.lacks)}"


def show_problems(console: Console, problems: Sequence[Problem]) -> None:
    """Each with its line of the source and a caret below the place."""
    sources: dict[str, list[str]] = {}
    for each in problems:
        style = "bold red" if each.severity is Severity.ERROR else "bold yellow"
        console.print(
            Text(f"{each.file}:{each.line}:{each.column}: ", "bold").append(f"{each.severity}: ", style) + _said(each)
        )
        lines = sources.get(each.file)
        if lines is None:
            lines = sources[each.file] = _lines(each.file)
        if each.path and 0 < each.line <= len(lines):
            # Tabs would put the caret elsewhere than the column.
            source = lines[each.line - 1].replace("\t", " ")
            margin = f"{each.line:>6} | "
            console.print(Text(margin, "dim").append(source, "default"), no_wrap=True, overflow="ellipsis")
            console.print(Text(" " * (len(margin) + each.column - 1)).append("^", style))
        if each.remedy:
            console.print(Text(f"         {each.remedy}", "cyan"))


def show_consequences(console: Console, consequences: Sequence[Consequence]) -> None:
    """One line each; nothing changes where there are none."""
    if not consequences:
        console.print("nothing changes")
    for each in consequences:
        console.print(Text(f"{each.kind:>9} ", "bold").append(each.text, "default"))


def show_refusals(refusals: Sequence[str]) -> None:
    """Why a plan may not be applied, one line each."""
    console = err()
    for each in refusals:
        console.print(Text("  refused ", "bold red").append(each, "default"))
    if refusals:
        console.print("the plan may not be applied; see: upshift plan review", style="bold red")


def _said(each: Problem) -> Text:
    path = f"{each.path}: " if each.path else ""
    expected = f"; expected {each.expected}" if each.expected else ""
    return Text(f"{path}{each.what}{expected}")


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
