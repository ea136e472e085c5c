"""How does a command read a plan, and say what is wrong with it and what it would change?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from upshift.admin.plan_views import problem_view
from upshift.cli.printing import emit, err, fail
from upshift.gateway.clock import SystemClock
from upshift.model.span import to_datetime
from upshift.plan_file import Checked, Consequence, PlanError, Problem, Severity, load

Files = Annotated[list[Path], typer.Argument(help="The plan: files, or folders of them, that make one plan.")]


def read(files: Sequence[Path], as_json: bool) -> Checked:
    """The plan of some files; its problems are shown and end the command."""
    try:
        return load(files, today=to_datetime(SystemClock().now()).date())
    except PlanError as error:
        problems = error.problems
    except OSError as error:
        fail(str(error), as_json=as_json)
    if as_json:
        emit({"ok": False, "hash": "", "problems": [problem_view(each) for each in problems], "not_served": []})
    show_problems(err(), problems)
    errors = sum(each.severity is Severity.ERROR for each in problems)
    err().print(f"{errors} {'error' if errors == 1 else 'errors'}: the plan cannot be applied", style="bold red")
    raise typer.Exit(1)


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
