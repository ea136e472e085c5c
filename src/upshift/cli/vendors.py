"""Which command shows how much hangs on one vendor?"""

from typing import Annotated

import typer
from rich.text import Text

from upshift.admin.vendors import LocalView, VendorsView, vendors
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, meaning, out, table
from upshift.model.money import show_money
from upshift.model.tokens import show_tokens

app = typer.Typer(add_completion=False)


@app.command()
def show(
    since: Annotated[str, typer.Option(help="7d, 12h or 2026-11-01; this month unless said.")] = "",
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Share and concentration of providers by model tier, models with one provider, and the share of local work."""
    with desk_at(db, json_) as desk:
        view = meaning(vendors, desk, since, option="--since")
    if json_:
        emit(view)
    else:
        _show(view)


def _show(view: VendorsView) -> None:
    console = out()
    console.print(f"{view.since} to {view.until}", style="dim")
    rows = table("TIER", "ROLE", "HHI", "PROVIDER", "CALLS", "TOKENS", "SHARE", "COST", "SHARE OF COST",
                 numbers=("HHI", "CALLS", "TOKENS", "SHARE", "COST", "SHARE OF COST"))  # fmt: skip
    for tier in view.tiers:
        head = [tier.tier or "(none)", tier.role, "-" if tier.hhi is None else f"{tier.hhi:,}"]
        if not tier.shares:
            rows.add_row(*head, ", ".join(tier.providers), "0", "", "", "", "")
        for index, share in enumerate(tier.shares):
            rows.add_row(
                *(head if not index else ("", "", "")),
                share.provider,
                f"{share.calls:,}",
                show_tokens(share.tokens),
                f"{share.by_tokens:.1%}",
                show_money(share.counted_nano),
                f"{share.by_money:.1%}",
            )
    console.print(rows)
    for tier in view.tiers:
        if tier.single and tier.providers:
            console.print(Text(f"tier {tier.tier} has one provider, {tier.providers[0]}", "yellow"))
    by_provider: dict[str, list[str]] = {}
    for each in view.single_providers:
        by_provider.setdefault(each.provider, []).append(each.model)
    for provider, models in by_provider.items():
        console.print(Text(f"only {provider} has {', '.join(models)}", "yellow"))
    console.print(_local(view.local))


def _local(local: LocalView) -> Text:
    what = f"routine work ({', '.join(local.tiers) or 'no tier'})"
    if local.share is None:
        return Text(f"served locally: nothing known, for there were no calls of {what}")
    said = f"served locally: {local.share:.1%} of {what}, {local.local_calls:,} of {local.calls:,} calls"
    return Text(f"{said}; the goal is {local.goal:.0%}", "green" if local.share >= local.goal else "yellow")
