"""Can the database be migrated, checked, moved and relieved of old months from the command line?"""

import asyncio
from pathlib import Path

import pytest
from tests.cli.conftest import Shell
from tests.conformance.ledger import PLAN
from tests.postgres import Server, database_url, postgres

from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.model.span import MICROS
from upshift.store import keeper_seat
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.sqlite_ledger import SqliteLedger

__all__ = ["database_url", "postgres"]

SECRET = "s3cretword"
LONG_AGO = 1_600_000_000 * MICROS


def with_password(url: str) -> str:
    return url.replace("postgres@", f"postgres:{SECRET}@")


async def one_call(path: Path) -> None:
    ledger = await SqliteLedger.open(path, LONG_AGO)
    ledger.note(Metered(request=RequestId("r1"), started=LONG_AGO, plan=PLAN, tenant="acme", cost=5), LONG_AGO)
    await ledger.close()


def test_an_empty_database_is_migrated_once(shell: Shell, postgres: Server) -> None:
    name = postgres.empty_database()
    url = with_password(postgres.url(name))
    pending = shell.run("db", "check", "--db", url, "--json")
    assert (pending.code, pending.json["version"]) == (1, 0)
    assert "upshift db migrate" in shell.run("db", "check", "--db", url).out
    assert "upshift db migrate" in shell.run("key", "list", "--db", url).err
    assert shell.json("db", "migrate", "--db", url)["changed"] is True
    assert shell.json("db", "migrate", "--db", url)["changed"] is False
    assert "nothing to do" in shell.ok("db", "migrate", "--db", url).out
    found = shell.json("db", "check", "--db", url)
    assert (found["engine"], found["pending"], found["behind"]) == ("postgresql", 0, 0)
    assert "calls" not in {each["name"] for each in found["tables"]}
    assert {"groups", "counters"} <= {each["name"] for each in found["tables"]}
    postgres.drop(name)


def test_commands_work_on_a_server(shell: Shell, database_url: str) -> None:
    url = with_password(database_url)
    issued = shell.json("key", "issue", "--name", "me", "--role", "admin", "--db", url)
    assert issued["secret"]
    assert len(shell.json("key", "list", "--db", url)) == 1
    assert shell.json("verify", "--db", url)["ok"] is True
    assert shell.json("usage", "--db", url)["rows"] == []


def test_no_command_shows_the_password(shell: Shell, postgres: Server, database_url: str) -> None:
    url, nowhere = with_password(database_url), f"postgresql://me:{SECRET}@127.0.0.1:1/none"
    file = shell.folder / "url"
    file.write_text(url)
    for words in (["db", "check"], ["db", "migrate"], ["verify"], ["usage"], ["db", "check", "--json"]):
        for place in (url, nowhere, f"@{file}", f"postgresql://me:{SECRET}/@x/y"):
            ran = shell.run(*words, "--db", place)
            assert SECRET not in ran.out + ran.err


def test_a_file_moves_to_a_server(shell: Shell, database_url: str) -> None:
    asyncio.run(one_call(shell.db))
    shell.apply()
    moved = shell.json("db", "move", str(shell.db), with_password(database_url))
    assert moved["rows"]["calls"] == 1
    assert SECRET not in str(moved)
    assert shell.json("verify", "--db", database_url)["digest"] == moved["digest"] == shell.json("verify")["digest"]
    again = shell.run("db", "move", str(shell.db), database_url)
    assert (again.code, "not empty" in again.err) == (1, True)
    back = shell.ok("db", "move", database_url, str(shell.folder / "back.db"))
    assert "moved and verified" in back.out


def test_a_file_is_checked(shell: Shell) -> None:
    assert shell.run("db", "check").code == 1
    asyncio.run(one_call(shell.db))
    found = shell.json("db", "check")
    assert (found["engine"], found["calls"], found["pending"]) == ("sqlite", 1, 0)
    assert "up to date" in shell.ok("db", "check").out


def test_old_months_of_a_file_are_dropped(shell: Shell) -> None:
    async def write() -> None:
        ledger = await SqliteLedger.open(shell.db, LONG_AGO)
        ledger.note(Metered(request=RequestId("r1"), started=LONG_AGO, plan=PLAN, tenant="acme", cost=5), LONG_AGO)
        await ledger.close()

    assert "no database" in shell.run("db", "retain", "--days", "30", "--yes").err
    asyncio.run(write())
    assert "2020-09: 1 calls dropped" in shell.ok("db", "retain", "--days", "30", answer="y\n").out
    assert "were dropped" in shell.ok("db", "check").out
    assert "verified from there on" in shell.ok("verify").out
    assert shell.json("usage", "--since", "2020-01-01")["total"]["cost_nano"] == 5
    refused = shell.run("db", "move", str(shell.db), str(shell.folder / "copy.db"))
    assert (refused.code, "were dropped" in refused.err) == (1, True)


@pytest.mark.parametrize("json", [False, True])
def test_old_months_are_dropped(shell: Shell, database_url: str, json: bool) -> None:
    async def write() -> None:
        seat = keeper_seat.take(database_url, "", "", 0.0)
        assert seat is not None
        ledger = await PostgresLedger.open(database_url, seat, LONG_AGO)
        ledger.note(Metered(request=RequestId("r1"), started=LONG_AGO, plan=PLAN, tenant="acme", cost=5), LONG_AGO)
        await ledger.close()

    asyncio.run(write())
    words = ["db", "retain", "--days", "30", "--db", database_url]
    assert shell.run(*words, answer="n\n").code == 1
    if json:
        dropped = shell.json(*words, "--yes")
        assert [(each["month"], each["dropped"]) for each in dropped] == [("2020-09", True), ("2020-10", True)]
    else:
        assert "2020-09: 1 calls dropped" in shell.ok(*words, answer="y\n").out
    assert "no month is old enough" in shell.ok(*words, "--yes").out
    found = shell.ok("db", "check", "--db", database_url).out
    assert "were dropped" in found
    assert "verified from there on" in shell.ok("verify", "--db", database_url).out
    usage = shell.json("usage", "--since", "2020-01-01", "--db", database_url)
    assert usage["total"]["cost_nano"] == 5
