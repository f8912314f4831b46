"""Converts prices: to messages for quota, and from an operator's configuration."""

from __future__ import annotations

from collections.abc import Sequence

from spendgate.ledger.v1 import price_book_service_pb2 as pb

from services.kernel.errors import InvalidInput
from services.kernel.money import NanoUsd, PicoUsdPerToken
from services.kernel.price import Price, PriceTier
from services.ledger.usecases.price_book import PriceRow

_MOST_SERVICE_TIERS = 16


def target_price(row: PriceRow) -> pb.TargetPrice:
    """Returns the price of one target."""
    return pb.TargetPrice(
        target=row.target,
        tiers=[_tier_message(tier) for tier in row.price.tiers],
        request_nano_usd=row.price.request_nano_usd,
        source=row.source,
        service_tiers=[
            pb.ServiceTierPrice(service_tier=name, tiers=[_tier_message(tier) for tier in tiers])
            for name, tiers in sorted(row.price.service_tiers.items())
        ],
    )


def read_override(field: str, message: pb.TargetPrice) -> Price:
    """Reads a price that an operator wrote. `field` is its path within the request.

    Raises:
        InvalidInput: it has not exactly one tier, a rate is negative or names no meter, or a service tier comes twice.
    """
    if message.request_nano_usd < 0:
        raise InvalidInput(field, "a price is negative")
    if len(message.service_tiers) > _MOST_SERVICE_TIERS:
        raise InvalidInput(f"{field}.service_tiers", f"more than {_MOST_SERVICE_TIERS}")
    service_tiers: dict[str, tuple[PriceTier, ...]] = {}
    for at, each in enumerate(message.service_tiers):
        if each.service_tier in service_tiers:
            raise InvalidInput(f"{field}.service_tiers[{at}]", f"{each.service_tier} comes twice")
        service_tiers[each.service_tier] = (_only_tier(f"{field}.service_tiers[{at}]", each.tiers),)
    tier = _only_tier(field, message.tiers)
    try:
        return Price((tier,), NanoUsd(message.request_nano_usd), service_tiers)
    except ValueError as error:
        raise InvalidInput(f"{field}.service_tiers", str(error)) from error


def _only_tier(field: str, tiers: Sequence[pb.PriceTier]) -> PriceTier:
    if len(tiers) != 1 or tiers[0].above_input_tokens:
        raise InvalidInput(f"{field}.tiers", "an override has exactly one tier, which starts at 0")
    tier = tiers[0]
    try:
        return PriceTier(0, {rate.meter: PicoUsdPerToken(rate.pico_usd) for rate in tier.rates})
    except ValueError as error:
        raise InvalidInput(field, str(error)) from error


def _tier_message(tier: PriceTier) -> pb.PriceTier:
    rates = [pb.Rate(meter=name, pico_usd=rate) for name, rate in sorted(tier.rates.items())]
    return pb.PriceTier(above_input_tokens=tier.above_input_tokens, rates=rates)
