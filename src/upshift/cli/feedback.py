"""Which commands keep and show what is reported of finished work?"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from upshift.admin import feedback
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, fail, local_admin, meaning, out, table
from upshift.sources.feedback import MOST_BYTES

app = typer.Typer(no_args_is_help=True, add_completion=False, help="What is reported of finished work.")


@app.command()
def add(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON or JSON lines; - is standard input.")],
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Keep the reports in a file: all of them or none, each once by its kind and id."""
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as source:
            body = source.read(MOST_BYTES + 1)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror or error}", as_json=json_)
    with desk_at(db, json_) as desk:
        view = feedback.add(desk, local_admin(), body)
    if json_:
        emit(view)
        return
    known = view.received - view.new
    out().print(f"{view.new:,} reports kept" + (f"; {known:,} were known already" if known else ""))


@app.command("list")
def list_(
    where: Annotated[list[str] | None, typer.Option(help="Only where, like agent=ada; may be repeated.")] = None,
    since: Annotated[str, typer.Option(help="7d, 12h or 2026-11-01; from the beginning unless said.")] = "",
    until: Annotated[str, typer.Option(help="Like --since; now unless said.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """The latest reports."""
    only = meaning(feedback.conditions, where or [], option="--where")
    with desk_at(db, json_) as desk:
        views = meaning(feedback.listed, desk, local_admin(), only, since, until, limit)
    if json_:
        emit(views)
        return
    rows = table("AT", "KIND", "ID", "TENANT", "AGENT", "SESSION", "SAYS", "FROM")
    for each in views:
        rows.add_row(
            each.at, each.kind, each.id, each.tenant, each.agent, each.session, each.says, f"{each.source} {each.by}"
        )
    out().print(rows)
