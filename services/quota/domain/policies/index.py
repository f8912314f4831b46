"""Finds the policies that can apply to a call without looking at all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.kernel.scope import ScopeIndex
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.domain.policies.scope import properties_of


class PolicyIndex:
    """Policies, indexed by one value that their calls must have. Immutable."""

    def __init__(self, policies: Iterable[QuotaPolicy]) -> None:
        self._policies = tuple(policies)
        self._index = ScopeIndex(policy.scope_parts for policy in self._policies)

    def candidates(self, attribution: Attribution, model: str) -> Sequence[QuotaPolicy]:
        """All policies that apply to such a call, and a few others, in their original order."""
        return [self._policies[at] for at in self._index.candidates(properties_of(attribution, model))]
