"""Which command begins an installation?"""

import importlib.resources
import os
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from upshift.cli.terminal import Json, desk_at, emit, err, fail, failing, out, place_of
from upshift.plan_file.problems import nearest
from upshift.settings import PREFIX

app = typer.Typer(add_completion=False)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where.")] = Path("."),
    db: Annotated[
        str | None, typer.Option("--db", help="The database; DIR/upshift.db or UPSHIFT_DB unless said.")
    ] = None,
    example: Annotated[
        str | None, typer.Option("--example", help="Begin with an example instead of the starter: scale-out.")
    ] = None,
    json_: Json = False,
) -> None:
    """Write a starter plan and .env.example, create the database, and show the admin key, once."""
    named = os.environ.get(f"{PREFIX}DB")
    where = place_of(db or named or str(folder / "upshift.db"))
    plan, environment = folder / "plan.yaml", folder / ".env.example"
    for each in (plan, environment, where):
        if isinstance(each, Path) and each.exists():
            fail(f"{each} exists already; nothing was written", as_json=json_)
    starter = importlib.resources.files("upshift.cli") / "starter"
    begun = starter / "plan.yaml" if example is None else _example(example)
    with failing(json_):
        folder.mkdir(parents=True, exist_ok=True)
        plan.write_text(begun.read_text("utf-8"), "utf-8")
        environment.write_text((starter / "env.example").read_text("utf-8"), "utf-8")
    with desk_at(where, json_, create=True) as desk:
        issued = desk.first_admin()
    secret = "" if issued is None else issued.secret
    if json_:
        emit({"plan": str(plan), "env": str(environment), "db": str(where), "admin_key": secret})
        return
    console = out()
    console.print(f"wrote {plan}, {environment} and {where}\n")
    console.print(Text("admin key (shown this once): ").append(secret, "bold green"), soft_wrap=True)
    option = "" if str(where) == "upshift.db" else f" --db {where}"
    err().print(
        f"\nnext:\n"
        f"  edit {plan}, and set the provider keys that {environment} names\n"
        f"  (or none: run 'upshift simulate' and point base_url at it, as {plan.name} says)\n"
        f"{_signing(plan, option) if example is not None else ''}"
        f"  upshift serve --plan {plan}{option}\n"
        f"  upshift key issue --name me --tenant acme --user alice{option}",
        soft_wrap=True,
    )


def _signing(plan: Path, option: str) -> str:
    """What comes before a plan with estimates can be served."""
    return (
        f"  upshift key issue --role finance --name 'one person'{option}, and --role engineering for another\n"
        f"  UPSHIFT_KEY=... upshift plan signoff {plan} W-01 --budget all{option}, by both of them, for W-01 to W-04\n"
    )


def _example(name: str) -> Traversable:
    """The plan of an example. Raises what the command line says of a name that is none."""
    files = (importlib.resources.files("upshift.cli") / "examples").iterdir()
    known = {each.name.removesuffix(".yaml"): each for each in files if each.name.endswith(".yaml")}
    if name not in known:
        remedy = nearest(name, known)
        message = f"there is no example {name!r}; there is {', '.join(sorted(known))}. {remedy}".strip()
        raise typer.BadParameter(message, param_hint="--example")
    return known[name]
