"""Which commands show budgets, change them, and opt in to pay-as-you-go?"""

import os
import sys
from typing import Annotated

import typer
from rich.text import Text

from upshift.admin.amounts import amount
from upshift.admin.budgets import BudgetView, MeasureView, budgets
from upshift.admin.desk import Actor, Desk
from upshift.admin.views import alert_view, consent_view, deed_view
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, err, fail, local_admin, meaning, out, table
from upshift.model.budget import Amount
from upshift.model.entry import Adjust, Grant
from upshift.model.money import parse_money, show_money
from upshift.model.span import Window
from upshift.model.tokens import show_tokens

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Show budgets, grant more, opt in to pay-as-you-go, see alerts."
)

Tenant = Annotated[str, typer.Option(help="Whose budget.")]
User = Annotated[str, typer.Option(help="Whose budget.")]
Workload = Annotated[str, typer.Option(help="Which budget.")]
Which = Annotated[Window, typer.Option(help="Which ceiling.")]
Tokens = Annotated[str | None, typer.Option(help="Like 100k.")]
Money = Annotated[str | None, typer.Option(help="US dollars, like $5.")]
Why = Annotated[str, typer.Option(help="Why; it is kept.")]

_BAR = 12


@app.command()
def show(
    tenant: Annotated[str | None, typer.Option(help="One tenant's.")] = None,
    user: Annotated[str | None, typer.Option(help="One user's.")] = None,
    workload: Annotated[str | None, typer.Option(help="One workload's.")] = None,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """How much is used, at what pace, and until when."""
    with desk_at(db, json_) as desk:
        views = budgets(desk, local_admin(), tenant, user, workload)
    if json_:
        emit(views)
        return
    rows = table("TENANT", "USER", "WORKLOAD", "BUCKET", "PERIOD", "USED", "HELD", "LIMIT", "", "RUNS OUT", "RESETS",
                 numbers=("USED", "HELD", "LIMIT"))  # fmt: skip
    for each in views:
        for measure, money in ((each.tokens, False), (each.money, True)):
            if measure.limit is not None or measure.used or (not money and each.money.limit is None):
                rows.add_row(*_row(each, measure, money=money))
    console = out()
    console.print(rows)
    for each in views:
        for notice in each.notices:
            console.print(f"{each.tenant}/{each.user}/{each.workload}: {notice}", style="yellow")


def _row(view: BudgetView, measure: MeasureView, *, money: bool) -> list[str | Text]:
    figure = show_money if money else show_tokens
    limit = "" if measure.limit is None else figure(measure.limit)
    out_at = "" if measure.runs_out is None else measure.runs_out[:16].replace("T", " ")
    return [
        view.tenant,
        view.user,
        view.workload,
        view.bucket,
        view.period,
        figure(measure.used),
        figure(measure.held) if measure.held else "",
        limit,
        Text() if measure.share is None else bar(measure.share),
        out_at,
        view.resets[:16].replace("T", " "),
    ]


def bar(share: float) -> Text:
    """A share as a bar, in the colour of its threshold; never full before 100 %."""
    filled = min(_BAR, int(share * _BAR))
    style = "red" if share >= 1 else "yellow" if share >= 0.7 else "green"
    return Text("█" * filled + "░" * (_BAR - filled), style).append(f" {int(share * 100):>3} %", "default")


@app.command()
def grant(
    tenant: Tenant,
    user: User,
    workload: Workload,
    reason: Why,
    tokens: Tokens = None,
    money: Money = None,
    window: Which = Window.MONTH,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Lift a user's ceiling for the current period."""
    size = meaning(amount, tokens, money)
    with desk_at(db, json_) as desk:
        made = desk.grant(
            local_admin(), tenant=tenant, user=user, workload=workload, window=window, amount=size, reason=reason
        )
    _asked(made, json_)


@app.command()
def adjust(
    tenant: Tenant,
    user: User,
    workload: Workload,
    reason: Why,
    tokens: Annotated[str | None, typer.Option(help="Like 100k, or -100k to take back.")] = None,
    money: Annotated[str | None, typer.Option(help="US dollars like $5, or -$5 to take back.")] = None,
    window: Which = Window.MONTH,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Correct what was spent (a credit note, a provider's invoice)."""

    def read() -> Amount:
        return amount(tokens, money, signed=True)

    size = meaning(read)
    with desk_at(db, json_) as desk:
        made = desk.adjust(
            local_admin(), tenant=tenant, user=user, workload=workload, window=window, amount=size, reason=reason
        )
    _asked(made, json_)


def _asked(made: Grant | Adjust, as_json: bool) -> None:
    view = deed_view(made)
    if as_json:
        emit(view)
        return
    sizes = [show_tokens(view.tokens) + " tokens"] * bool(view.tokens) + [show_money(view.nano)] * bool(view.nano)
    out().print(f"{' and '.join(sizes)} for {view.counter}; the gateway takes it in within a second of running")


@app.command("opt-in")
def opt_in(
    tenant: Annotated[str, typer.Option(help="Who pays.")],
    workload: Annotated[str, typer.Option(help="For what.")],
    limit: Annotated[str | None, typer.Option(help="At most so much per month, like $500.")] = None,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Opt in to pay-as-you-go, as the tenant's admin: with the secret of a tenant-admin key in UPSHIFT_KEY."""
    most = meaning(parse_money, limit, option="--limit") if limit is not None else None
    with desk_at(db, json_) as desk:
        consent = desk.opt_in(_holder(desk, json_), tenant=tenant, workload=workload, limit=most)
    if json_:
        emit(consent_view(consent))
        return
    limited = "the gate's own limit" if consent.limit is None else f"at most {show_money(consent.limit)} a month"
    out().print(f"{tenant} pays for use of {workload} beyond its ceilings, {limited}; recorded as {consent.by}")


@app.command("opt-out")
def opt_out(
    tenant: Annotated[str, typer.Option(help="Who paid.")],
    workload: Annotated[str, typer.Option(help="For what.")],
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Opt out of pay-as-you-go, as the tenant's admin: with the secret of a tenant-admin key in UPSHIFT_KEY."""
    with desk_at(db, json_) as desk:
        desk.opt_out(_holder(desk, json_), tenant=tenant, workload=workload)
    if json_:
        emit({"tenant": tenant, "workload": workload, "opted_in": False})
    else:
        out().print(f"{tenant} does not pay for use of {workload} beyond its ceilings any more")


def _holder(desk: Desk, as_json: bool) -> Actor:
    """Whoever holds the key; being able to write the database's file is not enough to agree to an invoice."""
    secret = os.environ.get("UPSHIFT_KEY", "")
    if not secret and sys.stdin.isatty():
        secret = typer.prompt("Secret of the tenant's admin key", hide_input=True, err=True)
    if not secret:
        fail("set UPSHIFT_KEY to the secret of a tenant-admin key of this tenant", as_json=as_json)
    return desk.actor_of(secret)


@app.command()
def alerts(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Thresholds that were reached, and how far the messages about them got; the latest first."""
    with desk_at(db, json_) as desk:
        views = [alert_view(each) for each in desk.journal.alerts(limit)]
    if json_:
        emit(views)
        return
    rows = table(
        "AT", "TENANT", "USER", "WORKLOAD", "PERIOD", "%", "USED", "LIMIT", "SENT", numbers=("%", "USED", "LIMIT")
    )
    for each in views:
        figure = show_money if each.measure == "money" else show_tokens
        sent = ", ".join(f"{made.channel}: {made.state}" for made in each.deliveries)
        rows.add_row(
            each.at,
            each.tenant,
            each.user,
            each.workload,
            each.period,
            str(each.threshold),
            figure(each.used),
            figure(each.limit),
            sent,
        )
    out().print(rows)
    if not views:
        err().print("no threshold was reached yet", style="dim")
