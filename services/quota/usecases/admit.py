"""May this call spend? The decision that everything else is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from services.kernel.clock import Clock
from services.kernel.dialect import Dialect
from services.kernel.errors import Unavailable
from services.kernel.names import reservation_id
from services.kernel.usage import TOKEN_FOR_EACH_BYTE, Line
from services.quota.domain.admission.decision import Refusal, ceiling_of, used_basis_points
from services.quota.domain.admission.evaluate import (
    Attempt,
    Candidate,
    attempts_of,
    evaluate,
    find_route,
    refuse,
    usable_tiers,
)
from services.quota.domain.admission.output_range import OutputRange, output_range_of
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.admission.unfit import refuse_unknown_members, unfit
from services.quota.domain.admission.unmeasured import Guide, taught_by_text, unmeasured_tokens
from services.quota.domain.admission.without_counters import LimitsWithoutCounters, without_counters
from services.quota.domain.counters.contention import Contention
from services.quota.domain.counters.counter import Level
from services.quota.domain.counters.reservation import Hold, Most, Reservation
from services.quota.domain.counters.settlement_lag import SettlementLag
from services.quota.domain.directory.applied_limits import AppliedLimit, AppliedLimits
from services.quota.domain.directory.bounded import refuse_unbounded
from services.quota.domain.identity.key import Entropy
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit_kind import LimitKind
from services.quota.domain.policies.limit_status import LimitStatus, counted, remaining_of
from services.quota.domain.routing.compile import Draw, FitTier
from services.quota.ports import (
    Allowances,
    Choose,
    CounterStore,
    DiskSpace,
    Expectations,
    PoliciesChanged,
    StoreUnreachable,
)
from services.quota.usecases.authenticate import Authenticate, AuthenticatedKey
from services.quota.usecases.live import Live
from services.quota.usecases.policies import PolicyMatches

_ID_ENTROPY_BYTES = 8
# Of a decision, while policies change under it.
_TRIES = 4


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """A call that asks to be let through."""

    credential: str = field(repr=False)
    """The bare secret, without "Bearer". Empty: none was sent."""
    request_id: str
    """Envoy's."""
    epoch: str
    """The run of Envoy that asks."""
    dialect: Dialect
    model: str
    facts: RequestFacts
    run: str = ""
    """What the client names the run that the call belongs to."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may go, with room reserved for it."""

    reservation: Reservation
    answer: Line
    """How many tokens the text of an answer makes that is seen in part."""
    chain: tuple[Attempt, ...]
    """At least one attempt, in order."""
    output_cap_tokens: int | None
    """Output tokens of each choice to which the limits cut the call; None: they do not."""
    from_basis_points: int
    """Of the tier that serves."""
    limit_statuses: tuple[LimitStatus, ...]
    """The tightest enforced limit of each kind, this call included, the tightest of all first."""
    strip_usage: bool
    """The client did not ask for the usage chunk that we make the provider send."""
    shadowed: tuple[Refusal, ...]
    """What limits in shadow mode would have refused."""
    without_counters: bool = False
    """The counters could not be read or written: its policies' allowances pay for it. `limit_statuses` are unknown."""

    @property
    def downgraded(self) -> bool:
        """Whether a cheaper tier serves because of the budget."""
        return self.from_basis_points > 0

    @property
    def tightest(self) -> LimitStatus | None:
        """The enforced limit that leaves least of itself; None when none applies."""
        return self.limit_statuses[0] if self.limit_statuses else None


def _nobody_is_ahead() -> None:
    return None


class Admit:
    """Decides, and reserves in every limit that applies or in none."""

    def __init__(
        self,
        *,
        live: Live,
        authenticate: Authenticate,
        counters: CounterStore,
        allowances: Allowances,
        expectations: Expectations,
        disk_space: DiskSpace,
        matches: PolicyMatches,
        lag: SettlementLag,
        contention: Contention,
        clock: Clock,
        entropy: Entropy,
        draw: Draw,
        quotas: int = 1,
        catch_up: Callable[[], object] = _nobody_is_ahead,
    ) -> None:
        """`quotas`: how many share the counters and the allowances. `catch_up`: takes over the policies of others."""
        self._live = live
        self._authenticate = authenticate
        self._counters = counters
        self._allowances = allowances
        self._quotas = quotas
        self._catch_up = catch_up
        self._expectations = expectations
        self._disk_space = disk_space
        self._matches = matches
        self._lag = lag
        self._contention = contention
        self._clock = clock
        self._entropy = entropy
        self._draw = draw

    def __call__(self, request: AdmissionRequest) -> Admitted | Deny:
        """Never raises for want of a store or a disk: what cannot be decided is refused, and says so."""
        if self._disk_space.is_low():
            return Deny.unavailable("the disk of the gateway is nearly full")
        if not self._live.snapshot.routes.plan.version:
            return Deny.unavailable("no route plan has arrived yet")
        try:
            return self._decide(request)
        except Unavailable as error:
            return Deny.unavailable(str(error))

    def _decide(self, request: AdmissionRequest) -> Admitted | Deny:
        for _ in range(_TRIES):
            directory = self._live.snapshot.directory
            try:
                return self._decide_once(request)
            except PoliciesChanged:
                if self._live.snapshot.directory is directory:
                    self._catch_up()
        raise Unavailable("policies change faster than a call can be decided")

    def _decide_once(self, request: AdmissionRequest) -> Admitted | Deny:
        caller = self._authenticate(request.credential)
        if isinstance(caller, Deny):
            return caller
        key, snapshot = caller
        route = find_route(snapshot.routes, key, request.model, request.dialect)
        if isinstance(route, Deny):
            return route
        # From here on the model is one of the plan's: what is remembered by model stays bounded.
        now_ms = self._clock.now_ms()
        limits = snapshot.directory.limits_for(key.attribution, request.model, now_ms, request.run)
        self._matches.note(limits.policies, now_ms)
        barred = refuse_unbounded(key, limits, request.model) or refuse_unknown_members(
            key, limits, request.model, request.facts
        )
        if barred is not None:
            return barred
        tiers = usable_tiers(route, limits, snapshot.routes.prices, key=key, model=request.model)
        if isinstance(tiers, Deny):
            return tiers
        try:
            return self._counters.reserve(
                limits.counters, self._choosing(request, caller, limits, tiers, now_ms=now_ms)
            )
        except StoreUnreachable as error:
            spare = without_counters(limits, self._quotas, now_ms)
            if spare is None:
                raise
            tiers = usable_tiers(route, spare.limits, snapshot.routes.prices, key=key, model=request.model)
            if isinstance(tiers, Deny):
                raise
            choose = self._choosing(request, caller, spare.limits, tiers, now_ms=now_ms)
            return self._let_through(spare, choose, str(error))

    def _let_through(
        self, spare: LimitsWithoutCounters, choose: Choose[Admitted | Deny], problem: str
    ) -> Admitted | Deny:
        """Takes the most that a call can cost from all of its allowances, or refuses it for the problem there is."""
        outcome = self._allowances.take(spare.allowances, lambda taken: choose(spare.levels(taken)))
        if isinstance(outcome, Admitted):
            return replace(outcome, limit_statuses=(), without_counters=True)
        if outcome.denial is Denial.REQUEST_COST_LIMIT:
            return replace(outcome, limit_statuses=())
        # What else refuses would do so for now only, or knows no figures.
        return Deny.unavailable(problem)

    def _choosing(
        self,
        request: AdmissionRequest,
        caller: AuthenticatedKey,
        limits: AppliedLimits,
        tiers: Sequence[FitTier],
        *,
        now_ms: int,
    ) -> Choose[Admitted | Deny]:
        facts, key, live, directory = request.facts, caller.key, self._live, caller.snapshot.directory

        def choose(read: Sequence[Level]) -> tuple[Reservation | None, Admitted | Deny]:
            if live.snapshot.directory is not directory:
                raise PoliciesChanged
            levels = limits.fold(read)
            learned = self._expectations.get(key.key_id, request.model)

            def output_range() -> OutputRange:
                return output_range_of(facts, learned, contended=self._contention.is_on(limits.counters, now_ms))

            candidate = evaluate(
                tiers, limits, levels, facts, draw=self._draw, output_range=output_range, learned=learned
            )
            if candidate is None:
                return None, unfit(key, request.model, tiers, facts)
            refusal = candidate.decision.refusal
            if refusal is not None:
                if refusal.frees_up and refusal.limit.kind.is_of_size:
                    self._contention.note(refusal.limit.counter, now_ms)
                denied = refuse(
                    candidate,
                    refusal,
                    limits,
                    levels,
                    learned=learned,
                    key=key.name,
                    model=request.model,
                    now_ms=now_ms,
                    contention_wait_ms=self._lag.wait_ms,
                )
                return None, replace(denied, limit_statuses=limit_statuses_of(limits, levels))
            guide = self._expectations.guide(key.key_id, request.model)
            reservation = self._draft(request, caller, limits, candidate, guide=guide, now_ms=now_ms)
            return reservation, Admitted(
                reservation=reservation,
                answer=guide.answer or TOKEN_FOR_EACH_BYTE,
                chain=attempts_of(candidate, facts, holds_tokens=limits.holds_tokens),
                output_cap_tokens=candidate.output_cap_tokens,
                from_basis_points=candidate.tier.from_basis_points,
                limit_statuses=limit_statuses_of(limits, levels, requests=candidate.held.requests),
                strip_usage=facts.stream and not facts.include_usage and request.dialect is Dialect.OPENAI,
                shadowed=candidate.decision.shadowed,
            )

        return choose

    def _draft(
        self,
        request: AdmissionRequest,
        caller: AuthenticatedKey,
        limits: AppliedLimits,
        candidate: Candidate,
        *,
        guide: Guide,
        now_ms: int,
    ) -> Reservation:
        expected = unmeasured_tokens(candidate.facts, candidate.chain[0].facts, guide)
        return Reservation(
            id=reservation_id(now_ms, self._entropy(_ID_ENTROPY_BYTES)),
            request_id=request.request_id,
            epoch=request.epoch,
            created_at_ms=now_ms,
            attribution=caller.key.attribution,
            model=request.model,
            chain=tuple(fit.target.name for fit in candidate.chain),
            dialect=request.dialect,
            expected_input_tokens=expected.input,
            expected_output_tokens=expected.output,
            output_cap_tokens=(candidate.output_cap_tokens or 0) * request.facts.choices,
            text_bytes=taught_by_text(request.facts),
            run=request.run,
            unknown_members=bool(request.facts.unknown_members),
            policies=caller.snapshot.directory.version,
            most=Most(candidate.held.spend_nano_usd, candidate.held.input_tokens, candidate.held.output_tokens),
            holds=tuple(
                _hold_in(limit, candidate.held.held_in(limit.kind, soft=limit.soft))
                for limit in limits.limits
                if limit.kind is not LimitKind.REQUEST_COST
            ),
        )


def _hold_in(limit: AppliedLimit, held: int) -> Hold:
    return Hold(limit.counter, limit.retain_until_ms, held, ceiling_of(limit, held), limit.trailing)


def limit_statuses_of(limits: AppliedLimits, levels: Sequence[Level], requests: int = 0) -> tuple[LimitStatus, ...]:
    """The tightest enforced limit of each kind that adds up, the tightest of all first; of equals the later to reset.

    `requests`: how many the call itself is that `levels` do not know of yet.
    """
    found: dict[LimitKind, tuple[int, int, LimitStatus]] = {}
    for limit, (settled, reserved, doubt) in zip(limits.limits, levels, strict=True):
        kind = limit.kind
        if not (limit.enforced and kind.has_window):
            continue
        held = reserved + requests if kind is LimitKind.REQUESTS else reserved
        closeness = used_basis_points(limit, counted(kind, settled, held) + doubt), limit.window_end_ms
        if kind not in found or closeness > found[kind][:2]:
            remaining = remaining_of(kind, limit.bound, settled, held, doubt)
            counter = limit.counter
            status = LimitStatus(counter.policy, counter.scope, kind, limit.bound, remaining, limit.window_end_ms)
            found[kind] = (*closeness, status)
    return tuple(status for _, _, status in sorted(found.values(), key=_closeness, reverse=True))


def _closeness(ranked: tuple[int, int, LimitStatus]) -> tuple[int, int]:
    return ranked[:2]
