"""The limits that keep counters at a given moment, and the calls that each of them counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import ScopeParts, has_parts
from services.kernel.window import Window, WindowUnit
from services.quota.domain.policies.policy import Mode, QuotaPolicy


class CountedLimit(NamedTuple):
    """A limit in one window. Each part of a rolling window is one of its own."""

    policy: str
    limit_id: str
    kind: LimitKind
    parts: ScopeParts
    each_run: bool
    """Each run has its own counter. The limit does not apply to calls that name no run."""
    default: bool
    """The limit belongs to a default policy, so it skips calls that another policy binds."""
    window: Window

    def has(self, scope: str) -> bool:
        """Whether the limit uses a counter with this scope. Other counters are from an earlier form of the policy."""
        return has_parts(scope, self.parts, has_run=self.each_run)


def counted_limits(policies: Iterable[QuotaPolicy], now_ms: int) -> Iterator[CountedLimit]:
    """Yields the limits that keep counters, once for each window that counts at this moment."""
    for policy in policies:
        if policy.mode is Mode.DISABLED:
            continue
        for limit in policy.limits:
            if not limit.kind.has_window:
                continue
            rule = limit.window
            for at_ms in (now_ms, *rule.trailing_starts_ms(now_ms)):
                yield CountedLimit(
                    policy=policy.name,
                    limit_id=limit.limit_id,
                    kind=limit.kind,
                    parts=policy.scope_parts,
                    each_run=limit.per is WindowUnit.RUN,
                    default=policy.default,
                    window=rule.at(at_ms),
                )


def preferred(policies: Iterable[QuotaPolicy]) -> Iterator[ScopeParts]:
    """Yields the scope parts of the policies that make default policies step back."""
    return (policy.scope_parts for policy in policies if policy.binds and not policy.default)
