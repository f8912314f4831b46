"""What limits can be, and what their ids say."""

from __future__ import annotations

from services.kernel.limit_kind import LimitKind, kind_named
from services.kernel.money import NANO_PER_USD

# Counters of larger stores compare in doubles, which are exact up to 2^53 nano-USD: about $9.0 million.
MAX_SPEND_NANO_USD = 9_000_000 * NANO_PER_USD
MAX_COUNT = 2**53
SOFT_MARK = "/soft"


def is_soft(limit_id: str) -> bool:
    """Whether a `Limit.limit_id` is that of a soft limit."""
    return limit_id.endswith(SOFT_MARK)


def kind_of(limit_id: str) -> LimitKind:
    """The kind that a `Limit.limit_id` begins with."""
    return kind_named(limit_id.partition("/")[0])


def holds_most(limit_id: str) -> bool:
    """Whether calls hold of a limit the most that they can take, which depends on the call."""
    return kind_of(limit_id).is_of_size and not is_soft(limit_id)
