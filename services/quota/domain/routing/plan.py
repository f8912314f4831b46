"""Where calls may go and what targets cost, as quota last heard it from the router and the ledger.

Both pictures are immutable and are swapped whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.kernel.dialect import Dialect
from services.kernel.price import Price


@dataclass(frozen=True, slots=True)
class Face:
    """How to reach a target with one dialect."""

    dialect: Dialect
    cluster: str
    host: str
    path: str
    """For Gemini with "{model}" and "{verb}" in it."""
    output_cap_field: str = ""
    """Field in which an output bound is written when the client allows itself more. Empty: none is written."""


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """A provider's model."""

    name: str
    """ "provider/model"."""
    upstream_model: str
    max_output_tokens: int
    """Most that it produces in one answer; 0 when unknown."""
    context_window_tokens: int
    """Most that it reads and writes in one call; 0 when unknown."""
    faces: tuple[Face, ...]
    catalogue_provider: str = ""
    """Name by which the price catalogue knows the vendor; empty if none does."""
    stops_on_disconnect: bool = False
    """Its provider is declared to stop to generate, and to bill, when its client hangs up."""


@dataclass(frozen=True, slots=True)
class WeightedTarget:
    """One of the equals of a place."""

    target: str
    """A name among `PlanSnapshot.targets`."""
    weight: int = 1


@dataclass(frozen=True, slots=True)
class ChainSlot:
    """A place in a chain. One of its candidates is drawn by weight for each call, the others follow."""

    targets: tuple[WeightedTarget, ...]


@dataclass(frozen=True, slots=True)
class Tier:
    """The chain of a model from one part of the budget on."""

    from_basis_points: int
    """Applies from this settled part of the tightest budget on."""
    chain: tuple[ChainSlot, ...]


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model as clients ask for it."""

    model: str
    tiers: tuple[Tier, ...]
    """By rising `from_basis_points`; the first has 0. None when no target is usable."""
    first_byte_timeout_ms: int = 0
    providers_without_credential: tuple[str, ...] = ()
    """Who leaves the model without a usable target, by name. Empty when there are tiers."""


@dataclass(frozen=True, slots=True)
class PlanSnapshot:
    """The whole plan."""

    version: str
    """Empty before the first plan."""
    models: Mapping[str, ModelPlan] = field(default_factory=dict)
    targets: Mapping[str, PlannedTarget] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PriceSnapshot:
    """The prices of the plan's targets. A target that is missing is unpriced, which is not free."""

    version: str
    """Empty before the first prices."""
    prices: Mapping[str, Price] = field(default_factory=dict)
