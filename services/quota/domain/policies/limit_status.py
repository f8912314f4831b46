"""How much a limit leaves, as answers report it."""

from __future__ import annotations

from typing import NamedTuple

from services.kernel.limit_kind import LimitKind


class LimitStatus(NamedTuple):
    """An enforced limit at the moment of a decision. Amounts are in nano-USD for spend, else in tokens or requests."""

    policy: str
    scope: str
    kind: LimitKind
    bound: int
    remaining: int
    """See `remaining_of`."""
    resets_at_ms: int


def counted(kind: LimitKind, settled: int, reserved: int) -> int:
    """The part of a counter that is gone for good.

    Calls in flight give most of what they hold back, so holds do not count. The reported remainder can then only fall
    within a window. A request in flight is one request however it ends, so it does count.
    """
    return settled + reserved if kind.is_certain else settled


def remaining_of(kind: LimitKind, bound: int, settled: int, reserved: int, doubt: int) -> int:
    """What a limit leaves; 0 if it is overdrawn. Doubt counts as used until the window ends or somebody clears it."""
    return max(0, bound - counted(kind, settled, reserved) - doubt)
