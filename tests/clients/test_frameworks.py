"""Do agent frameworks in Python work with every vendor's model, at no hidden cost?"""

import pytest
from tests.clients.installation import House, Ran
from tests.clients.places import PYTHON, SCRIPTS
from tests.clients.test_sdks import MODELS, settings

from upshift.model.metered import Outcome
from upshift.model.tokens import Certainty

FRAMEWORKS = {
    "pydantic_ai chat": "openai",
    "pydantic_ai responses": "openai-responses",
    "pydantic_ai anthropic": "anthropic",
    "pydantic_ai google": "gemini",
    "openai_agents": "openai-responses",
    "langchain chat": "openai",
    "langchain responses": "openai-responses",
    "langchain anthropic": "anthropic",
    "langchain google": "gemini",
    "google_genai": "gemini",
    "smolagents": "openai",
}
RUNS = [(framework, model) for framework in FRAMEWORKS for model in MODELS]
RUNS.remove(("smolagents", "claude-sonnet-5-5"))
"""It forces a tool on its model, which no Claude model that always thinks can be made to: the gateway says so."""


async def _run(framework: str, model: str, at: House) -> Ran:
    name, *arguments = framework.split()
    env = settings(at, await at.key(), model) | {"OPENAI_AGENTS_DISABLE_TRACING": "1"}
    return await at.run([str(PYTHON), str(SCRIPTS / f"with_{name}.py"), *arguments], env)


@pytest.mark.parametrize(("framework", "model"), RUNS)
async def test_a_framework_uses_a_tool(framework: str, model: str, ample: House) -> None:
    ran = await _run(framework, model, ample)
    assert ran.code == 0, ran.text
    assert ran.out
    records = await ample.records()
    assert len(records) == len(ample.posts) == 2
    assert {(record.outcome, record.certainty) for record in records} == {(Outcome.SERVED, Certainty.EXACT)}
    assert {record.dialect for record in records} == {FRAMEWORKS[framework]}
    assert {record.served_model for record in records} == {model}
    assert ample.elsewhere == []


async def test_a_forced_tool_that_cannot_be_translated_is_refused_with_its_reason(ample: House) -> None:
    ran = await _run("smolagents", "claude-sonnet-5-5", ample)
    assert ran.code == 1
    assert "tool_choice: the model always thinks first" in ran.text
    assert ample.posts == []
