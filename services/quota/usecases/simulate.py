"""What other policies would have made of calls that are over. Of what is in force, only the plan is read."""

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
    """What a replay starts from."""

    policies: tuple[QuotaPolicy, ...]
    routes: Routes
    """Those of this moment."""


class Propose:
    """Takes policies that may be replayed against."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def __call__(self, policies: Sequence[QuotaPolicy]) -> Proposal:
        """The policies with the present plan and prices.

        Raises:
            InvalidInput: a policy could not be put into force.
            Unavailable: no plan has arrived yet.
        """
        for at, policy in enumerate(policies):
            check_policy(f"policies[{at}]", policy)
        check_unique("policies", (policy.name for policy in policies))
        routes = self._live.snapshot.routes
        if not routes.plan.version:
            raise Unavailable("no route plan has arrived yet")
        return Proposal(tuple(policies), Routes(routes.plan, routes.prices))
