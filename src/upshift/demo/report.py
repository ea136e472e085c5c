"""What happened in the demo, read from the ledger and from what the clients saw?"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from upshift.demo.past import Past
from upshift.demo.replay import Seen
from upshift.model.entry import Alert
from upshift.model.money import show_money
from upshift.model.span import Instant, show_instant
from upshift.model.tokens import show_tokens
from upshift.store.journal import Dimension, Journal, Used
from upshift.store.verify import Verification, verify


class WorkloadSpend(msgspec.Struct, frozen=True):
    """One workload's line. `spend_nano` is in nano-dollars."""

    calls: int
    degraded: int
    overage: int
    refused: int
    tokens: int
    spend_nano: int
    spend: str
    unknown_cost: int


class Report(msgspec.Struct, frozen=True):
    """The demo's outcome; what `upshift demo --once --json` prints.

    All is of the replay, but `simulated`, the days before it, and `verification`, which is of the whole ledger.
    """

    calls: int
    spend: dict[str, WorkloadSpend]
    alerts: list[dict[str, str | int]]
    degrades: int
    overage: int
    refusals: int
    failures: int
    records: int
    verified: bool
    verification: Verification
    clients_saw: dict[str, int]
    added_latency_ms: dict[str, float]
    seconds: float
    plan: str
    simulated: Past


def report(
    journal: Journal, db: Path, seen: Seen, began: Instant, ended: Instant, seconds: float, past: Past
) -> Report:
    """Read everything back from the ledger's file."""
    rows = journal.usage([Dimension.WORKLOAD], began, ended)
    checked = verify(db)
    plan = journal.plan_in_force()
    return Report(
        calls=sum(seen.outcomes.values()),
        spend={row.group[0]: _spend(row) for row in rows},
        alerts=[_alert(raised.alert) for raised in reversed(journal.alerts(limit=1000))],
        degrades=sum(row.degraded for row in rows),
        overage=sum(row.overage for row in rows),
        refusals=sum(row.refused for row in rows),
        failures=sum(row.failed for row in rows),
        records=checked.calls - past.calls,
        verified=checked.ok,
        verification=checked,
        clients_saw=dict(seen.outcomes),
        added_latency_ms=_added(journal, began),
        seconds=round(seconds, 1),
        plan=plan.hash if plan is not None else "",
        simulated=past,
    )


def _spend(row: Used) -> WorkloadSpend:
    return WorkloadSpend(
        calls=row.calls,
        degraded=row.degraded,
        overage=row.overage,
        refused=row.refused,
        tokens=row.usage.total,
        spend_nano=row.cost,
        spend=show_money(row.cost),
        unknown_cost=row.unknown_cost,
    )


def _alert(alert: Alert) -> dict[str, str | int]:
    return {
        "budget": alert.key.path(),
        "threshold": alert.threshold,
        "measure": alert.measure,
        "used": alert.used,
        "limit": alert.limit,
        "at": show_instant(alert.at),
    }


def _added(journal: Journal, began: Instant) -> dict[str, float]:
    """Quantiles of the time a call spent inside the gateway, by its own record."""
    records = (call.record for call in journal.calls(limit=100_000))
    spent = sorted(one.overhead_us for one in records if one.served_model and one.started >= began)
    if not spent:
        return {}
    return {
        name: round(spent[min(len(spent) - 1, int(len(spent) * share))] / 1000, 3)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


def show(report: Report, seen: Seen, console: Console) -> None:
    """Draw the report."""
    parts: list[RenderableType] = [_spend_table(report), _alert_table(report.alerts)]
    if seen.first_degrade:
        lines = "\n".join(f"{name}: {value}" for name, value in sorted(seen.first_degrade.items()))
        parts.append(Panel(Text(lines), title="the first degraded answer said so", border_style="yellow"))
    if seen.first_refusal:
        parts.append(Panel(Text(seen.first_refusal), title="the first refusal", border_style="red"))
    parts.append(_closing(report))
    console.print(Group(*parts))


def _spend_table(report: Report) -> Table:
    table = Table(title="What happened", title_justify="left")
    table.add_column("workload")
    for name in ("calls", "degraded", "pay-as-you-go", "refused", "tokens", "spend"):
        table.add_column(name, justify="right")
    for workload, row in report.spend.items():
        unknown = f" +{row.unknown_cost} unknown" if row.unknown_cost else ""
        table.add_row(
            workload,
            str(row.calls),
            str(row.degraded or "-"),
            str(row.overage or "-"),
            str(row.refused or "-"),
            show_tokens(row.tokens),
            row.spend + unknown,
        )
    return table


def _alert_table(alerts: Sequence[dict[str, str | int]]) -> RenderableType:
    if not alerts:
        return Text("No alerts.")
    table = Table(title="Alerts, each raised once", title_justify="left")
    for name in ("threshold", "budget", "used", "of"):
        table.add_column(name, justify="left" if name == "budget" else "right")
    for alert in alerts:
        money = alert["measure"] == "money"
        used, limit = int(alert["used"]), int(alert["limit"])
        table.add_row(
            f"{alert['threshold']} %",
            str(alert["budget"]),
            show_money(used) if money else show_tokens(used),
            show_money(limit) if money else show_tokens(limit),
        )
    return table


def _closing(report: Report) -> Text:
    added = report.added_latency_ms
    verified = "verified" if report.verified else "NOT SOUND"
    past = report.simulated
    return Text(
        f"{report.calls} calls in {report.seconds} s; {report.records} records; ledger {verified}"
        f" ({report.verification.entries} entries in {report.verification.groups} commits).\n"
        f"The {past.days:g} days before, with {past.calls:,} calls of a team of agents and its playbook, were simulated"
        " on a fast clock.\n"
        f"Time spent inside the gateway per call: p50 {added.get('p50', 0)} ms, p99 {added.get('p99', 0)} ms"
        " (on a machine that also runs the clients and the provider).",
        style="bold" if report.verified else "bold red",
    )
