"""Counts over the latest period, in bounded memory.

The period is divided into buckets. A bucket leaves as a whole, so a count covers the period and up to a thirtieth more.
"""

from __future__ import annotations

from collections import deque

_BUCKETS = 30
_LEAST_BUCKET_MS = 100


class SlidingCounts:
    """How often each key was added within the period. Keys are small numbers, of which there are few."""

    __slots__ = ("_buckets", "_period_ms", "_totals", "_width_ms")

    def __init__(self, period_ms: int) -> None:
        self._period_ms = period_ms
        self._width_ms = max(_LEAST_BUCKET_MS, period_ms // _BUCKETS)
        self._buckets: deque[tuple[int, dict[int, int]]] = deque()
        self._totals: dict[int, int] = {}

    def add(self, key: int, now_ms: int) -> None:
        """Counts `key` once. Time does not run backwards here: what comes late counts as new."""
        start_ms = now_ms - now_ms % self._width_ms
        if not self._buckets or self._buckets[-1][0] < start_ms:
            self._buckets.append((start_ms, {}))
            self._expire(now_ms)
        counts = self._buckets[-1][1]
        counts[key] = counts.get(key, 0) + 1
        self._totals[key] = self._totals.get(key, 0) + 1

    def totals(self, now_ms: int) -> dict[int, int]:
        """Returns the counts within the period that ends now, by key. It is valid until the next call."""
        self._expire(now_ms)
        return self._totals

    def clear(self) -> None:
        """Forgets everything."""
        self._buckets.clear()
        self._totals.clear()

    def _expire(self, now_ms: int) -> None:
        gone_before_ms = now_ms - self._period_ms - self._width_ms
        while self._buckets and self._buckets[0][0] <= gone_before_ms:
            for key, count in self._buckets.popleft()[1].items():
                left = self._totals[key] - count
                if left:
                    self._totals[key] = left
                else:
                    del self._totals[key]
