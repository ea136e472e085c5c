"""Do the commands on playbooks start, show, sign, override, abort and rehearse, and refuse in words?"""

import time
from pathlib import Path

import pytest
from tests.cli.conftest import Shell
from tests.engine.rehearsals import QUICK

WHO = ("-i", "agent=dora", "-i", "interfaces=dora-ada,dora-bob")


def key(shell: Shell, role: str, name: str) -> str:
    return str(shell.json("key", "issue", "--role", role, "--name", name)["secret"])


@pytest.fixture
def run(planned: Shell) -> str:
    return str(planned.json("playbook", "start", "add-agent", *WHO)["run"])


def test_a_run_is_started_shown_and_aborted(planned: Shell, run: str) -> None:
    assert run == "add-agent-dora-1"
    shown = planned.ok("playbook", "list").out
    assert "capacity → interfaces → baseline → staged → full → recalibration → post-mortem" in shown
    assert run in shown
    (status,) = planned.json("playbook", "status")
    assert (status["state"], status["subject"]) == ("running", "dora")
    assert "add-agent-dora-1 running" in planned.ok("playbook", "explain", run).out
    twice = planned.run("playbook", "start", "add-agent", *WHO)
    assert twice.code == 1
    assert "is not over" in twice.err
    assert planned.json("playbook", "abort", run, "--reason", "second thoughts")["state"] == "aborted"
    assert planned.json("playbook", "status") == []
    assert "no runs" in planned.ok("playbook", "status").out
    assert "aborted" in planned.ok("playbook", "history", run).out
    assert "second thoughts" in planned.ok("playbook", "history", run, "--post-mortem").out
    assert planned.json("playbook", "history", run)["lines"][0]["by"].endswith("(command line)")
    assert planned.json("playbook", "start", "add-agent", *WHO)["run"] == "add-agent-dora-2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "add-agent"), "agent is missing: The new agent's name"),
        (("start", "add-agent", *WHO, "-i", "colour=red"), "there is no input 'colour'"),
        (("start", "add-agent", *WHO, "--tell", "mia"), "'mia' is not an e-mail address"),
        (("start", "add-agnet"), "neither a playbook that ships (add-agent) nor a file"),
        (("explain", "nothing-1"), "there is no run 'nothing-1'"),
        (("history", "nothing-1"), "there is no run"),
        (("abort", "nothing-1", "--reason", "x", "--yes"), "there is no run"),
    ],
)
def test_what_cannot_be_is_refused_in_words(planned: Shell, words: tuple[str, ...], said: str) -> None:
    ran = planned.run("playbook", *words)
    assert ran.code == 1
    assert said in ran.err
    assert said in planned.run("playbook", *words, "--json").json["error"]


def test_an_input_may_be_a_file(planned: Shell) -> None:
    sheet = planned.folder / "team.csv"
    sheet.write_text("agents,throughput\n1,10\n2,18\n")
    words = ("playbook", "start", "add-agent", *WHO, "-i", f"measurements=@{sheet}", "-i", "team=2")
    run = planned.json(*words)["run"]
    (started, *_) = planned.json("playbook", "history", run)["lines"]
    assert "measurements: 3 lines" in started["detail"]
    assert planned.run("playbook", "start", "add-agent", "-i", "agent").code == 2
    assert "cannot be read" in planned.run("playbook", "start", "add-agent", "-i", "agent=@/no").err


def test_signing_and_overriding_take_a_person_and_a_role(planned: Shell) -> None:
    path = planned.folder / "mine.yaml"
    path.write_text(
        "playbook: mine\ntitle: Mine\nphases:\n  only:\n    entry:\n      - {check: contracts-complete}\n"
        "      - {sign-off: engineering, name: read}\n"
    )
    run = planned.json("playbook", "start", str(path))["run"]
    mia, tom, root = key(planned, "engineering", "mia"), key(planned, "finance", "tom"), key(planned, "admin", "root")
    refused = planned.run("playbook", "signoff", run, "read", key=tom)
    assert "has to be signed by engineering; this key's role is finance" in refused.err
    assert "set UPSHIFT_KEY" in planned.run("playbook", "signoff", run, "read").err
    assert "no 'reed'" in planned.run("playbook", "signoff", run, "reed", key=mia).err
    assert "not a sign-off but the check" in planned.run("playbook", "signoff", run, "contracts-complete", key=mia).err
    assert "signed off" in planned.ok("playbook", "signoff", run, "read", "--note", "all of it", key=mia).out
    (gate,) = [one for one in planned.json("playbook", "explain", run)["criteria"] if one["name"] == "read"]
    assert gate["answer"] == "pass"
    assert "mia" in gate["says"][0]

    words = ("playbook", "override", run, "contracts-complete", "--reason", "demo", "--risk-owner", "zoe")
    assert "only engineering or an admin" in planned.run(*words, "--until", "3d", "--yes", key=tom).err
    assert "expired already" in planned.run(*words, "--until", "2020-01-01", "--yes", key=mia).err
    empty = ("playbook", "override", run, "read", "--reason", " ", "--risk-owner", " ", "--until", "3d", "--yes")
    problems = planned.run(*empty, key=mia).err
    assert all(each in problems for each in ("it is signed, not overridden", "needs a reason", "who owns the risk"))
    assert "the risk is zoe's" in planned.ok(*words, "--until", "3d", "--yes", key=root).out
    shown = planned.json("playbook", "explain", run)
    (override,) = shown["overrides"]
    assert (override["by"], override["owner"], override["expired"]) == ("root", "zoe", False)
    assert [one["override"] for one in shown["criteria"]] == ["root", ""]
    assert "overridden" in planned.ok("playbook", "status").out


def test_a_bad_book_is_refused_with_its_place(shell: Shell) -> None:
    path = shell.folder / "bad.yaml"
    path.write_text("playbook: bad\nphases:\n  only:\n    window: -3h\n    exit: [{check: nope}]\n")
    ran = shell.run("playbook", "check", str(path))
    assert ran.code == 1
    assert "bad.yaml:4:13: error: phases.only.window: '-3h' is negative" in ran.err
    assert "'nope' is not a check" in ran.err
    assert len(shell.run("playbook", "check", str(path), "--json").json["problems"]) == 2


def test_a_book_is_checked_and_its_schema_shown(shell: Shell) -> None:
    assert "hash " in shell.ok("playbook", "check", "add-agent").out
    assert [one["window"] for one in shell.json("playbook", "check", "add-agent")["phases"]].count("48 h") == 1
    assert shell.json("playbook", "schema")["title"] == "Upshift playbook"


def test_a_book_is_rehearsed_quickly(shell: Shell) -> None:
    path = shell.folder / "quick.yaml"
    path.write_text(QUICK)
    # Of the processor: what else the machine does is not counted.
    began = time.process_time()
    found = shell.json("playbook", "simulate", str(path), "--scenario", "slow", "--days", "2")
    assert time.process_time() - began < 60
    assert found["run"]["state"] == "rolled-back"
    assert found["simulated"]["scenario"] == "slow"
    assert "latency regressed" in found["post_mortem"]
    again = shell.json("playbook", "simulate", str(path), "--scenario", "slow", "--days", "2")
    assert again["lines"] == found["lines"]
    shown = shell.ok("playbook", "simulate", str(path), "--scenario", "slow", "--days", "2").out
    assert "# Post-mortem: A quick one - dora" in shown
    assert Path(shell.folder / "upshift.db").exists() is False, "a rehearsal touches no database"
