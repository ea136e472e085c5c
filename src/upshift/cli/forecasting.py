"""How do the commands that forecast take a horizon, and write figures, tables and files?"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from upshift.cli.terminal import err, failing, meaning
from upshift.gateway.clock import SystemClock
from upshift.model.quarter import Month, Quarter, parse_month
from upshift.model.span import to_datetime
from upshift.planning.budgets import Forecast, MonthUse, Quantiles
from upshift.planning.drawn import Drawn
from upshift.planning.forecast import MOST_MONTHS, Terms, forecast
from upshift.planning.outline import Outline
from upshift.planning.tokens import FIRST_QUARTER, NO_FIRST_QUARTER

MOST_DRAWS = 1_000_000

Start = Annotated[str, typer.Option(help="First month, like 2026-12; the next one unless said.")]
Months = Annotated[int, typer.Option(min=1, max=MOST_MONTHS, help="How many.")]
Draws = Annotated[int, typer.Option(min=1, max=MOST_DRAWS, help="More are slower and steadier.")]
Seed = Annotated[int, typer.Option(help="The same seed, plan and horizon give the same figures.")]
UnderSizing = Annotated[
    bool,
    typer.Option(
        "--under-sizing/--no-under-sizing",
        help="Whether new workloads use more than estimated in their first quarter, as they were seen to.",
    ),
]
Candidates = Annotated[bool, typer.Option("--candidates", help="Count candidates, too.")]
Html = Annotated[Path | None, typer.Option("--html", help="A page with pictures and tables.")]
Svg = Annotated[Path | None, typer.Option("--svg", help="The pictures.")]
Png = Annotated[Path | None, typer.Option("--png", help="The pictures.")]


def first_month(said: str) -> Month:
    """The month that an option names; the next one, as the clock says, where it names none."""
    if said:
        return meaning(parse_month, said, option="--start")
    return Month.of(to_datetime(SystemClock().now()).date()).plus(1)


def terms_of(*, under_sizing: bool, candidates: bool) -> Terms:
    """What two switches mean."""
    return Terms(first_quarter=FIRST_QUARTER if under_sizing else NO_FIRST_QUARTER, candidates=candidates)


def forecast_of(
    outline: Outline,
    start: Month,
    months: int,
    draws: int,
    seed: int,
    terms: Terms,
    taken: Sequence[Drawn] | None = None,
) -> Forecast:
    """Like the rule; what it refuses is a wrong usage."""
    return meaning(
        lambda: forecast(outline, start=start, months=months, draws=draws, seed=seed, terms=terms, taken=taken)
    )


def plain(value: Any) -> Any:
    """As JSON says it: months and quarters as texts, structs as objects with their properties' names."""
    if isinstance(value, Month | Quarter):
        return str(value)
    if isinstance(value, msgspec.Struct):
        return {field: plain(getattr(value, field)) for field in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def write(path: Path | None, make: Callable[[], str | bytes], as_json: bool) -> None:
    """Writes a file where one is asked for, and says so."""
    if path is None:
        return
    made = make()
    with failing(as_json):
        path.write_bytes(made.encode() if isinstance(made, str) else made)
    err().print(f"wrote {path}", style="dim")


def as_csv(of: Forecast) -> str:
    """One line for each workload and month, then the totals; money in US$, unknown left empty."""
    kept = io.StringIO()
    lines = csv.writer(kept, lineterminator="\n")
    lines.writerow(
        [
            "workload",
            "month",
            "tokens_p50",
            "tokens_p80",
            "tokens_p95",
            "usd_p50",
            "usd_p80",
            "usd_p95",
            "first_quarter",
        ]
    )
    for use in of.tokens.workloads:
        lines.writerows(_lines(use.workload, use.months))
    lines.writerows(_lines("TOTAL", of.tokens.months))
    return kept.getvalue()


def _lines(name: str, months: Sequence[MonthUse]) -> list[list[str]]:
    return [
        [name, str(each.month), *_counts(each.tokens), *_usd(each.cost), "yes" if each.first_quarter else ""]
        for each in months
    ]


def _counts(of: Quantiles) -> list[str]:
    return [str(round(value)) for value in (of.p50, of.p80, of.p95)]


def _usd(of: Quantiles | None) -> list[str]:
    return ["", "", ""] if of is None else [f"{value / 1e9:.2f}" for value in (of.p50, of.p80, of.p95)]
