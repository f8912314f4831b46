"""The limits of a call whose counters cannot be read or written.

What is known without counters still holds: nothing is taken to be used, so a call is refused that would not fit even
then. In the place of the counters stand the allowances of all policies that concern the call.
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
    """What a call is judged by."""

    limits: AppliedLimits
    """The call's own, and behind them one on each allowance. The cost of a call must be known, and have a bound."""
    allowances: tuple[CounterKey, ...]
    """What is taken of each allowance, in their order."""
    quotas: int

    def levels(self, taken: Sequence[Taken]) -> list[Level]:
        """The level of each of `limits`, from what was taken of each allowance."""
        bounds = [limit.bound for limit in self.limits.limits[-len(self.allowances) :]]
        used = [level_of(each, share, self.quotas) for each, share in zip(taken, bounds, strict=True)]
        return [_NOTHING] * (len(self.limits.limits) - len(used)) + used


def without_counters(limits: AppliedLimits, quotas: int, now_ms: int) -> LimitsWithoutCounters | None:
    """What a call is judged by at this moment; None: a policy that concerns it refuses, or none concerns it."""
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
