"""Which command says what a plan will need?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from upshift import charts
from upshift.admin.signed import draws as recorded_draws
from upshift.charts.amounts import dollars_in_short, said
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
    as_csv,
    first_month,
    forecast_of,
    plain,
    terms_of,
    write,
)
from upshift.cli.plan_reading import Files, read
from upshift.cli.terminal import Json, desk_at, emit, out, table
from upshift.planning.budgets import Forecast, Quantiles
from upshift.planning.drawn import Drawn
from upshift.planning.forecast import DRAWS, MONTHS
from upshift.planning.outline import Budget, BudgetLine
from upshift.planning.tornado import tornado
from upshift.planning.whatif import Unit

app = typer.Typer(add_completion=False)

_SHOWN = 20
_THREE = ("P50", "P80", "P95")
_UNITS = {BudgetLine.TOKENS: Unit.MONEY, BudgetLine.COMPUTE: Unit.SESSIONS, BudgetLine.OPS: Unit.HOURS}


@app.command("forecast")
def forecast_(
    files: Files,
    months: Months = MONTHS,
    start: Start = "",
    draws: Draws = DRAWS,
    seed: Seed = 0,
    under_sizing: UnderSizing = True,
    candidates: Candidates = False,
    csv: Annotated[Path | None, typer.Option("--csv", help="Tokens and cost by workload and month.")] = None,
    html: Html = None,
    svg: Svg = None,
    png: Png = None,
    db: Annotated[
        str,
        typer.Option("--db", help="Whose recorded draws the buffer counts: a file, postgresql://... or @FILE."),
    ] = "",
    json_: Json = False,
) -> None:
    """Tokens, machines and people that a plan will need, each with P50, P80 and P95, and on what that rests."""
    first = first_month(start)
    outline = read(files, json_).outline
    terms = terms_of(under_sizing=under_sizing, candidates=candidates)
    found = forecast_of(outline, first, months, draws, seed, terms, _taken(db, json_))
    write(csv, lambda: as_csv(found), json_)
    if html is not None:
        most = [tornado(outline, line, start=first, months=months, terms=terms) for line in BudgetLine]
        write(html, lambda: charts.report.forecast_page(found, most), json_)
    write(svg, lambda: charts.style.svg(charts.sheets.forecast_sheet(found)), json_)
    write(png, lambda: charts.style.png(charts.sheets.forecast_sheet(found)), json_)
    if json_:
        emit(plain(found))
    else:
        show(out(), found)
        if not db:
            out().print("  what was drawn from the buffer is not known without --db", style="dim")


def show(console: Console, of: Forecast) -> None:
    """The three budgets one under the other, each with its owner; never one line."""
    last = of.start.plus(of.months - 1)
    console.print(
        Text(f"{of.name}, {of.start} to {last}", "bold").append(f"  {of.draws:,} draws, seed {of.seed}", "dim")
    )
    console.print("P80: with a chance of 80 % no more than this", style="dim")
    _tokens(console, of)
    _compute(console, of)
    _ops(console, of)
    _buffer(console, of)


def _taken(db: str, as_json: bool) -> tuple[Drawn, ...] | None:
    if not db:
        return None
    with desk_at(db, as_json) as desk:
        return recorded_draws(desk.journal)


def _tokens(console: Console, of: Forecast) -> None:
    tokens = of.tokens
    _head(console, "TOKENS", tokens.budget)
    rows = table("WORKLOAD", "TOKENS", *_THREE, "", numbers=("TOKENS", *_THREE))
    largest = sorted(tokens.workloads, key=lambda use: -(use.cost.p50 if use.cost is not None else float("inf")))
    for use in largest[:_SHOWN]:
        amount = "unknown" if use.tokens is None else said(use.tokens.p50, Unit.TOKENS)
        rows.add_row(f"{use.workload} {use.name}", amount, *_three(use.cost, Unit.MONEY), "; ".join(use.unknown))
    if len(largest) > _SHOWN:
        rows.add_row(f"and {len(largest) - _SHOWN} more", "", "", "", "", "--csv or --json has all")
    least = "at least" if tokens.at_least else "all"
    whole = (Text(each, "bold") for each in _three(tokens.cost, Unit.MONEY))
    rows.add_row(Text(least, "bold"), said(tokens.tokens.p50, Unit.TOKENS), *whole, "")
    console.print(rows)
    for year in tokens.years:
        if year.limit is not None:
            chance = f"; within with a chance of {year.within:.0%}" if year.within is not None else ""
            console.print(
                f"  {year.year} ({year.months} months): {dollars_in_short(year.cost.p50)} of the year's "
                f"{dollars_in_short(year.limit)}{chance}"
            )
    tight = [each for each in tokens.ceilings if each.tokens is not None and each.proposed_tokens > each.tokens]
    for each in tight[:_SHOWN]:
        assert each.tokens is not None
        console.print(
            f"  {each.workload} {each.tier or ''}: {each.reached:.0%} of users reach the ceiling of "
            f"{said(each.tokens, Unit.TOKENS)} a month; {said(each.proposed_tokens, Unit.TOKENS)} would let 95 % work",
            style="yellow",
        )
    _assumptions(console, tokens.assumptions)


def _compute(console: Console, of: Forecast) -> None:
    _head(console, "COMPUTE", of.compute.budget)
    heads = ("AVERAGE", *_THREE, "SIZED", "UNITS", "COST")
    rows = table("MONTH", *heads, numbers=heads)
    for each in of.compute.months:
        rows.add_row(
            str(each.month),
            said(each.average, Unit.SESSIONS),
            *_three(each.peak, Unit.SESSIONS),
            said(each.sized, Unit.SESSIONS),
            "" if each.units is None else str(each.units),
            "" if each.cost is None else dollars_in_short(each.cost),
        )
    console.print(rows)
    console.print("  sessions open at once" + (", at least" if of.compute.at_least else ""), style="dim")
    _assumptions(console, of.compute.assumptions)


def _ops(console: Console, of: Forecast) -> None:
    _head(console, "OPS", of.ops.budget)
    heads = ("STABLE", "FIRST QUARTER", "PLATFORM", *_THREE, "FTE", "CEILING", "SHORT", "CHEAPEST")
    rows = table("QUARTER", *heads, numbers=heads)
    best = {each.quarter: each.best for each in of.ops.staffing}
    for each in of.ops.quarters:
        level = best.get(each.quarter)
        rows.add_row(
            str(each.quarter),
            *(f"{value:,.1f}" for value in (each.stable, each.first_quarter, each.platform)),
            *_three(each.hours, Unit.HOURS),
            f"{each.fte:.2f}",
            "" if each.ceiling is None else f"{each.ceiling:,.0f} h",
            Text(f"{each.shortfall:,.1f} h, {each.shortfall_fte:.2f} FTE", "bold red") if each.shortfall else "",
            "" if level is None else f"{level.hours:,.1f} h",
        )
    console.print(rows)
    console.print("  hours a week; cheapest counts what missing hours cause", style="dim")
    _assumptions(console, of.ops.assumptions)


def _buffer(console: Console, of: Forecast) -> None:
    console.print(Text("\nBUFFER", "bold").append("  held centrally over the median of each budget", "dim"))
    heads = ("BUDGET", "HELD", "DRAWN", "LEFT", "CHANCE TO SUFFICE")
    rows = table("QUARTER", "OF", *heads, numbers=heads)
    for each in of.buffer:
        unit = _UNITS[each.line]
        amounts = (
            "unknown" if value is None else said(value, unit)
            for value in (each.budget, each.held, each.drawn, each.left)
        )
        rows.add_row(str(each.quarter), each.line, *amounts, f"{each.enough:.0%}")
    console.print(rows)


def _head(console: Console, name: str, budget: Budget) -> None:
    owners = ", ".join(budget.owners)
    said_ = f"  owned by {owners}; forecast {budget.forecast}, reviewed {budget.review}"
    console.print(Text(f"\n{name}", "bold").append(said_, "dim"))


def _three(of: Quantiles | None, unit: Unit) -> tuple[str, str, str]:
    return ("unknown",) * 3 if of is None else (said(of.p50, unit), said(of.p80, unit), said(of.p95, unit))


def _assumptions(console: Console, sentences: tuple[str, ...]) -> None:
    for each in sentences[:_SHOWN]:
        console.print(f"  - {each}", style="dim")
    if len(sentences) > _SHOWN:
        console.print(f"  - and {len(sentences) - _SHOWN} more", style="dim")
