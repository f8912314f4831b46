"""The targets that can serve a model in a dialect, worked out once for each plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from services.kernel.dialect import Dialect
from services.kernel.price import Price
from services.quota.domain.routing.plan import Face, ModelPlan, PlannedTarget, PlanSnapshot, PriceSnapshot, Tier
from services.quota.domain.routing.target_facts import TargetFacts

Draw = Callable[[int], int]
"""Draws one of that many whole numbers, from 0."""


@dataclass(frozen=True, slots=True, eq=False)
class FitTarget:
    """A target that can carry calls in one dialect. The same object serves every call of one plan."""

    target: PlannedTarget
    face: Face
    facts: TargetFacts


@dataclass(frozen=True, slots=True)
class FitSlot:
    """The fit part of a place: at least one target."""

    targets: tuple[FitTarget, ...]
    weights: tuple[int, ...]
    """Of the targets, in the same order."""


@dataclass(frozen=True, slots=True)
class FitTier:
    """The fit part of a tier."""

    from_basis_points: int
    slots: tuple[FitSlot, ...]
    """No target is in two of them."""
    fixed: tuple[FitTarget, ...] | None
    """The chain when there is nothing to draw."""


@dataclass(frozen=True, slots=True)
class Route:
    """The tiers of one model for one dialect. Tiers without a fit target are left out."""

    tiers: tuple[FitTier, ...]
    priced_tiers: tuple[FitTier, ...]
    """Of targets with a price only."""
    providers_without_credential: tuple[str, ...]
    """See `ModelPlan`."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Plan and prices together, compiled once for each model and dialect that is asked for."""

    plan: PlanSnapshot
    prices: PriceSnapshot
    _compiled: dict[tuple[str, Dialect], Route] = field(default_factory=dict, compare=False, repr=False)

    @property
    def unpriced_targets(self) -> list[str]:
        """Targets of the plan that have no price, by name; none before there are prices."""
        return sorted(self.plan.targets.keys() - self.prices.prices.keys()) if self.prices.version else []

    def find(self, model: str, dialect: Dialect) -> Route | None:
        """The route of a model; None when the plan has no such model."""
        route = self._compiled.get((model, dialect))
        if route is None and (plan := self.plan.models.get(model)) is not None:
            route = compile_route(plan, self.plan.targets, self.prices.prices, dialect)
            self._compiled[model, dialect] = route
        return route


def compile_route(
    plan: ModelPlan, targets: Mapping[str, PlannedTarget], prices: Mapping[str, Price], dialect: Dialect
) -> Route:
    """Finds the targets of a model that are fit for a dialect."""
    fit: dict[str, FitTarget] = {}
    for tier in plan.tiers:
        for slot in tier.chain:
            for weighted in slot.targets:
                target = targets.get(weighted.target)
                face = next((face for face in target.faces if face.dialect is dialect), None) if target else None
                if target is not None and face is not None:
                    facts = TargetFacts.of(target, prices.get(target.name))
                    fit[target.name] = FitTarget(target, face, facts)
    priced = {name: target for name, target in fit.items() if target.facts.price is not None}
    return Route(_fit_tiers(plan.tiers, fit), _fit_tiers(plan.tiers, priced), plan.providers_without_credential)


def tier_at(tiers: Sequence[FitTier], used_basis_points: int) -> int:
    """Index of the tier with the highest threshold that is reached; the first when none is."""
    reached = 0
    for index, tier in enumerate(tiers):
        if tier.from_basis_points <= used_basis_points:
            reached = index
    return reached


def draw_chain(tier: FitTier, draw: Draw) -> tuple[FitTarget, ...]:
    """Puts the equals of each place in an order: one drawn by weight leads, the others follow as listed."""
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


def _fit_tiers(tiers: Sequence[Tier], fit: Mapping[str, FitTarget]) -> tuple[FitTier, ...]:
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
            found.append(FitTier(tier.from_basis_points, tuple(slots), fixed))
    return tuple(found)
