"""The state of the limits of a call: one limit status for each kind of limit."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from services.kernel.limit_kind import LimitKind
from services.quota.domain.admission.decision import basis_points_of
from services.quota.domain.counters.counter import Level
from services.quota.domain.directory.applied_limits import AppliedLimit, AppliedLimits
from services.quota.domain.policies.limit_status import LimitStatus, counted

_CLOSENESS = itemgetter(0)


def limit_statuses_of(limits: AppliedLimits, levels: Sequence[Level], calls: int = 0) -> tuple[LimitStatus, ...]:
    """The tightest enforced limit of each kind that keeps a total, tightest first.

    If two are equal, the one that resets later counts as tighter.

    `calls`: how many calls to add that `levels` do not contain yet.
    """
    found: dict[LimitKind, tuple[tuple[int, int], AppliedLimit, int]] = {}
    for limit, (settled, reserved, doubt) in zip(limits.limits, levels, strict=True):
        kind = limit.kind
        if not (limit.enforced and kind.has_window):
            continue
        used = counted(kind, settled, reserved + calls) + doubt
        closeness = basis_points_of(limit.bound, used), limit.window_end_ms
        if kind not in found or closeness > found[kind][0]:
            found[kind] = closeness, limit, used
    tightest_first = sorted(found.values(), key=_CLOSENESS, reverse=True)
    return tuple(
        [
            LimitStatus(
                limit.counter.policy,
                limit.counter.scope,
                limit.kind,
                limit.bound,
                limit.bound - used if used < limit.bound else 0,
                limit.window_end_ms,
            )
            for _, limit, used in tightest_first
        ]
    )
