"""Adjustments: what is settled in a counter is moved to what the ledger says, in plain sight."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from services.kernel.errors import InvalidInput
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.policies.limit_id import MAX_COUNT

MAX_KEPT = 10_000
"""Adjustments that are kept to be listed."""


class Reason(StrEnum):
    """Why a counter was not what the ledger says."""

    DRIFT = "drift"
    """Nobody knows. It should not happen."""
    REBUILD = "rebuild"
    """The counters were lost and had just been rebuilt."""
    BACKFILL = "backfill"
    """The limit is new, and counts what its window held before it."""


class Adjustment(NamedTuple):
    """Where a counter is and where it is to be."""

    counter: CounterKey
    window_end_ms: int
    before: int
    """What is settled: a counter that is elsewhere stays there."""
    after: int
    reason: Reason


class Adjusted(NamedTuple):
    """An adjustment that was made."""

    sequence: int
    """Ascending, never reused."""
    adjustment: Adjustment
    at_ms: int


def check_adjustments(adjustments: Sequence[Adjustment]) -> None:
    """Passes adjustments that a store can make exactly.

    Raises:
        InvalidInput: an amount is negative or above 2^53.
    """
    for at, adjustment in enumerate(adjustments):
        if not 0 <= adjustment.after <= MAX_COUNT:
            raise InvalidInput(f"adjustments[{at}].after", f"{adjustment.after} is not within 0 to {MAX_COUNT}")
