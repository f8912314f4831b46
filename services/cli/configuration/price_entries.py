"""Prices of targets in the configuration file."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from services.cli.configuration.entry import Entry
from services.cli.configuration.scalars import Amount, Name, TokenPrice
from services.kernel.money import PICO_PER_NANO
from services.kernel.price import ANY_SERVICE_TIER, BASE_SERVICE_TIERS
from services.kernel.usage import IMAGE_INPUT, IMAGE_OUTPUT, METERS, WEB_SEARCH


def _beside_the_base(name: str) -> str:
    if name in BASE_SERVICE_TIERS | {ANY_SERVICE_TIER}:
        raise ValueError(f"{name} is what the rates outside of `service_tiers` are for: write them there")
    return name


ServiceTierName = Annotated[Name, AfterValidator(_beside_the_base)]
"""As the provider's answers name it, e.g. priority."""


class RatesEntry(Entry):
    """Dollars per million tokens by meter; `web_search` is in dollars per search.

    Without their own rate, cached input and cache writes cost as much as `input`, and reasoning as much as `output`.
    For any other meter, a call that uses it then has an unknown cost.
    """

    input: TokenPrice
    output: TokenPrice | None = None
    """Left out for a model that only makes vectors. A call that writes something then has an unknown cost."""
    cached_input: TokenPrice | None = None
    cache_write_5m: TokenPrice | None = None
    cache_write_1h: TokenPrice | None = None
    reasoning: TokenPrice | None = None
    audio_input: TokenPrice | None = None
    cached_audio_input: TokenPrice | None = None
    audio_output: TokenPrice | None = None
    image: TokenPrice | None = None
    """Images in the input and in the output, where they have no rate of their own."""
    image_input: TokenPrice | None = None
    cached_image_input: TokenPrice | None = None
    image_output: TokenPrice | None = None
    video_input: TokenPrice | None = None
    cached_video_input: TokenPrice | None = None
    video_output: TokenPrice | None = None
    web_search: Amount | None = None

    @property
    def pico_usd(self) -> dict[str, int]:
        """The given rates by meter: pico-USD per token, and pico-USD per search."""
        rates = self.model_dump(include=METERS.keys() & type(self).model_fields.keys(), exclude_none=True)
        if self.web_search is not None:
            rates[WEB_SEARCH] = self.web_search * PICO_PER_NANO
        if self.image is not None:
            rates = {IMAGE_INPUT: self.image, IMAGE_OUTPUT: self.image, **rates}
        return {name: rates[name] for name in METERS if name in rates}


class PriceEntry(RatesEntry):
    """The price of a target: rates, `request` in dollars per call, and the rates of other service tiers."""

    request: Amount = 0
    service_tiers: dict[ServiceTierName, RatesEntry] = Field(default_factory=dict)
