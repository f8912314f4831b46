"""Dialects: the protocols that clients and providers speak. `services/kernel/endpoint.py` has their paths."""

from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    """A protocol, named after the vendor that made it."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


class OutputCapField(StrEnum):
    """The field of a request that bounds its output. "outer.inner" is one level deeper."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"
    MAX_OUTPUT_TOKENS = "generationConfig.maxOutputTokens"
    OF_RESPONSE = "max_output_tokens"


class ThinkingForm(StrEnum):
    """How a request asks a model to think before it answers."""

    BUDGET = "budget"
    """By a number of tokens."""
    ADAPTIVE = "adaptive"
    """By a word, and the model decides how much."""
    EFFORT = "effort"
    """By a word, in OpenAI's dialect."""


class TranslationKey(StrEnum):
    """What the translators in `envoy/lua/translate` must know of a target, besides its model."""

    OUTPUT_BOUND = "output_bound"
    """number: the most tokens that the answer may have."""
    OUTPUT_CAP = "output_cap"
    """number: the most tokens that quota grants. Absent: it has no say."""
    OUTPUT_BOUND_NAME = "output_bound_name"
    """string: the field for it."""
    THINKING = "thinking"
    """string: a `ThinkingForm`, or "none"."""
    STRUCTURED = "structured"
    """string: how an answer gets its form: "native" (the request names it) or "tool" (the model must call a tool)."""
    SAMPLING = "sampling"
    """bool: it takes `temperature` and the like."""
    ASKS_FOR_USAGE = "asks_for_usage"
    """bool: its streams report usage only if they are asked."""


UNKNOWN_MEMBERS = "unknown_members"
"""Stands among what a face lacks: it carries only what the scan knows."""


class Feature(StrEnum):
    """A part of a request that not every target carries, or that changes what a call can cost, as the scan names it.

    The tables in `envoy/lua/dialect` say what makes a request have each of them.
    """

    TOOLS = "tools"
    """Tools that the client runs."""
    IMAGES = "images"
    AUDIO = "audio"
    VIDEO = "video"
    DOCUMENTS = "documents"
    """Files that a model reads like pages: PDF and the like, not plain text."""
    RESPONSE_FORMAT = "response_format"
    """The form of the answer is given, for example by a schema."""
    THINKING = "thinking"
    """How much the model shall think is said."""
    # These say how the input is bounded, stored or cached.
    FILES = "files"
    """Input that the bytes of the request do not bound."""
    CACHE_CONTROL = "cache_control"
    CACHE_1H = "cache_1h"
    STORED_INPUT = "stored_input"
    SERVER_TOOLS = "server_tools"
    # Only requests for responses have these.
    BACKGROUND = "background"
    """The answer is fetched later."""
    COMPACTION = "compaction"
    """The provider shortens the conversation by a call of its own."""
    CUSTOM_TOOLS = "custom_tools"
    """Tools that the client runs and that take something else than JSON."""


CAPABILITIES = frozenset(
    feature.value
    for feature in (
        Feature.TOOLS,
        Feature.IMAGES,
        Feature.AUDIO,
        Feature.VIDEO,
        Feature.DOCUMENTS,
        Feature.RESPONSE_FORMAT,
        Feature.THINKING,
    )
)
"""The names of the features that a model carries or lacks."""
