"""The largest bounds of limits, and how to read a limit's id."""

from __future__ import annotations

from services.kernel.limit_kind import LimitKind, kind_named
from services.kernel.money import NANO_PER_USD

# Redis compares counters as doubles, which are exact up to 2^53 nano-USD: about $9.0 million.
MAX_SPEND_NANO_USD = 9_000_000 * NANO_PER_USD
MAX_COUNT = 2**53
SOFT_MARK = "/soft"


def is_soft(limit_id: str) -> bool:
    """Whether a `Limit.limit_id` belongs to a soft limit."""
    return limit_id.endswith(SOFT_MARK)


def kind_of(limit_id: str) -> LimitKind:
    """The limit kind with which a `Limit.limit_id` begins."""
    return kind_named(limit_id.partition("/")[0])


def holds_most(limit_id: str) -> bool:
    """Whether calls hold the most that they can take of this limit, an amount that depends on the call."""
    return kind_of(limit_id).is_of_size and not is_soft(limit_id)
