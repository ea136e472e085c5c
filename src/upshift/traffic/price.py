"""What tokens cost, in nano-dollars, by a model's rate card."""

from upshift.model.money import Nano
from upshift.model.rates import RateCard, Rates
from upshift.model.tokens import Usage

PER = 1_000_000
"""Rates are per this many tokens."""


def rates_at(card: RateCard, input_tokens: int) -> Rates:
    """The step of the card that a request of this input length is priced by: the whole request, as vendors do."""
    steps = card.steps
    rates = steps[0]
    if len(steps) > 1:
        for step in steps:
            if input_tokens > step.above:
                rates = step
    return rates


def cost_of(card: RateCard, usage: Usage) -> Nano:
    """Cost of a call, rounded up to a whole nano-dollar. Cached reads and cache writes are parts of the input."""
    rates = rates_at(card, usage.input)
    cached, short, long = usage.cached, usage.cache_write_5m, usage.cache_write_1h
    total = (usage.input - cached - short - long) * rates.input + usage.output * rates.output
    if cached or short or long:
        total += cached * rates.cached + short * rates.cache_write_5m + long * rates.cache_write_1h
    return -(-total // PER)


def input_rate(rates: Rates, cache_write: str) -> Nano:
    """The most that an input token of a request can cost: the cache-write price where it asks for a cache."""
    if not cache_write:
        return rates.input
    return max(rates.input, rates.cache_write_1h if cache_write == "1h" else rates.cache_write_5m)
