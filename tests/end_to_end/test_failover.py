"""Does a call survive its provider, is nobody billed twice without a record, and are all holds given back?"""

import asyncio
import contextlib
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end import fault_table
from tests.end_to_end.callers import Line
from tests.end_to_end.fault_table import PAGE, Cell, cells, page
from tests.end_to_end.probe import body_of, closed, key, post
from tests.end_to_end.routes import PLAN, Routes, routes
from tests.http.sockets import until

from upshift.gateway.clock import HandClock
from upshift.model.ids import ProviderId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import MICROS
from upshift.model.tokens import Certainty
from upshift.simulated.tokens import count_tokens
from upshift.traffic.health import State

FIRST, SECOND = ProviderId("first"), ProviderId("second")
START = 1_793_491_200 * MICROS  # 2026-11-01


@pytest.fixture
async def found(tmp_path: Path) -> AsyncIterator[Routes]:
    """An installation in which time passes."""
    async with routes(tmp_path) as started:
        yield started


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[Routes]:
    """An installation in which time stands still, so that a circuit that has opened stays open."""
    async with routes(tmp_path, HandClock(START)) as started:
        yield started


async def sound(found: Routes) -> list[Metered]:
    """Every bill has a record of its own that counts at least as much; nothing is held; the ledger is in order."""
    records = await found.records()
    for name, provider in found.providers.items():
        counted = [record.counted_tokens for record in records if record.provider == name and record.counted_tokens]
        billed = [bill.usage.total for bill in provider.billed]
        assert len(counted) >= len(billed), name
        assert all(more >= less for more, less in zip(sorted(counted)[::-1], sorted(billed)[::-1], strict=False)), name
    await closed(found.stack)
    return records


# the matrix of faults -------------------------------------------------------------------------------------------------


async def test_the_matrix_of_faults_is_as_published(found: Routes) -> None:
    happened = await cells(found)
    for cell in happened:
        check(cell)
    await sound(found)
    assert page(happened) == PAGE.read_text(), f"out of date: python -m {fault_table.__name__}"


def check(cell: Cell) -> None:
    """What holds of every fault under every rule."""
    reply, records = cell.reply, cell.records
    assert reply.headers["x-upshift-request"] in {record.request for record in records}, cell.where
    if reply.status != 200:
        assert reply.problem(), cell.where
    for name, bills in cell.bills.items():
        assert len(bills) <= 1, cell.where
        mine = [record for record in records if record.provider == name]
        counted = sum(record.counted_tokens for record in mine)
        assert counted >= sum(bill.usage.total for bill in bills), cell.where
        assert len([record for record in mine if record.counted_tokens]) >= len(bills), cell.where
        for record in mine:
            if record.outcome is Outcome.SERVED and record.certainty is Certainty.EXACT:
                assert [bill.usage for bill in bills] == [record.usage], cell.where
            if record.certainty is Certainty.UNKNOWN:
                assert record.cost is None, cell.where
    served = [record for record in records if record.outcome is Outcome.SERVED]
    assert len(served) == (cell.seen() == "200: the answer"), cell.where


# two attempts at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_of_two_attempts_the_first_answer_wins_and_the_other_counts_at_its_hold(
    found: Routes, stream: bool
) -> None:
    found.first.script.append("delay=1")
    reply = await found.ask("hedged", stream=stream)
    assert reply.status == 200
    assert reply.headers["x-upshift-provider"] == "second"
    assert reply.headers["x-upshift-reason"] == "hedged"
    assert reply.headers["x-upshift-tried"] == "first overtaken"
    records = {record.provider: record for record in await sound(found)}
    lost, won = records["first"], records["second"]
    assert (lost.outcome, lost.certainty, lost.reason) == (Outcome.UPSTREAM_ERROR, Certainty.UNKNOWN, "overtaken")
    assert lost.cost is None
    assert lost.counted_tokens >= 100
    assert (won.outcome, won.certainty, won.reason) == (Outcome.SERVED, Certainty.EXACT, "hedged")
    assert won.request == reply.headers["x-upshift-request"] != lost.request
    assert [len(found.first.billed), len(found.second.billed)] == [1, 1]


async def test_a_hedge_that_fails_leaves_the_first_alone(found: Routes) -> None:
    found.first.script.append("delay=1")
    found.second.script.append("status=503")
    asked = asyncio.create_task(found.ask("hedged"))
    await found.second.until_asked(1)
    await found.second.settled()
    await until(lambda: not found.stack.gateway.flow.board.untroubled(SECOND))
    await found.first.settled()
    reply = await asked
    assert reply.status == 200
    assert reply.headers["x-upshift-tried"] == "second status-503"
    records = await sound(found)
    assert sorted((each.provider, each.outcome, each.counted_tokens > 0) for each in records) == [
        ("first", Outcome.SERVED, True),
        ("second", Outcome.UPSTREAM_ERROR, False),
    ]


@pytest.mark.parametrize("max_tokens", [None, 2900])
async def test_where_the_budget_has_no_room_for_a_hedge_the_first_attempt_goes_on(
    found: Routes, max_tokens: int | None
) -> None:
    found.first.script.append("delay=1")
    asked = asyncio.create_task(found.ask("poor", max_tokens=max_tokens))
    await found.first.until_asked(1)
    # Longer than the plan waits before it hedges, and from later on: timers end in their order, however late it is, and
    # what the gateway's leads to is done within a few turns of the loop.
    await asyncio.sleep(0.1)
    for _ in range(100):
        await asyncio.sleep(0)
    await found.first.settled()
    reply = await asked
    assert reply.status == 200, reply.body
    assert found.asked() == [1, 0, 0]
    assert reply.headers["x-upshift-tried"] == "second no-budget"
    records = sorted(await sound(found), key=lambda each: each.outcome != Outcome.SERVED)
    # The smaller room that is left for the other is of no use to it, and given back.
    assert [(each.provider, each.outcome, each.reason) for each in records] == [
        ("first", Outcome.SERVED, "budget-nearly-reached:answer-limited" if max_tokens is None else ""),
        *([("", Outcome.REFUSED, "no-budget")] if max_tokens else []),
    ]
    assert all(each.certainty is Certainty.EXACT for each in records)


async def test_where_it_has_little_after_an_attempt_that_may_be_billed_the_next_one_is_shorter(found: Routes) -> None:
    found.first.script.append("reset")
    reply = await found.ask("scant", max_tokens=2900)
    assert reply.status == 200
    assert "at most" in reply.headers["x-upshift-notice"]
    records = {record.provider: record for record in await sound(found)}
    assert (records["first"].certainty, records["second"].certainty) == (Certainty.UNKNOWN, Certainty.EXACT)
    assert sum(record.counted_tokens for record in records.values()) <= 3000


async def test_where_it_has_none_after_an_attempt_that_may_be_billed_that_one_is_told(found: Routes) -> None:
    found.first.script.append("reset")
    reply = await found.ask("scant", max_tokens=None)
    assert reply.status == 502
    assert "first" in reply.problem()
    assert reply.headers["x-upshift-tried"] == "first reset, second no-budget"
    assert found.asked() == [1, 0, 0]
    (record,) = await sound(found)
    assert (record.certainty, record.reason) == (Certainty.UNKNOWN, "provider-reset")


# across dialects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_goes_on_at_a_provider_of_another_dialect(found: Routes, dialect: str, stream: bool) -> None:
    found.first.script.append("status=503")
    text = "Hi [[simulate: output_tokens=40]]"
    reply = await found.ask("failover", text, dialect=dialect, model="mixed", stream=stream)
    assert reply.status == 200, reply.body
    assert reply.headers["x-upshift-provider"] == "claude"
    assert reply.headers["x-upshift-tried"] == "first status-503"
    if stream:
        assert count_tokens(reply.text()) == 40
        assert (b"[DONE]" if dialect == "openai" else b"message_stop") in reply.body
    else:
        used = reply.json()["usage"]
        assert used["completion_tokens" if dialect == "openai" else "output_tokens"] == 40
    (record,) = await sound(found)
    assert (record.provider, record.served_model, record.dialect) == ("claude", "mixed", dialect)
    assert (record.reason, record.usage.output) == ("failover:same-model", 40)
    # $3 and $15 per million there, though it was held at the dearer of the two.
    assert record.cost == record.usage.input * 3000 + 40 * 15_000


async def test_what_the_next_provider_has_no_words_for_stays_with_the_failure_before(found: Routes) -> None:
    found.first.script.append("status=503")
    body = body_of("openai", model="mixed", logprobs=True, max_tokens=50)
    secret = await key(found.stack, workload="failover")
    reply = await post(found.stack, "/v1/chat/completions", body, secret)
    assert reply.status == 503
    assert reply.headers["x-upshift-tried"] == "first status-503, claude cannot-carry"
    (record,) = await sound(found)
    assert (record.provider, record.reason, record.counted_tokens) == ("first", "provider-status-503", 0)


async def test_a_provider_is_not_sent_what_another_one_thought_and_signed(found: Routes) -> None:
    thought = {"format": "anthropic-claude-v1", "type": "reasoning.text", "text": "Hm.", "signature": "c2lnbmVk"}
    history = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello.", "reasoning": "Hm.", "reasoning_details": [thought]},
        {"role": "user", "content": "Again [[simulate: output_tokens=20]]"},
    ]
    body = body_of("openai", model="big", messages=history, max_tokens=50)
    reply = await post(found.stack, "/v1/chat/completions", body, await key(found.stack, workload="failover"))
    assert reply.status == 200, reply.body
    (sent,) = found.first.bodies
    assert json.loads(sent)["messages"] == [history[0], {"role": "assistant", "content": "Hello."}, history[2]]


# circuits -------------------------------------------------------------------------------------------------------------


async def test_a_circuit_opens_is_tried_by_one_call_and_closes(tmp_path: Path) -> None:
    clock = HandClock(START)
    async with routes(tmp_path, clock) as found:
        found.first.always = "status=503"
        for _ in range(5):
            assert (await found.ask("failover")).headers["x-upshift-tried"] == "first status-503"
        assert found.asked() == [5, 5, 0]
        for _ in range(5):
            assert "x-upshift-tried" not in (await found.ask("failover")).headers
        assert found.asked() == [5, 10, 0]
        clock.advance(1.1)
        await found.ask("failover")
        assert found.asked() == [6, 11, 0]  # the trial failed, and the call went on
        clock.advance(1.1)
        await found.ask("failover")
        assert found.asked() == [6, 12, 0]  # the pause has doubled
        clock.advance(1.1)
        found.first.always = "delay=1"
        trial = asyncio.create_task(found.ask("failover"))
        await found.first.until_asked(7)
        assert {reply.status for reply in await asyncio.gather(*(found.ask("failover") for _ in range(10)))} == {200}
        assert found.asked() == [7, 22, 0]
        found.first.always = ""
        await found.first.settled()
        assert (await trial).status == 200
        for _ in range(5):
            await found.ask("failover")
        assert found.asked() == [12, 22, 0]
        await sound(found)


async def test_a_route_without_another_is_sent_calls_whatever_is_known_of_it(tmp_path: Path) -> None:
    clock = HandClock(START)
    async with routes(tmp_path, clock) as found:
        board = found.stack.gateway.flow.board
        # All at once, so that the circuit opens while calls are in flight that had found it closed.
        found.first.always = "delay=1,status=503"
        for workload in ("none", "retry"):
            many = [asyncio.create_task(found.ask(workload)) for _ in range(12)]
            await found.first.until_asked(found.first.asked + 12)
            await found.first.settled()
            async with asyncio.timeout(120):
                while not all(task.done() for task in many):
                    await found.first.settled()
                    await asyncio.sleep(0)
            assert {task.result().status for task in many} == {503}
        assert board.circuit(FIRST).state(clock.now()) is State.OPEN
        found.first.always = ""
        assert (await found.ask("none")).status == 200
        assert board.circuit(FIRST).state(clock.now()) is State.CLOSED
        await sound(found)


async def test_answers_that_break_off_open_a_circuit_too(still: Routes) -> None:
    still.first.always = "close_after=1"
    for _ in range(20):
        reply = await still.ask("failover", stream=True)
        assert reply.status == 200
        if "error" not in reply.body.decode():
            break
    assert still.stack.gateway.flow.board.circuit(FIRST).state(still.stack.clock.now()) is State.OPEN
    await sound(still)


# where calls go -------------------------------------------------------------------------------------------------------


async def test_a_session_stays_on_the_route_that_has_its_cache_until_that_is_out(still: Routes) -> None:
    still.first.script.append("status=503")
    mine, other = {"x-upshift-session": "one"}, {"x-upshift-session": "two"}
    await still.ask("failover", headers=mine)
    assert still.asked() == [1, 1, 0]
    for _ in range(3):
        await still.ask("failover", headers=mine)
        await still.ask("failover", headers=other)
    assert still.asked() == [4, 4, 0]
    still.second.always = "status=503"
    for _ in range(5):
        assert (await still.ask("failover", headers=mine)).status == 200
    still.second.always = ""
    before = still.asked()
    assert (await still.ask("failover", headers=mine)).status == 200
    assert still.asked() == [before[0] + 1, *before[1:]]
    await sound(still)


async def test_a_pin_is_never_left(found: Routes) -> None:
    found.first.always = "status=503"
    for model in ("big", "mixed"):
        for _ in range(4):
            reply = await found.ask("pinned", model=model)
            assert reply.status == 503
            assert {each.split()[0] for each in reply.headers.get("x-upshift-tried", "first").split(", ")} == {"first"}
    assert found.asked()[1:] == [0, 0]
    assert (await found.ask("pinned", model="small")).status == 403
    await sound(found)


async def test_a_task_finds_its_tier_by_its_header_and_by_its_shape(found: Routes) -> None:
    secret = await key(found.stack, workload="tasks")
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}

    async def served(headers: dict[str, str], **fields: Any) -> str:
        body = body_of("openai", model="tasks", max_tokens=50, **fields)
        reply = await post(found.stack, "/v1/chat/completions", body, secret, headers)
        return reply.headers.get("x-upshift-served-model", str(reply.status))

    assert await served({}) == "big"
    assert await served({"x-upshift-task": "routine"}) == "small"
    assert await served({}, tools=[tool]) == "small"
    before = len(await found.stack.records())
    for _ in range(3):
        assert await served({"x-upshift-task": "no-such"}) in ("400", "403", "404")
    assert len(await found.stack.records()) == before + 3
    await sound(found)


async def test_weights_are_the_shares_of_a_thousand_calls(found: Routes) -> None:
    random.seed(2026)
    secret = await key(found.stack, workload="shared")
    async with Line(found.stack.gateway.port) as line:
        for _ in range(1000):
            assert (await line.call(secret, "Hi [[simulate: output_tokens=1]]", max_tokens=5)).status == 200
    first, second, _ = found.asked()
    assert first + second == 1000
    assert abs(first - 750) <= 3 * (1000 * 0.75 * 0.25) ** 0.5
    await sound(found)


# an outage under load -------------------------------------------------------------------------------------------------

CALLERS, CALLS = 50, 2000


@dataclass
class Outage:
    """What fifty clients saw of an outage."""

    served: int = 0
    in_mid_answer: int = 0
    """Answers that had begun, and ended in an error or not at all."""
    failed: Counter[int] = field(default_factory=Counter)
    """Other failures by status."""
    late: Counter[str] = field(default_factory=Counter)
    """Who served the last hundred calls."""


async def outage(found: Routes, clock: HandClock, workload: str, how: str) -> Outage:
    """Many calls; for the middle third of them the first provider is down."""
    secret = await key(found.stack, workload=workload)
    numbers, seen = iter(range(CALLS)), Outage()

    async def down() -> None:
        if how == "says so":
            found.first.always = "status=503"
        else:
            await found.first.close(120.0 if how == "stops" else 0.0)

    async def up() -> None:
        found.first.always = ""
        if how != "says so":
            await found.first.open()

    async def caller() -> None:
        async with Line(found.stack.gateway.port) as line:
            for number in numbers:
                clock.advance(0.02)
                if number == CALLS // 3:
                    await down()
                elif number == 2 * CALLS // 3:
                    await up()
                text = "Hi [[simulate: output_tokens=12]]"
                heard = await line.call(secret, text, max_tokens=50, stream=number % 2 == 1)
                if heard.status != 200:
                    seen.failed[heard.status] += 1
                elif heard.streamed and b"[DONE]" not in heard.body:
                    assert b'"error"' in heard.body
                    seen.in_mid_answer += 1
                else:
                    seen.served += 1
                if number >= CALLS - 100:
                    seen.late[heard.headers.get("x-upshift-provider", "first")] += 1

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return seen


@pytest.mark.parametrize("how", ["says so", "stops", "is cut"])
@pytest.mark.parametrize("workload", ["failover", "never"])
async def test_an_outage_under_load_passes_by_itself(tmp_path: Path, workload: str, how: str) -> None:
    """At most one call in a thousand fails that had no answer yet, unless what was cut is never repeated.

    Whoever is in the middle of an answer when the provider is cut off loses it; and then so does whoever was just
    being sent there. Both are as many as were in flight at that moment, however many calls there are in all.
    """
    clock = HandClock(START)
    async with routes(tmp_path, clock) as found:
        seen = await outage(found, clock, workload, how)
        failed = seen.failed.total()
        assert seen.served + seen.in_mid_answer + failed == CALLS
        assert found.second.asked > CALLS // 4
        assert seen.late == {"first": 100}
        assert failed <= (CALLS // 1000 if workload == "failover" or how == "says so" else CALLERS), seen
        assert set(seen.failed) <= {502}
        assert seen.in_mid_answer <= (CALLERS if how == "is cut" else 0), seen
        await sound(found)


# time, and clients who leave ------------------------------------------------------------------------------------------


async def test_no_attempt_lasts_longer_than_the_client_waits(found: Routes) -> None:
    found.first.always = "delay=1"
    calls = [found.ask(workload, headers={"x-stainless-timeout": "2"}) for workload in ("none", "failover") * 3]
    for reply in await asyncio.gather(*calls):
        assert reply.status == 504
        waited = re.search(r"no answer within (\d\.\d) seconds", reply.problem())
        assert waited
        assert 0 < float(waited[1]) <= 2
    # Who gives a provider no time says nothing of it.
    assert found.stack.gateway.flow.board.circuit(FIRST).state(found.stack.clock.now()) is State.CLOSED
    assert {record.certainty for record in await sound(found)} == {Certainty.UNKNOWN}


async def test_nothing_is_tried_again_that_the_client_would_not_wait_for(found: Routes) -> None:
    found.first.script.append("status=503,retry_after=20")
    reply = await found.ask("retry", headers={"x-stainless-timeout": "20"})
    assert (reply.status, reply.headers["retry-after"]) == (503, "20")
    assert found.asked() == [1, 0, 0]
    await sound(found)


async def hung_up(found: Routes, workload: str, *, after: int, stream: bool = False) -> None:
    """A call whose client leaves once the first provider was asked so many times."""
    secret = await key(found.stack, workload=workload)
    async with Line(found.stack.gateway.port) as line:
        asked = asyncio.create_task(line.call(secret, "Hi [[simulate: output_tokens=20]]", stream=stream))
        await found.first.until_asked(after)
        line.hang_up(reset=True)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await asked
        async with asyncio.timeout(120):
            while found.stack.gateway.server.open_connections:  # noqa: ASYNC110 - until the gateway knows
                await asyncio.sleep(0)


async def test_a_client_that_leaves_in_a_pause_is_not_called_for_again(found: Routes) -> None:
    found.first.script.append("status=503,retry_after=20")
    await hung_up(found, "retry", after=1)
    async with asyncio.timeout(120):
        (record,) = await sound(found)
    assert (record.outcome, record.status, record.reason) == (Outcome.CLIENT_LEFT, 499, "client-left")
    assert record.counted_tokens == 0
    assert found.asked() == [1, 0, 0]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("workload", ["none", "failover", "unsure", "hedged"])
async def test_an_attempt_is_cut_off_when_its_client_leaves_and_counts_at_its_hold(
    tmp_path: Path, workload: str, stream: bool
) -> None:
    plan = PLAN.replace("60s", "120s").replace("hedge_after: 50ms", "hedge_after: 60s")
    async with routes(tmp_path, plan=plan) as found:
        found.first.script.append("delay=1")
        await hung_up(found, workload, after=1, stream=stream)
        await cut_off(found)


async def cut_off(found: Routes) -> None:
    """The first provider's only call was, and its record says so."""
    upstream = found.stack.gateway.flow.routes.to(found.stack.gateway.flow.regime.in_force.snapshot.providers[FIRST])
    async with asyncio.timeout(120):
        # While the provider still stands still: it is not waited for.
        await found.stack.settled()
        while upstream.upstream.open_connections:  # noqa: ASYNC110 - until the loop has closed it
            await asyncio.sleep(0)
    records = await sound(found)
    assert [(record.provider, record.outcome) for record in records] == [("first", Outcome.CLIENT_LEFT)]
    assert (records[0].certainty, records[0].status, records[0].cost) == (Certainty.UNKNOWN, 499, None)
    assert found.asked() == [1, 0, 0]
    # Who was cut off by us is none the worse for it.
    assert found.stack.gateway.flow.board.untroubled(FIRST)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_attempt_that_is_drained_goes_on_without_its_client(tmp_path: Path, stream: bool) -> None:
    plan = PLAN.replace('"FIRST/v1",', '"FIRST/v1", on_disconnect: drain,')
    async with routes(tmp_path, plan=plan) as found:
        found.first.script.append("delay=1")
        await hung_up(found, "failover", after=1, stream=stream)
        (record,) = await sound(found)
        assert (record.outcome, record.certainty) == (Outcome.CLIENT_LEFT, Certainty.EXACT)
        assert record.usage == found.first.billed[0].usage


async def test_a_client_that_has_only_closed_its_half_still_gets_its_answer(found: Routes) -> None:
    found.first.script.append("delay=1")
    secret = await key(found.stack, workload="failover")
    body = body_of("openai", model="big", max_tokens=50)
    reader, writer = await asyncio.open_connection("127.0.0.1", found.stack.gateway.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {secret}\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    writer.write_eof()
    await found.first.until_asked(1)
    await found.first.settled()
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    (record,) = await sound(found)
    assert (record.outcome, record.certainty) == (Outcome.SERVED, Certainty.EXACT)


async def test_a_client_that_leaves_before_a_failure_is_not_called_for_again(tmp_path: Path) -> None:
    plan = PLAN.replace('"FIRST/v1",', '"FIRST/v1", on_disconnect: drain,')
    async with routes(tmp_path, plan=plan) as found:
        found.first.script.append("delay=1,status=503")
        await hung_up(found, "failover", after=1)
        (record,) = await sound(found)
        assert (record.outcome, record.counted_tokens) == (Outcome.CLIENT_LEFT, 0)
        assert found.asked() == [1, 0, 0]
