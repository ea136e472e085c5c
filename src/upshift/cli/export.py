"""Which command takes costs and calls away?"""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from upshift.admin.desk import ActError
from upshift.admin.export import Form, What, export
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, err, fail, local_admin, meaning

app = typer.Typer(add_completion=False)


@app.command()
def export_records(
    what: Annotated[What, typer.Argument(help="focus: costs in the columns of FOCUS 1.4; calls: every call.")],
    form: Annotated[Form, typer.Option("--format", help="What it is written as.")] = Form.CSV,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file; - or nothing is stdout.")] = None,
    since: Annotated[str, typer.Option(help="7d or 2026-11-01 (UTC); this month's beginning unless said.")] = "",
    until: Annotated[str, typer.Option(help="Like --since; now unless said.")] = "",
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Take costs or calls away as CSV or Parquet."""
    to_stdout = output is None or str(output) == "-"
    if json_ and to_stdout:
        raise typer.BadParameter("name a file, where stdout is for JSON", param_hint="--output")
    if form is Form.PARQUET and to_stdout and sys.stdout.isatty():
        raise typer.BadParameter("a terminal cannot show Parquet; name a file", param_hint="--output")
    with desk_at(db, json_) as desk:
        found = meaning(export, desk, local_admin(), what, since, until)
        # Written beside the file and then put in its place, so that half an export is never taken for a whole one.
        part = None if to_stdout or output is None else output.with_name(f".{output.name}.part")
        with nullcontext(sys.stdout.buffer) if part is None else part.open("wb") as file:
            try:
                if form is Form.PARQUET:
                    found.parquet(file)
                else:
                    file.writelines(piece.encode() for piece in found.csv())
            except ActError as error:
                if part is not None:
                    part.unlink()
                fail(str(error), as_json=json_)
        if part is not None and output is not None:
            part.replace(output)
            if json_:
                emit({"file": str(output), "bytes": output.stat().st_size})
            else:
                err().print(f"{output}: {output.stat().st_size:,} bytes")
