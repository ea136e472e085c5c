"""Which commands look after the database: migrate, check, move, retain?"""

from collections.abc import Callable
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from upshift.cli.terminal import DEFAULT_DB, Db, Json, Yes, emit, err, fail, failing, local_admin, out, place_of, table
from upshift.gateway.clock import SystemClock
from upshift.store import engines
from upshift.store import move as moving
from upshift.store.condition import Condition, condition
from upshift.store.lock import LedgerInUseError
from upshift.store.place import Place, PostgresUrl
from upshift.store.retained import Dropped, said

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Migrate, check and move the database.")


@app.command()
def migrate(db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """Make the tables, or bring them to this program's version. Gateways may go on working meanwhile."""
    place = place_of(db)
    with failing(json_):
        changed = engines.prepare(place)
        found = condition(place)
    if json_:
        emit({"where": found.where, "version": found.version, "changed": changed})
    else:
        out().print(f"{found.where}: version {found.version}{'' if changed else ', nothing to do'}")


@app.command()
def check(db: Db = DEFAULT_DB, json_: Json = False) -> None:
    """Version, sizes, partitions, and how far the totals are behind. Exit code 1 when a migration is pending."""
    place = place_of(db)
    _must_be_there(place, json_)
    with failing(json_):
        found = condition(place)
    if json_:
        emit(msgspec.to_builtins(found))
    else:
        _show(found)
    if found.pending:
        raise typer.Exit(1)


@app.command()
def move(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A file, postgresql://... or @FILE.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The same; must be empty.")],
    json_: Json = False,
) -> None:
    """Copy everything into an empty database and verify the copy. The source is not changed; stop its gateway first."""
    old, new = place_of(source), place_of(target)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=err(), transient=True, disable=json_,
    )  # fmt: skip
    with failing(json_), bar:
        try:
            moved = moving.move(old, new, _shown_on(bar))
        except (moving.MoveError, LedgerInUseError) as error:
            fail(str(error), as_json=json_)
    if json_:
        emit({"from": str(old), "to": str(new), "rows": moved.rows, "entries": moved.entries, "digest": moved.digest})
        return
    rows = table("TABLE", "ROWS", numbers=("ROWS",))
    for name, count in moved.rows.items():
        rows.add_row(name, f"{count:,}")
    out().print(rows)
    out().print(f"moved and verified: {moved.entries:,} entries, digest {moved.digest}")
    err().print(f"next: set UPSHIFT_DB to {new}, start the gateway, and keep {old} until you trust the copy")


@app.command("retain")
def retain_command(
    days: Annotated[
        int, typer.Option(min=1, envvar="UPSHIFT_RETAIN_DAYS", show_envvar=True, help="Keep calls of so many days.")
    ],
    db: Db = DEFAULT_DB,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Drop whole months of calls that ended longer ago; their totals stay, and a decision says what went."""
    place = place_of(db)
    _must_be_there(place, json_)
    if not yes:
        typer.confirm(f"Drop the calls of all months that ended more than {days} days ago?", abort=True, err=True)
    with failing(json_):
        done = engines.keeping(place).retain(SystemClock().now(), days, local_admin().name)
    if json_:
        emit([{"month": each.month, "dropped": isinstance(each, Dropped), "what": said(each)} for each in done])
        return
    for each in done:
        out().print(said(each))
    if not done:
        out().print("no month is old enough")


def _must_be_there(place: Place, as_json: bool) -> None:
    if not isinstance(place, PostgresUrl) and not place.is_file():
        fail(f"there is no database at {place}", as_json=as_json)


def _shown_on(bar: Progress) -> Callable[[str, int, int], None]:
    tasks = {"": bar.add_task("copying", total=None)}

    def progress(name: str, done: int, total: int) -> None:
        if name not in tasks:
            tasks[name] = bar.add_task(name, total=total)
        bar.update(tasks[name], completed=done)

    return progress


def _show(found: Condition) -> None:
    console = out()
    console.print(f"{found.engine}  {found.where}")
    state = f"{found.pending} migrations pending: upshift db migrate" if found.pending else "up to date"
    console.print(f"version {found.version}, {state}")
    if found.bytes:
        each = "" if found.bytes_per_call is None else f", {found.bytes_per_call} bytes each"
        console.print(f"{found.bytes / 2**20:,.1f} MiB, about {found.calls:,} calls{each}")
    if not found.pending:
        console.print(f"totals are {found.behind:,} entries behind")
    if found.kept_from:
        console.print(f"calls before {found.kept_from} were dropped; verifiable after entry {found.verifiable_after}")
    if found.partitions or found.tables:
        rows = table("TABLE", "ROWS", "MIB", numbers=("ROWS", "MIB"))
        for size in (*found.partitions, *found.tables):
            rows.add_row(size.name, f"{size.rows:,}", f"{size.bytes / 2**20:,.1f}")
        console.print(rows)
