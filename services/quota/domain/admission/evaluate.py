"""The one judgement of a call: the targets that it gets and its holds in every limit, or the reason to refuse it.

It tries the tier that the budget has reached, and then each cheaper one before it refuses. It first leaves out targets
that cannot serve the call: those without a face in the client's dialect, those that lack what the call needs, those
without a price if an enforced spend limit applies, and those whose input has no bound if a limit counts tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from services.kernel.envoy_contract import LeadReason
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
    AttemptMost,
    expected_amounts,
    held_by_attempts,
    held_by_chain,
    is_boundable,
    most_of,
    output_cap,
    typical_amounts,
)
from services.quota.domain.admission.fitness import Fitness, LeftOut
from services.quota.domain.admission.limit_statuses import limit_statuses_of
from services.quota.domain.admission.output_range import largest_fitting, output_range_of
from services.quota.domain.admission.request_facts import Amounts, RequestFacts, Tokens
from services.quota.domain.admission.unfit import unfit
from services.quota.domain.counters.counter import Level
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit_status import LimitStatus
from services.quota.domain.routing.compile import FitTarget, FitTier, draw_chain, tier_at

# Refusals of a call that is too large, whatever is in flight.
_WITH_LESS_OUTPUT = {Denial.REQUEST_EXCEEDS_REMAINING_BUDGET, Denial.REQUEST_COST_LIMIT}


class Attempt(NamedTuple):
    """One attempt of a chain."""

    fit: FitTarget
    output_cap_tokens: int | None
    """The output bound to write into the request, because we reserved less than the client allows. None: leave the
    request as it is."""

    def output_bound(self, facts: RequestFacts) -> int:
        """The most output tokens of one choice that the attempt can take. `facts` are those of the original request."""
        return output_cap(facts, self.fit.facts) if self.output_cap_tokens is None else self.output_cap_tokens


@dataclass(frozen=True, slots=True)
class Admission:
    """The decision to let a call through."""

    tier: FitTier
    attempts: tuple[Attempt, ...]
    """The attempts in order; at least one."""
    facts: RequestFacts
    """The facts of the admitted call: with less output than it asks for, if it is cut."""
    cut: bool
    held: Amounts
    holds: Sequence[int]
    """What the call holds in each limit, in their order."""
    most: Tokens
    """The most tokens that any one attempt can take."""
    first: Tokens
    """The most tokens of the first attempt, if it is not cut."""
    limit_statuses: tuple[LimitStatus, ...]
    """The tightest enforced limit of each kind, including this call; the tightest of all comes first."""
    shadowed: tuple[Refusal, ...]
    """The refusals of limits in shadow mode."""
    lead_reason: LeadReason | None
    """Why another target leads than the model's first; None: it is the first."""
    left_out: tuple[LeftOut, ...]
    """The targets that cannot carry the call."""

    @property
    def output_cap_tokens(self) -> int | None:
        """The output tokens of each choice to which the call is cut; None: no cut."""
        return self.facts.max_output_tokens if self.cut else None


def tiers_from(tiers: Sequence[FitTier], limits: AppliedLimits, levels: Sequence[Level]) -> Sequence[FitTier]:
    """The tiers to try, in order: the one that the budget has reached, then the cheaper ones.

    A degrading threshold skips the first tier, if there is another.
    """
    if len(tiers) == 1:
        return tiers
    first = tier_at(tiers, budget_used_basis_points(limits.limits, levels))
    if is_degraded(limits.limits, levels):
        first = max(first, min(1, len(tiers) - 1))
    return tiers[first:]


def evaluate(case: Case, tiers: Sequence[FitTier], levels: Sequence[Level]) -> Admission | Deny:
    """Admits the call to the first tier, from the reached one on, for which every limit has room.

    If there is no room for a whole chain, the head of the chain is tried alone: near a limit, a call with one target is
    better than no call. If no tier has room for the ceilings, the same chains are tried with less output: as much as
    fits of the output range. If not even the least output fits, the denial is that of the last chain, because the
    cheapest chain shows best what would still pass.

    `levels` belong to the limits of the case, in the same order.
    """
    evaluation = _Evaluation(case, levels)
    refused: list[_Candidate] = []
    for tier in tiers_from(tiers, case.limits, levels):
        for lead in evaluation.leads(tier) if tier.probes else (tier,):
            for chain in evaluation.chains(lead):
                candidate = evaluation.with_ceilings(lead, chain)
                if candidate.decision.refusal is None:
                    return evaluation.admit(candidate)
                refused.append(candidate)
    if not refused:
        return unfit(case, tiers)
    candidate = evaluation.cut(refused)
    return evaluation.admit(candidate) if candidate.refusal is None else evaluation.deny(candidate, candidate.refusal)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A chain with the amounts that it would hold, and the decision of the limits."""

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

        It does not help against the limit on the cost of one call, which is a rule for the author of the call and not
        room that runs out. Nor does it help against a soft limit, in which a call holds its typical use whatever its
        bound.
        """
        refusal = self.refusal
        return refusal is None or not (refusal.denial is Denial.REQUEST_COST_LIMIT or refusal.limit.soft)

    @property
    def ceiling(self) -> int:
        """The most output tokens of one choice that any target of the chain writes."""
        return max(output_cap(self.facts, target.facts) for target in self.chain)


class _Evaluation:
    """The evaluation of one case at one moment."""

    __slots__ = ("_case", "_fitness", "_levels", "_limits", "_most")

    def __init__(self, case: Case, levels: Sequence[Level]) -> None:
        self._case = case
        self._limits = case.limits
        self._levels = levels
        self._most: dict[FitTarget, AttemptMost] = {}
        self._fitness = Fitness(case.facts)

    def leads(self, tier: FitTier) -> Sequence[FitTier]:
        """The tier, after the same with a slot in front that it is the call's turn to try."""
        case = self._case
        turn = None if case.probes is None else case.probes.turn(tier.probes, case.now_ms, case)
        return (tier,) if turn is None else (tier.probes[turn].tier, tier)

    def chains(self, tier: FitTier) -> Sequence[tuple[FitTarget, ...]]:
        """The chains of a tier that can serve the call: the whole chain, and then its head alone."""
        case = self._case
        chain = tier.fixed or draw_chain(tier, case.draw)
        chain = self._fitness.able(chain)
        if self._limits.holds_tokens and case.facts.reaches_beyond:
            chain = tuple([target for target in chain if is_boundable(case.facts, target.facts)])
        if self._limits.needs_price:
            chain = tuple([target for target in chain if self._most_of(target).cost_nano_usd is not None])
        self._fitness.note(tier, chain)
        if len(chain) > 1:
            return chain, chain[:1]
        return (chain,) if chain else ()

    def _most_of(self, target: FitTarget) -> AttemptMost:
        try:
            return self._most[target]
        except KeyError:
            most = self._most[target] = most_of(self._case.facts, target.facts)
            return most

    def with_ceilings(self, tier: FitTier, chain: tuple[FitTarget, ...]) -> _Candidate:
        """The candidate in which the chain may write as much as the call allows."""
        facts = self._case.facts
        held = held_by_attempts([self._most_of(target) for target in chain])
        if self._limits.has_soft:
            held = replace(held, typical=typical_amounts(facts, chain[0].facts, self._case.learned))
        return _Candidate(tier, chain, facts, False, held, decide(self._limits.limits, self._levels, held))

    def cut(self, refused: Sequence[_Candidate]) -> _Candidate:
        """The first of these with room for the least output, cut to the most that fits; else the last one."""
        cuttable = [each for each in refused if self._limits.holds_tokens and each.is_cuttable]
        if not cuttable:
            return refused[-1]
        wanted = output_range_of(self._case.facts, self._case.learned, contended=self._case.contended)
        for whole in cuttable:
            ceiling = whole.ceiling
            least, most = min(wanted.least, ceiling), min(wanted.most, ceiling)
            candidate = self._with_cap(whole, self._levels, least)
            if candidate.refusal is None:
                cap = largest_fitting(partial(self._fits, whole, self._levels), least + 1, most)
                return self._with_cap(whole, self._levels, cap)
        return candidate

    def admit(self, candidate: _Candidate) -> Admission:
        """The admission of a candidate for which every limit has room."""
        asked, held = self._case.facts, candidate.held
        capped = self._limits.holds_tokens
        attempts = [
            Attempt(target, _cap(target, candidate.facts, asked) if capped else None) for target in candidate.chain
        ]
        return Admission(
            tier=candidate.tier,
            attempts=tuple(attempts),
            facts=candidate.facts,
            cut=candidate.cut,
            held=held,
            holds=candidate.decision.holds,
            most=self._most_of_any(attempts),
            first=self._most[candidate.chain[0]].tokens,
            limit_statuses=limit_statuses_of(self._limits, self._levels, held.calls),
            shadowed=candidate.decision.shadowed,
            lead_reason=self._fitness.lead_reason(candidate.tier, candidate.chain[0]),
            left_out=self._fitness.left_out(candidate.tier, candidate.chain),
        )

    def _most_of_any(self, attempts: Sequence[Attempt]) -> Tokens:
        """The most tokens that any one of the attempts can take."""
        facts = self._case.facts
        if len(attempts) == 1 and attempts[0].output_cap_tokens is None and not facts.price_options:
            return self._most[attempts[0].fit].tokens
        input_tokens = output_tokens = 0
        for attempt in attempts:
            most = self._most[attempt.fit].tokens
            # An unknown member may be another bound of the output, above the cap.
            output = most.output if facts.unknown_members else attempt.output_bound(facts) * facts.choices
            input_tokens = max(input_tokens, most.input)
            output_tokens = max(output_tokens, output)
        return Tokens(input_tokens, output_tokens)

    def deny(self, candidate: _Candidate, refusal: Refusal) -> Deny:
        """The denial of a candidate, with all its figures."""
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
        """The output tokens of each choice that would fit if nothing were in flight; 0: none."""
        idle = [level._replace(reserved=0) for level in self._levels]
        return largest_fitting(partial(self._fits, candidate, idle), 1, candidate.ceiling)

    def _fits(self, whole: _Candidate, levels: Sequence[Level], cap: int) -> bool:
        return self._with_cap(whole, levels, cap).refusal is None

    def _with_cap(self, whole: _Candidate, levels: Sequence[Level], cap: int) -> _Candidate:
        """The same chain with less output. Its holds in soft limits stay the same."""
        facts = replace(whole.facts, max_output_tokens=cap)
        held = held_by_chain(facts, (target.facts for target in whole.chain))
        if whole.held.typical is not None:
            held = replace(held, typical=whole.held.typical)
        return _Candidate(whole.tier, whole.chain, facts, True, held, decide(self._limits.limits, levels, held))


def _cap(target: FitTarget, allowed: RequestFacts, asked: RequestFacts) -> int | None:
    cap = output_cap(allowed, target.facts)
    return None if asked.max_output_tokens == cap else cap
