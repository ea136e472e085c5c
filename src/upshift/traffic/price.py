"""What tokens cost, in nano-dollars, by a model's rate card."""

from upshift.model.money import Nano
from upshift.model.rates import RateCard, Rates
from upshift.model.tokens import Usage
from upshift.traffic.wire.ask import Extras

PER = 1_000_000
"""Rates are per this many tokens."""
_CHEAPER = frozenset(("flex", "batch"))
_UNLISTED_TIMES = 3
"""At how many times the usual rates a tier of service is held whose price nobody says: no listed one costs more."""


def rates_at(card: RateCard, input_tokens: int) -> Rates:
    """The step of the card that a request of this input length is priced by: the whole request, as vendors do."""
    steps = card.steps
    return steps[0] if len(steps) == 1 else _step(steps, input_tokens)


def _step(steps: tuple[Rates, ...], input_tokens: int) -> Rates:
    rates = steps[0]
    for step in steps:
        if input_tokens > step.above:
            rates = step
    return rates


def cost_of(card: RateCard, usage: Usage) -> Nano:
    """Cost of a call, rounded up to a whole nano-dollar. Cached reads and cache writes are parts of the input."""
    steps = card.steps
    return _cost(steps[0] if len(steps) == 1 else _step(steps, usage.input), usage)


def cost_with(card: RateCard, usage: Usage, extras: Extras) -> Nano | None:
    """Cost of a call that is billed otherwise than by tokens at the usual rates; None where a price is not known."""
    steps = card.steps_of(extras.service)
    if steps is None or extras.unpriced or (extras.searches and card.search is None):
        return None
    return _cost(_step(steps, usage.input), usage) + extras.searches * (card.search or 0)


def most_rates(card: RateCard, input_tokens: int, service: str) -> Rates:
    """The most that a request may be priced at which asks for a tier of service: one that it is not served by after
    all is priced as usual."""
    usual = rates_at(card, input_tokens)
    if not service:
        return usual
    steps = card.steps_of(service)
    other = _step(steps, input_tokens) if steps else usual if service in _CHEAPER else _times(usual, _UNLISTED_TIMES)
    return Rates(
        above=usual.above,
        input=max(usual.input, other.input),
        output=max(usual.output, other.output),
        cached=max(usual.cached, other.cached),
        cache_write_5m=max(usual.cache_write_5m, other.cache_write_5m),
        cache_write_1h=max(usual.cache_write_1h, other.cache_write_1h),
    )


def _times(rates: Rates, times: int) -> Rates:
    return Rates(
        above=rates.above,
        input=rates.input * times,
        output=rates.output * times,
        cached=rates.cached * times,
        cache_write_5m=rates.cache_write_5m * times,
        cache_write_1h=rates.cache_write_1h * times,
    )


def _cost(rates: Rates, usage: Usage) -> Nano:
    usual = rates.input
    total = usage.input * usual + usage.output * rates.output
    # What was cached is in the input already, at the usual rate.
    if usage.cached:
        total += usage.cached * (rates.cached - usual)
    if usage.cache_write_5m or usage.cache_write_1h:
        total += usage.cache_write_5m * (rates.cache_write_5m - usual)
        total += usage.cache_write_1h * (rates.cache_write_1h - usual)
    return -(-total // PER)


def input_rate(rates: Rates, cache_write: str) -> Nano:
    """The most that an input token of a request can cost: the cache-write price where it asks for a cache."""
    if not cache_write:
        return rates.input
    return max(rates.input, rates.cache_write_1h if cache_write == "1h" else rates.cache_write_5m)
