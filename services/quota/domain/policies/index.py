"""Which of many policies can concern a call, without looking at all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.policy import Dimension, QuotaPolicy

# Of the values that a policy names, the one that the fewest calls have is what it is found by.
_BY_SELECTIVITY = (
    Dimension.KEY,
    Dimension.USER,
    Dimension.PROJECT,
    Dimension.TEAM,
    Dimension.MODEL,
    Dimension.ENVIRONMENT,
)


class PolicyIndex:
    """Policies by one value that their calls must have. Immutable."""

    def __init__(self, policies: Iterable[QuotaPolicy]) -> None:
        self._policies = tuple(policies)
        self._places: dict[tuple[Dimension, str] | None, list[int]] = {}
        for place, policy in enumerate(self._policies):
            self._places.setdefault(_found_by(policy), []).append(place)

    def candidates(self, attribution: Attribution, model: str) -> Sequence[QuotaPolicy]:
        """All policies that concern such a call, and few others, in the order in which they were given."""
        places = list(self._places.get(None, ()))
        for dimension in _BY_SELECTIVITY:
            value = model if dimension is Dimension.MODEL else getattr(attribution, dimension)
            places += self._places.get((dimension, value), ())
        return [self._policies[place] for place in sorted(places)]


def _found_by(policy: QuotaPolicy) -> tuple[Dimension, str] | None:
    for dimension in _BY_SELECTIVITY:
        if value := getattr(policy.match, dimension):
            return dimension, value
    return None
