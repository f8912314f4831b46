"""Published prices from the `genai-prices` package, compiled to the kernel's integers.

The package carries its data, so nothing is fetched. Its prices are decimals of US dollars per million tokens, with
tiers by size of the prompt, dates and hours of validity. A price is compiled once per model and minute of use, and a
call is charged as of the moment when it began. A price that we cannot charge to the nano-dollar counts as none: see
`compile_price`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from services.kernel.money import NanoUsd, PicoUsdPerToken
from services.kernel.price import Price, PriceTier
from services.kernel.usage import (
    AUDIO_INPUT,
    AUDIO_OUTPUT,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    CACHED_AUDIO_INPUT,
    CACHED_IMAGE_INPUT,
    CACHED_INPUT,
    CACHED_VIDEO_INPUT,
    IMAGE_INPUT,
    IMAGE_OUTPUT,
    INPUT,
    OUTPUT,
    REASONING,
    VIDEO_INPUT,
    VIDEO_OUTPUT,
    WEB_SEARCH,
)

if TYPE_CHECKING:
    from genai_prices.types import Tier, TieredPrices

_log = logging.getLogger("spendgate.ledger.prices")

_MINUTE_MS = 60_000
_PICO_PER_TOKEN = Decimal(1_000_000)
"""One dollar per million tokens."""
_NANO_PER_REQUEST = Decimal(1_000_000)
"""One dollar per thousand requests."""
_PICO_PER_COUNT = Decimal(1_000_000_000)
"""One dollar per thousand."""
_TOKENS = {
    "input_mtok": INPUT,
    "cache_read_mtok": CACHED_INPUT,
    "cache_write_mtok": CACHE_WRITE_5M,
    "cache_write_1h_mtok": CACHE_WRITE_1H,
    "input_audio_mtok": AUDIO_INPUT,
    "cache_audio_read_mtok": CACHED_AUDIO_INPUT,
    "input_image_mtok": IMAGE_INPUT,
    "cache_image_read_mtok": CACHED_IMAGE_INPUT,
    "input_video_mtok": VIDEO_INPUT,
    "output_mtok": OUTPUT,
    "output_reasoning_mtok": REASONING,
    "output_audio_mtok": AUDIO_OUTPUT,
    "output_image_mtok": IMAGE_OUTPUT,
    "output_video_mtok": VIDEO_OUTPUT,
}
_COUNTS = {"web_searches_kcount": WEB_SEARCH}
_METER_OF = {**_TOKENS, **_COUNTS}
_REQUESTS = "requests_kcount"
# Searches in files that the provider stores: a tool of the Responses API, which the gateway does not offer.
_NEVER_USED = frozenset({"storage_searches_kcount"})
# Vendors whose one input price covers images, by their price pages. Google calls it "text / image / video"; OpenAI,
# Anthropic and xAI count images as input tokens. An image price of its own in the catalogue still wins.
_SEES_AT_INPUT_PRICE = frozenset({"openai", "azure", "anthropic", "google", "x-ai"})
_SEEN = (
    (IMAGE_INPUT, INPUT),
    (VIDEO_INPUT, INPUT),
    (CACHED_IMAGE_INPUT, CACHED_INPUT),
    (CACHED_VIDEO_INPUT, CACHED_INPUT),
)


class UnchargeableError(ValueError):
    """A published price that integers or our units cannot express. The text says why."""


class GenaiPrices:
    """The catalogue, as `ports.Catalogue`."""

    def __init__(self) -> None:
        self.version = version("genai-prices")
        self._priced = lru_cache(maxsize=4_096)(self._look_up)

    def price(self, provider: str, model: str, time_ms: int) -> Price | None:
        """Returns the price of a model at a time, or None when it has none that we can charge exactly."""
        return self._priced(provider, model, time_ms // _MINUTE_MS)

    def _look_up(self, provider: str, model: str, minute: int) -> Price | None:
        # Imported here, because with pydantic it takes 10 MiB, and nobody asks where the configuration has all prices.
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

        try:
            _, info = get_snapshot().find_provider_model(model, None, provider, None)
            published = info.get_prices(datetime.fromtimestamp(minute * 60, UTC))
            known = {name: value for name, value in vars(published).items() if value is not None}
            return compile_price(known, sees_at_input_price=provider in _SEES_AT_INPUT_PRICE)
        except LookupError:
            return None
        except UnchargeableError as error:
            _log.warning("%s/%s has no price: %s; write one under prices", provider, model, error)
            return None


def compile_price(published: Mapping[str, Decimal | TieredPrices], *, sees_at_input_price: bool = False) -> Price:
    """Converts a published price to integers.

    Raises:
        UnchargeableError: it lacks input, is not whole in pico-USD per token, or charges for other things.
    """
    unknown = published.keys() - _METER_OF.keys() - _NEVER_USED - {_REQUESTS}
    if unknown:
        raise UnchargeableError(f"it also charges by {', '.join(sorted(unknown))}")
    # Without a price for output, calls that write something have an unknown cost: it is a model for vectors.
    if "input_mtok" not in published:
        raise UnchargeableError("it has no price for input tokens")
    bounds = sorted({0, *(tier.start for price in published.values() for tier in _tiers(price))})
    request = published.get(_REQUESTS, Decimal(0))
    if not isinstance(request, Decimal):
        raise UnchargeableError("its price per request has tiers")
    tiers = tuple(_tier(published, bound, sees_at_input_price=sees_at_input_price) for bound in bounds)
    return Price(tiers, NanoUsd(_whole(request, _NANO_PER_REQUEST, "requests")))


def _tier(published: Mapping[str, Decimal | TieredPrices], above: int, *, sees_at_input_price: bool) -> PriceTier:
    """Leaves out unpublished rates: the price engine applies the documented fallbacks, and the others stay unknown."""
    rates = {
        meter: PicoUsdPerToken(
            _whole(_at(published[name], above), _PICO_PER_COUNT if name in _COUNTS else _PICO_PER_TOKEN, name)
        )
        for name, meter in _METER_OF.items()
        if name in published
    }
    if sees_at_input_price:
        for seen, as_text in _SEEN:
            rates.setdefault(seen, rates.get(as_text, rates[INPUT]))
    return PriceTier(above, rates)


def _tiers(price: Decimal | TieredPrices) -> list[Tier]:
    return [] if isinstance(price, Decimal) else price.tiers


def _at(price: Decimal | TieredPrices, above: int) -> Decimal:
    """Returns the price of a prompt just larger than `above` tokens."""
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if above >= tier.start]
    return reached[-1] if reached else price.base


def _whole(price: Decimal, scale: Decimal, name: str) -> int:
    scaled = price * scale
    if scaled != scaled.to_integral_value():
        raise UnchargeableError(f"{name} of {price} USD is finer than a pico-dollar per token")
    return int(scaled)
