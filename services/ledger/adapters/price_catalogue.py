"""Published prices from the `genai-prices` package, compiled to the kernel's integers.

The package carries its data: nothing is fetched. Its prices are decimals of US dollars per million tokens with tiers by
size of the prompt, dates and hours of validity. A price is compiled once per model and minute of use, so that a call
is charged as of the moment when it began. What we cannot charge to the nano-dollar has no price here: see `_compile`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Tier, TieredPrices

from services.kernel.money import NanoUsd, PicoUsdPerToken
from services.kernel.price import Price, PriceTier

_log = logging.getLogger("spendgate.ledger.prices")

_MINUTE_MS = 60_000
_PICO_PER_TOKEN = Decimal(1_000_000)
"""One dollar per million tokens."""
_NANO_PER_REQUEST = Decimal(1_000_000)
"""One dollar per thousand requests."""
_PRICED = frozenset(
    {
        "input_mtok",
        "output_mtok",
        "cache_read_mtok",
        "cache_write_mtok",
        "cache_write_1h_mtok",
        "output_reasoning_mtok",
        "requests_kcount",
    }
)
# Tools that run at the provider, and sound as input. The chat endpoints that we meter do not report either, so a call
# is charged for its tokens as text; refusing such models would refuse nearly all.
_TOLERATED = frozenset({"web_searches_kcount", "storage_searches_kcount", "input_audio_mtok", "cache_audio_read_mtok"})


class UnchargeableError(ValueError):
    """A published price that integers or our units cannot express. The text says what is in the way."""


class GenaiPrices:
    """The catalogue, as `ports.Catalogue`."""

    def __init__(self) -> None:
        self.version = version("genai-prices")
        self._priced = lru_cache(maxsize=4_096)(self._look_up)

    def price(self, provider: str, model: str, time_ms: int) -> Price | None:
        """Price of a model at a time, None when it has none that we can charge exactly."""
        return self._priced(provider, model, time_ms // _MINUTE_MS)

    def _look_up(self, provider: str, model: str, minute: int) -> Price | None:
        try:
            _, info = get_snapshot().find_provider_model(model, None, provider, None)
            published = info.get_prices(datetime.fromtimestamp(minute * 60, UTC))
            return _compile({name: value for name, value in vars(published).items() if value is not None})
        except LookupError:
            return None
        except UnchargeableError as error:
            _log.warning("%s/%s has no price: %s; write one under prices", provider, model, error)
            return None


def _compile(published: Mapping[str, Decimal | TieredPrices]) -> Price:
    """The same price in integers.

    Raises:
        UnchargeableError: it lacks input or output, is not whole in pico-USD per token, or counts what we do not.
    """
    unknown = published.keys() - _PRICED - _TOLERATED
    if unknown:
        raise UnchargeableError(f"it also charges by {', '.join(sorted(unknown))}")
    if not {"input_mtok", "output_mtok"} <= published.keys():
        raise UnchargeableError("it has no price for input and output tokens")
    bounds = sorted({0, *(tier.start for price in published.values() for tier in _tiers(price))})
    request = published.get("requests_kcount", Decimal(0))
    if isinstance(request, TieredPrices):
        raise UnchargeableError("its price per request has tiers")
    return Price(
        tuple(_tier(published, bound) for bound in bounds), NanoUsd(_whole(request, _NANO_PER_REQUEST, "requests"))
    )


def _tier(published: Mapping[str, Decimal | TieredPrices], above: int) -> PriceTier:
    def of(name: str, instead: PicoUsdPerToken) -> PicoUsdPerToken:
        if name not in published:
            return instead
        return PicoUsdPerToken(_whole(_at(published[name], above), _PICO_PER_TOKEN, name))

    nothing = PicoUsdPerToken(0)
    fresh, output = of("input_mtok", nothing), of("output_mtok", nothing)
    written = of("cache_write_mtok", fresh)
    return PriceTier(
        above_input_tokens=above,
        input=fresh,
        cached_input=of("cache_read_mtok", fresh),
        cache_write_5m=written,
        cache_write_1h=of("cache_write_1h_mtok", written),
        output=output,
        reasoning=of("output_reasoning_mtok", output),
    )


def _tiers(price: Decimal | TieredPrices) -> list[Tier]:
    return price.tiers if isinstance(price, TieredPrices) else []


def _at(price: Decimal | TieredPrices, above: int) -> Decimal:
    """Price of a prompt that is just larger than `above` tokens."""
    if not isinstance(price, TieredPrices):
        return price
    reached = [tier.price for tier in price.tiers if above >= tier.start]
    return reached[-1] if reached else price.base


def _whole(price: Decimal, scale: Decimal, name: str) -> int:
    scaled = price * scale
    if scaled != scaled.to_integral_value():
        raise UnchargeableError(f"{name} of {price} USD is finer than a pico-dollar per token")
    return int(scaled)
