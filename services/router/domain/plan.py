"""The route plan: the chain of each model at each tier of the budget, compiled ahead of traffic.

    targets: [a/large, b/large]            tier    0: a/large, b/large, a/small, c/other
    fallbacks:                             tier 7500: a/small, c/other
      - {to: a/small, budget_used: 75%}
      - {to: c/other}

At a budget tier the model's own targets leave the chain: they are too expensive. A chain never repeats a target.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from services.kernel.dialect import Dialect, OutputCapField
from services.kernel.errors import InvalidInput
from services.kernel.names import split_target
from services.router.domain.model import ChainSlot, Model, WeightedTarget
from services.router.domain.model_limits import limits_of
from services.router.domain.provider import Provider, catalogue_provider, faces_of

ClusterNames = Mapping[tuple[str, Dialect], str]
"""Name of the cluster by provider and dialect."""


@dataclass(frozen=True, slots=True)
class Tier:
    """The chain of a model from one part of the budget on."""

    from_basis_points: int
    chain: tuple[ChainSlot, ...]
    """At least one slot."""


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model."""

    model: str
    tiers: tuple[Tier, ...]
    """By rising threshold, starting at 0. None when no target is usable."""
    first_byte_timeout_ms: int
    providers_without_credential: tuple[str, ...] = ()
    """Providers whose missing credential leaves the model without a usable target, by name. Empty when there are
    tiers."""
    aliases: tuple[str, ...] = ()
    """Other names that reach it."""


@dataclass(frozen=True, slots=True)
class PlannedFace:
    """How quota directs an attempt to a target in one dialect."""

    dialect: Dialect
    cluster: str
    host: str
    path: str
    output_cap_field: OutputCapField


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """Facts about a target in some chain."""

    name: str
    upstream_model: str
    catalogue_provider: str
    max_output_tokens: int
    context_window_tokens: int
    faces: tuple[PlannedFace, ...]
    stops_on_disconnect: bool = False
    """Its provider is declared to stop generating, and billing, when its client hangs up."""


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Where all calls may go."""

    models: tuple[ModelPlan, ...]
    """By name."""
    targets: tuple[PlannedTarget, ...]
    """By name: exactly the targets in a chain."""

    @property
    def clusters(self) -> frozenset[str]:
        """The clusters that a request under this plan may be sent to."""
        return frozenset(face.cluster for target in self.targets for face in target.faces)


def cluster_name(provider: str, dialect: Dialect) -> str:
    """Returns the default name of the cluster that reaches a provider in a dialect."""
    return f"{provider}.{dialect}"


def compile_plan(models: Iterable[Model], usable: Collection[Provider], clusters: ClusterNames) -> RoutePlan:
    """Returns the plan of checked models over the providers whose credentials are available."""
    providers = {provider.name: provider for provider in usable}
    ordered = sorted(models, key=lambda model: model.name)
    planned = tuple(compile_model(model, frozenset(providers)) for model in ordered)
    names = {one.target for plan in planned for tier in plan.tiers for group in tier.chain for one in group.targets}
    return RoutePlan(planned, tuple(_planned_target(name, providers, clusters) for name in sorted(names)))


def compile_model(model: Model, usable_providers: frozenset[str]) -> ModelPlan:
    """Returns the tiers of one model over these providers."""
    thresholds = sorted(
        {threshold for fallback in model.fallbacks if (threshold := fallback.when.budget_threshold) is not None}
    )
    tiers: list[Tier] = []
    for threshold in [0, *thresholds]:
        # The base chain names every target. If it is empty, so are the others.
        chain = _distinct(_chain_at(model, threshold), usable_providers)
        if chain and (not tiers or chain != tiers[-1].chain):
            tiers.append(Tier(threshold, chain))
    without_credential = () if tiers else tuple(sorted(providers_of(model)))
    return ModelPlan(model.name, tuple(tiers), model.first_byte_timeout_ms, without_credential, model.aliases)


def providers_of(model: Model) -> frozenset[str]:
    """Returns the names of the providers of all targets of a checked model."""
    return frozenset(split_target("target", name)[0] for name in _names_of(model))


def check_every_fallback_counts(field: str, model: Model) -> None:
    """Refuses a fallback that does not change the plan: whoever wrote it expects it to do something.

    Raises:
        InvalidInput: there is such a fallback.
    """
    everything = providers_of(model)
    whole = compile_model(model, everything)
    for at in range(len(model.fallbacks)):
        others = model.fallbacks[:at] + model.fallbacks[at + 1 :]
        if compile_model(replace(model, fallbacks=others), everything) == whole:
            raise InvalidInput(
                f"{field}.fallbacks[{at}].to",
                "this fallback adds nothing: its targets are in the chain already. Remove it or name other targets",
            )


def _names_of(model: Model) -> Iterable[str]:
    groups = [*model.targets, *(group for fallback in model.fallbacks for group in fallback.to)]
    return (one.target for group in groups for one in group.targets)


def _chain_at(model: Model, threshold: int) -> Iterable[ChainSlot]:
    """Yields the slots in order, with repetitions, when `threshold` basis points of the budget are settled."""
    if threshold == 0:
        # Highest quality first. A fallback whose condition does not hold still follows when an attempt fails.
        yield from model.targets
        for fallback in model.fallbacks:
            yield from fallback.to
        return
    leads = [(bound, fallback) for fallback in model.fallbacks if (bound := fallback.when.budget_threshold) is not None]
    reached = [(bound, fallback) for bound, fallback in leads if bound <= threshold]
    for _, fallback in sorted(reached, key=lambda lead: -lead[0]):
        yield from fallback.to
    for fallback in model.fallbacks:
        yield from fallback.to


def _distinct(chain: Iterable[ChainSlot], usable_providers: frozenset[str]) -> tuple[ChainSlot, ...]:
    """Leaves out unusable and repeated targets, and then empty slots."""
    seen: set[str] = set()
    places = []
    for group in chain:
        kept: list[WeightedTarget] = []
        for one in group.targets:
            if one.target not in seen and split_target("target", one.target)[0] in usable_providers:
                seen.add(one.target)
                kept.append(one)
        if kept:
            places.append(ChainSlot(tuple(kept)))
    return tuple(places)


def _planned_target(name: str, providers: Mapping[str, Provider], clusters: ClusterNames) -> PlannedTarget:
    provider_name, upstream_model = split_target("target", name)
    provider = providers[provider_name]
    limits = limits_of(upstream_model)
    faces = tuple(
        PlannedFace(
            dialect=face.dialect,
            cluster=clusters[provider_name, face.dialect],
            host=face.origin.host_header,
            path=face.path,
            output_cap_field=face.output_cap_field,
        )
        for face in faces_of(provider)
    )
    return PlannedTarget(
        name,
        upstream_model,
        catalogue_provider(provider),
        limits.max_output,
        limits.context_window,
        faces,
        provider.stops_on_disconnect,
    )
