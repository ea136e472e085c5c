"""Which command changes a plan's inputs and shows what moves?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from upshift import charts
from upshift.charts.amounts import change, said
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
from upshift.cli.terminal import Json, emit, err, out, table
from upshift.planning.changes import ChangeError, apply_changes
from upshift.planning.forecast import DRAWS, MONTHS
from upshift.planning.outline import BudgetLine, Outline
from upshift.planning.tornado import Tornado, tornado
from upshift.planning.whatif import Comparison, Moved, Unit, compare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

app = typer.Typer(add_completion=False)

_UNITS = {BudgetLine.TOKENS: Unit.MONEY, BudgetLine.COMPUTE: Unit.SESSIONS, BudgetLine.OPS: Unit.HOURS}
_SHOWN = 20


# A change may begin with a minus, so what is no option is a word.
@app.command("whatif", context_settings={"ignore_unknown_options": True})
def whatif(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES... CHANGES...",
            help="The plan, then changes: W-01.users=6000, 'W-02.price*1.2', '+W-06 like W-02', -W-03, buffer=15%.",
        ),
    ],
    most: Annotated[bool, typer.Option("--tornado", help="Show which inputs matter most to each budget.")] = False,
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
    """Change any input and see all three budgets, the buffer and the gates move."""
    files, changes = _told_apart(words)
    if not files or not (changes or most):
        raise typer.BadParameter("a plan is needed and a change, like W-01.users=6000; or --tornado")
    first, terms = first_month(start), terms_of(under_sizing=under_sizing, candidates=candidates)
    before = read(files, json_).outline
    after = _changed(before, changes, json_)
    both = compare(*(forecast_of(each, first, months, draws, seed, terms) for each in (before, after)))
    found = [tornado(after, line, start=first, months=months, terms=terms) for line in BudgetLine] if most else []
    write(html, lambda: charts.report.comparison_page(both, changes, found), json_)
    shown = found[0] if found and not changes else both
    write(svg, lambda: charts.style.svg(_picture(shown)), json_)
    write(png, lambda: charts.style.png(_picture(shown)), json_)
    if json_:
        emit({"changes": changes, **plain(both), "tornado": plain(found)})
        return
    if changes:
        show_comparison(out(), both)
    for each in found:
        _show_tornado(out(), each)


def _picture(of: Comparison | Tornado) -> "Figure":
    return charts.sheets.tornado_sheet(of) if isinstance(of, Tornado) else charts.sheets.comparison_sheet(of)


def _told_apart(words: list[str]) -> tuple[list[Path], list[str]]:
    """Files come first; what is no path and looks like a change begins the changes."""
    at = 0
    while at < len(words) and (Path(words[at]).exists() or not any(sign in words[at] for sign in "=*+")):
        if words[at].startswith("-") and not Path(words[at]).exists():
            break
        at += 1
    return [Path(each) for each in words[:at]], words[at:]


def _changed(outline: Outline, changes: list[str], as_json: bool) -> Outline:
    try:
        return apply_changes(outline, changes)
    except ChangeError as error:
        if as_json:
            emit({"error": str(error), "problems": error.problems})
        for each in error.problems:
            err().print(f"error: {each}", style="red")
        raise typer.Exit(1) from None


def show_comparison(console: Console, of: Comparison) -> None:
    """What moves, line by line; then workloads and gates."""
    _moved(console, ("BUDGET", "FIGURE"), [((each.line, each.what), each) for each in of.lines])
    if of.workloads:
        console.print("\nmedian cost of tokens, by workload", style="bold")
        _moved(console, ("WORKLOAD",), [((each.what,), each) for each in of.workloads[:_SHOWN]])
    if of.ceilings:
        console.print("\nceilings of tokens that would fit, per user and month", style="bold")
        rows = table("GATE", "STATED", "BEFORE", "AFTER", numbers=("STATED", "BEFORE", "AFTER"))
        for each in of.ceilings[:_SHOWN]:
            ceilings = [one for one in (each.after, each.before) if one is not None]
            fits = (
                "none" if one is None else said(one.proposed_tokens, Unit.TOKENS) for one in (each.before, each.after)
            )
            stated = "none" if ceilings[0].tokens is None else said(ceilings[0].tokens, Unit.TOKENS)
            rows.add_row(f"{each.workload} {each.tier or ''}", stated, *fits)
        console.print(rows)


def _moved(console: Console, heads: tuple[str, ...], lines: list[tuple[tuple[str, ...], Moved]]) -> None:
    numbers = ("BEFORE", "AFTER", "CHANGE")
    rows = table(*heads, *numbers, numbers=numbers)
    for names, each in lines:
        amounts = (said(each.before, each.unit), said(each.after, each.unit))
        rows.add_row(*names, *amounts, change(each.before, each.after, each.unit))
    console.print(rows)


def _show_tornado(console: Console, of: Tornado) -> None:
    unit = _UNITS[of.line]
    console.print(
        f"\nwhat matters most to {of.line}: {said(of.base, unit)} with all inputs at their medians", style="bold"
    )
    longest = max((bar.swing for bar in of.bars), default=1.0)
    rows = table("INPUT", "LOW", "HIGH", "AT LOW", "AT HIGH", "", numbers=("LOW", "HIGH", "AT LOW", "AT HIGH"))
    for bar in of.bars:
        length = "█" * max(1, round(24 * bar.swing / longest))
        rows.add_row(bar.input, bar.at_low, bar.at_high, said(bar.low, unit), said(bar.high, unit), length)
    console.print(rows)
