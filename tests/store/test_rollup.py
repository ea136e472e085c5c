"""Which totals serve which stretch of time, and what do those of PostgreSQL share?"""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.keeping import instants
from tests.conformance.ledger import NOW, PLAN
from tests.postgres import Server, database_url, postgres

from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.store import keeper_seat
from upshift.store.journal import Dimension
from upshift.store.postgres import Connection
from upshift.store.postgres_journal import PostgresJournal
from upshift.store.postgres_ledger import PostgresLedger
from upshift.store.rollup import Rollups, counts_in
from upshift.store.totals import DAY, HOUR, month_of, quantiles, stretches

__all__ = ["database_url", "postgres"]


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
    assert quantiles(counts_in(latencies), 50) == (median,)


def test_months_are_made_of_days_again_where_a_program_of_before_went_on(database_url: str) -> None:
    async def write(request: str) -> None:
        seat = keeper_seat.take(database_url, "", "", 0.0)
        assert seat is not None
        ledger = await PostgresLedger.open(database_url, seat, NOW)
        ledger.note(Metered(request=RequestId(request), started=NOW, plan=PLAN, tenant="acme", user="alice"), NOW)
        await ledger.close()

    journal = PostgresJournal(database_url)

    def users() -> list[tuple[tuple[str, ...], int]]:
        return [(each.group, each.calls) for each in journal.usage([Dimension.USER], 0, NOW + DAY)]

    def searched() -> list[str]:
        return [each.record.request for each in journal.calls({Dimension.USER: "alice"})]

    asyncio.run(write("r1"))
    Rollups(database_url).catch_up()
    asyncio.run(write("r2"))
    Rollups(database_url).catch_up()
    with Connection.open(database_url) as db:
        # What such a program leaves: days that months do not have, facets without labels, calls that no span tells of.
        for table in ("facet_months", "facet_labels", "facet_spans"):
            db.execute(f"DELETE FROM {table}")
        journal.near = 0
        db.execute("UPDATE rollup_state SET months_seq = 1")
        assert users() == [(("alice",), 2)]
        asyncio.run(write("r3"))
        assert users() == [(("alice",), 3)]
        assert searched() == ["r3", "r2", "r1"]
        Rollups(database_url).catch_up()
        assert db.execute("SELECT calls, months_seq = last_seq FROM facet_months, rollup_state").fetchall() == [
            (3, True)
        ]
    assert users() == [(("alice",), 3)]
    assert searched() == ["r3", "r2", "r1"]
    journal.close()


@pytest.mark.parametrize(
    ("day", "month"),
    [
        (0, 1970 * 12),
        (30, 1970 * 12),
        (31, 1970 * 12 + 1),
        (-1, 1969 * 12 + 11),
        (11_016, 2000 * 12 + 1),
        (10**9, 9909 * 12 + 11),
    ],
)
def test_a_day_is_in_its_month(day: int, month: int) -> None:
    assert month_of(day) == month
