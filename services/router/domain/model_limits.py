"""How much well-known models can read and write in one call, as published by their vendors.

A call without a bound of its own reserves the model's bound on output. A ceiling that is too low would let a call cost
more than it reserved. Names match by their longest known prefix, so dated releases need no entry.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """Bounds of one model, in tokens."""

    max_output: int
    context_window: int
    """Input plus output of one call; 0 when unknown."""


UNKNOWN_MODEL = ModelLimits(max_output=8_192, context_window=0)

_KNOWN = {
    "gpt-4o": ModelLimits(16_384, 128_000),
    "gpt-4o-mini": ModelLimits(16_384, 128_000),
    "gpt-4.1": ModelLimits(32_768, 1_047_576),
    "gpt-5": ModelLimits(128_000, 400_000),
    "o1": ModelLimits(100_000, 200_000),
    "o3": ModelLimits(100_000, 200_000),
    "o4": ModelLimits(100_000, 200_000),
    "claude-sonnet-4": ModelLimits(64_000, 200_000),
    "claude-haiku-4-5": ModelLimits(64_000, 200_000),
    "claude-opus-4": ModelLimits(32_000, 200_000),
    "claude-3-5-haiku": ModelLimits(8_192, 200_000),
    "gemini-2.5-": ModelLimits(65_536, 1_048_576),
    "gemini-2.0-flash": ModelLimits(8_192, 1_048_576),
}
_BY_LENGTH = sorted(_KNOWN, key=len, reverse=True)


def limits_of(upstream_model: str) -> ModelLimits:
    """Returns the limits of a model by its name at the provider."""
    return next((_KNOWN[known] for known in _BY_LENGTH if upstream_model.startswith(known)), UNKNOWN_MODEL)
