"""Is the demo's past like what a gateway records: in a sound ledger, over interfaces that were open, before its end?"""

import asyncio
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest

from upshift.app import open_desk
from upshift.demo.past import HOUR, LASTED, live
from upshift.demo.run import _filled, _keys
from upshift.gateway.clock import HandClock
from upshift.model.contract import A2A
from upshift.model.span import to_instant
from upshift.store.verify import verify

ENDS = [
    datetime(2026, 11, 21, 20, tzinfo=UTC),
    datetime(2027, 1, 1, 0, 5, tzinfo=UTC),
    datetime(2028, 3, 1, tzinfo=UTC),
]
HOURS = 6


@pytest.mark.parametrize("end", ENDS)
def test_a_few_hours_of_the_past_are_in_a_sound_ledger(tmp_path: Path, end: datetime) -> None:
    until = to_instant(end)
    clock = HandClock(until - LASTED)
    plan, db = tmp_path / "plan.yaml", tmp_path / "upshift.db"
    plan.write_text(_filled(files("upshift.demo").joinpath("plan.yaml").read_text(), "http://127.0.0.1:9", until))
    desk = open_desk(db, clock)
    seen: list[float] = []
    try:
        keys = _keys(desk, plan)
        clock.set(until - HOURS * HOUR)
        past = asyncio.run(live(db, desk, clock, keys.engineer, keys.team, until, seen.append))
        calls = [one.record for one in desk.journal.calls(limit=10_000)]
    finally:
        desk.journal.close()
    checked = verify(db)
    assert checked.ok
    assert checked.calls == past.calls == len(calls) > 0
    assert all(until - HOURS * HOUR <= one.started and one.started + one.latency_us < until for one in calls)
    # So few hours are no baseline: the engine lets nobody in on them.
    assert past.runs == {"add-agent-scout-1": "running"}
    assert {one.requested_model for one in calls if one.dialect == A2A} == {"desk-searcher", "desk-writer"}
    assert seen == sorted(seen)
    assert seen[-1] == 1
