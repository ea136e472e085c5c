"""Are calls counted in the tenant's own days, weeks and months, however the clock is moved?"""

import asyncio
from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.end_to_end.exact import EACH, OUTPUT, exact, use, use_up
from tests.end_to_end.probe import ask, closed, key
from tests.end_to_end.stack import Stack, plan_text, running
from tests.end_to_end.turnstile import turnstile

from upshift.app import start_gateway
from upshift.gateway.clock import HandClock
from upshift.model.span import MICROS, Instant, Window, period_of, show_instant, to_instant

THREE = 3 * EACH
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata"]
HOUR = 3600


def local(text: str, zone: str) -> Instant:
    """The instant at which clocks in a zone show this."""
    return to_instant(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


def zoned(zone: str) -> tuple[str, str]:
    """Moves acme's calendar to a zone."""
    return "timezone: Europe/Berlin", f"timezone: {zone}"


def ceiling(text: str) -> tuple[str, str]:
    """Gives tier pro these ceilings instead of a month's."""
    return "pro: {month: 100k}", f"pro: {{{text}}}"


def counted(stack: Stack) -> dict[tuple[str, str], int]:
    """Tokens by window and period, as the counters say."""
    accounts = stack.desk.journal.balances(tenant="acme", user="alice", workload="chat")
    return {(each.key.window, each.key.period): each.balance.settled.tokens for each in accounts}


async def recorded(stack: Stack, window: Window, zone: str) -> dict[tuple[str, str], int]:
    """The same as the calls' records say: each in the period in which it began."""
    found: Counter[tuple[str, str]] = Counter()
    for record in await stack.records():
        if record.counted_tokens:
            found[window, period_of(window, zone, record.started).label] += record.counted_tokens
    return dict(found)


@pytest.mark.parametrize("zone", ZONES)
async def test_a_month_ends_at_its_own_midnight_and_the_ceiling_resets_once(tmp_path: Path, zone: str) -> None:
    midnight = local("2026-12-01", zone)
    clock = HandClock(midnight - MICROS)
    async with running(tmp_path, limit=str(THREE), extra=[zoned(zone)], clock=clock) as stack:
        assert await use_up(stack) == 3
        refused = await use(stack)
        assert refused.headers["x-upshift-resets-at"] == show_instant(midnight, zone)
        clock.set(midnight - 1)
        assert (await use(stack)).status == 402
        clock.set(midnight)
        assert await use_up(stack) == 3
        clock.set(local("2027-01-01", zone) - 1)
        assert (await use(stack)).status == 402
        clock.set(local("2027-01-01", zone))
        assert (await use(stack)).status == 200
        await closed(stack)
        by_month = {("month", "2026-11"): 3 * EACH, ("month", "2026-12"): 3 * EACH, ("month", "2027-01"): EACH}
        assert counted(stack) == await recorded(stack, Window.MONTH, zone) == by_month


async def test_tenants_in_two_zones_turn_the_month_at_two_instants(tmp_path: Path) -> None:
    clock = HandClock(local("2026-12-01", "Europe/Berlin"))
    async with running(tmp_path, clock=clock) as stack:
        gail = await key(stack, "gail", "globex")
        assert (await use(stack)).status == (await use(stack, gail)).status == 200
        clock.set(local("2026-12-01", "America/New_York"))
        assert (await use(stack)).status == (await use(stack, gail)).status == 200
        await closed(stack)
        found = {
            (each.key.tenant, each.key.period): each.balance.settled.tokens for each in stack.desk.journal.balances()
        }
        assert found == {("acme", "2026-12"): 2 * EACH, ("globex", "2026-11"): EACH, ("globex", "2026-12"): EACH}


@pytest.mark.parametrize("kind", ["delay=1", "slow_chunk=1"])
@pytest.mark.parametrize("zone", ZONES)
async def test_a_call_over_midnight_counts_where_it_was_let_in(tmp_path: Path, zone: str, kind: str) -> None:
    midnight = local("2026-12-01", zone)
    clock = HandClock(midnight - 1)
    async with turnstile() as stile, running(tmp_path, extra=[zoned(zone)], clock=clock) as stack:
        await stack.apply(plan_text(stile.url, extra=[zoned(zone)]))
        late = asyncio.create_task(ask(stack, exact(f"{kind},"), max_tokens=OUTPUT, stream=kind.startswith("slow")))
        await stile.until(waiting=1)
        clock.set(midnight)
        assert (await use(stack)).status == 200
        clock.advance(60)
        await stile.open()
        assert (await late).status == 200
        await closed(stack)
        assert counted(stack) == {("month", "2026-11"): EACH, ("month", "2026-12"): EACH}
        assert await recorded(stack, Window.MONTH, zone) == counted(stack)


@pytest.mark.parametrize("zone", ZONES)
async def test_a_clock_that_goes_back_over_midnight_neither_resets_twice_nor_forgets(tmp_path: Path, zone: str) -> None:
    midnight = local("2026-12-01", zone)
    before, after = midnight - MICROS, midnight + MICROS
    clock = HandClock(before)
    async with running(tmp_path, limit=str(THREE), extra=[zoned(zone)], clock=clock) as stack:
        for moment in (before, after, before, after, before):
            clock.set(moment)
            assert (await use(stack)).status == 200
        for moment, left in ((after, 1), (before, 0), (after, 0), (before, 0)):
            clock.set(moment)
            assert await use_up(stack) == left
        await closed(stack)
        assert counted(stack) == {("month", "2026-11"): 3 * EACH, ("month", "2026-12"): 3 * EACH}
        assert counted(stack) == await recorded(stack, Window.MONTH, zone)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Asia/Kolkata", "2026-03-29", 24),
    ],
)
async def test_a_day_ceiling_lasts_as_long_as_the_day(tmp_path: Path, zone: str, day: str, hours: int) -> None:
    start = local(day, zone)
    end = start + hours * HOUR * MICROS
    clock = HandClock(start - 1)
    async with running(tmp_path, extra=[zoned(zone), ceiling(f"day: {THREE}")], clock=clock) as stack:
        assert (await use(stack)).status == 200
        clock.set(start)
        assert await use_up(stack) == 3
        for moment in range(start, end, HOUR * MICROS):
            clock.set(moment)
            refused = await use(stack)
            assert (refused.status, refused.headers["x-upshift-resets-at"]) == (402, show_instant(end, zone))
        clock.set(end - 1)
        assert (await use(stack)).status == 402
        clock.set(end)
        assert (await use(stack)).status == 200
        await closed(stack)
        assert sorted(counted(stack).values()) == [EACH, EACH, 3 * EACH]
        assert counted(stack) == await recorded(stack, Window.DAY, zone)


async def test_a_week_begins_on_monday_and_goes_on_over_new_year(tmp_path: Path) -> None:
    zone = "Europe/Berlin"
    clock = HandClock(local("2026-12-27T23:59:59", zone))
    async with running(tmp_path, extra=[ceiling(f"week: {THREE}")], clock=clock) as stack:
        assert await use_up(stack) == 3
        clock.set(local("2026-12-28", zone))
        assert (await use(stack)).status == 200
        clock.set(local("2027-01-01", zone))
        assert await use_up(stack) == 2
        refused = await use(stack)
        assert refused.headers["x-upshift-resets-at"] == "2027-01-04T00:00:00+01:00"
        clock.set(local("2027-01-04", zone))
        assert (await use(stack)).status == 200
        await closed(stack)
        by_week = {("week", "2026-W52"): 3 * EACH, ("week", "2026-W53"): 3 * EACH, ("week", "2027-W01"): EACH}
        assert counted(stack) == await recorded(stack, Window.WEEK, zone) == by_week


async def test_of_day_week_and_month_the_tightest_speaks(tmp_path: Path) -> None:
    zone = "Europe/Berlin"
    three = f"day: {THREE}, week: {5 * EACH}, month: {8 * EACH}"
    days = [
        ("2026-11-02", 3, "day/2026-11-02", "2026-11-03T00:00:00+01:00"),
        ("2026-11-03", 2, "week/2026-W45", "2026-11-09T00:00:00+01:00"),
        ("2026-11-09", 3, "day/2026-11-09", "2026-11-10T00:00:00+01:00"),
        ("2026-11-10", 0, "month/2026-11", "2026-12-01T00:00:00+01:00"),
        ("2026-12-01", 3, "day/2026-12-01", "2026-12-02T00:00:00+01:00"),
    ]
    clock = HandClock(local("2026-11-02", zone))
    async with running(tmp_path, extra=[ceiling(three)], clock=clock) as stack:
        for day, served, speaks, resets in days:
            clock.set(local(f"{day}T12:00:00", zone))
            assert await use_up(stack) == served, day
            refused = await use(stack)
            assert f"acme/alice/chat/included/{speaks} " in refused.headers["x-upshift-budget"]
            assert refused.headers["x-upshift-resets-at"] == resets
            assert f"the {speaks.partition('/')[0]} budget of alice for workload chat" in refused.problem()
            assert resets[:10] in refused.problem()
        await closed(stack)
        found = counted(stack)
        for window in Window:
            of_window = {name: tokens for name, tokens in found.items() if name[0] == window}
            assert of_window == await recorded(stack, window, zone)


def raised(stack: Stack) -> list[str]:
    """Alerts on alice's month, oldest first, as '2026-11/70'."""
    ids = [found.alert.id for found in reversed(stack.desk.journal.alerts())]
    prefix = "acme/alice/chat/included/month/"
    assert all(each.startswith(prefix) for each in ids)
    return [each.removeprefix(prefix) for each in ids]


async def test_alerts_speak_once_per_period_over_restarts_and_clock_jumps(tmp_path: Path) -> None:
    zone = "Europe/Berlin"
    clock = HandClock(local("2026-11-10T12:00:00", zone))
    november = ["2026-11/70", "2026-11/90", "2026-11/100"]
    async with running(tmp_path, limit=str(4 * EACH), clock=clock) as stack:
        for calls, alerts in ((1, []), (2, []), (3, november[:1])):
            assert (await use(stack)).status == 200
            await closed(stack)
            assert raised(stack) == alerts, calls
        await stack.gateway.close(grace_seconds=1)
        stack.gateway = await start_gateway(stack.settings, clock)
        clock.set(local("2026-10-31T23:59:59", zone))
        assert (await use(stack)).status == 200
        clock.set(local("2026-11-10T12:00:01", zone))
        assert (await use(stack)).status == 200
        clock.set(local("2026-11-09", zone))
        assert (await use(stack)).status == 402
        await closed(stack)
        assert raised(stack) == november
        clock.set(local("2026-12-15", zone))
        assert await use_up(stack) == 4
        await stack.gateway.close(grace_seconds=1)
        stack.gateway = await start_gateway(stack.settings, clock)
        clock.set(local("2026-11-30", zone))
        assert (await use(stack)).status == 402
        clock.set(local("2026-12-15", zone))
        assert (await use(stack)).status == 402
        await closed(stack)
        assert raised(stack) == november + [each.replace("-11", "-12") for each in november]


async def test_a_clock_that_goes_back_before_the_period_raises_no_alarm_about_its_pace(tmp_path: Path) -> None:
    clock = HandClock(local("2026-12-20", "Europe/Berlin"))
    async with turnstile() as stile, running(tmp_path, clock=clock) as stack:
        await stack.apply(plan_text(stile.url, str(4 * EACH)))
        assert (await use(stack)).status == 200
        late = asyncio.create_task(use(stack, directives="delay=1,"))
        await stile.until(waiting=1)
        clock.set(local("2026-11-30", "Europe/Berlin"))
        await stile.open()
        assert (await late).status == 200
        await closed(stack)
        assert counted(stack) == {("month", "2026-12"): 2 * EACH}
        assert raised(stack) == []
