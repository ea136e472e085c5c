"""Does the console say that the database is away, also when it can be asked nothing, and to nobody who is not signed in?"""

import functools
import sqlite3
from collections.abc import Sequence
from contextlib import closing

import msgspec
import pytest
from fastapi.testclient import TestClient
from tests.admin.installation import NOW, Installation

from upshift.admin.api import create_api
from upshift.console.app import create_console
from upshift.console.away import Away, away_of
from upshift.model.key import Role
from upshift.model.live import BooksUse, Live
from upshift.store.verify import verify

SECOND = 1_000_000
WELL = BooksUse(healthy=True, holds=0, unwritten=0, unwritten_seconds=0.0)
GONE = msgspec.structs.replace(WELL, away=True, away_since=NOW)


def said(process: str, books: BooksUse | None) -> Live:
    return Live(
        process=process, pid=1, started=NOW, memory_bytes=None, open_fds=None, tasks=1, lag_seconds=0.0, books=books
    )


def owing(count: int, books: BooksUse = GONE) -> BooksUse:
    return msgspec.structs.replace(books, owed=count)


TOLD = msgspec.structs.replace(WELL, told=NOW)


@pytest.mark.parametrize(
    ("processes", "found"),
    [
        ((), None),
        ((said("admin", None), said("keeper", WELL), said("gateway", WELL)), None),
        ((said("gateway", GONE), said("keeper", owing(7))), Away(NOW, 7, None)),
        ((said("gateway", GONE),), Away(NOW, None, None)),
        ((said("gateway", WELL), said("keeper", owing(3, WELL))), Away(None, 3, None)),
        ((said("gateway", WELL), said("keeper", TOLD)), Away(None, 0, NOW)),
        (
            (
                said("gateway", msgspec.structs.replace(GONE, away_since=NOW + SECOND)),
                said("keeper", owing(1)),
            ),
            Away(NOW, 1, None),
        ),
    ],
)
def test_what_processes_know_is_put_together(processes: Sequence[Live], found: Away | None) -> None:
    assert away_of(processes) == found


class Watched:
    """A console beside processes that say what they are told to."""

    def __init__(self, installation: Installation) -> None:
        self.processes: tuple[Live, ...] = ()
        whole = functools.partial(verify, installation.db)
        api = create_api(installation.desk, whole)
        api.mount("/console", create_console(installation.desk, whole, look=self.look))
        self.client = TestClient(api, raise_server_exceptions=False, follow_redirects=False)
        self.key = installation.secret(Role.ADMIN)
        self.fault: OSError | None = None

    async def look(self) -> Sequence[Live]:
        if self.fault is not None:
            raise self.fault
        return self.processes

    def sign_in(self, key: str = "") -> None:
        assert self.client.post("/console/sign-in", data={"key": key or self.key}).status_code == 303


def test_the_overview_says_so_and_when_it_was_told(installation: Installation) -> None:
    watched = Watched(installation)
    watched.sign_in()
    assert "database" not in watched.client.get("/console/").text
    watched.processes = (said("keeper", owing(1234)),)
    text = watched.client.get("/console/").text
    assert "has been away since" in text
    assert "1,234 entries wait" in text
    watched.processes = (said("keeper", TOLD),)
    text = watched.client.get("/console/").text
    assert "has had everything since" in text
    assert "has been away" not in text


def test_with_the_database_gone_who_is_signed_in_is_told_that_calls_go_on(installation: Installation) -> None:
    watched = Watched(installation)
    watched.processes = (said("keeper", owing(5)),)
    watched.sign_in()
    with closing(sqlite3.connect(installation.db)) as db:
        db.execute("ALTER TABLE keys RENAME TO gone")
        answer = watched.client.get("/console/")
        assert answer.status_code == 503
        assert "5 entries wait" in answer.text
        watched.client.cookies.clear()
        answer = watched.client.get("/console/sign-in")
        assert "entries wait" not in answer.text
        assert "entries wait" not in watched.client.post("/console/sign-in", data={"key": watched.key}).text


def test_what_is_shown_of_the_decision_is_a_link_for_those_who_see_it(installation: Installation) -> None:
    watched = Watched(installation)
    for key, sees in ((watched.key, True), (installation.secret(Role.TENANT_ADMIN, "acme"), False)):
        watched.sign_in(key)
        for books in (owing(5), TOLD):
            watched.processes = (said("keeper", books),)
            text = watched.client.get("/console/").text
            assert "The database" in text
            assert ("/console/ledger?kind=decision" in text) is sees


def test_pages_do_without_processes_that_cannot_be_asked(installation: Installation) -> None:
    watched = Watched(installation)
    watched.sign_in()
    watched.fault = FileNotFoundError("/tmp/upshift-gone")
    assert watched.client.get("/console/").status_code == 200
    with closing(sqlite3.connect(installation.db)) as db:
        db.execute("ALTER TABLE keys RENAME TO gone")
        answer = watched.client.get("/console/")
        assert answer.status_code == 503
        assert "cannot be read or written" in answer.text
