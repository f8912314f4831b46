"""Adjustments: corrections, kept for people to see, that set a counter to what the ledger says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.kernel.errors import InvalidInput
from services.kernel.settlement import AdjustmentReason
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.policies.limit_id import MAX_COUNT

MAX_KEPT = 10_000
"""The number of adjustments that we keep for lists."""


class Adjustment(NamedTuple):
    """The value of a counter and the value that it should have."""

    counter: CounterKey
    window_end_ms: int
    before: int
    """The expected settled amount. If the counter has another one by now, the store leaves it alone."""
    after: int
    reason: AdjustmentReason


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
