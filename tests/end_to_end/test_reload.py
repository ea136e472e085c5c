"""What do calls notice when plan or keys change under way, or when the gateway stops and starts again?"""

import asyncio
import contextlib
import gc
import os
from collections import Counter
from pathlib import Path

import openai
import pytest
from tests.end_to_end.callers import Heard, Line
from tests.end_to_end.exact import EACH, use, use_up
from tests.end_to_end.probe import ask, balance, closed, get, key
from tests.end_to_end.stack import ADMIN, Stack, plan_text, running
from tests.end_to_end.turnstile import Turnstile, turnstile

from upshift.admin.rolling_back import former, roll_back
from upshift.app import start_gateway
from upshift.gateway.clock import HandClock
from upshift.model.ids import PlanHash
from upshift.model.metered import Outcome
from upshift.model.tokens import Certainty
from upshift.plan_file import PlanError
from upshift.store.lock import LedgerInUseError
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import verify
from upshift.traffic.snapshot import InForce

WHOLE = "[[simulate: delay=1,output_tokens=50]]"
STREAM = "[[simulate: slow_chunk=1,output_tokens=50]]"
NOON = 1_795_000_000_000_000


def in_force(stack: Stack) -> PlanHash:
    return stack.gateway.flow.regime.in_force.snapshot.hash


async def line_call(stack: Stack, secret: str, number: int) -> Heard:
    """A call that stays in flight until the turnstile opens: streams and whole answers, in both dialects."""
    stream = number % 2 == 0
    dialect = ("openai", "anthropic")[number // 2 % 2]
    async with Line(stack.gateway.port) as line:
        return await line.call(secret, STREAM if stream else WHOLE, dialect=dialect, stream=stream, max_tokens=50)


async def in_flight(stack: Stack, stile: Turnstile, secret: str, count: int) -> list[asyncio.Task[Heard]]:
    tasks = [asyncio.create_task(line_call(stack, secret, number)) for number in range(count)]
    await stile.until(waiting=count)
    await stack.gateway.ledger.flushed()
    return tasks


async def standing_in_line(stack: Stack, count: int) -> None:
    """Wait until the gateway has so many calls before it."""
    async with asyncio.timeout(120):
        while True:
            if stack.gateway.server.in_flight == count:
                return
            await asyncio.sleep(0)


# plans ----------------------------------------------------------------------------------------------------------------


async def test_a_new_plan_under_200_calls_in_flight_fails_none(tmp_path: Path) -> None:
    async with turnstile() as stile, running(tmp_path) as stack:
        await stack.apply(plan_text(stile.url, "1M"))
        old, secret = in_force(stack), await key(stack)
        tasks = await in_flight(stack, stile, secret, 200)
        held = balance(stack).held.tokens
        assert held > 200 * 50
        await stack.apply(plan_text(stile.url, "1k"))
        new = in_force(stack)
        assert new != old
        late = asyncio.create_task(ask(stack, secret=secret, max_tokens=50))
        await stile.open()
        heard = await asyncio.gather(*tasks)
        assert (await late).status == 402
        assert Counter((each.status, each.ended) for each in heard) == {(200, True): 200}
        assert {each.headers["x-upshift-plan"] for each in heard} == {old[:16]}
        records = await stack.records()
        assert Counter((record.plan, record.outcome) for record in records) == {
            (old, Outcome.SERVED): 200,
            (new, Outcome.REFUSED): 1,
        }
        assert all(record.usage.output == 50 for record in records if record.plan == old)
        await closed(stack)


async def test_a_former_plan_comes_back_under_calls_in_flight_and_fails_none(tmp_path: Path) -> None:
    async with turnstile() as stile, running(tmp_path) as stack:
        await stack.apply(plan_text(stile.url, "1M"))
        old, secret = in_force(stack), await key(stack)
        await stack.apply(plan_text(stile.url, "2M"))
        new = in_force(stack)
        tasks = await in_flight(stack, stile, secret, 50)
        roll_back(stack.desk, former(stack.desk), ADMIN)
        assert await stack.gateway.flow.regime.refresh()
        assert in_force(stack) == old
        tasks += await in_flight(stack, stile, secret, 50)
        await stile.open()
        heard = await asyncio.gather(*tasks)
        assert Counter((each.status, each.ended) for each in heard) == {(200, True): 100}
        assert Counter(record.plan for record in await stack.records()) == {old: 50, new: 50}
        number = len(stack.desk.journal.plans())
        (again,) = stack.desk.journal.decisions(["plan-applied"], 1)
        assert (again.detail["number"], again.detail["restores"]) == (number, number - 2)
        await closed(stack)


async def test_an_answer_that_grows_is_held_to_the_plan_it_began_under(tmp_path: Path) -> None:
    async with turnstile() as stile, running(tmp_path) as stack:
        await stack.apply(plan_text(stile.url))
        secret = await key(stack)
        text = "[[simulate: slow_chunk=1,output_tokens=3000]]"
        growing = asyncio.create_task(ask(stack, text, secret=secret, stream=True))
        await stile.until(waiting=1)
        await stack.gateway.ledger.flushed()
        held = balance(stack).held.tokens
        assert held < 3000
        await stack.apply(plan_text(stile.url, "2k"))
        await stile.open()
        reply = await growing
        assert reply.events()[-1]["choices"][0]["finish_reason"] == "stop"
        (record,) = await stack.records()
        assert (record.outcome, record.usage.output) == (Outcome.SERVED, 3000)
        assert (await ask(stack, secret=secret)).status == 402
        await closed(stack)


async def test_a_ceiling_is_raised_and_lowered_for_the_next_call_and_use_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path, limit=str(2 * EACH)) as stack:
        secret = await key(stack)
        assert await use_up(stack, secret) == 2
        used = 2
        for worth, served in ((4, 2), (3, 0), (5, 1), (1, 0)):
            await stack.apply(plan_text(stack.simulated_url(), str(worth * EACH)))
            assert await use_up(stack, secret) == served
            used += served
            assert balance(stack).settled.tokens == used * EACH
        await stack.apply(plan_text(stack.simulated_url(), "100k"))
        assert (await use(stack, secret)).headers["x-upshift-budget"] == f"month tokens={(used + 1) * EACH}/100000"
        await closed(stack)


async def test_a_call_that_waited_through_a_change_does_not_bring_old_ceilings_back(tmp_path: Path) -> None:
    async with turnstile() as stile, running(tmp_path) as stack:
        tight, wide = plan_text(stile.url, str(2 * EACH)), plan_text(stile.url, str(20 * EACH))
        await stack.apply(tight)
        secret = await key(stack, workload="soft")
        calls = [asyncio.create_task(use(stack, secret, "delay=1,")) for _ in range(2)]
        await stile.until(waiting=2)
        calls.append(asyncio.create_task(use(stack, secret, "delay=1,")))
        await standing_in_line(stack, 3)
        await stack.apply(wide)
        await stile.open()
        assert [reply.status for reply in await asyncio.gather(*calls)] == [200, 200, 200]
        # The third was let in past the old ceiling, degraded; 18 are left of the new one and 19 after it.
        assert await use_up(stack, secret) == 18 + 19
        for bucket in ("included", "degraded"):
            assert balance(stack, workload="soft", bucket=bucket).settled.tokens == 20 * EACH
        await closed(stack)


async def test_a_bad_plan_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        secret, before = await key(stack), in_force(stack)
        text = plan_text(stack.simulated_url())
        with pytest.raises(PlanError):
            await stack.apply(text.replace("gate: hard", "gate: harder"))
        assert not await stack.gateway.flow.regime.refresh()
        assert in_force(stack) == before
        assert (await ask(stack, secret=secret)).status == 200


@pytest.mark.parametrize("damage", ["no document", "half a document", "a name of nothing"])
async def test_a_kept_plan_that_does_not_compile_leaves_the_old_one_in_force(tmp_path: Path, damage: str) -> None:
    async with running(tmp_path) as stack:
        secret, before = await key(stack), in_force(stack)
        kept = stack.desk.journal.plan_in_force()
        assert kept
        document = {
            "no document": b"{}",
            "half a document": kept.document[: len(kept.document) // 2],
            "a name of nothing": kept.document.replace(b'"gate":"hard"', b'"gate":"harder"'),
        }[damage]
        assert document != kept.document
        stack.desk.journal.apply_plan(PlanHash("bad"), document, "bad", "a test", stack.clock.now())
        await stack.gateway.flow.regime.refresh()
        assert in_force(stack) == before
        assert (await ask(stack, secret=secret)).status == 200
        stack.desk.journal.apply_plan(kept.hash, kept.document, "good", "a test", stack.clock.now())
        assert await stack.gateway.flow.regime.refresh()
        assert (await ask(stack, secret=secret)).status == 200


async def test_callers_of_a_workload_that_was_removed_are_told_so(tmp_path: Path) -> None:
    async with turnstile() as stile, running(tmp_path) as stack:
        await stack.apply(plan_text(stile.url))
        scoped = await key(stack, workload="soft")
        wide = await key(stack, "bob", workload=None)
        flying = await in_flight(stack, stile, scoped, 4)
        lines = plan_text(stile.url).splitlines(keepends=True)
        await stack.apply("".join(line for line in lines if not line.startswith("  soft: {owner")))
        gone = await ask(stack, secret=scoped)
        assert (gone.status, gone.headers["x-upshift-reason"], gone.headers["x-should-retry"]) == (
            403,
            "not_allowed",
            "false",
        )
        assert "any workload of the plan with this key" in gone.problem()
        named = await ask(stack, secret=wide, headers={"x-upshift-workload": "soft"})
        assert named.status == 403
        assert "workload 'soft'; open to this key: calls, chat" in named.problem()
        assert (await ask(stack, secret=wide, headers={"x-upshift-workload": "chat"})).status == 200
        await stile.open()
        assert [(each.status, each.ended) for each in await asyncio.gather(*flying)] == [(200, True)] * 4
        await closed(stack)


# keys -----------------------------------------------------------------------------------------------------------------


async def test_a_revoked_key_is_refused_at_once_and_its_calls_in_flight_end_well(tmp_path: Path) -> None:
    async with turnstile() as stile, running(tmp_path) as stack:
        await stack.apply(plan_text(stile.url))
        secret = await key(stack)
        (found,) = stack.desk.keys(ADMIN)
        assert (await ask(stack, secret=secret)).status == 200
        flying = await in_flight(stack, stile, secret, 4)
        stack.desk.revoke(ADMIN, found.id)
        await stack.gateway.flow.regime.refresh()
        for dialect in ("openai", "anthropic"):
            refused = await ask(stack, secret=secret, dialect=dialect)
            assert refused.status == 401
            assert "is revoked since" in refused.problem()
        await stile.open()
        assert [(each.status, each.ended) for each in await asyncio.gather(*flying)] == [(200, True)] * 4
        await closed(stack)


async def test_a_rotated_key_goes_on_for_its_overlap(tmp_path: Path) -> None:
    clock = HandClock(NOON)
    async with running(tmp_path, clock=clock) as stack:
        old = await key(stack)
        (found,) = stack.desk.keys(ADMIN)
        assert (await ask(stack, secret=old)).status == 200
        new = stack.desk.rotate(ADMIN, found.id, overlap_seconds=3600).secret
        await stack.gateway.flow.regime.refresh()
        for seconds in (0, 3599):
            clock.set(NOON + seconds * 1_000_000)
            assert [(await ask(stack, secret=each)).status for each in (old, new)] == [200, 200]
        clock.set(NOON + 3_600_000_000)
        late = await ask(stack, secret=old)
        assert late.status == 401
        assert "expired" in late.problem()
        assert (await ask(stack, secret=new)).status == 200
        assert balance(stack).settled.tokens == sum(record.counted_tokens for record in await stack.records())
        await closed(stack)


# stopping -------------------------------------------------------------------------------------------------------------


async def test_a_graceful_stop_lets_streams_end_and_a_start_knows_what_was_used(tmp_path: Path) -> None:
    async with turnstile() as stile, running(tmp_path) as stack:
        await stack.apply(plan_text(stile.url))
        secret = await key(stack)
        flying = await in_flight(stack, stile, secret, 40)
        port = stack.gateway.port
        closing = asyncio.create_task(stack.gateway.close(grace_seconds=120))
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", port)
        await stile.open()
        heard = await asyncio.gather(*flying)
        await closing
        assert Counter((each.status, each.ended) for each in heard) == {(200, True): 40}
        found = verify(stack.db)
        assert (found.ok, found.calls, found.open_holds) == (True, 40, 0), found.problems
        used = balance(stack)
        assert used.settled.tokens == sum(sum(each.used()) for each in heard)

        stack.gateway = await start_gateway(stack.settings, stack.clock)
        assert isinstance(stack.gateway.ledger, SqliteLedger)
        assert stack.gateway.ledger.recovered.requests == ()
        assert balance(stack) == used
        reply = await use(stack, secret)
        assert reply.headers["x-upshift-budget"] == f"month tokens={used.settled.tokens + EACH}/100000"
        await closed(stack)


async def test_a_stop_without_grace_closes_the_books_of_what_it_cuts(tmp_path: Path) -> None:
    async with turnstile() as stile, running(tmp_path) as stack:
        await stack.apply(plan_text(stile.url))
        flying = await in_flight(stack, stile, await key(stack), 40)
        closing = asyncio.create_task(stack.gateway.close(grace_seconds=0))
        heard = await asyncio.gather(*flying, return_exceptions=True)
        assert all(isinstance(each, OSError | asyncio.IncompleteReadError) for each in heard)
        await stile.open()
        await closing
        found = verify(stack.db)
        assert (found.ok, found.calls, found.open_holds) == (True, 40, 0), found.problems
        records = [call.record for call in stack.desk.journal.calls(limit=100)]
        assert all(record.counted_tokens > 0 for record in records)
        assert {record.outcome for record in records} == {Outcome.CLIENT_LEFT}
        assert all(record.certainty is Certainty.UNKNOWN for record in records if not record.streamed)
        assert balance(stack).settled.tokens == sum(record.counted_tokens for record in records)
        stack.gateway = await start_gateway(stack.settings, stack.clock)
        assert isinstance(stack.gateway.ledger, SqliteLedger)
        assert stack.gateway.ledger.recovered.requests == ()
        await closed(stack)


async def test_a_second_gateway_on_the_same_ledger_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        secret = await key(stack)
        with pytest.raises(
            LedgerInUseError, match=rf"upshift\.db is in use by process {os.getpid()}; stop that gateway"
        ):
            await start_gateway(stack.settings, stack.clock)
        assert (await ask(stack, secret=secret)).status == 200
        assert (await get(stack, "/readyz", None)).status == 200
        await closed(stack)


async def test_a_kept_plan_that_cannot_be_read_freezes_neither_keys_nor_the_next_plan(stack: Stack) -> None:
    """As after a change of version: the plan in force stays, a revoked key is refused, a good plan gets in."""
    secret = stack.secret()
    await stack.gateway.flow.regime.refresh()
    before = stack.gateway.flow.regime.in_force.snapshot
    stack.desk.journal.apply_plan(PlanHash("unreadable"), b"{}", "unreadable", "another version", stack.clock.now())
    (kept,) = stack.desk.keys(ADMIN)
    stack.desk.journal.revoke_key(kept.id, stack.clock.now(), "the tests")
    await stack.gateway.flow.regime.refresh()
    assert stack.gateway.flow.regime.in_force.snapshot is before
    async with openai.AsyncOpenAI(base_url=f"{stack.base_url}/v1", api_key=secret, max_retries=0, timeout=60) as client:
        with pytest.raises(openai.AuthenticationError, match="revoked"):
            await client.chat.completions.create(model="big", messages=[{"role": "user", "content": "hello"}])
    await stack.apply(plan_text(stack.simulated_url(), "5k"))
    assert stack.gateway.flow.regime.in_force.snapshot.hash != before.hash


async def test_idle_connections_do_not_keep_what_was_in_force_before(tmp_path: Path) -> None:
    async with running(tmp_path, limit="1M") as stack, contextlib.AsyncExitStack() as kept:
        secret = await key(stack)
        for number in range(5):
            stack.desk.issue(ADMIN, name=f"key-{number}", tenant="acme", user="bob", workloads=["chat"])
            await stack.gateway.flow.regime.refresh()
            line = await kept.enter_async_context(Line(stack.gateway.port))
            for _ in range(2):
                assert (await line.call(secret, "Hi", max_tokens=5)).status == 200
        await stack.settled()
        gc.collect()
        now = stack.gateway.flow.regime.in_force
        own = [each for each in gc.get_objects() if type(each) is InForce and each.snapshot.hash == now.snapshot.hash]
        assert own == [now]
