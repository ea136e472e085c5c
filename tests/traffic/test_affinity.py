"""Does a session keep its route for as long as a cache may pay, in bounded memory?"""

from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import NOW, steady

from upshift.model.ids import ModelName, ProviderId
from upshift.model.span import MICROS
from upshift.traffic.affinity import Affinity, Kept

BIG, ACORN, OAK = ModelName("big"), ProviderId("acorn"), ProviderId("oak")


def test_the_last_answer_decides() -> None:
    known = Affinity()
    assert known.of("s", NOW) is None
    known.keep("s", BIG, ACORN, NOW)
    known.keep("s", BIG, OAK, NOW + 1)
    assert known.of("s", NOW + 2) == Kept(BIG, OAK, NOW + 1)
    assert len(known) == 1


def test_what_no_cache_holds_any_more_is_forgotten() -> None:
    known = Affinity(seconds=60)
    known.keep("s", BIG, ACORN, NOW)
    assert known.of("s", NOW + 60 * MICROS) is not None
    assert known.of("s", NOW + 60 * MICROS + 1) is None
    assert len(known) == 0


@steady
@given(st.lists(st.integers(0, 9), max_size=60))
def test_those_answered_last_are_the_ones_kept(sessions: list[int]) -> None:
    known = Affinity(most=4)
    for at, session in enumerate(sessions):
        known.keep(session, BIG, ACORN, NOW + at)
        assert len(known) <= 4
    last = list(dict.fromkeys(reversed(sessions)))[:4]
    assert {each for each in range(10) if known.of(each, NOW + 100) is not None} == set(last)
