"""Tiers of the budget that calls have reached: there another target leads a model than its first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.quota.domain.admission.decision import basis_points_of
from services.quota.domain.counters.counter import Level
from services.quota.domain.directory.applied_limits import AppliedLimit

# Bounds the memory. What is beyond waits until another one ends.
_MOST = 10_000


class Reached(NamedTuple):
    """A tier of a model, reached by one budget."""

    model: str
    from_basis_points: int
    policy: str
    limit_id: str
    scope: str


class BudgetLeads:
    """What calls have reached and nobody has left since. Any thread may use it."""

    def __init__(self) -> None:
        self._reached: dict[Reached, AppliedLimit] = {}

    def note(self, model: str, from_basis_points: int, limits: Sequence[AppliedLimit], levels: Sequence[Level]) -> None:
        """Notes the limit that leads a call to a tier.

        None does if the tier before had no room for this one call, or a degrading threshold skipped it.
        """
        for limit, level in zip(limits, levels, strict=True):
            if limit.steers and basis_points_of(limit.bound, level[0]) >= from_basis_points:
                counter = limit.counter
                place = Reached(model, from_basis_points, counter.policy, counter.limit_id, counter.scope)
                if place not in self._reached and len(self._reached) < _MOST:
                    self._reached[place] = limit
                return

    def all(self) -> dict[Reached, AppliedLimit]:
        """Returns each with the limit as it was when it was reached."""
        return dict(self._reached)

    def forget(self, place: Reached) -> None:
        """Forgets one that was left."""
        self._reached.pop(place, None)
