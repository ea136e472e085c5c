"""Which commands show what was used, and single calls?"""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from upshift.admin import reports
from upshift.admin.reports import UsageRow, UsageView
from upshift.admin.views import call_view
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, fail, local_admin, meaning, out, table
from upshift.model.ids import RequestId
from upshift.model.money import show_money
from upshift.model.tokens import show_tokens

app = typer.Typer(add_completion=False, help="What was used, by anything; single calls.")

By = Annotated[list[str] | None, typer.Option(help=f"Dimensions: {', '.join(reports.DIMENSIONS)}.")]
Where = Annotated[list[str] | None, typer.Option(help="Only where, like workload=support-chat; may be repeated.")]


class Form(StrEnum):
    """How a report is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@app.callback(invoke_without_command=True)
def usage(
    context: typer.Context,
    by: By = None,
    since: Annotated[str, typer.Option(help="7d, 12h or 2026-11-01; this month unless said.")] = "",
    until: Annotated[str, typer.Option(help="Like --since; now unless said.")] = "",
    where: Where = None,
    zone: Annotated[str, typer.Option(help="Time zone of days and hours.")] = "UTC",
    form: Annotated[Form, typer.Option("--format", help="How it is written.")] = Form.TABLE,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Totals of calls, tokens, cost and latency, grouped by any dimensions."""
    if context.invoked_subcommand is not None:
        return
    as_json = json_ or form is Form.JSON
    dimensions = meaning(reports.dimensions, by or ["workload"], option="--by")
    only = meaning(reports.conditions, where or [], option="--where")
    with desk_at(db, as_json) as desk:
        view = meaning(reports.usage, desk, local_admin(), dimensions, only, since, until, zone)
    if as_json:
        emit(view)
    elif form is Form.CSV:
        sys.stdout.write(reports.to_csv(view))
    else:
        _show(view)


@app.command()
def calls(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    where: Where = None,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """The latest calls."""
    only = meaning(reports.conditions, where or [], option="--where")
    with desk_at(db, json_) as desk:
        views = [call_view(each.seq, each.record) for each in desk.journal.calls(only, limit)]
    if json_:
        emit(views)
        return
    rows = table("STARTED", "ID", "TENANT", "USER", "WORKLOAD", "MODEL", "OUTCOME", "IN", "OUT", "COST", "MS", "REASON",
                 numbers=("IN", "OUT", "COST", "MS"))  # fmt: skip
    for each in views:
        rows.add_row(
            each.started,
            each.id,
            each.tenant,
            each.user,
            each.workload,
            each.served_model or each.requested_model,
            f"{each.outcome} {each.status}",
            str(each.input),
            str(each.output),
            "unknown" if each.cost_usd is None else f"${each.cost_usd}",
            f"{each.latency_ms:.0f}",
            each.reason,
        )
    out().print(rows)


@app.command()
def call(
    id_: Annotated[str, typer.Argument(metavar="ID", help="The request id, sent to the client as x-upshift-request.")],
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """The whole record of one call."""
    with desk_at(db, json_) as desk:
        found = desk.journal.call(RequestId(id_))
    if found is None:
        fail(f"no call {id_!r} is recorded", as_json=json_)
    view = call_view(found.seq, found.record)
    if json_:
        emit(view)
        return
    rows = table("", "")
    for name, value in view.model_dump().items():
        rows.add_row(name.replace("_", " "), "unknown" if value is None else str(value))
    out().print(rows)


_FIGURES = ("CALLS", "REFUSED", "DEGRADED", "IN", "CACHED", "WRITTEN", "OUT", "REASONING", "COST", "P50", "P95")


def _show(view: UsageView) -> None:
    rows = table(*(name.upper() for name in view.by), *_FIGURES, numbers=_FIGURES)
    for row in view.rows:
        rows.add_row(*row.group.values(), *_figures(row))
    if view.total is not None and view.by:
        rows.add_section()
        rows.add_row("TOTAL", *[""] * (len(view.by) - 1), *_figures(view.total), style="bold")
    console = out()
    console.print(f"{view.since} to {view.until} ({view.zone})", style="dim")
    console.print(rows)


def _figures(row: UsageRow) -> list[str]:
    unknown = f" +{row.unknown_cost_calls} unknown" if row.unknown_cost_calls else ""
    return [
        f"{row.calls:,}",
        f"{row.refused:,}",
        f"{row.degraded:,}",
        *(show_tokens(each) for each in (row.input, row.cached, row.cache_writes, row.output, row.reasoning)),
        show_money(row.cost_nano) + unknown,
        *("" if each is None else f"{each:,.0f} ms" for each in (row.p50_ms, row.p95_ms)),
    ]
