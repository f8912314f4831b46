"""What an estimate needs to know about a target."""

from __future__ import annotations

from dataclasses import dataclass

from services.kernel.price import Price
from services.quota.domain.routing.plan import PlannedTarget

_IMAGE_TOKENS = 10_000


_DEAR_IMAGE_TOKENS = 48_169


_DEAR_IMAGE_MODELS = ("gpt-4o-mini",)


# For a target of which nobody knows better. It is written into the request, so that it holds.
OUTPUT_CEILING_WHEN_UNKNOWN = 32_768


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What an estimate needs to know about a target."""

    output_ceiling: int
    """Most output tokens of one choice. One that is not known is written into the request, so that it holds."""
    context_window: int
    """0 when unknown."""
    image_tokens: int
    price: Price | None
    """None: unpriced. Its spend is then unknown and held as 0, which only limits that refuse nothing allow."""
    longest_output: int = 0
    """Most output tokens of one choice whatever the request says; 0 when unknown."""

    @classmethod
    def of(cls, target: PlannedTarget, price: Price | None) -> TargetFacts:
        """Reads them off a planned target."""
        dear = target.upstream_model.startswith(_DEAR_IMAGE_MODELS)
        return cls(
            output_ceiling=target.max_output_tokens or OUTPUT_CEILING_WHEN_UNKNOWN,
            context_window=target.context_window_tokens,
            image_tokens=_DEAR_IMAGE_TOKENS if dear else _IMAGE_TOKENS,
            price=price,
            longest_output=target.max_output_tokens or target.context_window_tokens,
        )
