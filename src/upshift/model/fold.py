"""What does an entry do to the balance of every counter it names?"""

from collections.abc import Collection, MutableMapping
from typing import assert_never

import msgspec

from upshift.model.budget import NOTHING, Amount, Balance, BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant, Hold, Note, Release, Settle


class Effect(msgspec.Struct, frozen=True, gc=False):
    """What is added to each part of a balance; parts may be negative."""

    settled: Amount = NOTHING
    held: Amount = NOTHING
    granted: Amount = NOTHING


NO_EFFECT = Effect()


def fold(balance: Balance, effect: Effect) -> Balance:
    """The balance after an effect."""
    # A verification does this for every entry: `is` spares the additions of nothing, and sums are written out, since an
    # operator of ours costs as much as all the rest.
    settled, held, granted = balance.settled, balance.held, balance.granted
    spent, kept, given = effect.settled, effect.held, effect.granted
    if spent is not NOTHING:
        settled = Amount(settled.tokens + spent.tokens, settled.nano + spent.nano)
    if given is not NOTHING:
        granted = Amount(granted.tokens + given.tokens, granted.nano + given.nano)
    return Balance(settled, Amount(held.tokens + kept.tokens, held.nano + kept.nano), granted)


def fold_call(
    balances: MutableMapping[BudgetKey, Balance], keys: Collection[BudgetKey], settled: Amount, held: Amount
) -> None:
    """`fold` for every counter of a call, whose effect on them is Effect(settled, held).

    All are found before any is changed: whatever `balances` raises for one that it does not have, nothing has changed.
    """
    # On the request path twice per call, so all counters are done in one function. A hold settles NOTHING.
    list(map(balances.__getitem__, keys))
    tokens, nano = held.tokens, held.nano
    for key in keys:
        before = balances[key]
        kept, spent = before.held, before.settled
        balances[key] = Balance(
            spent if settled is NOTHING else Amount(spent.tokens + settled.tokens, spent.nano + settled.nano),
            Amount(kept.tokens + tokens, kept.nano + nano),
            before.granted,
        )


def undo(effect: Effect) -> Effect:
    """The effect that takes another back."""
    return Effect(NOTHING - effect.settled, NOTHING - effect.held, NOTHING - effect.granted)


def effect_of(entry: Entry) -> Effect:
    """What an entry does to every counter in its keys; notes, alerts and decisions do nothing."""
    match entry:
        case Hold():
            return Effect(held=entry.amount)
        case Settle():
            return Effect(settled=entry.amount, held=NOTHING - entry.held)
        case Release():
            return Effect(held=NOTHING - entry.held)
        case Adjust():
            return Effect(settled=entry.amount)
        case Grant():
            return Effect(granted=entry.amount)
        case Note() | Alert() | Decision():
            return NO_EFFECT
    assert_never(entry)
