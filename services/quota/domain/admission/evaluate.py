"""The one judgement of a call: which targets it gets, what it holds of every limit, or why it may not go.

The tier that the budget has reached is tried first, and before a refusal each cheaper one. Targets that cannot carry
the call are left out before anything is compared: those without a face in the client's dialect, those without a price
where an enforced spend limit applies, and those whose input has no bound where tokens are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from services.kernel.dialect import Dialect
from services.quota.domain.admission.case import Case
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
from services.quota.domain.admission.limit_statuses import limit_statuses_of
from services.quota.domain.admission.output_range import largest_fitting, output_range_of
from services.quota.domain.admission.request_facts import Amounts, RequestFacts
from services.quota.domain.admission.unfit import unfit
from services.quota.domain.counters.counter import Level
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit_status import LimitStatus
from services.quota.domain.routing.compile import FitTarget, FitTier, Route, Routes, draw_chain, tier_at
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
class Admission:
    """A call that may go."""

    tier: FitTier
    attempts: tuple[Attempt, ...]
    """At least one, in order."""
    facts: RequestFacts
    """Of the call as it may go: with less output than it asks for where it is cut."""
    cut: bool
    held: Amounts
    limit_statuses: tuple[LimitStatus, ...]
    """The tightest enforced limit of each kind, this call included, the tightest of all first."""
    shadowed: tuple[Refusal, ...]
    """What limits in shadow mode would have refused."""

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


def evaluate(case: Case, tiers: Sequence[FitTier], levels: Sequence[Level]) -> Admission | Deny:
    """Admits the call to the first tier, from the reached one on, that every limit has room for.

    Where the whole chain has no room its head alone is tried: near the limit a call goes without a second target
    rather than not at all. When no tier has room for the ceilings, the same chains are tried with less output, as much
    as fits of what the call asks for. When not even the least of that fits, the refusal is that of the last chain: the
    cheapest says best what would still pass.

    `levels`: of the limits of the case, in the same order.
    """
    evaluation = _Evaluation(case, levels)
    refused: list[_Candidate] = []
    for tier in tiers_from(tiers, case.limits, levels):
        for chain in _chains(case, tier):
            candidate = evaluation.with_ceilings(tier, chain)
            if candidate.refusal is None:
                return evaluation.admit(candidate)
            refused.append(candidate)
    if not refused:
        return unfit(case, tiers)
    candidate = evaluation.cut(refused)
    return evaluation.admit(candidate) if candidate.refusal is None else evaluation.deny(candidate, candidate.refusal)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A chain with what it holds and what the limits say of it."""

    tier: FitTier
    chain: tuple[FitTarget, ...]
    facts: RequestFacts
    cut: bool
    held: Amounts
    decision: Decision

    @property
    def refusal(self) -> Refusal | None:
        return self.decision.refusal

    @property
    def is_cuttable(self) -> bool:
        """Whether less output may help.

        What one call may cost at most is a rule for whoever writes the call, not room that runs out: it is reported.
        Of a soft limit a call holds what it usually takes, whatever it is bounded to.
        """
        refusal = self.refusal
        return refusal is None or not (refusal.denial is Denial.REQUEST_COST_LIMIT or refusal.limit.soft)

    @property
    def ceiling(self) -> int:
        """The most output tokens of one choice that any of its targets writes."""
        return max(output_cap(self.facts, target.facts) for target in self.chain)


def _chains(case: Case, tier: FitTier) -> Iterator[tuple[FitTarget, ...]]:
    """What of a tier can carry the call: its chain, and then the head of the chain alone."""
    chain = draw_chain(tier, case.draw)
    if case.limits.holds_tokens:
        chain = tuple(target for target in chain if is_boundable(case.facts, target.facts))
    if case.limits.needs_price:
        chain = tuple(target for target in chain if is_priceable(case.facts, target.facts))
    if chain:
        yield chain
    if len(chain) > 1:
        yield chain[:1]


class _Evaluation:
    """One case at one moment."""

    __slots__ = ("_case", "_levels", "_limits")

    def __init__(self, case: Case, levels: Sequence[Level]) -> None:
        self._case = case
        self._limits = case.limits
        self._levels = levels

    def with_ceilings(self, tier: FitTier, chain: tuple[FitTarget, ...]) -> _Candidate:
        """A chain that may write as much as the call allows itself."""
        facts = self._case.facts
        held = held_by_chain(facts, tuple(target.facts for target in chain))
        if self._limits.has_soft:
            held = replace(held, typical=typical_amounts(facts, chain[0].facts, self._case.learned))
        return _Candidate(tier, chain, facts, False, held, decide(self._limits.limits, self._levels, held))

    def cut(self, refused: Sequence[_Candidate]) -> _Candidate:
        """The first of these that has room for the least output, with the most that fits; else the last one."""
        cuttable = [each for each in refused if self._limits.holds_tokens and each.is_cuttable]
        if not cuttable:
            return refused[-1]
        wanted = output_range_of(self._case.facts, self._case.learned, contended=self._case.contended)
        for whole in cuttable:
            ceiling = whole.ceiling
            candidate = self._with_cap(whole, self._levels, min(wanted.least, ceiling))
            if candidate.refusal is None:
                least, most = min(wanted.least, ceiling), min(wanted.most, ceiling)
                cap = largest_fitting(partial(self._fits, whole, self._levels), least + 1, most)
                return self._with_cap(whole, self._levels, cap)
        return candidate

    def admit(self, candidate: _Candidate) -> Admission:
        """The admission of a chain that every limit has room for."""
        asked, held = self._case.facts, candidate.held
        caps = (
            _cap(target, candidate.facts, asked) if self._limits.holds_tokens else None for target in candidate.chain
        )
        return Admission(
            tier=candidate.tier,
            attempts=tuple(map(Attempt, candidate.chain, caps)),
            facts=candidate.facts,
            cut=candidate.cut,
            held=held,
            limit_statuses=limit_statuses_of(self._limits, self._levels, held.calls),
            shadowed=candidate.decision.shadowed,
        )

    def deny(self, candidate: _Candidate, refusal: Refusal) -> Deny:
        """The refusal of a chain with all its figures."""
        case = self._case
        deny = deny_of(
            refusal,
            expected=expected_amounts(candidate.facts, candidate.chain[0].facts, case.learned),
            key=case.key.name,
            model=case.model,
            now_ms=case.now_ms,
            contention_wait_ms=case.contention_wait_ms,
        )
        affordable = 0
        if deny.denial in _WITH_LESS_OUTPUT and self._limits.holds_tokens:
            affordable = self._affordable_output(candidate)
        statuses = limit_statuses_of(self._limits, self._levels)
        return replace(deny, max_affordable_output_tokens=affordable, limit_statuses=statuses)

    def _affordable_output(self, candidate: _Candidate) -> int:
        """Output tokens of each choice that fit beside what is settled and in doubt, whatever is in flight; 0: none."""
        idle = [level._replace(reserved=0) for level in self._levels]
        return largest_fitting(partial(self._fits, candidate, idle), 1, candidate.ceiling)

    def _fits(self, whole: _Candidate, levels: Sequence[Level], cap: int) -> bool:
        return self._with_cap(whole, levels, cap).refusal is None

    def _with_cap(self, whole: _Candidate, levels: Sequence[Level], cap: int) -> _Candidate:
        """The same chain with less output. Of soft limits it holds what it held before."""
        facts = replace(whole.facts, max_output_tokens=cap)
        held = held_by_chain(facts, tuple(target.facts for target in whole.chain))
        if whole.held.typical is not None:
            held = replace(held, typical=whole.held.typical)
        return _Candidate(whole.tier, whole.chain, facts, True, held, decide(self._limits.limits, levels, held))


def _cap(target: FitTarget, allowed: RequestFacts, asked: RequestFacts) -> int | None:
    cap = output_cap(allowed, target.facts)
    return None if asked.max_output_tokens == cap else cap
