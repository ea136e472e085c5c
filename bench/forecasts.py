"""How good are the forecasts, beside repeating the last period and beside the spreadsheet's mean per day times days?

    python -m bench.forecasts [--json]
    python -m bench.forecasts --burstgpt FILE --fit-days 30 --servegen FILE --fit-hours 168

Without files, the shipped data: BurstGPT days 0-19 foretell 20-29, ServeGen hours 0-95 foretell 96-167 per workload and
in total; then the same from every other origin. A FILE has the columns of the shipped one (.csv or .csv.gz); what is
within the fit is known, all that follows is foretold. A FILE that begins after day or hour 0 continues the shipped one.

Errors: of the total, (forecast - came) / came. Of workloads, the median of |forecast - came| / came over those that
were known and used something, and the median of |forecast - came| / the larger over all that were known.
Coverage: the share of known workloads (of days, where there is one series) whose tokens lie within P10 to P90.
"""

import argparse
import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from upshift.planning.series import DAILY, HOURLY, Forecast, Season, forecast, forecast_many

Floats = NDArray[np.float64]
DATA = Path(__file__).parent / "data"
BURSTGPT = DATA / "burstgpt-daily" / "daily_days0-29.csv"
SERVEGEN = DATA / "servegen-hourly" / "week1_hourly.csv.gz"


@dataclass(frozen=True)
class Score:
    """One way to forecast, held against what came. None where there are no workloads, or no intervals."""

    way: str
    total_error: float
    workload_error: float | None = None
    workload_bounded_error: float | None = None
    coverage: float | None = None
    total_covered: bool | None = None


@dataclass(frozen=True)
class Trial:
    """One fit and one horizon, in steps; `unseen` workloads began after the fit: only totals count them."""

    data: str
    fit: int
    horizon: int
    workloads: int
    unseen: int
    came: float
    scores: tuple[Score, ...]


def read_burstgpt(path: Path) -> tuple[int, Floats]:
    """The first day, and tokens per day; a day without a row is not observed."""
    rows = {int(row["day"]): float(row["total_tokens"]) for row in _rows(path)}
    first = min(rows)
    return first, np.array([rows.get(day, np.nan) for day in range(first, max(rows) + 1)])


def read_servegen(path: Path) -> tuple[int, dict[str, Floats]]:
    """The first hour of any workload, and tokens per hour of each; an hour without a row is zero."""
    rows = [(f"{row['model']}/{row['workload']}", int(row["hour"]), float(row["in_tok"]) + float(row["out_tok"]))
            for row in _rows(path)]  # fmt: skip
    first, last = min(hour for _, hour, _ in rows), max(hour for _, hour, _ in rows)
    found: dict[str, Floats] = {}
    for name, hour, tokens in rows:
        found.setdefault(name, np.zeros(last - first + 1))[hour - first] += tokens
    return first, found


def _rows(path: Path) -> list[dict[str, str]]:
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return list(csv.DictReader(io.StringIO(text.decode())))


def burstgpt(path: Path) -> Floats:
    """Tokens per day from day 0."""
    first, days = read_burstgpt(path)
    return np.concatenate([read_burstgpt(BURSTGPT)[1][:first], days]) if first else days


def servegen(path: Path) -> dict[str, Floats]:
    """Tokens per hour from hour 0, by workload."""
    first, later = read_servegen(path)
    if first == 0:
        return later
    earlier = read_servegen(SERVEGEN)[1]
    length = len(next(iter(later.values())))
    return {name: np.concatenate([earlier.get(name, np.zeros(first))[:first], later.get(name, np.zeros(length))])
            for name in sorted({*earlier, *later})}  # fmt: skip


def spreadsheet(known: Floats, horizon: int) -> float:
    """The mean per step so far, times the steps to come."""
    return float(np.nanmean(known)) * horizon


def last_period(known: Floats, horizon: int) -> float:
    """What as many steps before came to; all that is known, in proportion, where it is less."""
    return float(np.nanmean(known[-horizon:])) * horizon


def try_one(data: str, series: Floats, fit: int, season: Season) -> Trial:
    """One series: its coverage is over the steps."""
    known, came = series[:fit], series[fit:]
    ours, total = forecast(known, len(came), season=season), float(np.nansum(came))
    seen = came[np.isfinite(came)]
    within = (came >= ours.quantiles(0.1)) & (came <= ours.quantiles(0.9))
    scores = (
        Score(f"upshift ({ours.method})", float(ours.points.sum()) / total - 1,
              coverage=float(within.sum()) / len(seen), total_covered=_covers(ours, total)),
        Score("last period", last_period(known, len(came)) / total - 1),
        Score("spreadsheet", spreadsheet(known, len(came)) / total - 1),
    )  # fmt: skip
    return Trial(data, fit, len(came), 1, 0, total, scores)


def try_many(data: str, series: dict[str, Floats], fit: int, season: Season) -> Trial:
    """Many workloads: those without any use in the fit are not known, and nobody could forecast them one by one."""
    known = {name: steps[:fit] for name, steps in series.items() if steps[:fit].any()}
    horizon = len(next(iter(series.values()))) - fit
    came = np.array([series[name][fit:].sum() for name in known])
    total = float(sum(steps[fit:].sum() for steps in series.values()))
    ours = forecast_many(known, horizon, season=season)
    bounds = np.array([each.interval(0.8) for each in ours.workloads])
    within = (came >= bounds[:, 0] - 1e-6) & (came <= bounds[:, 1] + 1e-6)
    said = np.array([each.points.sum() for each in ours.workloads])
    scores = [_score("upshift", float(ours.total.points.sum()), total, said, came, float(within.mean()),
                     _covers(ours.total, total))]  # fmt: skip
    ways: tuple[tuple[str, Callable[[Floats, int], float]], ...] = (
        ("last period", last_period),
        ("spreadsheet", spreadsheet),
    )
    for way, how in ways:
        plain = np.array([how(steps, horizon) for steps in known.values()])
        scores.append(_score(way, float(plain.sum()), total, plain, came))
    return Trial(data, fit, horizon, len(known), len(series) - len(known), total, tuple(scores))


def _score(
    way: str,
    said_total: float,
    total: float,
    said: Floats,
    came: Floats,
    coverage: float | None = None,
    covered: bool | None = None,
) -> Score:
    used, either = came > 0, np.maximum(said, came)
    apart = np.abs(said - came)
    return Score(
        way,
        said_total / total - 1,
        float(np.median(apart[used] / came[used])),
        float(np.median(apart / np.where(either > 0, either, 1.0))),
        coverage,
        covered,
    )


def _covers(found: Forecast, came: float) -> bool:
    low, high = found.interval(0.8)
    return low <= came <= high


def trials(days: Floats, fit_days: int, hours: dict[str, Floats], fit_hours: int) -> tuple[list[Trial], list[Trial]]:
    """The two that were asked for, and the same from origins all over what was shipped or given."""
    asked = [try_one("BurstGPT, days", days, fit_days, DAILY),
             try_many("ServeGen, hours", hours, fit_hours, HOURLY)]  # fmt: skip
    length = len(next(iter(hours.values())))
    rolling = [try_one("BurstGPT, days", days, fit, DAILY) for fit in range(14, len(days) - 2, 3)]
    rolling += [try_many("ServeGen, hours", hours, fit, HOURLY) for fit in range(72, length - 23, 12)]
    return asked, rolling


def _table(title: str, found: Sequence[Trial]) -> Table:
    table = Table(title=title)
    for name in ("data", "fit", "ahead", "way", "total", "median workload", "bounded", "P10-P90 holds", "total within"):
        table.add_column(name, justify="left" if name in {"data", "way"} else "right")
    for trial in found:
        for at, score in enumerate(trial.scores):
            where = (trial.data, str(trial.fit), str(trial.horizon)) if at == 0 else ("", "", "")
            table.add_row(
                *where, score.way, f"{score.total_error:+.1%}", *map(_percent, (
                    score.workload_error, score.workload_bounded_error, score.coverage)),
                "" if score.total_covered is None else "yes" if score.total_covered else "no",
                end_section=at == len(trial.scores) - 1,
            )  # fmt: skip
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def main() -> None:
    """Reads the data, forecasts, prints."""
    parse = argparse.ArgumentParser(prog="python -m bench.forecasts", description=(__doc__ or "").splitlines()[0])
    parse.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parse.add_argument("--burstgpt", type=Path, metavar="FILE", help="day,requests,total_tokens")
    parse.add_argument("--fit-days", type=int, metavar="N", help="known days (20; with a file 30)")
    parse.add_argument("--servegen", type=Path, metavar="FILE", help="model,workload,hour,requests,in_tok,out_tok,...")
    parse.add_argument("--fit-hours", type=int, metavar="N", help="known hours (96; with a file 168)")
    asked = parse.parse_args()
    days, hours = burstgpt(asked.burstgpt or BURSTGPT), servegen(asked.servegen or SERVEGEN)
    fit_days = asked.fit_days or (30 if asked.burstgpt else 20)
    fit_hours = asked.fit_hours or (168 if asked.servegen else 96)
    for what, fit, length in (("days", fit_days, len(days)), ("hours", fit_hours, len(next(iter(hours.values()))))):
        if not 0 < fit < length:
            parse.error(f"--fit-{what} {fit} leaves nothing to foretell of {length} {what}")
    chosen, rolling = trials(days, fit_days, hours, fit_hours)
    if asked.json:
        json.dump({"asked": [asdict(one) for one in chosen], "rolling": [asdict(one) for one in rolling]},
                  sys.stdout, indent=2)  # fmt: skip
        sys.stdout.write("\n")
        return
    console = Console(width=140)
    console.print(_table("What was asked for", chosen))
    console.print(_table("From other origins", rolling))


if __name__ == "__main__":
    main()
