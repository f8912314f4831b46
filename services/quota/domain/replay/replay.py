"""Replays past calls through other policies, to find who would have been degraded or denied.

The decision, the windows, the choice of a tier and the price engine are those of real calls. Only the counters and the
time are the replay's own. No record says how much a call could have taken at most, so each call holds what it did take.
A real gateway holds more while a call runs, and may refuse or degrade a little earlier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.kernel.errors import FailedPrecondition
from services.kernel.names import admitted_ms
from services.kernel.price import charge
from services.kernel.usage import Usage
from services.quota.domain.admission.decision import decide, used_basis_points
from services.quota.domain.admission.evaluate import tiers_from
from services.quota.domain.admission.request_facts import Amounts
from services.quota.domain.counters.counter import Level
from services.quota.domain.counters.settlement import UNKNOWN_COST, Settlement
from services.quota.domain.directory.applied_limits import AppliedLimit, AppliedLimits
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.burn_rate import KeyRate, add_spend
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.domain.replay.counters import ReplayCounters
from services.quota.domain.replay.limits import ReplayLimits
from services.quota.domain.replay.report import RefusalTally, ReplayReport
from services.quota.domain.routing.compile import FitTarget, FitTier, Routes, draw_chain

MOST_IN_FLIGHT = 100_000
MOST_KEYS = 50_000


class PastCall(NamedTuple):
    """A call, as the ledger booked it."""

    id: str
    """The id of its reservation."""
    began_at_ms: int
    """When the gateway had received the request's head."""
    end_at_ms: int
    attribution: Attribution
    model: str
    """The model, as the client named it."""
    served: str
    """The target that answered, "provider/model"; empty if none did."""
    dialect: Dialect | None
    operation: Operation | None
    """None if nobody recorded what was asked."""
    run: str
    usage: Usage
    cost_nano_usd: int | None
    """None if the price is unknown."""
    has_unknown_members: bool
    """The gateway did not know all members of the request."""

    @property
    def admitted_at_ms(self) -> int:
        """When quota decided: the time with which the id begins, if that lies within the call."""
        reserved_ms = admitted_ms(self.id)
        if reserved_ms is None or not self.began_at_ms <= reserved_ms <= self.end_at_ms:
            return self.began_at_ms
        return reserved_ms


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to serve a call."""

    target: FitTarget | None
    """None: the target that served the call in reality."""
    cost_nano_usd: int | None
    """None if it is unknown."""
    unpriced: bool
    """We do not know what this way would save."""
    amounts: Amounts


class _InFlight(NamedTuple):
    """An admitted call that has not ended. Sorts by its end."""

    end_at_ms: int
    number: int
    key_id: str
    limits: AppliedLimits
    way: _Way


class Replay:
    """Takes calls in the order in which they began. It admits and settles each at the time when that happened."""

    def __init__(self, policies: Sequence[QuotaPolicy], routes: Routes) -> None:
        self._limits = ReplayLimits(policies, self._typical_nano_usd)
        self._rates: dict[str, KeyRate] = {}
        self._routes = routes
        self._counters = ReplayCounters()
        self._report = ReplayReport.of(policies)
        self._number = 0
        self._waiting: list[tuple[int, int, PastCall]] = []
        self._in_flight: list[_InFlight] = []

    def add(self, call: PastCall) -> None:
        """Adds a call. Calls must come in the order in which they began.

        Raises:
            FailedPrecondition: the replay would need more memory than it may have.
        """
        self._number += 1
        heappush(self._waiting, (call.admitted_at_ms, self._number, call))
        # Calls that come later began later, so quota admitted none of them before this moment.
        self._admit_until(call.began_at_ms)
        if len(self._waiting) + len(self._in_flight) > MOST_IN_FLIGHT:
            raise FailedPrecondition(f"more than {MOST_IN_FLIGHT:,} calls are in flight at once: simulate fewer")
        if max(len(self._rates), len(self._report.callers)) > MOST_KEYS:
            raise FailedPrecondition(f"the calls belong to more than {MOST_KEYS:,} keys: simulate a shorter time")

    def finish(self) -> ReplayReport:
        """Admits the remaining calls, and returns the report."""
        if self._waiting:
            self._admit_until(max(self._waiting)[0])
        return self._report

    def _admit_until(self, time_ms: int) -> None:
        waiting, in_flight = self._waiting, self._in_flight
        while waiting and waiting[0][0] <= time_ms:
            now_ms, number, call = heappop(waiting)
            while in_flight and in_flight[0].end_at_ms <= now_ms:
                self._settle(heappop(in_flight))
            self._judge(call, number, now_ms)

    def _settle(self, ended: _InFlight) -> None:
        way = ended.way
        cost = UNKNOWN_COST if way.cost_nano_usd is None else way.cost_nano_usd
        settlement = Settlement(
            "", cost, way.amounts.input_tokens, way.amounts.output_tokens, ended.end_at_ms, reported=True
        )
        self._counters.settle(ended.limits, way.amounts, settlement)
        if cost > 0:
            self._rates[ended.key_id] = add_spend(self._rates.get(ended.key_id), cost, ended.end_at_ms)

    def _typical_nano_usd(self, key_id: str) -> int:
        rate = self._rates.get(key_id)
        return rate.typical_nano_usd if rate else 0

    def _judge(self, call: PastCall, number: int, now_ms: int) -> None:
        limits = self._limits.find(call.attribution, call.model, call.run, now_ms)
        levels = limits.fold(self._counters.of(limits.counters))
        if call.has_unknown_members and limits.refuses_unknown_members is not None:
            policy, _ = limits.refuses_unknown_members
            self._note_denied(call, self._report.unknown_members[policy], now_ms)
            self._note_peaks(limits, levels, None)
            return
        refused_by: list[AppliedLimit] = []
        for way in _ways(call, self._tiers_for(call, limits), limits, levels):
            refusal = decide(limits.limits, levels, way.amounts).refusal
            if refusal is None:
                self._counters.hold(limits, way.amounts, now_ms)
                heappush(self._in_flight, _InFlight(call.end_at_ms, number, call.attribution.key_id, limits, way))
                self._note_admitted(call, way, refused_by[0] if refused_by else _steering(limits, levels), now_ms)
                self._note_peaks(limits, levels, way.amounts)
                return
            refused_by.append(refusal.limit)
        cause = refused_by[-1].counter
        self._note_denied(call, self._report.limits[cause.policy, cause.limit_id], now_ms)
        self._note_peaks(limits, levels, None)

    def _tiers_for(self, call: PastCall, limits: AppliedLimits) -> Sequence[FitTier]:
        """The tiers of the current plan; none if it lacks the model, or a price that a limit needs.

        None either if nobody recorded what the call asked: who could have served it is then unknown.
        """
        if call.dialect is None or call.operation is None:
            return ()
        route = self._routes.find(call.model, call.dialect, call.attribution.team, call.operation)
        if route is None:
            return ()
        return route.priced_tiers if limits.needs_price else route.tiers

    def _note_admitted(self, call: PastCall, way: _Way, cause: AppliedLimit | None, now_ms: int) -> None:
        report = self._report
        real = call.cost_nano_usd or 0
        saved = 0 if way.unpriced else real - (way.cost_nano_usd or 0)
        report.calls += 1
        report.unpriced += way.unpriced
        report.real_nano_usd += real
        report.simulated_nano_usd += real - saved
        if way.target is None:
            return
        report.degraded += 1
        caller = report.caller(call.attribution, now_ms)
        caller.degraded += 1
        caller.saved_nano_usd += saved
        if cause is not None:
            report.limits[cause.counter.policy, cause.counter.limit_id].add_degraded(now_ms, saved)

    def _note_denied(self, call: PastCall, cause: RefusalTally, now_ms: int) -> None:
        report = self._report
        saved = call.cost_nano_usd or 0
        report.calls += 1
        report.denied += 1
        report.unpriced += call.cost_nano_usd is None
        report.real_nano_usd += saved
        cause.add_denied(now_ms, saved)
        caller = report.caller(call.attribution, now_ms)
        caller.denied += 1
        caller.saved_nano_usd += saved

    def _note_peaks(self, limits: AppliedLimits, levels: Sequence[Level], taken: Amounts | None) -> None:
        for limit, level in zip(limits.limits, levels, strict=True):
            used = sum(level) + (taken.of(limit.kind) if taken is not None else 0)
            tally = self._report.limits[limit.counter.policy, limit.counter.limit_id]
            tally.peak_basis_points = max(tally.peak_basis_points, used_basis_points(limit, used))


def _ways(call: PastCall, tiers: Sequence[FitTier], limits: AppliedLimits, levels: Sequence[Level]) -> Iterator[_Way]:
    """The ways to serve a call, in the order in which `evaluate` tries the tiers; at least one."""
    if not tiers:
        yield _way(call, None, call.cost_nano_usd, unpriced=True)
    for tier in tiers_from(tiers, limits, levels):
        yield _way_in(call, tier, is_first=tier is tiers[0])


def _way_in(call: PastCall, tier: FitTier, *, is_first: bool) -> _Way:
    """The way in which a tier serves a call. A call that took nothing would take nothing in a cheaper tier either."""
    real = call.cost_nano_usd
    chain = draw_chain(tier, lambda _: 0)
    served_there = not call.served or any(call.served == fit.target.name for fit in chain)
    if is_first or served_there or not call.usage.total_tokens:
        return _way(call, None, real, unpriced=real is None)
    price = chain[0].facts.price
    if price is None:
        return _way(call, chain[0], real, unpriced=True)
    return _way(call, chain[0], charge(call.usage, price), unpriced=real is None)


def _way(call: PastCall, target: FitTarget | None, cost_nano_usd: int | None, *, unpriced: bool) -> _Way:
    amounts = Amounts(cost_nano_usd or 0, call.usage.input_tokens, call.usage.output_tokens)
    return _Way(target, cost_nano_usd, unpriced, amounts)


def _steering(limits: AppliedLimits, levels: Sequence[Level]) -> AppliedLimit | None:
    """The limit that caused a cheaper tier: one with a degrading threshold, else the tightest that steers."""
    reached = [
        (limit.degrades_at is not None and level[0] >= limit.degrades_at, used_basis_points(limit, level[0]), -at)
        for at, (limit, level) in enumerate(zip(limits.limits, levels, strict=True))
        if limit.steers or limit.degrades_at is not None
    ]
    return limits.limits[-max(reached)[2]] if reached else None
