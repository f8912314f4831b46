"""The names of counters and the amounts in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from services.kernel.errors import InvalidInput
from services.quota.domain.policies.limit_id import MAX_COUNT


class CounterKey(NamedTuple):
    """The name of a counter. It contains the start of the window, so no job ever has to reset a counter."""

    policy: str
    limit_id: str
    scope: str
    window_start_ms: int


class Level(NamedTuple):
    """The amounts in a counter. They are all 0 in a counter that nobody has used yet."""

    settled: int
    reserved: int
    doubt: int = 0
    """What settled calls may have taken beyond their settled amounts. No call in flight gives it back."""


def add_levels(levels: Iterable[Level]) -> Level:
    """The sum of levels, for a window with several counters."""
    return Level(*map(sum, zip(Level(0, 0), *levels, strict=True)))


def check_sums(sums: Iterable[tuple[CounterKey, int, int]]) -> None:
    """Checks that a store can hold these sums exactly. Each comes with its counter and the end of its window.

    Raises:
        InvalidInput: a sum is negative or above 2^53.
    """
    for at, (counter, _, settled) in enumerate(sums):
        if not 0 <= settled <= MAX_COUNT:
            raise InvalidInput(f"sums[{at}]", f"{settled} of policy {counter.policy} is not within 0 to {MAX_COUNT}")
