from __future__ import annotations

import pytest

from services.kernel.money import NanoUsd, PicoUsdPerToken
from services.kernel.price import Price, PriceTier, charge, charge_at_most
from services.kernel.usage import Usage


def tier(above: int, *prices: int) -> PriceTier:
    return PriceTier(above, *(PicoUsdPerToken(price) for price in prices))


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
        cached_input_tokens=600,
        cache_write_5m_tokens=100,
        cache_write_1h_tokens=50,
        reasoning_tokens=200,
    )

    # 250 x 3 000 + 600 x 300 + 100 x 3 750 + 50 x 6 000 + 500 x 15 000 nano-USD
    assert charge(usage, SONNET) == 750_000 + 180_000 + 375_000 + 300_000 + 7_500_000


def test_reasoning_can_have_a_price_of_its_own() -> None:
    price = Price((tier(0, 0, 0, 0, 0, 1_000, 3_000),))

    assert charge(Usage(output_tokens=10, reasoning_tokens=4), price) == 6 * 1 + 4 * 3


def test_a_charge_is_rounded_up_once_not_once_a_bucket() -> None:
    price = Price((tier(0, 1, 1, 1, 1, 1, 1),))

    assert charge(Usage(input_tokens=1, output_tokens=1), price) == 1


def test_the_tier_that_the_prompt_reaches_applies_to_the_whole_call() -> None:
    assert charge(Usage(200_000), GEMINI) == 200_000 * 1_250
    assert charge(Usage(200_001, 10), GEMINI) == 200_001 * 2_500 + 10 * 15_000


def test_a_request_has_a_price_besides_its_tokens() -> None:
    price = Price((tier(0, 0, 0, 0, 0, 0, 0),), NanoUsd(7))

    assert charge(Usage(), price) == 7
    assert charge_at_most(0, 0, price, writes_cache_1h=False) == 7


def test_the_most_is_that_of_the_dearest_bucket_and_tier_within_reach() -> None:
    assert charge_at_most(1_000, 0, SONNET, writes_cache_1h=False) == 1_000 * 3_750
    assert charge_at_most(1_000, 0, SONNET, writes_cache_1h=True) == 1_000 * 6_000
    assert charge_at_most(200_000, 1, GEMINI, writes_cache_1h=False) == 200_000 * 1_250 + 10_000
    assert charge_at_most(200_001, 1, GEMINI, writes_cache_1h=False) == 200_001 * 2_500 + 15_000


def test_a_tier_that_is_cheaper_does_not_lower_the_most() -> None:
    price = Price((tier(0, 9_000, 0, 0, 0, 0, 0), tier(10, 1_000, 0, 0, 0, 0, 0)))

    assert charge_at_most(20, 0, price, writes_cache_1h=False) == 20 * 9


@pytest.mark.parametrize("bounds", [(), (1,), (0, 0), (0, 20, 10)])
def test_tiers_start_at_zero_and_rise(bounds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="price tiers must start at 0 and rise"):
        Price(tuple(tier(above, 1, 1, 1, 1, 1, 1) for above in bounds))
