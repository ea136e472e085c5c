"""Do coding agents work through the gateway: with any vendor's model, at no hidden cost, legibly at a ceiling?"""

from pathlib import Path

import pytest
from tests.clients import agents
from tests.clients.agents import Agent, Errand
from tests.clients.installation import House, Ran, house

from upshift.model.budget import Bucket
from upshift.model.metered import Metered, Outcome
from upshift.simulated.agent import WRITTEN

NATIVE = [
    agents.CLAUDE,
    agents.CODEX,
    agents.GEMINI,
    agents.OPENCODE,
    agents.OPENCODE_RESPONSES,
    agents.OPENCODE_ANTHROPIC,
    agents.OPENCODE_GEMINI,
    agents.QWEN,
    agents.AIDER_CHAT,
    agents.AIDER_ANTHROPIC,
]
ACROSS = [
    (agents.CLAUDE, "gpt-6"),
    (agents.CLAUDE, "gemini-3.5-pro"),
    (agents.CODEX, "claude-sonnet-5-5"),
    (agents.CODEX, "gemini-3.5-pro"),
    (agents.GEMINI, "gpt-6"),
    (agents.GEMINI, "claude-sonnet-5-5"),
    (agents.OPENCODE_ANTHROPIC, "gemini-3.5-pro"),
    (agents.QWEN, "claude-sonnet-5-5"),
    (agents.QWEN, "gemini-3.5-pro"),
    (agents.AIDER_CHAT, "claude-sonnet-5-5"),
]
FIRST = [agents.CLAUDE, agents.CODEX, agents.GEMINI, agents.OPENCODE, agents.QWEN, agents.AIDER_CHAT]
FALLS = [
    # agent, a workload that degrades to a model of the same dialect or of another, tokens in the month
    (agents.CLAUDE, "soft", "70k"),
    (agents.CLAUDE, "soft-gpt", "70k"),
    (agents.CODEX, "soft", "30k"),
    (agents.CODEX, "soft-claude", "30k"),
    (agents.GEMINI, "soft", "30k"),
    (agents.GEMINI, "soft-claude", "30k"),
    (agents.QWEN, "soft", "60k"),
]


def _name(value: object) -> str:
    return value.name if isinstance(value, Agent) else str(value)


async def _run(agent: Agent, at: House, model: str, wish: str, workload: str = "code", seconds: float = 300.0) -> Ran:
    errand = Errand(at, await at.key(workload), f"Do it. [[simulate: {wish}]]", model)
    command = agent.command(errand)
    return await at.run(command.argv, command.env, seconds)


def _held_to_account(agent: Agent, at: House, records: list[Metered], calls: int) -> None:
    """Exactly so many calls for the task, all of them in the ledger with their session; nothing went elsewhere."""
    beside = [each for each in at.posts if agent.mark_beside and agent.mark_beside in each.body]
    assert len(at.posts) - len(beside) == calls
    assert len(beside) <= agent.beside
    assert len(records) == len(at.posts) == len(at.simulated.billed)
    assert {record.outcome for record in records} == {Outcome.SERVED}
    assert {(record.tenant, record.user) for record in records} == {("acme", "alice")}
    assert len({record.session for record in records}) == 1
    assert bool(records[0].session) == agent.names_session
    assert {host.partition(":")[0] for host in at.elsewhere} <= agent.hosts


async def _writes_and_edits(agent: Agent, at: House, model: str) -> None:
    written, edited = at.work / "written.txt", at.work / "edited.txt"
    edited.write_text("one\nbefore\nthree\n")
    wish = f"write={written}" + (f", edit={edited}" if agent.edit_calls else "")
    ran = await _run(agent, at, model, wish)
    assert ran.code == 0, ran.text
    assert written.read_text() == WRITTEN
    calls = 1
    if agent.edit_calls:
        assert edited.read_text() == "one\nafter\nthree\n"
        calls = 1 + agent.edit_calls + 1
    records = await at.records()
    _held_to_account(agent, at, records, calls)
    ours = [record for record in records if record.requested_model == model]
    assert {record.served_model for record in ours} == {model}


@pytest.mark.parametrize("agent", NATIVE, ids=_name)
async def test_it_changes_files_with_its_own_tools(agent: Agent, ample: House) -> None:
    await _writes_and_edits(agent, ample, agent.model)


@pytest.mark.parametrize(("agent", "model"), ACROSS, ids=_name)
async def test_it_does_not_notice_another_vendors_model(agent: Agent, model: str, ample: House) -> None:
    await _writes_and_edits(agent, ample, model)


@pytest.mark.parametrize("agent", FIRST, ids=_name)
async def test_a_spent_budget_is_told_to_the_person_at_once(agent: Agent, spent: House) -> None:
    ran = await _run(agent, spent, agent.model, f"write={spent.work / 'written.txt'}")
    text = " ".join(ran.text.split())
    assert "the month budget of alice for workload code (acme) stands at 0 tokens of 10 tokens" in text
    assert "Ask in #ai-platform" in text
    assert spent.posts == []
    records = await spent.records()
    assert {record.outcome for record in records} == {Outcome.REFUSED}
    assert len(records) <= agent.refusals


@pytest.mark.parametrize(("agent", "workload", "limit"), FALLS, ids=_name)
async def test_a_session_goes_on_past_a_soft_cap(agent: Agent, workload: str, limit: str, tmp_path: Path) -> None:
    async with house(tmp_path, limit) as at:
        files = [at.work / f"{name}.txt" for name in "abcd"]
        ran = await _run(agent, at, agent.model, f"write={'|'.join(map(str, files))}", workload)
        assert ran.code == 0, ran.text
        assert [file.read_text() for file in files] == [WRITTEN] * len(files)
        records = await at.records()
        _held_to_account(agent, at, records, len(files) + 1)
        task = [record for record in records if record.requested_model == agent.model]
        assert task[0].bucket is Bucket.INCLUDED
        assert task[-1].bucket is Bucket.DEGRADED
        assert task[-1].reason == "budget-reached:degraded-to-budget-model-tier"
        assert task[-1].served_model != agent.model
