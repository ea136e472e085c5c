"""Which command draws on the central buffer, and shows who did?"""

from typing import Annotated

import typer

from upshift.admin import portfolio
from upshift.admin.portfolio_views import DrawView, draw_view
from upshift.admin.signed import draws
from upshift.cli.plan_signoff import Secret, holder
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, err, fail, meaning, out, table
from upshift.model.quarter import Quarter, parse_quarter
from upshift.planning.outline import BudgetLine

app = typer.Typer(add_completion=False)


@app.command()
def buffer(
    draw: Annotated[
        str, typer.Option(help="So much: $2k of tokens, 40 sessions of compute, 12h of ops. With -, give back.")
    ] = "",
    budget: Annotated[BudgetLine | None, typer.Option(help="Which budget's reserve.")] = None,
    quarter: Annotated[str, typer.Option(help="For which quarter; the present one unless said.")] = "",
    workload: Annotated[str, typer.Option(help="For which workload.")] = "",
    why: Annotated[str, typer.Option(help="Why; it is kept.")] = "",
    key: Secret = "",
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Draws on the central buffer; with --draw, record another."""
    with desk_at(db, json_) as desk:
        if draw:
            if budget is None:
                fail("say which budget's reserve with --budget tokens, compute or ops", as_json=json_)
            made = portfolio.draw(
                desk,
                holder(desk, key, json_),
                budget=budget,
                quarter=meaning(parse_quarter, quarter, option="--quarter") if quarter else Quarter.of(desk.today()),
                amount=meaning(portfolio.amount_of, budget, draw, option="--draw"),
                workload=workload,
                why=why,
            )
            views = [draw_view(made)]
        else:
            views = [draw_view(each) for each in draws(desk.journal)]
    if json_:
        emit(views)
    else:
        show_draws(views)


def show_draws(views: list[DrawView]) -> None:
    """One line each."""
    rows = table("QUARTER", "BUDGET", "AMOUNT", "WORKLOAD", "BY", "AT", "WHY", numbers=("AMOUNT",))
    for each in views:
        rows.add_row(each.quarter, each.budget, each.says, each.workload, each.by, each.at[:10], each.why)
    if views:
        out().print(rows)
    else:
        err().print("nothing was drawn from the buffer yet", style="dim")
