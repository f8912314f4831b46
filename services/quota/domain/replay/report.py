"""The report of a replay: sums, the policies that would have acted, and the callers that would have noticed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.kernel.limit_kind import LimitKind
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.policy import QuotaPolicy


@dataclass(slots=True)
class RefusalTally:
    """The calls that one rule of a policy would have refused."""

    policy: str
    denied: int = field(default=0, kw_only=True)
    first_denied_at_ms: int | None = field(default=None, kw_only=True)
    saved_nano_usd: int = field(default=0, kw_only=True)

    def add_denied(self, now_ms: int, saved_nano_usd: int) -> None:
        """Counts a call that the rule refused."""
        self.denied += 1
        self.saved_nano_usd += saved_nano_usd
        if self.first_denied_at_ms is None:
            self.first_denied_at_ms = now_ms


@dataclass(slots=True)
class LimitTally(RefusalTally):
    """What one limit of a policy would have done, over all its scopes and windows."""

    kind: LimitKind
    window: str
    """The name of the window's rule, e.g. "month/UTC". Empty for kinds without a window."""
    degraded: int = 0
    first_degraded_at_ms: int | None = None
    peak_basis_points: int = 0
    """The fullest level of any of its counters, including calls in flight."""

    def add_degraded(self, now_ms: int, saved_nano_usd: int) -> None:
        """Counts a call that the limit sent to a cheaper target."""
        self.degraded += 1
        self.saved_nano_usd += saved_nano_usd
        if self.first_degraded_at_ms is None:
            self.first_degraded_at_ms = now_ms


@dataclass(slots=True)
class CallerTally:
    """What would have happened to the calls of one key."""

    team: str
    key: str
    first_at_ms: int
    denied: int = 0
    degraded: int = 0
    saved_nano_usd: int = 0


@dataclass(slots=True)
class ReplayReport:
    """Everything that a replay found. Real and simulated cost differ by exactly the savings."""

    limits: dict[tuple[str, str], LimitTally]
    """By policy and `Limit.limit_id`."""
    unknown_members: dict[str, RefusalTally]
    """The policies that refuse unknown members, by name."""
    callers: dict[tuple[str, str], CallerTally]
    """The callers that would have noticed, by team and key."""
    calls: int = 0
    denied: int = 0
    degraded: int = 0
    unpriced: int = 0
    """Calls that keep their recorded cost because we cannot know another; 0 if the recorded cost is unknown, too."""
    real_nano_usd: int = 0
    simulated_nano_usd: int = 0

    @classmethod
    def of(cls, policies: Iterable[QuotaPolicy]) -> ReplayReport:
        """An empty report for these policies."""
        policies = tuple(policies)
        limits = {
            (policy.name, limit.limit_id): LimitTally(
                policy.name, limit.kind, limit.window.name if limit.kind.has_window else ""
            )
            for policy in policies
            for limit in policy.limits
        }
        refusing = {policy.name: RefusalTally(policy.name) for policy in policies if policy.refuses_unknown_members}
        return cls(limits, refusing, {})

    @property
    def allowed(self) -> int:
        """The number of calls for which nothing would have changed."""
        return self.calls - self.denied - self.degraded

    @property
    def saved_nano_usd(self) -> int:
        """The savings; negative if the calls would have cost more."""
        return self.real_nano_usd - self.simulated_nano_usd

    def caller(self, attribution: Attribution, now_ms: int) -> CallerTally:
        """The tally of a caller. `now_ms` is its first moment if the caller is new."""
        name = (attribution.team, attribution.key)
        tally = self.callers.get(name)
        if tally is None:
            tally = self.callers[name] = CallerTally(*name, first_at_ms=now_ms)
        return tally
