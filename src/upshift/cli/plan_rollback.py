"""Which command puts a former plan in force again?"""

from typing import Annotated

import typer
from rich.text import Text

from upshift.admin.rolling_back import former, roll_back, rolled_back
from upshift.admin.views import rolled_back_view
from upshift.cli.plan_reading import show_consequences
from upshift.cli.terminal import DEFAULT_DB, Db, Json, Yes, desk_at, emit, err, local_admin, out
from upshift.model.span import show_instant

app = typer.Typer(add_completion=False)


@app.command()
def rollback(
    number: Annotated[
        int | None, typer.Argument(min=1, help="As 'upshift plan history' shows it; the one before unless said.")
    ] = None,
    db: Db = DEFAULT_DB,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Put a former plan in force again, as a new version; its sign-offs have to stand now."""
    with desk_at(db, json_) as desk:
        before, plan = desk.journal.plan_in_force(), former(desk, number)
        consequences = rolled_back(desk, plan)
        same = before is not None and before.hash == plan.hash
        if not json_:
            err().print(f"plan {plan.number}, {plan.name}, of {show_instant(plan.at)} by {plan.by}")
            show_consequences(err(), consequences)
        if not same:
            if not (yes or json_):
                typer.confirm("Put it in force again?", abort=True, err=True)
            roll_back(desk, plan, local_admin())
        now = desk.journal.plan_in_force()
    if json_:
        emit(rolled_back_view(plan, before, now, consequences))
    elif same or now is None:
        out().print("this plan is in force already")
    else:
        out().print(Text("in force ", "bold green").append(f"{now.hash}, as number {now.number}"))
