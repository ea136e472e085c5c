"""Are the forecasts better than what people do without them, on production data?"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench.forecasts import BURSTGPT, SERVEGEN, Trial, burstgpt, servegen, try_many, try_one

from upshift.planning.series import DAILY, HOURLY, forecast_many

HOURS = servegen(SERVEGEN)


def errors(trial: Trial) -> list[float]:
    return [abs(score.total_error) for score in trial.scores]


def test_days_of_a_campus_service() -> None:
    trial = try_one("BurstGPT", burstgpt(BURSTGPT), 20, DAILY)
    ours, last, sheet = errors(trial)
    assert ours < min(last, sheet)
    assert ours < 0.25
    assert trial.scores[0].total_covered


def test_hours_of_production_workloads() -> None:
    trial = try_many("ServeGen", HOURS, 96, HOURLY)
    ours, last, sheet = errors(trial)
    assert ours < min(last, sheet)
    medians = [score.workload_error for score in trial.scores]
    bounded = [score.workload_bounded_error for score in trial.scores]
    assert medians[0] == min(each for each in medians if each is not None)
    assert bounded[0] == min(each for each in bounded if each is not None)
    assert trial.scores[0].coverage == pytest.approx(0.8, abs=0.05)
    assert trial.scores[0].total_covered


def test_coverage_is_not_an_accident_of_one_origin() -> None:
    held = [try_many("ServeGen", HOURS, fit, HOURLY).scores[0].coverage for fit in range(72, 145, 12)]
    assert sum(each for each in held if each is not None) / len(held) == pytest.approx(0.8, abs=0.05)


def test_the_total_of_the_week_to_come_is_near_what_was_of_late() -> None:
    found = forecast_many(HOURS, 168, season=HOURLY)
    week = sum(steps.sum() for steps in HOURS.values())
    assert week * 0.9 < found.total.points.sum() < week * 1.2


def test_a_file_that_continues_the_shipped_one_is_joined_to_it(tmp_path: Path) -> None:
    days, week = tmp_path / "days.csv", tmp_path / "hours.csv"
    days.write_text("day,requests,total_tokens\n" + "".join(f"{day},1,{day * 1000000}\n" for day in range(30, 40)))
    week.write_text("model,workload,hour,requests,in_tok,out_tok,peak_rps_10min\n"
                    + "".join(f"m-large,0,{hour},1,500000,5,1\n" for hour in range(168, 200))
                    + "m-new,7,199,1,3,4,1\n")  # fmt: skip
    assert len(burstgpt(days)) == 40
    joined = servegen(week)
    assert len(joined) == len(HOURS) + 1
    assert joined["m-new/7"][199] == 7
    assert joined["m-large/0"][:168].sum() == HOURS["m-large/0"].sum()
    done = subprocess.run(
        [sys.executable, "-m", "bench.forecasts", "--json", "--burstgpt", days, "--servegen", week],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    first, second = json.loads(done.stdout)["asked"]
    assert (first["fit"], first["horizon"]) == (30, 10)
    assert (second["fit"], second["horizon"], second["unseen"]) == (168, 32, 1)
