"""The counters of a replay. They do for past calls what `services.quota.adapters` does for real ones."""

from __future__ import annotations

from collections.abc import Sequence

from services.kernel.errors import FailedPrecondition
from services.quota.domain.admission.request_facts import Amounts
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.settlement import Settlement
from services.quota.domain.directory.applied_limits import AppliedLimits

MOST_COUNTERS = 250_000
FEW_COUNTERS = 4_096
_NOTHING = Level(0, 0)


class ReplayCounters:
    """Levels in memory. When there are many, it forgets those whose windows are over."""

    def __init__(self) -> None:
        self._levels: dict[CounterKey, Level] = {}
        self._until_ms: dict[CounterKey, int] = {}
        self._look_at = FEW_COUNTERS

    def of(self, counters: Sequence[CounterKey]) -> list[Level]:
        """The levels of these counters, in their order."""
        levels = self._levels
        return [levels.get(counter, _NOTHING) for counter in counters]

    def hold(self, limits: AppliedLimits, held: Amounts, now_ms: int) -> None:
        """Holds room for one call in every limit.

        Raises:
            FailedPrecondition: there are more counters at once than a simulation may have.
        """
        if len(self._levels) >= self._look_at:
            self._forget(now_ms)
        for limit in limits.limits:
            if not limit.kind.has_counter:
                continue
            level = self._levels.get(limit.counter, _NOTHING)
            taken = held.held_in(limit.kind, soft=limit.soft)
            self._levels[limit.counter] = level._replace(reserved=level.reserved + taken)
            self._until_ms[limit.counter] = limit.retain_until_ms

    def settle(self, limits: AppliedLimits, held: Amounts, settlement: Settlement) -> None:
        """Replaces what `hold` held by what the call took."""
        for limit in limits.limits:
            if not limit.kind.has_counter:
                continue
            amount = held.held_in(limit.kind, soft=limit.soft)
            settled, reserved, doubt = self._levels[limit.counter]
            self._levels[limit.counter] = Level(
                settled + settlement.actual(limit.kind, amount),
                reserved - amount,
                doubt + (0 if limit.estimates_unmeasured else settlement.doubt(limit.counter.limit_id, amount)),
            )

    def _forget(self, now_ms: int) -> None:
        over = [
            key for key, until_ms in self._until_ms.items() if until_ms <= now_ms and not self._levels[key].reserved
        ]
        for key in over:
            del self._levels[key], self._until_ms[key]
        if len(self._levels) >= MOST_COUNTERS:
            raise FailedPrecondition(
                f"the policies need more than {MOST_COUNTERS:,} counters at once: simulate a shorter time, or fewer "
                "policies that count each user, key or run separately"
            )
        self._look_at = min(MOST_COUNTERS, max(FEW_COUNTERS, 2 * len(self._levels)))
