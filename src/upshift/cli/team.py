"""Which commands say how large a team of agents should be?"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from upshift import charts
from upshift.cli.terminal import Json, emit, fail, failing, meaning, out, table
from upshift.model.share import parse_share
from upshift.planning.coordination import (
    ANCHOR,
    EXAMPLE,
    Coordination,
    breaking_at,
    coordination,
    disagreements,
    elasticity,
    worked_out,
)
from upshift.planning.measurements import BadSheetError, Measured, read_interfaces, read_measured
from upshift.planning.next_agent import Advice, Verdict, advise
from upshift.planning.team import Breaking, Interval, Place, Study, at, breaking, interval, parameters, sizes, study
from upshift.planning.usl import Law, Shape, Topology

app = typer.Typer(add_completion=False, no_args_is_help=True, help="How large a team of agents should be.")

_STYLES = {Advice.ADD: "green", Advice.STOP: "red", Advice.MEASURE: "yellow"}
_WIDTH = 56
_MOST_ROWS = 24


@app.command("fit")
def fit_team(
    file: Annotated[Path, typer.Argument(help="CSV: agents, and throughput or tasks and time; group if any.")],
    topology: Annotated[
        str, typer.Option(help="Who talks with whom: mesh, star, ring, none, or a CSV of agents, interfaces.")
    ] = "mesh",
    now: Annotated[
        int | None, typer.Option(min=1, help="Agents today; the smallest size measured unless said.")
    ] = None,
    target: Annotated[
        int | None, typer.Option(min=2, help="Agents wanted; the largest size measured unless said.")
    ] = None,
    active: Annotated[int | None, typer.Option("--interfaces", min=0, help="Interfaces declared today.")] = None,
    independence: Annotated[str, typer.Option(help="Share of today's work that is independent, like 73%.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the draws behind the intervals.")] = 1,
    svg: Annotated[Path | None, typer.Option(help="Write the picture to this file.")] = None,
    unit: Annotated[str, typer.Option(help="Of the throughput, for the picture.")] = "throughput",
    json_: Json = False,
) -> None:
    """Fit measured throughput, find where the team breaks, and say whether more agents pay."""
    share = meaning(_between, independence, option="--independence") if independence else None
    shape = _topology(topology, json_)
    measured = _measured(file, json_)
    try:
        found = study(measured, shape, np.random.default_rng(seed))
        today = int(found.agents[0]) if now is None else now
        verdict = advise(found, today, _target(found, today, target))
        costs = coordination(found.law, today, active) if found.law is not None and found.fits else None
    except ValueError as error:
        fail(str(error), as_json=json_)
    broken = breaking(found)
    if svg is not None:
        with failing(json_):
            svg.write_text(charts.team_size.team_svg(found, broken, verdict, unit), encoding="utf-8")
    if json_:
        emit(_document(found, broken, verdict, costs, share))
        return
    console = out()
    _show_sizes(console, found, verdict)
    _show_law(console, found, broken, costs)
    if share is not None:
        _show_independence(console, broken, share)
    console.print(Text(verdict.says, _STYLES[verdict.advice]))
    if verdict.instead:
        console.print(verdict.instead)


@app.command()
def example(json_: Json = False) -> None:
    """The worked example of 20, 25 and 30 agents, and which of its figures disagree."""
    rows, wrong = worked_out(EXAMPLE), disagreements(EXAMPLE)
    if json_:
        emit(
            {
                "rows": [msgspec.to_builtins(row) for row in rows],
                "breaking_point": EXAMPLE.breaking,
                "independence": EXAMPLE.independence,
                "disagreements": wrong,
            }
        )
        return
    console = out()
    columns = ("AGENTS", "INTERFACES", "RAW", "PER AGENT", "EFFICIENCY", "EFFECTIVE", "GAIN", "WITHOUT LOSS")
    shown = table(*columns, numbers=columns)
    for row in rows:
        shown.add_row(
            str(row.agents),
            str(row.interfaces),
            f"{row.raw:,.0f}{'*' if row.raw_implied else ''}",
            f"{row.per_agent:.2f}",
            f"{row.efficiency:.2%}",
            f"{row.effective:,.0f}",
            "" if row.gain is None else f"{row.gain:+,.0f}",
            "" if row.naive is None else f"{row.naive:+,.0f}",
        )
    console.print(shown)
    console.print("tasks per week; * not stated, follows from the other two", style="dim")
    console.print(f"breaking point as stated: {EXAMPLE.breaking:g} agents at {EXAMPLE.independence:.0%} independence")
    for each in wrong:
        console.print(Text("disagrees ", "yellow").append(each, "default"))


# what was asked ---------------------------------------------------------------------------------------------------


def _between(text: str) -> float:
    share = parse_share(text)
    if not 0 < share < 1:
        raise ValueError(f"{text!r}: some work is independent and some is not; say a share between 0% and 100%")
    return share


def _topology(text: str, as_json: bool) -> Topology:
    known = {shape.value: shape for shape in Shape}
    if text in known:
        return known[text]
    if not Path(text).is_file():
        raise typer.BadParameter(f"{text!r} is neither a file nor {', '.join(known)}", param_hint="--topology")
    file = Path(text)
    try:
        return read_interfaces(_text(file, as_json))
    except BadSheetError as error:
        fail(_problems(file, error), as_json=as_json)


def _measured(file: Path, as_json: bool) -> list[Measured]:
    try:
        return read_measured(_text(file, as_json))
    except BadSheetError as error:
        fail(_problems(file, error), as_json=as_json)


def _text(file: Path, as_json: bool) -> str:
    with failing(as_json):
        data = file.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fail(f"{file.name}: byte {error.start} is not UTF-8; save the sheet as CSV in UTF-8", as_json=as_json)


def _problems(file: Path, error: BadSheetError) -> str:
    return "\n".join(f"{file.name}: {each}" for each in error.problems)


def _target(found: Study, now: int, target: int | None) -> int:
    """As asked; else the largest size measured, or the next agent where that is not above today's."""
    return target if target is not None else max(found.largest, now + 1)


# what was found ---------------------------------------------------------------------------------------------------


def _show_sizes(console: Console, found: Study, verdict: Verdict) -> None:
    """Measured and fitted throughput by team size, drawn to one scale."""
    measured = {size.agents: size for size in sizes(found)}
    law = found.law if found.fits else None
    rows = _rows(found, verdict.known_to) if law is not None else sorted(measured)
    fitted = at(found, rows, fitted=True) if law is not None and found.laws is not None else None
    bands = None if fitted is None else [interval(draws) for draws in fitted.T]
    tops = [size.throughput.mid if found.seen is None else size.throughput.high for size in measured.values()]
    top = max([*tops, *(band.high for band in bands or [])])
    columns = ("AGENTS", "MEASURED", "N", "FITTED", "95 %")
    shown = table(*columns, "", numbers=columns)
    for index, agents in enumerate(rows):
        size, band = measured.get(agents), None if bands is None else bands[index]
        known = None if size is None or found.seen is None else size.throughput
        between = band if band is not None else known
        middle = None if law is None else law.throughput(agents)
        shown.add_row(
            str(agents),
            "" if size is None else _figure(size.throughput.mid),
            "" if size is None else str(size.measurements),
            "" if middle is None else _figure(middle),
            "" if between is None else f"{_figure(between.low)} to {_figure(between.high)}",
            _line(None if size is None else size.throughput.mid, middle, between, top),
        )
    console.print(shown)
    console.print("● measured  + fitted  ─ 95 % credible; throughput in the unit of the sheet", style="dim")


def _rows(found: Study, known_to: int) -> list[int]:
    """The sizes measured, and others up to what the verdict looked at, no more than fit on a page."""
    seen = [int(size) for size in found.agents]
    largest = max(found.largest, known_to)
    every = math.ceil(largest / max(_MOST_ROWS - len(seen), 4))
    return sorted({*seen, *range(every, largest + 1, every), largest})


def _line(measured: float | None, fitted: float | None, band: Interval | None, top: float) -> str:
    cells = [" "] * (_WIDTH + 1)

    def place(value: float) -> int:
        return min(max(round(value / top * _WIDTH), 0), _WIDTH)

    if band is not None:
        low, high = place(band.low), place(band.high)
        cells[low : high + 1] = "─" * (high - low + 1)
    if fitted is not None:
        cells[place(fitted)] = "+"
    if measured is not None:
        cells[place(measured)] = "●"
    return "".join(cells).rstrip()


def _show_law(console: Console, found: Study, broken: Breaking, costs: Coordination | None) -> None:
    held = parameters(found)
    if found.law is not None and held and not found.fits:
        console.print("the law does not fit: only sizes that were measured are judged", style="yellow")
    elif held:
        names = {"gamma": "one agent", "alpha": "contention", "beta": "coherency"}
        shown = table("PARAMETER", "", "ESTIMATE", "95 %", numbers=("ESTIMATE", "95 %"))
        for name, each in held.items():
            shown.add_row(name, names[name], _figure(each.mid), f"{_figure(each.low)} to {_figure(each.high)}")
        console.print(shown)
    if costs is not None:
        declared = "" if costs.active is None else f" ({costs.active} active, {costs.contacts:.1f} contacts per agent)"
        console.print(
            f"{costs.agents} agents: {costs.most} interfaces possible{declared}, coordination efficiency"
            f" {costs.efficiency:.1%}, raw {_figure(costs.raw)}, effective {_figure(costs.effective)},"
            f" next agent {'+' if costs.marginal > 0 else ''}{_figure(costs.marginal)}"
        )
    console.print(f"breaking point: {broken.says}", style="" if broken.place is Place.MEASURED else "yellow")


def _show_independence(console: Console, broken: Breaking, share: float) -> None:
    known, source = _known(broken, share)
    steps = [each for each in (share - 0.1, share - 0.05, share, share + 0.05, share + 0.1) if 0 < each < 1]
    said = ", ".join(f"{each:.0%}: {breaking_at(each, known):.0f}" for each in steps)
    console.print(
        f"breaking point by independent work, {source}: {said}; one per cent more independence moves it"
        f" by {elasticity(share):.1f} %"
    )


def _known(broken: Breaking, share: float) -> tuple[tuple[float, float], str]:
    """The share and breaking point to go by: what was measured, else the usual ones."""
    if broken.peak is not None and broken.place is not Place.UNKNOWN:
        return (share, broken.peak.mid), "from the fit"
    return ANCHOR, f"from the usual {ANCHOR[1]:g} at {ANCHOR[0]:.0%}, not from this team"


def _figure(value: float) -> str:
    """As many digits as tell it from its neighbours."""
    if math.isinf(value):
        return "∞"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(2, 2 - math.floor(math.log10(abs(value))))}f}"


def _document(
    found: Study, broken: Breaking, verdict: Verdict, costs: Coordination | None, share: float | None
) -> dict[str, Any]:
    independence = None
    if share is not None:
        known, source = _known(broken, share)
        independence = {
            "share": share,
            "breaking_point": breaking_at(share, known),
            "elasticity": elasticity(share),
            "basis": source,
        }
    document = {
        "sizes": [msgspec.to_builtins(size) for size in sizes(found)],
        "law": None if found.law is None else _law(found, found.law),
        "breaking_point": msgspec.to_builtins(broken),
        "coordination": None if costs is None else msgspec.to_builtins(costs),
        "independence": independence,
        "verdict": msgspec.to_builtins(verdict),
    }
    return {name: _finite(value) for name, value in document.items()}


def _law(found: Study, law: Law) -> dict[str, Any]:
    held = {name: msgspec.to_builtins(each) for name, each in parameters(found).items()}
    shape = law.topology.value if isinstance(law.topology, Shape) else "declared"
    return {"gamma": law.gamma, "alpha": law.alpha, "beta": law.beta, "topology": shape, "peak": law.peak,
            "limit": law.limit, "fits": found.fits, "intervals": held}  # fmt: skip


def _finite(value: Any) -> Any:
    """JSON has no infinity: null, as the guide says."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(each) for each in value]
    return value
