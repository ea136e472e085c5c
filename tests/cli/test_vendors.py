"""Do the commands on vendors, drills and local models say what is so, and keep a record of what they did?"""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.admin.installation import PLAN, Installation
from tests.cli.conftest import Shell
from tests.engine.local_server import LocalServer, serving

from upshift.admin.api import create_api
from upshift.gateway.clock import SystemClock
from upshift.model.key import Role
from upshift.store.verify import verify

ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ready"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22},
}


def applied(shell: Shell, server: LocalServer, change: Callable[[str], str] = str) -> None:
    """The plan with a second provider, at which `big` is served too; `small` is at the first one only."""
    text = PLAN.read_text().replace(
        'local: {dialect: openai, base_url: "http://127.0.0.1:9/v1"}',
        f'local: {{dialect: openai, base_url: "http://127.0.0.1:9/v1", local: ollama}}\n'
        f'  second: {{dialect: openai, base_url: "{server.url}/v1"}}',
    )
    text = text.replace("big: {", "big: {offers: [{provider: second, price: {input: $2, output: $10}}], ")
    path = shell.folder / "two.yaml"
    path.write_text(change(text))
    shell.apply(path)


def everywhere(text: str) -> str:
    return text.replace("small: {", "small: {offers: [{provider: second, price: {input: $2, output: $10}}], ")


def test_check_names_models_with_one_provider(shell: Shell) -> None:
    assert "with one provider only: big (local), small (local)" in shell.ok("plan", "check", str(PLAN)).out


@pytest.fixture
def used(planned: Shell) -> Iterator[Installation]:
    """An installation with two calls of today."""
    made = Installation(planned.db)
    now = SystemClock().now()
    asyncio.run(made.spend(made.call(tokens=1_000, at=now), made.call(tokens=500, at=now)))
    yield made
    made.desk.journal.close()


def test_vendors_shows_shares_and_local_work(used: Installation, shell: Shell) -> None:
    text = shell.ok("vendors", "--since", "1h").out
    assert "only local has big, small" in text
    assert "0.0% of routine work (budget, premium), 0 of 2 calls; the goal is 20%" in text
    found = shell.json("vendors", "--since", "1h")
    (premium,) = [tier for tier in found["tiers"] if tier["tier"] == "premium"]
    assert (premium["hhi"], premium["single"], premium["shares"][0]["tokens"]) == (10_000, True, 1_500)
    assert shell.run("vendors", "--since", "soon").code == 2


def test_the_same_over_the_api(used: Installation) -> None:
    used.clock.set(SystemClock().now())
    api = TestClient(create_api(used.desk, lambda: verify(used.db)))
    admin = {"authorization": f"Bearer {used.secret(Role.ADMIN)}"}
    found = api.get("/api/v1/vendors?since=1h", headers=admin).json()
    assert found["local"]["calls"] == 2
    tenants_own = {"authorization": f"Bearer {used.secret(Role.TENANT_ADMIN, 'acme')}"}
    assert api.get("/api/v1/vendors", headers=tenants_own).status_code == 403
    assert api.get("/api/v1/vendors?since=soon", headers=admin).status_code == 400


def test_a_drill_that_passes_is_recorded_and_charged(shell: Shell) -> None:
    with serving({"/v1/chat/completions": ANSWER}) as server:
        applied(shell, server, everywhere)
        ran = shell.ok(
            "drill", "failover", "local", "--tenant", "acme", "--user", "alice", "--workload", "chat", answer="y\n"
        )
        assert len(server.asked) == 2
    assert "2 shadow calls of at most 32 tokens" in ran.err
    assert "passed without local" in ran.out
    (decision,) = [each for each in decisions(shell) if each["kind"] == "drill-failover"]
    assert decision["subject"] == "local"
    assert decision["detail"] == {
        "passed": True, "sent": 2, "failed": 0, "stranded": 0, "problems": "", "without_second_route": "",
        "slowest_ms": decision["detail"]["slowest_ms"], "tokens": 44, "cost_nano": 2 * 60_000, "unknown_cost_calls": 0,
    }  # fmt: skip


def decisions(shell: Shell) -> list[dict[str, Any]]:
    installation = Installation(shell.db)
    try:
        api = TestClient(create_api(installation.desk, lambda: verify(shell.db)))
        secret = {"authorization": f"Bearer {installation.secret(Role.ADMIN)}"}
        found: list[dict[str, Any]] = api.get("/api/v1/decisions", headers=secret).json()
        return found
    finally:
        installation.desk.journal.close()


def test_a_drill_fails_where_something_is_not_served(shell: Shell) -> None:
    with serving({"/v1/chat/completions": (503, {"error": "no"})}) as server:
        applied(shell, server)
        ran = shell.run("drill", "failover", "local", "--yes")
        assert ran.code == 1
        assert "FAILED without local" in ran.out
        assert "no second route" in ran.out
        found = shell.run("drill", "failover", "local", "--json")
        assert found.code == 1
        assert found.json["passed"] is False
        assert found.json["calls"][0]["problem"] == 'status 503: {"error": "no"}'
        assert found.json["stranded"] == [{"model": "small", "workloads": ["chat"]}]
    assert len([each for each in decisions(shell) if each["kind"] == "drill-failover"]) == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nobody"], 1, "the plan has no provider 'nobody'; it has local"),
        (["local", "--tenant", "acme"], 2, "--user"),
        (["local", "--tokens", "1"], 2, "16"),
    ],
)
def test_a_drill_that_cannot_be(planned: Shell, words: list[str], code: int, says: str) -> None:
    ran = planned.run("drill", "failover", *words)
    assert ran.code == code
    assert says in ran.err


def test_nothing_is_sent_before_it_was_agreed_to(shell: Shell) -> None:
    with serving({}) as server:
        applied(shell, server)
        assert shell.run("drill", "failover", "local", answer="n\n").code == 1
        assert not server.asked


def discovering(url: str, folder: Path, extra: str = "discover: true") -> Path:
    path = folder / "local.yaml"
    text = PLAN.read_text().replace('base_url: "http://127.0.0.1:9/v1"', f'base_url: "{url}/v1", local: vllm, {extra}')
    path.write_text(text)
    return path


def test_local_models_are_shown_as_an_addition_to_the_plan(shell: Shell) -> None:
    listed = {"data": [{"id": "big"}, {"id": "qwen3", "max_model_len": 4096}]}
    with serving({"/v1/models": listed}) as server:
        path = discovering(server.url, shell.folder)
        text = shell.ok("models", "discover", "--plan", str(path)).out
        shell.apply(path)
        found = shell.json("models", "discover")
        listed["data"].pop()
        nothing = shell.ok("models", "discover")
    assert text == "models:\n  qwen3: {provider: local, context: 4096, price: {input: $0, output: $0}}\n"
    assert found == {"new": {"local": [{"id": "qwen3", "context": 4096, "can": None}]}, "problems": {}}
    assert "has every model of local already" in nothing.err
    assert json.loads(shell.run("models", "discover", "--json").out)["problems"]["local"].startswith("connect")


def test_only_local_servers_that_may_be_asked_are(shell: Shell) -> None:
    path = discovering("http://127.0.0.1:9", shell.folder, "discover: false")
    ran = shell.run("models", "discover", "--plan", str(path))
    assert (ran.code, "name one with --provider" in ran.err) == (1, True)
    assert "is not a local provider" in shell.run("models", "discover", "--plan", str(path), "--provider", "x").err
    assert "does not tell" in shell.run("models", "discover", "--plan", str(path), "--provider", "local").err
