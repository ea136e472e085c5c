"""Which command signs a workload's budgets off, and takes sign-offs back?"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from upshift.admin import portfolio
from upshift.admin.desk import Actor, Desk
from upshift.admin.portfolio_views import SignedView, signed_view, to_approve, withdrawn_view
from upshift.cli.plan_reading import read
from upshift.cli.terminal import DEFAULT_DB, Db, Json, Yes, desk_at, emit, err, fail, meaning, out, table
from upshift.model.quarter import parse_quarter
from upshift.planning.outline import BudgetLine, Outline

app = typer.Typer(add_completion=False)

Secret = Annotated[
    str,
    typer.Option("--key", envvar="UPSHIFT_KEY", show_envvar=True, help="The secret of your own key.", show_default=""),
]


class Which(StrEnum):
    """Which budgets are meant."""

    TOKENS = "tokens"
    COMPUTE = "compute"
    OPS = "ops"
    ALL = "all"

    @property
    def lines(self) -> tuple[BudgetLine, ...]:
        """One, or all three."""
        return tuple(BudgetLine) if self is Which.ALL else (BudgetLine(self.value),)


@app.command()
def signoff(
    files: Annotated[list[Path], typer.Argument(help="The plan: files, or folders of them, that make one plan.")],
    workload: Annotated[str, typer.Argument(help="The workload, as the plan names it.")],
    budget: Annotated[Which, typer.Option(help="Which budget.")],
    note: Annotated[str, typer.Option(help="Kept with it.")] = "",
    until: Annotated[str, typer.Option(help="The last quarter in which it stands, like Q4-2027.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take it back.")] = False,
    key: Secret = "",
    db: Db = DEFAULT_DB,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Sign a workload's budgets off for your side, finance or engineering, as the plan has them."""
    outline = read(files, json_).outline
    last = meaning(parse_quarter, until, option="--until") if until else None
    with desk_at(db, json_, create=True) as desk:
        actor = holder(desk, key, json_)
        role = portfolio.signer(actor)
        if withdraw:
            ended = portfolio.withdraw(desk, actor, workload=workload, budgets=budget.lines, note=note)
            _show([withdrawn_view(each) for each in ended], json_, "withdrawn")
            return
        if not json_:
            console = err()
            console.print(f"{workload} for {role}, by {actor.person}:")
            show_content(console, outline, workload, budget.lines)
            if not yes:
                typer.confirm("Sign this off?", abort=True, err=True)
        signed = portfolio.sign(desk, actor, outline, workload=workload, budgets=budget.lines, note=note, until=last)
    _show([signed_view(each) for each in signed], json_, "signed off")


def holder(desk: Desk, secret: str, as_json: bool) -> Actor:
    """Whoever holds the key; being able to write the database's file says nothing of who it is."""
    if not secret and sys.stdin.isatty() and not as_json:
        secret = typer.prompt("Secret of your key", hide_input=True, err=True)
    if not secret:
        fail("set UPSHIFT_KEY to the secret of your own key, or name it with --key", as_json=as_json)
    return desk.actor_of(secret)


def show_content(console: Console, outline: Outline, workload: str, lines: tuple[BudgetLine, ...]) -> None:
    """The figures that a sign-off approves, budget by budget."""
    for name, fields in to_approve(outline, portfolio.row_of(outline, workload), lines).items():
        console.print(Text(name, "bold"))
        rows = table("FIELD", "VALUE")
        for field, value in fields.items():
            rows.add_row(f"  {field}", value)
        console.print(rows)


def _show(views: list[SignedView], as_json: bool, what: str) -> None:
    if as_json:
        emit(views)
        return
    for each in views:
        known = "" if each.new or what != "signed off" else ", as it was before"
        line = Text(f"{what} ", "bold green")
        line.append(f"{each.budget} of {each.workload} for {each.role} by {each.by}{known}", "default")
        out().print(line.append(f"  {each.hash[:16]}", "dim"))
