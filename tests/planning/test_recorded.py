"""Is what was recorded counted minute by minute, and does a sheet of it say all that is wrong with it?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.planning.arrivals import Service, peak_of
from upshift.planning.measurements import BadSheetError
from upshift.planning.recorded import Recorded, by_minute, demand, read_recorded, recorded

CALLS = st.lists(st.tuples(st.floats(0, 2000), st.floats(0.01, 300)), min_size=1, max_size=30)


def steady(seconds: float, seed: int = 1, *, each: float = 2.0) -> Recorded:
    """A call a second or so, of two seconds."""
    random = np.random.default_rng(seed)
    starts = random.uniform(0, seconds, int(seconds))
    return recorded(starts, np.full(len(starts), each))


@given(CALLS)
def test_no_call_is_lost_and_the_worst_minute_is_the_peak(calls: list[tuple[float, float]]) -> None:
    found = recorded([start for start, _ in calls], [held for _, held in calls])
    minutes = by_minute(found)
    assert minutes.begun.sum() == len(calls)
    assert minutes.most.max() == peak_of(found.starts, found.held)
    assert found.starts[0] == 0


def test_a_call_is_open_in_every_minute_that_it_lasts() -> None:
    minutes = by_minute(recorded([500.0, 610.0, 800.0], [150.0, 10.0, 5.0]))
    assert minutes.begun.tolist() == [1, 1, 0, 0, 0, 1]
    assert minutes.most.tolist() == [1, 2, 1, 0, 0, 1]


def test_what_is_advised_is_the_sized_peak_and_headroom() -> None:
    calls = steady(3600)
    found = demand(calls, headroom=0.5)
    assert found.minute_mean == pytest.approx(60, rel=0.05)
    assert found.sized.average == pytest.approx(2, rel=0.02)
    assert found.low <= found.high
    assert peak_of(calls.starts, calls.held) == found.sized.observed <= found.low
    assert found.places == np.ceil(found.sized.peak * 1.5)
    assert found.busy is None
    assert demand(calls, horizon=30 * 86_400).sized.peak > found.sized.peak


def test_the_busiest_hour_and_its_worst_minute() -> None:
    """A day of a call a minute; in its twelfth hour three, and thirty at once in one minute of that."""
    usual = np.arange(0, 86_401, 60.0)
    rush = np.arange(43_200, 46_800, 30.0)
    starts = np.concatenate([usual, rush, np.full(30, 45_000.0)])
    found = demand(recorded(starts, np.full(len(starts), 30.0)))
    assert found.busy == pytest.approx((60 + 120 + 30) / 3600 / (len(starts) / 86_400), rel=0.03)
    average = (60 + 120 + 30) * 30 / 3600
    assert found.burst == pytest.approx(32 / average, rel=0.05)
    assert found.minute_most == 33


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        (recorded([], []), "no calls were recorded"),
        (recorded([0.0, 5.0], [1.0, 1.0]), "too short to judge peaks by"),
        (recorded(np.arange(2000.0), np.zeros(2000)), "took any time"),
    ],
)
def test_too_little_is_refused(calls: Recorded, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        demand(calls)


def test_a_sheet_in_any_of_its_forms() -> None:
    plain = read_recorded("time,seconds\n5,2\n3,4\n")
    assert (plain.starts.tolist(), plain.held.tolist()) == ([0, 2], [4, 2])
    exported = read_recorded("started;latency_ms\n2026-11-02T09:30:00Z;1500\n2026-11-02T10:30:01+01:00;500\n")
    assert (exported.starts.tolist(), exported.held.tolist()) == ([0, 1], [1.5, 0.5])
    tokens = read_recorded("t_s,in_tok,out_tok\n0,100,50\n", Service(start=1, read=100, write=10))
    assert tokens.held.tolist() == [7]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: no column 'time'"),
        ("time,cost\n1,2\n", "line 1: nothing tells how long a call took"),
        ("time,seconds\n", "line 2: no call"),
        ("time,seconds\n1,2\nnoon,2\n", "line 3: 'noon' is no time"),
        ("time,seconds\n1,-2\n", "line 2: '-2' is no number of seconds"),
        ("time,seconds\n1\n", "line 2: '' is no number of seconds"),
        ("time,seconds\nnan,1\n", "line 2: 'nan' is no time"),
        ('time,seconds\n"1,1\n', "not CSV"),
    ],
)
def test_a_sheet_that_cannot_be_used_says_why(text: str, says: str) -> None:
    with pytest.raises(BadSheetError, match=says):
        read_recorded(text)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BadSheetError) as refused:
        read_recorded("time,seconds\n" + "x,1\n" * 50)
    assert len(refused.value.problems) == 21
    assert refused.value.problems[-1] == "and 30 more like these"
