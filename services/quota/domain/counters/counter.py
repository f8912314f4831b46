"""Names of counters and what they say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from services.kernel.errors import InvalidInput
from services.quota.domain.policies.limit_id import MAX_COUNT


class CounterKey(NamedTuple):
    """Names a counter. The window's start is part of the name, so that no job ever has to reset anything."""

    policy: str
    limit_id: str
    scope: str
    window_start_ms: int


class Level(NamedTuple):
    """What a counter says. A counter that nobody used yet says that all of it is 0."""

    settled: int
    reserved: int
    doubt: int = 0
    """What settled calls may have taken beyond what is settled of them. No call in flight gives it back."""


def check_sums(sums: Iterable[tuple[CounterKey, int, int]]) -> None:
    """Passes sums, each given with its counter and the end of its window, that a store can hold exactly.

    Raises:
        InvalidInput: one is negative or above 2^53.
    """
    for at, (counter, _, settled) in enumerate(sums):
        if not 0 <= settled <= MAX_COUNT:
            raise InvalidInput(f"sums[{at}]", f"{settled} of policy {counter.policy} is not within 0 to {MAX_COUNT}")
