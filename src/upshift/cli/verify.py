"""Which command checks the ledger from end to end?"""

import typer
from rich.text import Text

from upshift.admin.views import verification_view
from upshift.cli.terminal import DEFAULT_DB, Db, Json, desk_at, emit, out, place_of
from upshift.model.metered import Outcome
from upshift.store import engines
from upshift.store.journal import Dimension

app = typer.Typer(add_completion=False)


@app.command()
def verify(db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """Check that nothing in the ledger was lost, changed, counted twice or left out. Exit code 1 if something was."""
    with desk_at(db, json_) as desk:
        found = engines.verify(place_of(db))
        lost = desk.journal.usage([], 0, desk.now() + 1, {Dimension.OUTCOME: Outcome.LOST.value})
    view = verification_view(found, lost[0].calls if lost else 0)
    if json_:
        emit(view)
    else:
        console = out()
        verdict = Text("sound", "bold green") if view.ok else Text("NOT SOUND", "bold red")
        console.print(
            verdict.append(f"  {view.entries:,} entries, {view.calls:,} calls, {view.groups:,} commits", "default")
        )
        if view.open_holds:
            console.print(f"{view.open_holds} calls are in flight, or will be recovered at the next start")
        if view.lost_calls:
            console.print(f"{view.lost_calls} calls were cut off by a crash, and counted at what they held")
        if view.retained:
            console.print(f"calls up to entry {view.retained} were dropped; verified from there on")
        for each in view.problems:
            console.print(f"entry {each.seq}: {each.what}", style="red")
        console.print(f"digest {view.digest}", style="dim")
    if not view.ok:
        raise typer.Exit(1)
