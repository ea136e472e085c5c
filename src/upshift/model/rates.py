"""What a model's tokens cost, by kind and by length of the input."""

import msgspec

from upshift.model.money import Nano


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in nano-dollars per million tokens, valid from `above` input tokens on."""

    above: int = 0
    input: Nano
    output: Nano
    cached: Nano
    cache_write_5m: Nano
    cache_write_1h: Nano


class RateCard(msgspec.Struct, frozen=True, omit_defaults=True):
    """Steps by input length, in rising order of `above`, the first at 0; `source` says whose figures they are."""

    steps: tuple[Rates, ...]
    source: str
    services: tuple[tuple[str, tuple[Rates, ...]], ...] = ()
    """The names of other tiers of service ("priority", "flex", "fast", "batch"), each with its own steps."""
    search: Nano | None = None
    """Nano-dollars for one search of the web by the provider; None where nobody says."""

    def steps_of(self, service: str) -> tuple[Rates, ...] | None:
        """The steps of a tier of service (empty: the usual one); None where nobody says them."""
        if not service:
            return self.steps
        return next((steps for name, steps in self.services if name == service), None)
