"""Are totals what the ledger's calls add up to, whenever one begins to follow it, and however many names there are?"""

import asyncio
import functools
from bisect import bisect_left
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
from upshift.engine.totals import DURATIONS, OTHER, OVERHEADS, Follower, Group, Route, Totals
from upshift.model.budget import Amount, Bucket, BudgetKey
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant
from upshift.model.tokens import NO_USAGE
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Call, Dimension, Journal, Spread, Tally, Used
from upshift.store.ledger import Admit, Read
from upshift.store.sqlite_ledger import SqliteLedger

MINUTE = 60_000_000
WAITS, OVERHEAD = (
    st.sampled_from([0, *(round(each * 1_000_000) + more for each in bounds for more in (0, 1))])
    for bounds in (DURATIONS, OVERHEADS)
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "user": st.sampled_from(["alice", "bob"]),
            "minutes": st.sampled_from([0, 5, 15, 50, 40_000]),
            "tokens": st.integers(0, 5000),
            "cost": st.none() | st.integers(0, 10**10),
            "outcome": st.sampled_from([Outcome.SERVED, Outcome.UPSTREAM_ERROR]),
            "bucket": st.sampled_from(list(Bucket)),
            "provider": st.sampled_from(["local", "local", "other", ""]),
            "times": st.tuples(WAITS, WAITS, OVERHEAD),
        }
    ),
    max_size=4,
)
"""Calls, how many minutes before it was closed each began, and what times are recorded of it."""


async def closed(installation: Installation, calls: Sequence[dict[str, Any]]) -> list[Metered]:
    """Close calls one after the other, four minutes apart: the ledger is in the order of their ends."""
    ledger, records = await SqliteLedger.open(installation.db, installation.clock.now()), []
    for call in calls:
        installation.clock.advance(240)
        at = installation.clock.now()
        said = {name: value for name, value in call.items() if name not in {"minutes", "provider", "times"}}
        latency, first_byte, overhead = call["times"]
        record = msgspec.structs.replace(
            installation.call(**said, at=at - call["minutes"] * MINUTE), provider=call["provider"],
            latency_us=latency, first_byte_us=first_byte, overhead_us=overhead,
        )  # fmt: skip
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
    """What the totals should be, one call after the other."""
    found: dict[Group, tuple[Any, ...]] = {}
    for each in records:
        group = Group(
            each.tenant, each.workload, each.served_model, each.provider, each.outcome, each.bucket, each.reason
        )
        calls, usage, cost, unknown, counted = found.get(group, (0, NO_USAGE, 0, 0, 0))
        found[group] = (
            calls + 1, usage + each.usage, cost + (each.cost or 0), unknown + (each.cost is None),
            counted + each.counted,
        )  # fmt: skip
    return found


def times(follower: Follower) -> dict[Any, Any]:
    """Counts and sum of each histogram."""
    found: dict[Any, Any] = {}

    def read(totals: Totals, seq: int, at: Instant) -> None:
        found["overhead"] = totals.overhead.counts, totals.overhead.sum_us
        for route, each in totals.times.items():
            found[route] = each.duration.counts, each.duration.sum_us, each.first_byte.counts, each.first_byte.sum_us

    assert follower.look(read)
    return found


def timed(records: Sequence[Metered]) -> dict[Any, Any]:
    """What the histograms should be, one call after the other."""
    found: dict[Any, Any] = {"overhead": spread([each.overhead_us for each in records], OVERHEADS)}
    for route in {Route(each.workload, each.served_model, each.provider) for each in records if each.provider}:
        mine = [each for each in records if (each.workload, each.served_model, each.provider) == as_tuple(route)]
        began = [each.first_byte_us for each in mine if each.first_byte_us]
        found[route] = (*spread([each.latency_us for each in mine], DURATIONS), *spread(began, DURATIONS))
    return found


def spread(times_us: Sequence[int], bounds: Sequence[float]) -> tuple[list[int], int]:
    """Counts of buckets as Prometheus has them (a value is in the first whose bound it does not pass), and the sum."""
    counts = [0] * (len(bounds) + 1)
    for each in times_us:
        counts[bisect_left(bounds, each / 1_000_000)] += 1
    return counts, sum(times_us)


def as_tuple(route: Route) -> tuple[str, str, str]:
    return route.workload, route.model, route.provider


def tally(model: str = "m1", reason: str = "", calls: int = 1) -> Tally:
    counts = Spread((calls, *[0] * len(DURATIONS)), calls), Spread((calls, *[0] * len(OVERHEADS)), calls)
    return Tally(
        group=("acme", "chat", model, "p1", "served", "included", reason), calls=calls, usage=NO_USAGE, cost=0,
        unknown_cost=0, counted=0, duration=counts[0], first_byte=counts[0], overhead=counts[1],
    )  # fmt: skip


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
        assert times(first) == timed(more)
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


class Shaky:
    """The journal of an installation, which cannot be read now and then."""

    def __init__(self, installation: Installation) -> None:
        self._journal = installation.desk.journal
        self.away = False
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def calls(self, **asked: Any) -> Sequence[Call]:
        self.asked += 1
        if self.away:
            raise StoreTroubleError("the server does not answer")
        return self._journal.calls(**asked)


def test_who_looks_does_not_wait_for_a_ledger_that_could_not_be_read(installation: Installation) -> None:
    told = [installation.call() for _ in range(3)]
    asyncio.run(installation.spend(told[0]))
    shaky = Shaky(installation)
    journal: Journal = shaky  # type: ignore[assignment]  # the rest is the real one's
    follower = Follower(journal, installation.clock.now)
    follower.tick()
    asyncio.run(installation.spend(told[1]))
    follower.refresh()
    assert sums(follower) == added(told[:2])
    asyncio.run(installation.spend(told[2]))
    shaky.away, before = True, shaky.asked
    for _ in range(3):
        follower.refresh()
    assert shaky.asked == before + 1
    assert sums(follower) == added(told[:2])
    shaky.away = False
    assert follower.tick() == 1
    follower.refresh()
    assert shaky.asked == before + 3
    assert sums(follower) == added(told)


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


def test_there_are_never_more_groups_than_allowed_and_none_is_lost() -> None:
    totals = Totals(most=3)
    for number in range(10):
        totals.take(tally(f"m{number}"))
        totals.time(tally(f"m{number}"))
    assert len(totals.groups) == 4
    assert sum(each.calls for each in totals.groups.values()) == 10
    assert len(totals.times) == 4
    assert sum(sum(each.duration.counts) for each in totals.times.values()) == 10


@pytest.mark.parametrize("reason", ["line\nbreak", "x" * 101, "\u202e", "<b>"])
def test_what_others_said_is_no_label(reason: str) -> None:
    totals = Totals()
    totals.take(tally(reason=reason))
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
