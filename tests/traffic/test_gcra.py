"""Does a rate hold over every window, whatever comes when?"""

from hypothesis import given
from hypothesis import strategies as st

from upshift.model.pool import Rate
from upshift.model.span import MICROS
from upshift.traffic.gcra import Allowance

MINUTE = 60 * MICROS

rates = st.builds(Rate, st.integers(1, 5_000), st.sampled_from([MICROS, MINUTE]), st.integers(1, 500))
asked = st.lists(st.tuples(st.integers(0, 5 * MICROS), st.integers(1, 600)), min_size=1, max_size=60)


@given(rates, asked)
def test_over_any_window_never_more_than_the_burst_and_what_the_rate_gives(
    rate: Rate, asked: list[tuple[int, int]]
) -> None:
    allowance, now = Allowance(rate), MINUTE
    had: list[tuple[int, int]] = []
    for pause, units in asked:
        now += pause
        if allowance.delay(units, now) == 0:
            allowance.take(units, now)
            had.append((now, units))
    for first in range(len(had)):
        total = 0
        for at, units in had[first:]:
            # Of a call that is larger than the burst, the rest is owed: it passes the bound by that, once.
            assert (total + min(units, rate.burst)) * rate.period <= (
                rate.burst * rate.period + (at - had[first][0]) * rate.amount
            )
            total += units


@given(rates, asked)
def test_who_waits_as_long_as_was_said_gets_it_and_a_microsecond_earlier_does_not(
    rate: Rate, asked: list[tuple[int, int]]
) -> None:
    allowance, now = Allowance(rate), MINUTE
    for pause, units in asked:
        now += pause
        delay = allowance.delay(units, now)
        if delay:
            assert allowance.delay(units, now + delay - 1) == 1
        now += delay
        assert allowance.delay(units, now) == 0
        allowance.take(units, now)


@given(rates, st.lists(st.tuples(st.integers(0, MICROS), st.integers(1, 600), st.integers(0, 600)), max_size=40))
def test_what_is_given_back_may_be_had_again_and_no_more(rate: Rate, calls: list[tuple[int, int, int]]) -> None:
    allowance, now, used = Allowance(rate), MINUTE, 0
    for pause, units, unused in calls:
        now += pause
        if allowance.delay(units, now) == 0:
            allowance.take(units, now)
            allowance.give_back(min(units, unused))
            used += units - min(units, unused)
            assert (used - max(0, units - rate.burst)) * rate.period <= (rate.burst * rate.period + now * rate.amount)
    assert allowance.delay(rate.burst, now + 10**15) == 0


def test_another_rate_owes_as_long_and_at_most_its_burst() -> None:
    allowance = Allowance(Rate(60, MINUTE, 60))
    allowance.take(60, 0)
    assert allowance.delay(1, 0) == MICROS
    faster = allowance.at(Rate(600, MINUTE, 600), 0)
    assert faster.delay(1, 0) == MICROS // 10
    shorter = allowance.at(Rate(60, MINUTE, 6), 0)
    assert shorter.delay(1, 0) == MICROS
    assert not shorter.idle(0)
    assert shorter.idle(6 * MICROS)
