"""Do capacity pools hold on real sockets: never more upstream than said, refusals in each dialect, no place lost?"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from tests.end_to_end.callers import Heard, Line
from tests.end_to_end.probe import get, key, post
from tests.end_to_end.stack import ADMIN, NOON, Stack, plan_text, running
from tests.end_to_end.turnstile import Turnstile, turnstile

from upshift.gateway.clock import Clock, HandClock
from upshift.model.key import Role
from upshift.model.metered import Outcome
from upshift.model.pool import PoolUse

SLOW = "[[simulate: delay=1, output_tokens=5]] please"
QUICK = "[[simulate: output_tokens=5]] please"


def plan(url: str, capacity: str, pools: str = "", other: str = "") -> str:
    """The tests' plan with a capacity for chat, and something for the workload `soft`."""
    extra = [
        ("gate: hard}", f"gate: hard, {capacity}}}"),
        ("workloads:\n", f"pools: {pools or '{}'}\nworkloads:\n"),
        ("gate: soft}", f"gate: soft{other and ', ' + other}}}"),
    ]
    return plan_text(url, "100M", extra=extra)


@asynccontextmanager
async def pooled(
    folder: Path, capacity: str, pools: str = "", other: str = "", clock: Clock | None = None
) -> AsyncIterator[tuple[Stack, Turnstile]]:
    async with turnstile() as gate, running(folder, plan=plan(gate.url, capacity, pools, other), clock=clock) as stack:
        yield stack, gate


async def call(stack: Stack, text: str = SLOW, user: str = "alice", workload: str = "chat", **how: Any) -> Heard:
    secret = await key(stack, user, workload=workload)
    async with Line(stack.gateway.port) as line:
        return await line.call(secret, text, max_tokens=20, **how)


async def use(stack: Stack) -> PoolUse:
    return (await stack.gateway.flow.pools.uses())[0]


async def until(stack: Stack, in_use: int, waiting: int) -> None:
    """Wait until so many have a place, and so many wait for one."""
    async with asyncio.timeout(120):
        while ((found := await use(stack)).in_use, found.waiting) != (in_use, waiting):  # noqa: ASYNC110 - nobody would set an event
            await asyncio.sleep(0.001)


async def test_fifty_clients_are_never_more_than_five_upstream_and_all_are_served(tmp_path: Path) -> None:
    async with pooled(tmp_path, "capacity: {concurrent: 5, wait: 10m}") as (stack, gate):
        calls = [
            asyncio.create_task(call(stack, user=f"u{number % 7}", stream=number % 2 == 0)) for number in range(50)
        ]
        await until(stack, 5, 45)
        for _ in range(10):
            await gate.until(5)
            assert gate.provider.server.in_flight == 5
            # Another workload has nothing to do with it.
            assert (await call(stack, QUICK, workload="soft")).status == 200
            await gate.step()
        heard = await asyncio.gather(*calls)
        assert Counter(each.status for each in heard) == {200: 50}
        assert await use(stack) == PoolUse("chat", 0, 0, 0)
        await stack.verified()


async def test_what_does_not_find_a_place_in_time_is_refused_and_holds_nothing(tmp_path: Path) -> None:
    async with pooled(tmp_path, "capacity: {concurrent: 1, queue: 2, wait: 50ms}") as (stack, gate):
        first = asyncio.create_task(call(stack))
        await gate.until(1)
        late = await asyncio.gather(*[call(stack) for _ in range(4)])
        assert {each.status for each in late} == {429}
        await gate.open()
        assert (await first).status == 200
        records = await stack.records()
        refused = [record for record in records if record.outcome is Outcome.REFUSED]
        assert {(each.status, each.reason, each.counted_tokens) for each in refused} == {(429, "pool_full", 0)}
        found = await use(stack)
        assert (found.in_use, found.waiting, found.refused) == (0, 0, 4)
        await stack.verified()


DIALECTS = {
    "openai": ("/v1/chat/completions", {"model": "big", "messages": [{"role": "user", "content": "x"}]}),
    "responses": ("/v1/responses", {"model": "big", "input": "x"}),
    "anthropic": (
        "/v1/messages",
        {"model": "sonnet", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
    ),
    "gemini": ("/v1beta/models/big:generateContent", {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}),
}


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
async def test_a_refusal_is_in_the_dialect_of_its_client_and_says_when_to_come_again(
    tmp_path: Path, dialect: str
) -> None:
    async with pooled(tmp_path, "capacity: {concurrent: 1, queue: 0}") as (stack, gate):
        first = asyncio.create_task(call(stack))
        await gate.until(1)
        path, body = DIALECTS[dialect]
        reply = await post(stack, path, json.dumps(body).encode(), await key(stack))
        assert reply.status == 429
        assert 1 <= int(reply.headers["retry-after"]) <= 60
        assert reply.headers["x-upshift-reason"] == "pool_full"
        assert reply.headers["x-upshift-pool"] == "chat pool concurrent"
        assert reply.headers["x-should-retry"] == "true"
        assert "x-upshift-budget" not in reply.headers
        assert reply.problem().startswith("The capacity pool chat of workload chat is full: it takes 1 calls at once.")
        said = reply.json()
        match dialect:
            case "anthropic":
                assert (said["type"], said["error"]["type"]) == ("error", "rate_limit_error")
            case "gemini":
                assert (said["error"]["code"], said["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
            case _:
                assert said["error"]["code"] == "rate_limit_exceeded"
        await gate.open()
        await first


async def test_the_official_clients_see_a_rate_limit(tmp_path: Path) -> None:
    async with pooled(tmp_path, "capacity: {requests: 1/min, queue: 0}", clock=HandClock(NOON)) as (stack, gate):
        await gate.open()
        assert (await call(stack, QUICK)).status == 200
        async with await stack.openai() as client:
            with pytest.raises(openai.RateLimitError) as refused:
                await client.chat.completions.create(model="big", messages=[{"role": "user", "content": "x"}])
        assert 50 <= int(refused.value.response.headers["retry-after"]) <= 60
        async with await stack.anthropic() as other:
            with pytest.raises(anthropic.RateLimitError):
                await other.messages.create(model="sonnet", max_tokens=9, messages=[{"role": "user", "content": "x"}])


async def test_a_client_that_leaves_the_queue_frees_its_place_in_it(tmp_path: Path) -> None:
    async with pooled(tmp_path, "capacity: {concurrent: 1, queue: 1, wait: 10m}") as (stack, gate):
        first = asyncio.create_task(call(stack))
        await gate.until(1)
        async with Line(stack.gateway.port) as line:
            waiting = asyncio.create_task(line.call(await key(stack), SLOW))
            await until(stack, 1, 1)
            line.hang_up(reset=True)
            await until(stack, 1, 0)
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await waiting
        second = asyncio.create_task(call(stack))
        await until(stack, 1, 1)
        await gate.open()
        assert [each.status for each in await asyncio.gather(first, second)] == [200, 200]
        left = [record for record in await stack.records() if record.outcome is Outcome.CLIENT_LEFT]
        assert [(each.status, each.counted_tokens) for each in left] == [(499, 0)]
        assert gate.provider.simulated.stats().requests == 2
        await stack.verified()


async def test_a_client_that_leaves_in_mid_answer_frees_its_place(tmp_path: Path) -> None:
    async with pooled(tmp_path, "capacity: {concurrent: 1, queue: 1, wait: 10m}") as (stack, gate):
        text = "[[simulate: slow_chunk=1, output_tokens=20]] please"
        async with Line(stack.gateway.port) as line:
            first = asyncio.create_task(line.call(await key(stack), text, stream=True))
            await gate.until(1)
            second = asyncio.create_task(call(stack))
            await until(stack, 1, 1)
            line.hang_up(reset=True)
            await gate.open()
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await first
        assert (await second).status == 200
        await until(stack, 0, 0)


async def test_a_change_of_plan_lets_in_who_waits(tmp_path: Path) -> None:
    async with pooled(tmp_path, "capacity: {concurrent: 1, wait: 10m}") as (stack, gate):
        calls = [asyncio.create_task(call(stack)) for _ in range(6)]
        await until(stack, 1, 5)
        await stack.apply(plan(gate.url, "capacity: {concurrent: 3, wait: 10m}"))
        await gate.until(3)
        await until(stack, 3, 3)
        await stack.apply(plan_text(gate.url, "100M"))
        # The pool is gone from the plan; who waited under the old one goes on under it.
        assert (await call(stack, QUICK)).status == 200
        await gate.open()
        assert {each.status for each in await asyncio.gather(*calls)} == {200}
        await until(stack, 0, 0)


async def test_a_shared_pool_keeps_each_workload_its_reserve(tmp_path: Path) -> None:
    shared = "{p: {concurrent: 4, queue: 0}}"
    async with pooled(tmp_path, "pool: {name: p, reserve: 50%}", shared, "pool: {name: p, reserve: 50%}") as (
        stack,
        gate,
    ):
        calls = [asyncio.create_task(call(stack, workload="soft")) for _ in range(5)]
        await gate.until(2)
        calls += [asyncio.create_task(call(stack)) for _ in range(3)]
        await gate.until(4)
        # Whoever gets no place is told so before one becomes free.
        async with asyncio.timeout(120):
            while sum(each.done() for each in calls) < 4:  # noqa: ASYNC110 - nobody would set an event
                await asyncio.sleep(0.001)
        await gate.open()
        heard = await asyncio.gather(*calls)
        assert Counter(each.status for each in heard[:5]) == {200: 2, 429: 3}
        assert Counter(each.status for each in heard[5:]) == {200: 2, 429: 1}


async def test_tokens_are_charged_as_used_and_a_refused_call_costs_nothing(tmp_path: Path) -> None:
    capacity = "capacity: {tokens: 3000/h, burst: 1h, queue: 0}"
    async with pooled(tmp_path, capacity, clock=HandClock(NOON)) as (stack, gate):
        await gate.open()
        text = "[[simulate: input_tokens=980, output_tokens=20]] please"
        heard = [await call(stack, text) for _ in range(5)]
        assert [each.status for each in heard] == [200, 200, 200, 429, 429]
        assert heard[3].headers["x-upshift-pool"] == "chat pool tokens"


async def test_a_call_that_its_budget_refuses_leaves_its_place(tmp_path: Path) -> None:
    async with turnstile() as gate:
        text = plan(gate.url, "capacity: {concurrent: 1, requests: 1/min, queue: 0}").replace("month: 100M", "month: 1")
        async with running(tmp_path, plan=text) as stack:
            assert [(await call(stack, QUICK)).status for _ in range(3)] == [402, 402, 402]
            assert await use(stack) == PoolUse("chat", 0, 0, 0, ())


async def test_an_admin_sees_how_full_they_are_and_nobody_else_does(tmp_path: Path) -> None:
    shared = "{p: {concurrent: 4, requests: 600/min}}"
    async with pooled(tmp_path, "pool: {name: p, reserve: 50%}", shared, "pool: p") as (stack, gate):
        admin = stack.desk.issue(ADMIN, name="root", role=Role.ADMIN).secret
        first = asyncio.create_task(call(stack))
        await gate.until(1)
        (shown,) = (await get(stack, "/upshift/v1/pools", admin)).json()["pools"]
        assert shown == {
            "pool": "p", "limits": "4 at once, 600/min requests", "concurrent": 4, "in_use": 1, "waiting": 0,
            "refused": 0, "workloads": [
                {"workload": "chat", "in_use": 1, "waiting": 0, "reserve": "2 at once, 300/min requests"},
                {"workload": "soft", "in_use": 0, "waiting": 0, "reserve": ""},
            ],
        }  # fmt: skip
        assert (await get(stack, "/upshift/v1/pools", await key(stack))).status == 403
        await gate.open()
        await first
