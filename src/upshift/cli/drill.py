"""Which command proves that calls would be served if a provider were out?"""

import asyncio
import os
import secrets
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from upshift.admin.desk import ActError, Actor, Desk
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
    out,
    table,
)
from upshift.engine import drill
from upshift.model.budget import Amount
from upshift.model.entry import Decision
from upshift.model.ids import ProviderId
from upshift.model.money import show_money
from upshift.model.span import Instant, Window
from upshift.traffic import drills
from upshift.traffic.drills import Outcome, Second

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Rehearse what must work when it is needed.")

KIND = "drill-failover"


@app.callback()
def rehearse() -> None:
    """Rehearse what must work when it is needed."""


@app.command()
def failover(
    provider: Annotated[str, typer.Argument(help="The provider that is imagined to be out.")],
    tokens: Annotated[int, typer.Option(min=16, max=1000, help="The longest answer of a shadow call.")] = 32,
    patience: Annotated[float, typer.Option(min=0.1, help="Seconds that a shadow call may take.")] = drill.SECONDS,
    tenant: Annotated[str, typer.Option(help="Charge it to a budget: the tenant,")] = "",
    user: Annotated[str, typer.Option(help="the user,")] = "",
    workload: Annotated[str, typer.Option(help="and the workload, by its month.")] = "",
    yes: Yes = False,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Send one small call through the second route of every model that a provider serves. Traffic is not touched.

    Run it where the providers' keys are in the environment. Exit code 1 if a model would not be served.
    """
    charged = [tenant, user, workload]
    if any(charged) and not all(charged):
        raise typer.BadParameter("name --tenant, --user and --workload, or none of them")
    with desk_at(db, json_) as desk, failing(json_):
        snapshot = desk.need_snapshot()
        if ProviderId(provider) not in snapshot.providers:
            known = ", ".join(sorted(snapshot.providers))
            fail(f"the plan has no provider {provider!r}; it has {known}", as_json=json_)
        seconds, stranded = drills.affected(snapshot, ProviderId(provider))
        if not seconds and not stranded:
            fail(f"no served workload reaches provider {provider}, so there is nothing to drill", as_json=json_)
        if not (yes or json_):
            _ask(seconds, tokens)
        sent = asyncio.run(drill.failover(seconds, os.environ, tokens, patience=patience))
        outcome = Outcome(tuple(sent), stranded)
        decision = _decision(provider, outcome, desk.now(), local_admin())
        desk.journal.decide(decision)
        if all(charged):
            _charge(desk, outcome, tenant, user, workload, provider)
    if json_:
        emit(_view(provider, decision.id, outcome))
    else:
        _show(provider, decision.id, outcome)
    if not outcome.passed:
        raise typer.Exit(1)


def _ask(seconds: Sequence[Second], tokens: int) -> None:
    most = drills.most(seconds, tokens)
    price = "at a price that is not known" if most is None else f"at {show_money(most)} at most"
    err().print(f"{len(seconds)} shadow calls of at most {tokens} tokens, {price}:")
    for each in seconds:
        err().print(f"  {each.model}: {_route(each)}")
    typer.confirm("Send them?", abort=True, err=True)


def _decision(provider: str, outcome: Outcome, at: Instant, actor: Actor) -> Decision:
    unknown = sum(each.cost is None for each in outcome.sent)
    return Decision(
        id=f"drill_{secrets.token_hex(8)}",
        at=at,
        kind=KIND,
        tenant="",
        subject=provider,
        by=actor.name,
        detail={
            "passed": outcome.passed,
            "sent": len(outcome.sent),
            "failed": len(outcome.failed),
            "stranded": len(outcome.stranded),
            "problems": "; ".join(f"{_route(each.second)}: {each.problem}" for each in outcome.failed)[:1000],
            "without_second_route": ", ".join(each.model for each in outcome.stranded)[:1000],
            "slowest_ms": round(outcome.slowest * 1000),
            "tokens": sum(each.usage.total for each in outcome.sent),
            "cost_nano": drills.cost(outcome.sent),
            "unknown_cost_calls": unknown,
        },
    )


def _charge(desk: Desk, outcome: Outcome, tenant: str, user: str, workload: str, provider: str) -> None:
    """Let the shadow calls count in a budget, as any use does."""
    spent = Amount(sum(each.usage.total for each in outcome.sent), drills.cost(outcome.sent))
    if not (spent.tokens or spent.nano):
        return
    try:
        desk.adjust(
            local_admin(),
            tenant=tenant,
            user=user,
            workload=workload,
            window=Window.MONTH,
            amount=spent,
            reason=f"failover drill of provider {provider}",
        )
    except ActError as error:
        err().print(f"the drill is not charged: {error}", style="yellow")


def _route(second: Second) -> str:
    return f"{second.route.name} at {second.route.provider.id}"


def _view(provider: str, id_: str, outcome: Outcome) -> dict[str, object]:
    return {
        "id": id_,
        "provider": provider,
        "passed": outcome.passed,
        "cost_nano": drills.cost(outcome.sent),
        "calls": [
            {
                "model": each.second.model,
                "served_by": each.second.route.name,
                "provider": each.second.route.provider.id,
                "workloads": list(each.second.workloads),
                "ok": not each.problem,
                "problem": each.problem,
                "status": each.status,
                "latency_ms": round(each.seconds * 1000, 1),
                "tokens": each.usage.total,
                "cost_nano": each.cost,
            }
            for each in outcome.sent
        ],
        "stranded": [{"model": each.model, "workloads": list(each.workloads)} for each in outcome.stranded],
    }


def _show(provider: str, id_: str, outcome: Outcome) -> None:
    console = out()
    rows = table("MODEL", "WOULD BE SERVED BY", "FOR", "RESULT", "MS", "COST", numbers=("MS", "COST"))
    for each in outcome.sent:
        rows.add_row(
            each.second.model,
            _route(each.second),
            ", ".join(each.second.workloads),
            Text(each.problem or "ok", "red" if each.problem else "green"),
            f"{each.seconds * 1000:.0f}",
            "unknown" if each.cost is None else show_money(each.cost),
        )
    for lost in outcome.stranded:
        rows.add_row(
            lost.model, Text("nothing", "red"), ", ".join(lost.workloads), Text("no second route", "red"), "", ""
        )
    console.print(rows)
    verdict = Text("passed ", "bold green") if outcome.passed else Text("FAILED ", "bold red")
    console.print(verdict.append(f"without {provider}, recorded as {id_}", "default"))
