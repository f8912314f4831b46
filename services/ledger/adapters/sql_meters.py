"""Meters and their rates as the JSON of a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from services.kernel.money import PicoUsdPerToken
from services.kernel.price import PriceTier
from services.kernel.usage import CACHE_WRITE_1H, CACHE_WRITE_5M, CACHED_INPUT, INPUT, OUTPUT, REASONING, Usage

_COLUMNS = (INPUT, OUTPUT, CACHED_INPUT, CACHE_WRITE_5M, REASONING)
"""Meters whose rate has had a column of its own, named alike, since the first release."""


def write_meters(usage: Usage) -> str:
    """The meters of an entry, empty when nothing is counted apart."""
    return orjson.dumps(dict(usage.meters)).decode() if usage.meters else ""


def read_usage(row: sa.Row[Any]) -> Usage:
    """The usage of an entry. One that the release before wrote has its parts in columns only."""
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
    """The columns of an override's rates, those of the release before filled as it reads them."""
    written = tier.rate(CACHE_WRITE_5M)
    return {
        **{name: tier.rate(name) for name in _COLUMNS},
        CACHE_WRITE_1H: tier.rates.get(CACHE_WRITE_1H, written),
        "rates": orjson.dumps(dict(tier.rates)).decode(),
    }


def read_tier(row: sa.Row[Any]) -> PriceTier:
    """The rates of an override. The release before wrote the price of input for an hour of caching that had none."""
    if row.rates:
        return tier_of(orjson.loads(row.rates))
    rates = {name: getattr(row, name) for name in _COLUMNS}
    if row.cache_write_1h not in (row.input, row.cache_write_5m):
        rates[CACHE_WRITE_1H] = row.cache_write_1h
    return tier_of(rates)


def write_service_tiers(service_tiers: Mapping[str, tuple[PriceTier, ...]]) -> str:
    """The rates of the other service tiers of an override, which have one tier each; empty when there are none."""
    rates = {name: dict(tiers[0].rates) for name, tiers in service_tiers.items()}
    return orjson.dumps(rates).decode() if rates else ""


def read_service_tiers(text: str) -> dict[str, tuple[PriceTier, ...]]:
    """The same read back."""
    return {name: (tier_of(rates),) for name, rates in orjson.loads(text).items()} if text else {}


def tier_of(rates: Mapping[str, int]) -> PriceTier:
    """A tier that starts at 0."""
    return PriceTier(0, {name: PicoUsdPerToken(rate) for name, rate in rates.items()})
