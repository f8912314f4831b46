"""Usage: how much a call took, by the provider's count.

Providers count differently. OpenAI and Gemini include cached tokens in the input they report, Anthropic reports them
separately. Here input always includes cached and cache-written tokens, output always includes reasoning, and `buckets`
gives the disjoint parts that are priced.

`METERS` has one row for each part that is counted separately. A new row is read, booked, priced and bounded without
other changes. Its price is a rate of the same name in `services.kernel.price`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import NamedTuple

MICRO = 1_000_000
"""Tokens per byte are counted in millionths."""


class UsageSource(StrEnum):
    """How the tokens of a call are known."""

    PROVIDER = "provider"
    """The provider reported them, explicit zeros included."""
    ESTIMATED = "estimated"
    """The provider did not report them, so they were estimated from bytes or taken as expected."""
    NONE = "none"
    """The call took nothing: no provider did any work for it."""


class Whole(Enum):
    """The total that a meter counts a part of."""

    INPUT = "input"
    OUTPUT = "output"
    NOTHING = "nothing"
    """None: the meter is a standalone count, besides the tokens."""


class Asked(Enum):
    """Which requests can add to a meter."""

    ALWAYS = "always"
    """Any request, or any request to a model whose price has a rate for it."""
    WITH_AUDIO = "with_audio"
    """Only a request that sends sound, or asks for it."""
    FOR_AN_HOUR = "for_an_hour"
    """Only a request that asks for caching that lasts an hour."""
    WITH_SEARCH = "with_search"
    """Only a request that lets the model search."""


class Meter(NamedTuple):
    """One row of the table."""

    name: str
    """Its name in usage, prices, ledger entries and the configuration file."""
    whole: Whole
    asked: Asked = Asked.ALWAYS
    priced_as: str = ""
    """The meter whose rate applies where a price has none for this one, as providers document it. Empty: no meter's
    does, and the cost of such a call is unknown."""


INPUT, OUTPUT = "input", "output"
CACHED_INPUT, CACHED_AUDIO_INPUT = "cached_input", "cached_audio_input"
CACHED_IMAGE_INPUT, CACHED_VIDEO_INPUT = "cached_image_input", "cached_video_input"
CACHE_WRITE_5M, CACHE_WRITE_1H = "cache_write_5m", "cache_write_1h"
AUDIO_INPUT, IMAGE_INPUT, VIDEO_INPUT, OTHER_INPUT = "audio_input", "image_input", "video_input", "other_input"
REASONING, AUDIO_OUTPUT, IMAGE_OUTPUT = "reasoning", "audio_output", "image_output"
VIDEO_OUTPUT, OTHER_OUTPUT = "video_output", "other_output"
WEB_SEARCH = "web_search"

# Meters count tokens, at pico-USD per token. Standalone counts have their own unit: searches, at pico-USD per search.
_ROWS = (
    # Text: whatever no other row counts.
    Meter(INPUT, Whole.INPUT),
    Meter(OUTPUT, Whole.OUTPUT),
    # A provider without a cache price reads and writes its cache at the input price.
    Meter(CACHED_INPUT, Whole.INPUT, priced_as=INPUT),
    Meter(CACHE_WRITE_5M, Whole.INPUT, priced_as=INPUT),
    Meter(CACHE_WRITE_1H, Whole.INPUT, Asked.FOR_AN_HOUR),
    Meter(AUDIO_INPUT, Whole.INPUT, Asked.WITH_AUDIO),
    Meter(CACHED_AUDIO_INPUT, Whole.INPUT, Asked.WITH_AUDIO, priced_as=AUDIO_INPUT),
    Meter(IMAGE_INPUT, Whole.INPUT),
    Meter(CACHED_IMAGE_INPUT, Whole.INPUT, priced_as=IMAGE_INPUT),
    Meter(VIDEO_INPUT, Whole.INPUT),
    Meter(CACHED_VIDEO_INPUT, Whole.INPUT, priced_as=VIDEO_INPUT),
    # A kind of content that the provider names and we do not know.
    Meter(OTHER_INPUT, Whole.INPUT),
    Meter(REASONING, Whole.OUTPUT, priced_as=OUTPUT),
    Meter(AUDIO_OUTPUT, Whole.OUTPUT, Asked.WITH_AUDIO),
    Meter(IMAGE_OUTPUT, Whole.OUTPUT),
    Meter(VIDEO_OUTPUT, Whole.OUTPUT),
    Meter(OTHER_OUTPUT, Whole.OUTPUT),
    Meter(WEB_SEARCH, Whole.NOTHING, Asked.WITH_SEARCH),
)
METERS: Mapping[str, Meter] = MappingProxyType({meter.name: meter for meter in _ROWS})

_CACHED = (CACHED_INPUT, CACHED_AUDIO_INPUT, CACHED_IMAGE_INPUT, CACHED_VIDEO_INPUT)
_INPUT_PARTS = frozenset(meter.name for meter in _ROWS if meter.whole is Whole.INPUT) - {INPUT}
_OUTPUT_PARTS = frozenset(meter.name for meter in _ROWS if meter.whole is Whole.OUTPUT) - {OUTPUT}
_COUNTS = frozenset(meter.name for meter in _ROWS if meter.whole is Whole.NOTHING)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call took. No count is negative.

    Raises:
        ValueError: a part is larger than its total, negative, or in no row of the table.
    """

    input_tokens: int = 0
    """All input, including cached and cache-written tokens."""
    output_tokens: int = 0
    """All output, including reasoning."""
    meters: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Parts of these by their name in `METERS`, each token in at most one, and the standalone counts. `input` and
    `output` are left out: they are the remainder. Zeros are left out too."""
    service_tier: str = ""
    """As the answer named it. Empty when it named none."""

    def __post_init__(self) -> None:
        if self.meters:
            object.__setattr__(self, "meters", _without_zeros(self.meters))
        if self.input_tokens < 0 or self.output_tokens < 0:
            raise ValueError(f"negative token count in {self!r}")
        if self._of(_INPUT_PARTS) > self.input_tokens:
            raise ValueError(f"the parts of the input exceed it in {self!r}")
        if self._of(_OUTPUT_PARTS) > self.output_tokens:
            raise ValueError(f"the parts of the output exceed it in {self!r}")

    @property
    def total_tokens(self) -> int:
        """Input plus output."""
        return self.input_tokens + self.output_tokens

    @property
    def cached_input_tokens(self) -> int:
        """Input read from the provider's cache, whatever its kind of content."""
        return sum(self.meters.get(name, 0) for name in _CACHED) if self.meters else 0

    @property
    def cache_write_5m_tokens(self) -> int:
        """Input written to the provider's cache for five minutes, or for an unstated time."""
        return self.meters.get(CACHE_WRITE_5M, 0)

    @property
    def cache_write_1h_tokens(self) -> int:
        """Input written to the provider's cache for an hour."""
        return self.meters.get(CACHE_WRITE_1H, 0)

    @property
    def reasoning_tokens(self) -> int:
        """Output that is reasoning, which the client may not see."""
        return self.meters.get(REASONING, 0)

    @property
    def buckets(self) -> dict[str, int]:
        """Returns the disjoint parts by meter, without zeros, and the standalone counts.

        The parts in tokens add up to `total_tokens`.
        """
        rest = (
            (INPUT, self.input_tokens - self._of(_INPUT_PARTS)),
            (OUTPUT, self.output_tokens - self._of(_OUTPUT_PARTS)),
        )
        return {**{name: count for name, count in rest if count}, **self.meters}

    def _of(self, names: frozenset[str]) -> int:
        return sum(count for name, count in self.meters.items() if name in names) if self.meters else 0


def add_up(usages: list[Usage]) -> Usage:
    """Adds up usages. The service tier is that of the first."""
    meters: dict[str, int] = {}
    for usage in usages:
        for name, count in usage.meters.items():
            meters[name] = meters.get(name, 0) + count
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        meters=meters,
        service_tier=usages[0].service_tier,
    )


def _without_zeros(meters: Mapping[str, int]) -> Mapping[str, int]:
    for name, count in meters.items():
        if name not in _INPUT_PARTS and name not in _OUTPUT_PARTS and name not in _COUNTS:
            raise ValueError(f"{name!r} is not a meter of a Usage")
        if count < 0:
            raise ValueError(f"a Usage has a negative count: {name} is {count}")
    return {name: count for name, count in meters.items() if count}


class Line(NamedTuple):
    """Estimates tokens from bytes of text: a fixed part for each call, and a part that grows with the text."""

    per_call: int
    """Tokens. May be negative, since not every counted byte is text."""
    per_byte_micro: int
    """Millionths of a token."""

    def tokens(self, text_bytes: int) -> int:
        """Returns the tokens of a text of this size, rounded up; at least 0."""
        return max(0, self.per_call - (-self.per_byte_micro * text_bytes // MICRO))


TOKEN_FOR_EACH_BYTE = Line(0, MICRO)
"""No tokenizer makes more tokens than a text has bytes."""
