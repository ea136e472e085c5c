"""Do the commands on teams show what was measured, fitted and advised, and refuse a bad sheet in words?"""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.cli.conftest import Shell

DATA = Path(__file__).parents[1] / "data"
RAYTRACER = str(DATA / "usl" / "raytracer.csv")
SPECSDM = str(DATA / "usl" / "specsdm91.csv")
PREASSIGNED = str(DATA / "llm_teams" / "preassigned_p09.csv")


def test_fit_draws_what_was_measured(shell: Shell) -> None:
    ran = shell.ok("team", "fit", SPECSDM, "--now", "72")
    assert "coherency" in ran.out
    assert "breaking point: about 96.5 agents" in ran.out
    (line,) = (line for line in ran.out.splitlines() if line.startswith("    36"))
    assert "1,652" in line
    assert "●" in line
    assert "+" in line
    assert "Grow to 8" in ran.out


def test_fit_as_json(shell: Shell) -> None:
    found = shell.json("team", "fit", RAYTRACER, "--target", "100")
    assert found["law"]["beta"] == 0
    assert found["law"]["peak"] is None
    assert found["breaking_point"]["place"] == "unknown"
    assert found["breaking_point"]["peak"]["high"] is None
    assert found["verdict"]["advice"] == "add"
    assert (found["verdict"]["now"], found["verdict"]["target"]) == (1, 100)
    assert len(found["sizes"]) == 11


def test_the_verdict_is_not_greedy(shell: Shell) -> None:
    found = shell.json("team", "fit", PREASSIGNED)
    assert (found["verdict"]["advice"], found["verdict"]["best"]) == ("add", 4)
    shown = shell.ok("team", "fit", PREASSIGNED, "--now", "4", "--target", "5").out
    assert "the law does not fit" in shown
    assert "Stop at 4" in shown


def test_the_same_seed_shows_the_same(shell: Shell) -> None:
    words = ("team", "fit", SPECSDM, "--seed", "7")
    assert shell.ok(*words).out == shell.ok(*words).out


def test_interfaces_and_independence(shell: Shell) -> None:
    words = ("team", "fit", RAYTRACER, "--now", "20", "--target", "24", "--interfaces", "47", "--independence", "73%")
    shown = shell.ok(*words).out
    assert "190 interfaces possible (47 active, 4.7 contacts per agent)" in shown
    assert "73%: 28" in shown
    assert "one per cent more independence moves it by 1.9 %" in shown
    found = shell.json(*words)
    assert found["coordination"]["active"] == 47
    assert found["independence"]["breaking_point"] == pytest.approx(28)


@pytest.mark.parametrize("shape", ["mesh", "star", "ring", "none"])
def test_topologies(shell: Shell, shape: str) -> None:
    found = shell.json("team", "fit", SPECSDM, "--topology", shape)
    assert found["law"]["topology"] == shape
    assert (found["law"]["peak"] is None) == (shape != "mesh")


def test_a_topology_of_a_file(shell: Shell) -> None:
    path = shell.folder / "who.csv"
    path.write_text("agents,interfaces\n10,20\n20,47\n64,200\n")
    assert shell.json("team", "fit", RAYTRACER, "--topology", str(path))["law"]["topology"] == "declared"
    path.write_text("agents,interfaces\n20,47\n")
    ran = shell.run("team", "fit", RAYTRACER, "--topology", str(path))
    assert ran.code == 1
    assert "nothing of more than 20 agents" in ran.err
    path.write_text("who,knows\n")
    assert "line 1: the columns are" in shell.run("team", "fit", RAYTRACER, "--topology", str(path)).err
    ran = shell.run("team", "fit", RAYTRACER, "--topology", "spiral")
    assert ran.code == 2
    assert "neither a file nor mesh, star, ring, none" in ran.err


def test_too_few_sizes_are_said_to_be_too_few(shell: Shell) -> None:
    path = shell.folder / "few.csv"
    path.write_text("agents,throughput\n3,30\n4,38\n")
    shown = shell.ok("team", "fit", str(path), "--target", "6").out
    assert "Not enough sizes measured" in shown
    found = shell.json("team", "fit", str(path), "--target", "6")
    assert (found["law"], found["verdict"]["advice"]) == (None, "measure")
    assert found["sizes"][0]["throughput"]["high"] is None


def test_a_bad_sheet_is_refused_with_every_line(shell: Shell) -> None:
    path = shell.folder / "bad.csv"
    path.write_text("agents,throughput\n4,many\nfive,3\n")
    ran = shell.run("team", "fit", str(path))
    assert ran.code == 1
    assert "bad.csv: line 2" in ran.err
    assert "bad.csv: line 3" in ran.err
    assert "line 2" in shell.run("team", "fit", str(path), "--json").json["error"]
    path.write_bytes(b"agents,throughput\n4,\xff\n")
    assert "is not UTF-8" in shell.run("team", "fit", str(path)).err
    assert "No such file" in shell.run("team", "fit", str(shell.folder / "none.csv")).err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--now", "5", "--target", "4"), 1, "above the team of today"),
        (("--independence", "100%"), 2, "between 0% and 100%"),
        (("--interfaces", "7"), 1, "1 agents have 0 to 0"),
    ],
)
def test_what_cannot_be_is_refused(shell: Shell, words: tuple[str, ...], code: int, says: str) -> None:
    ran = shell.run("team", "fit", RAYTRACER, *words)
    assert ran.code == code
    assert says in ran.err


def test_the_worked_example(shell: Shell) -> None:
    shown = shell.ok("team", "example").out
    for figure in ("802", "968", "1,058", "+166", "+90", "1,200*"):
        assert figure in shown
    assert shown.count("disagrees ") == 3
    found = shell.json("team", "example")
    assert found["breaking_point"] == 28
    assert len(found["disagreements"]) == 3


def test_a_picture_for_a_deck(shell: Shell) -> None:
    path = shell.folder / "team.svg"
    words = ("team", "fit", SPECSDM, "--now", "72", "--svg", str(path), "--unit", "jobs per hour")
    shell.ok(*words)
    drawn = path.read_text()
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    shell.ok(*words)
    assert path.read_text() == drawn
    assert "No such file" in shell.run(*words[:-3], str(shell.folder / "none" / "team.svg")).err
