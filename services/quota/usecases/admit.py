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
    Weighed,
    attempts_of,
    find_route,
    refuse,
    usable_tiers,
    weigh,
)
from services.quota.domain.admission.output_range import Wish, wish_of
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.admission.unfit import refuse_unknown_members, unfit
from services.quota.domain.admission.unmeasured import Guide, taught_by_text, unmeasured_tokens
from services.quota.domain.admission.without_counters import LimitsWithoutCounters, without_counters
from services.quota.domain.counters.contention import Pressure
from services.quota.domain.counters.counter import Level
from services.quota.domain.counters.reservation import Hold, Most, Reservation
from services.quota.domain.counters.settlement_lag import SettlementLag
from services.quota.domain.directory.applied_limits import AppliedLimit, AppliedLimits
from services.quota.domain.directory.bounded import refuse_unbounded
from services.quota.domain.identity.key import Entropy
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit_kind import LimitKind
from services.quota.domain.policies.limit_status import Standing, counted, remaining_of
from services.quota.domain.routing.compile import Draw, FitTier
from services.quota.ports import (
    Allowances,
    Choose,
    CounterStore,
    Expectations,
    Headroom,
    PoliciesChanged,
    StoreUnreachable,
)
from services.quota.usecases.authenticate import Authenticate, Opened
from services.quota.usecases.current import Current
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
    standings: tuple[Standing, ...]
    """The tightest enforced limit of each kind, this call included, the tightest of all first."""
    strip_usage: bool
    """The client did not ask for the usage chunk that we make the provider send."""
    shadowed: tuple[Refusal, ...]
    """What limits in shadow mode would have refused."""
    without_counters: bool = False
    """The counters could not be read or written: its policies' allowances pay for it, and `standings` are unknown."""

    @property
    def downgraded(self) -> bool:
        """Whether a cheaper tier serves because of the budget."""
        return self.from_basis_points > 0

    @property
    def tightest(self) -> Standing | None:
        """The enforced limit that leaves least of itself; None when none applies."""
        return self.standings[0] if self.standings else None


def _nobody_is_ahead() -> None:
    return None


class Admit:
    """Decides, and reserves in every limit that applies or in none."""

    def __init__(
        self,
        *,
        current: Current,
        authenticate: Authenticate,
        counters: CounterStore,
        allowances: Allowances,
        expectations: Expectations,
        headroom: Headroom,
        matches: PolicyMatches,
        lag: SettlementLag,
        pressure: Pressure,
        clock: Clock,
        entropy: Entropy,
        draw: Draw,
        quotas: int = 1,
        catch_up: Callable[[], object] = _nobody_is_ahead,
    ) -> None:
        """`quotas`: how many share the counters and the allowances. `catch_up`: takes over the policies of others."""
        self._current = current
        self._authenticate = authenticate
        self._counters = counters
        self._allowances = allowances
        self._quotas = quotas
        self._catch_up = catch_up
        self._expectations = expectations
        self._headroom = headroom
        self._matches = matches
        self._lag = lag
        self._pressure = pressure
        self._clock = clock
        self._entropy = entropy
        self._draw = draw

    def __call__(self, request: AdmissionRequest) -> Admitted | Deny:
        """Never raises for want of a store or a disk: what cannot be decided is refused, and says so."""
        if self._headroom.is_low():
            return Deny.unavailable("the disk of the gateway is nearly full")
        if not self._current.belief.routes.plan.version:
            return Deny.unavailable("no route plan has arrived yet")
        try:
            return self._decide(request)
        except Unavailable as error:
            return Deny.unavailable(str(error))

    def _decide(self, request: AdmissionRequest) -> Admitted | Deny:
        for _ in range(_TRIES):
            directory = self._current.belief.directory
            try:
                return self._decide_once(request)
            except PoliciesChanged:
                if self._current.belief.directory is directory:
                    self._catch_up()
        raise Unavailable("policies change faster than a call can be decided")

    def _decide_once(self, request: AdmissionRequest) -> Admitted | Deny:
        opened = self._authenticate(request.credential)
        if isinstance(opened, Deny):
            return opened
        key, belief = opened
        route = find_route(belief.routes, key, request.model, request.dialect)
        if isinstance(route, Deny):
            return route
        # From here on the model is one of the plan's: what is remembered by model stays bounded.
        now_ms = self._clock.now_ms()
        limits = belief.directory.limits_for(key.attribution, request.model, now_ms, request.run)
        self._matches.note(limits.policies, now_ms)
        barred = refuse_unbounded(key, limits, request.model) or refuse_unknown_members(
            key, limits, request.model, request.facts
        )
        if barred is not None:
            return barred
        tiers = usable_tiers(route, limits, belief.routes.prices, key=key, model=request.model)
        if isinstance(tiers, Deny):
            return tiers
        try:
            return self._counters.reserve(
                limits.counters, self._choosing(request, opened, limits, tiers, now_ms=now_ms)
            )
        except StoreUnreachable as error:
            spare = without_counters(limits, self._quotas, now_ms)
            if spare is None:
                raise
            tiers = usable_tiers(route, spare.limits, belief.routes.prices, key=key, model=request.model)
            if isinstance(tiers, Deny):
                raise
            choose = self._choosing(request, opened, spare.limits, tiers, now_ms=now_ms)
            return self._let_through(spare, choose, str(error))

    def _let_through(
        self, spare: LimitsWithoutCounters, choose: Choose[Admitted | Deny], problem: str
    ) -> Admitted | Deny:
        """Takes the most that a call can cost from all of its allowances, or refuses it for the problem there is."""
        outcome = self._allowances.take(spare.allowances, lambda taken: choose(spare.levels(taken)))
        if isinstance(outcome, Admitted):
            return replace(outcome, standings=(), without_counters=True)
        if outcome.denial is Denial.REQUEST_COST_LIMIT:
            return replace(outcome, standings=())
        # What else refuses would do so for now only, or knows no figures.
        return Deny.unavailable(problem)

    def _choosing(
        self,
        request: AdmissionRequest,
        opened: Opened,
        limits: AppliedLimits,
        tiers: Sequence[FitTier],
        *,
        now_ms: int,
    ) -> Choose[Admitted | Deny]:
        facts, key, current, directory = request.facts, opened.key, self._current, opened.belief.directory

        def choose(read: Sequence[Level]) -> tuple[Reservation | None, Admitted | Deny]:
            if current.belief.directory is not directory:
                raise PoliciesChanged
            levels = limits.fold(read)
            learnt = self._expectations.get(key.key_id, request.model)

            def wish() -> Wish:
                return wish_of(facts, learnt, contended=self._pressure.is_on(limits.counters, now_ms))

            weighed = weigh(tiers, limits, levels, facts, draw=self._draw, wish=wish, learnt=learnt)
            if weighed is None:
                return None, unfit(key, request.model, tiers, facts)
            refusal = weighed.decision.refusal
            if refusal is not None:
                if refusal.frees_up and refusal.limit.kind.is_of_size:
                    self._pressure.note(refusal.limit.counter, now_ms)
                denied = refuse(
                    weighed,
                    refusal,
                    limits,
                    levels,
                    learnt=learnt,
                    key=key.name,
                    model=request.model,
                    now_ms=now_ms,
                    contention_wait_ms=self._lag.wait_ms,
                )
                return None, replace(denied, standings=find_standings(limits, levels))
            guide = self._expectations.guide(key.key_id, request.model)
            reservation = self._draft(request, opened, limits, weighed, guide=guide, now_ms=now_ms)
            return reservation, Admitted(
                reservation=reservation,
                answer=guide.answer or TOKEN_FOR_EACH_BYTE,
                chain=attempts_of(weighed, facts, holds_tokens=limits.holds_tokens),
                output_cap_tokens=weighed.output_cap_tokens,
                from_basis_points=weighed.tier.from_basis_points,
                standings=find_standings(limits, levels, requests=weighed.held.requests),
                strip_usage=facts.stream and not facts.include_usage and request.dialect is Dialect.OPENAI,
                shadowed=weighed.decision.shadowed,
            )

        return choose

    def _draft(
        self,
        request: AdmissionRequest,
        opened: Opened,
        limits: AppliedLimits,
        weighed: Weighed,
        *,
        guide: Guide,
        now_ms: int,
    ) -> Reservation:
        expected = unmeasured_tokens(weighed.facts, weighed.chain[0].facts, guide)
        return Reservation(
            id=reservation_id(now_ms, self._entropy(_ID_ENTROPY_BYTES)),
            request_id=request.request_id,
            epoch=request.epoch,
            created_at_ms=now_ms,
            attribution=opened.key.attribution,
            model=request.model,
            chain=tuple(fit.target.name for fit in weighed.chain),
            dialect=request.dialect,
            expected_input_tokens=expected.input,
            expected_output_tokens=expected.output,
            output_cap_tokens=(weighed.output_cap_tokens or 0) * request.facts.choices,
            text_bytes=taught_by_text(request.facts),
            run=request.run,
            unknown_members=bool(request.facts.unknown_members),
            policies=opened.belief.directory.version,
            most=Most(weighed.held.spend_nano_usd, weighed.held.input_tokens, weighed.held.output_tokens),
            holds=tuple(
                _hold_in(limit, weighed.held.held_in(limit.kind, soft=limit.soft))
                for limit in limits.limits
                if limit.kind is not LimitKind.REQUEST_COST
            ),
        )


def _hold_in(limit: AppliedLimit, held: int) -> Hold:
    return Hold(limit.counter, limit.counts_until_ms, held, ceiling_of(limit, held), limit.trailing)


def find_standings(limits: AppliedLimits, levels: Sequence[Level], requests: int = 0) -> tuple[Standing, ...]:
    """The tightest enforced limit of each kind that adds up, the tightest of all first; of equals the later to reset.

    `requests`: how many the call itself is that `levels` do not know of yet.
    """
    found: dict[LimitKind, tuple[int, int, Standing]] = {}
    for limit, (settled, reserved, doubt) in zip(limits.limits, levels, strict=True):
        kind = limit.kind
        if not (limit.enforced and kind.has_window):
            continue
        held = reserved + requests if kind is LimitKind.REQUESTS else reserved
        closeness = used_basis_points(limit, counted(kind, settled, held) + doubt), limit.window_end_ms
        if kind not in found or closeness > found[kind][:2]:
            remaining = remaining_of(kind, limit.bound, settled, held, doubt)
            counter = limit.counter
            standing = Standing(counter.policy, counter.scope, kind, limit.bound, remaining, limit.window_end_ms)
            found[kind] = (*closeness, standing)
    return tuple(standing for _, _, standing in sorted(found.values(), key=_closeness, reverse=True))


def _closeness(ranked: tuple[int, int, Standing]) -> tuple[int, int]:
    return ranked[:2]
