"""Tells of switches by the budget: a used part of it leads a model to another target, or no longer does.

Quota alone knows how much of a budget is used, so it reports these switches itself, as the router does those by health.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Protocol

from services.kernel.clock import Clock
from services.kernel.settlement import format_percent
from services.quota.domain.admission.budget_leads import BudgetLeads, Reached
from services.quota.domain.admission.decision import basis_points_of
from services.quota.domain.directory.applied_limits import (
    AppliedLimit,
    applied_limit,
    override_of,
    with_bound_of,
)
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.policy import Mode, QuotaPolicy
from services.quota.domain.policies.scope import policy_scope
from services.quota.domain.routing.plan import ChainSlot
from services.quota.ports.counters import Counters
from services.quota.usecases.live import Live

# Beyond it, a switch back and forth within one window may be told once too seldom.
_MOST_COUNTED = 10_000
# A budget for each of ten thousand users is looked at once in a minute then, and decisions do not wait.
_MOST_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class BudgetSwitch:
    """One change of who leads a model for the calls that one budget counts."""

    id: str
    """Every quota that sees the switch makes the same."""
    model: str
    from_basis_points: int
    is_return: bool
    previous: tuple[str, ...]
    """The targets that led before."""
    targets: tuple[str, ...]
    evidence: str
    time_ms: int


class SwitchReceiver(Protocol):
    """The ledger, as far as switches go."""

    def report(self, switches: list[BudgetSwitch]) -> None:
        """Hands over at most 100 switches. A repetition changes nothing.

        Raises:
            Unavailable: the ledger does not answer.
        """
        ...


class TellBudgetSwitches:
    """Called about once a second: compares what calls have reached with what is used now."""

    def __init__(
        self, *, live: Live, leads: BudgetLeads, counters: Counters, receiver: SwitchReceiver, clock: Clock
    ) -> None:
        self._live = live
        self._leads = leads
        self._counters = counters
        self._receiver = receiver
        self._clock = clock
        self._unreported: dict[Reached, BudgetSwitch] = {}
        self._reported: dict[Reached, BudgetSwitch] = {}
        self._times: Counter[str] = Counter()

    def __call__(self) -> None:
        """Reports what changed.

        Raises:
            Unavailable: the ledger does not answer, or the counters cannot be read. What is left is reported next time.
        """
        now_ms = self._clock.now_ms()
        fresh = ((place, limit) for place, limit in self._leads.all().items() if place not in self._reported)
        for place, limit in islice(fresh, _MOST_AT_ONCE):
            self._report_left(place, limit, now_ms)
        for place in list(islice(self._reported, _MOST_AT_ONCE)):
            switch = self._reported[place]
            is_reached = self._is_reached(place, now_ms)
            if not is_reached:
                self._receiver.report([_back(switch, now_ms)])
                self._leads.forget(place)
            del self._reported[place]
            if is_reached:
                # To the end of the line.
                self._reported[place] = switch

    def _report_left(self, place: Reached, limit: AppliedLimit, now_ms: int) -> None:
        switch = self._unreported.get(place) or self._left(place, limit, now_ms)
        if switch is None:
            self._leads.forget(place)
            return
        # It keeps its id until the ledger has it, however often that takes.
        self._unreported[place] = switch
        self._receiver.report([switch])
        del self._unreported[place]
        self._reported[place] = switch

    def _left(self, place: Reached, applied: AppliedLimit, now_ms: int) -> BudgetSwitch | None:
        """The switch to a tier; None if its model, its policy or the tier is gone by now."""
        slots, found = self._slots(place), self._limit(place)
        if slots is None or found is None:
            return None
        kind = "\0".join(map(str, (*place, applied.counter.window_start_ms, applied.bound)))
        if len(self._times) >= _MOST_COUNTED:
            self._times.clear()
        time = self._times[kind]
        self._times[kind] += 1
        digest = hashlib.sha256(f"{kind}\0{time}".encode()).hexdigest()[:32]
        who = f" for {place.scope}" if place.scope else ""
        share = f"{format_percent(place.from_basis_points)} % of {found[1].title} of policy {place.policy}"
        return BudgetSwitch(
            id=f"budget-{digest}",
            model=place.model,
            from_basis_points=place.from_basis_points,
            is_return=False,
            previous=slots[0],
            targets=slots[1],
            evidence=f"{share}{who} is used",
            time_ms=now_ms,
        )

    def _slots(self, place: Reached) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """The targets that lead below a tier, and in it; None if there is no such tier."""
        plan = self._live.snapshot.routes.plan.models.get(place.model)
        for before, tier in pairwise(plan.tiers if plan is not None else ()):
            if tier.from_basis_points == place.from_basis_points:
                return _names(before.chain[0]), _names(tier.chain[0])
        return None

    def _limit(self, place: Reached) -> tuple[QuotaPolicy, Limit] | None:
        """The policy and the limit as they are now; None if they lead nobody any longer."""
        policy = self._live.snapshot.directory.policies_by_name.get(place.policy)
        if policy is None or policy.mode is not Mode.ENFORCE:
            return None
        return next(((policy, each) for each in policy.limits if each.limit_id == place.limit_id), None)

    def _is_reached(self, place: Reached, now_ms: int) -> bool:
        found = self._limit(place)
        if found is None or self._slots(place) is None:
            return False
        policy, limit = found
        where = (policy.name, limit.limit_id, policy_scope(place.scope))
        override = override_of(self._live.snapshot.directory.overrides_by_target, where, now_ms)
        asked = with_bound_of(override, limit)
        applied = applied_limit(policy, asked, place.scope, limit.window.at(now_ms), override)
        levels = self._counters.levels([applied.counter, *applied.trailing])
        used = sum(level[0] for level in levels)
        return basis_points_of(applied.bound, used) >= place.from_basis_points


def _names(slot: ChainSlot) -> tuple[str, ...]:
    return tuple(one.target for one in slot.targets)


def _back(left: BudgetSwitch, now_ms: int) -> BudgetSwitch:
    return replace(
        left, id=f"{left.id}-back", is_return=True, previous=left.targets, targets=left.previous, time_ms=now_ms
    )
