"""Which command shows what applying a plan would change?"""

import typer

from upshift.admin.costs import costs_moved
from upshift.admin.views import difference_view
from upshift.cli.plan_reading import Files, read, show_consequences, show_problems, show_refusals
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, out
from upshift.model.quarter import Month

app = typer.Typer(add_completion=False)


@app.command()
def diff(files: Files, db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """What applying a plan would change, for whom, and what it costs."""
    checked = read(files, json_)
    with desk_at(db, json_) as desk:
        before, planned = desk.readable()
        consequences = [*desk.compare(checked), *costs_moved(planned, checked.outline, Month.of(desk.today()))]
        refusals = (*desk.refusals(checked.outline), *desk.frozen())
    if json_:
        in_force = before.hash if before is not None else ""
        emit(difference_view(checked, in_force, consequences, applied=False, refusals=refusals))
        return
    show_problems(out(), checked.warnings)
    show_consequences(out(), consequences)
    show_refusals(refusals)
