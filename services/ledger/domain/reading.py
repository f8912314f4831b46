"""The meter's reading of an answer, and the usage that it amounts to.

Source of the names: `services.kernel.spool_contract.UsageKey`. Providers break the input down twice: by kind (sound,
images) and by origin (a cache). Our meters are disjoint, so an overlap is subtracted from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.kernel import usage as meter
from services.kernel.spool_contract import SeenKey, UsageKey
from services.kernel.usage import Usage

# The kinds of usage that the meter counts exactly.
_MAX_COUNT = 2**53
_LONGEST_TEXT = 128
_SERVICE_TIERS = {
    # Names on Vertex, and those of Gemini's enumerations.
    "on_demand_priority": "priority",
    "on_demand_flex": "flex",
    "traffic_type_unspecified": "",
    "unspecified": "",
}
_ENUM_PREFIX = "service_tier_"
# Google bills these by the prompt that searched, and later models by the search. Source: its price page.
_BILLED_BY_PROMPT = ("gemini-1", "gemini-2")

# Modalities of the input: the figure for the prompt, for tools' prompts, for the cache, and the two meters.
_KINDS = (
    (
        UsageKey.INPUT_AUDIO_TOKENS,
        UsageKey.TOOL_INPUT_AUDIO_TOKENS,
        UsageKey.CACHED_AUDIO_TOKENS,
        meter.AUDIO_INPUT,
        meter.CACHED_AUDIO_INPUT,
    ),
    (
        UsageKey.INPUT_IMAGE_TOKENS,
        UsageKey.TOOL_INPUT_IMAGE_TOKENS,
        UsageKey.CACHED_IMAGE_TOKENS,
        meter.IMAGE_INPUT,
        meter.CACHED_IMAGE_INPUT,
    ),
    (
        UsageKey.INPUT_VIDEO_TOKENS,
        UsageKey.TOOL_INPUT_VIDEO_TOKENS,
        UsageKey.CACHED_VIDEO_TOKENS,
        meter.VIDEO_INPUT,
        meter.CACHED_VIDEO_INPUT,
    ),
)
_OUTPUT = {
    UsageKey.REASONING_TOKENS: meter.REASONING,
    UsageKey.OUTPUT_AUDIO_TOKENS: meter.AUDIO_OUTPUT,
    UsageKey.OUTPUT_IMAGE_TOKENS: meter.IMAGE_OUTPUT,
    UsageKey.OUTPUT_VIDEO_TOKENS: meter.VIDEO_OUTPUT,
}


class ReadingState(StrEnum):
    """How far the figures of an answer can be trusted."""

    NOTHING = ""
    """The answer was not read, or ended before any figure came."""
    WHOLE = "whole"
    """The figures are the provider's final ones."""
    OPEN = "open"
    """The answer ended early. The figures are the latest ones."""
    NONE = "none"
    """The answer was complete, and carried no usage."""
    ENCODED = "encoded"
    """The answer was compressed."""
    FAILED = "failed"
    """The meter broke. Figures beside this state may be old."""


_TEXTS = (UsageKey.METER, UsageKey.MODEL, UsageKey.SERVICE_TIER, UsageKey.FINISH, UsageKey.ERROR)
_FIGURES = frozenset(name.value for name in UsageKey if name not in _TEXTS and name is not UsageKey.SEEN)
_STATES = {state.value: state for state in ReadingState}


@dataclass(frozen=True, slots=True)
class Seen:
    """Evidence from a stream, as of the meter's last report."""

    events: int = 0
    content: int = 0
    """Events that carry some of the model's output."""
    text_bytes: int = 0
    """Bytes of that output, as written in JSON."""
    sent_bytes: int = 0
    """Bytes of the body that the client had been sent by then."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the meter read."""

    state: ReadingState = ReadingState.NOTHING
    figures: Mapping[str, int] = field(default_factory=dict)
    """Keyed by the names in `UsageKey`. A figure that the provider did not send is absent."""
    model: str = ""
    """As the answer names it."""
    service_tier: str = ""
    """As the answer names it, in lower case. Empty when it names none."""
    finish: str = ""
    """Why the answer ended, in the dialect's word."""
    error: str = ""
    """The kind of error that the answer reports."""
    seen: Seen = Seen()

    @property
    def input_tokens(self) -> int | None:
        """All input; None when the provider did not report it."""
        return self.figures.get(UsageKey.INPUT_TOKENS)

    @property
    def output_tokens(self) -> int | None:
        """All output reported so far; None when the provider reported none."""
        return self.figures.get(UsageKey.OUTPUT_TOKENS)

    @property
    def is_open(self) -> bool:
        """Whether figures came and more were due."""
        return self.state is ReadingState.OPEN

    @property
    def usage(self) -> Usage | None:
        """The provider's own count. None unless it is final."""
        if self.state is not ReadingState.WHOLE or (self.input_tokens is None and self.output_tokens is None):
            return None
        return self.usage_of(self.input_tokens or 0, self.output_tokens or 0)

    def usage_of(self, input_tokens: int, output_tokens: int) -> Usage:
        """Combines these totals with the reported parts. A total below the sum of its parts did not include them."""
        inputs = _input_parts(self.figures, input_tokens)
        of_input = sum(inputs.values())
        outputs = {name: self.figures.get(figure, 0) for figure, name in _OUTPUT.items()}
        outputs[meter.OTHER_OUTPUT] = self._sum(UsageKey.OUTPUT_OTHER_TOKENS, UsageKey.OUTPUT_DOCUMENT_TOKENS)
        of_output = sum(outputs.values())
        return Usage(
            input_tokens if input_tokens >= of_input else input_tokens + of_input,
            output_tokens if output_tokens >= of_output else output_tokens + of_output,
            {**inputs, **outputs, meter.WEB_SEARCH: self._searches},
            self.service_tier,
        )

    @property
    def _searches(self) -> int:
        searches = self.figures.get(UsageKey.WEB_SEARCHES, 0)
        return min(searches, 1) if self.model.startswith(_BILLED_BY_PROMPT) else searches

    def _sum(self, *names: str) -> int:
        return sum(self.figures.get(name, 0) for name in names)


NOTHING_READ = Reading()


def read_answer(published: Mapping[str, object]) -> Reading:
    """Parses the reading that the meter published. Ignores values that the meter cannot have published."""
    state = published.get(UsageKey.METER)
    seen = published.get(UsageKey.SEEN)
    return Reading(
        state=_STATES.get(state, ReadingState.NOTHING) if isinstance(state, str) else ReadingState.NOTHING,
        figures={
            name: count for name in published if name in _FIGURES and (count := _count(published, name)) is not None
        },
        model=_text(published, UsageKey.MODEL),
        service_tier=service_tier_of(_text(published, UsageKey.SERVICE_TIER)),
        finish=_text(published, UsageKey.FINISH),
        error=_text(published, UsageKey.ERROR),
        seen=_seen(seen) if isinstance(seen, Mapping) else Seen(),
    )


def service_tier_of(word: str) -> str:
    """Returns a service tier under the name that prices use for it."""
    name = word.lower().removeprefix(_ENUM_PREFIX)
    return _SERVICE_TIERS.get(name, name)


def _input_parts(figures: Mapping[str, int], input_tokens: int) -> dict[str, int]:
    """Splits the input into disjoint parts, by meter."""
    cached, parts = figures.get(UsageKey.CACHED_TOKENS, 0), {}
    for of_prompt, of_tools, from_cache, fresh, stored in _KINDS:
        count = figures.get(of_prompt, 0) + figures.get(of_tools, 0)
        parts[stored] = min(figures.get(from_cache, 0), count)
        parts[fresh] = count - parts[stored]
        cached = max(cached - parts[stored], 0)
    # Google bills a page of a document as an image.
    parts[meter.IMAGE_INPUT] += sum(
        figures.get(name, 0) for name in (UsageKey.INPUT_DOCUMENT_TOKENS, UsageKey.TOOL_INPUT_DOCUMENT_TOKENS)
    )
    parts[meter.OTHER_INPUT] = sum(
        figures.get(name, 0) for name in (UsageKey.INPUT_OTHER_TOKENS, UsageKey.TOOL_INPUT_OTHER_TOKENS)
    )
    written_1h = figures.get(UsageKey.CACHE_WRITE_1H_TOKENS, 0)
    parts[meter.CACHE_WRITE_1H] = written_1h
    parts[meter.CACHE_WRITE_5M] = max(figures.get(UsageKey.CACHE_WRITE_TOKENS, 0) - written_1h, 0)
    parts[meter.CACHED_INPUT] = cached
    # Where the parts exceed the total, cached tokens belong to those modalities, though no provider says so. Where the
    # total has room for both, they count as separate, which never costs less.
    for _, _, _, fresh, stored in _KINDS:
        both = min(max(sum(parts.values()) - input_tokens, 0), parts[fresh], parts[meter.CACHED_INPUT])
        parts[fresh] -= both
        parts[meter.CACHED_INPUT] -= both
        parts[stored] += both
    return parts


def _count(published: Mapping[str, object], name: str) -> int | None:
    value = published[name]
    return value if type(value) is int and 0 <= value < _MAX_COUNT else None


def _text(published: Mapping[str, object], name: str) -> str:
    value = published.get(name)
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _seen(published: Mapping[str, object]) -> Seen:
    events, content, text, sent = (_count(published, name) or 0 if name in published else 0 for name in SeenKey)
    return Seen(events, content, text, sent)
