"""Which command says how many places recorded calls need?"""

import math
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from upshift import charts
from upshift.admin import reports
from upshift.admin.desk import Desk
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, fail, failing, meaning, out, table
from upshift.model.metered import Outcome
from upshift.model.share import parse_share
from upshift.planning.arrivals import Service
from upshift.planning.measurements import BadSheetError
from upshift.planning.recorded import HEADROOM, Demand, Minutes, Recorded, by_minute, demand, read_recorded, recorded
from upshift.store.journal import Dimension

app = typer.Typer(add_completion=False)

_PAGE = 5_000
_WORST = 5
_DAY = 86_400.0


@app.command()
def capacity(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="CSV: time, and seconds, milliseconds, or input and output tokens; the ledger unless said."
        ),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Of the ledger only, like workload=support-chat; may be repeated.")
    ] = None,
    most: Annotated[
        int, typer.Option("--calls", min=2, help="Of the ledger, at most so many of the latest.")
    ] = 200_000,
    days: Annotated[
        float | None,
        typer.Option(min=0.001, help="For how long it has to suffice; as long as was recorded unless said."),
    ] = None,
    headroom: Annotated[str, typer.Option(help="Above the sized peak, like 35%.")] = f"{HEADROOM:.0%}",
    start: Annotated[
        float, typer.Option(min=0, help="Where tokens tell: seconds before any is read.")
    ] = Service().start,
    read: Annotated[float, typer.Option(min=1, help="Where tokens tell: input tokens a second.")] = Service().read,
    write: Annotated[float, typer.Option(min=1, help="Where tokens tell: output tokens a second.")] = Service().write,
    svg: Annotated[Path | None, typer.Option(help="Write the picture to this file.")] = None,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """How many places calls need at their worst minute, from those that were recorded."""
    share = meaning(parse_share, headroom, option="--headroom")
    only = meaning(reports.conditions, where or [], option="--where")
    if file is not None:
        if only:
            raise typer.BadParameter("a file is taken whole; leave --where out", param_hint="--where")
        calls = _of_file(file, Service(start=start, read=read, write=write), json_)
    else:
        with desk_at(db, json_) as desk:
            calls = _of_ledger(desk, only, most)
    try:
        found = demand(calls, horizon=None if days is None else days * _DAY, headroom=share)
    except ValueError as error:
        fail(str(error), as_json=json_)
    minutes = by_minute(calls)
    if svg is not None:
        with failing(json_):
            svg.write_text(charts.recorded.recorded_svg(minutes, found), encoding="utf-8")
    if json_:
        emit({**msgspec.to_builtins(found), "worst": _worst(minutes)})
        return
    _show(found, minutes)


def _of_file(file: Path, service: Service, as_json: bool) -> Recorded:
    with failing(as_json):
        data = file.read_bytes()
    try:
        return read_recorded(data.decode("utf-8-sig"), service)
    except UnicodeDecodeError as error:
        fail(f"{file.name}: byte {error.start} is not UTF-8; save the sheet as CSV in UTF-8", as_json=as_json)
    except BadSheetError as error:
        fail("\n".join(f"{file.name}: {each}" for each in error.problems), as_json=as_json)


def _of_ledger(desk: Desk, only: dict[Dimension, str], most: int) -> Recorded:
    """The latest calls, page by page. What was refused, or lost without a time, kept no place that is known."""
    starts: list[float] = []
    held: list[float] = []
    before: int | None = None
    left = most
    while left > 0:
        page = desk.journal.calls(only, min(_PAGE, left), before)
        for each in page:
            if each.record.outcome is not Outcome.REFUSED and each.record.latency_us > 0:
                starts.append(each.record.started / 1e6)
                held.append(each.record.latency_us / 1e6)
        if len(page) < min(_PAGE, left):
            break
        left -= len(page)
        before = page[-1].seq
    return recorded(starts, held)


def _worst(minutes: Minutes) -> list[dict[str, int]]:
    """The minutes with most open at once, the first of equals first."""
    order = sorted(range(len(minutes.most)), key=lambda at: (-minutes.most[at], at))[:_WORST]
    return [{"minute": at, "calls": int(minutes.begun[at]), "open": int(minutes.most[at])} for at in order]


def _show(found: Demand, minutes: Minutes) -> None:
    console, sized = out(), found.sized
    console.print(
        Text(f"{found.places:,} places", "bold green").append(
            f" carry the worst minute of {_span(found.horizon)}: with a chance of 95 % no more than {sized.peak:,.0f} "
            f"are open at once; {found.headroom:.0%} of headroom",
            "default",
        )
    )
    facts = table("RECORDED", "", numbers=("",))
    facts.add_row("calls", f"{found.calls:,} over {_span(found.seconds)}")
    facts.add_row("calls a minute, on average", f"{found.minute_mean:,.1f}")
    facts.add_row("P95 of minutes", f"{found.minute_p95:,.0f}")
    facts.add_row("most", f"{found.minute_most:,.0f}")
    facts.add_row(
        "busiest hour over an average one (busy)",
        "not known of less than a day" if found.busy is None else f"{found.busy:.2f}",
    )
    facts.add_row("its worst minute over its average (burst)", f"{found.burst:.2f}")
    console.print(facts)
    rows = table("OPEN AT ONCE", "", numbers=("",))
    rows.add_row("on average, by Little's law: no size for a peak", f"{sized.average:,.1f}")
    rows.add_row("most that were seen", f"{sized.observed:,.0f}")
    rows.add_row(f"most within {_span(found.horizon)}, 80 %", f"{found.low:,.0f} to {found.high:,.0f}")
    rows.add_row("sized, 95 %", f"{sized.peak:,.0f}")
    rows.add_row("with headroom", f"{found.places:,}", style="bold")
    console.print(rows)
    worst = table("WORST MINUTES", "CALLS", "OPEN", numbers=("CALLS", "OPEN"))
    for each in _worst(minutes):
        worst.add_row(f"{_span(each['minute'] * 60.0)} after the first call", str(each["calls"]), str(each["open"]))
    console.print(worst)


def _span(seconds: float) -> str:
    if seconds >= 2 * _DAY:
        return f"{seconds / _DAY:,.1f} days"
    return f"{seconds / 3600:,.1f} h" if seconds >= 7200 else f"{math.floor(seconds / 60):,} min"
