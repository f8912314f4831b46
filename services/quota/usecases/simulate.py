"""Prepares the simulation of other policies on past calls. It reads only the plan and prices in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.kernel.errors import Unavailable
from services.kernel.names import check_unique
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.domain.policies.policy_rules import check_policy
from services.quota.domain.routing.compile import Routes
from services.quota.usecases.live import Live


@dataclass(frozen=True, slots=True)
class Proposal:
    """The starting point of a replay."""

    policies: tuple[QuotaPolicy, ...]
    routes: Routes
    """The routes at this moment."""


class Propose:
    """Accepts policies for a replay."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def __call__(self, policies: Sequence[QuotaPolicy]) -> Proposal:
        """Combines the policies with the current plan and prices.

        Raises:
            InvalidInput: a policy breaks the rules for policies.
            Unavailable: no plan has arrived yet.
        """
        for at, policy in enumerate(policies):
            check_policy(f"policies[{at}]", policy)
        check_unique("policies", (policy.name for policy in policies))
        routes = self._live.snapshot.routes
        if not routes.plan.version:
            raise Unavailable("no route plan has arrived yet")
        return Proposal(tuple(policies), Routes(routes.plan, routes.prices))
