"""How much a limit leaves, as answers tell it."""

from __future__ import annotations

from typing import NamedTuple

from services.kernel.limit_kind import LimitKind


class LimitStatus(NamedTuple):
    """An enforced limit at the moment of a decision. Amounts are nano-USD for spend, else tokens or requests."""

    policy: str
    scope: str
    kind: LimitKind
    bound: int
    remaining: int
    """See `remaining_of`."""
    resets_at_ms: int


def counted(kind: LimitKind, settled: int, reserved: int) -> int:
    """What of a counter is gone for good.

    What calls in flight hold is mostly given back, so it does not count, and what is told to remain only falls within
    a window. A request in flight is one request however it ends, so it does.
    """
    return settled + reserved if kind.is_certain else settled


def remaining_of(kind: LimitKind, bound: int, settled: int, reserved: int, doubt: int) -> int:
    """What a limit leaves; 0 when it is overdrawn. Doubt is gone until the window ends, or somebody clears it."""
    return max(0, bound - counted(kind, settled, reserved) - doubt)
