"""Are prices the catalogue's own, exact, and unknown rather than guessed?"""

from datetime import date, time
from decimal import Decimal

import msgspec
import pytest
from genai_prices import types as listed
from genai_prices.data_snapshot import get_snapshot

from upshift.model.rates import Rates
from upshift.plan_file import catalogue, prices
from upshift.traffic.price import most_rates
from upshift.traffic.snapshot import Dialect

TODAY = date(2026, 11, 1)
OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com"


def test_a_listed_model_costs_what_the_list_says() -> None:
    listing = catalogue.look_up(Dialect.OPENAI, OPENAI, "gpt-5-2025-08-07", TODAY)
    assert listing.context == 400_000
    assert listing.card is not None
    assert listing.card.steps == (
        Rates(
            input=1_250_000_000,
            output=10_000_000_000,
            cached=125_000_000,
            cache_write_5m=1_250_000_000,
            cache_write_1h=1_250_000_000,
        ),
    )
    assert listing.card.source.endswith("openai/gpt-5")
    assert not listing.assumed


def test_long_inputs_cost_more_where_the_list_says_so() -> None:
    card = catalogue.look_up(Dialect.ANTHROPIC, ANTHROPIC, "claude-sonnet-4-5-20250929", TODAY).card
    assert card is not None
    assert [step.above for step in card.steps] == [0, 200_000]
    assert [step.input for step in card.steps] == [3_000_000_000, 6_000_000_000]
    assert card.steps[0].cache_write_5m == 3_750_000_000
    assert card.steps[0].cache_write_1h == 6_000_000_000


@pytest.mark.parametrize("name", ["claude-haiku-4-5-banana", "claude-sonnet-9", "gpt-5", "", "x"])
def test_a_similar_name_is_no_price(name: str) -> None:
    assert catalogue.look_up(Dialect.ANTHROPIC, ANTHROPIC, name, TODAY) == prices.UNLISTED


def test_an_unknown_address_is_priced_by_its_dialect_and_says_so() -> None:
    listing = catalogue.look_up(Dialect.ANTHROPIC, "http://127.0.0.1:9", "claude-haiku-4-5", TODAY)
    assert listing.assumed
    assert listing.card is not None


def _dollars(input_price: str) -> listed.ModelPrice:
    return listed.ModelPrice(input_mtok=Decimal(input_price), output_mtok=Decimal(2))


def _model(prices_: listed.ModelPrice | list[listed.ConditionalPrice]) -> listed.ModelInfo:
    return listed.ModelInfo(id="m", match=listed.ClauseEquals("m"), prices=prices_)


def _first(model: listed.ModelInfo, today: date, dialect: Dialect = Dialect.OPENAI) -> Rates | None:
    card = catalogue.card_of(model, dialect, "test", today)
    return card.steps[0] if card is not None else None


def test_a_price_holds_from_its_day_on() -> None:
    start = listed.StartDateConstraint(date(2026, 11, 2))
    model = _model(
        [listed.ConditionalPrice(prices=_dollars("1")), listed.ConditionalPrice(start, prices=_dollars("3"))]
    )
    before, after = _first(model, date(2026, 11, 1)), _first(model, date(2026, 11, 2))
    assert before is not None
    assert after is not None
    assert (before.input, after.input) == (10**9, 3 * 10**9)


def test_a_price_that_changes_by_the_hour_counts_at_its_highest() -> None:
    night = listed.TimeOfDateConstraint(time(16, 30), time(0, 30))
    model = _model(
        [listed.ConditionalPrice(prices=_dollars("2")), listed.ConditionalPrice(night, prices=_dollars("1"))]
    )
    found = _first(model, TODAY)
    assert found is not None
    assert found.input == 2 * 10**9


def test_what_is_not_said_is_never_cheaper_than_it_may_be() -> None:
    openai, anthropic = _first(_model(_dollars("1")), TODAY), _first(_model(_dollars("1")), TODAY, Dialect.ANTHROPIC)
    assert openai is not None
    assert anthropic is not None
    assert (openai.cached, openai.cache_write_5m, openai.cache_write_1h) == (10**9, 10**9, 10**9)
    assert (anthropic.cached, anthropic.cache_write_5m, anthropic.cache_write_1h) == (10**9, 1_250_000_000, 2 * 10**9)


@pytest.mark.parametrize(
    "figures",
    [
        {"input_mtok": Decimal(1)},
        {"output_mtok": Decimal(1)},
        {"input_mtok": Decimal(1), "output_mtok": Decimal(1), "requests_kcount": Decimal(5)},
    ],
)
def test_what_cannot_be_told_by_tokens_is_unknown(figures: dict[str, Decimal]) -> None:
    assert _first(_model(listed.ModelPrice(**figures)), TODAY) is None


def test_a_model_without_prices_is_unknown() -> None:
    assert _first(_model([]), TODAY) is None


def test_the_tiers_of_service_that_are_listed_have_their_own_steps() -> None:
    card = catalogue.look_up(Dialect.OPENAI, OPENAI, "gpt-5", date(2026, 11, 21)).card
    assert card is not None
    usual, priority, flex = card.steps[0], card.steps_of("priority"), card.steps_of("flex")
    assert priority is not None
    assert flex is not None
    assert (priority[0].input, priority[0].output) == (2 * usual.input, 2 * usual.output)
    assert (2 * flex[0].input, 2 * flex[0].output) == (usual.input, usual.output)
    assert card.steps_of("") == card.steps
    assert card.steps_of("scale") is None
    assert card.search == 10_000_000


def test_no_tier_of_service_in_the_catalogue_costs_more_than_is_held_where_nobody_says() -> None:
    today = date(2026, 11, 21)
    found = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            card = catalogue.card_of(model, Dialect.OPENAI, "test", today)
            for name, steps in card.services if card is not None else ():
                assert card is not None
                most = most_rates(msgspec.structs.replace(card, services=()), 0, "unknown")
                assert steps[0].input <= most.input, (model.id, name)
                assert steps[0].output <= most.output, (model.id, name)
                found += 1
    assert found > 100
