"""The route plan: the chain of each model at each tier of the budget, compiled ahead of traffic.

    targets: [a/large, b/large]            tier    0: a/large, b/large, a/small, c/other
    fallbacks:                             tier 7500: a/small, c/other
      - {to: a/small, budget_used: 75%}
      - {to: c/other}

At a budget tier the model's own targets leave the chain: they are too expensive. A chain never repeats a target.

If the slot that leads a tier is left because of its health, the fallback whose condition says so leads, and the slot
goes to the end of the chain. The tier names it as a probe.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from services.kernel.dialect import Dialect, OutputCapField
from services.kernel.endpoint import ENDPOINTS, Operation
from services.kernel.envoy_contract import LeadReason
from services.kernel.errors import InvalidInput
from services.kernel.names import split_target
from services.router.domain.health import Left, Watched
from services.router.domain.lead import ALL_WELL, Displaced, Probe, TargetStates, displaced_by
from services.router.domain.model import ChainSlot, Fallback, Model, WeightedTarget, names_of
from services.router.domain.model_forms import ModelForms, forms_of
from services.router.domain.provider import Provider, catalogue_provider, reachable_faces_of
from services.router.domain.translation import LACKS

ClusterNames = Mapping[tuple[str, str], str]
"""Name of the cluster by the names of provider and face."""


@dataclass(frozen=True, slots=True)
class Tier:
    """The chain of a model from one part of the budget on."""

    from_basis_points: int
    chain: tuple[ChainSlot, ...]
    """At least one slot."""
    reason: LeadReason | None = None
    """Why its first slot leads. None: it is the model's own."""
    probes: tuple[Probe, ...] = ()
    """The slots that would lead if they were well, the first choice first."""
    displaced: Displaced | None = None
    """The model's choice, if it does not lead."""


@dataclass(frozen=True, slots=True)
class TeamTiers:
    """The tiers of a model for the calls of one team."""

    team: str
    tiers: tuple[Tier, ...]
    """At least one."""


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One model."""

    model: str
    tiers: tuple[Tier, ...]
    """By rising threshold, starting at 0. None when no target is usable."""
    first_byte_timeout_ms: int
    providers_without_credential: tuple[str, ...] = ()
    """Providers whose missing credential leaves the model without a usable target, by name. Empty when there are
    tiers, and when all targets with a credential are drained."""
    aliases: tuple[str, ...] = ()
    """Other names that reach it."""
    of_teams: tuple[TeamTiers, ...] = ()
    """For teams whose calls have tiers of their own."""


@dataclass(frozen=True, slots=True)
class PlannedFace:
    """How quota directs an attempt of one operation to a target in one dialect."""

    dialect: Dialect
    cluster: str
    host: str
    path: str
    output_cap_field: OutputCapField | None
    """None: it takes no bound."""
    usage_unasked: bool = False
    """Its streams report usage by themselves, and it refuses requests that ask for it."""
    lacks: frozenset[str] = frozenset()
    """What it does not carry, whatever the model carries: names of features, and `UNKNOWN_MEMBERS`."""
    operation: Operation = Operation.CHAT
    translated_to: Dialect | None = None
    """The dialect of the provider, if calls in `dialect` are translated."""
    forms: ModelForms | None = None
    """What a translation must know of the model. None: nothing is translated."""


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
    lacks: frozenset[str] = frozenset()
    """The features of requests that the model does not carry."""
    is_output_known: bool = False
    """`max_output_tokens` is the model's own bound, not only one that the gateway writes."""


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


def cluster_name(provider: str, face: str) -> str:
    """Returns the default name of the cluster that reaches a provider by the face of this name."""
    return f"{provider}.{face}"


def compile_plan(
    models: Iterable[Model], usable: Collection[Provider], clusters: ClusterNames, states: TargetStates = ALL_WELL
) -> RoutePlan:
    """Returns the plan of checked models over the providers whose credentials are available."""
    providers = {provider.name: provider for provider in usable}
    ordered = sorted(models, key=lambda model: model.name)
    planned = tuple(compile_model(model, frozenset(providers), states) for model in ordered)
    names = {one.target for plan in planned for tier in plan.tiers for group in tier.chain for one in group.targets}
    return RoutePlan(planned, tuple(_planned_target(name, providers, clusters) for name in sorted(names)))


def compile_model(model: Model, usable_providers: frozenset[str], states: TargetStates = ALL_WELL) -> ModelPlan:
    """Returns the tiers of one model over these providers."""
    tiers = _tiers_of(model.for_team(""), usable_providers, states)
    of_teams = {team: _tiers_of(model.for_team(team), usable_providers, states) for team in model.teams}
    # Without a tier, whoever drained the targets wanted it so.
    missing = providers_of(model) - usable_providers
    return ModelPlan(
        model.name,
        tiers,
        model.first_byte_timeout_ms,
        () if tiers else tuple(sorted(missing)),
        model.aliases,
        tuple(TeamTiers(team, found) for team, found in of_teams.items() if found and found != tiers),
    )


def _tiers_of(model: Model, usable_providers: frozenset[str], states: TargetStates) -> tuple[Tier, ...]:
    conditions = [fallback.when for fallback in model.fallbacks]
    thresholds = {threshold for when in conditions if (threshold := when.budget_threshold) is not None}
    thresholds |= {when.health_threshold for when in conditions if when.health_terms}
    tiers: list[Tier] = []
    for threshold in sorted({0} | thresholds):
        # The base chain names every target. If it is empty, so are the others.
        tier = _tier_at(model, threshold, usable_providers, states)
        if tier.chain and (not tiers or tier.chain != tiers[-1].chain):
            tiers.append(tier)
    return tuple(tiers)


def _tier_at(model: Model, threshold: int, usable_providers: frozenset[str], states: TargetStates) -> Tier:
    """Returns the tier from `threshold` basis points of the budget on. Its chain may be empty."""

    def distinct(slots: Iterable[ChainSlot]) -> tuple[ChainSlot, ...]:
        return _distinct(slots, usable_providers, states.drained)

    bounds = [fallback.when.budget_threshold for fallback in model.fallbacks]
    is_of_budget = any(bound is not None and 0 < bound <= threshold for bound in bounds)
    tier = Tier(threshold, distinct(_chain_at(model, threshold)), LeadReason.BUDGET if is_of_budget else None)
    for fallback, bound in zip(model.fallbacks, bounds, strict=True):
        terms = fallback.when.health_terms
        by_budget = bound is not None and bound <= threshold
        if terms and tier.chain and not by_budget and fallback.when.health_threshold <= threshold:
            tier = _led_by_health(tier, fallback, distinct, states)
    # Last, so that a slot stays left while it takes no calls.
    within = _distinct(tier.chain, usable_providers, states.drained | states.out)
    if within and within != tier.chain:
        is_led = within[0] == tier.chain[0] or tier.reason is not None
        tier = replace(tier, chain=within, reason=tier.reason if is_led else LeadReason.ERRORS)
    if not tier.chain:
        return tier
    choice = _distinct(_chain_at(model, threshold), usable_providers, frozenset())[0]
    return replace(tier, displaced=displaced_by(choice, tier.chain[0], tier.probes, states))


def _led_by_health(
    tier: Tier,
    fallback: Fallback,
    distinct: Callable[[Iterable[ChainSlot]], tuple[ChainSlot, ...]],
    states: TargetStates,
) -> Tier:
    """Returns the tier with `fallback` in front, if the slot that leads without it is left because of its terms."""
    head, to = tier.chain[0], distinct(fallback.to)
    leading = [one.target for one in head.targets]
    leads_already = set(leading) <= {one.target for slot in to for one in slot.targets}
    if not to or leads_already:
        return tier
    watched = Watched(tuple(sorted(leading)), fallback.when.health_terms, fallback.when.all_terms)
    left = states.look(watched)
    if left is None:
        return tier
    tried = ChainSlot(tuple(one for one in head.targets if one.target not in states.out))
    chain = distinct([*to, *tier.chain[1:], head])
    return replace(tier, chain=chain, reason=left.reason, probes=(*tier.probes, Probe(head, left, tried)))


def providers_of(model: Model) -> frozenset[str]:
    """Returns the names of the providers of all targets of a checked model."""
    return frozenset(split_target("target", name)[0] for name in names_of(model))


def check_every_fallback_counts(field: str, model: Model) -> None:
    """Refuses a fallback that does not change the plan: whoever wrote it expects it to do something.

    Raises:
        InvalidInput: there is such a fallback.
    """
    whole = _chains_in_all_states(model)
    for at in range(len(model.fallbacks)):
        without = replace(model, fallbacks=model.fallbacks[:at] + model.fallbacks[at + 1 :])
        if _chains_in_all_states(without) == whole:
            raise InvalidInput(
                f"{field}.fallbacks[{at}].to",
                "this fallback adds nothing: its targets are in the chain already. Remove it or name other targets",
            )


def _chains_in_all_states(model: Model) -> list[ModelPlan]:
    """Returns the plans while all targets are well, and while none is."""
    left = Left(0, LeadReason.ERRORS, (), 0)
    everything = providers_of(model)
    return [compile_model(model, everything, states) for states in (ALL_WELL, TargetStates(look=lambda _: left))]


def _chain_at(model: Model, threshold: int) -> Iterable[ChainSlot]:
    """Yields the slots in order, with repetitions, when `threshold` basis points of the budget are settled."""
    leads = [(bound, fallback) for fallback in model.fallbacks if (bound := fallback.when.budget_threshold) is not None]
    reached = [(bound, fallback) for bound, fallback in leads if bound <= threshold]
    if not reached:
        # Highest quality first. A fallback whose condition does not hold still follows when an attempt fails.
        yield from model.targets
    for _, fallback in sorted(reached, key=lambda lead: -lead[0]):
        yield from fallback.to
    for fallback in model.fallbacks:
        yield from fallback.to


def _distinct(
    chain: Iterable[ChainSlot], usable_providers: frozenset[str], without: frozenset[str]
) -> tuple[ChainSlot, ...]:
    """Leaves out unusable and repeated targets, and then empty slots."""
    seen: set[str] = set()
    places = []
    for group in chain:
        kept: list[WeightedTarget] = []
        for one in group.targets:
            usable = one.target not in without and split_target("target", one.target)[0] in usable_providers
            if usable and one.target not in seen:
                seen.add(one.target)
                kept.append(one)
        if kept:
            places.append(ChainSlot(tuple(kept)))
    return tuple(places)


def _planned_target(name: str, providers: Mapping[str, Provider], clusters: ClusterNames) -> PlannedTarget:
    provider_name, upstream_model = split_target("target", name)
    provider = providers[provider_name]
    limits = provider.limits_of(upstream_model)
    faces = tuple(
        PlannedFace(
            dialect=face.dialect,
            cluster=clusters[provider_name, face.name],
            host=face.origin.host_header,
            path=face.path_of(row.operation),
            output_cap_field=face.output_cap_field if face.is_chat(row.operation) else row.output_cap_field,
            usage_unasked=face.usage_unasked,
            lacks=LACKS if face.translated_to else frozenset(),
            operation=row.operation,
            translated_to=face.translated_to,
            forms=forms_of(face.translated_to, upstream_model) if face.translated_to else None,
        )
        for face in reachable_faces_of(provider)
        for row in ENDPOINTS
        if row.dialect is face.dialect and row.operation in face.operations
    )
    return PlannedTarget(
        name,
        upstream_model,
        catalogue_provider(provider),
        limits.max_output,
        limits.context_window,
        faces,
        provider.stops_on_disconnect,
        limits.lacks,
        limits.is_output_known,
    )
