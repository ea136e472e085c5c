"""What does the public catalogue say of a model? Loaded when a plan first asks it, for it takes a while."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib.metadata import version

import msgspec
from genai_prices import types as listed
from genai_prices.data_snapshot import get_snapshot

from upshift.model.money import nano_from_dollars
from upshift.model.rates import RateCard, Rates
from upshift.plan_file.prices import UNLISTED, Listing, rates
from upshift.traffic.snapshot import Dialect

_MAKERS = {
    Dialect.OPENAI: "openai",
    Dialect.RESPONSES: "openai",
    Dialect.EMBEDDINGS: "openai",
    Dialect.ANTHROPIC: "anthropic",
    Dialect.GEMINI: "google",
}
"""Whose list prices count where the catalogue does not know an address."""

_DATED = re.compile(r"(-latest|[-@]\d{8}|-\d{4}-\d{2}-\d{2})$")
_BEYOND_TOKENS = ("requests_kcount", "output_reasoning_mtok", "output_citation_mtok")
_HALF_HOURS = tuple(timedelta(minutes=30 * step) for step in range(48))
_SERVICES: tuple[tuple[str, dict[str, str]], ...] = (
    ("priority", {"service_tier": "priority"}),
    ("flex", {"service_tier": "flex"}),
    ("fast", {"service_tier": "fast", "speed": "fast"}),
    ("batch", {"processing": "batch"}),
)
"""Tiers of service by our names, as the catalogue knows them."""
_NO_PRICES = listed.ModelPrice()


def look_up(dialect: Dialect, base_url: str, upstream_id: str, today: date) -> Listing:
    """What the catalogue says of a model on a day (UTC).

    The provider is the one whose address the catalogue knows, else the maker of the dialect. A model counts as listed
    only under its exact name, a date or '-latest' behind it aside: the catalogue's own patterns also take in names
    that merely begin alike, whose price would be a guess. Prices that change by the hour count at the day's highest.
    """
    snapshot = get_snapshot()
    assumed = False
    try:
        provider = snapshot.find_provider(None, None, base_url)
    except LookupError:
        provider, assumed = snapshot.find_provider(None, _MAKERS[dialect], None), True
    model = provider.find_model(upstream_id, all_providers=snapshot.providers)
    if model is None or not _exact(model, upstream_id.lower()):
        return UNLISTED
    card = card_of(model, dialect, f"genai-prices {version('genai-prices')}: {provider.id}/{model.id}", today)
    return Listing(model.context_window, card, assumed)


def _exact(model: listed.ModelInfo, asked: str) -> bool:
    spelled = {model.id.lower(), *_spellings(model.match)}
    return asked in spelled or _DATED.sub("", asked) in spelled


def _spellings(clause: listed.MatchLogic) -> list[str]:
    match clause:
        case listed.ClauseEquals(equals=text):
            return [text.lower()]
        case listed.ClauseStartsWith(starts_with=text):
            return [text.lower()]
        case listed.ClauseOr(or_=parts):
            return [text for part in parts for text in _spellings(part)]
        case _:
            return []


def card_of(model: listed.ModelInfo, dialect: Dialect, source: str, today: date) -> RateCard | None:
    """The rate card of a listed model on a day (UTC); None where tokens alone do not tell what a call costs."""
    midnight = datetime.combine(today, time(), UTC)
    moments = [midnight + step for step in _HALF_HOURS] if isinstance(model.prices, list) else [midnight]
    if not model.prices:
        return None
    cards = [_with_services(model, moment, dialect, source) for moment in moments]
    known = [card for card in cards if card is not None]
    if len(known) < len(cards):
        return None
    return max(known, key=lambda card: card.steps[0].input + card.steps[0].output)


def _with_services(model: listed.ModelInfo, moment: datetime, dialect: Dialect, source: str) -> RateCard | None:
    """The rate card at a moment, with the tiers of service whose prices the catalogue knows."""
    standard = model.get_prices(moment)
    card = _rated(standard, dialect, source)
    if card is None:
        return None
    services: list[tuple[str, tuple[Rates, ...]]] = []
    for name, context in _SERVICES:
        other = _rated(model.get_prices(moment, context), dialect, source)
        if other is not None and _varies(model, moment, context):
            services.append((name, other.steps))
    search = vars(standard).get("web_searches_kcount")
    one = nano_from_dollars(search / 1000) if isinstance(search, Decimal) else None
    return msgspec.structs.replace(card, services=tuple(services), search=one)


def _varies(model: listed.ModelInfo, moment: datetime, context: Mapping[str, str]) -> bool:
    """Whether the catalogue names a tier of service with prices of its own; else it is billed as nobody says."""
    return any(
        all(context.get(key) == value for key, value in variant.when.items()) and variant.prices != _NO_PRICES
        for variant in model.price_variants or ()
        if variant.constraint is None or variant.constraint.active(moment)
    )


def _rated(prices: listed.ModelPrice, dialect: Dialect, source: str) -> RateCard | None:
    figures: Mapping[str, Decimal | listed.TieredPrices | None] = vars(prices)
    if figures.get("input_mtok") is None or figures.get("output_mtok") is None:
        return None
    if any(figures.get(unit) is not None for unit in _BEYOND_TOKENS):
        return None
    starts = {0}
    for figure in figures.values():
        if isinstance(figure, listed.TieredPrices):
            starts.update(tier.start for tier in figure.tiers)
    return RateCard(tuple(_step(figures, start, dialect) for start in sorted(starts)), source)


def _step(figures: Mapping[str, Decimal | listed.TieredPrices | None], start: int, dialect: Dialect) -> Rates:
    def price(unit: str) -> int | None:
        figure = figures.get(unit)
        if isinstance(figure, listed.TieredPrices):
            reached = [tier.price for tier in figure.tiers if tier.start <= start]
            figure = reached[-1] if reached else figure.base
        return None if figure is None else nano_from_dollars(figure)

    return rates(
        above=start,
        plain=price("input_mtok") or 0,
        output=price("output_mtok") or 0,
        cached=price("cache_read_mtok"),
        five_minutes=price("cache_write_mtok"),
        an_hour=price("cache_write_1h_mtok"),
        dialect=dialect,
    )
