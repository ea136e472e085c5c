"""Does every entry change exactly the parts of a balance that it should, and can that be undone?"""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.test_entry import ENTRIES, KEYS, RECORD, REQUEST

from upshift.model.budget import EMPTY, NOTHING, Amount, Balance, BudgetKey
from upshift.model.entry import Entry, Hold, Release, Settle
from upshift.model.fold import NO_EFFECT, Effect, effect_of, fold, fold_call, undo
from upshift.model.ids import PlanHash, UserId

steady = settings(deadline=None, derandomize=True, max_examples=200)

amounts = st.builds(Amount, st.integers(-(10**15), 10**15), st.integers(-(10**18), 10**18))

THREE = [msgspec.structs.replace(KEYS[0], user=UserId(user)) for user in ("ann", "bob", "*")]

EFFECTS = {
    "Hold": Effect(held=Amount(10, 20)),
    "Settle": Effect(settled=Amount(9, 18), held=Amount(-10, -20)),
    "Release": Effect(held=Amount(-10, -20)),
    "Adjust": Effect(settled=Amount(-5, -6)),
    "Grant": Effect(granted=Amount(5, 6)),
}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_what_an_entry_does(entry: Entry) -> None:
    assert effect_of(entry) == EFFECTS.get(type(entry).__name__, NO_EFFECT)


@steady
@given(st.builds(Balance, amounts, amounts, amounts), st.builds(Effect, amounts, amounts, amounts))
def test_an_effect_can_be_taken_back(balance: Balance, effect: Effect) -> None:
    assert fold(fold(balance, effect), undo(effect)) == balance
    assert fold(balance, NO_EFFECT) == balance


@steady
@given(
    st.dictionaries(st.sampled_from(THREE), st.builds(Balance, amounts, amounts, amounts), min_size=1),
    st.data(),
    amounts | st.just(NOTHING),
    amounts,
)
def test_a_call_changes_every_one_of_its_counters(
    balances: dict[BudgetKey, Balance], data: st.DataObject, settled: Amount, held: Amount
) -> None:
    keys = data.draw(st.lists(st.sampled_from(sorted(balances, key=BudgetKey.path)), max_size=4))
    expected = dict(balances)
    for key in keys:
        expected[key] = fold(expected[key], Effect(settled, held))
    fold_call(balances, keys, settled, held)
    assert balances == expected


def test_nothing_changes_when_a_counter_is_not_found() -> None:
    balances = {THREE[0]: EMPTY}
    with pytest.raises(KeyError):
        fold_call(balances, (THREE[0], THREE[1]), NOTHING, Amount(1, 1))
    assert balances == {THREE[0]: EMPTY}


@steady
@given(st.lists(amounts, min_size=1, max_size=5), amounts, st.booleans())
def test_a_call_that_is_over_holds_nothing(holds: list[Amount], used: Amount, served: bool) -> None:
    balance, held = EMPTY, NOTHING
    for amount in holds:
        balance = fold(balance, effect_of(Hold(REQUEST, 1, PlanHash("0"), KEYS, amount)))
        held = held + amount
    end: Entry = Settle(REQUEST, 2, KEYS, held, used, RECORD) if served else Release(REQUEST, 2, KEYS, held, RECORD)
    assert fold(balance, effect_of(end)) == Balance(settled=used if served else NOTHING)
