"""Does a call stay where only one provider, or only one model, can serve it?"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.probe import Reply, closed, key, post
from tests.end_to_end.routes import Routes, routes

from upshift.gateway.clock import HandClock
from upshift.model.ids import ProviderId
from upshift.model.metered import Outcome
from upshift.model.span import MICROS
from upshift.traffic.health import Verdict

START = 1_793_491_200 * MICROS  # 2026-11-01
SAID = "Hi [[simulate: output_tokens=20]]"

PLAN = """
upshift: 1
name: staying
providers:
  first: {dialect: openai-responses, speaks: [openai, openai-embeddings], base_url: "FIRST/v1", timeouts: {connect: 60s}}
  second: {dialect: openai-responses, speaks: [openai, openai-embeddings], base_url: "SECOND/v1", timeouts: {connect: 60s}}
  claude: {dialect: anthropic, base_url: "CLAUDE", timeouts: {connect: 60s}}
models:
  chat: {provider: first, context: 200k, max_output: 32k, price: {input: $2, output: $10},
         offers: [{provider: second, price: {input: $3, output: $12}}, {provider: claude, weight: 0, price: {input: $1, output: $1}}]}
  lone: {provider: first, context: 200k, max_output: 32k, price: {input: $2, output: $10}}
  vectors: {provider: first, context: 8k, max_output: 1, price: {input: $2, output: $0},
            offers: [{provider: second, price: {input: $2, output: $0}}]}
  cheap: {provider: second, context: 8k, max_output: 1, price: {input: $1, output: $0}}
model_tiers: {premium: [chat, lone], embedding: [vectors], spare: [cheap]}
tiers: [pro]
tenants:
  acme: {timezone: Europe/Berlin, owner: ada@acme.example, default_tier: pro, users: {alice: {tier: pro}}}
gates:
  ample: {overage: hard-cap, ceilings: {pro: {month: 100M}}}
  tight: {overage: soft-cap, ceilings: {pro: {month: 200}}, degraded: {pro: {month: 100M}}}
workloads:
  talk: {owner: sam, status: committed, models: {primary: premium}, gate: ample}
  shared: {owner: sam, status: committed, models: {primary: premium}, gate: ample, route: {order: weighted, sticky: off}}
  only-second: {owner: sam, status: committed, models: {primary: premium}, gate: ample, route: {pin: [second]}}
  search: {owner: sam, status: committed, models: {primary: embedding, degrade_to: spare}, gate: tight,
           route: {failover: [same-model, same-tier, tier spare]}}
"""


@pytest.fixture
async def found(tmp_path: Path) -> AsyncIterator[Routes]:
    """An installation in which talks are kept at two providers, and time passes by hand."""
    async with routes(tmp_path, HandClock(START), PLAN) as started:
        yield started


async def respond(found: Routes, workload: str = "talk", model: str = "chat", **fields: Any) -> Reply:
    body = {"model": model, "input": SAID, "max_output_tokens": 100, **fields}
    return await post(
        found.stack, "/v1/responses", json.dumps(body).encode(), await key(found.stack, workload=workload)
    )


def name_of(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    if not reply.body.startswith(b"event:"):
        return str(reply.json()["id"])
    return str(reply.events()[-1]["response"]["id"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("workload", ["talk", "shared"])
async def test_what_goes_on_from_an_answer_goes_to_who_keeps_it(found: Routes, workload: str, stream: bool) -> None:
    if workload == "talk":
        found.first.script.append("status=503")
    for _ in range(4):
        before = found.asked()
        said = await respond(found, workload, stream=stream)
        name = name_of(said)
        asked = [now - then for now, then in zip(found.asked(), before, strict=True)]
        holder = 1 if asked[1] else 0
        for _ in range(3):
            before = found.asked()
            # Who does not keep it would say 400.
            name = name_of(await respond(found, workload, previous_response_id=name, stream=stream))
            asked = [now - then for now, then in zip(found.asked(), before, strict=True)]
            assert asked == [int(holder == 0), int(holder == 1), 0]
    await closed(found.stack)


async def test_where_who_keeps_it_is_out_that_is_said_and_nobody_else_is_asked(found: Routes) -> None:
    name = name_of(await respond(found))
    found.first.script.append("status=503")
    failed = await respond(found, previous_response_id=name)
    assert failed.status == 503
    assert found.asked() == [2, 0, 0]
    board, model = found.stack.gateway.flow.board, found.stack.gateway.flow.regime.in_force.snapshot.models
    for _ in range(5):
        board.end(model["lone"], Verdict.DOWN, found.stack.clock.now())
    refused = await respond(found, previous_response_id=name)
    assert (refused.status, refused.headers["x-upshift-reason"]) == (503, "no_route_open")
    assert f"first failed or asked to be left alone, and only it keeps {name}" in refused.problem()
    assert int(refused.headers["retry-after"]) >= 1
    assert found.asked() == [2, 0, 0]
    # A call of its own goes elsewhere meanwhile.
    assert (await respond(found)).headers.get("x-upshift-provider", "second")
    assert found.asked()[1] == 1
    await closed(found.stack)


async def test_what_is_kept_where_the_workload_does_not_lead_is_refused(found: Routes) -> None:
    name = name_of(await respond(found))
    refused = await respond(found, "only-second", previous_response_id=name)
    assert (refused.status, refused.headers["x-upshift-reason"]) == (400, "cannot_serve")
    assert f"first, where {name} is kept, if anywhere (chat cannot be had there in openai-" in refused.problem()
    assert found.asked() == [1, 0, 0]
    # What nobody here has seen is asked of the first that may keep it, whose own words say that it is unknown.
    unknown = await respond(found, previous_response_id="resp_unknown")
    assert unknown.status == 400
    assert "not found" in unknown.problem()
    assert found.asked() == [2, 0, 0]


async def test_what_a_provider_keeps_is_never_translated(found: Routes) -> None:
    claude = PLAN.replace(
        "dialect: openai-responses, speaks: [openai, openai-embeddings], base_url", "dialect: openai, base_url"
    )
    for name, provider in found.providers.items():
        claude = claude.replace(name.upper(), provider.url)
    await found.stack.apply(claude)
    assert (await respond(found)).status == 200
    refused = await respond(found, previous_response_id="resp_1")
    assert (refused.status, refused.headers["x-upshift-reason"]) == (400, "cannot_serve")
    assert "itself with what was kept there" in refused.problem()
    assert found.asked() == [1, 0, 0]


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_keeps_an_answer_that_was_translated(found: Routes, stream: bool) -> None:
    found.first.script.append("status=503")
    found.second.script.append("status=503")
    said = await respond(found, stream=stream)
    assert said.headers["x-upshift-provider"] == "claude"
    refused = await respond(found, previous_response_id=name_of(said))
    assert (refused.status, refused.headers["x-upshift-reason"]) == (400, "cannot_serve")
    assert f"claude, where {name_of(said)} is kept, if anywhere" in refused.problem()
    assert found.asked() == [1, 1, 1]


async def embed(found: Routes, text: str, model: str = "vectors") -> Reply:
    body = json.dumps({"model": model, "input": text}).encode()
    return await post(found.stack, "/v1/embeddings", body, await key(found.stack, workload="search"))


async def test_embeddings_are_refused_at_their_ceiling_and_never_degraded(found: Routes) -> None:
    replies = [await embed(found, "one two three four five six seven eight") for _ in range(40)]
    statuses = [reply.status for reply in replies]
    assert statuses == sorted(statuses)
    assert set(statuses) == {200, 402}
    assert {reply.headers.get("x-upshift-served-model") for reply in replies if reply.status == 200} == {"vectors"}
    assert "vectors of two models do not mix" in replies[-1].problem()
    assert found.second.asked == 0
    assert {record.outcome for record in await found.records()} == {Outcome.SERVED, Outcome.REFUSED}
    await closed(found.stack)


async def test_embeddings_fail_over_to_the_same_model_and_no_other(found: Routes) -> None:
    found.first.script.append("status=503")
    reply = await embed(found, "one")
    assert (reply.status, reply.headers["x-upshift-provider"]) == (200, "second")
    found.first.script.append("status=503")
    found.second.script.append("status=503")
    reply = await embed(found, "one")
    assert (reply.status, reply.headers["x-upshift-tried"]) == (503, "first status-503, second status-503")
    assert {json.loads(body)["model"] for each in found.providers.values() for body in each.bodies} == {"vectors"}
    assert ProviderId("second") in {record.provider for record in await found.records()}
    await closed(found.stack)
