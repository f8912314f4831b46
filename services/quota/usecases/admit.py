"""Admission: decides whether a call may spend. Everything else serves this decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from services.kernel.clock import Clock
from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import LeadReason
from services.kernel.errors import Unavailable
from services.kernel.names import reservation_id
from services.kernel.settlement import Most
from services.kernel.usage import TOKEN_FOR_EACH_BYTE, Line
from services.quota.domain.admission.case import Case
from services.quota.domain.admission.decision import Refusal, ceiling_of
from services.quota.domain.admission.evaluate import Admission, Attempt, evaluate
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.admission.terms import Asked, find_route, usable_tiers
from services.quota.domain.admission.unfit import refuse_unknown_members
from services.quota.domain.admission.unmeasured import Guide, taught_by_text, unmeasured_tokens
from services.quota.domain.admission.without_counters import LimitsWithoutCounters, without_counters
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.directory.snapshot import DirectorySnapshot
from services.quota.domain.identity.key import Entropy
from services.quota.domain.policies.denial import Denial, Deny
from services.quota.domain.policies.limit_status import LimitStatus
from services.quota.domain.routing.compile import Draw, FitTier
from services.quota.domain.routing.naming import find_model
from services.quota.ports.counters import Allowances, Choose, PoliciesChanged, Reservations, StoreUnreachable
from services.quota.ports.disk import DiskSpace
from services.quota.usecases.authenticate import Authenticate
from services.quota.usecases.live import Live, Snapshot
from services.quota.usecases.recent_calls import RecentCalls

_ID_ENTROPY_BYTES = 8
# The most tries of one decision while policies change during it.
_TRIES = 4


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """A call that asks to be let through."""

    credential: str = field(repr=False)
    """The bare secret, without "Bearer". Empty: the client sent none."""
    request_id: str
    """Envoy's."""
    epoch: str
    """The run of Envoy that carries the call."""
    dialect: Dialect
    model: str
    facts: RequestFacts
    run: str = ""
    """The client's name for the run of the call."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An admitted call, with its reservation."""

    reservation: Reservation
    answer: Line
    """The scale that turns the text of a partly seen answer into tokens."""
    admission: Admission
    strip_usage: bool
    """The client did not ask for the usage chunk that the gateway makes the provider send."""
    without_counters: bool = False
    """The counter store failed, and the allowances of its policies pay for the call. `limit_statuses` are unknown."""

    @property
    def chain(self) -> tuple[Attempt, ...]:
        """The attempts in order; at least one."""
        return self.admission.attempts

    @property
    def output_cap_tokens(self) -> int | None:
        """The output tokens of each choice to which the limits cut the call; None: no cut."""
        return self.admission.output_cap_tokens

    @property
    def lead_reason(self) -> LeadReason | None:
        """Why another target leads than the model's first; None: it is the first."""
        return self.admission.lead_reason

    @property
    def downgraded(self) -> bool:
        """Whether another target leads than the model's first."""
        return self.lead_reason is not None

    @property
    def limit_statuses(self) -> tuple[LimitStatus, ...]:
        """The tightest enforced limit of each kind, including this call; the tightest of all comes first."""
        return self.admission.limit_statuses

    @property
    def shadowed(self) -> tuple[Refusal, ...]:
        """The refusals of limits in shadow mode."""
        return self.admission.shadowed

    @property
    def tightest(self) -> LimitStatus | None:
        """The enforced limit with the least left; None if none applies."""
        return self.limit_statuses[0] if self.limit_statuses else None


def _nobody_is_ahead() -> None:
    return None


class AdmissionStores(NamedTuple):
    """The stores in which calls take room."""

    reservations: Reservations
    allowances: Allowances
    """They pay for calls while the counter store fails."""
    disk_space: DiskSpace
    """The spool needs disk space for each call."""
    quotas: int = 1
    """How many quota processes share the counters and the allowances."""


class Outside(NamedTuple):
    """Time and randomness, which a decision does not take from the request."""

    clock: Clock
    entropy: Entropy
    """For the ids of reservations."""
    draw: Draw
    """Chooses among targets by their weights."""


class Admit:
    """Decides whether a call may spend. It reserves in every limit that applies, or in none."""

    def __init__(
        self,
        *,
        live: Live,
        authenticate: Authenticate,
        stores: AdmissionStores,
        recent: RecentCalls,
        outside: Outside,
        catch_up: Callable[[], object] = _nobody_is_ahead,
    ) -> None:
        """`catch_up` takes over the policies that other processes put in force."""
        self._live = live
        self._authenticate = authenticate
        self._reservations, self._allowances, self._disk_space, self._quotas = stores
        self._recent = recent
        self._clock, self._entropy, self._draw = outside
        self._catch_up = catch_up

    def __call__(self, request: AdmissionRequest) -> Admitted | Deny:
        """Admits or refuses a call. If a store or the disk fails, it does not raise: it refuses and says why."""
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
        model, now_ms = find_model(snapshot.routes.plan, request.model), self._clock.now_ms()
        if model != request.model:
            request = replace(request, model=model)
        terms = snapshot.terms(Asked(key, model, request.dialect, request.run, request.facts.operation), now_ms)
        if isinstance(terms, Deny):
            return terms
        # From here on the model is in the plan, so caches by model stay bounded.
        limits, unbounded, tiers = terms
        self._recent.matches.note(limits.policies, now_ms)
        barred = unbounded or refuse_unknown_members(key, limits, model, request.facts)
        if barred is not None:
            return barred
        if isinstance(tiers, Deny):
            return tiers
        case = self._recent.case(key, model, request.facts, limits, now_ms=now_ms, draw=self._draw)
        try:
            return self._reservations.reserve(limits.counters, self._choosing(request, case, tiers, snapshot.directory))
        except StoreUnreachable as error:
            return self._decide_without_counters(request, case, snapshot, error)

    def _decide_without_counters(
        self, request: AdmissionRequest, case: Case, snapshot: Snapshot, error: StoreUnreachable
    ) -> Admitted | Deny:
        """Lets the allowances of the policies pay. Raises `error` if they cannot."""
        spare = without_counters(case.limits, self._quotas, case.now_ms)
        route = find_route(snapshot.routes, case.key, case.model, request.dialect, request.facts.operation)
        if spare is None or isinstance(route, Deny):
            raise error
        tiers = usable_tiers(route, spare.limits, snapshot.routes.prices, key=case.key, model=case.model)
        if isinstance(tiers, Deny):
            raise error
        choose = self._choosing(request, replace(case, limits=spare.limits), tiers, snapshot.directory)
        return self._let_through(spare, choose, str(error))

    def _let_through(
        self, spare: LimitsWithoutCounters, choose: Choose[Admitted | Deny], problem: str
    ) -> Admitted | Deny:
        """Takes the most that a call can cost from all of its allowances, or refuses because of `problem`."""
        outcome = self._allowances.take(spare.allowances, lambda taken: choose(spare.levels(taken)))
        if isinstance(outcome, Admitted):
            unknown = replace(outcome.admission, limit_statuses=())
            return replace(outcome, admission=unknown, without_counters=True)
        if outcome.denial is Denial.REQUEST_COST_LIMIT:
            return replace(outcome, limit_statuses=())
        # Any other refusal is only temporary, or has no figures.
        return Deny.unavailable(problem)

    def _choosing(
        self, request: AdmissionRequest, case: Case, tiers: Sequence[FitTier], directory: DirectorySnapshot
    ) -> Choose[Admitted | Deny]:
        live = self._live

        def choose(read: Sequence[Level]) -> tuple[Reservation | None, Admitted | Deny]:
            if live.snapshot.directory is not directory:
                raise PoliciesChanged
            limits = case.limits
            levels = limits.fold(read) if limits.rolls else read
            outcome = evaluate(case, tiers, levels)
            if isinstance(outcome, Deny):
                self._note_contention(outcome, case.now_ms)
                return None, outcome
            if outcome.lead_reason is LeadReason.BUDGET:
                self._recent.leads.note(case.model, outcome.tier.from_basis_points, limits.limits, levels)
            admitted = self._admitted(request, case, outcome, directory.version)
            return admitted.reservation, admitted

        return choose

    def _note_contention(self, deny: Deny, now_ms: int) -> None:
        if deny.contended and deny.limit_kind is not None and deny.limit_kind.is_of_size:
            counter = CounterKey(deny.policy, deny.limit_id, deny.scope, deny.window_start_ms)
            self._recent.contention.note(counter, now_ms)

    def _admitted(self, request: AdmissionRequest, case: Case, admission: Admission, policies: str) -> Admitted:
        guide = self._recent.expectations.guide(case.key.attribution.key_id, request.model)
        return Admitted(
            reservation=self._draft(request, case, admission, guide, policies),
            answer=guide.answer or TOKEN_FOR_EACH_BYTE,
            admission=admission,
            strip_usage=case.facts.stream
            and not case.facts.include_usage
            and request.dialect is Dialect.OPENAI
            and case.facts.operation.tells_usage_if_asked,
        )

    def _draft(
        self, request: AdmissionRequest, case: Case, admission: Admission, guide: Guide, policies: str
    ) -> Reservation:
        attempts, held, facts = admission.attempts, admission.held, case.facts
        first = attempts[0]
        known_most = None if admission.cut else admission.first
        expected = unmeasured_tokens(admission.facts, first.fit.facts, guide, known_most)
        return Reservation(
            id=reservation_id(case.now_ms, self._entropy(_ID_ENTROPY_BYTES)),
            request_id=request.request_id,
            epoch=request.epoch,
            created_at_ms=case.now_ms,
            attribution=case.key.attribution,
            model=request.model,
            chain=tuple([attempt.fit.target.name for attempt in attempts]),
            dialect=request.dialect,
            expected_input_tokens=expected.input,
            expected_output_tokens=expected.output,
            output_cap_tokens=(admission.output_cap_tokens or 0) * facts.choices,
            text_bytes=taught_by_text(facts),
            run=request.run,
            unknown_members=bool(facts.unknown_members),
            policies=policies,
            most=Most(held.cost_nano_usd, held.input_tokens, held.output_tokens),
            holds=tuple(
                [
                    Hold(limit.counter, limit.retain_until_ms, held, ceiling_of(limit, held), limit.trailing)
                    for limit, held in zip(case.limits.limits, admission.holds, strict=True)
                    if limit.kind.has_counter
                ]
            ),
        )
