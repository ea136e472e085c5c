"""Which command shows every plan that was put in force?"""

import typer

from upshift.admin.views import applied_views
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, out, table

app = typer.Typer(add_completion=False)


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
