"""What must totals and retention do, whatever a ledger is kept in?

Subclass `KeepingConformance` in a test module and give it the fixture `place`: what opens journals and ledgers, again
and again, on the same store, and what rolls it up and drops months of it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Protocol

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conformance.ledger import ALICE, NOW, PLAN, ceiling, let_in, record, tokens

from upshift.model.budget import Bucket
from upshift.model.ids import KeyId, RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant, Window, period_of, to_datetime, to_instant
from upshift.model.tokens import Usage
from upshift.store.engines import Keeping
from upshift.store.journal import Dimension, Journal, Used
from upshift.store.ledger import Ledger
from upshift.store.retained import Dropped, Kept, said
from upshift.store.spans import FEW
from upshift.store.sql_journal import SqlJournal
from upshift.store.totals import DAY, HOUR, LATENCY_ERROR
from upshift.store.verify import Verification

SPAN = 5 * DAY
FORMS = {Dimension.HOUR: "%Y-%m-%dT%H", Dimension.DAY: "%Y-%m-%d", Dimension.MONTH: "%Y-%m"}
DETAILS = {Dimension.USER, Dimension.KEY, Dimension.AGENT}
AUGUST, SEPTEMBER, NOVEMBER = (to_instant(datetime(2026, month, 1, tzinfo=UTC)) for month in (8, 9, 11))
LATER = NOVEMBER + 20 * DAY

numbers = st.integers(0, 10**9)


def records(begin: Instant, end: Instant) -> st.SearchStrategy[Metered]:
    return st.builds(
        Metered,
        request=st.just(RequestId("")),
        started=st.integers(begin, end),
        plan=st.just(PLAN),
        user=st.sampled_from(["alice", "bob", "é\u202e"]),
        workload=st.sampled_from(["chat", "code"]),
        session=st.sampled_from(["", "s1"]),
        key=st.sampled_from([KeyId("k1"), KeyId("k2")]),
        served_model=st.sampled_from(["large", "small"]),
        outcome=st.sampled_from(Outcome),
        status=st.sampled_from([200, 500]),
        bucket=st.sampled_from(Bucket),
        usage=st.builds(Usage, *[numbers] * 6),
        cost=st.none() | numbers,
        counted=st.just(0),
        latency_us=st.sampled_from([0, 1]) | st.integers(0, 10**10),
    )


instants = st.integers(NOW - HOUR, NOW + SPAN + HOUR) | st.integers(-30, 150).map(
    lambda hour: NOW // HOUR * HOUR + hour * HOUR
)
days = st.integers(AUGUST // DAY, LATER // DAY).map(lambda day: day * DAY)
dimensions = st.lists(st.sampled_from(list(Dimension)), max_size=3, unique=True)
kept = st.lists(
    st.sampled_from([each for each in Dimension if each not in (Dimension.SESSION, Dimension.HOUR)]),
    max_size=3,
    unique=True,
)


class Place(Protocol):
    """A store, and what keeps it in shape."""

    examples: int
    """How many ledgers of it are made up and looked at, in a few seconds."""

    def journal(self) -> Journal: ...

    async def ledger(self) -> Ledger: ...

    def keeping(self) -> Keeping: ...

    def roll_up(self, piece: int) -> int | None:
        """One transaction of so many entries, as if a crash followed it."""

    def behind(self) -> int: ...

    def verified(self) -> Verification: ...


def value(each: Metered, dimension: Dimension) -> str:
    if dimension in FORMS:
        return to_datetime(each.started).strftime(FORMS[dimension])
    return str(getattr(each, dimension.value))


def sums(group: tuple[str, ...], these: Sequence[Metered]) -> Used:
    """What `usage` should say, but for the quantiles."""
    served = [each for each in these if each.outcome is not Outcome.REFUSED]
    usages = [msgspec.structs.astuple(each.usage) for each in these]
    return Used(
        group=group,
        calls=len(these),
        refused=len(these) - len(served),
        degraded=sum(each.bucket is Bucket.DEGRADED for each in served),
        overage=sum(each.bucket is Bucket.OVERAGE for each in served),
        failed=sum(each.outcome is Outcome.UPSTREAM_ERROR for each in these),
        lost=sum(each.outcome is Outcome.LOST for each in these),
        usage=Usage(*map(sum, zip(*usages, strict=True))),
        cost=sum(each.cost or 0 for each in these),
        unknown_cost=sum(each.cost is None for each in these),
        counted=0,
        counted_tokens=0,
        p50_us=None,
        p95_us=None,
    )


def check_quantile(found: int | None, these: Sequence[Metered], percent: int) -> None:
    latencies = sorted(each.latency_us for each in these if each.outcome is not Outcome.REFUSED)
    if not latencies:
        assert found is None
        return
    true = latencies[(len(latencies) * percent + 99) // 100 - 1]
    assert found is not None
    # What is told is a whole number.
    assert abs(found - true) <= LATENCY_ERROR * true + 1


def check(
    journal: Journal, these: Sequence[Metered], where: dict[Dimension, str], by: list[Dimension], since: int, until: int
) -> None:
    groups: dict[tuple[str, ...], list[Metered]] = {}
    for each in these:
        wanted = all(name is Dimension.TENANT or value(each, name) == text for name, text in where.items())
        if since <= each.started < until and wanted:
            groups.setdefault(tuple(value(each, dimension) for dimension in by), []).append(each)
    found = journal.usage(by, since, until, where)
    plain = [msgspec.structs.replace(used, p50_us=None, p95_us=None) for used in found]
    assert plain == [sums(group, groups[group]) for group in sorted(groups)]
    for used in found:
        check_quantile(used.p50_us, groups[used.group], 50)
        check_quantile(used.p95_us, groups[used.group], 95)
    quick = journal.usage(by, since, until, where, latencies=False)
    assert [msgspec.structs.replace(used, p50_us=None, p95_us=None) for used in quick] == plain


def check_search(journal: Journal, these: Sequence[Metered], where: dict[Dimension, str]) -> None:
    """By where calls are, as if none of them were new."""
    assert isinstance(journal, SqlJournal)
    journal.near = 0
    wanted = [
        each.request
        for each in reversed(these)
        if all(name is Dimension.TENANT or value(each, name) == text for name, text in where.items())
    ]
    found = journal.calls(where, 3)
    assert [each.record.request for each in found] == wanted[:3]
    if len(found) == 3:
        assert [each.record.request for each in journal.calls(where, 3, found[-1].seq)] == wanted[3:6]


def call(request: str, started: int) -> Metered:
    usage = Usage(100, 40, 3, 2, 20, 5)
    made = Metered(request=RequestId(request), started=started, plan=PLAN, tenant="acme", usage=usage, cost=7)
    return msgspec.structs.replace(made, latency_us=1000, workload="chat")


async def three_months(ledger: Ledger) -> None:
    """Twenty calls of August, and ten of November."""
    for number in range(30):
        started = AUGUST + number * 25 * HOUR if number < 20 else NOVEMBER + number * HOUR
        await ledger.durable(ledger.note(call(f"r{number}", started + 1), started + 1))


class KeepingConformance:
    @pytest.fixture
    def place(self) -> Place:
        raise NotImplementedError("give the suite a place to keep ledgers in")

    @pytest.fixture
    def journal(self, place: Place) -> Iterator[Journal]:
        journal = place.journal()
        yield journal
        journal.close()

    def test_totals_are_what_the_calls_add_up_to(self, place: Place, journal: Journal) -> None:
        # One store for all examples, each with a tenant of its own.
        tenants, names = count(), count()

        async def write(those: Sequence[Metered]) -> None:
            ledger = await place.ledger()
            for each in those:
                ledger.note(each, NOW)
            await ledger.close()

        some = records(NOW, NOW + SPAN)

        @settings(max_examples=place.examples, deadline=None)
        @given(
            st.lists(some, min_size=1, max_size=15),
            st.lists(some, max_size=5),
            st.integers(1, 20),
            st.booleans(),
            st.lists(st.tuples(dimensions, instants, instants, dimensions), min_size=1, max_size=6),
        )
        def run(
            first: list[Metered],
            then: list[Metered],
            piece: int,
            all_of_it: bool,
            asked: list[tuple[list[Dimension], int, int, list[Dimension]]],
        ) -> None:
            tenant = f"t{next(tenants)}"

            def own(those: list[Metered]) -> list[Metered]:
                return [
                    msgspec.structs.replace(each, tenant=tenant, request=RequestId(f"r{next(names)}")) for each in those
                ]

            first, then = own(first), own(then)
            asyncio.run(write(first))
            if all_of_it:
                place.keeping().catch_up()
            else:
                place.roll_up(piece)
            asyncio.run(write(then))
            for by, since, until, held in asked:
                where = {each: value(first[0], each) for each in held} | {Dimension.TENANT: tenant}
                check(journal, [*first, *then], where, by, since, until)
                check_search(journal, [*first, *then], where)

        run()

    def test_one_user_is_found_who_has_too_many_calls_to_be_told_one_by_one(
        self, place: Place, journal: Journal
    ) -> None:
        these = [
            msgspec.structs.replace(
                call(f"r{number}", NOW), user=("alice", "bob")[number % 2], session=("", "s1")[number % 3 == 0],
                started=NOW + number % 5 // 4 * DAY, workload=("chat", "code")[number == 40],
            )
            for number in range(3 * FEW)
        ]  # fmt: skip

        async def write() -> None:
            ledger = await place.ledger()
            for each in these:
                ledger.note(each, NOW)
            await ledger.close()

        asyncio.run(write())
        place.keeping().catch_up()
        alice = {Dimension.USER: "alice"}
        for where in (
            alice,
            {**alice, Dimension.SESSION: ""},
            {**alice, Dimension.SESSION: "s1"},
            {**alice, Dimension.DAY: value(these[0], Dimension.DAY), Dimension.WORKLOAD: "chat"},
            {**alice, Dimension.WORKLOAD: "code", Dimension.KEY: ""},
            {Dimension.KEY: ""},
            {Dimension.USER: "a%"},
        ):
            check_search(journal, these, where)

    def test_no_total_is_lost_by_crashes_retention_and_calls_that_come_late(
        self, place: Place, journal: Journal
    ) -> None:
        tenants, names = count(), count()
        step = (
            st.lists(records(AUGUST, LATER), min_size=1, max_size=6)
            | st.integers(1, 5)
            | st.sampled_from(["roll up", "retain"])
        )

        async def write(those: Sequence[Metered]) -> None:
            ledger = await place.ledger()
            for each in those:
                ledger.note(each, each.started)
            await ledger.close()

        @settings(max_examples=place.examples // 2, deadline=None)
        @given(st.lists(step, max_size=7), kept, days, days)
        def run(steps: list[list[Metered] | int | str], by: list[Dimension], since: int, until: int) -> None:
            tenant = f"t{next(tenants)}"
            written: list[Metered] = []
            for each in steps:
                match each:
                    case list():
                        new = [
                            msgspec.structs.replace(one, tenant=tenant, request=RequestId(f"r{next(names)}"))
                            for one in each
                        ]
                        asyncio.run(write(new))
                        written += new
                    case int():
                        place.roll_up(each)
                    case "roll up":
                        place.keeping().catch_up()
                    case _:
                        place.keeping().retain(LATER, 30)
                check(journal, written, {Dimension.TENANT: tenant}, by, since, until)
                # Beyond all calls, so that the present month is whole.
                check(journal, written, {Dimension.TENANT: tenant}, [Dimension.USER], 0, LATER + 1)

        run()

    async def test_catching_up_twice_adds_nothing(self, place: Place, journal: Journal) -> None:
        ledger = await place.ledger()
        for number in range(7):
            ledger.note(call(f"r{number}", NOW), NOW)
        await ledger.close()
        assert place.behind() == 7
        assert place.roll_up(3) == 3
        assert place.keeping().catch_up() == 4
        assert place.keeping().catch_up() == 0
        assert place.behind() == 0
        assert journal.usage([], 0, NOW + 1)[0].calls == 7

    async def test_totals_and_a_decision_stay_of_what_is_dropped(self, place: Place, journal: Journal) -> None:
        ledger = await place.ledger()
        await three_months(ledger)
        await ledger.close()
        by = [Dimension.WORKLOAD, Dimension.DAY]
        place.keeping().catch_up()
        before = journal.usage(by, AUGUST, LATER)
        assert place.keeping().retain(LATER, 0) == []
        done = place.keeping().retain(LATER, 30, "mia")
        (one,) = (each for each in done if isinstance(each, Dropped) and each.calls)
        assert (one.month, one.calls, one.cost) == ("2026-08", 20, 140)
        assert said(one) == "2026-08: 20 calls dropped, their totals kept"
        assert journal.usage(by, AUGUST, LATER) == before
        assert journal.usage([], AUGUST, SEPTEMBER)[0].usage == Usage(2000, 800, 60, 40, 400, 100)
        (decision,) = journal.decisions(["retention"])
        assert (decision.subject, decision.by) == ("2026-08", "mia")
        assert decision.detail | {"last_seq": 0, "digest": ""} == {
            "calls": 20, "cost": 140, "unknown_cost": 0, "input": 2000, "cached": 800, "cache_write_5m": 60,
            "cache_write_1h": 40, "output": 400, "reasoning": 100, "counted": 0, "counted_tokens": 0, "last_seq": 0,
            "digest": "", "kept_from": "2026-09-01T00:00:00+00:00",
        }  # fmt: skip
        assert len(journal.calls()) == 10
        assert place.keeping().retain(LATER, 30) == []
        verified = place.verified()
        assert verified.ok, verified.problems
        assert verified.retained == decision.detail["last_seq"] == one.last_seq

    async def test_hours_that_are_gone_are_counted_where_they_begin(self, place: Place, journal: Journal) -> None:
        ledger = await place.ledger()
        await three_months(ledger)
        await ledger.close()
        place.keeping().retain(LATER, 30)
        middle = AUGUST + 3 * DAY + 3 * HOUR
        for at in (middle, middle + 1, middle + HOUR // 2, middle + HOUR - 1):
            left, right = journal.usage([], 0, at), journal.usage([], at, LATER)
            assert left[0].calls + right[0].calls == 30

    async def test_what_calls_held_goes_with_them(self, place: Place, journal: Journal) -> None:
        ledger = await place.ledger()
        ticket = await let_in(ledger, "old", ceiling(tokens(5), 100, ALICE))
        held = msgspec.structs.replace(record("old", tokens(3)), started=AUGUST)
        await ledger.durable(ledger.settle(ticket, AUGUST, tokens(3), held))
        still = await let_in(ledger, "open", ceiling(tokens(5), 100, ALICE))
        await ledger.durable(ledger.note(call("c", AUGUST), AUGUST))
        later = period_of(Window.MONTH, "UTC", NOW).start + 20 * DAY
        (waits, *_) = place.keeping().retain(later, 30)
        assert isinstance(waits, Kept)
        assert "still open" in said(waits)
        closed = msgspec.structs.replace(record("open"), started=NOW)
        await ledger.durable(ledger.settle(still, NOW, tokens(1), closed))
        assert "2026-08: 2 calls dropped" in said(place.keeping().retain(later, 30)[0])
        await ledger.close()
        verified = place.verified()
        assert verified.ok, verified.problems
        (balance,) = journal.balances("acme", "alice")
        assert balance.balance.settled == tokens(4)
