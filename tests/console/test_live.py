"""Is the live view steady: whole in a burst, honest where it is not, over with the session, and text whatever names say?"""

import asyncio
import sqlite3
import threading
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
from upshift.store.journal import Call, Dimension

EVIL = "\"'><img src=x onerror=alert(1)>\n\ndata: {}\n\n"
PATIENCE = 30.0
"""Seconds that nothing here should ever take."""


class Looks:
    """A feed that looks when it is told to, so that nobody is ever too slow for it."""

    def __init__(self, installation: Installation, **sizes: int) -> None:
        self._due = asyncio.Semaphore(0)
        self.feed = Feed(installation.desk, self._due.acquire, **sizes)

    def again(self) -> None:
        self._due.release()

    async def next(self, batches: AsyncIterator[Batch]) -> Batch:
        """What one more look finds."""
        self.again()
        return await following(batches)


async def following(batches: AsyncIterator[Batch]) -> Batch:
    return await asyncio.wait_for(anext(batches), PATIENCE)


async def test_every_call_of_a_burst_comes_once_and_in_order(installation: Installation) -> None:
    await installation.spend(installation.call(user="before"))
    looks = Looks(installation)
    async with aclosing(looks.feed.batches()) as batches:
        assert (await following(batches)).calls == ()
        made = [installation.call() for _ in range(620)]
        found = []
        for some in (made[:10], [], made[10:]):
            await installation.spend(*some)
            found.append(await looks.next(batches))
        assert [len(each.calls) for each in found] == [10, 0, 610]
        assert [call.record.request for each in found for call in reversed(each.calls)] == [
            each.request for each in made
        ]
        assert not any(each.more or each.trouble for each in found)


async def test_more_than_a_look_reads_is_said(installation: Installation) -> None:
    looks = Looks(installation, most=100, page=40)
    async with aclosing(looks.feed.batches()) as batches:
        await following(batches)
        made = [installation.call() for _ in range(400)]
        await installation.spend(*made)
        found = await looks.next(batches)
        assert found.more
        assert [call.record.request for call in found.calls] == [each.request for each in reversed(made[-120:])]
        late = installation.call()
        await installation.spend(late)
        found = await looks.next(batches)
        assert [call.record.request for call in found.calls] == [late.request]
        assert not found.more


async def test_who_is_too_slow_sees_it_by_the_numbers(installation: Installation) -> None:
    looks = Looks(installation)
    async with aclosing(looks.feed.batches()) as slow, aclosing(looks.feed.batches()) as quick:
        first, _ = await asyncio.gather(following(slow), following(quick))
        for _ in range(5):
            last = await looks.next(quick)
        assert (await following(slow)).number == last.number == first.number + 5


async def test_whoever_joins_gets_what_closed_since_their_page_was_made(installation: Installation) -> None:
    seen = await closed(installation)
    missed = [await closed(installation) for _ in range(3)]
    other = installation.call(tenant="globex", user="frank", workload="docs")
    await installation.spend(other)
    looks = Looks(installation, page=2)
    own = looks.feed.batches(seen.seq, {Dimension.TENANT: "acme"})
    async with aclosing(own) as first, aclosing(looks.feed.batches(0)) as all_of_it:
        found, whole = await asyncio.gather(following(first), following(all_of_it))
        assert [each.seq for each in found.calls] == [each.seq for each in reversed(missed)]
        assert (found.late, found.more) == (3, False)
        assert len(whole.calls) == 5
        late = await closed(installation)
        assert [each.seq for each in (await looks.next(first)).calls] == [late.seq]
        # Whose page is younger than the look is not told twice of what is on it.
        young = await closed(installation)
        async with aclosing(looks.feed.batches(young.seq)) as third:
            waiting = asyncio.create_task(following(third))
            await asyncio.sleep(0)
            assert [each.seq for each in (await looks.next(first)).calls] == [young.seq]
            assert (await waiting).calls == ()
            last = await closed(installation)
            assert [each.seq for each in (await looks.next(third)).calls] == [last.seq]


class Slow(dict[Dimension, str]):
    """A condition that takes a while to read by."""

    def __init__(self) -> None:
        super().__init__({Dimension.TENANT: "acme"})
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __bool__(self) -> bool:
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        return True


async def test_looks_that_went_by_while_what_was_late_was_read_are_late_too(installation: Installation) -> None:
    seen = await closed(installation)
    early = await closed(installation)
    looks, where = Looks(installation), Slow()
    async with aclosing(looks.feed.batches(seen.seq, where)) as slow, aclosing(looks.feed.batches()) as quick:
        first = asyncio.create_task(following(slow))
        await following(quick)
        assert await asyncio.to_thread(where.begun.wait, PATIENCE)
        meanwhile = []
        for _ in range(3):
            meanwhile.append(await closed(installation))
            await looks.next(quick)
        where.may_end.set()
        found = await first
        assert [each.seq for each in found.calls] == [early.seq]
        found = await following(slow)
        assert [each.seq for each in reversed(found.calls)] == [each.seq for each in meanwhile]
        assert found.late == 2
        last = await closed(installation)
        assert [each.seq for each in (await looks.next(slow)).calls] == [last.seq]


async def test_what_closed_before_a_broken_database_was_read_comes_after_it(installation: Installation) -> None:
    seen = await closed(installation)
    missed = await closed(installation)
    looks = Looks(installation)
    with closing(sqlite3.connect(installation.db)) as db:
        db.execute("PRAGMA legacy_alter_table = ON")
        db.execute("ALTER TABLE calls RENAME TO away")
        async with aclosing(looks.feed.batches(seen.seq)) as batches:
            assert (await following(batches)).trouble
            db.execute("ALTER TABLE away RENAME TO calls")
            assert [each.seq for each in (await looks.next(batches)).calls] == [missed.seq]


async def closed(installation: Installation) -> Call:
    """One more call."""
    await installation.spend(installation.call())
    return installation.desk.journal.calls({}, 1)[0]


async def test_a_database_that_is_broken_is_said_and_waited_for(installation: Installation) -> None:
    looks = Looks(installation)
    with closing(sqlite3.connect(installation.db)) as db:
        # Whatever else names the table goes on naming it.
        db.execute("PRAGMA legacy_alter_table = ON")
        db.execute("ALTER TABLE calls RENAME TO away")
        async with aclosing(looks.feed.batches()) as batches:
            assert (await following(batches)).trouble
            assert (await looks.next(batches)).trouble
            db.execute("ALTER TABLE away RENAME TO calls")
            found = await looks.next(batches)
            assert (found.trouble, found.calls) == (False, ())
            late = installation.call()
            await installation.spend(late)
            found = await looks.next(batches)
            assert [call.record.request for call in found.calls] == [late.request]


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


def test_a_stream_goes_on_where_the_one_before_it_ended(installation: Installation) -> None:
    async def spend() -> int:
        return (await closed(installation)).seq

    seqs = [asyncio.run(spend()) for _ in range(4)]
    with watching(installation, Role.ADMIN) as (_, client):
        assert f'data-since="{seqs[-1]}"' in client.get("/console/traffic").text
        for url, headers in (
            (f"?since={seqs[1]}", {}),
            (f"?since={seqs[0]}", {"last-event-id": str(seqs[1])}),
        ):
            with client.stream("GET", f"/console/traffic/live{url}", headers=headers) as live:
                lines = live.iter_lines()
                assert next(each for each in lines if each.startswith("id: ")) == f"id: {seqs[-1]}"
                assert said(lines)["late"] == 2
        # A page that is younger than the look is not told again of what it has when it connects again.
        with client.stream("GET", f"/console/traffic/live?since={seqs[-1] + 5}") as live:
            assert next(each for each in live.iter_lines() if each.startswith("id: ")) == f"id: {seqs[-1] + 5}"


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
        rows = ""
        # A look that came too late for the one after it is not told: a busy machine may miss some.
        while not rows:
            asyncio.run(
                empty.spend(
                    msgspec.structs.replace(empty.call(user=EVIL), **fields),
                    empty.call(tenant="globex", user="frank", workload="docs"),
                )
            )
            rows = str(said(lines)["rows"])
        assert "<img" not in rows
        assert "&lt;img" in rows
        assert "frank" not in rows
