"""What happens at a ceiling: is each overage rule kept, said aloud and counted in its own bucket?"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.probe import DIALECTS, MODELS, ask, balance, closed, get, key, post, spend
from tests.end_to_end.stack import ADMIN, Stack, plan_text, running

from upshift.admin.desk import ActError, Actor
from upshift.model.budget import Amount, Bucket
from upshift.model.entry import Decision
from upshift.model.key import Role
from upshift.model.metered import Outcome
from upshift.model.money import NANO_PER_DOLLAR
from upshift.model.span import Window
from upshift.model.tokens import Certainty
from upshift.simulated.tokens import count_tokens

TESS = Actor("tess", Role.TENANT_ADMIN, "acme")
LONG = "[[simulate: output_tokens=20000]]"
LONG_AND_SLOW = "[[simulate: output_tokens=20000,slow_chunk=0.002]]"
SUBSTITUTES = {"openai": "small", "anthropic": "haiku"}
WEATHER = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


async def granted(stack: Stack, at_least: int, workload: str = "chat") -> None:
    """Wait until the gateway has taken in what the desk left for it."""
    async with asyncio.timeout(120):
        while True:
            accounts = stack.desk.journal.balances(tenant="acme", user="alice", workload=workload)
            if any(account.balance.granted.tokens >= at_least for account in accounts):
                return
            await asyncio.sleep(0.01)


# hard cap -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_hard_cap_refuses_and_never_lets_the_ceiling_pass(tmp_path: Path, dialect: str) -> None:
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack)
        reply = await spend(stack, alice, dialect=dialect, max_tokens=1000)
        assert reply.status == 402
        assert "The overage rule of this workload is hard-cap" in reply.problem()
        assert balance(stack).settled.tokens <= 3000
        assert sum(bill.usage.total for bill in stack.provider.simulated.billed) == balance(stack).settled.tokens
        asked = stack.provider.simulated.stats().requests
        assert (await ask(stack, dialect=dialect)).status == 402
        assert stack.provider.simulated.stats().requests == asked
        assert (await ask(stack, secret=await key(stack, "bob"), dialect=dialect)).status == 200
        last = (await stack.records())[-2]
        assert (last.outcome, last.status, last.reason, last.counted) == (Outcome.REFUSED, 402, "over_budget", 0)
        await closed(stack)


async def test_a_grant_lifts_the_ceiling_for_the_period(tmp_path: Path) -> None:
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack)
        assert (await spend(stack, alice, max_tokens=1000)).status == 402
        stack.desk.grant(
            ADMIN,
            tenant="acme",
            user="alice",
            workload="chat",
            window=Window.MONTH,
            amount=Amount(tokens=2000),
            reason="release week",
        )
        await granted(stack, 2000)
        reply = await ask(stack, secret=alice)
        assert reply.status == 200
        assert reply.headers["x-upshift-budget"].endswith("/5000")
        refused = await spend(stack, alice, max_tokens=1000)
        assert refused.status == 402
        assert "of 5k tokens" in refused.problem()
        assert 3000 < balance(stack).settled.tokens <= 5000
        await closed(stack)


# soft cap -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_soft_cap_goes_on_with_the_budget_tier_and_says_so(tmp_path: Path, dialect: str, stream: bool) -> None:
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack, workload="soft")
        await spend(stack, alice, dialect=dialect, max_tokens=1000)
        reply = await ask(
            stack, "Hi [[simulate: output_tokens=30]]", secret=alice, dialect=dialect, max_tokens=100, stream=stream
        )
        assert reply.status == 200
        assert reply.headers["x-upshift-requested-model"] == MODELS[dialect]
        assert reply.headers["x-upshift-served-model"] == SUBSTITUTES[dialect]
        assert reply.headers["x-upshift-reason"] == "budget-reached:degraded-to-budget-model-tier"
        assert reply.headers["x-upshift-resets-at"]
        said = reply.events()[0] if stream else reply.json()
        assert said.get("message", said)["model"] == SUBSTITUTES[dialect]
        record = (await stack.records())[-1]
        assert (record.bucket, record.outcome) == (Bucket.DEGRADED, Outcome.SERVED)
        assert (record.requested_model, record.served_model) == (MODELS[dialect], SUBSTITUTES[dialect])
        assert record.reason == "budget-reached:degraded-to-budget-model-tier"
        assert record.usage.output == 30
        assert balance(stack, workload="soft").settled.tokens <= 3000
        assert balance(stack, workload="soft", bucket="degraded").settled.tokens > 0
        await closed(stack)


NO_TOOLS = ("  haiku: {provider: anthropic,", "  haiku: {provider: anthropic, can: [json],")


async def test_a_substitute_that_cannot_serve_is_not_used_and_the_refusal_says_what_it_lacks(tmp_path: Path) -> None:
    async with running(tmp_path, limit="3k", extra=[NO_TOOLS]) as stack:
        alice = await key(stack, workload="soft")
        await spend(stack, alice, max_tokens=1000)
        reply = await ask(stack, secret=alice, tools=WEATHER, max_tokens=100)
        assert reply.status == 402
        assert "No model of tier budget can serve this request: small lacks tools" in reply.problem()
        assert (await ask(stack, secret=alice, max_tokens=100)).status == 200
        await closed(stack)


async def test_a_substitute_that_cannot_serve_leaves_the_next_step_of_the_ladder(tmp_path: Path) -> None:
    ladder = [NO_TOOLS, ("soft: {overage: soft-cap,", "soft: {overage: [soft-cap, pay-as-you-go],")]
    async with running(tmp_path, limit="3k", extra=ladder) as stack:
        stack.desk.opt_in(TESS, tenant="acme", workload="soft", limit=None)
        alice = await key(stack, workload="soft")
        assert (await spend(stack, alice, max_tokens=1000)).headers["x-upshift-served-model"] == "small"
        with_tools = await ask(stack, secret=alice, tools=WEATHER, max_tokens=100)
        assert with_tools.status == 200
        assert with_tools.headers["x-upshift-served-model"] == "big"
        assert with_tools.headers["x-upshift-reason"] == "budget-reached:metered-as-pay-as-you-go"
        assert (await stack.records())[-1].bucket is Bucket.OVERAGE
        await closed(stack)


async def test_an_exhausted_degraded_allowance_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack, workload="soft")
        replies = [await ask(stack, LONG, secret=alice, max_tokens=20_000) for _ in range(12)]
        buckets = [reply.headers.get("x-upshift-reason", "") for reply in replies]
        assert "budget-reached:degraded-to-budget-model-tier" in buckets
        assert replies[-1].status == 402
        assert "soft-cap" in replies[-1].problem()
        for bucket in ("included", "degraded"):
            assert 2900 <= balance(stack, workload="soft", bucket=bucket).settled.tokens <= 3000
        await closed(stack)


# pay as you go --------------------------------------------------------------------------------------------------------


async def test_pay_as_you_go_without_opt_in_is_refused_with_the_remedy(tmp_path: Path) -> None:
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack, workload="calls")
        reply = await spend(stack, alice, max_tokens=1000)
        assert reply.status == 402
        assert "not switched on: an admin of the tenant has to opt in" in reply.problem()


async def test_pay_as_you_go_is_metered_apart_after_the_tenants_recorded_consent(tmp_path: Path) -> None:
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack, workload="calls")
        assert (await spend(stack, alice, max_tokens=1000)).status == 402
        stack.desk.opt_in(TESS, tenant="acme", workload="calls", limit=None)
        await stack.gateway.flow.regime.refresh()
        reply = await ask(stack, "[[simulate: output_tokens=500]]", secret=alice, max_tokens=500)
        assert reply.status == 200
        assert reply.headers["x-upshift-served-model"] == "big"
        assert reply.headers["x-upshift-reason"] == "budget-reached:metered-as-pay-as-you-go"
        record = (await stack.records())[-1]
        assert (record.bucket, record.reason) == (Bucket.OVERAGE, "budget-reached:metered-as-pay-as-you-go")
        assert record.cost is not None
        assert balance(stack, workload="calls").settled.tokens <= 3000
        assert balance(stack, user="*", workload="calls", bucket="overage").settled == Amount(
            record.usage.total, record.cost
        )
        decisions: list[Decision] = [each for each in stack.desk.journal.decisions() if each.by == "tess"]
        assert [(each.tenant, "calls" in json.dumps([each.subject, each.detail])) for each in decisions] == [
            ("acme", True)
        ]
        stack.desk.opt_out(TESS, tenant="acme", workload="calls")
        await stack.gateway.flow.regime.refresh()
        assert (await ask(stack, secret=alice)).status == 402
        await closed(stack)


async def test_the_limit_of_pay_as_you_go_holds_over_all_users_of_the_tenant(tmp_path: Path) -> None:
    async with running(tmp_path, limit="3k") as stack:
        stack.desk.opt_in(TESS, tenant="acme", workload="calls", limit=NANO_PER_DOLLAR // 20)
        last = {}
        for user in ("alice", "bob"):
            secret = await key(stack, user, workload="calls")
            for _ in range(8):
                last[user] = await ask(stack, "[[simulate: output_tokens=2000]]", secret=secret, max_tokens=2000)
        for reply in last.values():
            assert reply.status == 402
            assert "pay-as-you-go" in reply.problem()
        spent = balance(stack, user="*", workload="calls", bucket="overage").settled.nano
        assert 0.9 * NANO_PER_DOLLAR / 20 < spent <= NANO_PER_DOLLAR // 20
        await closed(stack)


@pytest.mark.parametrize(
    "actor", [ADMIN, Actor("gus", Role.TENANT_ADMIN, "globex"), Actor("alice", Role.CALLER, "acme")]
)
async def test_nobody_but_the_tenants_own_admin_can_consent_for_it(stack: Stack, actor: Actor) -> None:
    with pytest.raises(ActError, match="only an admin of tenant acme"):
        stack.desk.opt_in(actor, tenant="acme", workload="calls", limit=None)
    assert stack.desk.journal.consents() == []


# names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "dialect", "served"),
    [
        ("premium", "openai", "big"),
        ("premium", "anthropic", "sonnet"),
        ("budget", "openai", "small"),
        ("chat", "openai", "big"),
        ("chat", "anthropic", "sonnet"),
        ("claude-test", "anthropic", "sonnet"),
    ],
)
async def test_tiers_workloads_and_aliases_are_names_of_models(
    stack: Stack, model: str, dialect: str, served: str
) -> None:
    reply = await ask(stack, dialect=dialect, model=model)
    assert reply.status == 200
    assert reply.headers["x-upshift-requested-model"] == model
    assert reply.headers["x-upshift-served-model"] == served
    (record,) = await stack.records()
    assert (record.requested_model, record.served_model) == (model, served)


async def test_a_key_for_several_workloads_names_one_by_header_or_as_the_model(stack: Stack) -> None:
    alice = await key(stack, workload=None)
    unnamed = await ask(stack, secret=alice)
    assert unnamed.status == 400
    assert "(calls, chat, soft)" in unnamed.problem()
    by_header = await ask(stack, secret=alice, headers={"x-upshift-workload": "soft"})
    by_model = await ask(stack, secret=alice, model="calls")
    assert (by_header.status, by_model.status) == (200, 200)
    assert [record.workload for record in await stack.records()] == ["", "soft", "calls"]


async def test_a_model_outside_the_workloads_policy_is_refused(stack: Stack) -> None:
    reply = await ask(stack, secret=await key(stack, workload="calls"), model="small")
    assert reply.status == 403
    assert "'small' for workload 'calls' (policy: premium)" in reply.problem()
    assert "big" in reply.problem()
    assert stack.provider.simulated.stats().requests == 0


def same(one: Any, other: Any, *names: str) -> bool:
    """Whether two texts are the same but for the names that were asked for."""
    texts = [json.dumps(each) for each in (one, other)]
    for name in names:
        texts = [text.replace(name, "NAME") for text in texts]
    return texts[0] == texts[1]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_other_tenants_workloads_users_and_keys_cannot_be_probed(stack: Stack, dialect: str) -> None:
    """Something of another tenant's and something that does not exist get the same refusal."""
    gail = await key(stack, "gail", "globex")
    await key(stack, "alice", "acme", "soft")
    for asked in ("workload", "model", "user", "key"):
        replies = []
        for name in ("soft" if asked != "user" else "alice", "nowhere"):
            headers = {"x-upshift-workload": name} if asked == "workload" else {}
            headers |= {"x-upshift-user": name} if asked == "user" else {}
            secret = stack.desk.keys(ADMIN)[-1].hint + name if asked == "key" else gail
            model = name if asked == "model" else MODELS[dialect]
            replies.append(await ask(stack, dialect=dialect, secret=secret, headers=headers, model=model))
        assert replies[0].status == replies[1].status >= 400
        first, second = (reply.json() for reply in replies)
        for said in (first, second):
            said.pop("request_id", None)
        assert same(first, second, "soft", "alice", "nowhere"), asked
        assert "acme" not in replies[0].problem()
    assert stack.provider.simulated.stats().requests == 0
    view = await get(stack, "/upshift/v1/budget", gail)
    assert [each["workload"] for each in view.json()["workloads"]] == ["chat"]
    models = await get(stack, "/v1/models", gail)
    assert {each["id"] for each in models.json()["data"]} == {"big", "small", "sonnet", "haiku"}


# streams that outgrow their ceiling -----------------------------------------------------------------------------------


async def test_an_openai_stream_that_outgrows_the_ceiling_ends_with_length(tmp_path: Path) -> None:
    async with running(tmp_path, limit="3k") as stack, await stack.openai() as client:
        stream = await client.chat.completions.create(
            model="big", messages=[{"role": "user", "content": LONG_AND_SLOW}], stream=True
        )
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].choices[0].finish_reason == "length"
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        await cut_soundly(stack, count_tokens(text))


async def test_an_anthropic_stream_that_outgrows_the_ceiling_ends_with_max_tokens(tmp_path: Path) -> None:
    async with running(tmp_path, limit="3k") as stack, await stack.anthropic() as client:
        async with client.messages.stream(
            model="sonnet", max_tokens=20_000, messages=[{"role": "user", "content": LONG_AND_SLOW}]
        ) as stream:
            final = await stream.get_final_message()
        assert final.stop_reason == "max_tokens"
        text = "".join(block.text for block in final.content if block.type == "text")
        assert final.usage.output_tokens >= count_tokens(text)
        await cut_soundly(stack, count_tokens(text))


async def cut_soundly(stack: Stack, seen: int) -> None:
    """The record of a cut answer counts at least what was seen, and no more than the ceiling."""
    assert seen > 1500
    (record,) = await stack.records()
    assert (record.outcome, record.certainty) == (Outcome.CUT, Certainty.AT_LEAST)
    assert record.reason == "budget-reached:answer-ended"
    assert seen <= record.usage.output
    assert balance(stack).settled.tokens == record.usage.total <= 3000
    await stack.provider.simulated.idle()
    (bill,) = stack.provider.simulated.billed
    assert bill.usage.total <= 3000
    await closed(stack)


async def test_many_streams_at_once_pass_the_ceiling_by_no_more_than_is_in_flight(tmp_path: Path) -> None:
    async with running(tmp_path, limit="12k") as stack:
        alice = await key(stack)
        calls = [
            ask(stack, f"{number} [[simulate: output_tokens=3000,slow_chunk=0.001]]", secret=alice, stream=True)
            for number in range(12)
        ]
        replies = await asyncio.gather(*calls)
        assert {reply.status for reply in replies} <= {200, 402}
        served = [reply for reply in replies if reply.status == 200]
        reasons = [
            choice["finish_reason"] for reply in served for event in reply.events() for choice in event["choices"]
        ]
        assert reasons.count("length") + reasons.count("stop") == len(served)
        await stack.provider.simulated.idle()
        assert balance(stack).settled.tokens <= 12_000 + 64 * len(served)
        assert sum(bill.usage.total for bill in stack.provider.simulated.billed) <= 12_000 + 64 * len(served)
        await closed(stack)


async def test_grace_lets_an_answer_be_finished_past_the_ceiling_and_the_next_call_is_refused(tmp_path: Path) -> None:
    grace = [("hard: {overage: hard-cap,", "hard: {overage: hard-cap, grace: 4k,")]
    async with running(tmp_path, limit="3k", extra=grace) as stack:
        alice = await key(stack)
        reply = await ask(stack, "[[simulate: output_tokens=3500]]", secret=alice, stream=True)
        assert reply.events()[-1]["choices"][0]["finish_reason"] == "stop"
        (record,) = await stack.records()
        assert (record.outcome, record.certainty, record.usage.output) == (Outcome.SERVED, Certainty.EXACT, 3500)
        assert balance(stack).settled.tokens == record.usage.total > 3000
        assert (await ask(stack, secret=alice)).status == 402
        await closed(stack)


async def test_grace_has_an_end_too(tmp_path: Path) -> None:
    grace = [("hard: {overage: hard-cap,", "hard: {overage: hard-cap, grace: 1k,")]
    async with running(tmp_path, limit="3k", extra=grace) as stack:
        reply = await ask(stack, LONG, stream=True)
        assert reply.events()[-1]["choices"][0]["finish_reason"] == "length"
        assert balance(stack).settled.tokens <= 4000
        await closed(stack)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_holding_the_maximum_never_cuts_and_never_passes_the_ceiling(tmp_path: Path, dialect: str) -> None:
    maximum = [("hard: {overage: hard-cap,", "hard: {overage: hard-cap, hold: maximum,")]
    async with running(tmp_path, limit="3k", extra=maximum) as stack:
        alice = await key(stack)
        await ask(stack, LONG, secret=alice, stream=True, dialect=dialect, max_tokens=2000)
        await ask(stack, LONG, secret=alice, stream=True, dialect=dialect, max_tokens=20_000)
        records = await stack.records()
        assert [(record.outcome, record.certainty) for record in records] == [(Outcome.SERVED, Certainty.EXACT)] * 2
        assert records[0].usage.output == 2000
        assert balance(stack).settled.tokens <= 3000
        assert sum(bill.usage.total for bill in stack.provider.simulated.billed) == balance(stack).settled.tokens
        await closed(stack)


async def test_the_budget_view_shows_each_bucket(tmp_path: Path) -> None:
    async with running(tmp_path, limit="3k") as stack:
        alice = await key(stack, workload="soft")
        await spend(stack, alice, max_tokens=1000)
        view = (await get(stack, "/upshift/v1/budget", alice)).json()
        (workload,) = view["workloads"]
        assert [line["bucket"] for line in workload["budgets"]] == ["included", "degraded"]
        assert workload["budgets"][0]["tokens"]["limit"] == 3000
        assert workload["budgets"][0]["tokens"]["used"] == balance(stack, workload="soft").settled.tokens
        assert "small" in workload["at_the_ceiling"]
        assert (await post(stack, "/upshift/v1/budget", b"{}", alice)).status == 404


async def test_an_answer_that_the_budget_shortens_says_so(stack: Stack) -> None:
    """The provider is given what is left as its limit; header and record tell why the answer ends early."""
    await stack.apply(plan_text(stack.simulated_url(), "400"))
    async with await stack.openai() as client:
        raw = await client.chat.completions.with_raw_response.create(
            model="big", messages=[{"role": "user", "content": "Hello [[simulate: output_tokens=5000]]"}]
        )
    answer = raw.parse()
    assert answer.choices[0].finish_reason == "length"
    assert raw.headers["x-upshift-reason"] == "budget-nearly-reached:answer-limited"
    assert "at most" in raw.headers["x-upshift-notice"]
    (record,) = await stack.records()
    assert record.reason == "budget-nearly-reached:answer-limited"
    assert record.usage.total <= 400
