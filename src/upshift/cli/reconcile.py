"""Which command holds a provider's bill against the ledger?"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from upshift.admin.desk import Desk
from upshift.admin.reconcile_views import correction_view, reconciled_view, to_csv
from upshift.admin.reconciling import Asked, Correction, Reconciled, correct, read_files, reconcile
from upshift.admin.tolerances import LIKE, narrowed, tolerance
from upshift.cli.terminal import (
    DEFAULT_DB,
    Db,
    Json,
    Yes,
    desk_at,
    emit,
    err,
    fail,
    failing,
    local_admin,
    meaning,
    out,
    table,
)
from upshift.model.money import show_money
from upshift.model.span import Instant, show_instant
from upshift.model.tokens import show_tokens
from upshift.reviews.findings import Figures, Finding, Verdict

app = typer.Typer(add_completion=False)

_STYLES = {
    Verdict.MATCHED: "green",
    Verdict.DIFFERENT: "red",
    Verdict.MISSING_HERE: "red",
    Verdict.MISSING_THERE: "red",
    Verdict.UNKNOWN: "yellow",
}


@app.command()
def reconcile_bill(
    provider: Annotated[str, typer.Argument(help="Whose bill it is: a provider of the plan.")],
    files: Annotated[list[Path], typer.Argument(help="Its exports: usage or costs, JSON or CSV; all pages of them.")],
    since: Annotated[str, typer.Option(help="7d or 2026-11-01 (UTC); what the files speak of unless said.")] = "",
    until: Annotated[str, typer.Option(help="Like --since.")] = "",
    within: Annotated[list[str] | None, typer.Option("--tolerance", help=f"{LIKE}; may be repeated.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only lines like project=proj_1, key=… or tier=….")] = None,
    adjust: Annotated[bool, typer.Option("--adjust", help="Give calls that are known now their true cost.")] = False,
    reason: Annotated[str, typer.Option(help="Why, with --adjust; it is kept.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="The findings as CSV.")] = False,
    yes: Yes = False,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Compare a provider's bill with the ledger. Exit code 1 if something is different or missing."""
    if adjust and not reason.strip():
        raise typer.BadParameter("say why with --reason; it is kept", param_hint="--adjust")
    if adjust and not yes and (json_ or as_csv):
        raise typer.BadParameter("cannot ask while writing JSON or CSV; say --yes", param_hint="--adjust")
    asked = Asked(
        provider=provider,
        since=since,
        until=until,
        tolerance=meaning(tolerance, within or [], option="--tolerance"),
        only=meaning(narrowed, only or [], option="--only"),
    )
    with desk_at(db, json_) as desk:
        found = _found(desk, files, asked, json_)
        if not (json_ or as_csv):
            _show(found)
        written = _adjusted(desk, found, reason, yes=yes or json_ or as_csv) if adjust else []
    if json_:
        shown = reconciled_view(found).model_dump(mode="json")
        emit({**shown, "written": [correction_view(each).model_dump(mode="json") for each in written]})
    elif as_csv:
        sys.stdout.write(to_csv(found))
        for warning in found.report.warnings:
            err().print(f"warning: {warning}", style="yellow")
    if not found.report.ok:
        raise typer.Exit(1)


def _found(desk: Desk, files: list[Path], asked: Asked, as_json: bool) -> Reconciled:
    with failing(as_json):
        data = [(file.name, file.read_bytes()) for file in files]
    try:
        return reconcile(desk, local_admin(), read_files(data), asked)
    except ValueError as error:
        fail(str(error), as_json=as_json)


def _adjusted(desk: Desk, found: Reconciled, reason: str, *, yes: bool) -> list[Correction]:
    """Asks, then writes; what was written before is left alone."""
    open_ = [each for each in found.corrections if each.done is None and each.keys]
    if not open_:
        err().print("nothing to adjust", style="dim")
        return []
    if not yes:
        typer.confirm(f"Adjust the counters of {len(open_)} calls?", abort=True, err=True)
    written = correct(desk, local_admin(), open_, reason)
    err().print(f"{len(written)} calls adjusted; the gateway takes it in within a second of running")
    return written


# the table --------------------------------------------------------------------------------------------------------


def _show(found: Reconciled) -> None:
    console, report = out(), found.report
    console.print(f"{found.provider}, {show_instant(report.since)} to {show_instant(report.until)}", style="dim")
    rows = table("FROM (UTC)", "MODEL", "REQUEST", "VERDICT", "", "CALLS", "IN", "CACHED", "OUT", "COST", "STAKE",
                 numbers=("CALLS", "IN", "CACHED", "OUT", "COST", "STAKE"))  # fmt: skip
    for each in report.findings:
        sides = [("billed", each.billed), ("recorded", each.recorded)]
        told = [(name, side) for name, side in sides if side is not None]
        for number, (name, side) in enumerate(told):
            begins = number == 0
            verdict = Text(each.verdict.value, _STYLES[each.verdict]) if begins else Text()
            rows.add_row(
                _moment(each.start) if begins else "",
                (each.model or "all") if begins else "",
                (each.request or each.upstream_id) if begins else "",
                verdict,
                name,
                *_cells(side),
                _stake(each) if begins else "",
            )
    if report.findings:
        rows.add_section()
    rows.add_row("TOTAL", "", "", "", "billed", *_cells(report.billed), "", style="bold")
    rows.add_row("", "", "", "", "recorded", *_cells(report.recorded), "", style="bold")
    console.print(rows)
    _say(console, found)


def _say(console: Console, found: Reconciled) -> None:
    report = found.report
    for finding in report.findings:
        for cause in finding.causes:
            name = finding.request or finding.upstream_id or f"{_moment(finding.start)} {finding.model or 'all'}"
            console.print(f"{name}: {cause.says}", style="dim")
    view = reconciled_view(found)
    counts = [f"{report.matched:,} matched", *(f"{each.count:,} {each.verdict.value}" for each in view.verdicts)]
    stakes = [f"{show_money(each.stake_nano)} {each.verdict.value}" for each in view.verdicts if each.stake_nano]
    console.print(
        Text("agrees " if report.ok else "DOES NOT AGREE ", "bold green" if report.ok else "bold red").append(
            ", ".join(counts) + (f"; at stake: {', '.join(stakes)}" if stakes else ""), "default"
        )
    )
    for each in view.corrections:
        state = f"adjusted at {each.done}" if each.done else each.why_not or "to be adjusted: --adjust"
        console.print(
            f"{each.request}: used {each.input} + {each.output} tokens, {show_money(each.cost_nano)};"
            f" {each.tokens:+} tokens, {show_money(each.nano)} ({state})"
        )
    for warning in report.warnings:
        err().print(f"warning: {warning}", style="yellow")


def _cells(side: Figures) -> list[str]:
    usage = side.usage
    tokens = [None, None, None] if usage is None else [usage.input, usage.cached, usage.output]
    unpriced = f" +{side.unpriced} unpriced" if side.unpriced else ""
    return [
        "" if side.calls is None else f"{side.calls:,}",
        *("" if each is None else show_tokens(each) if each >= 10_000_000 else f"{each:,}" for each in tokens),
        ("" if side.nano is None else show_money(side.nano)) + unpriced,
    ]


def _stake(finding: Finding) -> str:
    if finding.verdict is Verdict.MATCHED:
        return ""
    return "unknown" if finding.stake is None else show_money(finding.stake)


def _moment(at: Instant | None) -> str:
    return "" if at is None else show_instant(at)[:16].replace("T", " ")
