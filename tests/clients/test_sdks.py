"""Do the vendors' JavaScript SDKs work with every vendor's model, streams and tools included, at no hidden cost?"""

import json

import pytest
from tests.clients.agents import Errand, environment
from tests.clients.installation import House, Ran
from tests.clients.places import BUILT, NODE, SCRIPTS

from upshift.model.metered import Outcome
from upshift.model.tokens import Certainty

MODELS = ("gpt-6", "claude-sonnet-5-5", "gemini-3.5-pro")
DIALECTS = {
    "openai_chat": "openai",
    "openai_responses": "openai-responses",
    "anthropic": "anthropic",
    "genai": "gemini",
}


def settings(at: House, key: str, model: str) -> dict[str, str]:
    """What the guide tells people to set for the SDKs of all vendors, and the model that scripts ask for."""
    return environment(Errand(at, key, "", model), "sdks") | {"MODEL": model}


async def _run(sdk: str, model: str, at: House) -> Ran:
    # Scripts find packages beside themselves, so they run where those are.
    script = BUILT / f"{sdk}.mjs"
    script.write_text((SCRIPTS / script.name).read_text())
    return await at.run([str(NODE), str(script)], settings(at, await at.key(), model))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sdk", DIALECTS)
async def test_an_sdk_works_with_every_vendors_model(sdk: str, model: str, ample: House) -> None:
    ran = await _run(sdk, model, ample)
    assert ran.code == 0, ran.text
    said = json.loads(ran.out)
    assert model in said["models"]
    assert said["whole"]
    assert said["streamed"]
    assert said["end"]
    assert said["tool"] == "weather"
    assert isinstance(said["city"], str)
    records = await ample.records()
    assert len(records) == len(ample.posts) == 4
    assert {(record.outcome, record.certainty) for record in records} == {(Outcome.SERVED, Certainty.EXACT)}
    assert {record.dialect for record in records} == {DIALECTS[sdk]}
    assert {record.served_model for record in records} == {model}
    assert said["tokens"] == [records[1].usage.input, records[1].usage.output]
    assert ample.elsewhere == []


@pytest.mark.parametrize("sdk", DIALECTS)
async def test_a_spent_budget_is_an_error_that_is_not_retried(sdk: str, spent: House) -> None:
    ran = await _run(sdk, MODELS[0], spent)
    assert ran.code == 1
    assert "the month budget of alice for workload code (acme) stands at 0 tokens of 10 tokens" in ran.text
    assert spent.posts == []
    (record,) = await spent.records()
    assert (record.outcome, record.status) == (Outcome.REFUSED, 402)
