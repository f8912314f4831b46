"""May this call spend? The decision that everything else is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.kernel.clock import Clock
from services.kernel.dialect import Dialect
from services.kernel.errors import Unavailable
from services.quota.domain.decision import Refusal, deny_of, used_basis_points
from services.quota.domain.denial import Deny
from services.quota.domain.directory import AppliedLimits
from services.quota.domain.estimate import Amounts, RequestFacts, expected_amounts, expected_tokens
from services.quota.domain.key import Entropy, VirtualKey
from services.quota.domain.lag import SettlementLag
from services.quota.domain.policy import LimitKind
from services.quota.domain.reservation import Hold, Level, Reservation, reservation_id
from services.quota.domain.tier import (
    Attempt,
    Draw,
    FitTier,
    Weighed,
    attempts_of,
    find_route,
    unboundable,
    usable_tiers,
    weigh,
)
from services.quota.ports import CounterStore, Expectations, Headroom
from services.quota.usecases.authenticate import Authenticate
from services.quota.usecases.current import Belief, Current

_ID_ENTROPY_BYTES = 8


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


@dataclass(frozen=True, slots=True)
class Tightest:
    """The enforced limit that is closest to its bound, this call included."""

    policy: str
    scope: str
    kind: LimitKind
    remaining: int
    """What it leaves after this call. Nano-USD for spend, else tokens or requests."""
    resets_at_ms: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may go, with room reserved for it."""

    reservation: Reservation
    chain: tuple[Attempt, ...]
    """At least one attempt, in order."""
    from_basis_points: int
    """Of the tier that serves."""
    tightest: Tightest | None
    """None when no enforced limit applies."""
    strip_usage: bool
    """The client did not ask for the usage chunk that we make the provider send."""
    shadowed: tuple[Refusal, ...]
    """What limits in shadow mode would have refused."""

    @property
    def downgraded(self) -> bool:
        """Whether a cheaper tier serves because of the budget."""
        return self.from_basis_points > 0


class Admit:
    """Decides, and reserves in every limit that applies or in none."""

    def __init__(
        self,
        *,
        current: Current,
        authenticate: Authenticate,
        counters: CounterStore,
        expectations: Expectations,
        headroom: Headroom,
        lag: SettlementLag,
        clock: Clock,
        entropy: Entropy,
        draw: Draw,
    ) -> None:
        self._current = current
        self._authenticate = authenticate
        self._counters = counters
        self._expectations = expectations
        self._headroom = headroom
        self._lag = lag
        self._clock = clock
        self._entropy = entropy
        self._draw = draw

    def __call__(self, request: AdmissionRequest) -> Admitted | Deny:
        """Never raises for want of a store or a disk: what cannot be decided is refused, and says so."""
        if self._headroom.is_low():
            return Deny.unavailable("the disk of the gateway is nearly full")
        belief = self._current.belief
        if not belief.routes.plan.version:
            return Deny.unavailable("no route plan has arrived yet")
        try:
            return self._decide(request, belief)
        except Unavailable as error:
            return Deny.unavailable(str(error))

    def _decide(self, request: AdmissionRequest, belief: Belief) -> Admitted | Deny:
        key = self._authenticate.within(belief.directory, request.credential)
        if isinstance(key, Deny):
            return key
        route = find_route(belief.routes, key, request.model, request.dialect)
        if isinstance(route, Deny):
            return route
        # From here on the model is one of the plan's: what is remembered by model stays bounded.
        now_ms = self._clock.now_ms()
        limits = belief.directory.limits_for(key.attribution, request.model, now_ms)
        tiers = usable_tiers(route, limits, belief.routes.prices, key=key, model=request.model)
        if isinstance(tiers, Deny):
            return tiers
        return self._reserve(request, key, limits, tiers, now_ms)

    def _reserve(
        self, request: AdmissionRequest, key: VirtualKey, limits: AppliedLimits, tiers: Sequence[FitTier], now_ms: int
    ) -> Admitted | Deny:
        facts = request.facts

        def choose(levels: Sequence[Level]) -> tuple[Reservation | None, Admitted | Deny]:
            weighed = weigh(tiers, limits, levels, facts, self._draw)
            if weighed is None:
                return None, unboundable(key, request.model)
            refusal = weighed.decision.refusal
            if refusal is not None:
                learnt = self._expectations.get(key.key_id, request.model)
                return None, deny_of(
                    refusal,
                    expected=expected_amounts(facts, weighed.chain[0].facts, learnt),
                    key=key.name,
                    model=request.model,
                    now_ms=now_ms,
                    contention_wait_ms=self._lag.wait_ms,
                )
            reservation = self._draft(request, key, limits, weighed, now_ms)
            return reservation, Admitted(
                reservation=reservation,
                chain=attempts_of(weighed.chain, facts, holds_tokens=limits.holds_tokens),
                from_basis_points=weighed.tier.from_basis_points,
                tightest=find_tightest(limits, levels, weighed.held),
                strip_usage=facts.stream and not facts.include_usage and request.dialect is Dialect.OPENAI,
                shadowed=weighed.decision.shadowed,
            )

        return self._counters.reserve(limits.counters, choose)

    def _draft(
        self, request: AdmissionRequest, key: VirtualKey, limits: AppliedLimits, weighed: Weighed, now_ms: int
    ) -> Reservation:
        learnt = self._expectations.get(key.key_id, request.model)
        expected = expected_tokens(request.facts, weighed.chain[0].facts, learnt)
        return Reservation(
            id=reservation_id(now_ms, self._entropy(_ID_ENTROPY_BYTES)),
            request_id=request.request_id,
            epoch=request.epoch,
            created_at_ms=now_ms,
            attribution=key.attribution,
            model=request.model,
            chain=tuple(fit.target.name for fit in weighed.chain),
            dialect=request.dialect,
            expected_input_tokens=expected.input,
            expected_output_tokens=expected.output,
            holds=tuple(
                Hold(
                    limit.counter,
                    limit.window_end_ms,
                    weighed.held.of(limit.kind),
                    ceiling=limit.bound if limit.enforced else None,
                )
                for limit in limits.limits
            ),
        )


def find_tightest(limits: AppliedLimits, levels: Sequence[Level], held: Amounts) -> Tightest | None:
    """The enforced limit that is closest to its bound once this call is counted in; of equals the later to reset."""
    tightest: Tightest | None = None
    closest = (-1, 0)
    for limit, (settled, reserved) in zip(limits.limits, levels, strict=True):
        used = settled + reserved + held.of(limit.kind)
        closeness = (used_basis_points(limit, used), limit.window_end_ms)
        if limit.enforced and closeness > closest:
            closest = closeness
            tightest = Tightest(
                limit.counter.policy, limit.counter.scope, limit.kind, limit.bound - used, limit.window_end_ms
            )
    return tightest
