"""The facts about a target that estimates need."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.price import Price
from services.quota.domain.routing.plan import PlannedTarget

_IMAGE_TOKENS = 10_000


_DEAR_IMAGE_TOKENS = 48_169


_DEAR_IMAGE_MODELS = ("gpt-4o-mini",)


# For a target whose ceiling is unknown. The gateway writes it into the request, so the provider enforces it.
OUTPUT_CEILING_WHEN_UNKNOWN = 32_768


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """The bounds and the price of a target, as estimates need them."""

    output_ceiling: int
    """The most output tokens of one choice. If it is unknown, the gateway writes a default into the request."""
    context_window: int
    """In tokens; 0 if unknown."""
    image_tokens: int
    price: Price | None
    """None: unpriced. Its spend is then unknown and held as 0; only limits that refuse nothing permit that."""
    longest_output: int = 0
    """The most output tokens of one choice, whatever the request says; 0 if unknown."""

    @classmethod
    def of(cls, target: PlannedTarget, price: Price | None) -> TargetFacts:
        """The facts of a planned target at this price."""
        dear = target.upstream_model.startswith(_DEAR_IMAGE_MODELS)
        return cls(
            output_ceiling=target.max_output_tokens or OUTPUT_CEILING_WHEN_UNKNOWN,
            context_window=target.context_window_tokens,
            image_tokens=_DEAR_IMAGE_TOKENS if dear else _IMAGE_TOKENS,
            price=price,
            longest_output=target.max_output_tokens or target.context_window_tokens,
        )
