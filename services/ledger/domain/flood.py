"""A token bucket, which bounds the cost of a flood of refusals."""

from __future__ import annotations


class TokenBucket:
    """Lets a burst through at once, and then a fixed number each second."""

    def __init__(self, *, per_s: int, burst: int) -> None:
        self._per_s = per_s
        self._burst_milli = burst * 1_000
        self._milli = self._burst_milli
        self._filled_ms: int | None = None

    def take(self, wanted: int, now_ms: int) -> int:
        """Takes up to `wanted` tokens. Returns how many there were. A clock that goes back adds none."""
        if self._filled_ms is not None:
            passed_ms = max(now_ms - self._filled_ms, 0)
            self._milli = min(self._milli + passed_ms * self._per_s, self._burst_milli)
        self._filled_ms = now_ms
        taken = min(wanted, self._milli // 1_000)
        self._milli -= taken * 1_000
        return taken
