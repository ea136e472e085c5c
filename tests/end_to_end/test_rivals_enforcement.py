"""Do ceilings hold where those of other gateways were reported not to? Each test cites the public reports it is for."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.end_to_end.probe import DIALECTS, MODELS, PATHS, ask, balance, body_of, closed, get, key, post, spend
from tests.end_to_end.stack import Stack, plan_text, running

from upshift.gateway.clock import HandClock
from upshift.model.budget import NOTHING
from upshift.model.span import to_instant
from upshift.plan_file import PlanError, loads


def at(*moment: int) -> HandClock:
    """A clock that stands at a moment of UTC."""
    return HandClock(to_instant(datetime(*moment, tzinfo=UTC)))  # type: ignore[misc,arg-type]  # year, month, day, ...


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_concurrent_calls_do_not_pass_the_same_balance(tmp_path: Path, dialect: str) -> None:
    """Check-then-charge: litellm 34732, 40095, 35567; new-api 6609."""
    async with running(tmp_path, limit="20k") as stack:
        alice = await key(stack)
        calls = [
            ask(stack, f"{number} [[simulate: output_tokens=2000]]", secret=alice, dialect=dialect, max_tokens=2000)
            for number in range(40)
        ]
        statuses = [reply.status for reply in await asyncio.gather(*calls)]
        assert statuses.count(200) >= 9
        assert statuses.count(200) + statuses.count(402) == 40
        spent = balance(stack).settled.tokens
        assert 19_000 < spent <= 20_000
        assert sum(bill.usage.total for bill in stack.provider.simulated.billed) == spent
        await closed(stack)


async def test_calls_that_failed_leave_nothing_held_that_blocks_their_user(tmp_path: Path) -> None:
    """Leaked holds: litellm 27639; otari 128."""
    async with running(tmp_path, limit="20k") as stack:
        alice = await key(stack)
        for _ in range(25):
            assert (await ask(stack, "[[simulate: status=500]]", secret=alice)).status == 500
            refused = await ask(stack, secret=alice, model="nonsense")
            assert refused.status == 404
        assert balance(stack).settled == NOTHING
        await closed(stack)
        all_of_it = await ask(stack, "[[simulate: output_tokens=19000]]", secret=alice, max_tokens=19_000)
        assert all_of_it.json()["usage"]["completion_tokens"] == 19_000


async def test_nobody_with_budget_left_is_refused_under_load(tmp_path: Path) -> None:
    """False 'budget exceeded', reported cost = limit + recent spend: litellm 36926, 30460, 28283, 27735."""
    async with running(tmp_path, limit="60k") as stack:
        alice = await key(stack)
        # Each call may cost 32,000 tokens, so few fit side by side; all of them together use 12,000.
        calls = [
            ask(stack, f"{number} [[simulate: output_tokens=40]]", secret=alice, stream=number % 2 == 0)
            for number in range(200)
        ]
        replies = await asyncio.gather(*calls)
        assert [reply.status for reply in replies] == [200] * 200
        records = await stack.records()
        assert balance(stack).settled.tokens == sum(record.usage.total for record in records) < 20_000
        assert {record.usage.output for record in records} == {40}
        await closed(stack)


def test_a_plan_cannot_leave_a_tier_without_a_ceiling_by_mistake() -> None:
    """Enforcement silently off, or everybody blocked, where no budget was set: litellm 26672, 20615."""
    hole = [
        ("hard: {overage: hard-cap, ceilings: {free: {month: 20k}, pro: {month: 100k}}", "hard: {overage: hard-cap")
    ]
    with pytest.raises(PlanError, match="tier 'pro' has no ceiling, though user alice of tenant acme can call"):
        loads(plan_text("http://127.0.0.1:1", extra=hole))


async def test_a_user_who_was_never_seen_is_served_within_the_default_tier(stack: Stack) -> None:
    """Blocked with no budget set: litellm 20615."""
    app = await key(stack, user="", workload="chat")
    reply = await ask(stack, secret=app, headers={"x-upshift-user": "newcomer"})
    assert reply.status == 200
    assert reply.headers["x-upshift-budget"].endswith("/20000")
    (record,) = await stack.records()
    assert (record.user, record.tier) == ("newcomer", "free")


OTHERS = [
    "/v1/completions",
    "/v1/responses/compact",
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/files",
    "/v1/batches",
    "/v1/messages/batches",
    "/v1/complete",
    "/v1/chat/completions/",
    "/v1//chat/completions",
    "/v1/./chat/completions",
    "/v1/x/../chat/completions",
    "/v1/chat%2fcompletions",
    "/V1/Chat/Completions",
    "/chat/completions",
    "/openai/v1/chat/completions",
    "/openai/deployments/big/chat/completions",
    "/anthropic/v1/messages",
    "/v1/messages/",
    "/v1beta/tunedModels/big:generateContent",
    "/pass-through/openai/v1/chat/completions",
    "/simulated/bills",
    "/",
]


async def test_no_other_route_reaches_a_provider(stack: Stack) -> None:
    """Pass-through routes dodge the budget: bifrost 2873."""
    alice = await key(stack)
    for path in OTHERS:
        for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"GET"):
            body = b"" if method == b"GET" else body_of("openai")
            reply = await post(stack, path, body, alice, method=method)
            assert reply.status == 404, (method, path)
    for dialect in DIALECTS:
        for method in (b"GET", b"PUT", b"DELETE"):
            body = b"" if method == b"GET" else body_of(dialect)
            reply = await post(stack, PATHS[dialect], body, alice, method=method)
            assert reply.status == 404
            assert "POST /v1/messages" in reply.problem()
    seen = stack.provider.simulated.stats()
    assert (seen.requests, seen.refused) == (0, {})
    assert await stack.records() == []


@pytest.mark.parametrize("path", ["/v1/chat/completions?x=1", "/v1/messages?beta=true"])
async def test_a_query_does_not_hide_a_call_from_its_budget(tmp_path: Path, path: str) -> None:
    """Routes that dodge the budget: bifrost 2873."""
    dialect = "anthropic" if "messages" in path else "openai"
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack)
        assert (await post(stack, path, body_of(dialect), alice)).status == 200
        assert balance(stack).settled.tokens > 0
        await spend(stack, alice, dialect=dialect, max_tokens=1000)
        assert (await post(stack, path, body_of(dialect), alice)).status == 402


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_caps_fire_on_streams_that_never_asked_for_usage(tmp_path: Path, dialect: str) -> None:
    """Streams priced at zero, so that caps never fire: litellm 37923, 40100; otari 256."""
    async with running(tmp_path, extra=[("pro: {month: 100k}}, ask", "pro: {month: $0.05}}, ask")]) as stack:
        alice = await key(stack)
        for _ in range(40):
            reply = await ask(
                stack, "[[simulate: output_tokens=300]]", secret=alice, dialect=dialect, stream=True, max_tokens=300
            )
            if reply.status != 200:
                break
        assert reply.status == 402
        assert "of $0.05" in reply.problem()
        assert 45_000_000 < balance(stack).settled.nano <= 50_000_000


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_exhausted_budget_blocks_neither_models_nor_the_budget_view(tmp_path: Path, dialect: str) -> None:
    """GET /v1/models blocked with the budget: litellm 31078."""
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack)
        assert (await spend(stack, alice, max_tokens=1000)).status == 402
        version = {"anthropic-version": "2023-06-01"} if dialect == "anthropic" else {}
        listed = await get(stack, "/v1/models", alice, version)
        assert listed.status == 200
        assert MODELS[dialect] in [model["id"] for model in listed.json()["data"]]
        assert (await get(stack, f"/v1/models/{MODELS[dialect]}", alice, version)).status == 200
        view = await get(stack, "/upshift/v1/budget", alice)
        assert view.status == 200
        (line,) = view.json()["workloads"][0]["budgets"]
        assert line["tokens"]["used"] >= 2900
        assert line["notices"] == ["reached: the tokens budget is used up"] or line["tokens"]["share"] > 0.9


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_refusal_says_which_budget_whose_how_much_until_when_and_whom_to_ask(
    tmp_path: Path, dialect: str
) -> None:
    """Errors that do not say which budget: litellm 14144."""
    async with running(tmp_path, limit="3k", clock=at(2026, 11, 20, 12)) as stack:
        reply = await spend(stack, await key(stack), dialect=dialect, max_tokens=1000)
        assert reply.status == 402
        said = reply.problem()
        for part in (
            "the month budget of alice for workload chat (acme)",
            "of 3k tokens",
            "It resets on 2026-12-01 00:00 (Europe/Berlin)",
            "Owner: ada@acme.example",
            "Ask #ai-platform",
            "Still open:",
        ):
            assert part in said
        assert reply.headers["x-upshift-budget"].startswith("acme/alice/chat/included/month/2026-11 ")
        assert reply.headers["x-upshift-resets-at"] == "2026-12-01T00:00:00+01:00"
        assert reply.headers["x-upshift-reason"] == "over_budget"
        assert reply.headers["x-should-retry"] == "false"
        kind = reply.json()["error"]["type"]
        assert kind == ("insufficient_quota" if dialect == "openai" else "billing_error")


async def test_a_month_is_a_calendar_month_in_the_tenants_zone(tmp_path: Path) -> None:
    """Windows that are 30 days from the epoch: envoy 2469; agentgateway."""
    clock = at(2026, 11, 30, 22, 59, 50)
    async with running(tmp_path, limit="3k", clock=clock) as stack:
        berlin, new_york = await key(stack), await key(stack, "gail", "globex")
        assert (await spend(stack, berlin, max_tokens=1000)).status == 402
        assert (await spend(stack, new_york, max_tokens=1000)).status == 402
        clock.advance(20)  # midnight has struck in Berlin, in New York it is six in the evening
        assert (await ask(stack, secret=berlin)).status == 200
        refused = await ask(stack, secret=new_york)
        assert refused.status == 402
        assert "It resets on 2026-12-01 00:00 (America/New_York)" in refused.problem()
        clock.advance(6 * 3600)
        assert (await ask(stack, secret=new_york)).status == 200
        # A month has the length it has: still spent on the last evening of a February, open with March.
        clock.set(at(2027, 2, 1).now())
        assert (await spend(stack, berlin, max_tokens=1000)).status == 402
        clock.set(at(2027, 2, 28, 22, 59, 59).now())
        assert (await ask(stack, secret=berlin)).status == 402
        clock.set(at(2027, 2, 28, 23).now())
        assert (await ask(stack, secret=berlin)).status == 200
        periods = {account.key.period for account in stack.desk.journal.balances(tenant="acme")}
        await closed(stack)
        assert periods >= {"2026-11", "2026-12", "2027-02"}
