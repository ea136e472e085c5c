"""Do the commands on interfaces show, switch and draft?"""

import json
from pathlib import Path

import pytest
from tests.admin.installation import PLAN
from tests.admin.test_interfaces import AGENTS
from tests.cli.conftest import Shell


@pytest.fixture
def agents(shell: Shell) -> Shell:
    path = shell.folder / "plan.yaml"
    path.write_text(PLAN.read_text() + AGENTS.replace("WORKLOAD", "chat"))
    shell.apply(path)
    return shell


def test_an_interface_is_shown_and_switched(agents: Shell) -> None:
    shown = agents.ok("interface", "list").out
    assert "plan-research  planner" in shown
    assert "plan-research: it is not active" in shown
    assert "research-plan lacks: request.payload, response.payload" in shown
    assert "planner may speak to researcher" in agents.ok("interface", "activate", "plan-research").out
    assert "(as before)" in agents.ok("interface", "activate", "plan-research").out
    assert agents.json("interface", "list")["interfaces"][0]["active"] is True
    assert (
        agents.json("interface", "share", "researcher", "25")["says"] == "researcher takes part in 25% of the sessions"
    )
    assert "25%" in agents.ok("interface", "list").out
    assert agents.json("interface", "deactivate", "plan-research")["changed"] is True
    refused = agents.run("interface", "activate", "research-plan")
    assert refused.code == 1
    assert "is not complete; it lacks" in refused.err


def test_a_contract_is_drafted_from_payloads(shell: Shell, tmp_path: Path) -> None:
    samples = tmp_path / "samples.jsonl"
    samples.write_text('{"a": 1}\n{"a": 2.5}\n')
    found = shell.ok("interface", "draft", str(samples))
    assert json.loads(found.out)["properties"] == {"a": {"type": "number"}}
    assert "a draft" in found.err
    assert shell.run("interface", "draft", str(tmp_path / "none")).code == 1
    samples.write_text("{")
    refused = shell.run("interface", "draft", str(samples))
    assert refused.code == 2
    assert "line 1 is not JSON" in refused.err
