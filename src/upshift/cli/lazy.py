"""Which module holds a command? Known by name, loaded when it is asked for, so that help is quick."""

import importlib
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("upshift.cli.init", "Begin: write a starter plan, create the database, show the admin key."),
    "serve": ("upshift.cli.starting", "Run the gateway and its admin API."),
    "plan": ("upshift.cli.plan", "Check, compare, apply and show plans."),
    "key": ("upshift.cli.key", "Issue, list, rotate and revoke keys."),
    "budget": ("upshift.cli.budget", "Show budgets, grant more, opt in to pay-as-you-go, see alerts."),
    "usage": ("upshift.cli.usage", "What was used, by anything; single calls."),
    "vendors": ("upshift.cli.vendors", "How much hangs on one vendor, and how much is served locally."),
    "drill": ("upshift.cli.drill", "Prove that calls would be served if a provider were out."),
    "models": ("upshift.cli.models", "Ask local servers for their models."),
    "reconcile": ("upshift.cli.reconcile", "Compare a provider's bill with the ledger."),
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


class LazyGroup(TyperGroup):
    """A group whose commands are stand-ins, a name and its help, until one of them runs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, says) in (*COMMANDS.items(), *HIDDEN.items()):
            self.commands[name] = TyperCommand(name, help=says, hidden=name in HIDDEN)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command."""
        name, command, rest = super().resolve_command(ctx, args)
        known = COMMANDS.get(name or "") or HIDDEN.get(name or "")
        if known is None:
            return name, command, rest
        app: typer.Typer = importlib.import_module(known[0]).app
        loaded = typer.main.get_command(app)
        loaded.name = name
        return name, loaded, rest
