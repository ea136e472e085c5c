"""How does a command take its options, say what it found, and fail in words rather than tracebacks?"""

import getpass
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from upshift.admin.desk import ActError, Actor, Desk
from upshift.gateway.clock import SystemClock
from upshift.model.key import Role
from upshift.store import engines
from upshift.store.backend import StoreTroubleError
from upshift.store.place import Place, parse
from upshift.store.schema import StoreVersionError

T = TypeVar("T")

DEFAULT_DB = "upshift.db"

Db = Annotated[
    str,
    typer.Option("--db", envvar="UPSHIFT_DB", show_envvar=True, help="A file, postgresql://... or @FILE."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_WIDE = 180


def out() -> Console:
    """Where results go. Wide where nobody looks at it, so that a pipe gets whole lines."""
    return _console(stderr=False)


def err() -> Console:
    """Where everything else goes."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width, soft_wrap=False)


def emit(document: Any) -> None:
    """Print one JSON document."""
    plain = TypeAdapter(Any).dump_python(document, mode="json")
    sys.stdout.write(json.dumps(plain, ensure_ascii=False, indent=2) + "\n")


def table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """An unboxed table; columns in `numbers` are aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def fail(message: str, *, as_json: bool = False) -> NoReturn:
    """Say why it cannot be done, and exit with 1."""
    if as_json:
        emit({"error": message})
    err().print(f"error: {message}", style="red")
    raise typer.Exit(1)


def meaning(parse: Callable[..., T], *arguments: Any, option: str = "") -> T:
    """What a person's text means. A ValueError is a wrong usage: exit code 2."""
    try:
        return parse(*arguments)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option or None) from None


@contextmanager
def failing(as_json: bool) -> Iterator[None]:
    """Turns what can be expected to go wrong into words."""
    try:
        yield
    except ActError as error:
        fail(str(error), as_json=as_json)
    except StoreVersionError as error:
        fail(f"the database cannot be used: {error}", as_json=as_json)
    except (StoreTroubleError, sqlite3.Error) as error:
        fail(f"the database cannot be read or written: {error}", as_json=as_json)
    except OSError as error:
        fail(str(error), as_json=as_json)


def place_of(db: str) -> Place:
    """Where an option says the database is."""
    return meaning(parse, db, option="--db")


@contextmanager
def desk_at(db: str | Place, as_json: bool, *, create: bool = False) -> Iterator[Desk]:
    """The desk of an installation; a database that is not there is made only where `create` says so."""
    place = place_of(db) if isinstance(db, str) else db
    if not create and isinstance(place, Path) and not place.is_file():
        fail(f"there is no database at {place}; create one with 'upshift init', or name it with --db", as_json=as_json)
    with failing(as_json):
        if create:
            engines.prepare(place)
        # Not by upshift.app: that loads the gateway, which commands that end at once need not wait for.
        desk = Desk(engines.open_journal(place), SystemClock().now)
        try:
            yield desk
        finally:
            desk.journal.close()


def local_admin() -> Actor:
    """Whoever may write the database's file may do everything; their name is kept with what they do."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "unknown"
    return Actor(f"{name} (command line)", Role.ADMIN)
