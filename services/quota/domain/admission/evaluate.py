"""Which targets a call gets: the tier that its budget has reached, and before a refusal each cheaper one.

A tier is a chain of places, a place one target or several equals. Targets that cannot carry the call are left out
before anything is weighed: those without a face in the client's dialect, those without a price where an enforced
spend limit applies, and those whose input cannot be bounded where tokens are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from services.kernel.dialect import Dialect
from services.quota.domain.admission.decision import (
    Decision,
    Refusal,
    budget_used_basis_points,
    decide,
    deny_of,
    is_degraded,
)
from services.quota.domain.admission.estimate import (
    expected_amounts,
    held_by_chain,
    is_boundable,
    is_priceable,
    output_cap,
    typical_amounts,
)
from services.quota.domain.admission.output_range import OutputRange, largest_fitting
from services.quota.domain.admission.request_facts import Amounts, RequestFacts, Tokens
from services.quota.domain.counters.counter import Level
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.routing.compile import Draw, FitTarget, FitTier, Route, Routes, draw_chain, tier_at
from services.quota.domain.routing.plan import PriceSnapshot

# Refusals of a call that is too large, whatever else is in flight.
_WITH_LESS_OUTPUT = {Denial.REQUEST_EXCEEDS_REMAINING_BUDGET, Denial.REQUEST_COST_LIMIT}


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
class Candidate:
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


def tiers_from(tiers: Sequence[FitTier], limits: AppliedLimits, levels: Sequence[Level]) -> Sequence[FitTier]:
    """The tiers that may serve, in the order in which they are tried: the one that is reached, then cheaper ones.

    Where a threshold degrades, the first tier is left out, if there is another.
    """
    first = tier_at(tiers, budget_used_basis_points(limits.limits, levels))
    if is_degraded(limits.limits, levels):
        first = max(first, min(1, len(tiers) - 1))
    return tiers[first:]


def evaluate(
    tiers: Sequence[FitTier],
    limits: AppliedLimits,
    levels: Sequence[Level],
    facts: RequestFacts,
    *,
    draw: Draw,
    output_range: Callable[[], OutputRange],
    learned: Tokens | None = None,
) -> Candidate | None:
    """The first tier from the reached one on that every limit has room for.

    Where the whole chain has no room its head alone is tried: near the limit a call goes without a second target
    rather than not at all. When no tier has room for the ceilings, the same chains are tried with less output, as much
    as fits of what the call wishes for. When not even the least of that fits, the last chain with its refusal: the
    cheapest says best what would still pass. None when no target can carry the call.
    """
    refused: list[Candidate] = []
    for tier in tiers_from(tiers, limits, levels):
        chain = draw_chain(tier, draw)
        if limits.holds_tokens:
            chain = tuple(target for target in chain if is_boundable(facts, target.facts))
        if limits.needs_price:
            chain = tuple(target for target in chain if is_priceable(facts, target.facts))
        if not chain:
            continue
        for attempts in (chain, chain[:1]) if len(chain) > 1 else (chain,):
            typical = typical_amounts(facts, attempts[0].facts, learned) if limits.has_soft else None
            candidate = _evaluate(tier, attempts, facts, limits, levels, typical=typical)
            if candidate.decision.refusal is None:
                return candidate
            refused.append(candidate)
    if not refused:
        return None
    cuttable = [each for each in refused if limits.holds_tokens and _is_cuttable(each)]
    return _evaluate_cut(cuttable, limits, levels, output_range()) if cuttable else refused[-1]


def refuse(
    candidate: Candidate,
    refusal: Refusal,
    limits: AppliedLimits,
    levels: Sequence[Level],
    *,
    learned: Tokens | None,
    key: str,
    model: str,
    now_ms: int,
    contention_wait_ms: int,
) -> Deny:
    """The refusal of a chain with all its figures. `contention_wait_ms`: see `deny_of`."""
    deny = deny_of(
        refusal,
        expected=expected_amounts(candidate.facts, candidate.chain[0].facts, learned),
        key=key,
        model=model,
        now_ms=now_ms,
        contention_wait_ms=contention_wait_ms,
    )
    if deny.denial not in _WITH_LESS_OUTPUT or not limits.holds_tokens:
        return deny
    return replace(deny, max_affordable_output_tokens=_affordable_output(candidate, limits, levels))


def attempts_of(candidate: Candidate, facts: RequestFacts, *, holds_tokens: bool) -> tuple[Attempt, ...]:
    """The attempts of a chain, each with the output bound that makes what was reserved hold.

    `facts`: of the call as the client sent it.
    """
    return tuple(
        Attempt(target, _cap(target, candidate.facts, facts) if holds_tokens else None) for target in candidate.chain
    )


def _evaluate(
    tier: FitTier,
    chain: tuple[FitTarget, ...],
    facts: RequestFacts,
    limits: AppliedLimits,
    levels: Sequence[Level],
    *,
    typical: Amounts | None,
    cut: bool = False,
) -> Candidate:
    held = held_by_chain(facts, tuple(target.facts for target in chain))
    if typical is not None:
        held = replace(held, typical=typical)
    return Candidate(tier, chain, facts, cut, held, decide(limits.limits, levels, held))


def _is_cuttable(refused: Candidate) -> bool:
    """What one call may cost at most is a rule for whoever writes the call, not room that runs out: it is told.

    Of a soft limit a call holds what it usually takes, whatever it is bounded to.
    """
    refusal = refused.decision.refusal
    return refusal is None or not (refusal.denial is Denial.REQUEST_COST_LIMIT or refusal.limit.soft)


def _evaluate_cut(
    refused: Sequence[Candidate], limits: AppliedLimits, levels: Sequence[Level], output_range: OutputRange
) -> Candidate:
    """The first of these chains that has room for the least output, with the most that fits; else the last one."""
    for whole in refused:
        ceiling = max(output_cap(whole.facts, target.facts) for target in whole.chain)
        least, most = min(output_range.least, ceiling), min(output_range.most, ceiling)
        candidate = _with_cap(whole, least, limits, levels)
        if candidate.decision.refusal is None:
            cap = largest_fitting(partial(_fits, whole, limits, levels), least + 1, most)
            return _with_cap(whole, cap, limits, levels)
    return candidate


def _with_cap(whole: Candidate, cap: int, limits: AppliedLimits, levels: Sequence[Level]) -> Candidate:
    facts = replace(whole.facts, max_output_tokens=cap)
    return _evaluate(whole.tier, whole.chain, facts, limits, levels, typical=whole.held.typical, cut=True)


def _fits(whole: Candidate, limits: AppliedLimits, levels: Sequence[Level], cap: int) -> bool:
    return _with_cap(whole, cap, limits, levels).decision.refusal is None


def _affordable_output(candidate: Candidate, limits: AppliedLimits, levels: Sequence[Level]) -> int:
    """The output tokens of each choice that fit beside what is settled and in doubt, whatever is in flight; 0: none."""
    idle = [level._replace(reserved=0) for level in levels]
    most = max(output_cap(candidate.facts, target.facts) for target in candidate.chain)
    return largest_fitting(partial(_fits, candidate, limits, idle), 1, most)


def _cap(target: FitTarget, allowed: RequestFacts, asked: RequestFacts) -> int | None:
    cap = output_cap(allowed, target.facts)
    return None if asked.max_output_tokens == cap else cap
