"""The one price engine: estimates and charges use the same function and the same prices.

A price has rates by meter (`services.kernel.usage.METERS`), in tiers by size of the prompt. The tier that the prompt
reaches applies to all tokens of the call, not only to those above the bound. Providers do the same (Gemini 2.5 Pro:
200 000 tokens at $1.25 per million, 200 001 tokens at $2.50).

A provider's service tiers (priority, flex, batch) are complete prices of their own. Usage without a rate has an unknown
cost, which is neither zero nor the rate of another meter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Self

from services.kernel.money import NanoUsd, PicoUsdPerToken, nano_from_pico
from services.kernel.usage import INPUT, METERS, OUTPUT, Asked, Usage, Whole

_NOTHING = NanoUsd(0)
_ZERO = PicoUsdPerToken(0)
BASE_SERVICE_TIERS = frozenset({"", "default", "standard", "on_demand"})
"""Vendors' names for the tier that a price is for: OpenAI, Anthropic and Gemini, Groq and Vertex. Empty: the answer
names none."""
ANY_SERVICE_TIER = "auto"
"""A request for it leaves the choice to the provider."""


class Dearest(NamedTuple):
    """The highest rate of each kind of meter. None: a meter that such a request may need has no rate."""

    input: PicoUsdPerToken | None
    output: PicoUsdPerToken | None
    cache_write_1h: PicoUsdPerToken | None
    audio_input: PicoUsdPerToken | None
    audio_output: PicoUsdPerToken | None
    search: PicoUsdPerToken | None

    @classmethod
    def of(cls, effective: Mapping[str, PicoUsdPerToken]) -> Self:
        """Finds them once, because each decision needs them several times."""
        return cls(
            input=_dearest_of(effective, Whole.INPUT, Asked.ALWAYS),
            # Text can always be written, so no other rate stands in for its own.
            output=_dearest_of(effective, Whole.OUTPUT, Asked.ALWAYS) if OUTPUT in effective else None,
            cache_write_1h=_dearest_of(effective, Whole.INPUT, Asked.FOR_AN_HOUR),
            audio_input=_dearest_of(effective, Whole.INPUT, Asked.WITH_AUDIO),
            audio_output=_dearest_of(effective, Whole.OUTPUT, Asked.WITH_AUDIO),
            search=_dearest_of(effective, Whole.NOTHING, Asked.WITH_SEARCH),
        )


@dataclass(frozen=True, slots=True)
class PriceTier:
    """Rates for prompts of more than `above_input_tokens` tokens.

    Raises:
        ValueError: a rate is negative or is for no meter of the table, or input has no rate.
    """

    above_input_tokens: int
    rates: Mapping[str, PicoUsdPerToken] = field(hash=False)
    """By meter, as configured: pico-USD per token, or pico-USD each for a standalone count."""
    _effective: Mapping[str, PicoUsdPerToken] = field(init=False, repr=False, compare=False)
    """By meter, with the documented fallbacks filled in."""
    dearest: Dearest = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A model that only makes vectors has no price for output.
        if not {INPUT} <= self.rates.keys() <= METERS.keys():
            raise ValueError(f"a price has a rate for input, and for known meters, not {dict(self.rates)}")
        if min(self.rates.values()) < 0:
            raise ValueError(f"a price is negative in {dict(self.rates)}")
        object.__setattr__(self, "rates", dict(self.rates))
        object.__setattr__(self, "_effective", _with_fall_backs(self.rates))
        object.__setattr__(self, "dearest", Dearest.of(self._effective))

    def rate(self, meter: str) -> PicoUsdPerToken | None:
        """Returns the rate of a meter, or None when it is unknown."""
        return self._effective.get(meter)


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one target.

    Raises:
        ValueError: the tiers do not start at 0 or do not rise, or a service tier has the name of the base tier.
    """

    tiers: tuple[PriceTier, ...]
    request_nano_usd: NanoUsd = _NOTHING
    """Charged for each request, on top of its tokens."""
    service_tiers: Mapping[str, tuple[PriceTier, ...]] = field(default_factory=dict, hash=False)
    """Prices of the provider's other service tiers, by their name in an answer."""

    def __post_init__(self) -> None:
        for tiers in (self.tiers, *self.service_tiers.values()):
            bounds = [tier.above_input_tokens for tier in tiers]
            if not bounds or bounds[0] != 0 or any(low >= high for low, high in pairwise(bounds)):
                raise ValueError(f"price tiers must start at 0 and rise, not {bounds}")
        named = (BASE_SERVICE_TIERS | {ANY_SERVICE_TIER}) & self.service_tiers.keys()
        if named:
            raise ValueError(f"{min(named)!r} is no service tier beside the price itself")

    def tiers_of(self, service_tier: str) -> tuple[PriceTier, ...] | None:
        """Returns the tiers of a service tier by its name in an answer, or None if this price does not know it."""
        return self.tiers if service_tier in BASE_SERVICE_TIERS else self.service_tiers.get(service_tier)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a call can take."""

    input_tokens: int
    output_tokens: int
    audio_input_tokens: int = 0
    """The most sound in the input."""
    audio_output_tokens: int = 0
    """The most sound in the output."""
    writes_cache_1h: bool = False
    """It may write a cache for an hour. A five-minute cache can be written without a request for it."""
    searches: int = 0
    service_tier: str = ""
    """As requested. The provider may still serve the call in the base tier."""


def charge(usage: Usage, price: Price) -> NanoUsd | None:
    """Returns the cost of `usage`, rounded up once to whole nano-USD, or None when a part of it has no rate."""
    tiers = price.tiers_of(usage.service_tier)
    if tiers is None:
        return None
    tier = _reached(tiers, usage.input_tokens)
    pico_usd = 0
    for meter, count in usage.buckets.items():
        rate = tier.rate(meter)
        if rate is None:
            return None
        pico_usd += count * rate
    return NanoUsd(nano_from_pico(pico_usd) + price.request_nano_usd)


def charge_at_most(bounds: Bounds, price: Price) -> NanoUsd | None:
    """Returns the most that a call within `bounds` can cost, however its tokens fall into meters and tiers.

    None when something that it may need has no rate: output, sound, caching for an hour, searches, a service tier.
    Images and video need no bound of their own. With a rate, all input or output may be of that kind; without one,
    `charge` does not know their cost either.
    """
    reachable = _service_tiers_in_reach(bounds.service_tier, price)
    if reachable is None:
        return None
    most = 0
    for tiers in reachable:
        for tier in tiers:
            if tier.above_input_tokens and bounds.input_tokens <= tier.above_input_tokens:
                break
            cost = _most_in(tier, bounds)
            if cost is None:
                return None
            most = max(most, cost)
    return NanoUsd(nano_from_pico(most) + price.request_nano_usd)


def _most_in(tier: PriceTier, bounds: Bounds) -> int | None:
    """Returns the highest cost in pico-USD at the rates of one tier."""
    fresh, output, written, audio_input, audio_output, search = tier.dearest
    if bounds.writes_cache_1h:
        fresh = None if written is None or fresh is None else max(fresh, written)
    if output is None and not bounds.output_tokens:
        output = _ZERO
    if fresh is None or output is None:
        return None
    pico_usd = bounds.input_tokens * fresh + bounds.output_tokens * output
    # The cost of sound, or of a search, above the dearest text.
    for count, rate, instead_of in (
        (bounds.audio_input_tokens, audio_input, fresh),
        (bounds.audio_output_tokens, audio_output, output),
        (bounds.searches, search, 0),
    ):
        if count:
            if rate is None:
                return None
            pico_usd += count * max(0, rate - instead_of)
    return pico_usd


def _service_tiers_in_reach(asked: str, price: Price) -> Iterable[tuple[PriceTier, ...]] | None:
    if asked in BASE_SERVICE_TIERS:
        return (price.tiers,)
    if asked == ANY_SERVICE_TIER:
        return (price.tiers, *price.service_tiers.values())
    of_asked = price.tiers_of(asked)
    return None if of_asked is None else (price.tiers, of_asked)


def _reached(tiers: tuple[PriceTier, ...], input_tokens: int) -> PriceTier:
    """Returns the tier that a prompt of this size reaches."""
    reached = tiers[0]
    for tier in tiers[1:]:
        if input_tokens > tier.above_input_tokens:
            reached = tier
    return reached


def _with_fall_backs(rates: Mapping[str, PicoUsdPerToken]) -> Mapping[str, PicoUsdPerToken]:
    effective = dict(rates)
    for meter in METERS.values():
        name: str = meter.name
        while name and name not in rates:
            name = METERS[name].priced_as
        if name:
            effective[meter.name] = rates[name]
    return effective


def _dearest_of(effective: Mapping[str, PicoUsdPerToken], whole: Whole, asked: Asked) -> PicoUsdPerToken | None:
    names = [meter.name for meter in METERS.values() if (meter.whole, meter.asked) == (whole, asked)]
    known = [effective[name] for name in names if name in effective]
    complete = len(known) == len(names) or asked is Asked.ALWAYS
    return max(known) if known and complete else None


FREE = Price((PriceTier(0, {INPUT: _ZERO, OUTPUT: _ZERO}),))
"""The price of calls that no vendor charges for."""
