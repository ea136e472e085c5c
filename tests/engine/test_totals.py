"""Are totals what the ledger's calls add up to, whenever one begins to follow it, and however many names there are?"""

import asyncio
import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.admin.installation import NOW, Installation, alert, month

from upshift.engine.follow import calls_after, last_call
from upshift.engine.totals import OTHER, Follower, Group, Totals
from upshift.model.budget import Amount, Bucket, BudgetKey
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant
from upshift.store.journal import Dimension, Journal, Used
from upshift.store.ledger import Admit, Read
from upshift.store.sqlite_ledger import SqliteLedger

MINUTE = 60_000_000
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "user": st.sampled_from(["alice", "bob"]),
            "minutes": st.sampled_from([0, 5, 15, 50, 40_000]),
            "tokens": st.integers(0, 5000),
            "cost": st.none() | st.integers(0, 10**10),
            "outcome": st.sampled_from([Outcome.SERVED, Outcome.UPSTREAM_ERROR]),
            "bucket": st.sampled_from(list(Bucket)),
        }
    ),
    max_size=4,
)
"""Calls, and how many minutes each took."""


async def closed(installation: Installation, calls: Sequence[dict[str, Any]]) -> list[Metered]:
    """Close calls one after the other, four minutes apart: the ledger is in the order of their ends."""
    ledger, records = await SqliteLedger.open(installation.db, installation.clock.now()), []
    for call in calls:
        installation.clock.advance(240)
        at = installation.clock.now()
        said = {name: value for name, value in call.items() if name != "minutes"}
        record = installation.call(**said, at=at - call["minutes"] * MINUTE)
        amount = Amount(record.usage.total, record.counted)
        keys = (month("acme", record.user, "chat", record.bucket),)
        answer = await ledger.decide(
            record.request, record.plan, installation.clock.now, functools.partial(_admit, keys, amount), 0.0
        )
        assert isinstance(answer, tuple)
        ledger.settle(answer[1], at, amount, record)
        records.append(record)
    await ledger.close()
    return records


def _admit(keys: tuple[BudgetKey, ...], amount: Amount, read: Read, may_wait: bool) -> Admit:
    return Admit(0, keys, amount)


def sums(follower: Follower) -> dict[Group, tuple[Any, ...]]:
    found: dict[Group, tuple[Any, ...]] = {}

    def read(totals: Totals, seq: int, at: Instant) -> None:
        found.update({group: msgspec.structs.astuple(total) for group, total in totals.groups.items()})

    assert follower.look(read)
    return found


def added(records: Sequence[Metered]) -> dict[Group, tuple[Any, ...]]:
    totals = Totals()
    for record in records:
        totals.add(record)
    return {group: msgspec.structs.astuple(total) for group, total in totals.groups.items()}


@given(before=CALLS, then=CALLS)
@settings(max_examples=10, deadline=None)
def test_totals_are_those_of_all_calls_whenever_one_begins(
    before: list[dict[str, Any]], then: list[dict[str, Any]]
) -> None:
    with TemporaryDirectory() as folder:
        installation = Installation(Path(folder) / "upshift.db")
        journal, now = installation.desk.journal, installation.clock.now
        told = asyncio.run(closed(installation, before))
        first = Follower(journal, now)
        assert first.tick() == len(told)
        more = asyncio.run(closed(installation, then))
        assert first.tick() == len(more)
        assert first.tick() == 0
        told += more
        later = Follower(journal, now)
        later.tick()
        assert sums(first) == sums(later) == added(told)
        journal.close()


class Busy:
    """The journal of an installation in which something happens while the totals are read."""

    def __init__(self, installation: Installation, meanwhile: Sequence[Metered]) -> None:
        self._installation = installation
        self._meanwhile = list(meanwhile)
        self.read: list[Instant] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._installation.desk.journal, name)

    def usage(self, by: Sequence[Dimension], since: Instant, until: Instant, **more: Any) -> Sequence[Used]:
        found = self._installation.desk.journal.usage(by, since, until, **more)
        self.read.append(until)
        if self._meanwhile:
            asyncio.run(self._installation.spend(self._meanwhile.pop(0)))
        return found


def test_a_long_call_that_ends_while_totals_are_read_counts_once(installation: Installation) -> None:
    told = [installation.call(at=NOW - each * MINUTE) for each in (90, 30, 20, 5)]
    asyncio.run(installation.spend(*told[:2]))
    busy = Busy(installation, told[2:])
    journal: Journal = busy  # type: ignore[assignment]  # the rest is the real one's
    follower = Follower(journal, installation.clock.now)
    follower.tick()
    assert sums(follower) == added(told)
    assert busy.read == [NOW - 10 * MINUTE, NOW - 40 * MINUTE]


def test_a_ledger_is_read_in_stretches(installation: Installation) -> None:
    told = [installation.call() for _ in range(9)]
    asyncio.run(installation.spend(*told))
    journal = installation.desk.journal
    last = last_call(journal)
    for page in (1, 2, 5, 100):
        stretches = list(calls_after(journal, 0, last, page))
        assert [call.record.request for _, calls in stretches for call in calls] == [each.request for each in told]
        assert [end for end, _ in stretches][-1] == last
        assert max(len(calls) for _, calls in stretches) <= page


def test_there_are_never_more_groups_than_allowed_and_none_is_lost(installation: Installation) -> None:
    totals = Totals(most=3)
    for number in range(10):
        record = msgspec.structs.replace(installation.call(tokens=100), served_model=f"m{number}")
        totals.add(record)
        totals.time(record)
    assert len(totals.groups) == 4
    assert sum(each.calls for each in totals.groups.values()) == 10
    assert len(totals.times) == 4
    assert sum(sum(each.duration.counts) for each in totals.times.values()) == 10


@pytest.mark.parametrize("reason", ["line\nbreak", "x" * 101, "\u202e", "<b>"])
def test_what_others_said_is_no_label(installation: Installation, reason: str) -> None:
    totals = Totals()
    totals.add(msgspec.structs.replace(installation.call(), reason=reason))
    assert [group.reason for group in totals.groups] == [OTHER]


def test_alerts_are_counted_once(installation: Installation) -> None:
    follower, counted = Follower(installation.desk.journal, installation.clock.now), Counter[tuple[str, str, int]]()

    def read(totals: Totals, seq: int, at: Instant) -> None:
        counted.clear()
        counted.update(totals.alerts)

    asyncio.run(installation.spend(alerts=[alert(70), alert(90)]))
    follower.tick()
    follower.look(read)
    assert counted == {("acme", "chat", 70): 1, ("acme", "chat", 90): 1}
    asyncio.run(installation.spend(alerts=[alert(90, "bob"), alert(90, "carol"), alert(90, "dave")]))
    follower.tick()
    follower.tick()
    follower.look(read)
    assert counted == {("acme", "chat", 70): 1, ("acme", "chat", 90): 4}
