"""Are there ways around a ceiling, or around what a caller is told? Each was found open once, and closed."""

from pathlib import Path

import pytest
from tests.end_to_end.probe import ask, balance, closed, key, recording
from tests.end_to_end.stack import Stack, plan_text, running

from upshift.model.budget import Bucket, BudgetKey
from upshift.model.ids import TenantId, UserId, WorkloadId
from upshift.model.metered import Outcome
from upshift.store.sqlite_ledger import SqliteLedger

ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"big","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"hello"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":%d,"completion_tokens":5,"total_tokens":%d}}'
)


@pytest.mark.parametrize("status", [204, 301, 307])
async def test_a_redirect_never_takes_the_client_and_its_key_elsewhere(tmp_path: Path, status: int) -> None:
    async with recording() as provider, running(tmp_path) as stack:
        await stack.apply(plan_text(provider.url))
        provider.status = status
        provider.headers.append((b"location", b"http://127.0.0.1:9/elsewhere"))
        reply = await ask(stack)
        assert reply.status == 502
        assert "location" not in reply.headers
        (record,) = await stack.records()
        assert record.outcome is Outcome.UPSTREAM_ERROR
        await closed(stack)


async def test_a_provider_cannot_speak_in_our_name(tmp_path: Path) -> None:
    async with recording() as provider, running(tmp_path) as stack:
        await stack.apply(plan_text(provider.url))
        provider.body = ANSWER % (10, 15)
        provider.headers.append((b"x-upshift-served-model", b"something-else"))
        reply = await ask(stack)
        assert (reply.status, reply.headers["x-upshift-served-model"]) == (200, "big")


async def test_what_a_provider_adds_to_one_call_sizes_nobody_elses_hold(tmp_path: Path) -> None:
    """A search that brings 30,000 tokens into a small call says nothing about the size of other small calls."""
    async with recording() as provider, running(tmp_path, limit="50k") as stack:
        await stack.apply(plan_text(provider.url, "50k"))
        provider.body = ANSWER % (30_000, 30_005)
        assert (await ask(stack)).status == 200
        provider.body = ANSWER % (10, 15)
        for user in ("alice", "bob"):
            reply = await ask(stack, "word " * 400, secret=await key(stack, user), max_tokens=100)
            assert reply.status == 200, reply.problem()


async def test_more_answers_than_tokens_left_do_not_pass(tmp_path: Path) -> None:
    async with running(tmp_path) as stack:
        await stack.apply(plan_text(stack.simulated_url(), "120"))
        secret = await key(stack)
        reply = await ask(stack, "hello", secret=secret, n=128, max_tokens=1)
        assert reply.status == 402
        assert not stack.provider.simulated.billed


async def test_a_bound_beyond_the_model_holds_no_more_than_the_model_can_give(stack: Stack) -> None:
    reply = await ask(stack, "[[simulate: output_tokens=5]]", max_tokens=10**9)
    assert reply.status == 200
    assert "x-upshift-reason" not in reply.headers
    assert balance(stack).held.tokens == 0


def test_two_counters_never_share_a_name() -> None:
    one = BudgetKey(TenantId("acme"), UserId("b/bob"), WorkloadId("w"), Bucket.INCLUDED, "month", "2026-11")
    other = BudgetKey(TenantId("acme/b"), UserId("bob"), WorkloadId("w"), Bucket.INCLUDED, "month", "2026-11")
    assert one.path() != other.path()


async def test_a_database_removed_under_the_gateway_is_noticed(tmp_path: Path) -> None:
    """Writing to a file that nobody can find again is not keeping records: nothing more is admitted."""
    async with running(tmp_path) as stack:
        assert (await ask(stack)).status == 200
        await stack.settled()
        away = stack.db.with_suffix(".away")
        stack.db.rename(away)
        assert isinstance(stack.gateway.ledger, SqliteLedger)
        stack.gateway.ledger.look_at_the_file()
        assert (await ask(stack)).status == 503
        away.rename(stack.db)
