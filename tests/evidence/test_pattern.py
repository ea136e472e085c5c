"""Does the day of a baseline follow the clocks that people live by, through both changes of them?"""

from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evidence.world import LATENCY, SOON, STRUCTURE

from upshift.evidence.baseline import Baseline, freeze
from upshift.evidence.measurement import Observations, Scope
from upshift.evidence.pattern import HOUR, hour_of
from upshift.evidence.regression import Outcome, Verdict, Watch, look
from upshift.evidence.tally import empty, push
from upshift.evidence.weigh import Rules
from upshift.model.span import MICROS, to_datetime

BERLIN = "Europe/Berlin"
SUMMER, WINTER = 492_985 * HOUR, 498_025 * HOUR
"""2026-03-29T01:00:00Z, when clocks there were put forward, and 2026-10-25T01:00:00Z, when they were put back."""
ZONES = st.sampled_from(
    ["UTC", BERLIN, "America/New_York", "Asia/Tokyo", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca"]
)


@given(ZONES, st.lists(st.integers(1_700_000_000 * MICROS, 1_900_000_000 * MICROS), min_size=1, max_size=20))
def test_an_hour_is_what_a_clock_on_the_wall_shows(zone: str, at: list[int]) -> None:
    hours = hour_of(np.array(at, dtype=np.int64), zone)
    assert list(hours) == [to_datetime(one, zone).astimezone(ZoneInfo(zone)).hour for one in at]


def test_an_hour_is_left_out_in_spring_and_happens_twice_in_autumn() -> None:
    around = np.arange(-2, 3) * HOUR
    assert list(hour_of(SUMMER + around, BERLIN)) == [0, 1, 3, 4, 5]
    assert list(hour_of(WINTER + around, BERLIN)) == [1, 2, 2, 3, 4]
    assert list(hour_of(SUMMER + around, "Asia/Tokyo")) == [8, 9, 10, 11, 12]
    assert list(hour_of(np.array([], dtype=np.int64), BERLIN)) == []


def office(start: int, days: int, offset: int, *, swing: float = 0.4, seed: int = 1) -> Observations:
    """Amounts that swing over the day of people whose clocks are so many hours ahead, 60 an hour from 8 to 18."""
    at = start + np.arange(days * 24 * 60, dtype=np.int64) * (HOUR // 60)
    local = at + offset * HOUR
    at, local = (each[np.isin(local // HOUR % 24, np.arange(8, 18))] for each in (at, local))
    noise = np.random.default_rng(seed).standard_normal(len(at))
    return Observations(at, np.exp(0.3 * noise) * (1 + swing * np.sin(2 * np.pi * local / (24 * HOUR))))


def frozen(found: Observations, zone: str) -> Baseline:
    made = freeze(LATENCY, Scope(), STRUCTURE, found, SOON, zone)
    assert isinstance(made, Baseline)
    return made


def verdict(zone: str, change: int, before: int, after: int) -> Verdict:
    """Of two days from a change of clocks on, held against the two weeks before it."""
    baseline = frozen(office(change - 14 * 24 * HOUR, 14, before), zone)
    seen = office(change, 2, after, seed=2)
    watch = Watch(start=change, stage=push(baseline, empty(baseline), seen))
    return look(baseline, watch, change + 48 * HOUR, Rules())[1]


@pytest.mark.parametrize(("change", "before", "after"), [(SUMMER, 1, 2), (WINTER, 2, 1)])
def test_a_change_of_the_clocks_is_no_regression(change: int, before: int, after: int) -> None:
    """By UTC the same days look worse one way, and better the other."""
    by_zone = verdict(BERLIN, change, before, after)
    by_utc = verdict("UTC", change, before, after)
    assert by_zone.outcome is Outcome.NON_INFERIOR, by_zone.because
    assert abs(by_zone.comparisons[0].estimate) < 0.02 < abs(by_utc.comparisons[0].estimate)


@pytest.mark.parametrize(("change", "before", "after"), [(SUMMER, 1, 2), (WINTER, 2, 1)])
def test_the_hours_in_which_people_are_expected_move_with_their_clocks(change: int, before: int, after: int) -> None:
    """Of three hours after work begins by the new time; and of three in which it has not begun yet."""
    baseline = frozen(office(change - 14 * 24 * HOUR, 14, before), BERLIN)
    begins = change // (24 * HOUR) * 24 * HOUR + (8 - after) * HOUR
    early = look(baseline, Watch(start=begins - 3 * HOUR, stage=empty(baseline)), begins, Rules())[1]
    assert early.because[0] == "the stage has no value at all"
    seen = push(baseline, empty(baseline), office(begins, 1, after))
    stopped = msgspec.structs.replace(seen, last=begins - 1, seen=())
    for stage, silent in ((seen, False), (stopped, True)):
        found = look(baseline, Watch(start=begins, stage=stage), begins + 3 * HOUR, Rules())[1]
        assert any("has been silent" in each for each in found.because) is silent
    rest = msgspec.structs.replace(seen, last=begins - 4 * HOUR, seen=())
    found = look(baseline, Watch(start=begins - 3 * HOUR, stage=rest), begins, Rules())[1]
    assert not any("has been silent" in each for each in found.because), "nobody works then"


def test_the_zone_is_part_of_a_baseline_and_one_without_it_is_of_utc() -> None:
    found = office(SUMMER - 14 * 24 * HOUR, 14, 1)
    of_berlin, of_utc = frozen(found, BERLIN), frozen(found, "UTC")
    assert of_berlin.id != of_utc.id
    assert msgspec.json.decode(msgspec.json.encode(of_berlin), type=Baseline) == of_berlin
    assert b"zone" not in msgspec.json.encode(of_utc), "as those were written before there were zones"
    assert msgspec.json.decode(msgspec.json.encode(of_utc), type=Baseline).zone == "UTC"
