"""Explains what would happen to a call of a key for a model, and why. It reserves nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from services.kernel.clock import Clock
from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import LeadReason
from services.kernel.limit_kind import LimitKind
from services.kernel.names import no_such
from services.kernel.price import Price
from services.quota.domain.admission.case import Case
from services.quota.domain.admission.decision import used_basis_points
from services.quota.domain.admission.evaluate import Admission, evaluate
from services.quota.domain.admission.fitness import lacking_in_words
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.admission.terms import find_route, usable_tiers
from services.quota.domain.counters.counter import Level
from services.quota.domain.directory.applied_limits import AppliedLimit, AppliedLimits
from services.quota.domain.directory.bounded import refuse_unbounded
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.denial import Denial, Deny, denial_of
from services.quota.domain.policies.limit_id import holds_most
from services.quota.domain.policies.lint import why_not
from services.quota.domain.policies.scope import policies_for
from services.quota.domain.routing.compile import FitTier
from services.quota.domain.routing.naming import find_model
from services.quota.domain.routing.plan import Tier
from services.quota.ports.counters import Counters
from services.quota.usecases.live import Live, Snapshot
from services.quota.usecases.recent_calls import RecentCalls

_MAX_OTHERS = 100
_ASSUMED = RequestFacts(body_bytes=1_000, max_output_tokens=1_000)


@dataclass(frozen=True, slots=True)
class ExplainedLimit:
    """A limit that applies to the call."""

    policy: str
    kind: LimitKind
    used_basis_points: int
    """The part of the limit that is settled, reserved or in doubt."""
    binding: bool
    """It is the limit that refuses or downgrades the call, or else the tightest."""
    soft: bool
    """The limit is soft: calls in flight can exceed it if they take more than is typical."""
    bound: int
    """In nano-USD for spend, else in tokens or requests."""
    overridden_until_ms: int
    """When the override that sets the bound ends; 0: the bound is the policy's own."""
    doubt: int = 0
    """What unmeasured calls may have taken beyond their settled amounts, in the unit of the bound."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen to the call, and why."""

    deny: Deny | None
    downgraded: bool
    reason: str
    """The reason, as a sentence."""
    target: str
    """The first target, "provider/model"; empty if the call is refused."""
    limits: tuple[ExplainedLimit, ...]
    """The limits that apply, tightest first."""
    others: tuple[tuple[str, str], ...] = ()
    """The policies that do not apply to the call, by name, each with the reason as a clause."""
    on_store_failure: str = ""
    """What would happen to the call while the counter store fails, as a sentence."""
    on_unmeasured: str = ""
    """What the limits would keep if nobody measured the call, as a sentence."""
    on_unknown_members: str = ""
    """What would happen to the call if it had unknown members, as a sentence."""


class Explain:
    """Answers as `Admit` would, in the first dialect that reaches the model."""

    def __init__(
        self,
        *,
        live: Live,
        counters: Counters,
        recent: RecentCalls,
        clock: Clock,
    ) -> None:
        self._live = live
        self._counters = counters
        self._recent = recent
        self._clock = clock

    def __call__(self, key: str, model: str, *, facts: RequestFacts = _ASSUMED, team: str = "") -> Explanation:
        """Judges a hypothetical call of the named key.

        `team`: the only team whose keys the caller may know of; empty: all teams.

        Raises:
            NotFound: no such key.
            Unavailable: the counters cannot be read.
        """
        snapshot = self._live.snapshot
        model = find_model(snapshot.routes.plan, model)
        found = snapshot.directory.key_named(key, team)
        now_ms = self._clock.now_ms()
        limits = snapshot.directory.limits_for(found.attribution, model, now_ms)
        recent = self._recent.case(found, model, facts, limits, now_ms=now_ms, draw=lambda _: 0)
        # An explanation takes no turn from a call.
        case = replace(recent, probes=None)
        return replace(
            self._explain(snapshot, case),
            others=_others(snapshot, found, model),
            on_store_failure=_on_store_failure(limits),
            on_unknown_members=_on_unknown_members(limits),
            on_unmeasured=_on_unmeasured(limits),
        )

    def _explain(self, snapshot: Snapshot, case: Case) -> Explanation:
        limits = case.limits
        levels = limits.fold(self._counters.levels(limits.counters))
        outcome = self._outcome(snapshot, case, levels)
        if isinstance(outcome, Deny):
            return _denied(outcome, limits, levels)
        return _allowed(outcome, limits, levels, _passed_over(snapshot, case, outcome))

    def _outcome(self, snapshot: Snapshot, case: Case, levels: Sequence[Level]) -> Admission | Deny:
        if not snapshot.routes.plan.version:
            return Deny.unavailable("no route plan has arrived yet")
        denial = denial_of(case.key.state_at(case.now_ms))
        if denial is not None:
            return Deny(denial, model=case.model, key=case.key.name)
        tiers = self._tiers(snapshot, case.key, case.limits, case.model)
        return tiers if isinstance(tiers, Deny) else evaluate(case, tiers, levels)

    def _tiers(
        self, snapshot: Snapshot, key: VirtualKey, limits: AppliedLimits, model: str
    ) -> Sequence[FitTier] | Deny:
        routes = [find_route(snapshot.routes, key, model, dialect) for dialect in Dialect]
        route = next((route for route in routes if not isinstance(route, Deny)), routes[0])
        if isinstance(route, Deny):
            return _with_suggestion(route, snapshot, key, model)
        unbounded = refuse_unbounded(key, limits, model)
        if unbounded is not None:
            return unbounded
        return usable_tiers(route, limits, snapshot.routes.prices, key=key, model=model)


def _with_suggestion(deny: Deny, snapshot: Snapshot, key: VirtualKey, model: str) -> Deny:
    """Adds the model that was probably meant, for administrators. Clients get no hint: they can ask for the list."""
    if deny.denial is not Denial.MODEL_NOT_FOUND:
        return deny
    return replace(deny, detail=no_such("model", model, filter(key.may_use, snapshot.routes.plan.models)))


def _passed_over(snapshot: Snapshot, case: Case, admission: Admission) -> str:
    """A sentence about targets that would lead the tier but have no price; empty if there are none."""
    if not case.limits.needs_price:
        return ""
    prices, serves_from = snapshot.routes.prices.prices, admission.tier.from_basis_points
    unpriced = [
        weighted.target
        for tier in snapshot.routes.plan.models[case.model].tiers_for(case.key.attribution.team)
        for weighted in tier.chain[0].targets
        if weighted.target not in prices
        # A tier without any price drops out as a whole, and a cheaper one serves.
        and (
            tier.from_basis_points == serves_from
            or (tier.from_basis_points < serves_from and not _has_price(tier, prices))
        )
    ]
    return f" Skipped because they have no price: {', '.join(dict.fromkeys(unpriced))}." if unpriced else ""


def _has_price(tier: Tier, prices: Mapping[str, Price]) -> bool:
    return any(weighted.target in prices for slot in tier.chain for weighted in slot.targets)


def _others(snapshot: Snapshot, key: VirtualKey, model: str) -> tuple[tuple[str, str], ...]:
    policies = snapshot.directory.directory.policies
    applying = {policy.name for policy, _ in policies_for(policies, key.attribution, model)}
    found = (
        (
            policy.name,
            why_not(policy, key.attribution, model) or "it is a default policy, and another policy binds the call",
        )
        for policy in policies
        if policy.name not in applying
    )
    return tuple(islice(found, _MAX_OTHERS))


def _on_store_failure(limits: AppliedLimits) -> str:
    if not limits.allowances:
        return "If the counter store fails, quota refuses the call."
    policies = " and ".join(allowance.policy for allowance in limits.allowances)
    return f"If the counter store fails, today's allowance of policy {policies} pays the most that the call can cost."


def _on_unknown_members(limits: AppliedLimits) -> str:
    if limits.refuses_unknown_members is not None:
        policy, _ = limits.refuses_unknown_members
        return f"If the call has unknown members, policy {policy} refuses it."
    if limits.holds_tokens:
        return "If the call has unknown members, it holds the context window of its target."
    return "Unknown members change nothing for the call: no hard limit counts its size."


def _on_unmeasured(limits: AppliedLimits) -> str:
    counting = [limit for limit in limits.limits if limit.enforced and holds_most(limit.counter.limit_id)]
    keeping = dict.fromkeys(limit.counter.policy for limit in counting if not limit.estimates_unmeasured)
    if keeping:
        names = " and ".join(keeping)
        return f"If nobody measures the call, the most that it can have taken stays reserved by policy {names}."
    if counting:
        return "If nobody measures the call, only the estimate of what it took counts."
    return "If nobody measures the call, nothing stays reserved: no hard limit counts its size."


def _denied(deny: Deny, limits: AppliedLimits, levels: Sequence[Level]) -> Explanation:
    def binds(limit: AppliedLimit) -> bool:
        return (limit.counter.policy, limit.kind, limit.window_end_ms) == (
            deny.policy,
            deny.limit_kind,
            deny.resets_at_ms,
        )

    of_policy = f" by policy {deny.policy}" if deny.policy else ""
    detail = f": {deny.detail}" if deny.detail else ""
    doubt = " Part of the limit is in doubt: `spendgate doubt list` shows the calls." if deny.doubt else ""
    reason = f"Refused{of_policy}, {deny.denial.replace('_', ' ')}{detail}.{doubt}"
    return Explanation(deny, False, reason, "", _explained(limits, levels, binds))


def _allowed(admission: Admission, limits: AppliedLimits, levels: Sequence[Level], passed_over: str) -> Explanation:
    target = admission.attempts[0].fit.target.name
    tier, reason = admission.tier, admission.lead_reason
    pairs = [pair for pair in zip(limits.limits, levels, strict=True) if pair[0].enforced]
    with_cap = f" with at most {admission.output_cap_tokens} output tokens" if admission.cut else ""
    if reason is LeadReason.BUDGET:
        percent = tier.from_basis_points / 100
        pairs = [pair for pair in pairs if pair[0].steers]
        tightest = max(pairs, key=lambda pair: used_basis_points(pair[0], pair[1].settled), default=None)
        why = f", the tier from {percent:g} % of the budget on"
    elif reason is not None:
        tightest = None
        why = f": {_WHY_NOT_FIRST[reason]}"
    else:
        tightest = max(pairs, key=lambda pair: used_basis_points(pair[0], sum(pair[1])), default=None)
        room = "no limit has room for more" if admission.cut else "every limit has room"
        why = f": {room if pairs else 'no limit applies'}"
    left_out = [f"{name} carries no {lacking_in_words(lacks)}" for name, lacks in admission.left_out]
    without = f" Left out: {', '.join(left_out)}." if left_out else ""

    def binds(limit: AppliedLimit) -> bool:
        return tightest is not None and limit is tightest[0]

    sentence = f"Goes to {target}{with_cap}{why}.{without}{passed_over}"
    return Explanation(None, reason is not None, sentence, target, _explained(limits, levels, binds))


_WHY_NOT_FIRST = {
    LeadReason.ERRORS: "attempts at the target that would lead fail; `spendgate routes` says more",
    LeadReason.LATENCY: "attempts at the target that would lead take too long; `spendgate routes` says more",
    LeadReason.UNPRICED: "the target that would lead has no price for such a call",
    LeadReason.UNFIT: "the target that would lead cannot carry such a call",
}


def _explained(
    limits: AppliedLimits, levels: Sequence[Level], binds: Callable[[AppliedLimit], bool]
) -> tuple[ExplainedLimit, ...]:
    listed = [
        ExplainedLimit(
            limit.counter.policy,
            limit.kind,
            used_basis_points(limit, sum(level)),
            binds(limit),
            limit.soft,
            limit.bound,
            limit.overridden_until_ms,
            level.doubt,
        )
        for limit, level in zip(limits.limits, levels, strict=True)
    ]
    return tuple(sorted(listed, key=lambda each: each.used_basis_points, reverse=True))
