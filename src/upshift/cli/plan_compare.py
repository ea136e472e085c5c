"""Which command puts two plans side by side?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from upshift import charts
from upshift.cli.forecasting import (
    Candidates,
    Draws,
    Html,
    Months,
    Png,
    Seed,
    Start,
    Svg,
    UnderSizing,
    first_month,
    forecast_of,
    plain,
    terms_of,
    write,
)
from upshift.cli.plan_reading import read
from upshift.cli.plan_whatif import show_comparison
from upshift.cli.terminal import Json, emit, out
from upshift.planning.forecast import DRAWS, MONTHS
from upshift.planning.whatif import compare

app = typer.Typer(add_completion=False)


@app.command("compare")
def compare_(
    first: Annotated[Path, typer.Argument(help="A plan: a file or a folder.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    months: Months = MONTHS,
    start: Start = "",
    draws: Draws = DRAWS,
    seed: Seed = 0,
    under_sizing: UnderSizing = True,
    candidates: Candidates = False,
    html: Html = None,
    svg: Svg = None,
    png: Png = None,
    json_: Json = False,
) -> None:
    """Two plans side by side: what each will need, and how far they are apart."""
    month, terms = first_month(start), terms_of(under_sizing=under_sizing, candidates=candidates)
    outlines = [read([each], json_).outline for each in (first, second)]
    both = compare(*(forecast_of(each, month, months, draws, seed, terms) for each in outlines))
    write(html, lambda: charts.report.comparison_page(both, [f"{first} against {second}"]), json_)
    write(svg, lambda: charts.style.svg(charts.sheets.comparison_sheet(both)), json_)
    write(png, lambda: charts.style.png(charts.sheets.comparison_sheet(both)), json_)
    if json_:
        emit(plain(both))
        return
    out().print(Text("before ", "dim").append(str(first), "bold").append("  after ", "dim").append(str(second), "bold"))
    show_comparison(out(), both)
