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


class RateCard(msgspec.Struct, frozen=True):
    """Steps by input length, in rising order of `above`, the first at 0; `source` says whose figures they are."""

    steps: tuple[Rates, ...]
    source: str
