"""Everything that recent calls teach about later ones."""

from __future__ import annotations

from typing import NamedTuple

from services.quota.domain.admission.budget_leads import BudgetLeads
from services.quota.domain.admission.case import Case
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.counters.contention import Contention
from services.quota.domain.counters.settlement_lag import SettlementLag
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.routing.compile import Draw
from services.quota.domain.routing.probes import Probes
from services.quota.ports.recent_calls import Expectations
from services.quota.usecases.policies import PolicyMatches


class RecentCalls(NamedTuple):
    """What recent calls took, which policies they matched, how long they took to settle, where they competed."""

    expectations: Expectations
    matches: PolicyMatches
    lag: SettlementLag
    contention: Contention
    probes: Probes
    leads: BudgetLeads

    def case(
        self, key: VirtualKey, model: str, facts: RequestFacts, limits: AppliedLimits, *, now_ms: int, draw: Draw
    ) -> Case:
        """The case of a call: everything that its evaluation needs."""
        return Case(
            key=key,
            model=model,
            facts=facts,
            limits=limits,
            learned=self.expectations.get(key.attribution.key_id, model),
            contended=self.contention.is_on(limits.counters, now_ms),
            contention_wait_ms=self.lag.wait_ms,
            now_ms=now_ms,
            draw=draw,
            probes=self.probes,
        )
