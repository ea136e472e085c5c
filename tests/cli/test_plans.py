"""Do the plan commands show every problem with its place, every consequence, and apply only what they should?"""

from pathlib import Path

from tests.admin.installation import PLAN
from tests.cli.conftest import Shell


def broken(shell: Shell) -> Path:
    path = shell.folder / "broken.yaml"
    path.write_text(PLAN.read_text().replace("gate: hard", "gate: hart", 1).replace("$0.10", "cheap", 1))
    return path


def test_a_good_plan_is_checked_without_a_database(shell: Shell) -> None:
    ran = shell.ok("plan", "check", str(PLAN))
    assert "ok plan two-tenants, 3 workloads served" in ran.out
    found = shell.json("plan", "check", str(PLAN))
    assert (found["ok"], len(found["hash"])) == (True, 64)
    assert not shell.db.exists()


def test_every_problem_is_shown_with_a_caret_below_its_place(shell: Shell) -> None:
    path = broken(shell)
    ran = shell.run("plan", "check", str(path))
    assert ran.code == 1
    lines = ran.err.splitlines()
    source = path.read_text().splitlines()
    number = next(at for at, line in enumerate(source, 1) if "hart" in line)
    shown = next(at for at, line in enumerate(lines) if line.startswith(f"{path}:{number}:"))
    assert "workloads.docs.gate: 'hart'" in lines[shown]
    assert lines[shown + 1].endswith(source[number - 1])
    assert lines[shown + 2].index("^") == lines[shown + 1].index("hart")
    assert "Did you mean 'hard'?" in lines[shown + 3]
    assert any("'cheap'" in line for line in lines)
    assert "errors: the plan cannot be applied" in lines[-1]


def test_problems_as_json(shell: Shell) -> None:
    ran = shell.run("plan", "check", str(broken(shell)), "--json")
    assert ran.code == 1
    assert ran.json["ok"] is False
    assert {"models.small.price.input", "workloads.docs.gate"} <= {each["path"] for each in ran.json["problems"]}


def test_a_plan_that_is_not_there(shell: Shell) -> None:
    ran = shell.run("plan", "check", str(shell.folder / "none.yaml"))
    assert ran.code == 1
    assert "cannot be read" in ran.err


def test_applying_asks_first(shell: Shell) -> None:
    refused = shell.run("plan", "apply", str(PLAN), answer="n\n")
    assert refused.code == 1
    assert "chat is served to acme" in refused.err
    assert shell.run("plan", "show").code == 1
    assert shell.run("plan", "apply", str(PLAN), answer="").code == 1
    assert "in force" in shell.ok("plan", "apply", str(PLAN), answer="y\n").out
    assert "in force already" in shell.ok("plan", "apply", str(PLAN)).out
    assert len(shell.json("plan", "history")) == 1


def test_diff_shows_and_changes_nothing(planned: Shell) -> None:
    changed = planned.folder / "changed.yaml"
    changed.write_text(PLAN.read_text().replace("pro: {month: $5}", "pro: {month: $8}"))
    assert "$5.00 a month -> $8.00 a month" in planned.ok("plan", "diff", str(changed)).out
    assert "nothing changes" in planned.ok("plan", "diff", str(PLAN)).out
    found = planned.json("plan", "diff", str(changed))
    assert (found["applied"], found["consequences"][0]["kind"]) == (False, "ceiling")
    applied = planned.json("plan", "apply", str(changed))
    assert applied["applied"] is True
    assert planned.json("plan", "show")["applied"]["hash"] == found["hash"]
    assert [each["number"] for each in planned.json("plan", "history")] == [2, 1]


def test_a_broken_plan_is_not_applied(planned: Shell) -> None:
    before = planned.json("plan", "show")["applied"]["hash"]
    assert planned.run("plan", "apply", str(broken(planned)), "--yes").code == 1
    assert planned.json("plan", "show")["applied"]["hash"] == before


def test_show_names_what_is_served(planned: Shell) -> None:
    text = planned.ok("plan", "show").out
    assert "soft-cap, then pay-as-you-go" in text
    assert planned.json("plan", "show")["document"]["plan"]["name"] == "two-tenants"


def test_the_schema_is_json(shell: Shell) -> None:
    assert shell.ok("plan", "schema").json["title"] == "Upshift plan"


def test_a_plan_that_cannot_wait_for_the_end_of_a_freeze_says_why(shell: Shell) -> None:
    always = "\ncalendar: {freezes: {audit: {from: 2001-01-01, to: 2199-12-31, why: an audit}}}\n"
    path, other = shell.folder / "plan.yaml", shell.folder / "other.yaml"
    path.write_text(PLAN.read_text() + always)
    other.write_text(PLAN.read_text() + always + "ops: {platform: 5h}\n")
    shell.apply(path)
    assert any("the freeze 'audit': an audit" in each for each in shell.json("plan", "diff", str(other))["refusals"])
    refused = shell.run("plan", "apply", str(other), "--yes")
    assert refused.code == 1
    assert "no plan is put in force today" in refused.err
    assert "in force already" in shell.ok("plan", "apply", str(path)).out
    shell.ok("plan", "apply", str(other), "--yes", "--override", "a price has doubled")
    assert len(shell.json("plan", "history")) == 2
