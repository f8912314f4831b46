"""Slices of long work on counters.

A call waits for its decision while other work holds the counters. So such work takes them for a few rows at a time, and
lets calls in between two slices. `docs/adr/0028-nothing-holds-up-a-decision.md` says what was measured.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

ROWS_AT_ONCE = 128
"""The most rows that a slice touches, such as the holds of 32 calls with three limits: less than a millisecond."""
RECORDS_AT_ONCE = 32
"""The most records of calls that a slice reads or writes as JSON."""
# A thread that releases a lock and takes it again at once is faster than all waiting threads, so it must really pause.
_PAUSE_S = 0.001

E = TypeVar("E")


def in_slices(items: Iterable[E], rows_of: Callable[[E], int]) -> Iterator[list[E]]:
    """Splits items so that each part touches at most `ROWS_AT_ONCE` rows. An item with more is a part of its own."""
    some: list[E] = []
    rows = 0
    for item in items:
        more = rows_of(item)
        if some and rows + more > ROWS_AT_ONCE:
            yield some
            some, rows = [], 0
        some.append(item)
        rows += more
    if some:
        yield some


def in_chunks(items: Sequence[E], size: int) -> Iterator[Sequence[E]]:
    """Splits items into parts of this size."""
    return (items[at : at + size] for at in range(0, len(items), size))


class Turns:
    """Gives waiting calls their turn. Safe to use from any thread."""

    def __init__(self) -> None:
        self._never = threading.Event()

    def between(self, slices: Iterable[E]) -> Iterator[E]:
        """The same slices, with a pause between two of them."""
        for number, some in enumerate(slices):
            if number:
                self._never.wait(_PAUSE_S)
            yield some
