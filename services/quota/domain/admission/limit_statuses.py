"""The state of the limits of a call: one limit status for each kind of limit."""

from __future__ import annotations

from collections.abc import Sequence

from services.kernel.limit_kind import LimitKind
from services.quota.domain.admission.decision import used_basis_points
from services.quota.domain.counters.counter import Level
from services.quota.domain.directory.applied_limits import AppliedLimits
from services.quota.domain.policies.limit_status import LimitStatus, counted, remaining_of


def limit_statuses_of(limits: AppliedLimits, levels: Sequence[Level], calls: int = 0) -> tuple[LimitStatus, ...]:
    """The tightest enforced limit of each kind that keeps a total, tightest first.

    If two are equal, the one that resets later counts as tighter.

    `calls`: how many calls to add that `levels` do not contain yet.
    """
    found: dict[LimitKind, tuple[int, int, LimitStatus]] = {}
    for limit, (settled, reserved, doubt) in zip(limits.limits, levels, strict=True):
        kind = limit.kind
        if not (limit.enforced and kind.has_window):
            continue
        held = reserved + calls if kind.is_certain else reserved
        closeness = used_basis_points(limit, counted(kind, settled, held) + doubt), limit.window_end_ms
        if kind not in found or closeness > found[kind][:2]:
            remaining = remaining_of(kind, limit.bound, settled, held, doubt)
            counter = limit.counter
            status = LimitStatus(counter.policy, counter.scope, kind, limit.bound, remaining, limit.window_end_ms)
            found[kind] = (*closeness, status)
    return tuple(status for _, _, status in sorted(found.values(), key=_closeness, reverse=True))


def _closeness(ranked: tuple[int, int, LimitStatus]) -> tuple[int, int]:
    return ranked[:2]
