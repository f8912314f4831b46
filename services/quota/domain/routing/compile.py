"""Finds the targets that can serve a model in a dialect, once for each plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.kernel.envoy_contract import LeadReason
from services.kernel.price import FREE, Price
from services.quota.domain.routing.plan import (
    ChainSlot,
    Face,
    ModelPlan,
    PlannedTarget,
    PlanSnapshot,
    PriceSnapshot,
    Tier,
)
from services.quota.domain.routing.target_facts import TargetFacts

Draw = Callable[[int], int]
"""Draws a random integer from 0 up to, and without, the given number."""


@dataclass(frozen=True, slots=True, eq=False)
class FitTarget:
    """A target that can serve calls of one operation in one dialect. All calls under one plan share the object."""

    target: PlannedTarget
    face: Face
    facts: TargetFacts
    lacks: frozenset[str] = frozenset()
    """The features that the model or the face does not carry."""


@dataclass(frozen=True, slots=True)
class FitSlot:
    """The fit targets of a slot; at least one."""

    targets: tuple[FitTarget, ...]
    weights: tuple[int, ...]
    """The weights of the targets, in the same order."""


@dataclass(frozen=True, slots=True)
class FitTier:
    """The fit targets of a tier."""

    from_basis_points: int
    slots: tuple[FitSlot, ...]
    """No target is in two slots."""
    fixed: tuple[FitTarget, ...] | None
    """The chain, if every slot has one target, so that there is nothing to draw; else None."""
    reason: LeadReason | None = None
    """Why the tier's first slot leads; None: it is the model's own."""
    probes: tuple[FitProbe, ...] = ()


@dataclass(frozen=True, slots=True)
class FitProbe:
    """A slot that single calls try first."""

    slot: tuple[str, ...]
    """The names of its targets."""
    every_ms: int
    tier: FitTier
    """The tier as those calls see it: with the slot in front."""


@dataclass(frozen=True, slots=True)
class Route:
    """The tiers of one model for one operation in one dialect. Tiers without a fit target are left out."""

    tiers: tuple[FitTier, ...]
    priced_tiers: tuple[FitTier, ...]
    """The tiers with only those targets that have a price."""
    providers_without_credential: tuple[str, ...]
    """See `ModelPlan`."""
    is_drained: bool = False
    """An operator has taken all of its targets out."""


@dataclass(frozen=True, slots=True)
class Routes:
    """The plan and the prices, compiled on demand once for each model, dialect, team with own tiers, and operation."""

    plan: PlanSnapshot
    prices: PriceSnapshot
    _compiled: dict[tuple[str, Dialect, str, Operation], Route] = field(default_factory=dict, compare=False, repr=False)

    @property
    def unpriced_targets(self) -> list[str]:
        """The names of the plan's targets without a price; empty before the first prices arrive."""
        return sorted(self.plan.targets.keys() - self.prices.prices.keys()) if self.prices.version else []

    def find(self, model: str, dialect: Dialect, team: str, operation: Operation = Operation.CHAT) -> Route | None:
        """The route of a model for calls of a team; None if the plan has no such model."""
        plan = self.plan.models.get(model)
        if plan is None:
            return None
        kind = (model, dialect, team if team in plan.of_teams else "", operation)
        route = self._compiled.get(kind)
        if route is None:
            of_team = replace(plan, tiers=plan.tiers_for(team))
            route = compile_route(of_team, self.plan.targets, self.prices.prices, dialect, operation)
            self._compiled[kind] = route
        return route


def compile_route(
    plan: ModelPlan,
    targets: Mapping[str, PlannedTarget],
    prices: Mapping[str, Price],
    dialect: Dialect,
    operation: Operation = Operation.CHAT,
) -> Route:
    """Finds the targets of a model that are fit for an operation in a dialect."""
    fit: dict[str, FitTarget] = {}
    for tier in plan.tiers:
        for slot in tier.chain:
            for weighted in slot.targets:
                target = targets.get(weighted.target)
                face = _face_of(target, dialect, operation) if target else None
                if target is not None and face is not None:
                    facts = TargetFacts.of(target, FREE if operation.is_free else prices.get(target.name))
                    fit[target.name] = FitTarget(target, face, facts, target.lacks | face.lacks)
    priced = {name: target for name, target in fit.items() if target.facts.price is not None}
    missing = plan.providers_without_credential
    is_drained = not plan.tiers and not missing
    return Route(_fit_tiers(plan.tiers, fit, fit), _fit_tiers(plan.tiers, priced, fit), missing, is_drained)


def _face_of(target: PlannedTarget, dialect: Dialect, operation: Operation) -> Face | None:
    faces = (face for face in target.faces if face.dialect is dialect and face.operation is operation)
    return next(faces, None)


def tier_at(tiers: Sequence[FitTier], used_basis_points: int) -> int:
    """The index of the last tier whose part of the budget is reached; 0 if none is."""
    reached = 0
    for index, tier in enumerate(tiers):
        if tier.from_basis_points <= used_basis_points:
            reached = index
    return reached


def draw_chain(tier: FitTier, draw: Draw) -> tuple[FitTarget, ...]:
    """Orders the targets of each slot: one drawn by weight leads, and the others follow as listed."""
    if tier.fixed is not None:
        return tier.fixed
    chain: list[FitTarget] = []
    for slot in tier.slots:
        leader = _leader(slot, draw)
        chain.append(leader)
        chain.extend(target for target in slot.targets if target is not leader)
    return tuple(chain)


def targets_of(tier: FitTier) -> Iterator[FitTarget]:
    """All targets of a tier."""
    for slot in tier.slots:
        yield from slot.targets


def _leader(slot: FitSlot, draw: Draw) -> FitTarget:
    if len(slot.targets) == 1:
        return slot.targets[0]
    number = draw(sum(slot.weights))
    reached = accumulate(slot.weights)
    return next(target for target, above in zip(slot.targets, reached, strict=True) if number < above)


def _fit_tiers(
    tiers: Sequence[Tier], fit: Mapping[str, FitTarget], speaking: Mapping[str, FitTarget]
) -> tuple[FitTier, ...]:
    """The tiers with only the targets in `fit`. `speaking`: all that have a face in the dialect, priced or not.

    If the first tiers drop out as a whole, the next one begins in their place.
    """
    found: list[FitTier] = []
    for tier in tiers:
        named: set[str] = set()
        slots: list[FitSlot] = []
        for slot in tier.chain:
            weights = {
                each.target: each.weight for each in slot.targets if each.target in fit and each.target not in named
            }
            named.update(weights)
            if weights:
                slots.append(FitSlot(tuple(fit[name] for name in weights), tuple(weights.values())))
        if slots:
            drawn = any(len(slot.targets) > 1 for slot in slots)
            fixed = None if drawn else tuple(slot.targets[0] for slot in slots)
            probes = tuple(_fit_probes(tier, fit))
            reason = tier.reason or _why_not(tier.chain[0], fit, speaking)
            fit_tier = FitTier(tier.from_basis_points, tuple(slots), fixed, reason, probes)
            if not found and tier.from_basis_points:
                found.append(replace(fit_tier, from_basis_points=0, reason=_why_not(tiers[0].chain[0], fit, speaking)))
            found.append(fit_tier)
    return tuple(found)


def _why_not(slot: ChainSlot, fit: Mapping[str, FitTarget], speaking: Mapping[str, FitTarget]) -> LeadReason | None:
    """Why no target of a slot is fit; None: one is."""
    names = [each.target for each in slot.targets]
    if any(name in fit for name in names):
        return None
    return LeadReason.UNPRICED if any(name in speaking for name in names) else LeadReason.UNFIT


def _fit_probes(tier: Tier, fit: Mapping[str, FitTarget]) -> Iterator[FitProbe]:
    for probe in tier.probes:
        names = tuple(each.target for each in probe.slot.targets)
        if any(name in fit for name in names):
            # Without a reason of its own: it leads as it would if it were well.
            probing = Tier(tier.from_basis_points, (probe.slot, *tier.chain))
            (seen, *_) = reversed(_fit_tiers([probing], fit, fit))
            yield FitProbe(names, probe.every_ms, seen)
