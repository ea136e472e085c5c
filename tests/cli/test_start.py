"""Does the command line begin well: quickly, once, and with words where something is missing?"""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.admin.installation import PLAN
from tests.cli.conftest import Shell

from upshift.cli.lazy import COMMANDS, HIDDEN
from upshift.plan_file import load


def test_init_writes_a_valid_plan_and_shows_the_key_once(shell: Shell) -> None:
    ran = shell.ok("init", str(shell.folder))
    assert ran.out.count("upa_") == 1
    checked = load([shell.folder / "plan.yaml"])
    assert checked.warnings == ()
    assert set(checked.snapshot.providers) == {"openai", "anthropic"}
    assert "OPENAI_API_KEY" in (shell.folder / ".env.example").read_text()
    again = shell.run("init", str(shell.folder))
    assert (again.code, "exists already; nothing was written" in again.err) == (1, True)
    shell.ok("plan", "apply", str(shell.folder / "plan.yaml"), "--yes")
    assert shell.json("key", "issue", "--name", "me", "--tenant", "acme", "--user", "alice")["secret"]


def test_the_starter_plan_works_with_the_simulated_provider_as_it_says(shell: Shell) -> None:
    shell.ok("init", str(shell.folder))
    text = (shell.folder / "plan.yaml").read_text()
    text = text.replace("https://api.openai.com/v1", "http://127.0.0.1:9000/v1")
    text = text.replace("https://api.anthropic.com", "http://127.0.0.1:9000")
    kept = [line for line in text.splitlines() if not line.strip().startswith("key: env:")]
    (shell.folder / "plan.yaml").write_text("\n".join(kept))
    providers = load([shell.folder / "plan.yaml"]).snapshot.providers.values()
    assert [each.key_env for each in providers] == ["", ""]


def test_init_as_json(shell: Shell) -> None:
    found = shell.json("init", str(shell.folder / "new"))
    assert found["admin_key"].startswith("upa_")
    assert Path(found["plan"]).is_file()
    assert Path(found["db"]) == shell.db


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "show"],
        ["plan", "diff", str(PLAN)],
        ["key", "list"],
        ["key", "issue", "--name", "x"],
        ["budget", "show"],
        ["usage"],
        ["usage", "calls"],
        ["verify"],
    ],
)
def test_without_a_database(shell: Shell, words: list[str]) -> None:
    ran = shell.run(*words, "--json")
    assert ran.code == 1
    assert "create one with 'upshift init'" in ran.json["error"]
    assert not shell.db.exists()


@pytest.mark.parametrize(
    "words", [["plan", "show"], ["budget", "show"], ["key", "issue", "--name", "x", "--tenant", "acme"], ["serve"]]
)
def test_without_a_plan(shell: Shell, words: list[str]) -> None:
    shell.ok("init", str(shell.folder))
    ran = shell.run(*words)
    assert ran.code == 1
    assert "no plan is in force yet; apply one with: upshift plan apply FILE" in ran.err


@pytest.mark.parametrize("words", [["key", "list"], ["verify"], ["plan", "apply", str(PLAN), "--yes"]])
def test_a_file_that_is_no_database(shell: Shell, words: list[str]) -> None:
    shell.db.write_text("not a database, but quite long enough to be taken for one" * 20)
    ran = shell.run(*words)
    assert ran.code == 1
    assert "the database cannot be" in ran.err


def test_a_database_of_something_else(shell: Shell) -> None:
    other = sqlite3.connect(shell.db)
    other.execute("CREATE TABLE t (x)")
    other.close()
    ran = shell.run("key", "list")
    assert (ran.code, "something else" in ran.err) == (1, True)


def test_a_ledger_that_was_changed_is_not_sound(planned: Shell) -> None:
    other = sqlite3.connect(planned.db)
    other.execute("DROP TRIGGER deeds_no_update")
    other.execute("UPDATE deeds SET at = at + 1")
    other.commit()
    other.close()
    ran = planned.run("verify", "--json")
    assert (ran.code, ran.json["ok"]) == (1, False)
    assert "NOT SOUND" in planned.run("verify").out


def test_settings_that_are_wrong_are_wrong_usage(shell: Shell) -> None:
    assert shell.run("serve", "--log-level", "loud").code == 2
    assert shell.run("serve", "--port", "70000").code == 2


def test_every_command_has_help_and_the_list_says_the_same(shell: Shell) -> None:
    listed = shell.ok("--help").out
    for name in COMMANDS:
        assert name in listed
        if name != "demo":
            assert "Usage: upshift" in shell.ok(name, "--help").out.replace("root", "upshift")
    assert not any(name in listed for name in HIDDEN)


def test_a_misspelt_command_is_guessed(shell: Shell) -> None:
    ran = shell.run("budgt")
    assert ran.code == 2
    assert "Did you mean 'budget'?" in ran.err


def test_a_forecast_in_text_loads_nothing_that_draws() -> None:
    code = (
        "import sys\n"
        "from upshift.cli import plan_compare, plan_forecast, plan_whatif, team\n"
        "print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150, check=True)
    assert done.stdout.strip() == "False"


def test_help_and_version_load_nothing_heavy() -> None:
    """The promise is below 0.3 s; what decides it is what is imported, which does not depend on the machine's load."""
    code = (
        "import sys, json\n"
        "from upshift.cli.root import app\n"
        "try:\n    app(['--help'], prog_name='upshift')\nexcept SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    heavy = {"pydantic", "fastapi", "uvicorn", "sqlite3", "asyncio", "genai_prices", "yaml", "structlog", "upshift.app"}
    assert not loaded & heavy


def test_checking_a_plan_loads_neither_a_database_nor_what_computes_nor_the_catalogue(tmp_path: Path) -> None:
    """The promise is 2 s for 5,000 rows, start included; what decides the start is what is imported."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "upshift: 1\n"
        "name: small\n"
        'providers: {answers: {dialect: anthropic, base_url: "http://127.0.0.1:9000"}}\n'
        "models: {large: {provider: answers, context: 1M, price: {input: $2, output: $10}}}\n"
    )
    code = (
        "import sys, json\n"
        "from upshift.cli.root import app\n"
        f"try:\n    app(['plan', 'check', {str(plan)!r}], prog_name='upshift')\nexcept SystemExit as ended:\n"
        "    print(json.dumps([ended.code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    ended, loaded = json.loads(done.stdout.splitlines()[-1])
    heavy = {"numpy", "scipy", "fastapi", "sqlite3", "asyncio", "genai_prices", "structlog", "upshift.admin.desk"}
    assert (ended, set(loaded) & heavy) == (0, set())
