"""What does a model cost and how long may its context be, by the plan's own figures, else by a catalogue's?"""

from decimal import Decimal

import msgspec

from upshift.model.rates import RateCard, Rates
from upshift.plan_file import declared
from upshift.traffic.snapshot import Dialect

DEFAULT_OUTPUT = 32_000

_FIVE_MINUTES, _AN_HOUR = Decimal("1.25"), Decimal(2)
"""What Anthropic charges for a cache write, in prices of input, where nobody says."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What is settled about a model when its plan is compiled. `context` 0 is unknown, and so is a `card` of None."""

    context: int
    max_output: int
    card: RateCard | None


class Listing(msgspec.Struct, frozen=True):
    """What the catalogue says of a model. `assumed` tells that the provider was found by its dialect only."""

    context: int | None
    card: RateCard | None
    assumed: bool = False


UNLISTED = Listing(None, None)


def terms(model: declared.Model | declared.Offer, dialect: Dialect, listing: Listing) -> Terms:
    """What holds for a model: what the plan says, else what the catalogue says."""
    context = model.context if model.context is not None else listing.context or 0
    output = model.max_output if model.max_output is not None else min(DEFAULT_OUTPUT, context or DEFAULT_OUTPUT)
    card = _own(model.price, dialect) if model.price is not None else listing.card
    return Terms(context=context, max_output=output, card=card)


def offer_key(model: str, provider: str) -> str:
    """Under which name the terms of a model's offer are kept: no model is called so."""
    return f"{model}@{provider}"


def _own(price: declared.Price, dialect: Dialect) -> RateCard:
    steps = [_own_step(price, 0, dialect)]
    steps += [_own_step(step, step.above, dialect) for step in price.long]
    return RateCard(tuple(steps), "the plan")


def _own_step(price: declared.Price | declared.LongPrice, above: int, dialect: Dialect) -> Rates:
    return rates(
        above=above,
        plain=price.input,
        output=price.output,
        cached=price.cached,
        five_minutes=price.cache_write_5m,
        an_hour=price.cache_write_1h,
        dialect=dialect,
    )


def rates(
    *,
    above: int,
    plain: int,
    output: int,
    cached: int | None,
    five_minutes: int | None,
    an_hour: int | None,
    dialect: Dialect,
) -> Rates:
    """Prices in nano-dollars per million tokens, with what is not said filled in."""
    # What is not said must never be cheaper than it may be: no discount on cached input, and the surcharge on writes
    # wherever it is charged.
    if dialect is Dialect.ANTHROPIC:
        writes = int(plain * _FIVE_MINUTES), int(plain * _AN_HOUR)
    else:
        writes = plain, plain if five_minutes is None else five_minutes
    return Rates(
        above=above,
        input=plain,
        output=output,
        cached=plain if cached is None else cached,
        cache_write_5m=writes[0] if five_minutes is None else five_minutes,
        cache_write_1h=writes[1] if an_hour is None else an_hour,
    )
