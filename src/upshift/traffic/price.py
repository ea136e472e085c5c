"""What tokens cost, in nano-dollars, by a model's rate card."""

from upshift.model.money import Nano
from upshift.model.tokens import Usage
from upshift.traffic.snapshot import RateCard, Rates

PER = 1_000_000
"""Rates are per this many tokens."""


def rates_at(card: RateCard, input_tokens: int) -> Rates:
    """The step of the card that a request of this input length is priced by: the whole request, as vendors do."""
    rates = card.steps[0]
    for step in card.steps[1:]:
        if input_tokens > step.above:
            rates = step
    return rates


def cost_of(card: RateCard, usage: Usage) -> Nano:
    """Cost of a call, rounded up to a whole nano-dollar. Cached reads and cache writes are parts of the input."""
    rates = rates_at(card, usage.input)
    plain = usage.input - usage.cached - usage.cache_write_5m - usage.cache_write_1h
    total = (
        plain * rates.input
        + usage.cached * rates.cached
        + usage.cache_write_5m * rates.cache_write_5m
        + usage.cache_write_1h * rates.cache_write_1h
        + usage.output * rates.output
    )
    return -(-total // PER)


def input_rate(rates: Rates, cache_write: str) -> Nano:
    """The most that an input token of a request can cost: the cache-write price where it asks for a cache."""
    if cache_write == "1h":
        return max(rates.input, rates.cache_write_1h)
    if cache_write == "5m":
        return max(rates.input, rates.cache_write_5m)
    return rates.input
