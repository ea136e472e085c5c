"""Do the commands that forecast say it well, as text, JSON, CSV and pictures?"""

import csv
import io
from pathlib import Path

import pytest
from tests.cli.conftest import Shell

from upshift.cli import root

EXAMPLE = str(Path(root.__file__).parent / "examples" / "scale-out.yaml")
QUICK = ("--draws", "200", "--start", "2026-04")


def test_a_forecast_says_the_three_budgets_and_the_buffer(shell: Shell) -> None:
    text = shell.ok("plan", "forecast", EXAMPLE, *QUICK).out
    for word in (
        "TOKENS",
        "COMPUTE",
        "OPS",
        "BUFFER",
        "W-01 Customer support chat",
        "P95",
        "owned by ops lead",
        "46 h",
    ):
        assert word in text
    assert "W-05" not in text


def test_as_json_it_is_all_there(shell: Shell) -> None:
    told = shell.json("plan", "forecast", EXAMPLE, *QUICK, "--months", "6", "--no-under-sizing")
    assert (told["start"], told["months"], told["draws"]) == ("2026-04", 6, 200)
    assert [use["workload"] for use in told["tokens"]["workloads"]] == ["W-01", "W-02", "W-03", "W-04"]
    month = told["tokens"]["workloads"][2]["months"][0]
    assert month["month"] == "2026-07"
    # 280 users at 1.4M tokens, a fifth of them output, at $2 and $10.
    assert month["cost"]["p50"] == pytest.approx(280 * 1.4 * (0.8 * 2 + 0.2 * 10) * 1e9)
    assert [quarter["quarter"] for quarter in told["ops"]["quarters"]] == ["Q2-2026", "Q3-2026"]
    assert told["tokens"]["assumptions"]


def test_it_begins_next_month_unless_it_is_told(shell: Shell) -> None:
    told = shell.json("plan", "forecast", EXAMPLE, "--draws", "10", "--months", "1")
    assert len(told["start"]) == 7


def test_files_are_written(shell: Shell, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"f.{kind}" for kind in ("csv", "html", "svg", "png")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    assert "wrote" in shell.ok("plan", "forecast", EXAMPLE, *QUICK, *options).err
    rows = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    assert {row["workload"] for row in rows} == {"W-01", "W-02", "W-03", "W-04", "TOTAL"}
    assert len([row for row in rows if row["workload"] == "TOTAL"]) == 12
    assert files["html"].read_text().startswith("<!doctype html>")
    assert files["svg"].read_text().startswith("<svg")
    assert files["png"].read_bytes().startswith(b"\x89PNG")


def test_a_file_that_cannot_be_written_is_said(shell: Shell, tmp_path: Path) -> None:
    ran = shell.run("plan", "forecast", EXAMPLE, *QUICK, "--svg", str(tmp_path / "nowhere" / "f.svg"))
    assert ran.code == 1
    assert "No such file" in ran.err


@pytest.mark.parametrize("words", [["--start", "soon"], ["--months", "0"], ["--draws", "0"]])
def test_a_horizon_that_is_none_is_a_wrong_usage(shell: Shell, words: list[str]) -> None:
    assert shell.run("plan", "forecast", EXAMPLE, *words).code == 2


def test_a_broken_plan_is_told_with_its_place(shell: Shell, tmp_path: Path) -> None:
    broken = tmp_path / "plan.yaml"
    broken.write_text("upshift: 1\nname: x\nworkload: {}\n")
    ran = shell.run("plan", "forecast", str(broken))
    assert ran.code == 1
    assert f"{broken}:3:1" in ran.err


CHANGES = ("W-01.users=6000", "W-02.price*1.2", "+W-06 like W-02", "-W-03", "buffer=15%")


def test_what_if(shell: Shell, tmp_path: Path) -> None:
    page = tmp_path / "w.html"
    text = shell.ok("plan", "whatif", EXAMPLE, *CHANGES, *QUICK, "--html", str(page)).out
    for word in ("tokens", "compute", "ops", "buffer", "W-06", "+43%", "hours above a ceiling"):
        assert word in text
    assert "W-02.price*1.2" in page.read_text()
    told = shell.json("plan", "whatif", EXAMPLE, *CHANGES, *QUICK)
    assert told["changes"] == list(CHANGES)
    assert told["before"]["tokens"]["cost"]["p50"] < told["after"]["tokens"]["cost"]["p50"]


def test_a_change_may_begin_with_a_minus_and_options_still_count(shell: Shell) -> None:
    assert shell.json("plan", "whatif", EXAMPLE, "-W-03", *QUICK)["changes"] == ["-W-03"]


def test_a_tornado(shell: Shell, tmp_path: Path) -> None:
    picture = tmp_path / "t.svg"
    text = shell.ok("plan", "whatif", EXAMPLE, "--tornado", *QUICK, "--svg", str(picture)).out
    for word in (
        "matters most to tokens",
        "matters most to compute",
        "matters most to ops",
        "W-01.users",
        "ops.platform",
    ):
        assert word in text
    assert picture.read_text().startswith("<svg")
    told = shell.json("plan", "whatif", EXAMPLE, "--tornado", *QUICK)["tornado"]
    assert [each["line"] for each in told] == ["tokens", "compute", "ops"]


def test_what_cannot_be_changed_is_said_with_what_can(shell: Shell) -> None:
    ran = shell.run("plan", "whatif", EXAMPLE, "W-01.usrs=5", "bufer.x=1")
    assert ran.code == 1
    assert "Did you mean users?" in ran.err
    assert "Did you mean buffer?" in ran.err
    assert len(shell.run("plan", "whatif", EXAMPLE, "W-01.usrs=5", "--json").json["problems"]) == 1


@pytest.mark.parametrize("words", [[EXAMPLE], ["W-01.users=5"]])
def test_a_plan_and_a_change_are_needed(shell: Shell, words: list[str]) -> None:
    assert shell.run("plan", "whatif", *words).code == 2


def test_two_plans_side_by_side(shell: Shell, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(Path(EXAMPLE).read_text().replace("users: 4,200", "users: 8,400"))
    assert "W-01" in shell.ok("plan", "compare", EXAMPLE, str(other), *QUICK).out
    told = shell.json("plan", "compare", EXAMPLE, str(other), *QUICK)
    (moved,) = told["workloads"]
    assert moved["after"] == pytest.approx(2 * moved["before"])
