"""Which limits add something up at a moment, and which calls each of them counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import ScopeParts, has_parts
from services.kernel.window import Window, WindowUnit
from services.quota.domain.policies.policy import Mode, QuotaPolicy


class CountedLimit(NamedTuple):
    """A limit in one window. Of a window that rolls each part is one."""

    policy: str
    limit_id: str
    kind: LimitKind
    parts: ScopeParts
    each_run: bool
    """Counts each run of its own. Calls that name none are not concerned."""
    default: bool
    """Counts no call that a policy binds which is no default."""
    window: Window

    def has(self, scope: str) -> bool:
        """Whether one of its counters has this scope; others are left over from what the policy was."""
        return has_parts(scope, self.parts, has_run=self.each_run)


def counted_limits(policies: Iterable[QuotaPolicy], now_ms: int) -> Iterator[CountedLimit]:
    """The limits of these policies that add something up, in each window that counts at this moment."""
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
    """What the policies concern before which default ones step back."""
    return (policy.scope_parts for policy in policies if policy.binds and not policy.default)
