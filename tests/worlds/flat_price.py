"""Prices with one tier."""

from __future__ import annotations

from services.kernel.money import NanoUsd, PicoUsdPerToken
from services.kernel.price import Price, PriceTier
from services.kernel.usage import INPUT, OUTPUT


def flat_price(
    *,
    input_price: int,
    output: int,
    request_nano_usd: int = 0,
    **others: int,
) -> Price:
    """A price with one tier, in pico-USD per token. `others` are rates by meter."""
    rates = {INPUT: input_price, OUTPUT: output, **others}
    tier = PriceTier(0, {name: PicoUsdPerToken(rate) for name, rate in rates.items()})
    return Price((tier,), NanoUsd(request_nano_usd))
