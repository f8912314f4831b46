"""What a replay found: sums, and who and which limit would have made a difference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.kernel.limit_kind import LimitKind
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.policy import QuotaPolicy


@dataclass(slots=True)
class LimitTally:
    """What one limit of a policy would have done, over all its scopes and windows."""

    policy: str
    kind: LimitKind
    window: str
    """Name of its rule, e.g. "month/UTC". Empty for kinds without one."""
    denied: int = 0
    degraded: int = 0
    first_denied_at_ms: int | None = None
    first_degraded_at_ms: int | None = None
    saved_nano_usd: int = 0
    peak_basis_points: int = 0
    """The fullest that any of its counters was, calls in flight included."""

    def add_denied(self, now_ms: int, saved_nano_usd: int) -> None:
        """Counts a call that it refused."""
        self.denied += 1
        self.saved_nano_usd += saved_nano_usd
        if self.first_denied_at_ms is None:
            self.first_denied_at_ms = now_ms

    def add_degraded(self, now_ms: int, saved_nano_usd: int) -> None:
        """Counts a call that it sent to a cheaper target."""
        self.degraded += 1
        self.saved_nano_usd += saved_nano_usd
        if self.first_degraded_at_ms is None:
            self.first_degraded_at_ms = now_ms


@dataclass(slots=True)
class CallerTally:
    """What would have become of the calls of one key."""

    team: str
    key: str
    first_at_ms: int
    denied: int = 0
    degraded: int = 0
    saved_nano_usd: int = 0


@dataclass(slots=True)
class ReplayReport:
    """All that a replay found. Real and simulated cost differ by exactly what is saved."""

    limits: dict[tuple[str, str], LimitTally]
    """By policy and `Limit.limit_id`."""
    callers: dict[tuple[str, str], CallerTally]
    """Those who would have noticed, by team and key."""
    calls: int = 0
    denied: int = 0
    degraded: int = 0
    unpriced: int = 0
    """Calls that keep the cost on record because another cannot be known; 0 where that one is unknown too."""
    real_nano_usd: int = 0
    simulated_nano_usd: int = 0

    @classmethod
    def of(cls, policies: Iterable[QuotaPolicy]) -> ReplayReport:
        """Nothing yet, for each limit of these policies."""
        limits = {
            (policy.name, limit.limit_id): LimitTally(
                policy.name, limit.kind, limit.window.name if limit.kind.has_window else ""
            )
            for policy in policies
            for limit in policy.limits
        }
        return cls(limits, {})

    @property
    def allowed(self) -> int:
        """Calls for which nothing would have changed."""
        return self.calls - self.denied - self.degraded

    @property
    def saved_nano_usd(self) -> int:
        """Negative when the calls would have cost more."""
        return self.real_nano_usd - self.simulated_nano_usd

    def caller(self, attribution: Attribution, now_ms: int) -> CallerTally:
        """The tally of a caller who notices something at this moment."""
        name = (attribution.team, attribution.key)
        tally = self.callers.get(name)
        if tally is None:
            tally = self.callers[name] = CallerTally(*name, first_at_ms=now_ms)
        return tally
