"""Which module holds a command? Known by name, loaded when it is asked for, so that help is quick."""

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("upshift.cli.init", "Begin: write a starter plan, create the database, show the admin key."),
    "serve": ("upshift.cli.starting", "Run the gateway and its admin API."),
    "plan": ("upshift.cli.plan", "Check, compare, apply and show plans."),
    "key": ("upshift.cli.key", "Issue, list, rotate and revoke keys."),
    "budget": ("upshift.cli.budget", "Show budgets, grant more, opt in to pay-as-you-go, see alerts."),
    "pools": ("upshift.cli.pools", "How full the capacity pools are."),
    "usage": ("upshift.cli.usage", "What was used, by anything; single calls."),
    "metrics": ("upshift.cli.metrics", "How agents, interfaces and workloads do: latency, errors, cost, quality."),
    "feedback": ("upshift.cli.feedback", "Keep and show what is reported of finished work."),
    "burn": ("upshift.cli.burn", "When the year's budget runs out, at this pace."),
    "vendors": ("upshift.cli.vendors", "How much hangs on one vendor, and how much is served locally."),
    "playbook": ("upshift.cli.playbook", "Run playbooks, like adding an agent: phases that open on evidence."),
    "interface": ("upshift.cli.interface", "Interfaces between agents: contracts, activation, calls, drafts."),
    "drill": ("upshift.cli.drill", "Prove that calls would be served if a provider were out."),
    "models": ("upshift.cli.models", "Ask local servers for their models."),
    "team": ("upshift.cli.team", "How large a team of agents should be, from measured throughput."),
    "capacity": ("upshift.cli.capacity", "How many places calls need at their worst minute, from recorded ones."),
    "hardware": ("upshift.cli.hardware", "When a machine for local models has paid for itself."),
    "reconcile": ("upshift.cli.reconcile", "Compare a provider's bill with the ledger."),
    "export": ("upshift.cli.export", "Take costs (FOCUS) and calls away, as CSV or Parquet."),
    "verify": ("upshift.cli.verify", "Check the ledger from end to end."),
    "db": ("upshift.cli.db", "Migrate, check and move the database; drop old months."),
    "simulate": ("upshift.cli.simulate", "Run a simulated provider."),
    "demo": ("upshift.cli.demo", "See it all at work, without keys or money."),
}
HIDDEN = {
    "admin-process": ("upshift.cli.admin_process", "Started by serve."),
    "gateway-process": ("upshift.cli.worker_process", "Started by serve."),
    "keeper-process": ("upshift.cli.keeper_process", "Started by serve."),
}


PLAN_COMMANDS: dict[str, tuple[str, str]] = {
    "check": ("upshift.cli.plan_check", "Check a plan without a database; every problem with its place."),
    "show": ("upshift.cli.plan_show", "The plan in force."),
    "history": ("upshift.cli.plan_history", "Every plan that was put in force, the latest first."),
    "schema": ("upshift.cli.plan_schema", "The JSON Schema of a plan, for editors. Always JSON."),
    "diff": ("upshift.cli.plan_diff", "What applying a plan would change, for whom, and what it costs."),
    "apply": ("upshift.cli.plan_apply", "Put a plan in force; running gateways take it up within a second."),
    "forecast": ("upshift.cli.plan_forecast", "Tokens, machines and people that a plan will need, with intervals."),
    "whatif": ("upshift.cli.plan_whatif", "Change any input and see all budgets move; what matters most."),
    "compare": ("upshift.cli.plan_compare", "Two plans side by side."),
    "review": ("upshift.cli.plan_review", "What may be approved, what is missing, and why; forecast beside actuals."),
    "signoff": ("upshift.cli.plan_signoff", "Sign a workload's budgets off."),
    "buffer": ("upshift.cli.plan_buffer", "The central reserve: who drew on it; draw, or give back."),
    "rollback": ("upshift.cli.plan_rollback", "Put a former plan in force again."),
    "import": ("upshift.cli.plan_import", "A plan from a sheet: CSV or XLSX."),
    "export": ("upshift.cli.plan_export", "The plan's table as a sheet: CSV or XLSX."),
}


class LazyGroup(TyperGroup):
    """A group whose commands are stand-ins, a name and its help, until one of them runs."""

    known: ClassVar[Mapping[str, tuple[str, str]]] = COMMANDS | HIDDEN

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, says) in self.known.items():
            self.commands[name] = TyperCommand(name, help=says, hidden=name in HIDDEN)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command."""
        name, command, rest = super().resolve_command(ctx, args)
        known = self.known.get(name or "")
        if known is None:
            return name, command, rest
        app: typer.Typer = importlib.import_module(known[0]).app
        loaded = typer.main.get_command(app)
        loaded.name = name
        return name, loaded, rest


class PlanGroup(LazyGroup):
    """The commands on plans."""

    known = PLAN_COMMANDS
