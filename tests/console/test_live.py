"""Is the live view steady: whole in a burst, honest where it is not, over with the session, and text whatever names say?"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing, contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.admin.installation import Installation
from tests.console.conftest import Browser
from tests.console.test_browser_people import serving

from upshift.console.live import Batch, Feed
from upshift.model.key import Role

EVIL = "\"'><img src=x onerror=alert(1)>\n\ndata: {}\n\n"
PATIENCE = 30.0
"""Seconds that nothing here should ever take."""


async def following(batches: AsyncIterator[Batch]) -> Batch:
    return await asyncio.wait_for(anext(batches), PATIENCE)


async def calls_in(batches: AsyncIterator[Batch], count: int) -> list[Batch]:
    """Batches until so many calls came."""
    found: list[Batch] = []
    while sum(len(each.calls) for each in found) < count:
        found.append(await following(batches))
    return found


async def test_every_call_of_a_burst_comes_once_and_in_order(installation: Installation) -> None:
    await installation.spend(installation.call(user="before"))
    async with aclosing(Feed(installation.desk, 0.0).batches()) as batches:
        assert (await following(batches)).calls == ()
        made = [installation.call() for _ in range(620)]
        await installation.spend(*made)
        found = await calls_in(batches, len(made))
        assert [call.record.request for each in found for call in reversed(each.calls)] == [
            each.request for each in made
        ]
        assert not any(each.more or each.trouble for each in found)


async def test_more_than_a_look_reads_is_said(installation: Installation) -> None:
    feed = Feed(installation.desk, 0.0, most=100, page=40)
    async with aclosing(feed.batches()) as batches:
        await following(batches)
        await installation.spend(*(installation.call() for _ in range(400)))
        found = await calls_in(batches, 100)
        while not found[-1].more:
            found.append(await following(batches))
        assert len(found[-1].calls) >= 100
        late = installation.call()
        await installation.spend(late)
        assert late.request in [call.record.request for each in await calls_in(batches, 1) for call in each.calls]


async def test_who_is_too_slow_sees_it_by_the_numbers(installation: Installation) -> None:
    feed = Feed(installation.desk, 0.0)
    async with aclosing(feed.batches()) as slow, aclosing(feed.batches()) as quick:
        first, _ = await asyncio.gather(following(slow), following(quick))
        for _ in range(5):
            last = await following(quick)
        assert (await following(slow)).number >= last.number > first.number + 1


async def test_a_database_that_is_broken_is_said_and_waited_for(installation: Installation) -> None:
    with closing(sqlite3.connect(installation.db)) as db:
        # Whatever else names the table goes on naming it.
        db.execute("PRAGMA legacy_alter_table = ON")
        db.execute("ALTER TABLE calls RENAME TO away")
        async with aclosing(Feed(installation.desk, 0.0).batches()) as batches:
            assert (await following(batches)).trouble
            db.execute("ALTER TABLE away RENAME TO calls")
            while (await following(batches)).trouble:
                pass
            late = installation.call()
            await installation.spend(late)
            found = await calls_in(batches, 1)
            assert [call.record.request for each in found for call in each.calls] == [late.request]


@contextmanager
def watching(installation: Installation, role: Role) -> Iterator[tuple[Browser, httpx.Client]]:
    browser = Browser(installation)
    app = browser.client.app
    with (
        serving(app) as port,  # type: ignore[arg-type]  # the API itself
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client,
    ):
        client.post("/console/sign-in", data={"key": browser.secret(role)})
        yield browser, client


def said(lines: Iterator[str]) -> dict[str, object]:
    """The next event's data."""
    line = next(each for each in lines if each.startswith("data: "))
    found: dict[str, object] = msgspec.json.decode(line.removeprefix("data: "))
    return found


@pytest.mark.parametrize("how", ["signed out", "revoked"])
def test_the_stream_ends_with_the_session(installation: Installation, how: str) -> None:
    with watching(installation, Role.ADMIN) as (_, client), client.stream("GET", "/console/traffic/live") as live:
        lines = live.iter_lines()
        said(lines)
        if how == "revoked":
            journal = installation.desk.journal
            journal.revoke_key(journal.keys()[-1].id, installation.clock.now(), "somebody")
        else:
            word = client.get("/console/").text.partition('"x-csrf-token": "')[2].partition('"')[0]
            assert client.post("/console/sign-out", data={"csrf": word}).status_code == 303
        assert "event: over" in list(lines)


def test_what_callers_are_called_is_text_in_the_stream_too(empty: Installation, tmp_path: Path) -> None:
    empty.apply()
    with watching(empty, Role.TENANT_ADMIN) as (_, client), client.stream("GET", "/console/traffic/live") as live:
        lines = live.iter_lines()
        said(lines)
        fields = dict.fromkeys(("session", "agent", "requested_model", "served_model", "provider", "reason"), EVIL)
        asyncio.run(
            empty.spend(
                msgspec.structs.replace(empty.call(user=EVIL), **fields),
                empty.call(tenant="globex", user="frank", workload="docs"),
            )
        )
        rows = ""
        while not rows:
            rows = str(said(lines)["rows"])
        assert "<img" not in rows
        assert "&lt;img" in rows
        assert "frank" not in rows
