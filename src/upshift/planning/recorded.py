"""How busy was what was recorded, minute by minute, and how many places does it ask for?"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np

from upshift.planning.arrivals import CHANCE, Service, Sized, open_sessions, size
from upshift.planning.draws import Array
from upshift.planning.measurements import BadSheetError

HEADROOM = 0.35
"""Above the sized peak, for what comes to be other than what was recorded; 30 to 40 % is usual."""
LOW, HIGH = 0.1, 0.9
"""Chances that the bounds of the interval are not passed within the horizon."""

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_MOST = 20
_NAMES: Mapping[str, tuple[str, ...]] = {
    "time": ("time", "t_s", "timestamp", "started", "start", "at"),
    "seconds": ("seconds", "duration", "duration_s", "latency_s"),
    "milliseconds": ("milliseconds", "duration_ms", "latency_ms", "ms"),
    "input": ("input", "in_tok", "input_tokens", "prompt_tokens"),
    "output": ("output", "out_tok", "output_tokens", "completion_tokens"),
}


class Recorded(msgspec.Struct, frozen=True, eq=False):
    """Calls: seconds at which they began, from the first one on, and seconds for which each kept a place."""

    starts: Array
    held: Array

    @property
    def seconds(self) -> float:
        """From the first beginning to the last."""
        return float(self.starts.max()) if len(self.starts) else 0.0


class Minutes(msgspec.Struct, frozen=True, eq=False):
    """By minute from the first call on: how many calls began, and the most that were open at once."""

    begun: Array
    most: Array


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What recorded calls ask for. `minute_*` are calls that began in a minute.

    `busy` and `burst` are as an estimate of the plan has them: calls of the busiest hour over those of an average one,
    None for less than a day; most open at its worst minute over the average within it. `low` and `high` hold the most
    that will be open within the horizon with 80 %.
    """

    calls: int
    seconds: float
    horizon: float
    minute_mean: float
    minute_p95: float
    minute_most: float
    busy: float | None
    burst: float
    sized: Sized
    low: float
    high: float
    headroom: float
    places: int


def recorded(starts: Sequence[float] | Array, held: Sequence[float] | Array) -> Recorded:
    """Calls in any order; the first one begins at 0."""
    begun = np.asarray(starts, np.float64)
    order = np.argsort(begun, kind="stable")
    begun = begun[order]
    return Recorded(begun - begun[:1].sum(), np.asarray(held, np.float64)[order])


def by_minute(calls: Recorded) -> Minutes:
    """Empty for no calls."""
    many = int(calls.seconds // _MINUTE) + 1
    begun = np.bincount((calls.starts // _MINUTE).astype(int), minlength=many)[:many].astype(np.float64)
    moments, number = open_sessions(calls.starts, calls.held)
    edges = np.arange(many) * _MINUTE
    # What is open as a minute begins, and whatever it rises to within.
    before = np.searchsorted(moments, edges, side="right") - 1
    most = np.where(before >= 0, number[np.maximum(before, 0)], 0.0)
    within = moments < many * _MINUTE
    np.maximum.at(most, (moments[within] // _MINUTE).astype(int), number[within])
    return Minutes(begun, most)


def demand(calls: Recorded, *, horizon: float | None = None, headroom: float = HEADROOM) -> Demand:
    """How many places suffice for `horizon` seconds (as long as was recorded unless said) with 95 %, and headroom.

    Raises ValueError where too little was recorded to judge peaks by.
    """
    seconds = calls.seconds
    ahead = max(horizon or 0.0, seconds)
    if len(calls.starts) < 2:
        raise ValueError("no calls were recorded that could be sized from; at least some minutes of them are needed")
    if not calls.held.any():
        raise ValueError("no recorded call took any time; say how long they took, in seconds")
    sized = size(calls.starts, calls.held, seconds=seconds, horizon=ahead, chance=CHANCE)
    low, high = (size(calls.starts, calls.held, seconds=seconds, horizon=ahead, chance=each) for each in (LOW, HIGH))
    minutes = by_minute(calls)
    busy, burst = _busiest(calls, minutes)
    return Demand(
        calls=len(calls.starts),
        seconds=seconds,
        horizon=ahead,
        minute_mean=float(minutes.begun.mean()),
        minute_p95=float(np.quantile(minutes.begun, 0.95)),
        minute_most=float(minutes.begun.max()),
        busy=busy,
        burst=burst,
        sized=sized,
        low=low.peak,
        high=high.peak,
        headroom=headroom,
        places=math.ceil(sized.peak * (1.0 + headroom)),
    )


def _busiest(calls: Recorded, minutes: Minutes) -> tuple[float | None, float]:
    """Of the hour, from any minute on, in which most were open on average: its calls and its worst minute."""
    moments, number = open_sessions(calls.starts, calls.held)
    area = np.concatenate([[0.0], np.cumsum(number[:-1] * np.diff(moments))])
    window = min(_HOUR, calls.seconds)
    begins = np.arange(0.0, calls.seconds - window + 1e-9, _MINUTE)
    open_ = (np.interp(begins + window, moments, area) - np.interp(begins, moments, area)) / window
    at = int(open_.argmax())
    begin = float(begins[at])
    began = float(((calls.starts >= begin) & (calls.starts <= begin + window)).sum())
    worst = float(minutes.most[at : at + math.ceil(window / _MINUTE)].max())
    busy = began / window / (len(calls.starts) / calls.seconds) if calls.seconds >= _DAY else None
    return busy, worst / float(open_[at])


def read_recorded(text: str, service: Service | None = None) -> Recorded:
    """The calls of a CSV sheet: `time`, in seconds or ISO 8601 (UTC unless it says), and how long each took.

    That is `seconds` or `milliseconds`, else `input` and `output` tokens, from which `service` tells it. Raises
    BadSheetError with every problem, its line and its remedy; no row is left out.
    """
    head = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";" if ";" in head else ",", strict=True)
    starts: list[float] = []
    figures: list[list[float]] = []
    problems: list[str] = []
    try:
        header = next(rows, [])
        at = _columns(header)
        for row in rows:
            if any(cell.strip() for cell in row):
                line = f"line {rows.line_num}"
                cells = {name: row[place].strip() if place < len(row) else "" for name, place in at.items()}
                try:
                    starts.append(_moment(cells.pop("time")))
                    figures.append([_figure(name, cell) for name, cell in cells.items()])
                except ValueError as error:
                    problems.append(f"{line}: {error}")
    except csv.Error as error:
        problems.append(f"line {rows.line_num}: not CSV: {error}; save the sheet as CSV again")
    if not problems and not starts:
        problems.append("line 2: no call; write one row per call under the header")
    if len(problems) > _MOST:
        problems[_MOST:] = [f"and {len(problems) - _MOST} more like these"]
    if problems:
        raise BadSheetError(problems)
    return recorded(starts, _held(list(at)[1:], np.array(figures), service or Service()))


def _columns(header: Sequence[str]) -> dict[str, int]:
    """Where the time is, and then what tells how long a call took. Raises BadSheetError."""
    plain = [re.sub(r"[^a-z0-9]+", "_", cell.strip().lower()).strip("_") for cell in header]
    found = {
        name: next((plain.index(each) for each in aliases if each in plain), None) for name, aliases in _NAMES.items()
    }
    known = {name: place for name, place in found.items() if place is not None}
    listed = ", ".join(repr(cell.strip()) for cell in header) or "nothing"
    if "time" not in known:
        raise BadSheetError([f"line 1: no column 'time' ({' or '.join(_NAMES['time'][1:])}); found {listed}"])
    for names in (("seconds",), ("milliseconds",), ("input", "output")):
        if all(name in known for name in names):
            return {name: known[name] for name in ("time", *names)}
    needed = "'seconds', 'milliseconds', or 'input' and 'output'"
    raise BadSheetError([f"line 1: nothing tells how long a call took: {needed}; found {listed}"])


def _moment(cell: str) -> float:
    try:
        found = float(cell)
    except ValueError:
        try:
            moment = datetime.fromisoformat(cell)
        except ValueError:
            raise ValueError(f"{cell!r} is no time; write seconds, or like 2026-11-02T09:30:00Z") from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(found):
        raise ValueError(f"{cell!r} is no time; write seconds, or like 2026-11-02T09:30:00Z")
    return found


def _figure(name: str, cell: str) -> float:
    try:
        found = float(cell)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise ValueError(f"{cell!r} is no number of {name} of 0 or more; write it like 12.5")
    return found


def _held(names: Sequence[str], figures: Array, service: Service) -> Array:
    if len(names) == 2:
        return service.seconds(figures[:, 0], figures[:, 1])
    return np.asarray(figures[:, 0] / (1000.0 if names[0] == "milliseconds" else 1.0))
