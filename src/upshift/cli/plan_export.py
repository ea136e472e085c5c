"""Which command writes a plan as a sheet?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from upshift.cli.plan_reading import Files, read
from upshift.cli.plan_sheets import SHEETS, book_of, plan_files, text_of, tree_of
from upshift.cli.terminal import Json, emit, err, fail, failing, out, table
from upshift.sheets import csv_text, xlsx_book
from upshift.sheets.tables import csv_rows, workloads_table
from upshift.sheets.xlsx_book import Table

app = typer.Typer(add_completion=False)


@app.command()
def export(
    files: Files,
    to: Annotated[Path, typer.Option("--to", help="plan.xlsx: all of the plan; plan.csv: its workloads only.")],
    json_: Json = False,
) -> None:
    """Write the plan's table, one workload per row, for a spreadsheet."""
    if to.suffix.lower() not in SHEETS:
        raise typer.BadParameter(f"{to.name} ends in neither .csv nor .xlsx", param_hint="--to")
    checked = read(files, json_)
    with failing(json_):
        plan = tree_of([(str(file), text_of(file)) for file in plan_files(files)])
        whole = to.suffix.lower() == ".xlsx"
        tables = book_of(plan) if whole else [workloads_table(plan.get("workloads"))]
        long = xlsx_book.too_long(tables) if whole else []
        if long:
            fail(f"{long[0]}: a cell holds at most {xlsx_book.LONGEST_TEXT:,} characters", as_json=json_)
        to.write_bytes(xlsx_book.render(tables) if whole else csv_text.render(csv_rows(tables[0])))
    if json_:
        sheets = [{"title": each.title, "rows": len(each.rows) - 1} for each in tables]
        emit({"to": str(to), "plan": checked.snapshot.hash, "sheets": sheets, "whole": whole})
        return
    _show(tables, to)
    if not whole:
        hint = "the workloads only: read it back into the plan with 'upshift plan import FILE --into PLAN'"
        err().print(hint, style="dim")


def _show(tables: list[Table], to: Path) -> None:
    rows = table("SHEET", "ROWS", numbers=("ROWS",))
    for each in tables:
        rows.add_row(each.title, str(len(each.rows) - 1))
    out().print(rows)
    out().print(Text("written ", "bold green").append(str(to), "default"))
