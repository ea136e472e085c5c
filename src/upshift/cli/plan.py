"""Which commands are there on plans?"""

import typer

from upshift.cli.lazy import PlanGroup

app = typer.Typer(cls=PlanGroup, add_completion=False, no_args_is_help=True)


@app.callback()
def plan() -> None:
    """Check, compare, apply and show plans."""
