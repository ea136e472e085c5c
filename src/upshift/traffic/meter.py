"""What did the call use, how sure are we, and what is it charged?"""

import msgspec

from upshift.model.budget import Amount
from upshift.model.money import Nano
from upshift.model.tokens import NO_USAGE, Certainty, Usage
from upshift.traffic.price import cost_of
from upshift.traffic.snapshot import Model


class Tally(msgspec.Struct, frozen=True):
    """The end of a call's books. `cost` is None where it is unknown; `counted` is what the counters are charged."""

    usage: Usage
    certainty: Certainty
    cost: Nano | None
    counted: Amount


def exact(model: Model, usage: Usage) -> Tally:
    """The provider reported usage at the end of its answer."""
    cost = None if model.card is None else cost_of(model.card, usage)
    return Tally(usage, Certainty.EXACT, cost, Amount(usage.total, cost or 0))


def at_least(model: Model, usage: Usage) -> Tally:
    """The answer was cut; `usage` is the input as held or reported and the output as seen."""
    cost = None if model.card is None else cost_of(model.card, usage)
    return Tally(usage, Certainty.AT_LEAST, cost, Amount(usage.total, cost or 0))


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
