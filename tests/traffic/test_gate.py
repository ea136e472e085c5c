"""Does the gate hold every ceiling, and never refuse what fits?"""

from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.traffic.builders import BIG, Books, ask, balance, budget_key, card, claim, fare, model, rates, steady

from upshift.model.budget import EMPTY, NOTHING, Amount, Balance, Claim
from upshift.model.span import Window
from upshift.model.tokens import Usage
from upshift.traffic import gate
from upshift.traffic.gate import ENDLESS, LEAST_ANSWER, Crowded, Fare, Fit, Full
from upshift.traffic.outlook import IMAGE_TOKENS, PRIOR_OUTPUT, Outlook
from upshift.traffic.snapshot import HoldPolicy, Model
from upshift.traffic.wire.ask import Ask, Extras

ALICE = claim(tokens=10_000)
MONEY = claim(nano=1_000_000)

# tables ---------------------------------------------------------------------------------------------------------------


def test_a_call_that_fits_holds_its_input_and_all_the_output_it_wants() -> None:
    assert gate.admit([fare(ALICE)], Books().read, True) == Fit(0, Amount(1_100, 0), 1_000, 9_900)


def test_money_is_held_at_both_rates_and_rounded_up() -> None:
    # 100 x 3,000 + 10 x 15,000.000001 = 450,000.00001 nano-dollars; the rest pays for 36 tokens more.
    call = fare(MONEY, input_rate=3_000_000_000, output_rate=15_000_000_001, wanted=10)
    assert gate.admit([call], Books().read, True) == Fit(0, Amount(110, 450_001), 10, 46)


def test_no_limit_is_room_without_end() -> None:
    found = gate.admit([fare(claim(), output_rate=5, wanted=10**9)], Books().read, True)
    assert found == Fit(0, Amount(100 + 10**9, 5_000), 10**9, ENDLESS)


def test_a_price_of_zero_never_meets_a_money_ceiling() -> None:
    assert gate.admit([fare(MONEY)], Books().read, True) == Fit(0, Amount(1_100, 0), 1_000, ENDLESS)
    spent = Books((MONEY, balance(settled=(0, 1_000_000))))
    assert isinstance(gate.admit([fare(MONEY)], spent.read, True), Fit)
    overdrawn = Books((MONEY, balance(settled=(0, 1_000_001))))
    found = gate.admit([fare(MONEY)], overdrawn.read, True)
    assert isinstance(found, Full)
    assert (found.measure, found.needed) == ("money", 0)


def test_with_less_room_than_wanted_the_answer_is_clamped() -> None:
    books = Books((ALICE, balance(settled=(9_400, 0))))
    assert gate.admit([fare(ALICE)], books.read, True) == Fit(0, Amount(600, 0), 500, 500)


@pytest.mark.parametrize(("left", "fits"), [(100 + LEAST_ANSWER, True), (99 + LEAST_ANSWER, False), (0, False)])
def test_an_answer_of_a_few_tokens_is_refused_rather_than_paid_for(left: int, fits: bool) -> None:
    books = Books((ALICE, balance(settled=(10_000 - left, 0))))
    found = gate.admit([fare(ALICE)], books.read, True)
    assert isinstance(found, Fit) is fits
    if isinstance(found, Full):
        assert (found.claim, found.measure, found.needed) == (ALICE, "tokens", 100 + LEAST_ANSWER)


@pytest.mark.parametrize("call", [fare(ALICE, wanted=3), fare(ALICE, wanted=1_000, enough=3)])
def test_unless_the_call_asks_for_no_more_or_usually_takes_no_more(call: Fare) -> None:
    found = gate.admit([call], Books((ALICE, balance(settled=(9_897, 0)))).read, True)
    assert isinstance(found, Fit)
    assert found.output == 3
    found = gate.admit([call], Books((ALICE, balance(settled=(9_898, 0)))).read, True)
    assert isinstance(found, Full)
    assert found.needed == 103


def test_a_short_usual_answer_waits_for_others_as_a_long_one_does() -> None:
    books = Books((ALICE, balance(settled=(9_895, 0), held=(5, 0))))
    call = fare(ALICE, wanted=1_000, enough=3)
    assert gate.admit([call], books.read, True) == Crowded(ALICE.key)
    assert gate.admit([call], books.read, False) == Crowded(ALICE.key)


def test_grants_lift_a_ceiling() -> None:
    books = Books((ALICE, balance(settled=(10_000, 0), granted=(1_100, 0))))
    assert gate.admit([fare(ALICE)], books.read, True) == Fit(0, Amount(1_100, 0), 1_000, 1_000)


def test_a_call_waits_for_what_others_hold() -> None:
    books = Books((ALICE, balance(held=(9_950, 0))))
    assert gate.admit([fare(ALICE)], books.read, True) == Crowded(ALICE.key)
    assert gate.admit([fare(ALICE)], books.read, False) == Crowded(ALICE.key)


def test_once_waiting_is_over_a_shorter_answer_is_better_than_none() -> None:
    books = Books((ALICE, balance(held=(9_400, 0))))
    assert gate.admit([fare(ALICE)], books.read, True) == Crowded(ALICE.key)
    assert gate.admit([fare(ALICE)], books.read, False) == Fit(0, Amount(600, 0), 500, 500)


def test_with_a_usual_answer_there_is_no_need_to_wait_for_all_that_is_wanted() -> None:
    books = Books((ALICE, balance(held=(9_400, 0))))
    assert gate.admit([fare(ALICE, enough=500)], books.read, True) == Fit(0, Amount(600, 0), 500, 500)


def test_the_next_way_is_better_than_a_refusal_but_not_than_waiting() -> None:
    after = claim("alice-after", tokens=10_000)
    spent = Books((ALICE, balance(settled=(10_000, 0))))
    assert gate.admit([fare(ALICE), fare(after)], spent.read, True) == Fit(1, Amount(1_100, 0), 1_000, 9_900)
    busy = Books((ALICE, balance(held=(10_000, 0))))
    assert gate.admit([fare(ALICE), fare(after)], busy.read, True) == Crowded(ALICE.key)
    assert gate.admit([fare(ALICE), fare(after)], busy.read, False) == Fit(1, Amount(1_100, 0), 1_000, 9_900)


def test_a_refusal_names_what_closed_the_first_way() -> None:
    after = claim("alice-after", tokens=50)
    spent = Books((ALICE, balance(settled=(10_000, 0))))
    found = gate.admit([fare(ALICE), fare(after)], spent.read, True)
    assert found == Full(ALICE, balance(settled=(10_000, 0)), "tokens", 100 + LEAST_ANSWER)


def test_one_way_that_is_busy_outweighs_others_that_are_spent() -> None:
    after = claim("alice-after", tokens=10_000)
    books = Books((ALICE, balance(settled=(10_000, 0))), (after, balance(held=(10_000, 0))))
    for may_wait in (True, False):
        assert gate.admit([fare(ALICE), fare(after)], books.read, may_wait) == Crowded(after.key)


def test_a_refusal_names_the_ceiling_that_is_spent_not_the_one_that_is_only_busy() -> None:
    busy, spent = claim("alice", tokens=1_000), claim("*", tokens=5_000)
    books = Books((busy, balance(held=(1_000, 0))), (spent, balance(settled=(4_900, 0))))
    found = gate.admit([fare(busy, spent)], books.read, False)
    assert isinstance(found, Full)
    assert found.claim == spent


def test_the_tightest_of_several_ceilings_binds() -> None:
    day = claim(tokens=400, window=Window.DAY)
    both = claim(tokens=100_000, nano=3_000)
    found = gate.admit([fare(ALICE, day)], Books().read, True)
    assert found == Fit(0, Amount(400, 0), 300, 300)
    found = gate.admit([fare(ALICE, both, output_rate=10_000_000)], Books().read, True)
    assert found == Fit(0, Amount(400, 3_000), 300, 300)


def test_a_ceiling_in_both_measures_names_the_one_that_is_spent() -> None:
    both = claim(tokens=10_000, nano=1_000)
    call = fare(both, input_rate=1_000_000, output_rate=1_000_000)
    found = gate.admit([call], Books((both, balance(settled=(10_000, 0)))).read, True)
    assert isinstance(found, Full)
    assert (found.measure, found.needed) == ("tokens", 116)
    found = gate.admit([call], Books((both, balance(settled=(0, 1_000)))).read, True)
    assert isinstance(found, Full)
    assert (found.measure, found.needed) == ("money", 116)


def test_a_way_needs_a_ceiling() -> None:
    with pytest.raises(ValueError, match="at least one claim"):
        gate.admit([fare()], Books().read, True)


def test_a_call_needs_a_way() -> None:
    with pytest.raises(ValueError, match="at least one way"):
        gate.admit([], Books().read, True)


GROWING, MAXIMUM = HoldPolicy.GROWING, HoldPolicy.MAXIMUM


def made(call: Ask, on: Model = BIG, hold: HoldPolicy = GROWING, outlook: Outlook | None = None) -> Fare:
    return gate.fare(call, on, hold, (ALICE,), outlook or Outlook())


def test_a_stream_that_may_grow_holds_a_usual_answer() -> None:
    assert made(ask(stream=True)) == Fare((ALICE,), 200, 3_000_000_000, 15_000_000_000, PRIOR_OUTPUT, PRIOR_OUTPUT)


def test_every_other_call_holds_all_the_output_it_may_come_to() -> None:
    for found in (made(ask()), made(ask(stream=True), hold=MAXIMUM), made(ask(), hold=MAXIMUM)):
        assert (found.wanted, found.enough) == (BIG.max_output, PRIOR_OUTPUT)


def test_the_bound_of_the_client_counts_for_each_choice() -> None:
    found = made(ask(max_output=3_000, choices=4))
    assert (found.wanted, found.enough) == (12_000, 4 * PRIOR_OUTPUT)
    found = made(ask(max_output=50, choices=4))
    assert (found.wanted, found.enough) == (200, 200)


def test_what_was_learnt_of_other_calls_sizes_a_hold() -> None:
    outlook = Outlook()
    for _ in range(20):
        outlook.observe(Usage(input=100, output=7), 1_000, 0, 0)
    found = made(ask(text_bytes=10_000, images=2, stream=True), outlook=outlook)
    assert (found.input, found.wanted, found.enough) == (1_000 + 2 * IMAGE_TOKENS, 7, 7)


def test_a_hold_is_priced_by_the_step_of_its_input_and_its_cache() -> None:
    stepped = model("stepped", priced=card(rates(), rates(above=1_000, input=9, cache_write_1h=11, output=13)))
    assert (made(ask(text_bytes=3_000), stepped).input_rate, made(ask(text_bytes=3_000), stepped).output_rate) == (
        3_000_000_000,
        15_000_000_000,
    )
    long = made(ask(text_bytes=3_003, cache_write="1h"), stepped)
    assert (long.input, long.input_rate, long.output_rate) == (1_001, 11, 13)


def test_a_model_without_a_price_meets_token_ceilings_only() -> None:
    found = made(ask(), model("unpriced", priced=None))
    assert (found.input_rate, found.output_rate, found.wanted) == (0, 0, 32_000)


def test_an_answer_in_flight_grows_into_what_is_left() -> None:
    books = Books((ALICE, balance(settled=(5_000, 0), held=(4_000, 0))))
    assert gate.grow([ALICE], 0, books.read, 600, 0) == 600
    assert gate.grow([ALICE], 0, books.read, 2_000, 0) == 1_000
    assert gate.grow([ALICE], 0, books.read, 2_000, 300) == 1_300


def test_grace_is_there_once_however_often_it_is_asked_for() -> None:
    books = Books((ALICE, balance(held=(10_200, 0))))
    assert gate.grow([ALICE], 0, books.read, 2_000, 300) == 100
    books = Books((ALICE, balance(held=(10_400, 0))))
    assert gate.grow([ALICE], 0, books.read, 2_000, 300) == 0


def test_without_a_ceiling_it_grows_at_will() -> None:
    assert gate.grow([claim()], 9, Books().read, 2_000, 0) == 2_000
    assert gate.grow([MONEY], 0, Books().read, 2_000, 7) == 2_000
    assert gate.grow([], 9, Books().read, 2_000, 0) == 2_000


def test_amounts_round_money_up() -> None:
    assert gate.amount(0, 0, 9, 9) == NOTHING
    assert gate.amount(1, 0, 1, 0) == Amount(1, 1)
    assert gate.amount(500_000, 500_000, 1, 1) == Amount(1_000_000, 1)
    assert gate.amount(500_001, 500_000, 1, 1) == Amount(1_000_001, 2)


# properties -----------------------------------------------------------------------------------------------------------

NAMES = ("alice", "*", "alice-after")
tokens = st.integers(0, 3_000)
nano = st.integers(0, 60_000_000)
rate = st.just(0) | st.integers(1, 2_000_000) | st.integers(1_000_000_000, 20_000_000_000)
pairs = st.tuples(tokens, nano) | st.just((0, 0))
balances = st.builds(lambda settled, held, granted: balance(settled=settled, held=held, granted=granted), *[pairs] * 3)


@st.composite
def ceilings(draw: st.DrawFn, least: int = 1) -> list[Claim]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=least, max_size=3, unique=True))
    return [claim(name, tokens=draw(st.none() | tokens), nano=draw(st.none() | nano)) for name in names]


@st.composite
def fares(draw: st.DrawFn) -> Fare:
    wanted = draw(st.integers(1, 2_000))
    return fare(
        *draw(ceilings()),
        input=draw(st.integers(0, 1_500)),
        input_rate=draw(rate),
        output_rate=draw(rate),
        wanted=wanted,
        enough=draw(st.integers(1, wanted)),
    )


books_of = st.dictionaries(st.sampled_from(NAMES), balances).map(
    lambda known: Books(*((claim(name), state) for name, state in known.items()))
)


def within(each: Claim, state: Balance, more: Amount, *, with_held: bool = True) -> bool:
    """The ceiling, in its own words: what is spent, held and asked for is no more than limit and grants."""
    used = state.settled + more + (state.held if with_held else NOTHING)
    return (each.limit.tokens is None or used.tokens <= each.limit.tokens + state.granted.tokens) and (
        each.limit.nano is None or used.nano <= each.limit.nano + state.granted.nano
    )


def fits(call: Fare, output: int, books: Books, *, with_held: bool = True) -> bool:
    hold = gate.amount(call.input, output, call.input_rate, call.output_rate)
    return all(within(each, books.read(each.key), hold, with_held=with_held) for each in call.claims)


def least(call: Fare) -> int:
    return min(call.wanted, call.enough, LEAST_ANSWER)


@steady
@given(st.lists(fares(), min_size=1, max_size=3), books_of, st.booleans())
def test_what_is_admitted_stays_under_every_ceiling(ways: list[Fare], books: Books, may_wait: bool) -> None:
    found = gate.admit(ways, books.read, may_wait)
    if isinstance(found, Fit):
        way = ways[found.step]
        assert found.amount == gate.amount(way.input, found.output, way.input_rate, way.output_rate)
        assert least(way) <= found.output == min(way.wanted, found.room)
        assert fits(way, found.output, books)
        if found.room < ENDLESS:
            assert fits(way, found.room, books)
            assert not fits(way, found.room + 1, books)


@steady
@given(fares(), books_of, st.booleans())
def test_all_that_is_wanted_is_admitted_exactly_when_it_fits(call: Fare, books: Books, may_wait: bool) -> None:
    found = gate.admit([call], books.read, may_wait)
    assert (isinstance(found, Fit) and found.output == call.wanted) == fits(call, call.wanted, books)


@steady
@given(st.lists(fares(), min_size=1, max_size=3), books_of)
def test_the_first_way_that_is_open_is_taken(ways: list[Fare], books: Books) -> None:
    found = gate.admit(ways, books.read, False)
    usable = [step for step, way in enumerate(ways) if fits(way, least(way), books)]
    if usable:
        assert isinstance(found, Fit)
        assert found.step == usable[0]
    else:
        assert not isinstance(found, Fit)


@steady
@given(st.lists(fares(), min_size=1, max_size=3), books_of, st.booleans())
def test_a_call_that_fits_alone_is_never_refused(ways: list[Fare], books: Books, may_wait: bool) -> None:
    found = gate.admit(ways, books.read, may_wait)
    alone = any(fits(way, least(way), books, with_held=False) for way in ways)
    assert isinstance(found, Full) is not alone
    if isinstance(found, Full):
        assert found.claim in ways[0].claims
        assert found.balance == books.read(found.claim.key)
        need = gate.amount(ways[0].input, least(ways[0]), ways[0].input_rate, ways[0].output_rate)
        assert found.needed == (need.tokens if found.measure == "tokens" else need.nano)
        limit = found.claim.limit.tokens if found.measure == "tokens" else found.claim.limit.nano
        assert limit is not None
        assert not within(found.claim, found.balance, need, with_held=False)


@steady
@given(st.lists(fares(), min_size=1, max_size=3), books_of, st.booleans())
def test_a_call_waits_only_for_what_others_hold(ways: list[Fare], books: Books, may_wait: bool) -> None:
    found = gate.admit(ways, books.read, may_wait)
    if isinstance(found, Crowded):
        held = books.read(found.key).held
        assert held.tokens > 0 or held.nano > 0
        ended = Books()
        ended.balances = {
            counter: Balance(state.settled, NOTHING, state.granted) for counter, state in books.balances.items()
        }
        assert isinstance(gate.admit(ways, ended.read, may_wait), Fit)


@steady
@given(ceilings(least=0), books_of, rate, st.integers(0, 5_000), st.integers(0, 500))
def test_an_answer_never_grows_past_the_ceiling_and_its_grace(
    claims: list[Claim], books: Books, output_rate: int, output: int, grace: int
) -> None:
    grown = gate.grow(claims, output_rate, books.read, output, grace)
    assert 0 <= grown <= output
    without = max(0, grown - grace)
    if without:
        more = gate.amount(0, without, 0, output_rate)
        assert all(within(each, books.read(each.key), more) for each in claims)
    if grown < output:
        further = gate.amount(0, grown + 1 - grace, 0, output_rate)
        assert not all(within(each, books.read(each.key), further) for each in claims)


# a day of calls -------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Call:
    claims: tuple[Claim, ...]
    output_rate: int
    held: Amount


@dataclass
class Day:
    """Calls of one user in memory: the two ceilings they share, and what each call holds."""

    claims: tuple[Claim, ...]
    grace: int
    books: Books = field(default_factory=Books)
    calls: list[Call] = field(default_factory=list)
    dearest: int = 0

    def change(self, call: Call, held: Amount = NOTHING, settled: Amount = NOTHING) -> None:
        call.held = call.held + held
        for each in call.claims:
            state = self.books.read(each.key)
            self.books.balances[each.key] = Balance(state.settled + settled, state.held + held, state.granted)

    def start(self, input: int, wanted: int, input_rate: int, output_rate: int) -> None:
        way = fare(*self.claims, input=input, wanted=wanted, input_rate=input_rate, output_rate=output_rate)
        found = gate.admit([way], self.books.read, False)
        if isinstance(found, Fit):
            self.calls.append(Call(self.claims, output_rate, NOTHING))
            self.change(self.calls[-1], found.amount)

    def grow(self, call: Call, output: int) -> None:
        grown = gate.grow(call.claims, call.output_rate, self.books.read, output, self.grace)
        self.dearest = max(self.dearest, call.output_rate)
        self.change(call, gate.amount(0, grown, 0, call.output_rate))

    def end(self, call: Call, share: float) -> None:
        spent = Amount(int(call.held.tokens * share), int(call.held.nano * share))
        self.change(call, NOTHING - call.held, spent)
        self.calls.remove(call)

    def check(self) -> None:
        over = gate.amount(0, self.grace, 0, self.dearest)
        for each in self.claims:
            state = self.books.read(each.key)
            used = state.settled + state.held
            assert each.limit.tokens is None or used.tokens <= each.limit.tokens + over.tokens
            assert each.limit.nano is None or used.nano <= each.limit.nano + over.nano
            assert state.held == sum((call.held for call in self.calls), NOTHING)


starts = st.tuples(st.just("start"), st.integers(0, 800), st.integers(1, 1_500), rate, rate)
steps = (
    starts
    | st.tuples(st.just("grow"), st.integers(0, 9), st.integers(0, 800))
    | st.tuples(st.just("end"), st.integers(0, 9), st.floats(0, 1))
)


@steady
@given(ceilings(), st.lists(steps, max_size=40), st.sampled_from([0, 0, 50]))
def test_a_day_of_calls_keeps_the_ceiling_and_leaves_nothing_held(
    claims: list[Claim], script: list[tuple[str, int, int, int, int]], grace: int
) -> None:
    day = Day(tuple(claims), grace)
    for what, *figures in script:
        if what == "start":
            day.start(*figures)
        elif day.calls:
            call = day.calls[figures[0] % len(day.calls)]
            if what == "grow":
                day.grow(call, figures[1])
            else:
                day.end(call, figures[1])
        day.check()
    for call in list(day.calls):
        day.end(call, 0.0)
    day.check()
    assert all(state.held == NOTHING for state in day.books.balances.values())


def test_counters_that_nobody_used_are_empty() -> None:
    assert Books().read(budget_key()) is EMPTY


def _learnt(answers: list[tuple[int, int]]) -> Outlook:
    outlook = Outlook()
    for read, made in answers:
        outlook.observe(Usage(input=read, output=made), 1_000, 0, 0)
    return outlook


_RATES = st.integers(0, 10**10)
_CARDS = st.builds(
    lambda first, then, above: card(
        rates(input=first[0], output=first[1], cache_write_5m=first[0], cache_write_1h=first[0]),
        rates(above=above, input=then[0], output=then[1], cache_write_5m=then[0], cache_write_1h=then[0]),
    ),
    st.tuples(_RATES, _RATES), st.tuples(_RATES, _RATES), st.integers(1, 5_000),
)  # fmt: skip
_OPTIONS = st.tuples(
    st.builds(
        lambda priced, most: model("m", priced=priced, max_output=most), st.none() | _CARDS, st.integers(1, 100_000)
    ),
    st.lists(st.tuples(st.integers(1, 5_000), st.integers(1, 50_000)), max_size=30).map(_learnt),
)


@steady
@given(
    st.builds(
        ask,
        stream=st.booleans(),
        text_bytes=st.integers(1, 20_000),
        max_output=st.none() | st.integers(1, 100_000),
        choices=st.integers(1, 4),
        cache_write=st.sampled_from(["", "5m", "1h"]),
    ),
    st.lists(_OPTIONS, min_size=1, max_size=4),
    st.sampled_from(list(HoldPolicy)),
)
def test_a_hold_covers_whichever_model_answers(
    call: Ask, options: list[tuple[Model, Outlook]], hold: HoldPolicy
) -> None:
    """No failover comes to more than what is held, for the hold is no less than that of any of the models alone."""
    held = gate.fare_for_any(call, options, hold, (ALICE,))
    whole = gate.amount(held.input, held.wanted, held.input_rate, held.output_rate)
    for on, outlook in options:
        alone = gate.fare(call, on, hold, (ALICE,), outlook)
        assert held.input >= alone.input
        assert held.wanted >= alone.wanted
        assert held.enough >= alone.enough
        single = gate.amount(alone.input, alone.wanted, alone.input_rate, alone.output_rate)
        assert whole.tokens >= single.tokens
        assert whole.nano >= single.nano
        if len(options) == 1:
            assert held == alone


def test_a_dearer_tier_of_service_is_held_at_its_price_and_a_cheaper_one_as_usual() -> None:
    tiers = (("priority", (rates(input=7_000_000_000, output=40_000_000_000),)), ("flex", (rates(input=1, output=1),)))
    on = model(priced=msgspec.structs.replace(card(), services=tiers))

    def held(tier: str) -> tuple[int, int]:
        found = made(msgspec.structs.replace(ask(), extras=Extras(tier)), on)
        return found.input_rate, found.output_rate

    assert held("") == held("flex") == held("batch") == (3_000_000_000, 15_000_000_000)
    assert held("priority") == (7_000_000_000, 40_000_000_000)
    assert held("express") == (9_000_000_000, 45_000_000_000), "three times the usual price, where nobody says"


@pytest.mark.parametrize(("left", "fits"), [(200 + 1_025, True), (200 + 1_024, False)])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_its_provider_would_refuse_to_bound_is_refused_here(left: int, fits: bool, stream: bool) -> None:
    books = Books((ALICE, balance(settled=(10_000 - left, 0))))
    thinks = msgspec.structs.replace(ask(stream=stream, max_output=8_000), least_output=1_025)
    found = gate.admit([made(thinks, outlook=Outlook())], books.read, False)
    assert isinstance(found, Fit) is fits
    if isinstance(found, Fit):
        assert found.room == 1_025
    brief = msgspec.structs.replace(thinks, max_output=500)
    assert isinstance(gate.admit([made(brief)], books.read, False), Fit), "what it asks for itself is its own affair"
