"""Does the simulated provider's own bill agree with the ledger, and does what went around the gateway show?"""

import asyncio
import urllib.request

import openai
import pytest
from tests.end_to_end.stack import ADMIN, Stack

from upshift.admin.reconciling import Asked, Reconciled, correct, read_files, reconcile
from upshift.model.tokens import Certainty
from upshift.reviews.findings import Basis, Verdict


def bill(stack: Stack) -> bytes:
    with urllib.request.urlopen(f"{stack.simulated_url()}/simulated/bills", timeout=60) as answer:
        found: bytes = answer.read()
        return found


async def reconciled(stack: Stack, provider: str = "openai") -> Reconciled:
    await stack.settled()
    await stack.provider.simulated.idle()
    exports = read_files([("bills.json", await asyncio.to_thread(bill, stack))])
    return reconcile(stack.desk, ADMIN, exports, Asked(provider=provider, since="2000-01-01", until="2999-01-01"))


async def ask(client: openai.AsyncOpenAI, text: str, *, stream: bool = False) -> None:
    answer = await client.chat.completions.create(
        model="big", messages=[{"role": "user", "content": text}], stream=stream, max_tokens=2000
    )
    if isinstance(answer, openai.AsyncStream):
        async for _ in answer:
            pass


async def test_every_call_is_matched_and_one_around_the_gateway_is_found(stack: Stack) -> None:
    async with await stack.openai() as client:
        for number in range(6):
            await ask(client, f"Number {number}", stream=number % 2 == 0)
        with pytest.raises(openai.APIStatusError):
            await ask(client, "[[simulate: status=500]]")
    found = await reconciled(stack)
    assert (found.report.ok, found.report.matched, found.report.findings) == (True, 6, ())
    assert found.report.billed.usage == found.report.recorded.usage
    async with openai.AsyncOpenAI(
        base_url=f"{stack.simulated_url()}/v1", api_key="x", max_retries=0, timeout=60
    ) as around:
        await ask(around, "Hello")
    (stray,) = (await reconciled(stack)).report.findings
    billed = stack.provider.simulated.billed[-1]
    assert (stray.verdict, stray.upstream_id) == (Verdict.MISSING_HERE, billed.request_id)
    assert stray.at_plan == billed.usage.input * 2_000 + billed.usage.output * 10_000


async def test_the_other_dialect(stack: Stack) -> None:
    async with await stack.anthropic() as client:
        for model in ("claude-test", "haiku"):
            await client.messages.create(model=model, max_tokens=200, messages=[{"role": "user", "content": "Hello"}])
    found = await reconciled(stack, "anthropic")
    assert (found.report.ok, found.report.matched) == (True, 2)


async def test_an_answer_that_did_not_say_its_usage_gets_its_true_cost(stack: Stack) -> None:
    async with await stack.openai() as client:
        await ask(client, "Hello [[simulate: no_usage]]")
        await ask(client, "Hello")
    records = await stack.records()
    unknown = next(record for record in records if record.certainty is Certainty.UNKNOWN)
    exact = next(record for record in records if record.certainty is Certainty.EXACT)
    found = await reconciled(stack)
    (known,) = found.report.known
    assert (known.record.request, known.basis) == (unknown.request, Basis.ID)
    for _ in range(2):
        correct(stack.desk, ADMIN, found.corrections, "the simulated bill")
        found = await reconciled(stack)
        assert found.corrections[0].done is not None
    true = sum(each.usage.total for each in stack.provider.simulated.billed)
    async with asyncio.timeout(120):
        while True:
            if settled(stack) == true:
                break
            await asyncio.sleep(0.01)
    assert true < exact.usage.total + unknown.counted_tokens
    await stack.verified()


def settled(stack: Stack) -> int:
    (account,) = stack.desk.journal.balances(tenant="acme", user="alice", workload="chat")
    return account.balance.settled.tokens
