"""Adjustments: corrections, kept for people to see, that set a counter to what the ledger says."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from services.kernel.errors import InvalidInput
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.policies.limit_id import MAX_COUNT

MAX_KEPT = 10_000
"""The number of adjustments that we keep for lists."""


class Reason(StrEnum):
    """Why a counter differed from the ledger."""

    DRIFT = "drift"
    """The cause is unknown. This should not happen."""
    REBUILD = "rebuild"
    """The store lost the counters, and we had just rebuilt them."""
    BACKFILL = "backfill"
    """The limit is new and must count what its window saw before."""


class Adjustment(NamedTuple):
    """The value of a counter and the value that it should have."""

    counter: CounterKey
    window_end_ms: int
    before: int
    """The expected settled amount. If the counter has another one by now, the store leaves it alone."""
    after: int
    reason: Reason


class Adjusted(NamedTuple):
    """An adjustment that the store has made."""

    sequence: int
    """Ascending, never reused."""
    adjustment: Adjustment
    at_ms: int


def check_adjustments(adjustments: Sequence[Adjustment]) -> None:
    """Checks that a store can make these adjustments exactly.

    Raises:
        InvalidInput: an amount is negative or above 2^53.
    """
    for at, adjustment in enumerate(adjustments):
        if not 0 <= adjustment.after <= MAX_COUNT:
            raise InvalidInput(f"adjustments[{at}].after", f"{adjustment.after} is not within 0 to {MAX_COUNT}")
