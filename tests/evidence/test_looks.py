"""Does the bench judge what the product judges?"""

import json
from pathlib import Path

import numpy as np
import pytest
from bench.looks import running
from bench.regression import LOOKS, cases, draw, ours, simulate
from bench.regression_series import watch_series
from tests.evidence.world import BEGIN, amounts, frozen

from upshift.evidence.baseline import Baseline, Needs, Structure, freeze
from upshift.evidence.measurement import Kind, Metric, Observations, Scope, Worse
from upshift.evidence.pattern import HOUR
from upshift.evidence.regression import Outcome, Watch, look
from upshift.evidence.tally import empty, push
from upshift.evidence.weigh import Rules, compare, seen_side, snapshot_side
from upshift.model.ids import PlanHash


def test_all_looks_at_once_are_the_tallies_one_by_one() -> None:
    baseline, found = frozen(amounts(2_000, 1, swing=0.3)), amounts(600, 2, start=BEGIN + 30 * 24 * HOUR)
    sums, tally = running(baseline, found, 50), empty(baseline)
    for number in range(12):
        part = slice(50 * number, 50 * number + 50)
        tally = push(baseline, tally, Observations(found.at[part], found.values[part]))
        for field in sums.__struct_fields__:
            assert getattr(sums, field)[number] == pytest.approx(getattr(tally.sums(), field)), field


@pytest.mark.parametrize("number", [0, 5, 14, 15])
def test_the_bench_alarms_when_a_verdict_would(number: int) -> None:
    case = [one for one in cases() if not one.errors][number % 12]
    run = draw(case, 3)
    alarms = ours(run)
    metric = Metric(name="latency", kind=Kind.VALUE)
    baseline = freeze(metric, Scope(), Structure((), (), PlanHash("bench")), run.before, Needs(days=0, values=100))
    assert isinstance(baseline, Baseline)
    per_look = len(run.stage) // LOOKS
    for look_number in (1, 30, 100, 300, LOOKS):
        upto = look_number * per_look
        beside = None
        if run.control is not None:
            beside = push(baseline, empty(baseline), Observations(run.control.at[:upto], run.control.values[:upto]))
        stage = push(baseline, empty(baseline), Observations(run.stage.at[:upto], run.stage.values[:upto]))
        start = int(run.stage.at[0])
        watch = Watch(start=start, stage=stage, control=beside)
        verdict = look(baseline, watch, start + look_number * HOUR // 12, Rules())[1]
        assert (verdict.outcome is Outcome.REGRESSED) == bool(alarms[look_number - 1])


def test_a_row_has_what_is_asked_of_it() -> None:
    rows = {row.rule: row for row in simulate(cases()[4], 3, 1)}
    assert set(rows) == {"mann-whitney", "threshold 1.25x", "kayenta", "mean E", "rank E", "ours"}
    assert rows["ours"].alarm_rate == 1
    assert (rows["ours"].median_hours or 0) < 48


def test_series_of_each_shape_are_read(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    (tmp_path / "mine").mkdir()
    stamp = [str(np.datetime64("2026-01-01T00:00:00") + np.timedelta64(5 * i, "m")) for i in range(1200)]
    values = random.normal(10, 1, 1200)
    values[900:1000] = 20
    (tmp_path / "mine" / "a.csv").write_text(
        "timestamp,value\n" + "".join(f"{at},{one}\n" for at, one in zip(stamp, values, strict=True))
    )
    (tmp_path / "windows.json").write_text(json.dumps({"mine/a.csv": [[stamp[900], stamp[999]]]}))
    labels = (np.arange(1200) >= 900) & (np.arange(1200) < 1000)
    rows = zip(stamp, values, labels.astype(int), strict=True)
    (tmp_path / "mine" / "b.csv").write_text(
        "TimeStamp,Value,Label\n" + "".join(f'"{a}Z",{v},{x}\n' for a, v, x in rows)
    )
    noise = "".join(f"{at},{vm},{random.normal(10, 1)}\n" for at in stamp for vm in range(2))
    (tmp_path / "mine" / "c.csv").write_text("starttime,VM_id,value\n" + noise)
    found = {(one.series, one.rule): one for one in watch_series(tmp_path)}
    for name in ("mine/a", "mine/b"):
        assert (found[name, "ours"].incidents, found[name, "ours"].found) == (1, 1)
        assert found[name, "ours"].quiet >= 2
    assert (found["mine/c", "ours"].quiet, found["mine/c", "ours"].false_alarms) == (20, 0)
    assert found["all of mine", "ours"].incidents == 2
    with pytest.raises(ValueError, match="has no series"):
        list(watch_series(tmp_path / "nothing"))


def test_skewed_values_that_are_low_by_chance_are_neither_healthy_nor_worse() -> None:
    """Worse by exactly the margin, "healthy" is false; unchanged, "less" is: each in no more than one of twenty runs."""
    higher, lower = (Metric(name="mean", kind=Kind.MEAN, worse=way) for way in (Worse.UP, Worse.DOWN))
    healthy, worse = 0, 0
    for seed in range(80):
        baseline = frozen(amounts(1_000, seed, per_hour=24), higher)
        for metric, level in ((higher, 1.1), (lower, 1.0)):
            found = amounts(48 * 24, 5_000 + seed, level=level, per_hour=24)
            seen = running(baseline, found, 2)
            reading = compare(metric, baseline, seen_side(baseline, seen), snapshot_side(baseline, seen.hours))
            enough = reading.enough >= 50
            if metric is higher:
                healthy += bool(np.any((reading.healthy >= np.log(20)) & enough))
            else:
                worse += bool(np.any((reading.worse >= np.log(20)) & enough))
    assert healthy <= 4
    assert worse <= 4
