"""Does an example begin an installation, and does the check of it say what keeps a candidate one?"""

from pathlib import Path

from tests.cli.conftest import Shell

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "scale-out" / "plan.yaml"


def test_the_example_that_ships_is_the_one_of_the_repository(shell: Shell) -> None:
    shell.ok("init", str(shell.folder), "--example", "scale-out")
    assert (shell.folder / "plan.yaml").read_text() == EXAMPLE.read_text()


def test_an_example_that_does_not_exist_is_refused_and_nothing_is_written(shell: Shell) -> None:
    ran = shell.run("init", str(shell.folder / "new"), "--example", "scaleout")
    assert ran.code == 2
    assert "there is no example 'scaleout'" in ran.err
    assert "'scale-out'" in ran.err
    assert not (shell.folder / "new").exists()


def test_the_check_says_why_a_candidate_stays_one(shell: Shell) -> None:
    said = shell.ok("plan", "check", str(EXAMPLE)).out
    assert "W-05 is candidate, and not served: it stays one until it states users, sessions" in said
    assert "W-03 is planned, and not served\n" in said
    found = shell.json("plan", "check", str(EXAMPLE))
    assert found["not_served"] == ["W-03", "W-04", "W-05"]
    assert list(found["lacking"]) == ["W-05"]
    assert found["lacking"]["W-05"][0] == "users"


def test_every_broken_plan_is_refused_in_words(shell: Shell) -> None:
    files = sorted((ROOT / "tests" / "plan_file" / "broken").glob("*.yaml"))
    assert len(files) >= 30
    for file in files:
        ran = shell.run("plan", "check", str(file))
        assert ran.code == 1, file
        assert f"{file}:" in ran.err
        assert ": error: " in ran.err
        assert "Traceback" not in ran.err
        assert "the plan cannot be applied" in ran.err
