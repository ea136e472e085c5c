"""Which command says when a machine has paid for itself?"""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from upshift.cli.terminal import Json, emit, meaning, out, table
from upshift.model.money import Nano, parse_money, show_money
from upshift.model.share import parse_share
from upshift.planning.hardware import Displaced, Machine, Outcome, Payback, payback, per_million

app = typer.Typer(add_completion=False)

_LOADS = (0.1, 0.25, 0.5, 0.75, 1.0)


@app.command()
def pays_back(
    utilisation: Annotated[
        str, typer.Option(help="Share of all hours in which it serves at full load, like 20%. Nothing matters more.")
    ],
    price: Annotated[str, typer.Option(help="Of the machine, like $2600; unknown unless said.")] = "",
    displaces: Annotated[str, typer.Option(help="API spend per month of all who use it, like $1200.")] = "",
    share: Annotated[str, typer.Option(help="How much of that spend it takes over, like 30%.")] = "100%",
    hourly: Annotated[str, typer.Option(help="Of a rented machine, in place of --price, like $2.50.")] = "",
    tokens_per_second: Annotated[float | None, typer.Option(min=0.001, help="Served under full load.")] = None,
    api_price: Annotated[str, typer.Option(help="Of a million of the tokens displaced, like $1.50.")] = "",
    watts: Annotated[float | None, typer.Option(min=0, help="Drawn under load.")] = None,
    idle_watts: Annotated[float, typer.Option(min=0, help="Drawn when idle.")] = 0.0,
    kwh: Annotated[str, typer.Option(help="Price of a kilowatt-hour, like $0.30.")] = "",
    upkeep: Annotated[str, typer.Option(help="Care, space and support per month.")] = "$0",
    life: Annotated[int, typer.Option(min=1, help="Months until it is worth nothing.")] = 36,
    json_: Json = False,
) -> None:
    """Months until displaced API spend has paid for a machine, and what its tokens cost at every load."""
    load = meaning(parse_share, utilisation, option="--utilisation")
    if load == 0:
        raise typer.BadParameter("an idle machine saves nothing; say how busy it is", param_hint="--utilisation")
    if hourly:
        if price or displaces:
            raise typer.BadParameter("a rented machine is not paid back; leave --price out", param_hint="--hourly")
        if tokens_per_second is None:
            raise typer.BadParameter("say how much it serves: --tokens-per-second", param_hint="--hourly")
        _rented(meaning(parse_money, hourly, option="--hourly"), tokens_per_second, load, json_)
        return
    machine = Machine(
        price=_money(price, "--price"),
        watts=watts,
        idle_watts=idle_watts,
        kwh=_money(kwh, "--kwh"),
        upkeep=_money(upkeep, "--upkeep") or 0,
        tokens_per_second=tokens_per_second,
        life_months=life,
    )
    displaced = Displaced(
        spend=_money(displaces, "--displaces"),
        share=meaning(parse_share, share, option="--share"),
        price_per_million=_money(api_price, "--api-price"),
    )
    loads = sorted({*_LOADS, load})
    found = {each: payback(machine, displaced, each) for each in loads}
    if json_:
        emit({**msgspec.to_builtins(found[load]), "at": [msgspec.to_builtins(each) for each in found.values()]})
        return
    _show(out(), found, load, bounded=machine.tokens_per_second is not None and displaced.price_per_million is not None)


def _money(text: str, option: str) -> Nano | None:
    """None for what was not said, or said to be unknown."""
    return None if text.strip().lower() in {"", "unknown"} else meaning(parse_money, text, option=option)


def _rented(hourly: Nano, tokens_per_second: float, load: float, as_json: bool) -> None:
    loads = sorted({*_LOADS, load})
    costs = {each: per_million(hourly, tokens_per_second, each) for each in loads}
    if as_json:
        emit({"utilisation": load, "per_million": costs[load],
              "at": [{"utilisation": each, "per_million": cost} for each, cost in costs.items()]})  # fmt: skip
        return
    rows = table("UTILISATION", "PER MILLION TOKENS", numbers=("UTILISATION", "PER MILLION TOKENS"))
    for each, cost in costs.items():
        rows.add_row(f"{each:.0%}", show_money(cost), style="bold" if each == load else "")
    out().print(rows)


def _show(console: Console, found: dict[float, Payback], load: float, *, bounded: bool) -> None:
    at = found[load]
    console.print(_sentence(at))
    facts = table("PER MONTH", "", numbers=("",))
    facts.add_row("API spend displaced", show_money(at.saved))
    facts.add_row("power", show_money(at.power))
    facts.add_row("upkeep", show_money(at.upkeep))
    facts.add_row("saved", ("at most " if at.left_out and at.net is not None else "") + show_money(at.net))
    facts.add_row("depreciation", show_money(at.depreciation))
    console.print(facts)
    if not bounded:
        said = "how much it can serve is not known, so more load is not more saved: --tokens-per-second, --api-price"
        console.print(said, style="dim")
        return
    rows = table("UTILISATION", "DISPLACED", "MONTHS", "PER MILLION TOKENS",
                 numbers=("UTILISATION", "DISPLACED", "MONTHS", "PER MILLION TOKENS"))  # fmt: skip
    for each in found.values():
        months = each.outcome.value if each.months is None else f"{each.months:.1f}"
        cells = (f"{each.utilisation:.0%}", show_money(each.saved), months, show_money(each.per_million))
        rows.add_row(*cells, style="bold" if each is at else "")
    console.print(rows)


def _sentence(at: Payback) -> Text:
    load = f"at {at.utilisation:.0%} utilisation"
    least = "at least " if at.left_out else ""
    match at.outcome:
        case Outcome.PAYS:
            said = Text(f"pays back in {least}{at.months:.1f} months {load}", "green")
        case Outcome.TOO_LATE:
            said = Text(f"does not pay back in its life: it would take {least}{at.months:.1f} months {load}", "yellow")
        case Outcome.NEVER:
            said = Text(f"never pays back {load}: it costs as much to run as it saves, or more", "red")
        case Outcome.UNKNOWN:
            said = Text(f"unknown: say {' and '.join(at.unknown)}", "yellow")
    if at.bound and at.needed is not None:
        said.append(f"; it cannot serve all that it should displace, that takes {at.needed:.0%} utilisation", "yellow")
    if at.left_out:
        said.append(f"; not counted: {', '.join(at.left_out)}", "yellow")
    return said
