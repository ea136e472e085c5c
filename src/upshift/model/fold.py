"""What does an entry do to the balance of every counter it names?"""

from typing import assert_never

import msgspec

from upshift.model.budget import NOTHING, Amount, Balance
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant, Hold, Note, Release, Settle


class Effect(msgspec.Struct, frozen=True, gc=False):
    """What is added to each part of a balance; parts may be negative."""

    settled: Amount = NOTHING
    held: Amount = NOTHING
    granted: Amount = NOTHING


NO_EFFECT = Effect()


def fold(balance: Balance, effect: Effect) -> Balance:
    """The balance after an effect."""
    # Most effects touch one part; `is` spares the additions of nothing on the request path.
    settled, held, granted = effect.settled, effect.held, effect.granted
    return Balance(
        balance.settled if settled is NOTHING else balance.settled + settled,
        balance.held if held is NOTHING else balance.held + held,
        balance.granted if granted is NOTHING else balance.granted + granted,
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
