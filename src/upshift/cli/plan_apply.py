"""Which command puts a plan in force?"""

from typing import Annotated

import typer
from rich.text import Text

from upshift.admin.costs import costs_moved
from upshift.admin.views import difference_view
from upshift.cli.plan_reading import Files, read, show_consequences, show_problems, show_refusals
from upshift.cli.terminal import DEFAULT_DB, Db, Json, Yes, desk_at, emit, err, local_admin, out
from upshift.model.quarter import Month

app = typer.Typer(add_completion=False)


@app.command()
def apply(
    files: Files,
    db: Db = DEFAULT_DB,
    override: Annotated[
        str, typer.Option(help="Why this cannot wait until the calendar lets plans change; recorded.")
    ] = "",
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Put a plan in force; running gateways take it up within a second without dropping a call."""
    checked = read(files, json_)
    with desk_at(db, json_, create=True) as desk:
        plan, (_, planned) = desk.journal.plan_in_force(), desk.readable()
        before = "" if plan is None else plan.hash
        consequences = [*desk.compare(checked), *costs_moved(planned, checked.outline, Month.of(desk.today()))]
        if not json_:
            show_problems(err(), checked.warnings)
            show_consequences(err(), consequences)
        same = before == checked.snapshot.hash
        frozen = () if same or override.strip() else desk.frozen()
        refusals = () if same else (*desk.refusals(checked.outline), *frozen)
        if refusals:
            if json_:
                emit(difference_view(checked, before, consequences, applied=False, refusals=refusals))
            show_refusals(refusals)
            raise typer.Exit(1)
        if not same:
            if not (yes or json_):
                typer.confirm("Apply this plan?", abort=True, err=True)
            desk.apply(checked, local_admin(), override)
    if json_:
        emit(difference_view(checked, before, consequences, applied=not same))
    elif same:
        out().print("this plan is in force already")
    else:
        out().print(Text("in force ", "bold green").append(checked.snapshot.hash))
