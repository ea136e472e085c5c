"""Do totals by hour and day say the same as the calls they are made of, whatever is asked and however far they got?"""

import asyncio
from collections.abc import Sequence
from itertools import count

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conformance.ledger import NOW, PLAN
from tests.postgres import Server, database_url, postgres

from upshift.model.budget import Bucket
from upshift.model.ids import KeyId, RequestId
from upshift.model.metered import Metered, Outcome
from upshift.model.span import Instant, to_datetime
from upshift.model.tokens import Usage
from upshift.store import keeper_seat
from upshift.store.journal import Dimension, Used
from upshift.store.postgres import Connection
from upshift.store.postgres_journal import PostgresJournal
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.postgres_reports import stretches
from upshift.store.rollup import HOUR, LATENCY_ERROR, Rollups, lag, quantile, roll_up

__all__ = ["database_url", "postgres"]

SPAN = 5 * 24 * HOUR
FORMS = {Dimension.HOUR: "%Y-%m-%dT%H", Dimension.DAY: "%Y-%m-%d", Dimension.MONTH: "%Y-%m"}

numbers = st.integers(0, 10**9)
records = st.builds(
    Metered,
    request=st.just(RequestId("")),
    started=st.integers(NOW, NOW + SPAN),
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


def value(record: Metered, dimension: Dimension) -> str:
    if dimension in FORMS:
        return to_datetime(record.started).strftime(FORMS[dimension])
    return str(getattr(record, dimension.value))


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
    assert abs(found - true) <= max(1, LATENCY_ERROR * true)


def check(
    journal: PostgresJournal, these: Sequence[Metered], tenant: str, by: list[Dimension], since: Instant, until: Instant
) -> None:
    groups: dict[tuple[str, ...], list[Metered]] = {}
    for each in these:
        if since <= each.started < until:
            groups.setdefault(tuple(value(each, dimension) for dimension in by), []).append(each)
    found = journal.usage(by, since, until, {Dimension.TENANT: tenant})
    plain = [msgspec.structs.replace(used, p50_us=None, p95_us=None) for used in found]
    assert plain == [sums(group, groups[group]) for group in sorted(groups)]
    for used in found:
        check_quantile(used.p50_us, groups[used.group], 50)
        check_quantile(used.p95_us, groups[used.group], 95)


def test_totals_are_what_the_calls_add_up_to(database_url: str) -> None:
    # One database for all examples, each with a tenant of its own.
    journal, tenants, names = PostgresJournal(database_url), count(), count()
    dimensions = st.lists(st.sampled_from(list(Dimension)), max_size=3, unique=True)

    async def write(those: Sequence[Metered]) -> None:
        seat = keeper_seat.take(database_url, "", "", 0.0)
        assert seat is not None
        ledger = await PostgresLedger.open(database_url, seat, NOW)
        for each in those:
            ledger.note(each, NOW)
        await ledger.close()

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(records, min_size=1, max_size=15),
        st.lists(records, max_size=5),
        st.integers(1, 20),
        st.booleans(),
        st.lists(st.tuples(dimensions, instants, instants), min_size=1, max_size=6),
    )
    def run(
        first: list[Metered],
        then: list[Metered],
        piece: int,
        all_of_it: bool,
        asked: list[tuple[list[Dimension], int, int]],
    ) -> None:
        tenant = f"t{next(tenants)}"

        def own(those: list[Metered]) -> list[Metered]:
            return [
                msgspec.structs.replace(each, tenant=tenant, request=RequestId(f"r{next(names)}")) for each in those
            ]

        first, then = own(first), own(then)
        asyncio.run(write(first))
        if all_of_it:
            Rollups(database_url, piece).catch_up()
        else:
            with Connection.open(database_url) as db:
                roll_up(db, piece)
        asyncio.run(write(then))
        for by, since, until in asked:
            check(journal, [*first, *then], tenant, by, since, until)

    run()
    journal.close()


def test_catching_up_twice_adds_nothing(database_url: str) -> None:
    async def write() -> None:
        seat = keeper_seat.take(database_url, "", "", 60.0)
        assert seat is not None
        ledger = await PostgresLedger.open(database_url, seat, NOW)
        for number in range(7):
            ledger.note(Metered(request=RequestId(f"r{number}"), started=NOW, plan=PLAN, tenant="acme"), NOW)
        await ledger.close()

    asyncio.run(write())
    with Connection.open(database_url) as db:
        assert lag(db) == 7
        assert Rollups(database_url, piece=3).catch_up() == 7
        assert Rollups(database_url).catch_up() == 0
        assert lag(db) == 0
        assert db.execute("SELECT sum(calls) FROM outline_days").fetchone() == (7,)
        assert db.execute("SELECT sum(calls) FROM outline_hours").fetchone() == (7,)


def test_profiles_that_no_report_tells_apart_share_their_totals(postgres: Server, database_url: str) -> None:
    async def write() -> None:
        seat = keeper_seat.take(database_url, "", "", 60.0)
        assert seat is not None
        ledger = await PostgresLedger.open(database_url, seat, NOW)
        for status in (200, 201, 202):
            request = RequestId(f"r{status}")
            ledger.note(Metered(request=request, started=NOW, plan=PLAN, tenant="acme", status=status), NOW)
        await ledger.close()

    asyncio.run(write())
    Rollups(database_url, piece=2).catch_up()
    with Connection.open(database_url) as db:
        assert db.execute("SELECT count(*), count(DISTINCT facet), count(DISTINCT outline) FROM facets").fetchone() == (
            3,
            1,
            1,
        )
        assert db.execute("SELECT calls FROM outline_days").fetchall() == [(3,)]


@given(instants, instants, st.integers(-3, 150).map(lambda hour: NOW // HOUR * HOUR + hour * HOUR))
def test_every_instant_that_is_kept_is_in_one_stretch(since: int, until: int, kept_from: int) -> None:
    parts = stretches(since, until, kept_from)
    covered = [(parts.first * HOUR, parts.last * HOUR), *parts.edges]
    for at in {since, until - 1, (since + until) // 2, parts.first * HOUR, parts.last * HOUR, kept_from}:
        if at >= kept_from:
            assert sum(begin <= at < end for begin, end in covered) == (since <= at < until)


@given(instants, instants, instants, instants)
def test_stretches_side_by_side_share_out_the_hours_that_are_not_kept(a: int, b: int, c: int, kept_from: int) -> None:
    first, middle, last = sorted((a, b, c))
    kept_from = kept_from // HOUR * HOUR
    left, right, whole = (
        stretches(first, middle, kept_from), stretches(middle, last, kept_from), stretches(first, last, kept_from)
    )  # fmt: skip
    gone = range(whole.first, min(whole.last, kept_from // HOUR))
    for hour in gone:
        assert (left.first <= hour < left.last) + (right.first <= hour < right.last) == 1


@pytest.mark.parametrize(
    ("latencies", "median"), [("0", None), ("1", 1), ("2" + "0" * 12, 1), ("1" + "0" * 12 * 80, 1069)]
)
def test_a_number_stands_for_the_counts_of_all_buckets(latencies: str, median: int | None) -> None:
    assert quantile(latencies, 50) == median
