"""The one price engine: estimates and charges are the same function over the same prices.

A price has tiers by the size of the prompt. As the providers do it, the tier that the prompt reaches applies to all
tokens of the call, not only to those above the bound (Gemini 2.5 Pro: 200 000 tokens at $1.25 per million, 200 001
tokens at $2.50).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from services.kernel.money import NanoUsd, PicoUsdPerToken, nano_from_pico
from services.kernel.usage import Usage

_NOTHING = NanoUsd(0)


@dataclass(frozen=True, slots=True)
class PriceTier:
    """Prices in pico-USD per token for prompts of more than `above_input_tokens` tokens."""

    above_input_tokens: int
    input: PicoUsdPerToken
    cached_input: PicoUsdPerToken
    cache_write_5m: PicoUsdPerToken
    cache_write_1h: PicoUsdPerToken
    output: PicoUsdPerToken
    reasoning: PicoUsdPerToken


@dataclass(frozen=True, slots=True)
class Price:
    """Price of one target.

    Raises:
        ValueError: the tiers do not start at 0 or do not rise.
    """

    tiers: tuple[PriceTier, ...]
    request_nano_usd: NanoUsd = _NOTHING
    """Charged for each request, on top of its tokens."""

    def __post_init__(self) -> None:
        bounds = [tier.above_input_tokens for tier in self.tiers]
        if not bounds or bounds[0] != 0 or any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(f"price tiers must start at 0 and rise, not {bounds}")

    def tier_for(self, input_tokens: int) -> PriceTier:
        """The tier that a prompt of this size reaches."""
        reached = self.tiers[0]
        for tier in self.tiers[1:]:
            if input_tokens > tier.above_input_tokens:
                reached = tier
        return reached


def charge(usage: Usage, price: Price) -> NanoUsd:
    """What `usage` costs, rounded up once to a whole nano-USD."""
    tier = price.tier_for(usage.input_tokens)
    part = usage.buckets
    pico_usd = (
        part.uncached_input * tier.input
        + part.cached_input * tier.cached_input
        + part.cache_write_5m * tier.cache_write_5m
        + part.cache_write_1h * tier.cache_write_1h
        + part.visible_output * tier.output
        + part.reasoning * tier.reasoning
    )
    return NanoUsd(nano_from_pico(pico_usd) + price.request_nano_usd)


def charge_at_most(input_tokens: int, output_tokens: int, price: Price, *, writes_cache_1h: bool) -> NanoUsd:
    """The most that a call of at most these tokens can cost, however its tokens fall into buckets and tiers.

    Caching for five minutes can happen without being asked for; for an hour it happens only when the request says so.
    """
    tiers = [tier for tier in price.tiers if tier.above_input_tokens == 0 or input_tokens > tier.above_input_tokens]
    dearest_input = max(
        max(tier.input, tier.cached_input, tier.cache_write_5m, tier.cache_write_1h if writes_cache_1h else 0)
        for tier in tiers
    )
    dearest_output = max(max(tier.output, tier.reasoning) for tier in tiers)
    pico_usd = input_tokens * dearest_input + output_tokens * dearest_output
    return NanoUsd(nano_from_pico(pico_usd) + price.request_nano_usd)
