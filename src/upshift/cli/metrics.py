"""Which command shows named metrics of agents and interfaces?"""

from typing import Annotated

import typer

from upshift.admin.measured import MetricsView, MetricView, metrics, scope
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, local_admin, meaning, out, table

app = typer.Typer(add_completion=False)


@app.command()
def show(
    agent: Annotated[str, typer.Option(help="Of one agent.")] = "",
    interface: Annotated[str, typer.Option(help="Of one interface.")] = "",
    workload: Annotated[str, typer.Option(help="Of one workload.")] = "",
    pod: Annotated[str, typer.Option(help="Of one pod.")] = "",
    since: Annotated[str, typer.Option(help="7d, 12h or 2026-11-01; seven days unless said.")] = "",
    until: Annotated[str, typer.Option(help="Like --since; now unless said.")] = "",
    metric: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Latency, errors, cost and quality from calls and reports, with how many values each figure is of."""
    whose = meaning(scope, agent, interface, workload, pod)
    with desk_at(db, json_) as desk:
        view = meaning(metrics, desk, local_admin(), whose, since, until, metric or [])
    if json_:
        emit(view)
    else:
        _show(view)


_FIGURES = ("VALUE", "DEVIATION", "P50", "P95", "N", "MISSING")


def _show(view: MetricsView) -> None:
    console = out()
    console.print(f"{view.of} {view.name}".strip() + f", {view.since} to {view.until}", style="dim")
    rows = table("METRIC", *_FIGURES, "", numbers=_FIGURES)
    for each in view.metrics:
        figures = [_figure(each, value) for value in (each.value, each.deviation, each.p50, each.p95)]
        rows.add_row(
            each.metric, *figures, f"{each.n:,}", f"{each.missing:,}", each.says, style="" if each.n else "dim"
        )
    console.print(rows)
    plans = sorted({plan for each in view.metrics for plan in each.plans})
    if plans:
        console.print(f"under plan {', '.join(plan[:12] for plan in plans)}", style="dim")


def _figure(each: MetricView, value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.4g} {each.unit}".strip()
