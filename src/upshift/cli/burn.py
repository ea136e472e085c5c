"""Which command shows when the year's budget runs out?"""

import typer
from rich.text import Text

from upshift.admin.burn import BurnsView, BurnView, burns
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, out, table
from upshift.model.money import show_money

app = typer.Typer(add_completion=False)


@app.command()
def show(db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """Spend of the organisation and its pods against the year's budgets, and the week in which they run out."""
    with desk_at(db, json_) as desk:
        view = burns(desk, desk.need_outline())
    if json_:
        emit(view)
    else:
        _show(view)


def _show(view: BurnsView) -> None:
    console = out()
    console.print(f"{view.since} to {view.until}, spend until yesterday", style="dim")
    rows = table("", "BUDGET", "SPENT", "PACE", "PROJECTED", "P10 TO P90", "RUNS OUT", "WEEK",
                 numbers=("BUDGET", "SPENT", "PACE", "PROJECTED", "P10 TO P90"))  # fmt: skip
    for each in view.burns:
        rows.add_row(
            each.name,
            "none" if each.budget_nano is None else show_money(each.budget_nano),
            show_money(each.spent_nano),
            "" if each.pace is None else f"{each.pace:.2f}",
            show_money(each.projected_nano),
            f"{show_money(each.low_nano)} to {show_money(each.high_nano)}",
            _out(each),
            each.week or "",
        )
    console.print(rows)
    for each in view.burns:
        console.print(Text(each.because, "yellow" if each.runs_out else "dim"))


def _out(each: BurnView) -> str:
    if each.budget_nano is None:
        return ""
    if not each.spent_nano:
        return "nothing recorded"
    return each.runs_out or "not this year"
