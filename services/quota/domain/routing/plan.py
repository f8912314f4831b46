"""The route plan from the router and the prices from the ledger, as quota last received them.

Both snapshots are immutable, and a new one replaces the old one as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.kernel.dialect import Dialect, ThinkingForm
from services.kernel.endpoint import Operation
from services.kernel.envoy_contract import LeadReason
from services.kernel.price import Price


@dataclass(frozen=True, slots=True)
class Translation:
    """What Envoy must know to translate calls to a target."""

    thinking: ThinkingForm | None
    """None: the model cannot be asked to think."""
    structured_by_tool: bool
    """Its answer gets a form by a tool that it must call."""
    takes_sampling: bool
    """It takes `temperature` and the like."""


@dataclass(frozen=True, slots=True)
class Face:
    """How to make calls of one operation to a target in one dialect."""

    dialect: Dialect
    cluster: str
    host: str
    path: str
    """For Gemini it contains "{model}", and for chats "{verb}"."""
    output_cap_field: str = ""
    """The field in which the gateway writes an output bound if the client allows more. Empty: it writes none."""
    usage_unasked: bool = False
    """Its streams report usage by themselves, and it refuses requests that ask for it."""
    lacks: frozenset[str] = frozenset()
    """The features that it does not carry, whatever the model carries; see `services.kernel.dialect`."""
    operation: Operation = Operation.CHAT
    translation: Translation | None = None
    """None: the provider speaks the dialect itself."""


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """A target: a provider and one of its models."""

    name: str
    """ "provider/model"."""
    upstream_model: str
    max_output_tokens: int
    """The most that it produces in one answer; 0 if unknown."""
    context_window_tokens: int
    """The most that it reads and writes in one call; 0 if unknown."""
    faces: tuple[Face, ...]
    catalogue_provider: str = ""
    """The vendor's name in the price catalogue; empty if the catalogue does not have it."""
    stops_on_disconnect: bool = False
    """The configuration says that the provider stops generating, and billing, when its client hangs up."""
    lacks: frozenset[str] = frozenset()
    """The features that the model does not carry."""
    is_output_known: bool = False
    """`max_output_tokens` is the model's own bound, not only one that the gateway writes."""


@dataclass(frozen=True, slots=True)
class WeightedTarget:
    """One of the targets of a slot."""

    target: str
    """A name among `PlanSnapshot.targets`."""
    weight: int = 1


@dataclass(frozen=True, slots=True)
class ChainSlot:
    """A position in a chain. For each call one target is drawn by weight, and the others follow."""

    targets: tuple[WeightedTarget, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """A slot that single calls try first."""

    slot: ChainSlot
    every_ms: int
    """At most one call in this time."""


@dataclass(frozen=True, slots=True)
class Tier:
    """The chain of a model for calls from one part of the budget on."""

    from_basis_points: int
    """The tier applies from this settled part of the tightest budget on."""
    chain: tuple[ChainSlot, ...]
    lead_reason: LeadReason | None = None
    """Why its first slot leads, if the router says so."""
    probes: tuple[Probe, ...] = ()
    """The slots that would lead if they were well, the first choice first."""

    @property
    def reason(self) -> LeadReason | None:
        """Why its first slot leads; None: it is the model's own. A tier of the budget needs no other reason."""
        return self.lead_reason or (LeadReason.BUDGET if self.from_basis_points else None)


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model as clients ask for it."""

    model: str
    tiers: tuple[Tier, ...]
    """Sorted by `from_basis_points`; the first has 0. Empty if no target is usable."""
    first_byte_timeout_ms: int = 0
    providers_without_credential: tuple[str, ...] = ()
    """The providers whose missing credentials leave the model without a usable target. Empty if there are tiers. If
    both are empty, an operator has taken all targets out."""
    of_teams: Mapping[str, tuple[Tier, ...]] = field(default_factory=dict)
    """The tiers for calls of teams that have their own, by team."""

    def tiers_for(self, team: str) -> tuple[Tier, ...]:
        """The tiers for calls of this team."""
        return self.of_teams.get(team, self.tiers)


@dataclass(frozen=True, slots=True)
class PlanSnapshot:
    """The whole plan."""

    version: str
    """Empty before the first plan."""
    models: Mapping[str, ModelPlan] = field(default_factory=dict)
    targets: Mapping[str, PlannedTarget] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Models by their other names."""


@dataclass(frozen=True, slots=True)
class PriceSnapshot:
    """The prices of the plan's targets. A target that is missing is unpriced, which is not free."""

    version: str
    """Empty before the first prices."""
    prices: Mapping[str, Price] = field(default_factory=dict)
