"""Which command shows the plan in force?"""

import json

import typer

from upshift.admin.views import applied_view
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, fail, out, table
from upshift.model.span import show_instant

app = typer.Typer(add_completion=False)


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
