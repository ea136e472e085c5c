"""What did the call use, how sure are we, and what is it charged?"""

import msgspec

from upshift.model.budget import NOTHING, Amount
from upshift.model.money import Nano
from upshift.model.tokens import NO_USAGE, Certainty, Usage
from upshift.traffic.price import cost_of, cost_with
from upshift.traffic.snapshot import Model
from upshift.traffic.wire.ask import PLAIN, SERVED_AS_USUAL, Extras

_EXACT, _AT_LEAST = Certainty.EXACT, Certainty.AT_LEAST


class Tally(msgspec.Struct, frozen=True):
    """The end of a call's books. `cost` is None where it is unknown; `counted` is what the counters are charged."""

    usage: Usage
    certainty: Certainty
    cost: Nano | None
    counted: Amount


def exact(model: Model, usage: Usage, extras: Extras = PLAIN, held: Amount = NOTHING) -> Tally:
    """The provider reported usage at the end of its answer, and `extras` is what is billed otherwise.

    Where those have no known price, the cost is unknown, and the call is charged at no less than its hold.
    """
    return _tally(_EXACT, model, usage, extras, held)


def at_least(model: Model, usage: Usage, extras: Extras = PLAIN, held: Amount = NOTHING) -> Tally:
    """The answer was cut; `usage` is the input as held or reported and the output as seen."""
    return _tally(_AT_LEAST, model, usage, extras, held)


def billed(asked: Extras, told: Extras) -> Extras:
    """What a call is billed by: as its answer says, else as it asked."""
    tier = told.service if told.said else told.service or asked.service
    return Extras(tier, told.searches, told.unpriced or asked.unpriced, told.said)


def _tally(certainty: Certainty, model: Model, usage: Usage, extras: Extras, held: Amount) -> Tally:
    card, total = model.card, usage.input + usage.output
    if card is None:
        return Tally(usage, certainty, None, Amount(total, 0))
    usual = cost_of(card, usage)
    if extras is PLAIN or extras is SERVED_AS_USUAL:
        return Tally(usage, certainty, usual, Amount(total, usual))
    cost = cost_with(card, usage, extras)
    return Tally(usage, certainty, cost, Amount(total, max(usual, held.nano) if cost is None else cost))


def unknown(held: Amount) -> Tally:
    """Something was sent and nobody said what it used: charged at its hold, and shown as unknown, never as free."""
    return Tally(NO_USAGE, Certainty.UNKNOWN, None, held)


def seen(reported: Usage | None, input_tokens: int, output_tokens: int) -> Usage:
    """The least that a cut answer used: what the provider already reported, or our count where that is larger."""
    base = reported or Usage(input=input_tokens)
    return Usage(
        base.input,
        base.cached,
        base.cache_write_5m,
        base.cache_write_1h,
        max(base.output, output_tokens),
        base.reasoning,
    )
