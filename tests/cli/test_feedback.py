"""Do the commands keep reports, show them, and show what they come to?"""

import json
from datetime import UTC, datetime
from pathlib import Path

from tests.cli.conftest import Shell


def report(id_: int, score: float) -> dict[str, object]:
    return {"kind": "quality", "id": f"{id_}", "agent": "ada", "score": score, "rubric": "tone"}


def test_reports_are_added_listed_and_measured(planned: Shell, tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    ended = {"kind": "task", "id": "t", "agent": "ada", "outcome": "failed", "ended": datetime.now(UTC).isoformat()}
    file.write_text("\n".join(map(json.dumps, [report(1, 0.5), report(2, 1.0), ended])))
    assert "3 reports kept" in planned.ok("feedback", "add", str(file)).out
    assert planned.json("feedback", "add", str(file)) == {"received": 3, "new": 0}
    listed = planned.json("feedback", "list", "--where", "kind=quality")
    assert sorted(each["score"] for each in listed) == [0.5, 1.0]
    assert "1 for tone" in planned.ok("feedback", "list").out
    measured = planned.json("metrics", "--agent", "ada", "--metric", "quality", "--metric", "latency")
    quality, latency = measured["metrics"]
    assert (quality["metric"], quality["value"], quality["n"]) == ("quality", 0.75, 2)
    assert (latency["value"], latency["says"]) == (None, "nothing of this was recorded in the window")
    shown = planned.ok("metrics", "--agent", "ada").out
    assert "agent ada" in shown
    assert "0.75" in shown
    assert "unknown" in shown


def test_a_file_with_an_error_is_not_kept_at_all(planned: Shell, tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    file.write_text(f"{json.dumps(report(1, 0.5))}\n{json.dumps(report(2, 7))}\n{{\n")
    ran = planned.run("feedback", "add", str(file))
    assert ran.code == 1
    assert "line 2.score: 7 is not a number from 0 to 1" in ran.err
    assert "line 3" in ran.err
    assert planned.json("feedback", "list") == []
    assert planned.run("feedback", "add", str(tmp_path / "none")).code == 1


def test_reports_may_come_by_a_pipe(planned: Shell) -> None:
    assert "1 reports kept" in planned.ok("feedback", "add", "-", answer=json.dumps(report(1, 0.5))).out


def test_wrong_words_are_wrong_usage(planned: Shell) -> None:
    assert planned.run("metrics", "--agent", "a", "--pod", "b").code == 2
    assert planned.run("metrics", "--metric", "joy").code == 2
    assert planned.run("feedback", "list", "--where", "colour=red").code == 2
