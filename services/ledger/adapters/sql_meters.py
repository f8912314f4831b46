"""Stores meters and their rates as JSON in a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from services.kernel.money import PicoUsdPerToken
from services.kernel.price import PriceTier
from services.kernel.usage import CACHE_WRITE_1H, CACHE_WRITE_5M, CACHED_INPUT, INPUT, OUTPUT, REASONING, Usage

_COLUMNS = (INPUT, OUTPUT, CACHED_INPUT, CACHE_WRITE_5M, REASONING)
"""Meters whose rate has had its own column, with the same name, since the first release."""


def write_meters(usage: Usage) -> str:
    """Returns the meters of an entry. Empty when it has no separate meters."""
    return orjson.dumps(dict(usage.meters)).decode() if usage.meters else ""


def read_usage(row: sa.Row[Any]) -> Usage:
    """Reads the usage of an entry. An entry of the previous release has its parts in columns only."""
    if row.meters:
        return Usage(row.input_tokens, row.output_tokens, orjson.loads(row.meters), row.service_tier)
    meters = {
        CACHED_INPUT: row.cached_input_tokens,
        CACHE_WRITE_5M: row.cache_write_5m_tokens,
        CACHE_WRITE_1H: row.cache_write_1h_tokens,
        REASONING: row.reasoning_tokens,
    }
    return Usage(row.input_tokens, row.output_tokens, meters, row.service_tier)


def write_tier(tier: PriceTier) -> dict[str, object]:
    """Returns the columns of an override's rates, those of the previous release filled the way it reads them."""
    written = tier.rate(CACHE_WRITE_5M)
    return {
        # A release that reads the columns alone knows no price without output.
        **{name: tier.rate(name) or 0 for name in _COLUMNS},
        CACHE_WRITE_1H: tier.rates.get(CACHE_WRITE_1H, written),
        "rates": orjson.dumps(dict(tier.rates)).decode(),
    }


def read_tier(row: sa.Row[Any]) -> PriceTier:
    """Reads an override's rates. Without a price for hourly caching, the previous release wrote the input price."""
    if row.rates:
        return tier_of(orjson.loads(row.rates))
    rates = {name: getattr(row, name) for name in _COLUMNS}
    if row.cache_write_1h not in (row.input, row.cache_write_5m):
        rates[CACHE_WRITE_1H] = row.cache_write_1h
    return tier_of(rates)


def write_service_tiers(service_tiers: Mapping[str, tuple[PriceTier, ...]]) -> str:
    """Returns the rates of an override's other service tiers, which have one tier each; empty when there are none."""
    rates = {name: dict(tiers[0].rates) for name, tiers in service_tiers.items()}
    return orjson.dumps(rates).decode() if rates else ""


def read_service_tiers(text: str) -> dict[str, tuple[PriceTier, ...]]:
    """Reads them back."""
    return {name: (tier_of(rates),) for name, rates in orjson.loads(text).items()} if text else {}


def tier_of(rates: Mapping[str, int]) -> PriceTier:
    """Returns a tier that starts at 0."""
    return PriceTier(0, {name: PicoUsdPerToken(rate) for name, rate in rates.items()})
