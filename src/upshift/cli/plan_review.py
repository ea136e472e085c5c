"""Which command shows what of a plan may be approved, what is missing, and why?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from upshift.admin.calibrated import CalibrationView, calibrated
from upshift.admin.portfolio_views import PortfolioView, ReasonView, SignatureView, review
from upshift.cli.plan_buffer import show_draws
from upshift.cli.plan_reading import read
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, out, table
from upshift.model.tokens import show_tokens
from upshift.planning.outline import BudgetLine
from upshift.planning.portfolio import Answer
from upshift.planning.sign_offs import SIGNERS

app = typer.Typer(add_completion=False)

_STYLES = {
    Answer.MAY_MOVE: "bold green",
    Answer.TO_SIGN: "yellow",
    Answer.NOT_YET: "red",
    Answer.NOTHING_LEFT: "dim",
}
_SIX = len(BudgetLine) * len(SIGNERS)


@app.command("review")
def review_(
    files: Annotated[
        list[Path] | None, typer.Argument(help="The plan: files, or folders of them. The plan in force unless said.")
    ] = None,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """What may be approved and why not: statuses, sign-offs, hours of ops by quarter, the buffer."""
    checked = read(files, json_) if files else None
    with desk_at(db, json_, create=checked is not None) as desk:
        outline = desk.need_outline() if checked is None else checked.outline
        view, last = review(desk, outline), calibrated(desk, outline)
    if json_:
        emit({**view.model_dump(mode="json"), "calibration": last})
    else:
        show(out(), view)
        _calibration(out(), last)


def show(console: Console, view: PortfolioView) -> None:
    """The view as tables."""
    state = "in force" if view.in_force else "not in force"
    console.print(Text(f"plan {view.name}", "bold").append(f"  {state}, in {view.quarter}  {view.plan[:16]}", "dim"))
    if not view.sign_offs:
        console.print("sign-offs are waived", style="yellow")
    console.print()
    _workloads(console, view)
    _sign_offs(console, view)
    _quarters(console, view)
    _budgets(console, view)
    if view.refusals:
        reasons = "1 reason" if len(view.refusals) == 1 else f"{len(view.refusals)} reasons"
        console.print(Text(f"this plan may not be put in force, for {reasons}", "bold red"))
    for each in view.refusals:
        if not each.startswith(tuple(f"{one.workload}: " for one in view.workloads)):
            console.print(Text(f"  {each}", "red"))


def _workloads(console: Console, view: PortfolioView) -> None:
    rows = table("WORKLOAD", "NAME", "OWNER", "STATUS", "SHIPS", "SIGNED", "NEXT", "", numbers=("SIGNED",))
    for each in view.workloads:
        signed = sum(one.stands for one in each.signatures)
        status = Text(each.status, "default" if each.covered else "bold red")
        answer = Answer(each.answer)
        next_ = each.next or ""
        rows.add_row(
            each.workload,
            each.name,
            each.owner,
            status,
            each.ships or "",
            f"{signed}/{len(each.signatures)}" if view.sign_offs else "",
            next_,
            Text(answer.value, _STYLES[answer]),
        )
    console.print(rows)
    for each in view.workloads:
        for text in _told(each.lacks):
            said = "may not be" if view.sign_offs else "would with sign-offs not be"
            console.print(Text(f"  {each.workload} {said} {each.status}: ", "bold red").append(text, "default"))
        known = {reason.text for reason in each.lacks}
        for text in _told([reason for reason in each.missing if reason.text not in known]):
            console.print(Text(f"  {each.workload} is not {each.next} yet: ", "bold").append(text, "default"))
    console.print()


def _told(reasons: Sequence[ReasonView]) -> tuple[str, ...]:
    """Reasons in words, with sign-offs that nobody made in one line."""
    unsigned = sum(reason.kind == "Unsigned" for reason in reasons)
    told = [reason.text for reason in reasons if reason.kind != "Unsigned"]
    return (*told, *([f"{unsigned} of {_SIX} sign-offs are missing"] if unsigned else []))


def _sign_offs(console: Console, view: PortfolioView) -> None:
    rows = table("WORKLOAD", *(f"{line} {role}".upper() for line in BudgetLine for role in SIGNERS))
    for each in view.workloads:
        if any(one.by for one in each.signatures):
            rows.add_row(each.workload, *map(_signature, each.signatures))
    if rows.row_count:
        console.print(rows)
        console.print()


def _signature(one: SignatureView) -> Text:
    if not one.by:
        return Text("-", "dim")
    signed = f"{one.by} {(one.at or '')[:10]}"
    return Text(signed, "green") if one.stands else Text(f"void: {signed}", "red")


def _quarters(console: Console, view: PortfolioView) -> None:
    rows = table("QUARTER", "SHIPS", "COMMITTED", "WITH PLANNED", "CEILING", "SHORT", "FTE SHORT",
                 numbers=("COMMITTED", "WITH PLANNED", "CEILING", "SHORT", "FTE SHORT"))  # fmt: skip
    for each in view.quarters:
        ceiling = "" if each.ceiling is None else f"{each.ceiling:g} h"
        short = Text(f"{each.short_hours:.1f} h", "bold red") if each.short_hours else Text("")
        beyond = each.ceiling is not None and each.planned_hours > each.ceiling
        rows.add_row(
            each.quarter,
            ", ".join(each.ships),
            f"{each.committed_hours:.1f} h",
            Text(f"{each.planned_hours:.1f} h", "yellow" if beyond else "default"),
            ceiling,
            short,
            f"{each.short_fte:.2f}" if each.short_hours else "",
        )
    console.print("hours of ops a week", style="dim")
    console.print(rows)
    console.print()


def _budgets(console: Console, view: PortfolioView) -> None:
    rows = table("BUDGET", "OWNERS", "FORECAST", "REVIEW")
    for line in view.budgets:
        rows.add_row(line.budget, ", ".join(line.owners), line.forecast, line.review)
    console.print(rows)
    buffer = view.buffer
    console.print(f"buffer: {buffer.share:.0%} on top of each, allocated to no workload; in {view.quarter}")
    for each in buffer.reserves:
        style = "bold red" if each.left < 0 else "default"
        console.print(Text(f"  {each.budget}: {each.says}; enough with a chance of {each.enough:.0%}", style))
    if buffer.draws:
        show_draws(list(buffer.draws))
    console.print()


def _calibration(console: Console, last: Sequence[CalibrationView]) -> None:
    if not last:
        console.print("nothing was forecast or called in the last quarter", style="dim")
        return
    console.print(f"tokens of {last[0].quarter}: forecast beside what came", style="dim")
    rows = table("WORKLOAD", "P50", "P95", "CAME", "OFF", "FACTOR", "REFRESHED INPUT",
                 numbers=("P50", "P95", "CAME", "OFF", "FACTOR"))  # fmt: skip
    for each in last:
        rows.add_row(
            each.workload,
            _tokens(each.p50),
            _tokens(each.p95),
            _tokens(each.came),
            "" if each.off is None else f"{each.off:+.0%}",
            "" if each.factor is None else f"{each.factor:.2f}",
            each.proposed,
        )
    console.print(rows)
    for each in last:
        console.print(f"  {each.because}", style="dim")


def _tokens(amount: float | None) -> str:
    return "" if amount is None else show_tokens(round(amount))
