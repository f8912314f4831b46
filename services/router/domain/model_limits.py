"""What well-known models read, write and carry in one call, as published by their vendors.

A call without a bound of its own reserves the model's bound on output. A ceiling that is too low would let a call cost
more than it reserved. A feature that a model lacks leads its calls elsewhere, so only what a vendor's documentation
rules out is listed. Names match by their longest known prefix, so dated releases need no entry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.kernel.dialect import Feature


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What one model can do."""

    max_output: int
    """In tokens."""
    context_window: int
    """Input plus output of one call in tokens; 0 when unknown."""
    lacks: frozenset[str] = frozenset()
    """The features of requests that it does not carry."""
    is_output_known: bool = True
    """False: `max_output` is only a bound that the gateway writes."""


UNKNOWN_MODEL = ModelLimits(max_output=8_192, context_window=0, is_output_known=False)

_SIGHT = frozenset({Feature.AUDIO, Feature.VIDEO})
"""Lacked by models that read text, images and documents."""
_TEXT = _SIGHT | {Feature.IMAGES, Feature.DOCUMENTS}
"""Lacked by models that read only text."""
_THINKING = frozenset({Feature.THINKING})

_KNOWN = {
    "gpt-4o": ModelLimits(16_384, 128_000, _SIGHT | _THINKING),
    "gpt-4o-audio": ModelLimits(16_384, 128_000, frozenset({Feature.VIDEO}) | _THINKING),
    "gpt-4o-mini": ModelLimits(16_384, 128_000, _SIGHT | _THINKING),
    "gpt-4o-mini-audio": ModelLimits(16_384, 128_000, frozenset({Feature.VIDEO}) | _THINKING),
    "gpt-4.1": ModelLimits(32_768, 1_047_576, _SIGHT | _THINKING),
    "gpt-5": ModelLimits(128_000, 400_000, _SIGHT),
    "o1": ModelLimits(100_000, 200_000, _SIGHT),
    "o3": ModelLimits(100_000, 200_000, _SIGHT),
    "o3-mini": ModelLimits(100_000, 200_000, _TEXT),
    "o4": ModelLimits(100_000, 200_000, _SIGHT),
    "claude-sonnet-4": ModelLimits(64_000, 200_000, _SIGHT),
    "claude-haiku-4-5": ModelLimits(64_000, 200_000, _SIGHT),
    "claude-opus-4": ModelLimits(32_000, 200_000, _SIGHT),
    "claude-3-5-haiku": ModelLimits(8_192, 200_000, _SIGHT | _THINKING),
    "gemini-2.5-": ModelLimits(65_536, 1_048_576),
    "gemini-2.0-flash": ModelLimits(8_192, 1_048_576, _THINKING),
    "deepseek-chat": replace(UNKNOWN_MODEL, lacks=_TEXT),
    "deepseek-reasoner": replace(UNKNOWN_MODEL, lacks=_TEXT),
}
_BY_LENGTH = sorted(_KNOWN, key=len, reverse=True)


def limits_of(upstream_model: str) -> ModelLimits:
    """Returns the limits of a model by its name at the provider."""
    return next((_KNOWN[known] for known in _BY_LENGTH if upstream_model.startswith(known)), UNKNOWN_MODEL)
