"""Which command shows what editors need to know of plans?"""

import typer

from upshift.cli.printing import Json, emit
from upshift.plan_file import json_schema

app = typer.Typer(add_completion=False)


@app.command()
def schema(json_: Json = False) -> None:
    """The JSON Schema of a plan, for editors. Always JSON."""
    emit(json_schema())
