"""Does a circuit open for an outage and for nothing else, and is it tried by one call at a time?"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import BIG, CLAUDE, NOW, steady

from upshift.model.span import MICROS
from upshift.traffic.health import (
    LAST_PAUSE,
    MOST_IN_A_ROW,
    UNKNOWN,
    WELL,
    Board,
    Circuit,
    Pace,
    State,
    Verdict,
)

DOWN, SHAKY, GOOD, NOTHING = Verdict.DOWN, Verdict.SHAKY, Verdict.WELL, Verdict.NOTHING
SECOND = MICROS


def after(*verdicts: Verdict, circuit: Circuit = WELL, now: int = NOW, apart: int = 1000) -> Circuit:
    for index, verdict in enumerate(verdicts):
        circuit = circuit.after(verdict, now + index * apart, trial=False)
    return circuit


def test_failures_in_a_row_open_a_circuit() -> None:
    almost = after(*[DOWN] * (MOST_IN_A_ROW - 1))
    assert almost.state(NOW + 5000) is State.CLOSED
    assert after(DOWN, circuit=almost, now=NOW + 5000).state(NOW + 5001) is State.OPEN
    assert after(GOOD, DOWN, circuit=almost, now=NOW + 5000).state(NOW + 9000) is State.CLOSED


def test_so_does_half_of_the_calls_failing() -> None:
    assert after(*[DOWN, GOOD] * 4).state(NOW + 10_000) is State.CLOSED
    assert after(*[GOOD, DOWN] * 6).state(NOW + 12_000) is State.OPEN
    assert after(*[GOOD, GOOD, DOWN] * 50).state(NOW + 200_000) is State.CLOSED


def test_what_may_be_the_callers_own_fault_opens_it_only_where_nobody_is_served() -> None:
    assert after(*[SHAKY] * 10).state(NOW + 10_000) is State.CLOSED
    assert after(*[SHAKY] * 11).state(NOW + 11_000) is State.OPEN
    assert after(GOOD, *[SHAKY] * 100).state(NOW + 200_000) is State.CLOSED


def test_old_failures_fade() -> None:
    old = after(*[GOOD, GOOD, DOWN] * 10)
    assert after(*[DOWN, GOOD] * 4, circuit=old, now=NOW + 600 * SECOND).state(NOW + 601 * SECOND) is State.CLOSED


def test_one_call_is_the_trial_and_its_end_decides() -> None:
    opened = after(*[DOWN] * MOST_IN_A_ROW)
    later = NOW + 2 * SECOND
    assert opened.state(later) is State.HALF_OPEN
    trying = opened.tried(later, 30.0)
    assert trying.state(later) is State.ON_TRIAL
    assert trying.after(GOOD, later + 1, trial=False) is trying
    assert trying.after(GOOD, later + 1, trial=True).state(later + 1) is State.CLOSED
    failed = trying.after(DOWN, later + 1, trial=True)
    assert failed.state(later + SECOND) is State.OPEN
    assert failed.openings == 2
    assert trying.after(NOTHING, later + 1, trial=True).state(later + 1) is State.HALF_OPEN
    assert trying.state(later + 31 * SECOND) is State.HALF_OPEN


def test_pauses_double_up_to_a_bound() -> None:
    circuit, now, pauses = after(*[DOWN] * MOST_IN_A_ROW), NOW + 4000, list[float]()
    for _ in range(8):
        pauses.append((circuit.until - now) / SECOND)
        now = circuit.until
        circuit = circuit.tried(now, 1.0).after(DOWN, now, trial=True)
    assert pauses == [1, 2, 4, 8, 16, LAST_PAUSE, LAST_PAUSE, LAST_PAUSE]


Deed = tuple[str, Verdict, int]
DEEDS = st.lists(
    st.tuples(st.sampled_from(["begin", "end"]), st.sampled_from(list(Verdict)), st.integers(0, 3 * SECOND)),
    max_size=80,
)


@steady
@given(DEEDS)
def test_an_open_circuit_is_tried_by_one_call_at_a_time(deeds: list[Deed]) -> None:
    board, now, in_flight = Board(), NOW, list[bool]()
    for deed, verdict, wait in deeds:
        now += wait
        provider = BIG.provider.id
        if deed == "begin" and board.circuit(provider).state(now) in (State.CLOSED, State.HALF_OPEN):
            in_flight.append(board.begin(BIG, now, 10_000.0, repeat=False))
        elif deed == "end" and in_flight:
            board.end(BIG, verdict, now, trial=in_flight.pop(0))
        assert sum(in_flight) <= 1
        if any(in_flight):
            assert board.circuit(provider).state(now) is State.ON_TRIAL


@pytest.mark.parametrize("typical", [0.05, 1.0, 20.0])
def test_a_pace_finds_the_median_and_the_slow_end(typical: float) -> None:
    pace = UNKNOWN
    for index in range(400):
        pace = pace.after(typical * math.exp(0.5 * math.sin(index * 2.399)))
    assert pace.typical == pytest.approx(typical, rel=0.15)
    assert typical * 1.3 < pace.slow < typical * 2.6


def test_a_pace_follows_a_change() -> None:
    pace = UNKNOWN
    assert (pace.typical, pace.slow) == (0.0, 0.0)
    for _ in range(100):
        pace = pace.after(0.1)
    for _ in range(100):
        pace = pace.after(2.0)
    assert pace.typical == pytest.approx(2.0, rel=0.1)


def test_rest_is_kept_but_not_believed_without_bound() -> None:
    assert Pace().resting(NOW, None).rests_until == NOW + SECOND
    assert Pace().resting(NOW, 1e9).rests_until == NOW + 300 * SECOND
    assert Pace().resting(NOW, 20).resting(NOW, 2).rests_until == NOW + 20 * SECOND
    assert Pace().resting(NOW, 20).after(0.5).rests_until == NOW + 20 * SECOND


def test_repeats_are_a_share_of_the_calls() -> None:
    board, provider = Board(), BIG.provider.id
    for _ in range(10):
        assert board.may_repeat(provider)
        board.begin(BIG, NOW, 1.0, repeat=True)
    assert not board.may_repeat(provider)
    for _ in range(11):
        board.begin(BIG, NOW, 1.0, repeat=False)
    assert board.may_repeat(provider)
    assert board.may_repeat(CLAUDE.provider.id)


def test_a_provider_is_untroubled_until_it_fails_and_again_when_that_is_long_past() -> None:
    board, provider = Board(), BIG.provider.id
    assert board.untroubled(provider)
    board.end(BIG, Verdict.SHAKY, NOW)
    board.begin(BIG, NOW, 1.0, repeat=True)
    assert not board.untroubled(provider)
    for second in range(1, 200):
        board.sent(provider)
        board.end(BIG, Verdict.WELL, NOW + second * MICROS)
    assert board.untroubled(provider)


def test_providers_that_are_gone_are_forgotten() -> None:
    board = Board()
    for each in (BIG, CLAUDE):
        for _ in range(MOST_IN_A_ROW):
            board.begin(each, NOW, 1.0, repeat=True)
            board.end(each, DOWN, NOW)
        board.quick(each, 1.0)
        board.rest(each, NOW, 5.0)
    board.keep({BIG.provider.id})
    assert board.circuit(BIG.provider.id).state(NOW) is State.OPEN
    assert board.pace(BIG).rests_until > NOW
    assert board.circuit(CLAUDE.provider.id) is WELL
    assert board.pace(CLAUDE) is UNKNOWN
