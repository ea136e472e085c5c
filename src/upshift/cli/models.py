"""Which command asks local servers for their models?"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from upshift.cli.plan_reading import read
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, err, fail, failing
from upshift.engine import discover as local
from upshift.engine.discover import Found
from upshift.traffic.snapshot import Provider, Snapshot

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Models of local servers.")


@app.callback()
def models() -> None:
    """Models of local servers."""


@app.command()
def discover(
    plan: Annotated[
        list[Path] | None, typer.Option(help="Of this plan, not the one in force; may be repeated.")
    ] = None,
    provider: Annotated[list[str] | None, typer.Option(help="Only this local provider; may be repeated.")] = None,
    db: Db = DEFAULT_DB,
    json_: Json = False,
) -> None:
    """Ask local providers for their models, and show what could be added to the plan. Nothing is changed.

    Asked are providers with discover: true, or those that are named. Exit code 1 if one does not tell.
    """
    if plan:
        snapshot = read(plan, json_).snapshot
    else:
        with desk_at(db, json_) as desk:
            snapshot = desk.need_snapshot()
    asked = _asked(snapshot, provider or [], json_)
    found: dict[str, list[Found]] = {}
    problems: dict[str, str] = {}
    with failing(json_):
        for each in asked:
            try:
                every = asyncio.run(local.models(each, os.environ))
            except ValueError as error:
                problems[each.id] = str(error)
                continue
            found[each.id] = local.new(snapshot, each, every)
    added = {name: models_ for name, models_ in found.items() if models_}
    if json_:
        emit(
            {"new": {name: [_view(each) for each in models_] for name, models_ in found.items()}, "problems": problems}
        )
    elif added:
        sys.stdout.write(local.as_yaml(snapshot, added))
        err().print("the prices are for you to say: what is not known is not zero", style="dim")
    elif found:
        err().print(f"the plan has every model of {', '.join(found)} already")
    for name, problem in problems.items():
        err().print(f"provider {name} does not tell: {problem}", style="red")
    if problems:
        raise typer.Exit(1)


def _asked(snapshot: Snapshot, named: list[str], as_json: bool) -> list[Provider]:
    own = {each.id: each for each in snapshot.providers.values() if each.local is not None}
    for name in named:
        if name not in own:
            fail(f"{name!r} is not a local provider of the plan; there are {', '.join(own) or 'none'}", as_json=as_json)
    found = [each for each in own.values() if each.id in named or (not named and each.discover)]
    if not found:
        fail("no provider of the plan is local and has discover: true; name one with --provider", as_json=as_json)
    return found


def _view(found: Found) -> dict[str, object]:
    return {"id": found.id, "context": found.context, "can": None if found.can is None else list(found.can)}
