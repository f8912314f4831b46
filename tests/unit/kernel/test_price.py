from __future__ import annotations

from typing import Any

import pytest

from services.kernel.money import NanoUsd, PicoUsdPerToken
from services.kernel.price import Bounds, Price, PriceTier, charge, charge_at_most
from services.kernel.usage import (
    AUDIO_INPUT,
    AUDIO_OUTPUT,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    CACHED_AUDIO_INPUT,
    CACHED_INPUT,
    IMAGE_INPUT,
    IMAGE_OUTPUT,
    INPUT,
    OTHER_INPUT,
    OUTPUT,
    REASONING,
    WEB_SEARCH,
    Usage,
)

TEXT = (INPUT, CACHED_INPUT, CACHE_WRITE_5M, CACHE_WRITE_1H, OUTPUT, REASONING)


def tier(above: int, *prices: int, **others: int) -> PriceTier:
    rates = {**dict(zip(TEXT, prices, strict=True)), **others}
    return PriceTier(above, {name: PicoUsdPerToken(rate) for name, rate in rates.items()})


def flat(**rates: int) -> Price:
    return Price((PriceTier(0, {name: PicoUsdPerToken(rate) for name, rate in rates.items()}),))


def most(input_tokens: int, output_tokens: int, price: Price, **bounds: Any) -> NanoUsd | None:
    return charge_at_most(Bounds(input_tokens, output_tokens, **bounds), price)


# Input, cached, written for 5 minutes, written for an hour, output, reasoning.
SONNET = Price((tier(0, 3_000_000, 300_000, 3_750_000, 6_000_000, 15_000_000, 15_000_000),))
GEMINI = Price(
    (
        tier(0, 1_250_000, 312_500, 1_250_000, 1_250_000, 10_000_000, 10_000_000),
        tier(200_000, 2_500_000, 625_000, 2_500_000, 2_500_000, 15_000_000, 15_000_000),
    )
)


def test_each_token_is_charged_once_at_the_price_of_its_bucket() -> None:
    usage = Usage(
        input_tokens=1_000,
        output_tokens=500,
        meters={CACHED_INPUT: 600, CACHE_WRITE_5M: 100, CACHE_WRITE_1H: 50, REASONING: 200},
    )

    # 250 x 3 000 + 600 x 300 + 100 x 3 750 + 50 x 6 000 + 500 x 15 000 nano-USD
    assert charge(usage, SONNET) == 750_000 + 180_000 + 375_000 + 300_000 + 7_500_000


def test_reasoning_can_have_a_price_of_its_own() -> None:
    price = Price((tier(0, 0, 0, 0, 0, 1_000, 3_000),))

    assert charge(Usage(0, 10, {REASONING: 4}), price) == 6 * 1 + 4 * 3


def test_a_charge_is_rounded_up_once_not_once_a_bucket() -> None:
    price = Price((tier(0, 1, 1, 1, 1, 1, 1),))

    assert charge(Usage(input_tokens=1, output_tokens=1), price) == 1


def test_the_tier_that_the_prompt_reaches_applies_to_the_whole_call() -> None:
    assert charge(Usage(200_000), GEMINI) == 200_000 * 1_250
    assert charge(Usage(200_001, 10), GEMINI) == 200_001 * 2_500 + 10 * 15_000


def test_a_request_has_a_price_besides_its_tokens() -> None:
    price = Price((tier(0, 0, 0, 0, 0, 0, 0),), NanoUsd(7))

    assert charge(Usage(), price) == 7
    assert most(0, 0, price) == 7


def test_the_most_is_that_of_the_dearest_bucket_and_tier_within_reach() -> None:
    assert most(1_000, 0, SONNET) == 1_000 * 3_750
    assert most(1_000, 0, SONNET, writes_cache_1h=True) == 1_000 * 6_000
    assert most(200_000, 1, GEMINI) == 200_000 * 1_250 + 10_000
    assert most(200_001, 1, GEMINI) == 200_001 * 2_500 + 15_000


def test_a_tier_that_is_cheaper_does_not_lower_the_most() -> None:
    price = Price((tier(0, 9_000, 0, 0, 0, 0, 0), tier(10, 1_000, 0, 0, 0, 0, 0)))

    assert most(20, 0, price) == 20 * 9


@pytest.mark.parametrize("bounds", [(), (1,), (0, 0), (0, 20, 10)])
def test_tiers_start_at_zero_and_rise(bounds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="price tiers must start at 0 and rise"):
        Price(tuple(tier(above, 1, 1, 1, 1, 1, 1) for above in bounds))


PLAIN = flat(input=1_000, output=2_000)
HEARS = flat(input=1_000, output=2_000, audio_input=10_000, audio_output=20_000, web_search=5_000_000)
PRIORITY = Price(PLAIN.tiers, service_tiers={"priority": flat(input=3_000, output=6_000).tiers})


@pytest.mark.parametrize(
    "usage",
    [
        Usage(10, 0, {CACHE_WRITE_1H: 1}),
        Usage(10, 0, {AUDIO_INPUT: 1}),
        Usage(10, 0, {CACHED_AUDIO_INPUT: 1}),
        Usage(10, 0, {IMAGE_INPUT: 1}),
        Usage(10, 0, {OTHER_INPUT: 1}),
        Usage(0, 10, {AUDIO_OUTPUT: 1}),
        Usage(0, 10, {IMAGE_OUTPUT: 1}),
        Usage(10, 10, {WEB_SEARCH: 1}),
        Usage(10, 10, service_tier="priority"),
    ],
)
def test_what_has_no_rate_costs_an_unknown_amount_not_that_of_text(usage: Usage) -> None:
    assert charge(usage, PLAIN) is None


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(10, 0, {CACHED_INPUT: 4, CACHE_WRITE_5M: 2}), 10),
        (Usage(0, 10, {REASONING: 4}), 20),
    ],
)
def test_the_documented_fall_backs_are_the_whole_that_it_is_a_part_of(usage: Usage, cost: int) -> None:
    assert charge(usage, PLAIN) == cost


def test_sound_and_searches_cost_what_they_cost() -> None:
    # Cached sound without a rate of its own costs as sound that is not.
    usage = Usage(10, 10, {AUDIO_INPUT: 3, CACHED_AUDIO_INPUT: 1, AUDIO_OUTPUT: 5, WEB_SEARCH: 2})

    assert charge(usage, HEARS) == 6 * 1 + 4 * 10 + 5 * 2 + 5 * 20 + 2 * 5_000


@pytest.mark.parametrize("name", ["", "default", "standard"])
def test_the_base_tier_has_several_names(name: str) -> None:
    assert charge(Usage(10, 0, service_tier=name), PRIORITY) == 10


def test_another_service_tier_has_its_own_price_or_none() -> None:
    assert charge(Usage(10, 1, service_tier="priority"), PRIORITY) == 36
    assert charge(Usage(10, 1, service_tier="flex"), PRIORITY) is None


def test_the_most_covers_the_tier_that_is_asked_for_and_the_base_that_it_falls_back_to() -> None:
    cheap = Price(PLAIN.tiers, service_tiers={"flex": flat(input=500, output=1_000).tiers})

    assert most(10, 0, PRIORITY) == 10
    assert most(10, 0, PRIORITY, service_tier="priority") == 30
    assert most(10, 0, PRIORITY, service_tier="auto") == 30
    assert most(10, 0, PRIORITY, service_tier="flex") is None
    assert most(10, 0, cheap, service_tier="flex") == 10


def test_the_most_needs_a_rate_for_what_the_call_may_use() -> None:
    assert most(10, 10, PLAIN) == 30
    for bound in ({"audio_input_tokens": 1}, {"audio_output_tokens": 1}, {"writes_cache_1h": True}, {"searches": 1}):
        assert most(10, 10, PLAIN, **bound) is None
    assert most(10, 10, HEARS, audio_input_tokens=4, audio_output_tokens=1, searches=2) == (
        6 * 1 + 4 * 10 + 9 * 2 + 20 + 2 * 5_000
    )


def test_a_model_that_makes_images_may_make_nothing_else() -> None:
    assert most(0, 10, flat(input=1_000, output=2_000, image_output=50_000)) == 10 * 50


def test_without_a_rate_for_output_only_a_call_that_writes_nothing_has_a_price() -> None:
    vectors = flat(input=1_000, image_output=9_000)

    assert charge_at_most(Bounds(10, 0), vectors) == charge(Usage(10, 0), vectors) == 10
    assert charge_at_most(Bounds(10, 1), vectors) is None
    assert charge(Usage(10, 1), vectors) is None


@pytest.mark.parametrize(
    "rates", [{}, {"output": 1}, {"input": 1, "output": -1}, {"input": 1, "output": 1, "telepathy": 1}]
)
def test_a_price_has_input_and_only_meters_of_the_table(rates: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="price"):
        flat(**rates)


def test_the_base_is_no_service_tier_beside_itself() -> None:
    with pytest.raises(ValueError, match="'standard' is no service tier"):
        Price(PLAIN.tiers, service_tiers={"standard": PLAIN.tiers})
