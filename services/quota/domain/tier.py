"""Which targets a call gets: the tier that its budget has reached, and before a refusal each cheaper one.

A tier is a chain of places, a place one target or several equals. Targets that cannot carry the call are left out
before anything is weighed: those without a face in the client's dialect, those without a price where an enforced
spend limit applies, and those whose input cannot be bounded where tokens are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate

from services.kernel.dialect import Dialect
from services.kernel.price import Price
from services.quota.domain.decision import (
    Decision,
    Refusal,
    budget_used_basis_points,
    decide,
    deny_of,
    is_degraded,
)
from services.quota.domain.denial import Denial, Deny
from services.quota.domain.directory import AppliedLimits
from services.quota.domain.estimate import (
    Amounts,
    RequestFacts,
    TargetFacts,
    Tokens,
    expected_amounts,
    held_by_chain,
    is_boundable,
    is_priceable,
    output_cap,
    usual_amounts,
)
from services.quota.domain.key import VirtualKey
from services.quota.domain.output_cap import Wish, largest_fitting
from services.quota.domain.plan import Face, ModelPlan, PlannedTarget, PlanSnapshot, PriceSnapshot, Tier
from services.quota.domain.reservation import Level

# Refusals of a call that is too large, whatever else is in flight.
_WITH_LESS_OUTPUT = {Denial.REQUEST_EXCEEDS_REMAINING_BUDGET, Denial.REQUEST_COST_LIMIT}

Draw = Callable[[int], int]
"""Draws one of that many whole numbers, from 0."""


@dataclass(frozen=True, slots=True, eq=False)
class FitTarget:
    """A target that can carry calls in one dialect. The same object serves every call of one plan."""

    target: PlannedTarget
    face: Face
    facts: TargetFacts


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a chain."""

    fit: FitTarget
    output_cap_tokens: int | None
    """Output bound to write into the request: what was reserved is less than the client allows itself. None: leave
    the request as it is."""

    def output_bound(self, facts: RequestFacts) -> int:
        """The most output tokens of one choice that the attempt can take. `facts`: as the client sent them."""
        return output_cap(facts, self.fit.facts) if self.output_cap_tokens is None else self.output_cap_tokens


@dataclass(frozen=True, slots=True)
class FitPlace:
    """The fit part of a place: at least one target."""

    targets: tuple[FitTarget, ...]
    weights: tuple[int, ...]
    """Of the targets, in the same order."""


@dataclass(frozen=True, slots=True)
class FitTier:
    """The fit part of a tier."""

    from_basis_points: int
    places: tuple[FitPlace, ...]
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


@dataclass(frozen=True, slots=True)
class Weighed:
    """A chain with what it holds and what the limits say of it."""

    tier: FitTier
    chain: tuple[FitTarget, ...]
    facts: RequestFacts
    """Of the call, with less output than it asks for where it is cut."""
    cut: bool
    held: Amounts
    decision: Decision

    @property
    def output_cap_tokens(self) -> int | None:
        """Output tokens of each choice to which the call is cut; None: it is not."""
        return self.facts.max_output_tokens if self.cut else None


def compile_route(
    plan: ModelPlan, targets: Mapping[str, PlannedTarget], prices: Mapping[str, Price], dialect: Dialect
) -> Route:
    """Finds the targets of a model that are fit for a dialect."""
    fit: dict[str, FitTarget] = {}
    for tier in plan.tiers:
        for place in tier.chain:
            for candidate in place.candidates:
                target = targets.get(candidate.target)
                face = next((face for face in target.faces if face.dialect is dialect), None) if target else None
                if target is not None and face is not None:
                    facts = TargetFacts.of(target, prices.get(target.name))
                    fit[target.name] = FitTarget(target, face, facts)
    priced = {name: target for name, target in fit.items() if target.facts.price is not None}
    return Route(_fit_tiers(plan.tiers, fit), _fit_tiers(plan.tiers, priced), plan.providers_without_credential)


def find_route(routes: Routes, key: VirtualKey, model: str, dialect: Dialect) -> Route | Deny:
    """The route of a model that the key may use; it has at least one tier."""
    route = routes.find(model, dialect)
    if not key.may_use(model):
        return Deny(Denial.MODEL_NOT_ALLOWED, model=model, key=key.name)
    if route is None:
        return Deny(Denial.MODEL_NOT_FOUND, model=model, key=key.name)
    if route.providers_without_credential:
        return Deny.without_credential(route.providers_without_credential, model=model, key=key.name)
    if not route.tiers:
        return Deny(Denial.NO_FIT_TARGET, f"no target of it speaks the {dialect} dialect", model=model, key=key.name)
    return route


def usable_tiers(
    route: Route, limits: AppliedLimits, prices: PriceSnapshot, *, key: VirtualKey, model: str
) -> Sequence[FitTier] | Deny:
    """The tiers of a route that these limits can judge; at least one."""
    if not limits.needs_price:
        return route.tiers
    if not prices.version:
        return Deny.unavailable("no prices have arrived yet")
    if not route.priced_tiers:
        return Deny(Denial.UNPRICED_MODEL, "none of its targets has a price", model=model, key=key.name)
    return route.priced_tiers


def tier_at(tiers: Sequence[FitTier], used_basis_points: int) -> int:
    """Index of the tier with the highest threshold that is reached; the first when none is."""
    reached = 0
    for index, tier in enumerate(tiers):
        if tier.from_basis_points <= used_basis_points:
            reached = index
    return reached


def tiers_from(tiers: Sequence[FitTier], limits: AppliedLimits, levels: Sequence[Level]) -> Sequence[FitTier]:
    """The tiers that may serve, in the order in which they are tried: the one that is reached, then cheaper ones.

    Where a threshold degrades, the first tier is left out, if there is another.
    """
    first = tier_at(tiers, budget_used_basis_points(limits.limits, levels))
    if is_degraded(limits.limits, levels):
        first = max(first, min(1, len(tiers) - 1))
    return tiers[first:]


def draw_chain(tier: FitTier, draw: Draw) -> tuple[FitTarget, ...]:
    """Puts the equals of each place in an order: one drawn by weight leads, the others follow as listed."""
    if tier.fixed is not None:
        return tier.fixed
    chain: list[FitTarget] = []
    for place in tier.places:
        leader = _leader(place, draw)
        chain.append(leader)
        chain.extend(target for target in place.targets if target is not leader)
    return tuple(chain)


def weigh(
    tiers: Sequence[FitTier],
    limits: AppliedLimits,
    levels: Sequence[Level],
    facts: RequestFacts,
    *,
    draw: Draw,
    wish: Callable[[], Wish],
    learnt: Tokens | None = None,
) -> Weighed | None:
    """The first tier from the reached one on that every limit has room for.

    Where the whole chain has no room its head alone is tried: near the limit a call goes without a second target
    rather than not at all. When no tier has room for the ceilings, the same chains are tried with less output, as much
    as fits of what the call wishes for. When not even the least of that fits, the last chain with its refusal: the
    cheapest says best what would still pass. None when no target can carry the call.
    """
    refused: list[Weighed] = []
    for tier in tiers_from(tiers, limits, levels):
        chain = draw_chain(tier, draw)
        if limits.holds_tokens:
            chain = tuple(target for target in chain if is_boundable(facts, target.facts))
        if limits.needs_price:
            chain = tuple(target for target in chain if is_priceable(facts, target.facts))
        if not chain:
            continue
        for attempts in (chain, chain[:1]) if len(chain) > 1 else (chain,):
            usual = usual_amounts(facts, attempts[0].facts, learnt) if limits.has_soft else None
            weighed = _weigh(tier, attempts, facts, limits, levels, usual=usual)
            if weighed.decision.refusal is None:
                return weighed
            refused.append(weighed)
    if not refused:
        return None
    cuttable = [each for each in refused if limits.holds_tokens and _is_cuttable(each)]
    return _weigh_cut(cuttable, limits, levels, wish()) if cuttable else refused[-1]


def refuse(
    weighed: Weighed,
    refusal: Refusal,
    limits: AppliedLimits,
    levels: Sequence[Level],
    *,
    learnt: Tokens | None,
    key: str,
    model: str,
    now_ms: int,
    contention_wait_ms: int,
) -> Deny:
    """The refusal of a chain with all its figures. `contention_wait_ms`: see `deny_of`."""
    deny = deny_of(
        refusal,
        expected=expected_amounts(weighed.facts, weighed.chain[0].facts, learnt),
        key=key,
        model=model,
        now_ms=now_ms,
        contention_wait_ms=contention_wait_ms,
    )
    if deny.denial not in _WITH_LESS_OUTPUT or not limits.holds_tokens:
        return deny
    return replace(deny, max_affordable_output_tokens=_affordable_output(weighed, limits, levels))


def attempts_of(weighed: Weighed, facts: RequestFacts, *, holds_tokens: bool) -> tuple[Attempt, ...]:
    """The attempts of a chain, each with the output bound that makes what was reserved hold.

    `facts`: of the call as the client sent it.
    """
    return tuple(
        Attempt(target, _cap(target, weighed.facts, facts) if holds_tokens else None) for target in weighed.chain
    )


def _weigh(
    tier: FitTier,
    chain: tuple[FitTarget, ...],
    facts: RequestFacts,
    limits: AppliedLimits,
    levels: Sequence[Level],
    *,
    usual: Amounts | None,
    cut: bool = False,
) -> Weighed:
    held = held_by_chain(facts, tuple(target.facts for target in chain))
    if usual is not None:
        held = replace(held, usual=usual)
    return Weighed(tier, chain, facts, cut, held, decide(limits.limits, levels, held))


def _is_cuttable(refused: Weighed) -> bool:
    """What one call may cost at most is a rule for whoever writes the call, not room that runs out: it is told.

    Of a soft limit a call holds what it usually takes, whatever it is bounded to.
    """
    refusal = refused.decision.refusal
    return refusal is None or not (refusal.denial is Denial.REQUEST_COST_LIMIT or refusal.limit.soft)


def _weigh_cut(refused: Sequence[Weighed], limits: AppliedLimits, levels: Sequence[Level], wish: Wish) -> Weighed:
    """The first of these chains that has room for the least output, with the most that fits; else the last one."""
    for whole in refused:
        ceiling = max(output_cap(whole.facts, target.facts) for target in whole.chain)
        least, most = min(wish.least, ceiling), min(wish.most, ceiling)
        weighed = _with_cap(whole, least, limits, levels)
        if weighed.decision.refusal is None:
            cap = largest_fitting(partial(_fits, whole, limits, levels), least + 1, most)
            return _with_cap(whole, cap, limits, levels)
    return weighed


def _with_cap(whole: Weighed, cap: int, limits: AppliedLimits, levels: Sequence[Level]) -> Weighed:
    facts = replace(whole.facts, max_output_tokens=cap)
    return _weigh(whole.tier, whole.chain, facts, limits, levels, usual=whole.held.usual, cut=True)


def _fits(whole: Weighed, limits: AppliedLimits, levels: Sequence[Level], cap: int) -> bool:
    return _with_cap(whole, cap, limits, levels).decision.refusal is None


def _affordable_output(weighed: Weighed, limits: AppliedLimits, levels: Sequence[Level]) -> int:
    """The output tokens of each choice that fit beside what is settled and in doubt, whatever is in flight; 0: none."""
    idle = [level._replace(reserved=0) for level in levels]
    most = max(output_cap(weighed.facts, target.facts) for target in weighed.chain)
    return largest_fitting(partial(_fits, weighed, limits, idle), 1, most)


def targets_of(tier: FitTier) -> Iterator[FitTarget]:
    """All targets of a tier."""
    for place in tier.places:
        yield from place.targets


def _leader(place: FitPlace, draw: Draw) -> FitTarget:
    if len(place.targets) == 1:
        return place.targets[0]
    number = draw(sum(place.weights))
    reached = accumulate(place.weights)
    return next(target for target, above in zip(place.targets, reached, strict=True) if number < above)


def _cap(target: FitTarget, allowed: RequestFacts, asked: RequestFacts) -> int | None:
    cap = output_cap(allowed, target.facts)
    return None if asked.max_output_tokens == cap else cap


def _fit_tiers(tiers: Sequence[Tier], fit: Mapping[str, FitTarget]) -> tuple[FitTier, ...]:
    found: list[FitTier] = []
    for tier in tiers:
        named: set[str] = set()
        places: list[FitPlace] = []
        for place in tier.chain:
            weights = {
                each.target: each.weight for each in place.candidates if each.target in fit and each.target not in named
            }
            named.update(weights)
            if weights:
                places.append(FitPlace(tuple(fit[name] for name in weights), tuple(weights.values())))
        if places:
            drawn = any(len(place.targets) > 1 for place in places)
            fixed = None if drawn else tuple(place.targets[0] for place in places)
            found.append(FitTier(tier.from_basis_points, tuple(places), fixed))
    return tuple(found)
