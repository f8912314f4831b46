"""The limits of a call while the counter store fails.

The bounds themselves still apply: we treat the limits as unused, and refuse a call that would not fit even then. The
allowances of all policies that apply to the call replace the counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.kernel.limit_kind import LimitKind
from services.quota.domain.counters.allowance import Allowance, Taken, day_at, level_of
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.directory.applied_limits import AppliedLimit, AppliedLimits

_NOTHING = Level(0, 0)


@dataclass(frozen=True, slots=True)
class LimitsWithoutCounters:
    """The limits by which we judge a call without its counters."""

    limits: AppliedLimits
    """The call's own limits, followed by one limit for each allowance. They need a call whose cost is known and
    bounded."""
    allowances: tuple[CounterKey, ...]
    """The counter of each allowance, in the same order."""
    quotas: int

    def levels(self, taken: Sequence[Taken]) -> list[Level]:
        """The level of each of `limits`, given what calls took of each allowance."""
        bounds = [limit.bound for limit in self.limits.limits[-len(self.allowances) :]]
        used = [level_of(each, share, self.quotas) for each, share in zip(taken, bounds, strict=True)]
        return [_NOTHING] * (len(self.limits.limits) - len(used)) + used


def without_counters(limits: AppliedLimits, quotas: int, now_ms: int) -> LimitsWithoutCounters | None:
    """The limits by which we judge a call now; None: a policy that applies to it refuses, or none applies."""
    if not limits.allowances:
        return None
    on_allowances = tuple(_limit_on(allowance, quotas, now_ms) for allowance in limits.allowances)
    return LimitsWithoutCounters(
        replace(limits, limits=(*limits.limits, *on_allowances), needs_price=True, holds_tokens=True),
        tuple(limit.counter for limit in on_allowances),
        quotas,
    )


def _limit_on(allowance: Allowance, quotas: int, now_ms: int) -> AppliedLimit:
    day = day_at(now_ms)
    return AppliedLimit(
        counter=allowance.counter(day),
        kind=LimitKind.SPEND,
        bound=allowance.share(quotas),
        window_end_ms=day.end_ms,
        enforced=True,
        steers=False,
        is_rate=False,
        retain_until_ms=day.end_ms,
    )
