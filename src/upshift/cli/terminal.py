"""How does a command reach an installation's database, and fail in words rather than tracebacks?"""

import getpass
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from upshift.admin.desk import ActError, Actor, Desk
from upshift.cli.printing import Json, emit, err, fail, meaning, out, table
from upshift.gateway.clock import SystemClock
from upshift.model.key import Role
from upshift.store import engines
from upshift.store.backend import StoreTroubleError
from upshift.store.place import Place, parse
from upshift.store.schema import StoreVersionError

__all__ = [
    "DEFAULT_DB",
    "Db",
    "Json",
    "Yes",
    "desk_at",
    "emit",
    "err",
    "fail",
    "failing",
    "local_admin",
    "meaning",
    "out",
    "place_of",
    "table",
]

DEFAULT_DB = "upshift.db"

Db = Annotated[
    str,
    typer.Option("--db", envvar="UPSHIFT_DB", show_envvar=True, help="A file, postgresql://... or @FILE."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


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
